#!/bin/bash
# Containers of one sandbox, by the annotations of CRI runtimes: they share what a pod shares, and each lives
# and dies by itself.
set -u
[ "$(id -u)" = 0 ] && command -v busybox >/dev/null || { echo "needs root and busybox"; exit 77; }
work=$(mktemp -d /tmp/moat-pod.XXXXXX)
R="timeout -k 1 30 $MOAT --root $work/state"
finish() {
	local id
	for id in $($R list -q); do $R delete --force "$id" >/dev/null 2>&1; done
	rm -rf "$work"
}
trap finish EXIT
bad=0
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$1: expected '$2', got '$3'"
	bad=1
}
status() { $R state "$1" 2>/dev/null | sed -n 's/.*"status": "\(.*\)".*/\1/p'; }
# wait_for STATUS ID
wait_for() {
	for _ in $(seq 100); do
		[ "$(status "$2")" = "$1" ] && return
		sleep 0.05
	done
	echo "$2 is $(status "$2"), not $1"
	bad=1
}

# bundle NAME TYPE ARGS-AS-JSON
bundle() {
	mkdir -p "$work/$1/rootfs"/{bin,proc,tmp,dev}
	cp "$(command -v busybox)" "$work/$1/rootfs/bin/busybox"
	for a in sh sleep echo cat hostname ls grep id touch; do
		ln -s busybox "$work/$1/rootfs/bin/$a"
	done
	cat >"$work/$1/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "hostname": "$1",
		 "process": {"cwd": "/", "args": $3, "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
		 "annotations": {"io.kubernetes.cri.container-type": "$2",
		                 "io.kubernetes.cri.sandbox-id": "pause"}}
	JSON
}
create() { $R create --bundle "$work/$1" --pid-file "$work/$1.pid" "$1" </dev/null >"$work/$1.out" 2>&1; }

bundle pause sandbox '["sleep", "1000"]'
bundle one container '["sh", "-c", "echo from one; sleep 1000"]'
bundle two container '["sh", "-c", "echo from two; exit 7"]'

create one; same 'without a sandbox' 1 $?
create pause; same create 0 $?
$R start pause; same start 0 $?
create one; same 'create one' 0 $?
same created created "$(status one)"
[ -d "/proc/$(cat "$work/one.pid")" ] || { echo "no process stands for one"; bad=1; }
$R start one; same 'start one' 0 $?
wait_for running one
for _ in $(seq 100); do grep -q from "$work/one.out" && break; sleep 0.05; done
same output 'from one' "$(cat "$work/one.out")"

# What is shared, and what is not.
same 'uts is the sandbox' pause "$($R exec one hostname)"
$R exec one touch /tmp/mine
same 'root is its own' 'no' "$($R exec pause sh -c 'ls /tmp/mine >/dev/null 2>&1 && echo yes || echo no')"
same 'pids are its own' 1 "$($R exec one sh -c 'ls /proc | grep -c "^1\$"')"
same 'kill does not reach others' 1 "$($R exec one sh -c 'kill -9 -1 2>/dev/null; echo 1')"
same 'the sandbox goes on' here "$($R exec pause echo here)"

# One that ends takes nobody along; its exit status is known.
create two && $R start two
wait_for stopped two
same 'output of two' 'from two' "$(cat "$work/two.out")"
same 'exit status' 7 "$($R wait two)"
$R delete two; same 'delete two' 0 $?
same 'one lives' running "$(status one)"
create two; same 'its name is free' 0 $?
$R delete two; same 'delete created' 0 $?

# Paused alone.
$R pause one; same paused paused "$(status one)"
same 'the others run' here "$($R exec pause echo here)"
$R resume one; same resumed running "$(status one)"

$R kill one KILL
wait_for stopped one
$R delete one; same 'delete one' 0 $?

# Whoever kills what stands for a container kills the container.
create one && $R start one
kill -KILL "$(cat "$work/one.pid")"
wait_for stopped one
$R delete one; same 'delete after kill' 0 $?

# With the sandbox go all.
create one && $R start one
$R delete --force pause; same 'delete the sandbox' 0 $?
wait_for stopped one
$R delete one; same 'delete last' 0 $?
same list '' "$($R list -q)"
same 'no state left' '' "$(ls "$work/state")"
exit $bad
