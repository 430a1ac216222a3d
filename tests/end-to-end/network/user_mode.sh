#!/bin/bash
# moat do --network=sandbox: out by way of passt, in by published ports; nothing is left, whoever is killed.
set -u
here=$(dirname "$(readlink -f "$0")")
for tool in passt busybox setpriv; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
. "$here/namespace.bash"
chmod 755 "$work"
echo "from the peer" >"$work/page"
mkdir -m 755 "$work/guest" && echo "from the guest" >"$work/guest/page"
files_before=$(ls /tmp | grep -c '^moat-passt')

# host CMD...: what is outside of the sandbox is the namespace of the box.
host() { ip netns exec $box "$@"; }
host python3 -m http.server --bind 127.0.0.1 -d "$work" 8001 >/dev/null 2>&1 &
ip netns exec $peer python3 -m http.server --bind 10.77.0.1 -d "$work" 8000 >/dev/null 2>&1 &
echo "nameserver 10.77.0.1" >"$work/resolv.conf"
: >"$work/asked"
ip netns exec $peer python3 "$here/name_server.py" 10.77.0.1 "$work/asked" web.test=10.77.0.1 &
echo '{"default": "deny", "rules": [{"allow": "web.test", "ports": 8000}]}' >"$work/policy.json"
until_true 60 host curl -sf http://10.77.0.1:8000/page || fail "no server at the peer"
until_true 60 host curl -sf http://127.0.0.1:8001/page || fail "no server on the host"

# ours PATTERN: processes in the namespace whose names are like it.
ours() {
	local p
	for p in $(ip netns pids $box); do
		grep -qsE "$1" "/proc/$p/comm" && echo "$p"
	done
}
gone() { [ -z "$(ours 'passt|moat')" ]; }
as_root() { host timeout -k 1 120 "$MOAT" "$@"; }
as_nobody() { host timeout -k 1 120 setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/ "$MOAT" "$@"; }
users=as_root
as_nobody do -- true 2>/dev/null && users="as_root as_nobody"

for run in $users; do
	[ "$($run do --network=sandbox -- curl -sf -m 60 http://10.77.0.1:8000/page)" = "from the peer" ] ||
		fail "$run: the peer is not reached"
	$run do --network=sandbox -- bash -c '! curl -sf -m 5 http://10.0.2.2:8001/page && ! curl -sf -m 5 http://127.0.0.1:8001/page' ||
		fail "$run: the host's loopback is reached"
	out=$($run do --egress="$work/policy.json" --network=sandbox --volume "$work/resolv.conf:/etc/resolv.conf:ro" -- \
		sh -c 'curl -s -m 50 http://10.77.0.1:8000/page; echo $?; curl -s -m 50 http://other.test:8000/page; echo $?
			curl -sf -m 50 http://web.test:8000/page' 2>"$work/err")
	[ "$out" = $'7\n6\nfrom the peer' ] || fail "$run: egress: $out"
	grep -q '"event":"egress-refused".*"address":"10.77.0.1","port":8000' "$work/err" ||
		fail "$run: what was refused: $(cat "$work/err")"
	[ "$($run do -- sh -c 'tail -n +3 /proc/net/dev | wc -l')" = 1 ] || fail "$run: a link without being asked"
	$run do --network=sandbox -- sh -c 'exit 7'
	[ $? = 7 ] || fail "$run: status"

	$run do --publish 8080:8000 --publish 127.0.0.1:8081:8000/tcp -- \
		busybox httpd -f -p 8000 -h "$work/guest" >/dev/null 2>&1 &
	server=$!
	for at in 127.0.0.1:8080 10.77.0.2:8080 127.0.0.1:8081; do
		until_true 60 host curl -sf -m 5 "http://$at/page"
		[ "$(host curl -sf -m 20 "http://$at/page")" = "from the guest" ] || fail "$run: nobody at $at"
	done
	host curl -sf -m 3 http://10.77.0.2:8081/page && fail "$run: a port of the loopback is open to others"
	kill -KILL $(ours '^moat$')
	wait $server 2>/dev/null
	until_true 60 gone || fail "$run: processes are left: $(ours 'passt|moat')"
done

# --- what cannot be had is said
as_root do --publish 99999:80 -- true 2>"$work/err" && fail "a port that there is not"
grep -q -- "--publish must be" "$work/err" || fail "message: $(cat "$work/err")"
host python3 -m http.server --bind 0.0.0.0 8090 >/dev/null 2>&1 &
until_true 60 host curl -sf http://127.0.0.1:8090/
as_root do --publish 8090:80 -- true 2>"$work/err"
[ $? = 125 ] || fail "a port in use: $(cat "$work/err")"
host "$(command -v env)" PATH="$work" "$MOAT" do --network=sandbox -- /bin/true 2>"$work/err"
[ $? = 125 ] && grep -q "passt" "$work/err" || fail "without passt: $(cat "$work/err")"
[ "$(ls /tmp | grep -c '^moat-passt')" = "$files_before" ] || fail "files are left in /tmp"
exit $failed
