#!/bin/bash
# What containers use, two of them side by side in one sandbox: processor time as their own clocks show it.
set -u
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
work=$(mktemp -d /tmp/moat-stats.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
finish() {
	$R delete --force side >/dev/null 2>&1
	$R delete --force pod >/dev/null 2>&1
	rm -rf "$work"
}
trap finish EXIT
bad=0
fail() { echo "$*"; cat "$work/stats"; bad=1; }

# start NAME TYPE MS: it has used that much, and waits.
start() {
	mkdir -p "$work/$1/rootfs/bin" "$work/$1/rootfs/proc"
	cp "$BUILD/containers/pause_load" "$work/$1/rootfs/bin/"
	cat >"$work/$1/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "args": ["/bin/pause_load", "spin", "$3"], "env": [], "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
		 "annotations": {"io.kubernetes.cri.container-type": "$2", "io.kubernetes.cri.sandbox-id": "pod"}}
	JSON
	$R create --bundle "$work/$1" "$1" </dev/null >"$work/$1.out" 2>&1 && $R start "$1" && return
	echo "$1 does not start"
	cat "$work/$1.out"
	exit 1
}
ready() {
	for _ in $(seq 1000); do grep -q ready "$work/$1.out" && return; sleep 0.05; done
	echo "$1 is not ready"
	bad=1
}
stats() { "$BUILD/containers/control_stats" "$work/state/pod/control.sock" "$1" >"$work/stats" || fail "no stats of $1"; }
value() { sed -n "s/^$1 //p" "$work/stats"; }
# near NAME MS: within 5 %.
near() {
	local ns
	ns=$(value "$1")
	[ "${ns:-0}" -ge $(($2 * 950000)) ] && [ "$ns" -le $(($2 * 1050000)) ] || fail "$1 is ${ns:-nothing}, not $2 ms"
}

: >"$work/stats"
start pod sandbox 2000
start side container 1000
ready pod
ready side
stats pod
near total 2000
near of-pod 2000
near of-side 1000
[ "$(($(value user) + $(value kernel)))" = "$(value total)" ] || fail "user and kernel are not total"
[ "$(value pids)" = 1 ] || fail "not one thread"
[ "$(value memory)" -gt 4096 ] && [ "$(value max)" -ge "$(value memory)" ] || fail "memory"
[ "$(value sandbox)" -gt 0 ] || fail "the sandbox itself used nothing"
stats side
near total 1000
[ "$(value memory)" -gt 4096 ] || fail "memory of side"
exit $bad
