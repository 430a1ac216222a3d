#!/bin/bash
# What the containers of a pod share when they are told to: process numbers, file systems in memory.
set -u
[ "$(id -u)" = 0 ] && command -v busybox >/dev/null || { echo "needs root and busybox"; exit 77; }
work=$(mktemp -d /tmp/moat-pods.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
finish() {
	local id
	for id in one two three pod; do $R delete --force $id >/dev/null 2>&1; done
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

mkdir "$work/cache" "$work/own"
HINTS="\"dev.gvisor.spec.mount.cache.source\": \"$work/cache\", \"dev.gvisor.spec.mount.cache.type\": \"tmpfs\",
	\"dev.gvisor.spec.mount.cache.share\": \"pod\", \"dev.gvisor.spec.mount.cache.options\": \"rw,size=1m,rprivate\",
	\"dev.gvisor.spec.mount.own.source\": \"$work/own\", \"dev.gvisor.spec.mount.own.type\": \"tmpfs\",
	\"dev.gvisor.spec.mount.own.share\": \"container\""
VOLUMES="{\"destination\": \"/cache\", \"type\": \"bind\", \"source\": \"$work/cache\", \"options\": [\"rbind\"]},
	{\"destination\": \"/own\", \"type\": \"bind\", \"source\": \"$work/own\", \"options\": [\"rbind\"]}"
READONLY="{\"destination\": \"/cache\", \"type\": \"bind\", \"source\": \"$work/cache\", \"options\": [\"rbind\", \"ro\"]}"

# make NAME TYPE NAMESPACES ANNOTATIONS MOUNTS: created and started.
make() {
	mkdir -p "$work/$1/rootfs"/{bin,proc,tmp,dev}
	cp "$(command -v busybox)" "$work/$1/rootfs/bin/busybox"
	for a in sh sleep echo cat ls grep touch kill ps stat dd mount; do
		ln -sf busybox "$work/$1/rootfs/bin/$a"
	done
	cat >"$work/$1/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}${5:+, $5}],
		 "linux": {"namespaces": [$3]},
		 "annotations": {"io.kubernetes.cri.container-type": "$2", "io.kubernetes.cri.sandbox-id": "pod"${4:+, $4}}}
	JSON
	$R create --bundle "$work/$1" "$1" </dev/null >"$work/out" 2>&1 && $R start "$1" && return
	echo "$1 does not start"
	cat "$work/out"
	exit 1
}

make pod sandbox '{"type": "pid"}' "$HINTS" ''
make one container '{"type": "pid", "path": "/proc/1/ns/pid"}' '' "$VOLUMES"
make two container '{"type": "pid"}' '' "$VOLUMES"
make three container '{"type": "pid", "path": "/proc/1/ns/pid"}' '' "$READONLY"

# Process numbers: of the sandbox, or one's own.
same 'pid 1 of those who share is the sandbox' "$($R exec pod stat -Lc %i /proc/1/ns/mnt)" \
	"$($R exec one stat -Lc %i /proc/1/ns/mnt)"
same 'pid namespace is shared' "$($R exec pod stat -Lc %i /proc/self/ns/pid)" \
	"$($R exec one stat -Lc %i /proc/self/ns/pid)"
[ "$($R exec two stat -Lc %i /proc/self/ns/pid)" != "$($R exec one stat -Lc %i /proc/self/ns/pid)" ] ||
	{ echo "two has the pids of the sandbox"; bad=1; }
same 'one sees the processes of three containers' 3 "$($R exec one sh -c 'grep -l "^sleep.1000" /proc/[0-9]*/cmdline | grep -c .')"
same 'two sees its own' 1 "$($R exec two sh -c 'grep -l "^sleep.1000" /proc/[0-9]*/cmdline | grep -c .')"
same 'ps counts what is its own' 1 "$($R ps one | grep -c 'sleep')"

# File systems in memory: one for all, or one each.
$R exec one sh -c 'echo shared >/cache/f; echo mine >/own/f'
same 'a shared file' shared "$($R exec two cat /cache/f)"
same 'a shared file, read-only' shared "$($R exec three cat /cache/f)"
same 'a read-only mount of it' 1 "$($R exec three touch /cache/g >/dev/null 2>&1; echo $?)"
same 'a file of its own' 0 "$($R exec two ls /own | grep -c .)"
same 'its size' 1 "$($R exec two dd if=/dev/zero of=/cache/big bs=1024 count=2048 >/dev/null 2>&1; echo $?)"
$R exec two busybox rm /cache/big
same "nothing of it is on the host" "" "$(ls "$work/cache" "$work/own" | grep -v :)"

# One that shares pids dies alone, and comes again.
$R kill one KILL
for _ in $(seq 200); do [ "$(status one)" = stopped ] && break; sleep 0.05; done
same 'one has ended' stopped "$(status one)"
same 'three lives' running "$(status three)"
same 'the sandbox lives' running "$(status pod)"
$R delete one; same 'delete one' 0 $?
same 'the file stays' shared "$($R exec two cat /cache/f)"
make one container '{"type": "pid", "path": "/proc/1/ns/pid"}' '' "$VOLUMES"
same 'the new one sees it' shared "$($R exec one cat /cache/f)"

# Each may kill what it sees, and only that.
$R exec two sh -c 'kill -9 -1' >/dev/null 2>&1
same 'one lives' running "$(status one)"
$R delete --force pod; same 'delete the sandbox' 0 $?
for id in one two three; do
	for _ in $(seq 200); do [ "$(status $id)" = stopped ] && break; sleep 0.05; done
	$R delete $id; same "delete $id" 0 $?
done
same 'no state left' '' "$(ls "$work/state")"
exit $bad
