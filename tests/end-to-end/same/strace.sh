#!/bin/bash
# strace: started and attached, with children and threads, filters, faults that it puts in.
exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
command -v strace >/dev/null || exit 77
cat >calls.c <<'END'
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
static void on(int sig) { }
int main(void)
{
	char buf[16];
	int p[2];
	signal(SIGUSR1, on);
	pipe(p);
	if (!fork()) { write(p[1], "from the child", 14); _exit(3); }
	read(p[0], buf, 14);
	wait(NULL);
	raise(SIGUSR1);
	open("/no/such/file", O_RDONLY);
	for (int i = 0; i < 50; i++) getppid();
	return getppid() == 0 ? 1 : 4;
}
END
gcc -O1 -static -o calls calls.c || exit 77
plain() { sed -E 's/(\[pid |^)[ 0-9]+\]? ?/PID /; s/0x[0-9a-f]+/ADDR/g; s/si_(pid|uid|utime|stime)=[0-9]+/si_\1=N/g; s/(fork|wait4|getppid|tgkill|clone|getpid|gettid)\((.*) = [0-9]+/\1(\2 = N/; s/child_tidptr=[^)]*//; s/tgkill\([0-9]+, [0-9]+/tgkill(N, N/; s/ +/ /g'; }
strace -ff -o out -e trace='!brk,mmap,mprotect,arch_prctl,prlimit64,readlinkat,readlink,rseq,set_robust_list,set_tid_address,getrandom,newfstatat' ./calls; echo "status $?"
cat out.* | plain | sort | uniq -c; rm out.*
echo "an ordinary pipeline"; strace -f -o out sh -c 'ls / | wc -l | cat >/dev/null'; echo "status $?"
grep -c 'exited with 0' out; grep -c 'execve(' out
echo "filters in the tracee"; strace --seccomp-bpf -f -o out -e trace=openat sh -c 'cat /etc/passwd >/dev/null; exit 9'; echo "status $?"
plain <out | grep -o 'openat.*/etc/passwd.*' | sed 's/ = .*//'
echo "faults"; strace -o out -e trace=getppid -e inject=getppid:retval=0 ./calls; echo "status $?"
tail -2 out | plain
strace -o /dev/null -e inject=openat:error=EACCES:when=1+ cat /etc/passwd 2>&1 | sed 's/.*: //' | tail -1
strace -o /dev/null -e inject=getppid:signal=SIGKILL ./calls; echo "status $?"
echo "by number"
(while [ ! -e stop ]; do sleep 0.1; done; exit 6) & pid=$!
strace -f -o out -p $pid 2>err & tracer=$!
while ! grep -q attached err; do sleep 0.1; done
grep TracerPid /proc/$pid/status | sed "s/$tracer/TRACER/"
touch stop; wait $pid; echo "tracee $?"; wait $tracer; echo "strace $?"
plain <out | grep 'exited with 6'
rm -f stop; (while [ ! -e stop ]; do sleep 0.1; done; exit 8) & pid=$!
strace -o out -p $pid 2>err & tracer=$!
while ! grep -q attached err; do sleep 0.1; done
kill -INT $tracer; wait $tracer; grep TracerPid /proc/$pid/status; touch stop; wait $pid; echo "left alone $?"
