#!/bin/bash
# moat in an unprivileged container: a real `docker run` without any flag, as people run agents. The
# daemon is one of the test's own, with its own folders and socket, and without a network.
set -u
cd "$SOURCE" || exit 1
. tools/packages.sh
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
install_missing docker.io busybox-static || { echo "docker.io cannot be installed"; exit 77; }

work=$(mktemp -d /tmp/moat-docker.XXXXXX)
daemon=
finish() {
	local p
	if [ -n "$daemon" ]; then
		kill "$daemon" 2>/dev/null
		wait "$daemon" 2>/dev/null
	fi
	grep -o " $work[^ ]*" /proc/self/mounts | sort -r | while read -r p; do umount -l "$p"; done
	rm -rf "$work"
}
trap finish EXIT
dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
	-H "unix://$work/socket" --storage-driver=vfs --bridge=none --iptables=false \
	--ip6tables=false --cgroup-parent=/ >"$work/log" 2>&1 &
daemon=$!
docker() { command docker -H "unix://$work/socket" "$@"; }
for _ in $(seq 300); do
	docker version >/dev/null 2>&1 && break
	kill -0 $daemon 2>/dev/null || break
	sleep 0.1
done
docker version >/dev/null 2>&1 || { echo "dockerd does not start here:"; tail -3 "$work/log"; exit 77; }

# The image: busybox, moat with its libraries, and some of the guest tests.
image=$work/image
mkdir -p "$image"/{bin,usr/bin,tmp,etc,proc,sys,dev,root,guest}
chmod 1777 "$image/tmp"
cp "$(command -v busybox)" "$image/bin/"
for name in sh ls cat id echo grep true ps sleep env sort sed kill; do
	ln -s busybox "$image/bin/$name"
done
cp "$MOAT" "$image/usr/bin/moat"
ldd "$MOAT" | grep -o '/[^ ]*' | while read -r lib; do
	mkdir -p "$image${lib%/*}"
	cp -L "$lib" "$image$lib"
done
echo 'root:x:0:0::/root:/bin/sh' >"$image/etc/passwd"
guests="exec fork_wait futex mmap pipe signals fs_open fs_rw threads_2000 unix_sockets epoll"
for name in $guests; do
	cp "$BUILD/guest/$name" "$image/guest/"
done
tar -C "$image" -c . | docker import - moat-test >/dev/null || { echo "no image"; exit 1; }

bad=0
wrong() {
	echo "$1"
	bad=1
}
# in_container FLAGS... -- COMMAND...: its output is in out and err, its status in $?.
in_container() {
	local flags=()
	while [ "$1" != -- ]; do
		flags+=("$1")
		shift
	done
	shift
	timeout 100 docker -H "unix://$work/socket" run --rm "${flags[@]}" moat-test "$@" >"$work/out" 2>"$work/err"
}

for user in "" "--user=1000:1000"; do
	# shellcheck disable=SC2086
	in_container $user -- moat check || wrong "check $user: status $?, $(tail -1 "$work/out")"
	grep -qx "sandboxes start here" "$work/out" || wrong "check $user: no sandbox starts"
	grep -q "^isolation: seccomp filters, and Landlock .* no namespaces$" "$work/out" ||
		wrong "check $user: $(grep ^isolation "$work/out")"
	grep -q "^namespaces: costs boundary: " "$work/out" || wrong "check $user: does not say what is missing"

	# shellcheck disable=SC2086
	in_container $user -- moat do -- sh -c 'id -u; echo x >/tmp/f && cat /tmp/f; ls /proc | grep -c "^[0-9]"
		cat /etc/hostname | grep -c .; (echo x >/etc/passwd) 2>/dev/null; sleep 0.1 & wait; exit 7'
	[ $? = 7 ] || wrong "do $user: not status 7: $(cat "$work/err")"
	uid=${user:+1000}
	[ "$(head -2 "$work/out" | tr '\n' ' ')" = "${uid:-0} x " ] || wrong "do $user: $(cat "$work/out")"
	grep -q "^moat: warning: no namespaces" "$work/err" || wrong "do $user: no warning"

	# shellcheck disable=SC2086
	in_container $user -- moat do --require-namespaces -- true
	[ $? = 125 ] && grep -q "require-namespaces was given" "$work/err" || wrong "$user: is not refused"

	# The programs of the guest tests, natively in the container and in moat.
	for name in $guests; do
		# shellcheck disable=SC2086
		in_container $user -- /guest/$name || { echo "natively $user $name fails there"; continue; }
		# shellcheck disable=SC2086
		in_container $user -- moat do -- /guest/$name ||
			wrong "$user $name: status $?: $(tail -2 "$work/err") $(tail -2 "$work/out")"
	done
done

# Nothing of the sandbox stays in the container when moat is killed.
in_container -- sh -c 'moat do -- sh -c "sleep 1000 & while :; do :; done" 2>/dev/null & sleep 3
	kill -9 $!; sleep 3; ps | grep -c "[m]oat-"'
[ "$(cat "$work/out")" = 0 ] || wrong "processes are left: $(cat "$work/out")"

# With SYS_ADMIN it has all namespaces but the user's.
in_container --cap-add=SYS_ADMIN -- moat check
grep -q "^isolation: pid, mount, network.*no user namespace$" "$work/out" ||
	wrong "with SYS_ADMIN: $(tail -2 "$work/out") $(tail -2 "$work/err")"
exit $bad
