#!/bin/bash
# Who sees what of the files that container and host share, by each way there is to open them; and what an
# overlay keeps from the host.
set -u
[ "$(id -u)" = 0 ] && command -v busybox >/dev/null && command -v python3 >/dev/null ||
	{ echo "needs root, busybox and python3"; exit 77; }
work=$(mktemp -d /tmp/moat-files.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
finish() {
	$R delete --force c >/dev/null 2>&1
	rm -rf "$work"
}
trap finish EXIT
bad=0
case=
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$case: $1: expected '$2', got '$3'"
	bad=1
}
mkdir -p "$work/bundle/rootfs"/{bin,proc,tmp,dev,etc} "$work/volume"
root="$work/bundle/rootfs"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$BUILD/containers/map_file" "$BUILD/containers/lock_file" "$root/bin/"
for a in sh sleep echo cat ls grep touch rm mv mkdir stat chmod chown wc tail; do ln -s busybox "$root/bin/$a"; done
cat >"$work/bundle/config.json" <<-JSON
	{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
	 "process": {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
	 "capabilities": {"bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"],
	 "effective": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"], "permitted": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]}},
	 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
	            {"destination": "/volume", "type": "bind", "source": "$work/volume", "options": ["rbind", "rw"]}]}
JSON

# start FLAGS...
start() {
	case="$*"
	rm -rf "$work/volume"/* "$root/tmp"/* "$root/etc"/*
	echo old >"$work/volume/file"
	echo old >"$root/etc/file"
	echo secret >"$work/volume/secret"
	chmod 600 "$work/volume/secret"
	printf 'aaaaaaaa' >"$work/volume/mapped"
	$R run -d "$@" --bundle "$work/bundle" c </dev/null >"$work/out" 2>&1 && return
	echo "$case: does not start"
	cat "$work/out"
	exit 1
}
inside() { $R exec c "$@"; }
end() { $R delete --force c || same 'delete' 0 $?; }

# What the host changes is seen inside, and the other way round.
check_volume() {
	local before
	same 'a file' old "$(inside cat /volume/file)"
	echo new-and-longer >"$work/volume/file"
	same 'a file that the host changed' new-and-longer "$(inside cat /volume/file)"
	same 'its size' 15 "$(inside stat -c %s /volume/file)"
	echo replaced >"$work/volume/other"
	mv "$work/volume/other" "$work/volume/file"
	same 'a file that the host replaced' replaced "$(inside cat /volume/file)"
	rm "$work/volume/file"
	same 'a file that the host removed' 1 "$(inside cat /volume/file 2>/dev/null; echo $?)"
	mkdir "$work/volume/dir"
	touch "$work/volume/dir/a"
	same 'a new folder' a "$(inside ls /volume/dir)"
	same 'what its mode keeps from others' secret "$(inside cat /volume/secret)"
	inside sh -c 'echo from inside >/volume/dir/b; chmod 640 /volume/dir/b; chown 7:8 /volume/dir/b; mkdir /volume/made'
	same 'a file from inside' 'from inside' "$(cat "$work/volume/dir/b")"
	same 'its owner and mode' '7 8 640' "$(stat -c '%u %g %a' "$work/volume/dir/b")"
	[ -d "$work/volume/made" ] || same 'a folder from inside' there not
	inside mv /volume/dir/b /volume/made/c
	same 'renamed from inside' 'from inside' "$(cat "$work/volume/made/c")"
	inside rm /volume/made/c
	[ -e "$work/volume/made/c" ] && same 'removed from inside' gone there
	before=$(stat -c %Y "$work/volume/secret")
	inside sh -c 'touch -d @1000 /volume/secret 2>/dev/null || busybox touch -d @1000 /volume/secret'
	same 'times' 1000 "$(stat -c %Y "$work/volume/secret")"
}
# One mapping of the file inside and one outside are the same memory.
check_mapping() {
	$R exec c map_file /volume/mapped >"$work/mapped.out" 2>&1 &
	python3 - "$work/volume/mapped" <<-'PY' || same 'a shared mapping' coherent not
		import mmap, sys, time
		with open(sys.argv[1], "r+b") as f:
		    m = mmap.mmap(f.fileno(), 8)
		    m[0:1] = b"h"               # the host's word
		    for _ in range(3000):
		        if m[1:2] == b"g":      # the guest's answer
		            sys.exit(0)
		        time.sleep(0.01)
		sys.exit(1)
	PY
	wait $!
	same 'the mapping inside' 0 $?
}
# host_lock KIND TYPE: 0 if the host can have it now.
host_lock() {
	python3 - "$1" "$2" "$work/volume/locked" <<-'PY'
		import fcntl, sys
		kind, how, path = sys.argv[1:]
		f = open(path, "r+b")
		flags = (fcntl.LOCK_EX if how == "ex" else fcntl.LOCK_SH) | fcntl.LOCK_NB
		try:
		    (fcntl.flock if kind == "flock" else fcntl.lockf)(f, flags)
		except OSError:
		    sys.exit(1)
	PY
}
# Locks of one side are in the way of the other's.
check_locks() {
	local kind holder
	for kind in flock posix ofd; do
		rm -f "$work/volume/release" "$work/volume/held"
		touch "$work/volume/locked"
		$R exec c lock_file $kind ex hold /volume/locked /volume/held /volume/release >/dev/null 2>&1 &
		holder=$!
		for _ in $(seq 600); do [ -e "$work/volume/held" ] && break; sleep 0.05; done
		same "$kind held inside, ex outside" 1 "$(host_lock $kind ex; echo $?)"
		same "$kind held inside, sh outside" 1 "$(host_lock $kind sh; echo $?)"
		same "$kind held inside, ex inside" 1 "$($R exec c lock_file $kind ex try /volume/locked; echo $?)"
		touch "$work/volume/release"
		wait $holder
		same "holder of $kind" 0 $?
		same "$kind let go" 0 "$(host_lock $kind ex; echo $?)"
	done
	# Held by the host: it is in the way inside, and who waits gets it afterwards.
	for kind in flock posix; do
		rm -f "$work/volume/held" "$work/volume/release"
		python3 - $kind "$work/volume" <<-'PY' &
			import fcntl, os, sys, time
			kind, dir = sys.argv[1:]
			f = open(dir + "/locked", "r+b")
			(fcntl.flock if kind == "flock" else fcntl.lockf)(f, fcntl.LOCK_EX)
			open(dir + "/held", "w").close()
			for _ in range(6000):
			    if os.path.exists(dir + "/release"):
			        break
			    time.sleep(0.01)
		PY
		holder=$!
		for _ in $(seq 600); do [ -e "$work/volume/held" ] && break; sleep 0.05; done
		same "$kind held outside, ex inside" 1 "$($R exec c lock_file $kind ex try /volume/locked; echo $?)"
		same "$kind held outside, sh inside" 1 "$($R exec c lock_file $kind sh try /volume/locked; echo $?)"
		[ $kind = posix ] && same "who holds it" 'held' "$($R exec c lock_file $kind ex test /volume/locked)"
		$R exec c lock_file $kind ex wait /volume/locked >/dev/null 2>&1 &
		touch "$work/volume/release"
		wait $holder
		wait $!
		same "$kind waited for" 0 $?
	done
}
check_root_shared() {
	same 'the root' old "$(inside cat /etc/file)"
	echo changed >"$root/etc/file"
	same 'the root, changed by the host' changed "$(inside cat /etc/file)"
	inside sh -c 'echo written >/etc/made'
	same 'written to the root' written "$(cat "$root/etc/made")"
}

for directfs in true false; do
	start --directfs=$directfs --overlay2=none --file-access=shared
	check_volume
	check_mapping
	check_locks
	check_root_shared
	same 'the sentry holds roots of mounts' "$([ $directfs = true ] && echo yes || echo no)" "$(
		pid=$($R state c | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
		found=no
		for fd in /proc/$pid/fdinfo/*; do
			# O_PATH, and a folder: what a gofer donates.
			flags=$(sed -n 's/^flags:\t//p' "$fd")
			[ $((flags & 010000000)) != 0 ] &&
				[ "$(stat -Lc %i "/proc/$pid/fd/${fd##*/}" 2>/dev/null)" = "$(stat -c %i "$work/volume")" ] && found=yes
		done
		echo $found)"
	end
