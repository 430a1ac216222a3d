#!/bin/bash
# Which platform runs: the one that is asked for, or the first that starts, with a word why.
set -u
work=$(mktemp -d /tmp/moat-platforms.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0

# expect STATUS TEXT COMMAND...: its status, and what it says on stderr ("-": nothing).
expect() {
	local status=$1 text=$2 got
	shift 2
	"$@" >"$work/out" 2>"$work/err"
	got=$?
	[ $got = "$status" ] || { echo "$*: status $got, not $status: $(cat "$work/err")"; bad=1; }
	if [ "$text" = - ]; then
		[ ! -s "$work/err" ] || { echo "$*: said $(cat "$work/err")"; bad=1; }
	else
		grep -q -- "$text" "$work/err" || { echo "$*: no '$text' in: $(cat "$work/err")"; bad=1; }
	fi
}

# runs_on PLATFORM COMMAND...: what `moat check` says of a sandbox that it has started.
runs_on() {
	local platform=$1
	shift
	"$@" check >"$work/out" 2>&1
	grep -qx "platform: $platform" "$work/out" && grep -qx 'sandboxes start here' "$work/out" ||
		{ echo "$*: not on $platform: $(grep -A3 '^platform' "$work/out")"; bad=1; }
}

reason='systrap: seccomp notifications: .*; so the platform is ptrace'
expect 0 - "$MOAT" do --platform=systrap true
expect 0 - "$MOAT" do --platform=ptrace true
expect 7 - "$MOAT" do --platform=ptrace -- sh -c 'exit 7'
expect 0 "$reason" "$MOAT" do --platform-without=seccomp-notify true
expect 125 'systrap: seccomp notifications: ' "$MOAT" do --platform=systrap \
	--platform-without=seccomp-notify true

# Not hidden, but taken: the kernel allows one listener for all filters of a process.
listener=$BUILD/cli/with_listener
"$listener" /bin/true
if [ $? = 0 ]; then
	expect 0 "$reason" "$listener" "$MOAT" do true
	expect 0 - "$listener" "$MOAT" do --platform=ptrace true
	expect 125 'systrap: seccomp notifications: Device or resource busy' \
		"$listener" "$MOAT" do --platform=systrap true
	runs_on ptrace "$listener" "$MOAT"
fi
runs_on systrap "$MOAT"
exit $bad
