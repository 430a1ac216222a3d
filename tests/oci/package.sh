#!/bin/bash
# The Debian package: made by cpack, unpacked by dpkg into a bare root, and tried there.
# BUILD: the folder of the build.
set -u
for tool in dpkg-deb cpack busybox; do
	command -v $tool >/dev/null || { echo "no $tool here"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "not root"; exit 77; }
work=$(mktemp -d /tmp/moat-package.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
fail() {
	echo "$*"
	bad=1
}
cpack --config "$BUILD/CPackConfig.cmake" -B "$work/out" >"$work/log" 2>&1 || { tail -20 "$work/log"; exit 1; }
deb=$(ls "$work"/out/*.deb)
[ "$(dpkg-deb -f "$deb" Package)" = moat ] || fail "its name"
[ "$(dpkg-deb -f "$deb" Architecture)" = amd64 ] || fail "its architecture"
[ -z "$(dpkg-deb -f "$deb" Depends)" ] || fail "a static program that depends on $(dpkg-deb -f "$deb" Depends)"

# A root that has nothing but busybox: what the package needs it brings.
root=$work/root
mkdir -p "$root"/{bin,dev,etc,proc,tmp,var/lib/dpkg/{info,updates}}
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
touch "$root/var/lib/dpkg/status"
dpkg --root="$root" --force-not-root --force-script-chrootless --log=/dev/null -i "$deb" >"$work/log" 2>&1 ||
	{ cat "$work/log"; exit 1; }
for f in usr/bin/moat usr/share/man/man1/moat.1 usr/share/man/man1/moat-run.1 usr/share/doc/moat/OCI.md \
	usr/share/bash-completion/completions/moat; do
	[ -s "$root/$f" ] || [ -s "$root/$f.gz" ] || fail "$f is not in it"
done
[ "$(chroot "$root" /usr/bin/moat --version | head -1)" = "moat $(dpkg-deb -f "$deb" Version)" ] || fail "--version"
chroot "$root" /usr/bin/moat help run | grep -q -- --bundle || fail "help run"
chroot "$root" /usr/bin/moat install --prefix / --program /usr/bin/moat docker >/dev/null || fail "install"
grep -q /usr/bin/moat "$root/etc/docker/daemon.json" || fail "daemon.json"
# It runs something: from the root's files, in a sandbox.
out=$("$root/usr/bin/moat" do --rootfs "$root" -- /bin/busybox echo inside 2>&1) || fail "do: $out"
[ "$out" = inside ] || fail "do: $out"
chroot "$root" /usr/bin/moat uninstall --prefix / --program /usr/bin/moat docker >/dev/null || fail "uninstall"
dpkg --root="$root" --force-not-root --force-script-chrootless --log=/dev/null -r moat >"$work/log" 2>&1 ||
	fail "$(cat "$work/log")"
[ ! -e "$root/usr/bin/moat" ] || fail "it is still there when removed"
exit $bad
