#!/bin/bash
# What is left of the boundary without namespaces: uid, capabilities, new privileges, filters; an empty
# root where there is no Landlock.
set -u
. "$(dirname "$0")/sandbox.bash"
[ "$(id -u)" = 0 ] || exit 77
start_sandbox_without() {
	mkfifo "$work/hold"
	"$MOAT" do --platform-without=namespaces -- sh -c 'echo ready; cat' <"$work/hold" \
		>"$work/out" 2>"$work/err" &
	cli=$!
	exec 9>"$work/hold"
	for _ in $(seq 600); do
		grep -q ready "$work/out" && break
		sleep 0.05
	done
	grep -q ready "$work/out" || { echo "the sandbox did not start"; cat "$work/err"; exit 1; }
}
start_sandbox_without
bad=0
keeper=$(pgrep -P "$cli" -x moat-keeper)
sentry=$(pgrep -P "$keeper" -x moat-sentry)
gofer=$(pgrep -P "$cli" -x moat-gofer)
stubs=$(pgrep -P "$sentry" | grep -v "^$sentry$")
[ -n "$keeper" ] && [ -n "$sentry" ] && [ -n "$gofer" ] && [ -n "$stubs" ] ||
	{ echo "processes are missing"; exit 1; }
field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
for p in $keeper $sentry $stubs; do
	[ "$(field "$p" Uid)" = "65534	65534	65534	65534" ] || { echo "$p: uid $(field "$p" Uid)"; bad=1; }
	[ "$(field "$p" Groups | tr -d ' ')" = "" ] || { echo "$p: groups $(field "$p" Groups)"; bad=1; }
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		[ "$(field "$p" $set)" = 0000000000000000 ] || { echo "$p: $set $(field "$p" $set)"; bad=1; }
	done
done
for p in $keeper $sentry $gofer $stubs; do
	[ "$(field "$p" NoNewPrivs)" = 1 ] || { echo "$p: may gain privileges"; bad=1; }
	[ "$(field "$p" Seccomp)" = 2 ] || { echo "$p: no filter"; bad=1; }
done
# It looks for what is to be ended in /proc, and holds nothing else.
[ "$(readlink "/proc/$keeper"/fd/*)" = /proc ] || { echo "the keeper has descriptors"; bad=1; }
# With Landlock the sentry opens nothing (what a domain permits is the unit test's to see); without
# it its root is an empty folder.
"$MOAT" do --platform-without=namespaces,landlock -- sh -c 'echo ready2; cat' <"$work/hold" >"$work/out2" 2>&1 &
second=$!
for _ in $(seq 600); do
	grep -q ready2 "$work/out2" && break
	sleep 0.05
done
sentry=$(pgrep -P "$(pgrep -P $second -x moat-keeper)" -x moat-sentry)
[ -n "$sentry" ] && ! ls "/proc/$sentry/root/bin" >/dev/null 2>&1 || { echo "without Landlock the root is not empty"; bad=1; }
kill $second
wait $second
exit $bad
