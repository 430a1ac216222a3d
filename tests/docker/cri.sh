#!/bin/bash
# A pod through the CRI plugin of a containerd of the test's own, with runc and with moat: cri.py says what it
# does. The node's network is a namespace of the test's, too.
set -u
here=$(dirname "$(readlink -f "$0")")
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
for tool in containerd ctr runc busybox unshare ip iptables; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
/usr/bin/python3 -c 'import grpc' 2>/dev/null || { echo "no python3-grpcio here"; exit 77; }
plugins=/usr/lib/cni
[ -x $plugins/bridge ] || { echo "no containernetworking-plugins here"; exit 77; }
[ -n "${MOAT_CRI_INSIDE:-}" ] || MOAT_CRI_INSIDE=1 exec unshare -n -m "$0" "$@"
ip link set lo up
mount --make-rprivate /
. "$here/containerd.bash"
# Names of the plugins' own, which are the same in each of their networks: where they keep addresses and pods' namespaces.
mount -t tmpfs moat-test /var/lib/cni 2>/dev/null || { mkdir -p /var/lib/cni && mount -t tmpfs moat-test /var/lib/cni; }
mkdir -p /var/run/netns "$work/cni"
mount -t tmpfs moat-test /var/run/netns

cat >"$work/cni/10-test.conflist" <<-CONF
	{"cniVersion": "0.4.0", "name": "moat-test", "plugins": [
	 {"type": "bridge", "bridge": "cni0", "isGateway": true,
	  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
	 {"type": "portmap", "capabilities": {"portMappings": true}}]}
CONF
runtime() {
	cat <<-CONF
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1]
		  runtime_type = "io.containerd.runc.v2"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1.options]
		  BinaryName = "$2"
		  Root = "$work/runtime-$1"
	CONF
}
{
	cat <<-CONF
		version = 2
		root = "$work/root"
		state = "$work/state"
		[grpc]
		  address = "$work/containerd.sock"
		[debug]
		  level = "warn"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "moat.test/pause:latest"
		  restrict_oom_score_adj = true
		  disable_apparmor = true
		[plugins."io.containerd.grpc.v1.cri".cni]
		  bin_dir = "$plugins"
		  conf_dir = "$work/cni"
	CONF
	runtime runc "$(command -v runc)"
	runtime moat "$MOAT"
} >"$work/config.toml"
start_containerd k8s.io

for handler in runc moat; do
	timeout -k 5 300 /usr/bin/python3 "$here/cri.py" "$work/containerd.sock" $handler "$work/$handler" >"$work/out.$handler" 2>&1 ||
		echo "cri.py: $?" >>"$work/out.$handler"
done
if ! diff "$work/out.runc" "$work/out.moat"; then
	echo "runc's (<) and moat's (>) pods differ"
	exit 1
fi
grep -q '^removed:' "$work/out.moat" || { cat "$work/out.moat"; exit 1; }
nothing_is_left || exit 1
[ -z "${VERBOSE:-}" ] || cat "$work/out.moat"
echo "$(wc -l <"$work/out.moat") answers, the same under runc and moat"
