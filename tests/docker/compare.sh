#!/bin/bash
# compare.sh [FILE]: the command lines of FILE (`commands`) through a real dockerd, with runc and with moat: the same output and
# status, and nothing left behind.
set -u
here=$(dirname "$(readlink -f "$0")")
commands=$here/${1:-commands}
. "$here/dockerd.bash"

# run_all RUNTIME: what each line printed and its status, in $work/RUNTIME.
run_all() {
	local line status
	export N="--runtime $1 --network none" V="$work/volume"
	rm -rf "$V" && mkdir "$V"
	grep -v '^#' "$commands" | while IFS= read -r line; do
		timeout -k 1 60 bash -c "$line" >"$work/out" 2>&1 </dev/null
		status=$?
		printf '$ %s\n' "$line"
		# The runtimes' names; what differs from run to run.
		sed -E "s/OCI runtime (create|exec) failed: ($1 create failed: )?/OCI runtime \1 failed: /;
			s/[0-9a-f]{64}/ID/g" "$work/out"
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
[ "$lines" = "$(grep -vc '^#' "$commands")" ] || { echo "$lines command lines only"; exit 1; }
# Zombies count where nobody reaps them: look for living ones.
for p in $(pgrep moat-); do
	[ "$(awk '/^State:/ {print $2}' "/proc/$p/status" 2>/dev/null)" = Z ] && continue
	{ tr "\0" " " <"/proc/$p/cmdline"; } 2>/dev/null | grep -q "$work/" && { echo "process $p is left"; exit 1; }
done
[ -z "$(ls "$work/exec"/runtime-*/moby 2>/dev/null)" ] || { echo "state is left"; exit 1; }
echo "$lines command lines, the same under runc and moat"
