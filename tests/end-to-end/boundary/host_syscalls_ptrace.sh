#!/bin/bash
# The same as host_syscalls.sh on the platform ptrace, whose stubs cannot be traced once more: the
# kernel's trace events say what it has executed for them. A call that PTRACE_SYSEMU or a filter has
# stopped makes no such event.
set -u
[ "$(id -u)" = 0 ] || exit 77
if [ -z "${IN_NAMESPACE:-}" ]; then
	IN_NAMESPACE=1 exec unshare -m --propagation private "$0"
fi
work=$(mktemp -d /tmp/moat-events.XXXXXX)
tracing=$work/tracing
instance=
reader=
finish() {
	[ -n "$reader" ] && kill "$reader" 2>/dev/null
	wait 2>/dev/null
	if [ -n "$instance" ]; then
		echo 0 >"$instance/events/raw_syscalls/sys_enter/enable"
		rmdir "$instance"
	fi
	umount "$tracing" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
mkdir "$tracing"
mount -t tracefs tracefs "$tracing" 2>/dev/null || { echo "no tracefs here"; exit 77; }
[ -d "$tracing/events/raw_syscalls/sys_enter" ] || { echo "no events for system calls here"; exit 77; }
mkdir "$tracing/instances/moat-$$" || exit 77
instance=$tracing/instances/moat-$$

# Whoever is forked from here and calls itself a stub.
echo 8192 >"$instance/buffer_size_kb"
echo 1 >"$instance/options/event-fork"
echo 'comm == "moat-stub"' >"$instance/events/raw_syscalls/sys_enter/filter"
cat "$instance/trace_pipe" >"$work/log" &
reader=$!
echo 1 >"$instance/events/raw_syscalls/sys_enter/enable"
sh -c 'echo $$ >"$0/set_event_pid"; exec timeout -s KILL 350 "$1" do --platform=ptrace -- "$2"' \
	"$instance" "$MOAT" "$BUILD/boundary/try_syscalls" >"$work/out" 2>"$work/err"
status=$?
sleep 1
if [ $status != 0 ] || ! grep -q 'tried [0-9]' "$work/out"; then
	echo "the guest program did not end well: $status"
	cat "$work/out" "$work/err" | head -20
	exit 1
fi
cat "$work/out"
grep -h '^\(overrun\|dropped events\): [1-9]' "$instance"/per_cpu/cpu*/stats &&
	{ echo "events were lost"; exit 1; }
python3 - "$work/log" <<'EOP'
import re, sys
# What the sentry calls in a stub, by hand: it has set the registers. And parked threads pause.
names = {9: "mmap", 11: "munmap", 10: "mprotect", 25: "mremap", 28: "madvise", 56: "clone", 60: "exit",
         34: "pause"}
# The zygote, until it has its filter.
start = {11: "munmap", 25: "mremap", 158: "arch_prctl", 13: "rt_sigaction", 14: "rt_sigprocmask",
         317: "seccomp", 9: "mmap", 157: "prctl", 131: "sigaltstack"}
line = re.compile(r"^\s*moat-stub-(\d+) .* NR (\d+) \(([0-9a-f, ]+)\)")
calls, zygote, filtered = {}, None, False
bad = []
for text in open(sys.argv[1], errors="replace"):
    m = line.match(text)
    if not m:
        continue
    pid, nr = int(m[1]), int(m[2])
    zygote = zygote or pid
    if pid == zygote and not filtered:
        filtered = nr == 317
        if nr not in start:
            bad.append((pid, nr, "the zygote at its start"))
        continue
    calls[nr] = calls.get(nr, 0) + 1
    if nr not in names:
        bad.append((pid, nr, m[3]))
print("executed:", {names.get(nr, nr): n for nr, n in sorted(calls.items())})
if not filtered:
    print("the trace lacks its beginning: nothing can be said")
    sys.exit(77)
if bad:
    sys.exit(f"the host executed for a stub: {bad[:10]}")
# A stub that is traced before it comes to pause does not execute it.
if calls.get(56, 0) < 400 or calls.get(34, 0) < 50:
    sys.exit("too few events: the trace does not show what it should")
EOP
