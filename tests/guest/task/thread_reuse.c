/*
 * Threads that come and go: nothing of an ended thread is seen by a later one, whatever the later
 * one stands on: registers of all kinds, thread-local storage, masks, robust lists, CPU time; and
 * they end, and are killed, in all states.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static __thread int mine = 77;

/* The rounding mode, of both units; by hand, for the library's is in another library. */
static void set_rounding(uint32_t mode)
{
	uint32_t mxcsr = 0x1f80 | mode << 13;
	uint16_t cw = (uint16_t)(0x37f | mode << 10);

	__asm__ volatile("ldmxcsr %0; fldcw %1" : : "m"(mxcsr), "m"(cw));
}

static int rounding_is(uint32_t mode)
{
	uint32_t mxcsr;
	uint16_t cw;

	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(mxcsr), "=m"(cw));
	return (mxcsr >> 13 & 3) == mode && (cw >> 10 & 3) == mode;
}

/* It is the maker's, and stays so however the thread was made. */
static void *rounds(void *want)
{
	CHECK(rounding_is((uint32_t)(uintptr_t)want));
	set_rounding(3);
	return NULL;
}

static void fpu_control_is_the_makers(void)
{
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t mode = i % 4;
		pthread_t t;

		set_rounding(mode);
		CHECK(!pthread_create(&t, NULL, rounds, (void *)(uintptr_t)mode));
		CHECK(!pthread_join(t, NULL));
		CHECK(rounding_is(mode));
	}
	set_rounding(0);
}

/* Vector registers, too: a clone by hand, whose child looks at what its maker had loaded. */
struct vector {
	uint64_t half[2];
};
static struct vector seen;
static _Atomic int32_t child_tid;

static void vectors_are_the_makers(void)
{
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID;

	CHECK(stack != MAP_FAILED);
	for (uint64_t i = 1; i < 300; i++) {
		struct vector v = {{i * 0x9e3779b97f4a7c15ULL, ~i}};
		register _Atomic int32_t *r10 __asm__("r10") = &child_tid;
		register long r8 __asm__("r8") = 0;
		long ret;

		memset(&seen, 0, sizeof(seen));
		child_tid = 1;
		__asm__ volatile("movdqu %[v], %%xmm9\n"
				 "mov $56, %%eax\n"
				 "syscall\n"
				 "test %%rax, %%rax\n"
				 "jnz 1f\n"
				 "movdqu %%xmm9, %[seen]\n"
				 "pxor %%xmm9, %%xmm9\n"
				 "mov $60, %%eax\n"
				 "xor %%edi, %%edi\n"
				 "syscall\n"
				 "1:\n"
				 : "=a"(ret), [seen] "=m"(seen)
				 : [v] "m"(v), "D"(flags), "S"(stack + 65536 - 64), "d"(0L),
				   "r"(r10), "r"(r8)
				 : "rcx", "r11", "memory", "xmm9");
		CHECK(ret > 0);
		for (int32_t tid; (tid = child_tid) != 0;)
			syscall(SYS_futex, &child_tid, FUTEX_WAIT, tid, NULL, NULL, 0);
		CHECK(!memcmp(&seen, &v, sizeof(v)));
	}
	munmap(stack, 65536);
}

static void *fresh(void *arg)
{
	struct timespec ts;
	sigset_t set;
	void *head;
	size_t len;

	CHECK(mine == 77);
	mine = 5;
	CHECK(!pthread_sigmask(SIG_SETMASK, NULL, &set));
	CHECK(!sigismember(&set, SIGUSR2));
	sigaddset(&set, SIGUSR2);
	CHECK(!pthread_sigmask(SIG_SETMASK, &set, NULL));
	CHECK(syscall(SYS_gettid) != getpid());
	CHECK(!syscall(SYS_get_robust_list, 0, &head, &len));
	CHECK(!clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts));
	CHECK(ts.tv_sec == 0);
	return (void *)syscall(SYS_gettid);
}

