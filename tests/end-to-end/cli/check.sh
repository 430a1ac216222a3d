#!/bin/bash
# moat check: says that sandboxes start where they do, what they are cut off from, and names every
# feature that can be hidden; in JSON too.
set -u
command -v python3 >/dev/null || exit 77
work=$(mktemp -d /tmp/moat-check.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
wrong() { echo "$1"; bad=1; }

"$MOAT" check >"$work/text" || wrong "status $?"
grep -qx "sandboxes start here" "$work/text" || wrong "does not say that sandboxes start"
grep -q "^isolation: .*pid, mount, network" "$work/text" || wrong "isolation: $(grep ^isolation "$work/text")"
grep -Eq "^(have|missing) +openat2 +5.6 " "$work/text" || wrong "no openat2"

# Each feature that it says can be hidden is shown as hidden, and a sandbox starts without it.
for f in fsgsbase sync-wake-up wait-killable direct-futex process-vm openat2 close-range fsmount open-tree mount-setattr \
	user-namespaces namespaces landlock; do
	"$MOAT" check --platform-without=$f >"$work/text" || wrong "$f: status $?"
	grep -Eq "^hidden +$f " "$work/text" || wrong "$f is not hidden"
done
grep -qx "    1. systrap starts" "$work/text" && grep -qx "    2. ptrace starts" "$work/text" ||
	wrong "platforms: $(grep "^    [0-9]" "$work/text")"
# Which platform it is, and why not the better one.
"$MOAT" check --platform-without=seccomp-notify >"$work/text" || wrong "seccomp-notify: status $?"
grep -qx "platform: ptrace" "$work/text" &&
	grep -q "^    1. systrap does not start: .*seccomp notifications" "$work/text" ||
	wrong "without notifications: $(grep -A2 ^platform "$work/text")"
"$MOAT" check --platform-without=namespaces >"$work/text"
grep -qx "isolation: seccomp filters, and Landlock if the host has it; no namespaces" "$work/text" ||
	wrong "without namespaces: $(grep ^isolation "$work/text")"
"$MOAT" check --platform-without=pidfd 2>"$work/err"
[ $? = 125 ] || wrong "hides what it needs"

"$MOAT" check --json >"$work/json" || wrong "--json: status $?"
python3 - "$work/json" <<'END' || bad=1
import json, os, sys
c = json.load(open(sys.argv[1]))
features = {f['name']: f for f in c['features']}
assert c['starts'] is True and c['error'] == '' and c['platform'], c
assert c['kernel'] == os.uname().release and c['uid'] == os.geteuid()
assert c['cpus'] == len(os.sched_getaffinity(0)), c['cpus']
assert [p['name'] for p in c['platforms']] == ['systrap', 'ptrace'], c['platforms']
assert all(p['starts'] == (not p['error']) for p in c['platforms']), c['platforms']
assert features['linux']['have'] and features['memfd-seals']['used']
for f in features.values():
    assert f['use'] and f['without'] and f['fix'] and f['costs'], f
END

# A host on which nothing starts: no procfs.
if [ "$(id -u)" = 0 ] && command -v unshare >/dev/null; then
	unshare -m --propagation private sh -c 'mount -t tmpfs none /proc && exec "$@"' sh \
		"$MOAT" check >"$work/text" 2>&1
	[ $? = 1 ] || wrong "without procfs: not status 1"
	grep -q "^missing  *proc " "$work/text" && grep -q "^no sandbox starts here: " "$work/text" ||
		{ wrong "without procfs:"; tail -3 "$work/text"; }
	unshare -m --propagation private sh -c 'mount -t tmpfs none /proc && exec "$@"' sh \
		"$MOAT" do true 2>"$work/err"
	grep -q "^moat: .*(see 'moat check')$" "$work/err" || { wrong "an error without advice:"; cat "$work/err"; }
fi
"$MOAT" check extra 2>/dev/null
[ $? = 125 ] || wrong "takes an argument"
exit $bad
