/*
 * A thread that sets its FS base by itself (wrfsbase, where the host lets programs) keeps it,
 * wherever a signal finds it, also in the middle of a short system call.
 */
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

#define ROUNDS 200000
#define HWCAP2_FSGSBASE 2

static _Atomic int done;
static _Atomic unsigned handled;

/* Runs on a foreign FS base: nothing here may need the C library's thread. */
static void handler(int sig)
{
	handled++;
}

static void *signals(void *arg)
{
	pthread_t thread = *(pthread_t *)arg;

	while (!done)
		CHECK(!pthread_kill(thread, SIGUSR1));
	return NULL;
}

__attribute__((noinline)) static long bare_getpid(void)
{
	long ret;

	__asm__ volatile("mov %1, %%eax\n\tsyscall"
			 : "=a"(ret)
			 : "i"(SYS_getpid)
			 : "rcx", "r11", "memory");
	return ret;
}

__attribute__((target("fsgsbase"), optimize("no-stack-protector"))) static unsigned
rounds_that_lose_it(void)
{
	static char elsewhere[64];
	unsigned long mine = _readfsbase_u64(), other = (unsigned long)elsewhere;
	unsigned lost = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned long base = other + i % 32;

		_writefsbase_u64(base);
		bare_getpid();
		lost += _readfsbase_u64() != base;
	}
	_writefsbase_u64(mine);
	return lost;
}

static void the_fs_base_survives_signals_in_short_calls(void)
{
	struct sigaction sa = {.sa_handler = handler};
	pthread_t self = pthread_self(), other;

	/* Alone, first: what a sandbox does to hasten a call that is made often. */
	for (int i = 0; i < 10000; i++)
		bare_getpid();
	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	CHECK(!pthread_create(&other, NULL, signals, &self));
	CHECK(!rounds_that_lose_it());
	done = 1;
	CHECK(!pthread_join(other, NULL));
	CHECK(handled);
}

int main(void)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
		the_fs_base_survives_signals_in_short_calls();
	CHECK_DONE();
}
