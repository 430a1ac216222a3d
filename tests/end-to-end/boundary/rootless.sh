#!/bin/bash
# An ordinary user's sandbox: runs, reads what that user may read and no more, and its processes have
# no capabilities and nobody else's uid.
set -u
[ "$(id -u)" = 0 ] || exit 77
command -v setpriv >/dev/null || exit 77
dir=$(mktemp -d /tmp/moat-rootless.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
cp "$MOAT" "$dir/moat"
user() { (cd / && env -i PATH="$PATH" HOME=/ timeout 90 setpriv --reuid 1234 --regid 1234 --clear-groups "$@"); }
user unshare -U true 2>/dev/null || { echo "no user namespaces for ordinary users"; exit 77; }
echo secret >"$dir/root-only"
chmod 600 "$dir/root-only"
mkdir "$dir/own"
echo own >"$dir/own/file"
chown -R 1234:1234 "$dir/own"
chmod 700 "$dir/own"
bad=0
[ "$(user "$dir/moat" do ${PLATFORM:+--platform=$PLATFORM} sh -c 'id -u; id -g' | tr '\n' ' ')" = "1234 1234 " ] || { echo "ids"; bad=1; }
[ "$(user "$dir/moat" do ${PLATFORM:+--platform=$PLATFORM} cat "$dir/own/file")" = own ] || { echo "cannot read its own file"; bad=1; }
user "$dir/moat" do ${PLATFORM:+--platform=$PLATFORM} cat "$dir/root-only" 2>/dev/null && { echo "reads root's file"; bad=1; }
user "$dir/moat" do ${PLATFORM:+--platform=$PLATFORM} head -c1 /etc/shadow 2>/dev/null && { echo "reads /etc/shadow"; bad=1; }
user "$dir/moat" do ${PLATFORM:+--platform=$PLATFORM} --volume "$dir/own:/mnt" sh -c 'echo new >/mnt/new' || { echo "cannot write its volume"; bad=1; }
[ "$(stat -c '%u %g' "$dir/own/new" 2>&1)" = "1234 1234" ] || { echo "the new file is another's"; bad=1; }
[ "$("$dir/moat" --rootless do id -u)" = 0 ] || { echo "root with --rootless"; bad=1; }
# A mount that only root may enter is left out, and no reason not to start.
mkdir "$dir/closed"
unshare -m --propagation private sh -c '
mount -t tmpfs -o mode=700 none "$1/closed" && cd / && exec setpriv --reuid 1234 --regid 1234 \
	--clear-groups "$1/moat" do ${PLATFORM:+--platform=$PLATFORM} sh -c "ls $1/closed; echo shown"' sh "$dir" 2>&1 | grep -qx shown ||
	{ echo "does not start beside a mount of root's"; bad=1; }
# Read-only underneath is the kernel's word: the root fd that the sandbox holds cannot be written by
# anybody, though the sandbox runs as the files' owner.
if command -v python3 >/dev/null; then
	user "$dir/moat" do ${PLATFORM:+--platform=$PLATFORM} sh -c 'echo ready; sleep 20' >"$dir/out" &
	for _ in $(seq 100); do
		grep -q ready "$dir/out" && break
		sleep 0.1
	done
	python3 - "$dir/moat" <<-'END' || bad=1
	import glob, os, stat, sys
	found = 0
	for p in glob.glob('/proc/[0-9]*'):
	    try:
	        if open(p + '/comm').read().strip() != 'moat-sentry' or os.stat(p).st_uid != 1234:
	            continue
	        for fd in glob.glob(p + '/fd/*'):
	            if stat.S_ISDIR(os.stat(fd).st_mode) and os.statvfs(fd).f_blocks: # not procfs
	                found += 1
	                if not os.statvfs(fd).f_flag & os.ST_RDONLY:
	                    sys.exit(f'{fd} of the rootless sandbox is writable: {os.readlink(fd)}')
	    except FileNotFoundError:
	        pass
	if not found:
	    sys.exit('the rootless sandbox holds no directory')
	END
	kill %1
	wait
fi
exit $bad
