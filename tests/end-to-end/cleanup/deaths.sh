#!/bin/bash
# Whichever of CLI, gofer, sandbox and zygote is killed: all die, and nothing is left behind.
set -u
[ "$(id -u)" = 0 ] || exit 77
. "$(dirname "$0")/../boundary/sandbox.bash"

mounts() { wc -l </proc/self/mountinfo; }
files() { ls /dev/shm /run /tmp 2>/dev/null | grep -c '^moat[-.]' ; }
mounts_before=$(mounts)

# all_gone WHO: none of the processes lives.
all_gone() {
	local p i
	for i in $(seq 1200); do
		local alive=
		for p in $cli $gofer $sentry $others; do
			[ -e "/proc/$p" ] && [ "$(awk '/^State:/ {print $2}' "/proc/$p/status" 2>/dev/null)" != Z ] && alive="$alive $p"
		done
		[ -z "$alive" ] && return 0
		sleep 0.05
	done
	for p in $alive; do
		fail "after the death of the $1: $p ($(cat "/proc/$p/comm" 2>/dev/null)) lives"
		kill -KILL "$p" 2>/dev/null
	done
}

for victim in cli gofer sentry zygote stub; do
	rm -f "$work/hold" "$work/out"
	start_sandbox
	files_before=$(files)
	case $victim in
	cli) kill -KILL "$cli" ;;
	gofer) kill -KILL "$gofer" ;;
	sentry) kill -KILL "$sentry" ;;
	# The zygote is the sandbox process's first child: pid 2 of the namespace.
	zygote) kill -KILL "$(echo "$others" | tr ' ' '\n' | grep . | sort -n | head -1)" ;;
	stub) kill -KILL "$(echo "$others" | tr ' ' '\n' | grep . | sort -n | tail -1)" ;;
	esac
	# A stub is a guest process: its death is an ordinary one, and the program ends with it here
	# or goes on; the end of its input ends it.
	[ $victim = stub ] && exec 9>&-
	all_gone "$victim"
	wait "$cli" 2>/dev/null
	status=$?
	case $victim in
	gofer | sentry | zygote)
		[ $status = 125 ] || fail "status after the death of the $victim: $status"
		grep -q '^moat: ' "$work/err" || fail "no message after the death of the $victim"
		;;
	esac
	cli=
	exec 9>&-
	[ "$(files)" -le "$files_before" ] || fail "files are left after the death of the $victim"
done
[ "$(mounts)" = "$mounts_before" ] || fail "mounts are left"

# Signals to the CLI reach the program; SIGTERM ends it.
rm -f "$work/hold" "$work/out"
start_sandbox
kill -TERM "$cli"
all_gone "SIGTERM"
wait "$cli"
status=$?
[ $status = 143 ] || fail "status after SIGTERM: $status"
cli=
exit $bad
