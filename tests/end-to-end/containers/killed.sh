#!/bin/bash
# A pod of two containers, and each of its processes on the host killed in turn: what is left says what it is,
# can be deleted, and then there is nothing left.
set -u
[ "$(id -u)" = 0 ] && command -v busybox >/dev/null && command -v pgrep >/dev/null ||
	{ echo "needs root, busybox and pgrep"; exit 77; }
work=$(mktemp -d /tmp/moat-killed.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
# Sandbox, gofers, and what stands for containers: their command line is that of who made them.
named() { pgrep -f "^$MOAT .*$work/state"; }
# With zygote and stubs, and when each began.
ours() {
	local p
	for p in $(named) $(for p in $(named); do pgrep -P "$p"; done); do
		echo "$p $(began "$p")"
	done | sort -nu
}
# Empty when it is gone, or no more than a zombie.
began() { sed -n 's/.*) [^Z] \([-0-9]* \)\{18\}\([0-9]*\) .*/\2/p' "/proc/$1/stat" 2>/dev/null; }
finish() {
	local id p
	for id in one pod; do $R delete --force $id >/dev/null 2>&1; done
	for p in $(named); do kill -KILL "$p" 2>/dev/null; done
	rm -rf "$work"
}
trap finish EXIT
bad=0
fail() { echo "killed $who: $*"; bad=1; }

make() {
	mkdir -p "$work/$1/rootfs"/{bin,proc}
	cp "$(command -v busybox)" "$work/$1/rootfs/bin/busybox"
	ln -sf busybox "$work/$1/rootfs/bin/sleep"
	cat >"$work/$1/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
		 "linux": {"cgroupsPath": "/moat-killed-$$-$1"},
		 "annotations": {"io.kubernetes.cri.container-type": "$2", "io.kubernetes.cri.sandbox-id": "pod"}}
	JSON
	$R create --bundle "$work/$1" "$1" </dev/null >"$work/out" 2>&1 && $R start "$1" && return
	echo "$1 does not start"
	cat "$work/out"
	exit 1
}
# None of those that were there is left.
wait_for_none() {
	local p start left
	for _ in $(seq 400); do
		left=$(for p in "${all[@]}"; do
			read -r p start <<<"$p"
			[ -n "$start" ] && [ "$(began "$p")" = "$start" ] && echo "$p"
		done)
		[ -z "$left" ] && return
		sleep 0.05
	done
	fail "there are still $(for p in $left; do echo "$p ($(cat "/proc/$p/comm"))"; done)"
}
state_is_readable() {
	local id
	for id in pod one; do
		$R state $id >"$work/out" 2>&1 && grep -q '"status": "\(running\|stopped\)"' "$work/out" || fail "state of $id: $(cat "$work/out")"
	done
	[ "$($R list -q | sort | tr '\n' ' ')" = "one pod " ] || fail "list: $($R list -q)"
}

n=0 i=0
while [ $i -le $n ]; do
	make pod sandbox
	make one container
	# The same order each time: by when they began.
	mapfile -t all < <(ours)
	[ ${#all[@]} -gt $n ] && n=$((${#all[@]} - 1))
	read -r victim _ <<<"${all[$i]:-}"
	who="$(cat "/proc/${victim:-none}/comm" 2>/dev/null), $((i + 1)) of ${#all[@]}"
	[ -z "$victim" ] || kill -KILL "$victim" 2>/dev/null
	state_is_readable
	$R delete --force one >"$work/out" 2>&1 || fail "delete one: $(cat "$work/out")"
	$R delete --force pod >"$work/out" 2>&1 || fail "delete pod: $(cat "$work/out")"
	wait_for_none
	[ -z "$(ls "$work/state")" ] || fail "state: $(ls "$work/state")"
	[ -z "$(ls -d /sys/fs/cgroup/moat-killed-$$-* /sys/fs/cgroup/*/moat-killed-$$-* 2>/dev/null)" ] || fail "a control group is left"
	i=$((i + 1))
done
[ $n -ge 5 ] || { echo "only $n processes"; bad=1; }
exit $bad
