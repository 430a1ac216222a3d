#!/bin/bash
# The command lines of commands.containerd through a containerd of the test's own and ctr, with runc and with moat.
set -u
here=$(dirname "$(readlink -f "$0")")
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
for tool in containerd ctr runc busybox python3; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
. "$here/containerd.bash"

cat >"$work/config.toml" <<-CONF
	version = 2
	root = "$work/root"
	state = "$work/state"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "$work/containerd.sock"
	[debug]
	  level = "warn"
CONF
start_containerd moat

# run_all NAME BINARY: what each line printed and its status, in $work/out.NAME.
run_all() {
	local line status
	export RUN="ctr run --runtime io.containerd.runc.v2 --runc-binary $2" I=moat.test/box:latest V="$work/volume"
	rm -rf "$V" && mkdir "$V"
	grep -v '^#' "$here/commands.containerd" | while IFS= read -r line; do
		timeout -k 1 60 bash -c "$line" >"$work/line.out" 2>&1 </dev/null
		status=$?
		printf '$ %s\n' "$line"
		sed -E "s/OCI runtime (create|exec) failed: ([a-z]+ create failed: )?/OCI runtime \1 failed: /; s/^time=\"[^\"]*\" //" "$work/line.out" |
			LC_ALL=C sort # two pipes: which comes first is chance
		printf -- '-> %s\n' "$status"
	done >"$work/out.$1"
}

run_all runc "$(command -v runc)"
run_all moat "$MOAT"
lines=$(grep -c '^-> ' "$work/out.moat")
if ! diff -a "$work/out.runc" "$work/out.moat"; then
	echo "runc's (<) and moat's (>) answers differ"
	exit 1
fi
[ "$lines" = "$(grep -vc '^#' "$here/commands.containerd")" ] || { echo "$lines command lines only"; exit 1; }
nothing_is_left || exit 1
echo "$lines command lines, the same under runc and moat"
