#!/bin/bash
# A container in a network namespace with a veth: it sees what a native program sees there, reaches its
# peer and is reached, and nothing is left behind.
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/namespace.bash"

# --- the same as natively
cp "$here/show" "$work/show"
ip netns exec $box env LC_ALL=C bash "$work/show" >"$work/native" 2>&1
ip netns del $box
open_box
bundle bash /mnt/show
moat run --bundle "$work/bundle" show >"$work/moat" 2>&1 || fail "status $?"
diff "$work/native" "$work/moat" || fail "what programs see natively (<) and in moat (>) differs"
[ "$(wc -l <"$work/native")" -ge 40 ] || fail "the native run printed $(wc -l <"$work/native") lines"

# --- the namespace has given its addresses away
[ -z "$(ip -n $box -o addr show dev eth0)" ] || fail "addresses are left: $(ip -n $box -o addr)"
ip netns del $box
open_box

# --- both ways, both families
ip netns exec $peer python3 -m http.server --bind 10.77.0.1 -d "$work" 8000 >/dev/null 2>&1 &
dd if=/dev/urandom of="$work/large" bs=1M count=40 2>/dev/null
until_true 60 ip netns exec $peer curl -sf http://10.77.0.1:8000/show -o /dev/null || fail "no server"
bundle bash -c 'curl -sf http://10.77.0.1:8000/large | sha256sum
	cd /mnt && exec python3 -m http.server --bind :: 80 >/dev/null 2>&1'
moat run -d --bundle "$work/bundle" serve >"$work/sum" 2>"$work/err" || fail "serve: $(cat "$work/err")"
for address in 10.77.0.2 '[fd77::2]'; do
	until_true 60 ip netns exec $peer curl -sf "http://$address/show" -o /dev/null ||
		fail "no answer from $address"
	[ "$(ip netns exec $peer curl -sf "http://$address/large" | sha256sum)" = "$(sha256sum <"$work/large")" ] ||
		fail "what came from $address is not what was sent"
done
[ "$(cat "$work/sum")" = "$(sha256sum <"$work/large")" ] || fail "what the container received differs"

# --- once per sandbox, and the sandbox has no socket of its own making
sentry=$(sed -n 's/.*"pid": \([0-9]*\),.*/\1/p' "$work/root/serve/state.json")
grep -q '^Seccomp:.*2' "/proc/$sentry/status" || fail "no filter"
[ "$(readlink "/proc/$sentry/ns/net")" != "$(ip netns exec $box readlink /proc/self/ns/net)" ] ||
	fail "the sandbox is in the container's namespace"

# --- a second container of the namespace is in the first one's sandbox, and shares its network
bundle curl -sf http://127.0.0.1/show -o /dev/null
moat run --bundle "$work/bundle" second >"$work/out" 2>&1 || fail "it does not share: $(cat "$work/out")"
moat run --network none --bundle "$work/bundle" second >"$work/out" 2>&1 && fail "--network none shares"

# --- malformed frames do no harm
ip netns exec $peer python3 - <<'PY' || fail "could not send"
import os, socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("v0", 0))
for i in range(3000):
    head = bytes.fromhex("020000007702020000007701") + [b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"][i % 4]
    body = bytearray(os.urandom(i % 200 + 1))
    if i % 4 == 0: body[0] = 0x45
    if i % 4 == 1: body[0] = 0x60
    s.send(head + body)
PY
until_true 60 ip netns exec $peer curl -sf http://10.77.0.2/show -o /dev/null || fail "dead after malformed frames"

# --- a link that goes down, and comes back
ip -n $peer link set v0 down
ip -n $peer link set v0 up
until_true 60 ip netns exec $peer curl -sf http://10.77.0.2/show -o /dev/null || fail "dead after the link was down"

moat kill serve KILL
until_true 60 sh -c "! [ -e /proc/$sentry ]" || fail "the sandbox lives"
moat delete --force serve || fail "delete"

# --- a container cannot take the namespace's links while somebody else lives in it
ip netns exec $box sleep 1000 &
sleeper=$!
until_true 20 [ "$(ip netns pids $box)" != "" ]
bundle true
moat run --bundle "$work/bundle" second >"$work/out" 2>&1 && fail "it took the links of others"
grep -q "lives in it" "$work/out" || fail "message: $(cat "$work/out")"
kill $sleeper
wait $sleeper 2>/dev/null

# --- without network
bundle sh -c 'cat /proc/net/dev | tail -n +3 | wc -l'
[ "$(moat run --network none --bundle "$work/bundle" none)" = 1 ] || fail "--network none has links"
exit $failed
