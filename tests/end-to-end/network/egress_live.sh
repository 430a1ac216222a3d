#!/bin/bash
# Packets that are made by hand do not leave against the policy; it is changed while a container runs.
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/namespace.bash"
. "$here/egress.bash"

# --- packets that are made by hand do not leave either
cat >"$work/by_hand.py" <<'PY'
import socket, struct
def checksum(b):
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    s = (s & 0xffff) + (s >> 16)
    return ~((s & 0xffff) + (s >> 16)) & 0xffff
def ip(body, to, off=0, options=b""):
    head = struct.pack(">BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 7, off, 64, 17, 0,
                       socket.inet_aton("10.77.0.2"), socket.inet_aton(to)) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body
udp = struct.pack(">HHHH", 9, 8000, 8 + 6, 0) + b"SECRET"
route = bytes.fromhex("83070a4d00030400")
frames = [(0x0800, ip(udp, "10.77.0.1")), (0x0800, ip(udp, "10.77.0.1", off=0x2001)), (0x0800, ip(udp, "10.77.0.3", options=route)),
          (0x8100, b"\0\1\x08\0" + ip(udp, "10.77.0.1")), (0x88b5, b"SECRET" * 9), (0x0806, b"SECRET" * 20),
          (0x0800, ip(b"SECRETSECRET", "10.77.0.3", off=0x2000))]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
refused = 0
for kind, body in frames:
    for mac in ("020000007701", "ffffffffffff"):
        try:
            s.send(bytes.fromhex(mac + "020000007702") + struct.pack(">H", kind) + body)
        except PermissionError:
            refused += 1
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 222)
try:
    raw.sendto(b"SECRET", ("10.77.0.1", 0))
except PermissionError:
    refused += 1
ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
try:
    ping.sendto(b"\x08\0\0\0\0\1\0\1SECRET", ("10.77.0.1", 0))
except PermissionError:
    refused += 1
print(refused)
s.send(bytes.fromhex("020000007701020000007702") + b"\x08\0" + ip(udp[:8] + b"HARMLESS"[:6], "10.77.0.3"))
PY
cat >"$work/listen.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("v0", 0))
print("ready", flush=True)
while True:
    frame = s.recv(2000)
    if b"SECRET" in frame:
        print("SECRET", frame.hex(), flush=True)
    if b"HARMLE" in frame:
        print("end", flush=True)
        break
PY
policy <<<'{"default": "deny", "rules": [{"allow": "10.77.0.3", "protocol": "udp", "ports": 8000}]}'
again python3 /mnt/by_hand.py
timeout 100 ip netns exec $peer python3 "$work/listen.py" >"$work/heard" &
until_true 60 grep -q ready "$work/heard" || fail "nobody listens"
out=$(moat run --egress="$work/policy.json" --egress-log="$log" --bundle "$work/bundle" hand)
[ "$out" = 16 ] || fail "by hand: $out of 16 were refused: $(cat "$log")"
until_true 60 grep -q end "$work/heard" || fail "what is allowed did not arrive"
grep -q SECRET "$work/heard" && fail "by hand: $(cat "$work/heard")"

# --- who comes from outside is answered; the policy is changed while the container runs
again bash -c 'cd /mnt; python3 -m http.server 80 >/dev/null 2>&1 &
	until curl -s -m 50 http://127.0.0.1/page; do sleep 0.1; done
	while ! curl -s -m 5 http://10.77.0.1:8000/page >/dev/null; do sleep 0.1; done; echo out
	while curl -s -m 5 http://10.77.0.1:8000/page >/dev/null; do sleep 0.1; done; echo in; sleep 1000'
moat run -d --egress=deny --egress-log="$log" --bundle "$work/bundle" live >"$work/out" 2>"$work/err" || fail "live: $(cat "$work/err")"
until_true 60 ip netns exec $peer curl -sf http://10.77.0.2/page || fail "who comes from outside is not answered"
grep -q out "$work/out" && fail "live: deny let it out"
moat egress live | python3 -c '
import json, sys
s = json.load(sys.stdin)
assert s["policy"] == {"default": "deny", "metadata": "deny", "resolvers": ["10.77.0.1"], "rules": []}, s
assert s["names"] == [] and s["questions"] == 0, s' || fail "moat egress shows: $(moat egress live)"
policy <<<'{"default": "deny", "rules": [{"allow": "10.77.0.0/30", "protocol": "tcp", "ports": "8000-8001"}, {"allow": "a.test"}]}'
moat egress live "$work/policy.json" || fail "a new policy"
until_true 60 grep -q out "$work/out" || fail "the new policy does not hold"
moat egress live | python3 -c '
import json, sys
p = json.load(sys.stdin)["policy"]
assert p["rules"] == [{"allow": "10.77.0.0/30", "protocol": "tcp", "ports": ["8000-8001"]}, {"allow": "a.test"}], p
assert p["resolvers"] == ["10.77.0.1"], p' || fail "moat egress shows: $(moat egress live)"
echo '{"default": "deny", "rules": [{"allow": "10.77.0.0/33"}]}' | moat egress live - 2>"$work/err" && fail "a bad policy"
grep -q 'rules\[0\].allow' "$work/err" || fail "message: $(cat "$work/err")"
moat egress live deny || fail "deny"
until_true 60 grep -q in "$work/out" || fail "the last policy does not hold"
ip netns exec $peer curl -sf -m 20 http://10.77.0.2/page >/dev/null || fail "who comes from outside is not answered any more"
moat kill live KILL
moat egress no-such 2>/dev/null && fail "a container that is not there"

# --- a sandbox without links has no policy to change
again sleep 1000
moat run -d --network none --bundle "$work/bundle" none >/dev/null 2>&1
moat egress none 2>"$work/err" && fail "a policy without a network"
grep -q "without a network" "$work/err" || fail "message: $(cat "$work/err")"
exit $failed
