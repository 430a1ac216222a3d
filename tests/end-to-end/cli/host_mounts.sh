#!/bin/bash
# The host's own mounts below /: shown, files and folders; and a host that mounts and unmounts all the
# time does not keep sandboxes from starting.
set -u
[ "$(id -u)" = 0 ] && command -v unshare >/dev/null || exit 77
work=$(mktemp -d /tmp/moat-mounts.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir "$work/folder" "$work/busy"
echo below >"$work/file"
echo on top >"$work/other"
touch "$work/run"
cat >"$work/inside" <<'END'
work=$1
mount -t tmpfs none "$work/folder" && echo mounted >"$work/folder/f" || exit 1
mount --bind "$work/other" "$work/file" || exit 1
[ "$("$MOAT" do -- cat "$work/folder/f" "$work/file")" = "mounted
on top" ] || { echo "mounts are not shown"; exit 1; }
"$MOAT" do -- sh -c "echo x >$work/folder/g && cat $work/folder/g" >"$work/out" || exit 1
[ "$(cat "$work/out")" = x ] && [ ! -e "$work/folder/g" ] || { echo "is not copied on write"; exit 1; }
while [ -e "$work/run" ]; do
	mount -t tmpfs none "$work/busy"
	umount -l "$work/busy"
done &
failures=0
for _ in $(seq 40); do
	"$MOAT" do -- true || failures=$((failures + 1))
done
rm "$work/run"
wait
[ $failures = 0 ] || { echo "$failures of 40 sandboxes did not start"; exit 1; }
END
unshare -m --propagation private bash "$work/inside" "$work"
