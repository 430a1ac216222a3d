#!/bin/bash
# What config.json says of the process: label, scheduling, capabilities, and clear words for what cannot be had.
set -u
[ "$(id -u)" = 0 ] && command -v busybox >/dev/null || { echo "needs root and busybox"; exit 77; }
work=$(mktemp -d /tmp/moat-process.XXXXXX)
trap 'rm -rf "$work"' EXIT
bad=0
# same NAME EXPECTED GOT
same() {
	[ "$2" = "$3" ] && return
	echo "$1: expected '$2', got '$3'"
	bad=1
}
mkdir -p "$work/rootfs"/{bin,proc}
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for a in sh cat ionice sed; do ln -s busybox "$work/rootfs/bin/$a"; done

# run PROCESS-MEMBERS SCRIPT: what it prints.
run() {
	cat >"$work/config.json" <<-JSON
		{"ociVersion": "1.2.0", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "args": ["sh", "-c", "$2"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}${1:+, $1}},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}]}
	JSON
	timeout -k 1 60 "$MOAT" --root "$work/state" run --bundle "$work" c 2>&1 </dev/null
}

same 'no label' "cat: can't open: Invalid argument" "$(run '' 'cat /proc/self/attr/current' | sed 's/cat: .*: Inv/cat: can'"'"'t open: Inv/')"
same 'AppArmor label' 'my-profile' "$(run '"apparmorProfile": "my-profile"' 'cat /proc/self/attr/current')"
same 'SELinux label' 'system_u:system_r:svirt_lxc_net_t:s0:c1' \
	"$(run '"selinuxLabel": "system_u:system_r:svirt_lxc_net_t:s0:c1"' 'cat /proc/1/attr/current')"
same 'a label of the child' 'my-profile' "$(run '"apparmorProfile": "my-profile"' '(sh -c \"cat /proc/self/attr/current\")')"
same 'two labels' 'moat: run: config.json: process: both apparmorProfile and selinuxLabel' \
	"$(run '"apparmorProfile": "a", "selinuxLabel": "b"' 'echo ran')"
# Fields 18, 19, 40, 41 of man 5 proc_pid_stat, after the name: priority, nice, real-time priority, policy.
stat_fields='sed \"s/.*) //\" /proc/self/stat | (read a b c d e f g h i j k l m n o prio nice q r s t u v w x y z aa ab ac ad ae af ag ah ai aj rt policy rest; echo $nice $rt $policy)'
same 'default scheduling' '0 0 0' "$(run '' "$stat_fields")"
same 'SCHED_BATCH' '7 0 3' "$(run '"scheduler": {"policy": "SCHED_BATCH", "nice": 7}' "$stat_fields")"
same 'SCHED_RR' '0 11 2' "$(run '"scheduler": {"policy": "SCHED_RR", "priority": 11}' "$stat_fields")"
same 'a priority that does not go' 'moat: run: config.json: process.scheduler: priority 1 does not go with SCHED_OTHER' \
	"$(run '"scheduler": {"policy": "SCHED_OTHER", "priority": 1}' 'echo ran')"
same 'SCHED_DEADLINE' 'moat: run: config.json: process.scheduler: SCHED_DEADLINE is not supported' \
	"$(run '"scheduler": {"policy": "SCHED_DEADLINE"}' 'echo ran')"
same 'no such policy' "moat: run: config.json: process.scheduler: 'SCHED_X' is unknown" \
	"$(run '"scheduler": {"policy": "SCHED_X"}' 'echo ran')"
same 'I/O priority' 'best-effort: prio 5' "$(run '"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 5}' 'ionice -p 1')"
same 'idle I/O priority' 'idle' "$(run '"ioPriority": {"class": "IOPRIO_CLASS_IDLE"}' 'ionice -p 1' | sed 's/:.*//')"
same 'no such class' "moat: run: config.json: process.ioPriority: 'IOPRIO_CLASS_X' is unknown" \
	"$(run '"ioPriority": {"class": "IOPRIO_CLASS_X"}' 'echo ran')"
# All five sets, as execve leaves them to root.
same 'capabilities' 'CapInh: 0000000000000402 CapPrm: 0000000000000c07 CapEff: 0000000000000c07 CapBnd: 0000000000000c07 CapAmb: 0000000000000402' \
	"$(run '"capabilities": {"bounding": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST"],
	"permitted": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_NET_BIND_SERVICE"],
	"effective": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"],
	"inheritable": ["CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"], "ambient": ["CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE"]}' \
	'while read a b; do case $a in Cap*) printf \"%s %s \" $a $b;; esac; done </proc/1/status' | sed 's/ $//')"
exit $bad
