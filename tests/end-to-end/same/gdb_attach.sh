#!/bin/bash
# gdb: signals, attaching, core files.
. "$(dirname "$(readlink -f "$0")")/../debugged.bash"
echo "signals"; g -ex 'run crash' -ex 'print $_siginfo.si_signo' -ex 'signal 0' ./prog | tail -3
g -ex 'handle SIGSEGV nostop noprint pass' -ex 'run crash' ./prog | tail -2
echo "attached"; ./prog wait & pid=$!
g -p $pid -ex 'up 100' -ex 'print argc' -ex 'set var counter = 5' -ex detach ./prog | grep -e '\$1'
wait $pid; echo "status $?"
echo "core files"; g -ex 'break half' -ex run -ex 'gcore core' ./prog >/dev/null
g -ex bt -ex 'print x' ./prog core | grep -e '^#' -e '\$1'
echo "killed"; g -ex 'break half' -ex run -ex kill ./prog | tail -1
