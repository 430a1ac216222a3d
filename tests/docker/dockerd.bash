# Sourced: starts a dockerd of its own below $work, with runc and moat as runtimes, and an image "box"
# (busybox). Everything is stopped and unmounted on exit. With network=1 it is in a network namespace of
# its own, $netns, with bridges and NAT; without, it has none. more_runtimes: more of daemon.json's, with
# @work@ for $work.
more_runtimes=${more_runtimes-}
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
for tool in dockerd runc busybox; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
work=$(mktemp -d /tmp/moat-docker.XXXXXX)
export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
daemon=

# Processes that belong to our daemon: their command line has its folder.
ours() {
	local p
	for p in /proc/[0-9]*; do
		[ "${p#/proc/}" != $$ ] && { tr "\0" " " <"$p/cmdline"; } 2>/dev/null | grep -q "$work/" 2>/dev/null &&
			echo "${p#/proc/}"
	done
}
stop_dockerd() {
	local i p
	timeout -k 1 60 docker ps -aq 2>/dev/null | xargs -r timeout -k 1 60 docker rm -f >/dev/null 2>&1
	[ -n "$daemon" ] && kill "$daemon" 2>/dev/null
	for i in $(seq 100); do
		[ -n "$daemon" ] && [ -e "/proc/$daemon" ] || break
		sleep 0.1
	done
	for p in $(ours); do kill -KILL "$p" 2>/dev/null; done
	sleep 0.2
	[ -n "${netns:-}" ] && ip netns del "$netns"
	awk -v w="$work/" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo | sort -r |
		while read -r m; do umount -l "$m"; done
	rm -rf --one-file-system "$work"
}
trap stop_dockerd EXIT

mkdir -p "$work/image/bin" "$work/config" "$work/volume"
cp "$(command -v busybox)" "$work/image/bin/busybox"
# The dynamic one will not do: the image has no libraries.
"$work/image/bin/busybox" --list >/dev/null || exit 77
for applet in $("$work/image/bin/busybox" --list); do
	[ $applet = busybox ] || ln -sf busybox "$work/image/bin/$applet"
done
mkdir -p "$work/image/etc" "$work/image/tmp" "$work/image/root"
echo 'root:x:0:0:root:/root:/bin/sh
user:x:1000:1000::/tmp:/bin/sh' >"$work/image/etc/passwd"
printf '{"runtimes":{"moat":{"path":"%s"}%s}}' "$MOAT" "${more_runtimes//@work@/$work}" >"$work/daemon.json"
inside= flags="--iptables=false --ip6tables=false --bridge=none"
if [ -n "${network:-}" ]; then
	netns=moat-d$$
	ip netns add $netns && ip -n $netns link set lo up || { echo "no network namespace"; exit 77; }
	inside="nsenter --net=/run/netns/$netns" flags=
fi
$inside dockerd --config-file "$work/daemon.json" --data-root "$work/data" --exec-root "$work/exec" \
	-p "$work/docker.pid" -H "$DOCKER_HOST" $flags >"$work/log" 2>&1 &
daemon=$!
for i in $(seq 200); do
	timeout 5 docker version >/dev/null 2>&1 && break
	[ -e "/proc/$daemon" ] || { echo "dockerd does not run here:"; tail -3 "$work/log"; exit 77; }
	sleep 0.1
done
tar -C "$work/image" -c . | docker import - box >/dev/null || { echo "docker import failed"; exit 1; }