static void nothing_is_left_of_an_ended_thread(void)
{
	long last = 0;

	for (int i = 0; i < 200; i++) {
		pthread_t t;
		void *tid;

		CHECK(!pthread_create(&t, NULL, fresh, NULL));
		CHECK(!pthread_join(t, &tid));
		CHECK((long)tid != last); /* ids are not given out again at once */
		last = (long)tid;
	}
}

/* One second of work belongs to the thread that did it, not to those after it. */
static void *works(void *arg)
{
	struct timespec ts;

	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	while (ts.tv_sec < 1);
	return NULL;
}

static void cpu_time_is_not_inherited(void)
{
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, works, NULL));
	CHECK(!pthread_join(t, NULL));
	for (int i = 0; i < 20; i++) {
		CHECK(!pthread_create(&t, NULL, fresh, NULL));
		CHECK(!pthread_join(t, NULL));
	}
}

/* Many at a time, with signals that hit them on the way in and out. */
static _Atomic int stop, handled;

static void on_signal(int sig)
{
	handled++;
}

static void *ends(void *arg)
{
	if ((intptr_t)arg % 3 == 0)
		sched_yield();
	if ((intptr_t)arg % 5 == 0)
		pthread_exit(NULL);
	return arg;
}

static void *maker(void *arg)
{
	for (intptr_t i = 0; i < 150; i++) {
		pthread_t t[3];
		void *ret;

		for (intptr_t k = 0; k < 3; k++)
			CHECK(!pthread_create(&t[k], NULL, ends, (void *)(i + k + 1)));
		for (intptr_t k = 0; k < 3; k++) {
			CHECK(!pthread_join(t[k], &ret));
			CHECK((intptr_t)ret == ((i + k + 1) % 5 ? i + k + 1 : 0));
		}
	}
	return NULL;
}

static void *shoots(void *arg)
{
	while (!stop) {
		kill(getpid(), SIGUSR1);
		usleep(1000);
	}
	return NULL;
}

static void storms_with_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t makers[4], shooter;

	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	CHECK(!pthread_create(&shooter, NULL, shoots, NULL));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&makers[i], NULL, maker, NULL));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(makers[i], NULL));
	stop = 1;
	CHECK(!pthread_join(shooter, NULL));
	CHECK(handled > 0);
}

/* A process with ended threads forks, and its child makes threads of its own; vfork likewise. */
static void forks_in_between(void)
{
	for (volatile int i = 0; i < 6; i++) {
		int status;
		pid_t pid;

		maker(NULL);
		pid = i % 2 ? fork() : vfork();
		if (!pid && i % 2) {
			nothing_is_left_of_an_ended_thread();
			_exit(7);
		}
		if (!pid)
			_exit(7);
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
}

/* It is killed with threads in every state, ended ones among them. */
static void *churns(void *arg)
{
	for (;;) {
		pthread_t t;

		if (!pthread_create(&t, NULL, ends, NULL))
			pthread_join(t, NULL);
	}
	return NULL;
}

static void is_killed_in_all_states(void)
{
	for (int i = 0; i < 20; i++) {
		int status, kind = i % 3;
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			pthread_t t[4];

			for (int k = 0; k < 4; k++)
				pthread_create(&t[k], NULL, churns, NULL);
			usleep(1000 * (i % 7));
			if (kind == 0)
				_exit(9);
			if (kind == 1)
				execl("/bin/false", "false", NULL);
			for (;;)
				pause();
		}
		usleep(1500 * (i % 5));
		if (kind == 2)
			kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid);
		if (kind == 0)
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
		if (kind == 1)
			CHECK(WIFEXITED(status));
		if (kind == 2)
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

int main(void)
{
	fpu_control_is_the_makers();
	vectors_are_the_makers();
	nothing_is_left_of_an_ended_thread();
	cpu_time_is_not_inherited();
	storms_with_signals();
	forks_in_between();
	is_killed_in_all_states();
	CHECK_DONE();
}
