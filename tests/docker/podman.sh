#!/bin/bash
# podman.sh [rootless]: the command lines of commands.podman, or commands.podman-rootless, with runc and
# with moat: the same output and status, and nothing left behind. Podman's storage is the test's own.
set -u
here=$(dirname "$(readlink -f "$0")")
mode=${1:-root}
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
for tool in podman conmon runc busybox; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
export LC_ALL=C
unset DOCKER_CONFIG DOCKER_HOST REGISTRY_AUTH_FILE CONTAINER_HOST
work=$(mktemp -d /tmp/moat-podman.XXXXXX)
other=runc
commands=$here/commands.podman
as=
user=moatpodman
cleanup() {
	$as podman ps -aq 2>/dev/null | xargs -r $as podman rm -f -t 0 >/dev/null 2>&1
	$as podman pod ps -q 2>/dev/null | xargs -r $as podman pod rm -f >/dev/null 2>&1
	[ "$mode" = rootless ] && $as podman system migrate >/dev/null 2>&1
	awk -v w="$work/" 'index($5, w) == 1 {print $5}' /proc/self/mountinfo | sort -r |
		while read -r m; do umount -l "$m"; done
	if [ "$mode" = rootless ]; then
		for p in $(pgrep -u $user); do kill -KILL "$p" 2>/dev/null; done
		userdel $user 2>/dev/null
		rm -rf /run/user/moat-podman-test
	fi
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT

mkdir -p "$work/image/bin" "$work/image/etc" "$work/image/tmp" "$work/image/root" "$work/home" "$work/volume"
cp "$(command -v busybox)" "$work/image/bin/busybox"
for applet in $("$work/image/bin/busybox" --list); do
	[ $applet = busybox ] || ln -sf busybox "$work/image/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh
user:x:1000:1000::/tmp:/bin/sh' >"$work/image/etc/passwd"
cp "$MOAT" "$work/moat"
chmod 755 "$work" "$work/moat"

# A configuration of the test's own: nothing of the host's counts.
cat >"$work/containers.conf" <<-CONF
	[containers]
	log_driver = "k8s-file"
	default_sysctls = []
	default_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]
	[engine]
	cgroup_manager = "cgroupfs"
	events_logger = "none"
	helper_binaries_dir = ["/usr/lib/podman", "/usr/libexec/podman"]
	[engine.runtimes]
	moat = ["$work/moat"]
	runc = ["$(command -v runc)"]
CONF
driver=overlay
if [ "$mode" = rootless ]; then
	driver=vfs
	other=runc
	commands=$here/commands.podman-rootless
	for tool in newuidmap useradd setpriv; do
		command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
	done
	useradd --home-dir "$work/home" --no-create-home $user || exit 77
	mkdir -p /run/user/moat-podman-test
	chown -R $user "$work" /run/user/moat-podman-test
	chmod 700 /run/user/moat-podman-test
fi
cat >"$work/storage.conf" <<-CONF
	[storage]
	driver = "$driver"
	graphroot = "$work/graph"
	rootless_storage_path = "$work/graph"
	runroot = "$work/run"
CONF
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf TMPDIR=$work HOME=$work/home
if [ "$mode" = rootless ]; then
	export XDG_RUNTIME_DIR=/run/user/moat-podman-test
	unset DBUS_SESSION_BUS_ADDRESS
	as="setpriv --reuid $user --regid $user --init-groups"
fi
cd "$work" || exit 1
tar -C "$work/image" -c . >"$work/image.tar"
if ! $as podman import "$work/image.tar" box >"$work/log" 2>&1; then
	echo "podman does not work here: $(tail -1 "$work/log")"
	exit 77
fi
if ! $as podman --runtime $other run --rm --network none box true >"$work/log" 2>&1; then
	echo "podman does not run containers here: $(tail -1 "$work/log")"
	exit 77
fi

# run_all RUNTIME: what each line printed and its status, in $work/out.RUNTIME.
run_all() {
	local line status
	export P="podman --runtime $1" N="--network none" V="$work/volume"
	rm -rf "$V" && $as mkdir "$V"
	grep -v '^#' "$commands" | while IFS= read -r line; do
		$as timeout -k 1 90 bash -c "$line" >"$work/line.out" 2>&1 </dev/null
		status=$?
		printf '$ %s\n' "$line"
		# What differs from run to run, and the runtimes' ways to say an error.
		sed -E 's/[0-9a-f]{64}/ID/g; s/time="[^"]*" level=[a-z]* msg="(.*)"$/\1/; s/^Error: OCI runtime error: //;
			s/^Error: (runc|crun|moat): /Error: /' "$work/line.out"
		printf -- '-> %s\n' "$status"
	done >"$work/out.$1"
}

run_all $other
run_all moat
lines=$(grep -c '^-> ' "$work/out.moat")
if ! diff -a "$work/out.$other" "$work/out.moat"; then
	echo "$other's (<) and moat's (>) answers differ"
	exit 1
fi
[ "$lines" = "$(grep -vc '^#' "$commands")" ] || { echo "$lines command lines only"; exit 1; }
for p in $(pgrep moat-); do
	[ "$(awk '/^State:/ {print $2}' "/proc/$p/status" 2>/dev/null)" = Z ] && continue
	{ tr "\0" " " <"/proc/$p/cmdline"; } 2>/dev/null | grep -q "$work/" && { echo "process $p is left"; exit 1; }
done
echo "$lines command lines, the same under $other and moat"
