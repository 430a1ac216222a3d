#!/bin/bash
# gdb: threads, forks, watchpoints.
. "$(dirname "$(readlink -f "$0")")/../debugged.bash"
echo "software watchpoints"; g -ex 'set can-use-hw-watchpoints 0' -ex 'break worker' -ex 'run threads' -ex 'watch counter' -ex 'info watchpoints' -ex kill ./prog | grep -v '^Thread' | tail -4
echo "watchpoints"; g -ex 'break main' -ex run -ex 'watch counter' -ex continue -ex continue -ex 'info locals' -ex kill ./prog
echo "threads"; g -ex 'break threads_are_there' -ex 'run threads' -ex 'thread apply all -q print 1' -ex 'break worker' -ex 'delete' -ex continue ./prog | grep -v 'New Thread' | sort
echo "forks"; g -ex 'set follow-fork-mode child' -ex 'break in_child' -ex 'run fork >/dev/null' -ex bt -ex continue ./prog | grep -v -e Attaching -e Detaching -e detached | tail -7
g -ex 'catch fork' -ex 'run fork' -ex 'delete' -ex continue ./prog | grep -o -e 'Catchpoint 1 (forked' -e 'exited.*' -e '^child.*'
