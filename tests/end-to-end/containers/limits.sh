#!/bin/bash
# Threads that a container may have, each of a pod its own number; what its control group and events show of it.
set -u
[ "$(id -u)" = 0 ] && command -v busybox >/dev/null && command -v python3 >/dev/null ||
	{ echo "needs root, busybox and python3"; exit 77; }
work=$(mktemp -d /tmp/moat-limits.XXXXXX)
R="timeout -k 1 60 $MOAT --root $work/state"
finish() {
	$R delete --force side >/dev/null 2>&1
	$R delete --force pod >/dev/null 2>&1
	rm -rf "$work"
}
trap finish EXIT
bad=0
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$1: expected '$2', got '$3'"
	bad=1
}
# start NAME TYPE LIMIT
start() {
	mkdir -p "$work/$1/rootfs"/{bin,proc,cg}
	cp "$(command -v busybox)" "$work/$1/rootfs/bin/busybox"
	for a in sh cat sleep wc kill; do ln -s busybox "$work/$1/rootfs/bin/$a"; done
	cat >"$work/$1/config.json" <<-JSON
		{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		            {"destination": "/cg", "type": "cgroup2", "source": "cgroup"}],
		 "linux": {"resources": {"pids": {"limit": $3}}},
		 "annotations": {"io.kubernetes.cri.container-type": "$2", "io.kubernetes.cri.sandbox-id": "pod"}}
	JSON
	$R create --bundle "$work/$1" "$1" </dev/null >"$work/out" 2>&1 && $R start "$1" && return
	echo "$1 does not start"
	cat "$work/out"
	exit 1
}

start pod sandbox -1
start side container 6
same 'limit of side' 6 "$($R exec side cat /cg/pids.max)"
same 'limit of pod' max "$($R exec pod cat /cg/pids.max)"
# The first process, and this one.
same 'threads of side' 2 "$($R exec side cat /cg/pids.current)"
same 'processes of side' 2 "$($R exec side sh -c 'n=0; while read p; do n=$((n + 1)); done </cg/cgroup.procs; echo $n')"
# A shell and four more: the next fork fails, and that of another container does not.
same 'forks in side' "sh: can't fork: Resource temporarily unavailable" \
	"$($R exec side sh -c 'for i in 1 2 3 4 5; do sleep 1000 >/dev/null 2>&1 & done' 2>&1)"
same 'threads at the limit' 5 "$(python3 -c '
import json, subprocess, sys
print(json.loads(subprocess.check_output(sys.argv[1:]))["data"]["pids"]["current"])' $R events --stats side)"
same 'the others have their own' ok "$($R exec pod sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 0 & done; wait; echo ok')"
# More, and then none.
$R update --pids-limit 8 side; same update 0 $?
same 'new limit' 8 "$($R exec side cat /cg/pids.max)"
$R update --pids-limit -1 side; same update 0 $?
same 'no limit' max "$($R exec side cat /cg/pids.max)"
same 'many' ok "$($R exec side sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0 & done; wait; echo ok')"
# Processor time as its group shows it.
$R exec side sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done'
python3 - "$($R exec side cat /cg/cpu.stat)" "$($R exec pod cat /cg/cpu.stat)" "$($R events --stats side)" <<'PY' || bad=1
import json, sys
side, pod = (dict(l.split() for l in a.splitlines()) for a in sys.argv[1:3])
total = json.loads(sys.argv[3])["data"]["cpu"]["usage"]["total"]
if int(side["usage_usec"]) <= int(pod["usage_usec"]):
    print("side, which worked, used less than pod", side, pod); sys.exit(1)
if not int(side["usage_usec"]) * 1000 <= total <= int(side["usage_usec"]) * 1500:
    print("events say", total, "the group", side); sys.exit(1)
PY
exit $bad
