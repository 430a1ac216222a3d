#!/bin/bash
# Guests that break the stub's protocol, each in its own way: none gets anything of it, the sandbox
# lives on, and no process that the sentry does not know is left in it. As root and as another user
# in the guest; with the ways that older hosts take.
set -u
[ "$(id -u)" = 0 ] || exit 77
work=$(mktemp -d /tmp/moat-hostile.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0

# One case: the guest runs it, waits until what was killed is gone, and counts nothing but itself.
run_case() {
	local name=$1
	shift
	rm -f "$work/hold"
	mkfifo "$work/hold"
	"$MOAT" do "$@" -- sh -c '"$0" "$1"; echo "status $?"; cat' "$BUILD/boundary/hostile" "$name" \
		<"$work/hold" >"$work/out" 2>"$work/err" &
	local cli=$! sentry stubs
	exec 9>"$work/hold"
	for _ in $(seq 600); do
		grep -q '^status' "$work/out" && break
		kill -0 $cli 2>/dev/null || break
		sleep 0.1
	done
	if ! grep -q '^status 0' "$work/out"; then
		echo "$name $*: $(cat "$work/out")"
		tail -5 "$work/err"
		bad=1
	else
		# The shell, a spare, the zygote, the sentry, cat: what else there is must go soon.
		sentry=$(for p in $(pgrep -P $cli); do grep -lx moat-sentry "/proc/$p/comm"; done | cut -d/ -f3)
		for _ in $(seq 100); do
			stubs=$(pgrep --ns "$sentry" --nslist pid | wc -l)
			[ "$stubs" -le 5 ] && break
			sleep 0.1
		done
		if [ "$stubs" -gt 5 ]; then
			echo "$name $*: $stubs processes are left"
			bad=1
		fi
	fi
	exec 9>&-
	wait $cli
}

for name in $("$BUILD/boundary/hostile"); do
	case $name in
	rewrites_next_owner) run_case "$name" ;;
	denied_children_with_memory | takes_slots) run_case "$name" --user 1000 --memory 64M ;;
	*) run_case "$name" --user 1000 ;;
	esac
done
for feature in fsgsbase sync-wake-up wait-killable; do
	for name in denied_child denied_thread denied_while_made thread_in_childs_place rewrites_next_owner ignores_command \
		claims_fork ignores_exit; do
		run_case "$name" --platform-without=$feature
	done
done
[ $bad = 0 ] || exit 1
