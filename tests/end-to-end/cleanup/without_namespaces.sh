#!/bin/bash
# Without namespaces there is no init whose end ends all: whoever of the processes dies, all are gone
# soon, a guest that computes and one that sleeps too. And so after a normal end.
set -u
work=$(mktemp -d /tmp/moat-without.XXXXXX)
cli=
all=
finish() {
	[ -n "$cli" ] && kill -KILL "$cli" 2>/dev/null
	for p in $all; do
		[ "$(identity "$p")" = "${started[$p]}" ] && kill -KILL "$p" 2>/dev/null
	done
	wait 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
declare -A started

# A process is known by its pid and when it was started.
identity() {
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

descendants() {
	local p
	for p in $(pgrep -P "$1"); do
		echo "$p"
		descendants "$p"
	done
}

named() {
	local p
	for p in $all; do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" = "moat-$1" ] && echo "$p"
	done
}

# start WHO: as root or as user 1234.
start() {
	rm -f "$work/out" "$work/hold"
	mkfifo "$work/hold"
	"${as[@]}" "$MOAT" do ${PLATFORM:+--platform=$PLATFORM} --platform-without=namespaces -- sh -c \
		'sleep 1000 & while :; do :; done & echo ready; read -r line; exit 7' \
		<"$work/hold" >"$work/out" 2>"$work/err" &
	cli=$!
	exec 9>"$work/hold"
	for _ in $(seq 600); do
		grep -q ready "$work/out" && break
		sleep 0.05
	done
	grep -q ready "$work/out" || { echo "the sandbox did not start"; cat "$work/err"; exit 1; }
	all=$(descendants "$cli")
	for p in $all; do
		started[$p]=$(identity "$p")
	done
	[ "$(wc -w <<<"$all")" -ge 6 ] || { echo "processes are missing: $all"; exit 1; }
}

# gone WHAT: nothing of what was started is left, within five seconds.
gone() {
	local p left
	for _ in $(seq 100); do
		left=
		for p in $all; do
			[ -n "${started[$p]}" ] && [ "$(identity "$p")" = "${started[$p]}" ] &&
				! grep -q '^State:.Z' "/proc/$p/status" && left+=" $p"
		done
		[ -z "$left" ] && break
		sleep 0.05
	done
	exec 9>&-
	[ -z "$left" ] && return
	echo "after $1 these are left:"
	ps -o pid,ppid,user,stat,comm -p "${left# }"
	bad=1
}

bad=0
for who in root user; do
	as=()
	[ $who = user ] && {
		[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || continue
		chmod 755 "$work"
		cp "$MOAT" "$work/moat"
		MOAT=$work/moat
		as=(setpriv --reuid 1234 --regid 1234 --clear-groups)
		cd /
	}
	for victim in cli keeper sentry gofer; do
		start
		grep -q '^moat: warning: no namespaces' "$work/err" || { echo "no warning"; bad=1; }
		case $victim in
		cli) kill -KILL "$cli" ;;
		*) kill -KILL $(named $victim) || { echo "no $victim"; bad=1; } ;;
		esac
		wait "$cli" 2>/dev/null
		gone "the death of the $victim ($who)"
	done
	start
	echo end >&9
	wait "$cli"
	[ $? = 7 ] || { echo "status"; bad=1; }
	gone "the end ($who)"
done

# --require-namespaces refuses, and says so.
"$MOAT" do --platform-without=namespaces --require-namespaces -- true 2>"$work/err"
[ $? = 125 ] && grep -q -- "--require-namespaces was given (see 'moat check')" "$work/err" ||
	{ echo "not refused"; cat "$work/err"; bad=1; }
exit $bad
