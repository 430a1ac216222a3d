#!/bin/bash
# network.sh [FILE]: Docker's networks with runc and with moat: the command lines of FILE (`network_commands`)
# have the same output and status. The daemon and its bridges are in a network namespace of the test's.
set -u
here=$(dirname "$(readlink -f "$0")")
for tool in ip iptables nsenter curl; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
commands=$here/${1:-network_commands}
network=1
. "$here/dockerd.bash"

# H CMD...: on the host as the daemon sees it.
cat >"$work/H" <<EOF
#!/bin/sh
exec nsenter --net=/run/netns/$netns "\$@"
EOF
# ask URL: until somebody answers, for a minute.
cat >"$work/ask" <<EOF
#!/bin/sh
for i in \$(seq 200); do
	$work/H curl -sf -m 5 "\$1" && exit
	sleep 0.3
done
echo nobody answers at "\$1"
exit 1
EOF
chmod +x "$work/H" "$work/ask"
export PATH=$work:$PATH

# run_all RUNTIME: what each line printed and its status, in $work/RUNTIME.
run_all() {
	local line status
	export N="--runtime $1"
	grep -v '^#\|^$' "$commands" | while IFS= read -r line; do
		timeout -k 1 120 bash -c "$line" >"$work/out" 2>&1 </dev/null
		status=$?
		printf '$ %s\n' "$line"
		sed -E 's/[0-9a-f]{64}/ID/g; s/time=[0-9.]+/time=T/; /round-trip/d; s/seq=[0-9]+/seq/' "$work/out"
		printf -- '-> %s\n' "$status"
	done >"$work/$1"
}

run_all runc
run_all moat
lines=$(grep -c '^-> ' "$work/moat")
if ! diff -a "$work/runc" "$work/moat"; then
	echo "runc's (<) and moat's (>) answers differ"
	exit 1
fi
[ "$lines" = "$(grep -vc '^#\|^$' "$commands")" ] || { echo "$lines command lines only"; exit 1; }
for p in $(pgrep moat-); do
	[ "$(awk '/^State:/ {print $2}' "/proc/$p/status" 2>/dev/null)" = Z ] && continue
	{ tr '\0' ' ' <"/proc/$p/cmdline"; } 2>/dev/null | grep -q "$work/" && { echo "process $p is left"; exit 1; }
done
[ -z "$(ls "$work/exec"/runtime-*/moby 2>/dev/null)" ] || { echo "state is left"; exit 1; }
echo "$lines command lines, the same under runc and moat"
