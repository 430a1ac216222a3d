#!/bin/bash
# Pausing a container as often as one likes: nothing in it is lost, nothing in it sees it.
set -u
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
work=$(mktemp -d /tmp/moat-pause.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
finish() {
	$R delete --force load >/dev/null 2>&1
	rm -rf "$work"
}
trap finish EXIT
bad=0
fail() { echo "$*"; cat "$work/out"; bad=1; }
mkdir -p "$work/bundle/rootfs/bin" "$work/bundle/rootfs/proc"
cp "$BUILD/containers/pause_load" "$work/bundle/rootfs/bin/"

# start MODE: the container runs, and has said that it is ready.
start() {
	cat >"$work/bundle/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "args": ["/bin/pause_load", "$1"], "env": [], "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}
	JSON
	timeout -k 1 200 "$MOAT" --root "$work/state" run --bundle "$work/bundle" load </dev/null >"$work/out" 2>&1 &
	run=$!
	for _ in $(seq 1000); do grep -q ready "$work/out" && return; sleep 0.05; done
	fail "$1 is not ready"
}
# It ends, and well.
ends() {
	wait $run || fail "ended with $?"
}

start load
"$BUILD/containers/control_pause" "$work/state/load/control.sock" load 1000 || fail "pausing failed"
$R kill load TERM
ends
[ "$(grep -c 'went on' "$work/out")" = 8 ] || fail "something stood still"

start deadlines
"$BUILD/containers/control_pause" "$work/state/load/control.sock" load 0 || fail "pausing failed"
ends
grep -q 'all ended' "$work/out" || fail "not all ended"

# A signal that comes to a container that is paused finds its calls waiting.
start signal
for step in ready slept polled; do
	for _ in $(seq 600); do grep -q $step "$work/out" && break; sleep 0.05; done
	grep -q $step "$work/out" || { fail "not $step"; break; }
	$R pause load || fail "cannot pause"
	[ "$($R state load | sed -n 's/.*"status": "\(.*\)".*/\1/p')" = paused ] || fail "not paused"
	$R exec load /bin/pause_load 2>/dev/null && fail "a program runs in a container that is paused"
	$R kill load USR1
	$R resume load || fail "cannot resume"
done
ends
exit $bad
