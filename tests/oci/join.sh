#!/bin/bash
# Containers that join namespaces of another one by path (linux.namespaces): exactly those are shared, each
# lives and dies by itself, and nothing is left.
set -u
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for tool in busybox curl python3 ip ipcmk ipcs nsenter; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
work=$(mktemp -d /tmp/moat-join.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
peer=moat-j$$
finish() {
	local id
	for id in $($R list -q); do $R delete --force "$id" >/dev/null 2>&1; done
	ip netns del $peer 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$1: expected '$2', got '$3'"
	exit 1 # what follows needs it
}
status() { $R state "$1" 2>/dev/null | sed -n 's/.*"status": "\(.*\)".*/\1/p'; }
# wait_for STATUS ID
wait_for() {
	for _ in $(seq 600); do
		[ "$(status "$2")" = "$1" ] && return
		sleep 0.05
	done
	same "$2" "$1" "$(status "$2")"
}
# soon EXPECTED CMD...: what it prints, within a while
soon() {
	local expected=$1 got
	shift
	for _ in $(seq 300); do
		got=$("$@" 2>&1)
		[ "$got" = "$expected" ] && return
		sleep 0.1
	done
	same "$*" "$expected" "$got"
}

mkdir -p "$work/rootfs"/{bin,proc,tmp,dev,www}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for a in sh sleep echo cat hostname ls grep id httpd wget tr cut ip; do
	ln -s busybox "$work/rootfs/bin/$a"
done
cp "$FUTEX" "$work/rootfs/bin/futex"
mkdir "$work/rootfs/shm" "$work/shm"
echo served >"$work/rootfs/www/index.html"
programs="$(command -v ipcmk) $(command -v ipcs)"
for f in $programs $(ldd $programs | grep -o '/[^ ]*[^ :]'); do
	mkdir -p "$work/rootfs$(dirname "$f")" && cp -L "$f" "$work/rootfs$f"
done
# bundle NAME NAMESPACES-AS-JSON ARGS-AS-JSON [MORE-AS-JSON]
bundle() {
	mkdir -p "$work/$1"
	cat >"$work/$1/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "$work/rootfs"}, "hostname": "$1",
		 "process": {"cwd": "/", "args": $3, "env": ["PATH=/bin:/usr/bin"], "user": {"uid": 0, "gid": 0},
		             "capabilities": {"bounding": ["CAP_NET_BIND_SERVICE"],
		                              "effective": ["CAP_NET_BIND_SERVICE"],
		                              "permitted": ["CAP_NET_BIND_SERVICE"]}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		            {"destination": "/shm", "source": "$work/shm", "options": ["bind", "rw"]}],
		 "linux": {"namespaces": [{"type": "mount"}$2]} ${4:-}}
	JSON
}
create() { $R create --bundle "$work/$1" --pid-file "$work/$1.pid" "$1" </dev/null >"$work/$1.out" 2>&1; }
# of NAME KIND TYPE: the namespace of a container, for bundle
of() { printf ', {"type": "%s", "path": "/proc/%s/ns/%s"}' "$3" "$(cat "$work/$1.pid")" "$2"; }
own=', {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}'

bundle a "$own" '["httpd", "-f", "-p", "127.0.0.1:80", "-h", "/www"]'
create a && $R start a; same 'start a' 0 $?
soon served $R exec a wget -qO- http://127.0.0.1/
$R exec a ipcmk -M 4096 >/dev/null; same ipcmk 0 $?
segments() { $R exec "$1" ipcs -m | grep -c '4096'; }
same "a's segment" 1 "$(segments a)"

# Numbers of processes alone.
bundle pid "$(of a pid pid)"', {"type": "network"}, {"type": "ipc"}, {"type": "uts"}' '["sleep", "1000"]'
create pid; same 'create pid' 0 $?
same created created "$(status pid)"
$R start pid; same 'start pid' 0 $?
same "the other's process" httpd "$($R exec pid sh -c 'tr "\0" " " </proc/1/cmdline | cut -d" " -f1' | tr -d ' ')"
same 'both see both' 1 "$($R exec a sh -c 'cat /proc/[0-9]*/comm | grep -c sleep')"
same 'ipc is its own' 0 "$(segments pid)"
same 'uts is its own' pid "$($R exec pid hostname)"
same 'network is its own' 1 "$($R exec pid wget -qO- http://127.0.0.1/ >/dev/null 2>&1; echo $?)"
$R kill pid KILL
wait_for stopped pid
same 'a lives' running "$(status a)"
$R delete pid; same 'delete pid' 0 $?

# The status that a parent gets (containerd's shim) is the container's.
bundle status "$(of a pid pid)"', {"type": "network"}, {"type": "ipc"}' '["sh", "-c", "exit 7"]'
same 'exit status' 7 "$(python3 - <<-PY
	import ctypes, os, subprocess
	ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
	moat = "$MOAT --root $work/state".split()
	create = ["create", "--bundle", "$work/status", "--pid-file", "$work/status.pid", "status"]
	subprocess.run(moat + create, stdin=subprocess.DEVNULL, check=True)
	subprocess.run(moat + ["start", "status"], check=True)
	pid = int(open("$work/status.pid").read())
	print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	PY
)"
$R delete status; same 'delete status' 0 $?

sed -i 's/exit 7/echo ran; exit 8/' "$work/status/config.json"
same 'run in the foreground' 'ran 8' "$(echo $($R run --bundle "$work/status" status </dev/null; echo $?))"
same 'it is gone' '' "$(ls "$work/state" | grep status)"

