#!/bin/sh
# gdb reads the core file of a process with threads: the signal, variables, both stacks.
set -e
for tool in gdb gcc; do
	command -v $tool >/dev/null || { echo "no $tool" >&2; exit 77; }
done
if [ "$(cat /proc/sys/kernel/core_pattern)" != core ]; then
	echo "this host puts core files elsewhere" >&2
	exit 77
fi
cat >crash.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_barrier_t both;
static int global = 1;

static void *worker(void *arg)
{
	pthread_barrier_wait(&both);
	for (;;)
		pause();
	return arg;
}

static int inner(int depth, int *to)
{
	return depth ? inner(depth - 1, to) + 1 : (*to = depth);
}

int main(void)
{
	char *heap = strdup("on the heap");
	pthread_t t;

	pthread_barrier_init(&both, NULL, 2);
	pthread_create(&t, NULL, worker, NULL);
	pthread_barrier_wait(&both);
	global = 4711;
	return inner(3, NULL) + puts(heap);
}
END
gcc -g -O0 -o crash crash.c -pthread
ulimit -c unlimited
status=0
./crash 2>/dev/null || status=$?
echo "status $status"
gdb -nx -batch -ex bt -ex 'print global' -ex 'frame function main' -ex 'print heap' \
	-ex 'thread 2' -ex 'frame function worker' -ex 'print arg' ./crash core 2>&1 |
	grep -E '^#[0-9]+ .* (inner|main|worker) |^\$|terminated' | sed -e 's/0x[0-9a-f]\{6,\}/ADDRESS/g' -e 's/.* worker (.*/in worker/'
