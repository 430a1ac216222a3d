#!/bin/bash
# Traces the stubs from the host while a hostile guest tries 460 system calls, through libc and by
# jumping at the stub's own syscall instructions: the host must have executed none but those that the
# stub's protocol knows.
set -u
[ "$(id -u)" = 0 ] || exit 77
command -v strace >/dev/null || exit 77
work=$(mktemp -d /tmp/moat-trace.XXXXXX)
trap 'rm -rf "$work"' EXIT
timeout -s KILL 350 strace -f -qq -o "$work/log" "$MOAT" do -- "$BUILD/boundary/try_syscalls" >"$work/out" 2>"$work/err"
status=$?
grep -v tampering "$work/err" | head -5
if [ $status != 0 ] || ! grep -q 'tried [0-9]' "$work/out"; then
	echo "the guest program did not end well: $status"
	cat "$work/out"
	exit 1
fi
cat "$work/out"
python3 - "$work/log" <<'EOF'
import re, sys
# DESIGN: what a stub's filter lets through; all but the first three only if the sentry agrees.
allowed = {"futex", "rt_sigreturn", "sched_yield", "mmap", "munmap", "mprotect", "mremap", "madvise",
           "clone", "sigaltstack", "arch_prctl", "exit", "exit_group", "seccomp", "getppid"}
# uretprobe (335) and uprobe (336) pass every seccomp filter since Linux 6.11: a trampoline of the
# kernel makes them. Called from elsewhere they raise SIGILL.
allowed |= {"syscall_0x14f", "syscall_0x150", "uretprobe", "uprobe"}
line = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)")
trapped = re.compile(r"^(\d+) +--- SIGSYS .*SYS_SECCOMP")
calls, stubs, traps = {}, set(), 0
for text in open(sys.argv[1], errors="replace"):
    if m := trapped.match(text):
        # The host's kernel did not execute the last call of this thread.
        if calls.get(m[1]):
            calls[m[1]].pop()
        traps += 1
    elif m := line.match(text):
        unfinished, resumed = "<unfinished" in text, "resumed>" in text
        if m[2] == "getppid":
            stubs.add(m[1])
        if not unfinished or not resumed:
            if not resumed:
                calls.setdefault(m[1], []).append(m[2])
executed = {}
for pid in stubs:
    for name in calls.get(pid, []):
        executed[name] = executed.get(name, 0) + 1
print(len(stubs), "stub threads,", traps, "calls trapped, executed:", executed)
bad = set(executed) - allowed
if bad:
    sys.exit(f"the host executed for a stub: {sorted(bad)}")
if len(stubs) < 100 or traps < 400:
    sys.exit("too few stubs or traps: the trace does not show what it should")
EOF
