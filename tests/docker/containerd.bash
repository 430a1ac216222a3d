# For tests with a containerd of their own; sourced. Needs $here; makes $work, and removes what is left at the end.
work=$(mktemp -d /tmp/moat-containerd.XXXXXX)
daemon=
ours() {
	local p
	for p in /proc/[0-9]*; do
		[ "${p#/proc/}" != $$ ] && { tr "\0" " " <"$p/cmdline"; } 2>/dev/null | grep -q "$work/" 2>/dev/null &&
			echo "${p#/proc/}"
	done
}
cleanup() {
	local i p
	[ -n "$daemon" ] && kill "$daemon" 2>/dev/null
	for i in $(seq 100); do
		[ -n "$daemon" ] && [ -e "/proc/$daemon" ] || break
		sleep 0.1
	done
	for p in $(ours); do kill -KILL "$p" 2>/dev/null; done
	awk -v w="$work/" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo | sort -r |
		while read -r m; do umount -l "$m"; done
	rmdir /sys/fs/cgroup/*/moat-ctr 2>/dev/null
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# start_containerd NAMESPACE: with $work/config.toml; has the images in that namespace.
start_containerd() {
	local i
	"$here/image.py" "$work/images.tar" || exit 1
	containerd --config "$work/config.toml" >"$work/log" 2>&1 &
	daemon=$!
	export CONTAINERD_ADDRESS=$work/containerd.sock CONTAINERD_NAMESPACE=$1
	for i in $(seq 200); do
		timeout 5 ctr version >/dev/null 2>&1 && break
		[ -e "/proc/$daemon" ] || { echo "containerd does not run here:"; tail -3 "$work/log"; exit 77; }
		sleep 0.1
	done
	ctr images import "$work/images.tar" >"$work/log2" 2>&1 || { tail -3 "$work/log2"; exit 1; }
}

# Fails if a process of a sandbox of this test's is left.
nothing_is_left() {
	local p
	for p in $(pgrep moat-); do
		[ "$(awk '/^State:/ {print $2}' "/proc/$p/status" 2>/dev/null)" = Z ] && continue
		{ tr "\0" " " <"/proc/$p/cmdline"; } 2>/dev/null | grep -q "$work/" && { echo "process $p is left"; return 1; }
	done
	return 0
}