# IPC alone; its process is the first one.
bundle ipc "$(of a ipc ipc)"', {"type": "network"}, {"type": "pid"}, {"type": "uts"}' '["sleep", "1000"]'
create ipc && $R start ipc; same 'start ipc' 0 $?
same "the other's segment" 1 "$(segments ipc)"
# A file of the host's that both have is one, down to who waits for it.
$R exec ipc futex wait /shm/word >"$work/waited" 2>&1 &
same 'futex' woke "$($R exec a futex wake /shm/word)"
wait $!
same 'futex' woken "$(cat "$work/waited")"
same 'pids are its own' sleep "$($R exec ipc sh -c 'tr "\0" " " </proc/1/cmdline | cut -d" " -f1')"
same 'network is its own' 1 "$($R exec ipc wget -qO- http://127.0.0.1/ >/dev/null 2>&1; echo $?)"

# Network and names, by way of a container that is in the sandbox itself.
bundle net "$(of a net network)$(of a uts uts)"', {"type": "pid"}, {"type": "ipc"}' '["sleep", "1000"]'
create net && $R start net; same 'start net' 0 $?
same "the other's server" served "$($R exec net wget -qO- http://127.0.0.1/)"
same 'names are shared' a "$($R exec net hostname)"
same 'ipc is its own' 0 "$(segments net)"
bundle chain "$(of net net network)$(of ipc ipc ipc)$(of net pid pid)"', {"type": "uts"}' '["sleep", "2000"]'
create chain && $R start chain; same 'start chain' 0 $?
same 'network of a' served "$($R exec chain wget -qO- http://127.0.0.1/)"
same 'ipc of a' 1 "$(segments chain)"
same 'names are its own' chain "$($R exec chain hostname)"
same 'pids of net' 'sleep 1000' "$($R exec chain sh -c 'tr "\0" " " </proc/1/cmdline' | sed 's/ $//')"

# The first process of the namespace takes all along that are in it, nobody else.
$R kill net KILL
wait_for stopped net
wait_for stopped chain
same 'a lives' running "$(status a)"
same 'ipc lives' running "$(status ipc)"
$R delete chain && $R delete net; same 'delete both' 0 $?
# Whoever kills what stands for a container kills the container.
kill -KILL "$(cat "$work/ipc.pid")"
wait_for stopped ipc
$R delete ipc; same 'delete ipc' 0 $?
same 'a lives' running "$(status a)"

# A network of its own in there: what engines put into the namespace of its process, hooks included.
cat >"$work/hook" <<-SH
	#!/bin/sh
	pid=\$(grep -o '"pid": *[0-9]*' | grep -o '[0-9]*')
	ip netns add $peer
	ip -n $peer link add veth-j type veth peer name eth0 address 02:00:00:00:00:77
	ip -n $peer addr add 192.0.2.1/24 dev veth-j
	ip -n $peer link set veth-j up
	ip -n $peer link set eth0 netns \$pid
	nsenter --net=/proc/\$pid/ns/net sh -c 'ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip link set lo up'
SH
chmod +x "$work/hook"
bundle links "$(of a ipc ipc)"', {"type": "network"}, {"type": "pid"}, {"type": "uts"}' \
	'["httpd", "-f", "-p", "80", "-h", "/www"]' \
	", \"hooks\": {\"prestart\": [{\"path\": \"$work/hook\"}]}"
sed -i 's/"linux": {/"linux": {"sysctl": {"net.core.somaxconn": "321"}, /' "$work/links/config.json"
create links && $R start links; same "start links" 0 $?
soon served ip netns exec $peer curl -s -m 5 http://192.0.2.2/
same sysctl 321 "$($R exec links cat /proc/sys/net/core/somaxconn)"
same 'not the others' '' "$($R exec a ip link | grep eth0)"
$R delete --force links; same 'delete links' 0 $?
# The interface goes with it, and so does its other end.
soon 0 sh -c "ip -n $peer link | grep -c veth-j"

# What cannot be.
create_fails() {
	create "$1"; same "create $1" 1 $?
	same "error of $1" 1 "$(grep -c "$2" "$work/$1.out")"
}
bundle foreign ', {"type": "pid", "path": "/proc/'$$'/ns/pid"}' '["true"]'
create_fails foreign "is no pid namespace of a container of moat"
bundle relative ', {"type": "ipc", "path": "ns/ipc"}' '["true"]'
create_fails relative "no absolute path"
bundle b "$own" '["sleep", "1000"]'
create b && $R start b; same 'start b' 0 $?
bundle two "$(of a pid pid)$(of b ipc ipc)" '["true"]'
create_fails two "others are of that of 'a'"
bundle late "$(of b ipc ipc)" '["true"]'
$R kill b KILL
wait_for stopped b
create_fails late "is no ipc namespace of a container of moat"
$R delete b

# The owner of the sandbox goes first.
bundle last "$(of a pid pid)$(of a ipc ipc)$(of a net network)" '["sleep", "1000"]'
create last && $R start last; same 'start last' 0 $?
$R delete --force a; same 'delete a' 0 $?
wait_for stopped last
$R delete last; same 'delete last' 0 $?

same list '' "$($R list -q)"
same 'no state left' '' "$(ls "$work/state")"
for name in a pid ipc net chain links b last; do
	same "process of $name" '' "$(grep '^State:' "/proc/$(cat "$work/$name.pid")/status" 2>/dev/null | grep -v Z)"
done
