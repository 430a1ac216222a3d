#!/bin/bash
# gdb: breakpoints, steps, calls into the program, system calls, signals.
. "$(dirname "$(readlink -f "$0")")/../debugged.bash"
echo "breakpoints"; g -ex 'break depth if n == 0' -ex run -ex bt -ex 'info locals' -ex 'print n' -ex finish -ex 'tbreak half' -ex continue -ex 'print x' -ex 'set var x = 9' -ex 'continue' ./prog
echo "steps"; g -ex 'break main' -ex run -ex next -ex next -ex next -ex next -ex 'break half' -ex step -ex 'stepi' -ex 'nexti' -ex 'info line' -ex kill ./prog | head -40
echo "calls"; g -ex 'break half' -ex run -ex 'print depth(7)' -ex 'print half(11.0)' -ex 'print $xmm0.v2_double[0]' -ex continue ./prog
echo "system calls"; g -ex 'catch syscall write' -ex run -ex continue -ex continue ./prog | sed 's/, .*//' | tail -5
