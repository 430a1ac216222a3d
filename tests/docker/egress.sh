#!/bin/bash
# A runtime of Docker's with an egress policy: names of a network of the user's, by way of Docker's name
# server, open what they stand for, and nothing else is reached.
set -u
here=$(dirname "$(readlink -f "$0")")
for tool in ip iptables nsenter; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
network=1
more_runtimes=",\"guarded\":{\"path\":\"$MOAT\",\"runtimeArgs\":[\"--egress=@work@/policy.json\",\"--egress-log=@work@/refused\"]}"
. "$here/dockerd.bash"
echo '{"default": "deny", "rules": [{"allow": "web", "protocol": "tcp", "ports": 8080}]}' >"$work/policy.json"
failed=0
fail() {
	echo "FAIL: $*"
	failed=1
}
run() { timeout -k 1 120 docker run --rm --runtime guarded --network n1 box "$@" 2>/dev/null; }

docker network create --subnet 172.30.0.0/24 n1 >/dev/null || fail "network create"
for name in web other; do
	docker run -d --runtime moat --network n1 --name $name box \
		sh -c "mkdir /w; echo from $name >/w/index.html; exec httpd -f -h /w -p 8080" >/dev/null || fail "run $name"
	for i in $(seq 200); do
		[ "$(docker exec $name wget -qO- http://127.0.0.1:8080/ 2>/dev/null)" = "from $name" ] && break
		sleep 0.3
	done
done
address() { docker inspect -f '{{.NetworkSettings.Networks.n1.IPAddress}}' "$1"; }
[ "$(run wget -qO- http://web:8080/)" = "from web" ] || fail "the name that is allowed"
run wget -qO- "http://$(address web):8080/" && fail "an address that nobody has asked for"
run sh -c "wget -qO- http://web:8080/ >/dev/null && wget -qO- http://$(address other):8080/" && fail "another address"
run nslookup -type=a other 127.0.0.11 && fail "a name that no rule allows"
grep -q '"reason":"name".*"name":"other"' "$work/refused" || fail "the log: $(cat "$work/refused")"
grep -q "\"address\":\"$(address other)\",\"port\":8080" "$work/refused" || fail "the log: $(cat "$work/refused")"
docker exec other wget -qO- http://web:8080/ >/dev/null || fail "who has no policy"
exit $failed