done

start --overlay2=none --file-access=exclusive
same 'the root' old "$(inside cat /etc/file)"
inside sh -c 'for i in 1 2 3; do echo line $i >>/etc/file; done; mkdir /etc/d; echo x >/etc/d/f; mv /etc/d /etc/e; rm /etc/e/f'
same 'what was appended, inside' 4 "$(inside sh -c 'wc -l </etc/file')"
same 'what was appended, outside' 4 "$(wc -l <"$root/etc/file")"
same 'its size inside' "$(stat -c %s "$root/etc/file")" "$(inside stat -c %s /etc/file)"
same 'names inside' 'e file' "$(inside ls /etc | tr '\n' ' ' | sed 's/ $//')"
same 'names outside' 'e file' "$(ls "$root/etc" | tr '\n' ' ' | sed 's/ $//')"
same 'a removed name' 0 "$(inside ls /etc/e | grep -c .)"
end

start --overlay2=root:memory
inside sh -c 'echo hidden >/etc/made; rm /etc/file; echo seen >/volume/seen'
same 'hidden from the host' old "$(cat "$root/etc/file")"
[ -e "$root/etc/made" ] && same 'made' hidden seen
same 'volumes are the host' seen "$(cat "$work/volume/seen")"
end

start --overlay2=all:memory
inside sh -c 'echo hidden >/volume/made; echo hidden >/volume/file'
same 'inside' hidden "$(inside cat /volume/made)"
same 'the volume is untouched' old "$(cat "$work/volume/file")"
[ -e "$work/volume/made" ] && same 'made' hidden seen
end
exit $bad
