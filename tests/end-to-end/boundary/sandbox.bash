# Sourced: starts a sandbox that waits, and finds its processes. Sets cli, gofer, sentry (pids on
# the host) and others (zygote and stubs). Call start_sandbox [moat arguments before "do"].
work=$(mktemp -d /tmp/moat-boundary.XXXXXX)
cli=
finish() {
	[ -n "$cli" ] && kill -KILL "$cli" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT

start_sandbox() {
	mkfifo "$work/hold"
	"$MOAT" "$@" do ${PLATFORM:+--platform=$PLATFORM} -- sh -c 'echo ready; cat' <"$work/hold" >"$work/out" 2>"$work/err" &
	cli=$!
	exec 9>"$work/hold"
	for _ in $(seq 1200); do
		grep -q ready "$work/out" && break
		sleep 0.05
	done
	grep -q ready "$work/out" || { echo "the sandbox did not start"; cat "$work/err"; exit 1; }
	find_processes
}

find_processes() {
	local p
	gofer=
	sentry=
	for p in $(pgrep -P "$cli"); do
		case $(cat "/proc/$p/comm") in
		moat-gofer) gofer=$p ;;
		moat-sentry) sentry=$p ;;
		esac
	done
	[ -n "$gofer" ] && [ -n "$sentry" ] || { echo "no gofer or sandbox process"; exit 1; }
	others=" $(pgrep --ns "$sentry" --nslist pid | grep -vx "$sentry" | tr '\n' ' ')"
	others=${others% }
	[ -n "$others" ] || { echo "no zygote and no stub"; exit 1; }
}

bad=0
fail() {
	echo "$*"
	bad=1
}
