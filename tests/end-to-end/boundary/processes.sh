#!/bin/bash
# What the host sees of a running sandbox's processes: namespaces, ids, capabilities, seccomp, root,
# descriptors.
set -u
[ "$(id -u)" = 0 ] || exit 77
. "$(dirname "$0")/sandbox.bash"
start_sandbox

status_of() { awk -v k="$2:" '$1 == k {print $2}' "/proc/$1/status"; }

for p in $sentry $others; do
	for ns in user pid mnt net ipc uts; do
		[ "$(readlink "/proc/$p/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] ||
			fail "$p ($(cat /proc/$p/comm)) is in the host's $ns namespace"
	done
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(status_of "$p" $set)" = 0000000000000000 ] || fail "$p has $set $(status_of "$p" $set)"
	done
	[ "$(awk '/^Uid:/ {print $2, $3, $4, $5}' /proc/$p/status)" = "65534 65534 65534 65534" ] || fail "$p has uids of others"
	[ "$(awk '/^Gid:/ {print $2, $3, $4, $5}' /proc/$p/status)" = "65534 65534 65534 65534" ] || fail "$p has gids of others"
	[ -z "$(awk '/^Groups:/ {print $2}' /proc/$p/status)" ] || fail "$p has groups"
	[ "$(status_of "$p" NoNewPrivs)" = 1 ] || fail "$p may gain privileges"
	[ "$(status_of "$p" Seccomp)" = 2 ] || fail "$p ($(cat /proc/$p/comm)) has no seccomp filter"
	[ "$(ls -A "/proc/$p/root/")" = "" ] || fail "$p sees files: $(ls -A "/proc/$p/root/" | head -3)"
	[ "$(awk '$5 == "/"' "/proc/$p/mountinfo" | wc -l)" = 1 ] && [ "$(wc -l <"/proc/$p/mountinfo")" = 1 ] ||
		fail "$p sees mounts: $(head -3 "/proc/$p/mountinfo")"
	grep -q '^[^ ]* [^ ]* [^ ]* / / ro' "/proc/$p/mountinfo" || fail "$p has a writable root"
done

# The sentry's own memory is no file that it could open.
[ "$(stat -c %u "/proc/$sentry/mem")" = 0 ] || fail "the sentry can open its own /proc/PID/mem"

# No thread is without the filter either.
for t in /proc/$sentry/task/*; do
	[ "$(awk '/^Seccomp:/ {print $2}' "$t/status")" = 2 ] || fail "thread $t has no filter"
done

# Descriptors of the sandbox: nothing that leads out. A directory is the read-only clone of a mount.
for fd in /proc/$sentry/fd/*; do
	link=$(readlink "$fd")
	case $link in
	socket:* | pipe:* | anon_inode:* | /memfd:* | "/dev/null" | "$work"/*) ;;
	/) ;; # a donated root, or the procfs of the sandbox's own pid namespace
	*) [ -d "$fd/" ] || [ -f "$fd" ] || fail "the sandbox has $fd -> $link" ;;
	esac
	[ "$fd" -ef "$MOAT" ] && fail "the sandbox holds the host's binary: $link"
done
# Through no directory of the sandbox can the host be written, even by root.
for fd in /proc/$sentry/fd/*; do
	[ -d "$fd/" ] || continue
	if touch "$fd/moat-boundary-test" 2>/dev/null; then
		rm -f "$fd/moat-boundary-test"
		fail "the mount behind $fd -> $(readlink "$fd") is writable"
	fi
done

# The gofer keeps the file capabilities only, and no sight of the host's tree.
for set in CapInh CapAmb; do
	[ "$(status_of "$gofer" $set)" = 0000000000000000 ] || fail "the gofer has $set"
done
caps=$((16#$(status_of "$gofer" CapEff)))
allowed=$((1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 31)) # chown, dac*, fowner, fsetid, setfcap
[ $((caps & ~allowed)) = 0 ] || fail "the gofer has capabilities $(status_of "$gofer" CapEff)"
[ "$(status_of "$gofer" Seccomp)" = 2 ] || fail "the gofer has no filter"
[ "$(status_of "$gofer" NoNewPrivs)" = 1 ] || fail "the gofer may gain privileges"
[ -z "$(ls -A "/proc/$gofer/root/")" ] || fail "the gofer sees files"
for ns in mnt net ipc uts; do
	[ "$(readlink "/proc/$gofer/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] ||
		fail "the gofer is in the host's $ns namespace"
done

# Only the binary's text is mapped in the stubs? No: nothing of the host's binary may be writable.
for p in $sentry $others; do
	if awk '$2 ~ /w/ && $2 ~ /x/' "/proc/$p/maps" | grep -q .; then
		fail "$p has memory that is writable and executable"
	fi
done
exec 9>&-
wait "$cli" || fail "the sandbox ended with $?"
cli=
exit $bad
