#!/bin/bash
# --network=host: a guest's sockets are those of the namespace that moat was started in, both ways, with
# the same answers as natively; the egress policy holds for them.
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/namespace.bash"
chmod 755 "$work"
echo "from the peer" >"$work/page"
echo "nameserver 10.77.0.1" >"$work/resolv.conf"
: >"$work/asked"
ip netns exec $peer python3 -m http.server --bind 10.77.0.1 -d "$work" 8000 >/dev/null 2>&1 &
ip netns exec $peer python3 "$here/name_server.py" 10.77.0.1 "$work/asked" web.test=10.77.0.1,1 &
until_true 60 ip netns exec $peer curl -sf http://10.77.0.1:8000/page || fail "no server at the peer"

host() { ip netns exec $box "$@"; }
as_root() { host timeout -k 1 120 "$MOAT" "$@"; }
as_nobody() { host timeout -k 1 120 setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/ "$MOAT" "$@"; }
users=as_root
command -v setpriv >/dev/null && as_nobody do -- true 2>/dev/null && users="as_root as_nobody"

for run in $users; do
	[ "$($run do --network=host -- curl -sf -m 60 http://10.77.0.1:8000/page)" = "from the peer" ] ||
		fail "$run: the peer is not reached"
	# What socket calls answer: the tests of the stack's own sockets are passed by the host's, too.
	for test in inet_loopback inet_control; do
		$run do --network=host -- "$BUILD/guest/$test" >"$work/out" 2>&1 || fail "$run: $test: $(tail -3 "$work/out")"
	done
done
as_root do --network=host --platform=ptrace -- curl -sf -m 60 http://10.77.0.1:8000/page >/dev/null || fail "ptrace"

# --- a server, from outside and by the host's loopback
dd if=/dev/urandom of="$work/large" bs=1M count=20 2>/dev/null
as_root do --network=host -- python3 -m http.server --bind :: -d "$work" 8080 >/dev/null 2>&1 &
server=$!
until_true 60 ip netns exec $peer curl -sf http://10.77.0.2:8080/page || fail "the server is not reached"
[ "$(ip netns exec $peer curl -sf "http://[fd77::2]:8080/large" | sha256sum)" = "$(sha256sum <"$work/large")" ] ||
	fail "what came is not what was sent"
host curl -sf -m 20 http://127.0.0.1:8080/page >/dev/null || fail "the host's loopback"
# One sandbox reaches another, by the host.
[ "$(as_root do --network=host -- curl -sf -m 20 http://127.0.0.1:8080/page)" = "from the peer" ] || fail "another sandbox"
gofer=$(ip netns pids $box | while read -r p; do grep -sx moat-gofer "/proc/$p/comm"; done)
[ -z "$gofer" ] || fail "the gofer is in the namespace"
kill $server
wait $server 2>/dev/null

# --- nothing but TCP and UDP is the host's: other sockets and namespaces have what they always had
out=$(as_root do --network=host -- python3 -c '
import socket
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
print([name for _, name in socket.if_nameindex()])
s = socket.socket()
for level, name in ((socket.SOL_SOCKET, 26), (socket.SOL_SOCKET, socket.SO_BINDTODEVICE), (socket.IPPROTO_TCP, 13), (socket.IPPROTO_IP, 64)):
    try:
        s.setsockopt(level, name, b"v0" + bytes(62))
        print("set", level, name)
    except OSError as e:
        pass')
[ "$out" = "['lo']" ] || fail "other sockets: $out"

# --- a program with an event loop
if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
	out=$(as_root do --network=host -- sh -c 'redis-server --port 16379 --save "" >/dev/null &
		until redis-cli -p 16379 ping 2>/dev/null | grep -q PONG; do sleep 0.1; done
		redis-cli -p 16379 set key value; redis-cli -p 16379 get key; redis-cli -p 16379 shutdown nosave; wait')
	[ "$out" = $'OK\nvalue' ] || fail "redis: $out"
fi

# --- the egress policy
echo '{"default": "deny", "rules": [{"allow": "web.test", "ports": 8000}]}' >"$work/policy.json"
out=$(as_root do --network=host --egress="$work/policy.json" --egress-log="$work/refused" \
	--volume "$work/resolv.conf:/etc/resolv.conf:ro" -- \
	sh -c 'curl -s -m 50 http://10.77.0.1:8000/page; echo $?; curl -s -m 50 http://other.test:8000/page; echo $?
		curl -sf -m 50 http://web.test:8000/page; curl -s -m 50 http://10.77.0.1:8001/page; echo $?')
[ "$out" = $'7\n6\nfrom the peer\n7' ] || fail "egress: $out"
grep -q other "$work/asked" && fail "the name server was asked for what no rule allows"
grep -q '"address":"10.77.0.1","port":8000' "$work/refused" || fail "what was refused: $(cat "$work/refused")"
as_root do --network=host -- curl -s -m 20 http://169.254.169.254/ 2>"$work/err"
[ $? = 7 ] && grep -q '"reason":"metadata"' "$work/err" || fail "metadata: $(cat "$work/err")"

# --- containers
bundle curl -sf -m 60 http://10.77.0.1:8000/page
host "$MOAT" --root "$work/root" run --network host --bundle "$work/bundle" own >"$work/out" 2>&1 && fail "a namespace of its own"
grep -q "asks for a network namespace" "$work/out" || fail "message: $(cat "$work/out")"
python3 - "$work/bundle/config.json" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
json.dump(config, open(sys.argv[1], "w"))
PY
[ "$(host timeout -k 1 120 "$MOAT" --root "$work/root" run --network host --bundle "$work/bundle" host)" = "from the peer" ] ||
	fail "run"
[ "$(ip -n $box -o addr show dev eth0 | wc -l)" -ge 2 ] || fail "the namespace has lost its addresses"
exit $failed
