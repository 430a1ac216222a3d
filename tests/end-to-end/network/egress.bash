# Sourced after namespace.bash: what tests of the egress policy share.
log=$work/refused

# The peer is a name server, three web servers, and a metadata service.
ip -n $peer addr add 10.77.0.3/24 dev v0
ip -n $peer addr add 169.254.169.254/32 dev lo
echo "nameserver 10.77.0.1" >"$work/resolv.conf"
echo "from the peer" >"$work/page"
: >"$work/asked"
: >"$work/served"
ip netns exec $peer python3 "$here/name_server.py" 10.77.0.1 "$work/asked" \
	web.test=10.77.0.3 other.test=10.77.0.1 rebind.test=169.254.169.254 &
ip netns exec $peer python3 -m http.server --bind 0.0.0.0 -d "$work" 8000 >/dev/null 2>>"$work/served" &
ip netns exec $peer python3 -m http.server --bind 0.0.0.0 -d "$work" 8001 >/dev/null 2>>"$work/served" &
for port in 8000 8001; do
	until_true 60 ip netns exec $peer curl -sf http://10.77.0.1:$port/page || fail "no server"
done
until_true 60 grep -q . "$work/served"
: >"$work/served"

# again CMD...: a bundle with the test's name server, in a namespace that is as it was at first.
again() {
	ip -n $peer link del v0 # a namespace that is let go of may take its time
	ip netns del $box
	open_box
	ip -n $peer addr replace 10.77.0.3/24 dev v0
	bundle "$@"
	python3 - "$work" "${annotation-}" <<'PY'
import json, sys
path = sys.argv[1] + "/bundle/config.json"
config = json.load(open(path))
config["mounts"].append({"destination": "/etc/resolv.conf", "type": "bind", "options": ["bind", "ro"],
                         "source": sys.argv[1] + "/resolv.conf"})
if sys.argv[2]:
    config["annotations"] = {"dev.moat.egress": sys.argv[2]}
json.dump(config, open(path, "w"))
PY
	rm -f "$log"
}
# refusals EXPRESSION: lines of the log for which the expression of Python is true, as a number.
refusals() {
	python3 - "$log" "$1" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
for l in lines:
    assert l["event"] == "egress-refused" and l["time"].endswith("Z"), l
print(sum(bool(eval(sys.argv[2], {}, {"l": l})) for l in lines))
PY
}
policy() { cat >"$work/policy.json"; }
