#!/bin/sh
# moat do --json: output and end of a program as one object.
set -eu
check() { # EXPRESSION over r, then what moat do is given
	expression=$1
	shift
	"$MOAT" do --json "$@" | python3 -c 'import json, sys
r = json.load(sys.stdin)
assert eval(sys.argv[1]), r' "$expression"
}
check 'r["status"] == "exited" and r["exit_code"] == 3 and r["stdout"] == "out\n" and r["stderr"] == "err\n"' \
	-- sh -c 'echo out; echo err >&2; exit 3'
check 'r["wall_time"] > 0 and r["user_time"] + r["system_time"] > 0 and r["signal"] is None' \
	-- sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'
check 'r["status"] == "signalled" and r["signal"] == 9 and r["exit_code"] is None' -- sh -c 'kill -9 $$'
check 'r["status"] == "wall limit" and r["stdout"] == "a\n"' --timeout 2s -- sh -c 'echo a; sleep 1000'
check 'r["status"] == "not started" and "/no/such" in r["error"]' -- /no/such
check 'r["stdout"] == "\ufffd\0x" and not r["stdout_truncated"]' -- printf '\377\000x'
check 'len(r["stdout"]) == 16 << 20 and r["stdout_truncated"]' -- sh -c 'head -c 17000000 /dev/zero | tr "\\0" x'
status=0
"$MOAT" do --json -- sh -c 'exit 5' >/dev/null || status=$?
test $status = 5
