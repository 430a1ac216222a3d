#!/bin/bash
# procps and its kind, which parse /proc and /sys: no complaint, and what they print makes sense.
failed=0
check() { # check PATTERN COMMAND: the output of COMMAND in a sandbox matches, nothing on stderr
	local out
	command -v "${2%%[ ;]*}" > /dev/null || return 0
	out=$(timeout -s KILL 60 "$MOAT" do -- sh -c "$2" 2>&1 < /dev/null)
	if [ $? -ne 0 ] || ! grep -qE "$1" <<< "$out" || grep -qiE 'warning|cannot|error' <<< "$out"; then
		printf '%s:\n%s\n' "$2" "$out"
		failed=1
	fi
}
check '^ +1 \? +S' "ps -eo pid,tty,stat,comm; true"
check '^root +1 ' "ps aux; true"
check '^Mem: +[0-9]+ +[0-9]+' "free; true"
check 'up +[0-9]' "uptime; true"
check '^Tasks: +[0-9]+ total' "top -b -n 1; true"
check '^ *[0-9]+ +[0-9]+ +0' "vmstat; true"
check '^1$' "pgrep -x sh; true"
check '^1: +/' "pwdx 1; true"
check 'libc' "pmap 1; true"
check '^CPU\(s\): +[0-9]+' "lscpu; true"
check '^[0-9]+$' "nproc; true"
check ' /proc proc ' "mount > /dev/null; cat /proc/mounts; true"
check '/proc +proc' "findmnt -l; true"
check '^overlay|^Filesystem' "df; true"
check 'txt +REG' "lsof -p 1; true"
check 'max_map_count = [0-9]+' "sysctl vm.max_map_count; true"
exit $failed
