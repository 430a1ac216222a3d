# Sourced: a namespace "peer" (10.77.0.1, fd77::1) and one "box" (10.77.0.2, fd77::2), a veth between
# them, and a bundle with the host's files, read-only. Everything is removed on exit.
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
for tool in ip python3 curl; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
work=$(mktemp -d /tmp/moat-network.XXXXXX)
peer=moat-p$$ box=moat-b$$
failed=0
fail() {
	echo "FAIL: $*"
	failed=1
}

close_network() {
	[ -n "$(jobs -p)" ] && kill $(jobs -p) 2>/dev/null
	"$MOAT" --root "$work/root" list -q 2>/dev/null |
		xargs -r -n1 "$MOAT" --root "$work/root" delete --force
	# Nothing of the test's lives but in these.
	{ ip netns pids $box; ip netns pids $peer; } 2>/dev/null | xargs -r kill 2>/dev/null
	ip netns del $box 2>/dev/null
	ip netns del $peer 2>/dev/null
	rm -rf "$work"
}
trap close_network EXIT

# The same link addresses each time, so that what programs print can be compared.
open_box() {
	ip netns add $box || exit 77
	# Of a box that was there before, the host may not have removed it yet.
	ip -n $peer link del v0 2>/dev/null
	ip -n $peer link add v0 address 02:00:00:00:77:01 type veth \
		peer name eth0 address 02:00:00:00:77:02 netns $box || exit 77
	ip -n $peer addr add 10.77.0.1/24 dev v0
	ip -n $peer addr add fd77::1/64 dev v0 nodad
	ip -n $peer link set v0 up
	ip -n $box addr add 10.77.0.2/24 brd + dev eth0
	ip -n $box addr add fd77::2/64 dev eth0 nodad
	ip -n $box link set lo up
	ip -n $box link set eth0 up
	ip -n $box route add default via 10.77.0.1
	ip -n $box route add 10.88.0.0/16 via 10.77.0.9 metric 7
	ip -n $box neigh add 10.77.0.9 lladdr 02:00:00:00:77:09 dev eth0 nud permanent
}
ip netns add $peer || exit 77
ip -n $peer link set lo up
open_box

# bundle CMD...: in the namespace of the box.
bundle() {
	mkdir -p "$work/bundle"
	python3 - "/run/netns/$box" "$work" "$@" >"$work/bundle/config.json" <<'PY'
import json, sys
caps = ["CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]
print(json.dumps({
    "ociVersion": "1.0.2",
    "process": {"user": {"uid": 0, "gid": 0}, "args": sys.argv[3:], "cwd": "/",
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
                "capabilities": {k: caps for k in
                                 ["bounding", "effective", "permitted", "inheritable"]}},
    "root": {"path": "/", "readonly": True},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
               {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
               {"destination": "/mnt", "type": "bind", "source": sys.argv[2],
                "options": ["bind"]}],
    "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"},
                             {"type": "network", "path": sys.argv[1]}]}}))
PY
}
moat() {
	timeout -k 1 120 "$MOAT" --root "$work/root" "$@"
}
# until SECONDS CMD...: tries it until it succeeds.
until_true() {
	local end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $end ] || return 1
		sleep 0.1
	done
}
