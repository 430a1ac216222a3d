#!/bin/bash
# Volumes: what the guest changes reaches the host with the guest's owner and mode, a read-only one
# stays as it is, and no link leads out.
set -u
[ "$(id -u)" = 0 ] || exit 77
work=$(mktemp -d /tmp/moat-volumes.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd / # where every user may be
v=$work/vol
bad=0

fail() {
	echo "FAILED: $*"
	bad=1
}
same() { # what, expected, got
	[ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}
guest() { # flags... -- script
	timeout -k 5 60 "$MOAT" do "${flags[@]}" -- sh -c "$1"
}

mkdir -m 755 "$v"
echo old >"$v/old"
echo secret >"$v/secret"
chmod 600 "$v/secret"
mkdir -m 700 "$v/private"
echo deep >"$v/private/deep"
ln -s /etc/hostname "$v/absolute"
ln -s ../../../../../../etc/shadow "$v/relative"
mkfifo "$v/fifo"
mknod "$v/null" c 1 3

flags=(--volume "$v:/vol")
out=$(guest 'cd /vol && cat secret private/deep && echo new >new && chmod 640 new && mkdir -m 750 dir &&
	echo x >dir/file && ln -s target dir/soft && ln dir/file dir/hard && mv old dir/renamed &&
	rm secret && printf more >>new && cat new && stat -c %h dir/file && ls dir && truncate -s 3 dir/renamed &&
	touch -d @1000 dir/renamed && perl -e "rename q(dir/renamed), q(dir/again); rename q(dir/again), q(dir/renamed)"')
same "guest's output" "secret
deep
new
more2
file
hard
renamed
soft" "$out"
same "new" "new
more" "$(cat "$v/new")"
same "mode of new" 640:0:0 "$(stat -c %a:%u:%g "$v/new")"
same "mode of dir" 750 "$(stat -c %a "$v/dir")"
same "link" target "$(readlink "$v/dir/soft")"
same "hard link" 2 "$(stat -c %h "$v/dir/file")"
same "renamed, truncated" old "$(cat "$v/dir/renamed")"
same "its time" 1000 "$(stat -c %Y "$v/dir/renamed")"
[ -e "$v/old" ] && fail "old is still there"
[ -e "$v/secret" ] && fail "secret is still there"

# No file there makes anybody more than he is, unless it was asked for.
privileges='cd /vol && install -m 6755 /bin/true a && cp /bin/true b && chmod 4755 b && chmod 2755 b &&
	mkdir -m 2755 d && python3 -c "
import os
os.close(os.open(\"c\", os.O_CREAT | os.O_WRONLY, 0o6755))
try:
	os.setxattr(\"b\", \"security.capability\", bytes.fromhex(\"0100000200040000000000000000000000000000\"))
	print(\"set\")
except OSError as e:
	print(e.errno)" && stat -c %a a b c'
flags=(--volume "$v:/vol")
same "nosuid: inside" "95
755
755
755" "$(guest "$privileges")"
same "nosuid: outside" "755 755 755 2755 " "$(cd "$v" && stat -c %a a b c d | tr '\n' ' ')"
same "nosuid: mounted" nosuid "$(guest 'grep -o " /vol .*" /proc/self/mounts | grep -o nosuid')"
rm -rf "$v"/[abcd]
flags=(--volume "$v:/vol:rw,suid")
same "suid: inside" "set
6755
2755
6755" "$(guest "$privileges")"
same "suid: outside" "6755 2755 6755 2755 " "$(cd "$v" && stat -c %a a b c d | tr '\n' ' ')"
rm -rf "$v"/[abcd]
flags=(--volume "$v:/vol:ro,suid")
guest 'touch /vol/x' 2>/dev/null && fail "ro,suid is writable"
flags=(--volume "$v:/vol:rw,exotic")
guest true 2>/dev/null
same "unknown mode" 125 $?

chmod 777 "$v"
flags=(--volume "$v:/vol" --user 1234:77)
guest 'umask 027; echo mine >/vol/mine; mkdir /vol/mydir; cat /vol/private/deep 2>/dev/null' &&
	fail "uid 1234 reads root's directory"
same "owner of mine" 640:1234:77 "$(stat -c %a:%u:%g "$v/mine")"
same "owner of mydir" 750:1234:77 "$(stat -c %a:%u:%g "$v/mydir")"

flags=(--volume "$v:/vol:ro")
out=$(guest 'cat /vol/new; echo x >/vol/y; echo x >>/vol/new; rm /vol/new; mkdir /vol/z; chmod 600 /vol/new; mv /vol/new /vol/n' 2>&1)
[ "$(grep -ci 'read-only' <<<"$out")" = 6 ] || fail "read-only volume: $out"
same "unchanged" "new
more" "$(cat "$v/new")"

# Links mean what they mean in the guest.
flags=(--volume "$v:/vol")
same "absolute link" guest-name "$(guest 'echo guest-name >/etc/hostname; cat /vol/absolute')"
rm -f "$work/outside"
ln -sfn "$work" "$v/up"
guest "echo x >/vol/up/outside" 2>/dev/null
[ -e "$work/outside" ] && fail "a link led out of the volume"

# A volume that is one file.
echo one >"$work/one"
flags=(--volume "$work/one:/etc/one")
same "file volume" one "$(guest 'cat /etc/one && echo two >/etc/one')"
same "file volume, written" two "$(cat "$work/one")"
flags=(--volume "$work/one:/etc/one:ro")
guest 'echo three >/etc/one' 2>/dev/null && fail "wrote to a read-only file volume"
same "file volume, unchanged" two "$(cat "$work/one")"

# What the host changes is seen.
flags=(--volume "$v:/vol")
echo first >"$v/changing"
out=$(guest 'cat /vol/changing; echo ready >/vol/ready; while [ ! -e /vol/go ]; do sleep 0.05; done; cat /vol/changing' &
	for i in $(seq 200); do
		[ -e "$v/ready" ] && break
		sleep 0.05
	done
	echo second >"$v/changing.new"
	mv "$v/changing.new" "$v/changing"
	touch "$v/go"
	wait)
same "the host's change" "first
second" "$out"
exit $bad
