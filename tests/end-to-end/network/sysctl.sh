#!/bin/bash
# linux.sysctl of config.json sets what the container's network namespace has in /proc/sys/net.
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/namespace.bash"

bundle bash -c 'cd /proc/sys/net; cat core/somaxconn ipv4/ip_unprivileged_port_start ipv4/ip_local_port_range
	python3 -c "
import socket
socket.socket().bind((\"\", 80))
print(\"bound\")"'
python3 - "$work/bundle/config.json" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
config["process"]["user"] = {"uid": 65534, "gid": 65534}
config["process"]["capabilities"] = {}
config["linux"]["sysctl"] = {"net.core.somaxconn": "321", "net.ipv4.ip_unprivileged_port_start": "0",
                             "net.ipv4.ip_local_port_range": "40000 40009", "net.ipv4.ping_group_range": "0 2147483647",
                             "net.ipv4.no_such_thing": "1", "kernel.shm_rmid_forced": "1"}
json.dump(config, open(sys.argv[1], "w"))
PY
out=$(moat run --bundle "$work/bundle" settings 2>"$work/log")
[ "$out" = $'321\n0\n40000\t40009\nbound' ] || fail "settings: $out"
grep -q "net.ipv4.no_such_thing" "$work/log" || fail "nobody says what is not applied: $(cat "$work/log")"
grep -q "kernel.shm_rmid_forced" "$work/log" || fail "nobody says what is not applied: $(cat "$work/log")"
grep -q "somaxconn\|ping_group_range" "$work/log" && fail "a warning for what is applied"
exit $failed
