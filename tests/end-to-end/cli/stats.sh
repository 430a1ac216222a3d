#!/bin/bash
# --stats: what the sentry counts, at the end, on each platform.
set -u
work=$(mktemp -d /tmp/moat-stats.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0

# value NAME: the number that was printed for it, 0 if none was.
value() {
	awk -v name="$1" '$1 == "stats:" && $2 == name { n = $3 } END { print n + 0 }' "$work/err"
}

# wants NAME TEST N
wants() {
	[ "$(value "$1")" "$2" "$3" ] || { echo "$platform: $1 is $(value "$1"), not $2 $3"; bad=1; }
}

for platform in systrap ptrace; do
	"$MOAT" do --platform=$platform --stats -- sh -c 'for i in 1 2 3; do /bin/true; done; exit 5' \
		>"$work/out" 2>"$work/err"
	[ $? = 5 ] || { echo "$platform: the status is another one"; bad=1; }
	[ -s "$work/out" ] && { echo "$platform: something on standard output"; bad=1; }
	grep -v '^stats: ' "$work/err" && bad=1
	grep -Ev '^stats: ([a-z.-]+ [0-9]+|call\.[a-z0-9_]+ [0-9]+ [0-9]+)$' "$work/err" && bad=1
	wants call.execve -eq 3
	wants call.exit_group -eq 4
	wants memory.reads -gt 0
	wants memory.read-bytes -gt "$(value memory.reads)"
	wants time.wall -gt 0
	if [ $platform = systrap ]; then
		[ $(($(value command.fork) + $(value command.thread) + $(value stub.thread-reused))) = 3 ] ||
			{ echo "not three forks or vforks"; bad=1; }
		wants event.trace -eq 0
		wants syscall.trapped -gt 0
	else
		wants event.trace -gt 0
		wants event.notify -eq 0
	fi
done

# All of a loop's calls are counted, wherever they come from.
platform=systrap
"$MOAT" do --stats -- perl -e 'stat("/nowhere") for 1 .. 5000' 2>"$work/err"
wants 'call.newfstatat' -ge 0
[ $(($(value call.newfstatat) + $(value call.stat))) -ge 5000 ] ||
	{ echo "not all calls were counted"; bad=1; }
wants site.patched -gt 0
wants syscall.patched -gt 4000

"$MOAT" do -- /bin/true 2>"$work/err"
[ -s "$work/err" ] && { echo "something was said without --stats"; bad=1; }
exit $bad
