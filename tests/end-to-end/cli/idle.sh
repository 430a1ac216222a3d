#!/bin/bash
# A sandbox whose program sleeps does nothing: no thread of any of its processes runs.
set -u
work=$(mktemp -d /tmp/moat-idle.XXXXXX)
trap 'kill "$cli" 2>/dev/null; wait "$cli" 2>/dev/null; rm -rf "$work"' EXIT

descendants() {
	local child
	for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
		echo "$child"
		descendants "$child"
	done
}

# How often each thread has been switched to or from.
switches() {
	local pid
	for pid in $cli $(descendants "$cli"); do
		grep -H ctxt_switches /proc/"$pid"/task/*/status 2>/dev/null
	done
}

"$MOAT" do --volume "$work:/ready" -- sh -c 'echo >/ready/begun; exec sleep 100000' &
cli=$!
for _ in $(seq 600); do
	[ -e "$work/begun" ] && break
	sleep 0.1
done
for _ in $(seq 40); do
	switches >"$work/before"
	sleep 3
	switches >"$work/after"
	cmp -s "$work/before" "$work/after" && [ "$(wc -l <"$work/after")" -ge 10 ] && exit 0
done
echo "an idle sandbox wakes up:"
diff "$work/before" "$work/after"
exit 1
