#!/bin/bash
# unshare, nsenter and bubblewrap: as root, and as a user who has nothing but user namespaces.
[ "$(id -u)" = 0 ] && unshare -Urmpf --mount-proc true 2>/dev/null || exit 77
user="setpriv --reuid 12345 --regid 12345 --clear-groups"
mkdir proc mnt
chmod 755 . proc mnt
unshare -m sh -c "mount -t proc proc proc && ls -d proc/self proc/1 && umount proc && echo umounted"
unshare -pf --mount-proc sh -c 'echo pid $$; ls -d /proc/[0-9]*; cat /proc/1/comm'
unshare -Urpf --mount-proc sh -c 'id -u; echo pid $$; readlink /proc/self; cat /proc/self/uid_map'
$user unshare -Ur id
$user unshare -Urpfm --mount-proc sh -c 'id -u; id -g; cat /proc/self/setgroups
	mount -t tmpfs t mnt && touch mnt/a && ls mnt; ps -o uid=,comm=; hostname x 2>&1; umount /proc/sys 2>&1'
$user unshare -Urn ip link
$user unshare -U sh -c 'id -u; stat -c %u:%g /etc/passwd; chown 0 mnt 2>&1; cat /etc/shadow 2>&1'
unshare -U --map-users=1000,0,100 --map-groups=1000,0,100 sh -c 'id -u; stat -c %u:%g /'
unshare -Ur unshare -Ur unshare -Ur cat /proc/self/uid_map
unshare -Ur sh -c 'sleep 100 & nsenter -U -t $! --preserve-credentials id -u; kill $!'
unshare -Uru sh -c 'hostname inner; hostname'; unshare -C true; echo $?
nsenter -t $$ -a id -u
if command -v bwrap >/dev/null; then
	b="bwrap --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64
		--dev /dev --tmpfs /tmp --die-with-parent"
	$b --unshare-pid --proc /proc sh -c 'echo pid $$; ls /dev | tr "\n" " "; ls /'
	$b --unshare-all --proc /proc --uid 1234 --gid 1234 --hostname inner sh -c '
		id -u; id -g; uname -n; grep -E "^(Uid|Gid|NoNewPrivs|CapEff)" /proc/self/status'
	$b --unshare-pid --as-pid-1 --proc /proc --ro-bind-data 3 /tmp/in --chdir /tmp sh -c '
		echo $$; cat in; touch in 2>&1; pwd' 3< <(echo data)
	$user bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev sh -c '
		id -u; echo $$; touch /x 2>&1; stat -c %u:%g /etc/passwd; cat /proc/self/uid_map'
	$user bwrap --unshare-user --uid 0 --gid 0 --cap-add ALL --bind / / sh -c '
		id -u; mount -t tmpfs t /mnt && echo mounted; umount /proc 2>&1'
fi
rmdir proc mnt
