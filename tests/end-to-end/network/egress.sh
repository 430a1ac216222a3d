#!/bin/bash
# What leaves a container is what its policy allows, by address and by name.
set -u
here=$(dirname "$(readlink -f "$0")")
. "$here/namespace.bash"
. "$here/egress.bash"

# --- nothing may leave, and connect says so at once
again bash -c 'curl -s -m 50 http://10.77.0.1:8000/page; echo $?; curl -s -m 50 "http://[fd77::1]:8000/page"; echo $?
	curl -s -m 50 http://web.test:8000/; echo $?'
out=$(moat run --egress=deny --egress-log="$log" --bundle "$work/bundle" deny)
[ "$out" = $'7\n7\n6' ] || fail "deny: $out"
[ "$(refusals 'l["protocol"] == "tcp" and l["address"] == "10.77.0.1" and l["port"] == 8000 and l["reason"] == "default" and l["command"] == "curl" and l["sandbox"] == "deny"')" -ge 1 ] ||
	fail "deny: the log: $(cat "$log")"
[ "$(refusals 'l["protocol"] == "tcp" and l["address"] == "fd77::1"')" -ge 1 ] || fail "IPv6: $(cat "$log")"
[ "$(refusals 'l["reason"] == "name" and l["name"] == "web.test"')" -ge 1 ] || fail "name: $(cat "$log")"
[ -s "$work/served" ] && fail "deny: something was served: $(cat "$work/served")"
[ -s "$work/asked" ] && fail "deny: somebody was asked: $(cat "$work/asked")"

# --- names, and what they do not open
policy <<'JSON'
{"default": "deny", "rules": [
	{"deny": "10.77.0.0/31"},
	{"allow": "*.test", "protocol": "tcp", "ports": [8000, "8080-8090"]}]}
JSON
again bash -c 'get() { curl -s -m 50 "http://$1/page"; echo $?; }
	get 10.77.0.3:8000; get web.test:8000; get 10.77.0.3:8000; get web.test:8001
	get other.test:8000; get evil.example:8000; get rebind.test:8000'
out=$(moat run --egress="$work/policy.json" --egress-log="$log" --bundle "$work/bundle" names)
[ "$out" = $'7\nfrom the peer\n0\nfrom the peer\n0\n7\n7\n6\n7' ] || fail "names: $out"
[ "$(refusals 'l["reason"] == "rule" and l["rule"] == 0 and l["name"] == "other.test"')" -ge 1 ] ||
	fail "a rule that denies: $(cat "$log")"
[ "$(refusals 'l["reason"] == "metadata" and l["name"] == "rebind.test"')" -ge 1 ] || fail "rebinding: $(cat "$log")"
grep -q evil "$work/asked" && fail "the name server was asked for what no rule allows"
grep -qx web.test "$work/asked" || fail "the name server was asked for: $(cat "$work/asked")"

# --- metadata services are closed where nothing was said
again bash -c 'curl -s -m 50 http://169.254.169.254:8000/page; echo $?; curl -s -m 50 http://10.77.0.1:8000/page'
: >"$work/served"
out=$(moat run --egress-log="$log" --bundle "$work/bundle" metadata)
[ "$out" = $'7\nfrom the peer' ] || fail "metadata: $out"
[ "$(refusals 'l["reason"] == "metadata" and l["address"] == "169.254.169.254"')" -ge 1 ] || fail "metadata: $(cat "$log")"
policy <<<'{"default": "allow", "metadata": "allow"}'
again curl -s -m 50 http://169.254.169.254:8000/page
out=$(moat run --egress="$work/policy.json" --bundle "$work/bundle" metadata)
[ "$out" = "from the peer" ] || fail "metadata that is allowed: $out"

# --- an annotation says it, but not against a flag
annotation=$(printf '{"default": "deny", "rules": [{"allow": "10.77.0.1", "ports": 8000}]}')
again bash -c 'curl -s -m 50 http://10.77.0.1:8000/page; curl -s -m 50 http://10.77.0.3:8000/page; echo $?'
out=$(moat run --bundle "$work/bundle" annotated 2>/dev/null)
[ "$out" = $'from the peer\n7' ] || fail "annotation: $out"
again bash -c 'curl -s -m 50 http://10.77.0.1:8000/page; echo $?'
out=$(moat run --egress=deny --bundle "$work/bundle" annotated 2>/dev/null)
[ "$out" = 7 ] || fail "annotation against a flag: $out"
again bash -c 'curl -s -m 50 http://10.77.0.1:8000/page; echo $?'
out=$(moat --egress=deny --egress-log="$log" run --bundle "$work/bundle" annotated)
[ "$out" = 7 ] && [ "$(refusals 'l["port"] == 8000')" -ge 1 ] || fail "a flag before the command: $out"
annotation='{"defualt": "deny"}'
again true
moat run --bundle "$work/bundle" annotated >"$work/out" 2>&1 && fail "a misspelt policy"
grep -q 'defualt: a policy has' "$work/out" || fail "message: $(cat "$work/out")"
annotation=
exit $failed
