#!/bin/bash
# Exit statuses, stdio, environment, directories, users, volumes.
set -u
work=$(mktemp -d /tmp/moat-cli.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd / # where every user may be
bad=0
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$1: expected '$2', got '$3'"
	bad=1
}
moat() { timeout 90 "$MOAT" "$@"; }

moat do true; same true 0 $?
moat do false; same false 1 $?
moat do -- sh -c 'exit 42'; same status 42 $?
moat do -- sh -c 'kill -TERM $$'; same sigterm 143 $?
moat do -- sh -c 'kill -KILL $$'; same sigkill 137 $?
moat do -- sh -c 'kill -SEGV $$'; same sigsegv 139 $?
same stdout out "$(moat do echo out 2>/dev/null)"
same stderr err "$(moat do -- sh -c 'echo err >&2' 2>&1 >/dev/null)"
same stdin in "$(echo in | moat do cat)"
echo file >"$work/in"
moat do cat <"$work/in" >"$work/out"; same files file "$(cat "$work/out")"
echo first >"$work/out"; moat do echo second >>"$work/out"; same append "first second" "$(tr '\n' ' ' <"$work/out" | sed 's/ $//')"
same 'closed stdin' '' "$(moat do cat <&-)"
same env value "$(NAME=value moat do printenv NAME)"
same --env other "$(NAME=value moat do --env NAME=other printenv NAME)"
same cwd "$work" "$(cd "$work" && moat do pwd)"
same --cwd /usr "$(moat do --cwd /usr pwd)"
same --hostname there "$(moat do --hostname there -- uname -n)"
same hostname moat "$(moat do -- uname -n)"
same umask 0027 "$(umask 027; moat do sh -c umask)"
same ulimit 77 "$(ulimit -n 77; moat do sh -c 'ulimit -n')"
same pid1 yes "$(moat do sh -c '[ $$ -lt 10 ] && echo yes')"
if [ "$(id -u)" = 0 ]; then
	same --user "65534 65534" "$(moat do --user nobody sh -c 'echo $(id -u) $(id -g)')"
	same --user "12 34" "$(moat do --user 12:34 sh -c 'echo $(id -u) $(id -g)')"
	echo secret >"$work/secret"; chmod 600 "$work/secret"
	same 'root reads its own' secret "$(moat do cat "$work/secret")"
	moat do --user nobody cat "$work/secret" 2>/dev/null; same 'nobody does not' 1 $?
fi

# The host stays untouched, but for volumes.
echo original >"$work/file"
same overlay changed "$(moat do sh -c "echo changed >$work/file; cat $work/file; rm $work/in; touch $work/new")"
same 'host file' original "$(cat "$work/file")"
[ -e "$work/in" ] && [ ! -e "$work/new" ] || { echo "the host was changed"; bad=1; }
mkdir "$work/v"
moat do --volume "$work/v:/mnt/volume" sh -c 'echo written >/mnt/volume/f'; same 'volume write' 0 $?
same volume written "$(cat "$work/v/f" 2>&1)"
same 'read-only volume' "written 1" "$(moat do --volume "$work/v:/mnt/volume:ro" sh -c 'cat /mnt/volume/f | tr "\n" " "; echo x 2>/dev/null >/mnt/volume/f; echo $?' | sed 's/ [^0]$/ 1/')"
same 'volume kept' written "$(cat "$work/v/f")"
same 'file volume' original "$(moat do --volume "$work/file:/etc/motd" cat /etc/motd)"

# Speed of the pipe is not the subject here, its content is.
same '64 MiB' "$(head -c 64M /dev/zero | md5sum)" "$(head -c 64M /dev/zero | moat do cat | md5sum)"
moat do --debug-log "$work/log" --strace true; grep -q exit_group "$work/log" || { echo "no strace in the log"; bad=1; }
exit $bad
