/*
 * The mask of blocked signals, changed all the time, while signals come from other threads and
 * processes: what is blocked is not delivered, and what was sent before the mask is lifted is
 * delivered before the call that lifts it returns.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static long sigprocmask_raw(int how, const void *set, void *old, size_t size)
{
	return syscall(SYS_rt_sigprocmask, how, set, old, size);
}

#define BIT(sig) (1ULL << ((sig)-1))

static void arguments_are_checked(void)
{
	uint64_t set = BIT(SIGUSR1), old, got;
	char *gone = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *readable = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(page + 4096, 4096);
	/* Often, so that the site is one that everything has been done for. */
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, NULL, &old, 8), 0);
		CHECK_EQ(old, 0);
		CHECK_EQ(sigprocmask_raw(SIG_BLOCK, &set, &old, 8), 0);
		CHECK_EQ(old, 0);
		CHECK_EQ(sigprocmask_raw(SIG_BLOCK, NULL, &old, 8), 0);
		CHECK_EQ(old, set);
		CHECK_ERRNO(sigprocmask_raw(SIG_BLOCK, &set, &old, 4), EINVAL);
		CHECK_ERRNO(sigprocmask_raw(77, &set, &old, 8), EINVAL);
		CHECK_EQ(sigprocmask_raw(77, NULL, &old, 8), 0);
		CHECK_ERRNO(sigprocmask_raw(SIG_SETMASK, gone, NULL, 8), EFAULT);
		CHECK_ERRNO(sigprocmask_raw(SIG_SETMASK, page + 4092, NULL, 8), EFAULT);
		CHECK_ERRNO(sigprocmask_raw(SIG_SETMASK, (void *)0x7ff000001000, NULL, 8), EFAULT);
		CHECK_ERRNO(sigprocmask_raw(SIG_SETMASK, (void *)~7ULL, NULL, 8), EFAULT);
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, NULL, &old, 8), 0);
		CHECK_EQ(old, set);
		/* The mask is changed, and then there is no place for the old one. */
		got = 0;
		CHECK_ERRNO(sigprocmask_raw(SIG_SETMASK, &got, readable, 8), EFAULT);
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, NULL, &old, 8), 0);
		CHECK_EQ(old, 0);
		/* One place for both, and two that overlap. */
		got = set;
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, &got, &got, 8), 0);
		CHECK_EQ(got, 0);
		memcpy(page, &set, 8);
		memset(page + 8, 0, 8);
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, page, page + 4, 8), 0);
		memcpy(&got, page + 4, 8);
		CHECK_EQ(got, set);
		got = ~0ULL;
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, &got, NULL, 8), 0);
		CHECK_EQ(sigprocmask_raw(SIG_SETMASK, NULL, &old, 8), 0);
		CHECK_EQ(old, ~(BIT(SIGKILL) | BIT(SIGSTOP)));
		got = 0;
		CHECK_EQ(sigprocmask_raw(SIG_UNBLOCK, &old, &got, 8), 0);
		CHECK_EQ(got, old);
	}
}

/* --- one thread, and others who send --------------------------------------------------------- */

static __thread volatile int blocked, mine;
static _Atomic int total, wrong;

static void on_signal(int sig)
{
	if (blocked)
		wrong++;
	mine++;
	total++;
}

static _Atomic int stop;
static pthread_t victim;

static void *sends_to_thread(void *arg)
{
	while (!stop) {
		pthread_kill(victim, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

static void nothing_comes_while_blocked(void)
{
	uint64_t set = BIT(SIGUSR1);
	pthread_t sender;

	victim = pthread_self();
	stop = total = 0;
	CHECK(!pthread_create(&sender, NULL, sends_to_thread, NULL));
	for (int i = 0; i < 20000 || (total < 20 && i < 2000000); i++) {
		sigprocmask_raw(SIG_BLOCK, &set, NULL, 8);
		blocked = 1;
		for (volatile int k = 0; k < 20; k++)
			;
		blocked = 0;
		sigprocmask_raw(SIG_UNBLOCK, &set, NULL, 8);
	}
	stop = 1;
	CHECK(!pthread_join(sender, NULL));
	CHECK_EQ(wrong, 0);
	CHECK(total > 0);
}

static _Atomic int round_begun, round_sent;

static void *sends_in_rounds(void *arg)
{
	int process = arg != NULL;

	for (int i = 1; i <= 1500; i++) {
		while (round_begun < i)
			sched_yield();
		if (process)
			kill(getpid(), SIGUSR1);
		else
			pthread_kill(victim, SIGUSR1);
		round_sent = i;
	}
	return NULL;
}

static void pending_comes_before_the_call_returns(int process)
{
	uint64_t set = BIT(SIGUSR1);
	pthread_t sender;

	victim = pthread_self();
	round_begun = round_sent = 0;
	/* The sender has it blocked, so the process's are for this thread. */
	sigprocmask_raw(SIG_BLOCK, &set, NULL, 8);
	CHECK(!pthread_create(&sender, NULL, sends_in_rounds, process ? &set : NULL));
	for (int i = 1; i <= 1500; i++) {
		int before = mine;

		round_begun = i;
		while (round_sent < i) {
			/* Something else changes meanwhile. */
			uint64_t other = BIT(SIGUSR2);

			sigprocmask_raw(SIG_BLOCK, &other, NULL, 8);
			sigprocmask_raw(SIG_UNBLOCK, &other, NULL, 8);
			sched_yield();
		}
		CHECK_EQ(mine, before);
		sigprocmask_raw(SIG_UNBLOCK, &set, NULL, 8);
		CHECK_EQ(mine, before + 1);
		sigprocmask_raw(SIG_BLOCK, &set, NULL, 8);
	}
	CHECK(!pthread_join(sender, NULL));
	sigprocmask_raw(SIG_UNBLOCK, &set, NULL, 8);
}

/* --- a process's signal finds the thread that does not block it ------------------------------- */

static _Atomic int taken, quit;

static void on_usr2(int sig)
{
	if (blocked)
		wrong++;
	taken++;
}

static void *alternates(void *arg)
{
	uint64_t set = BIT(SIGUSR2);

	while (!quit) {
		sigprocmask_raw(SIG_BLOCK, &set, NULL, 8);
		blocked = 1;
		sched_yield();
		blocked = 0;
		sigprocmask_raw(SIG_UNBLOCK, &set, NULL, 8);
		sched_yield();
	}
	return NULL;
}

static void some_thread_takes_it(void)
{
	uint64_t set = BIT(SIGUSR2);
	pthread_t threads[4];
	pid_t child;
	int status;

	signal(SIGUSR2, on_usr2);
	sigprocmask_raw(SIG_BLOCK, &set, NULL, 8);
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, alternates, NULL));
	child = fork();
	if (!child) {
		for (int i = 0; i < 500; i++) {
			kill(getppid(), SIGUSR2);
			sched_yield();
		}
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	for (int i = 0; i < 500; i++) {
		int before = taken;

		kill(getpid(), SIGUSR2);
		for (int k = 0; taken == before && k < 100000; k++)
			sched_yield();
		CHECK(taken > before);
	}
	quit = 1;
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK_EQ(wrong, 0);
}

/* The mask of a child, a program and a thread is its maker's latest. */
static void *looks(void *old)
{
	sigprocmask_raw(SIG_BLOCK, NULL, old, 8);
	return NULL;
}

static void masks_are_inherited(void)
{
	for (int i = 0; i < 100; i++) {
		uint64_t set = BIT(10 + i % 5), none = 0, old = 1;
		pthread_t t;
		pid_t pid;
		int status;

		sigprocmask_raw(SIG_SETMASK, &set, NULL, 8);
		pid = fork();
		if (!pid) {
			sigprocmask_raw(SIG_SETMASK, NULL, &old, 8);
			_exit(old != set);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
		CHECK(!pthread_create(&t, NULL, looks, &old));
		CHECK(!pthread_join(t, NULL));
		CHECK_EQ(old, set);
		sigprocmask_raw(SIG_SETMASK, &none, NULL, 8);
	}
}

int main(void)
{
	signal(SIGUSR1, on_signal);
	arguments_are_checked();
	nothing_comes_while_blocked();
	pending_comes_before_the_call_returns(0);
	pending_comes_before_the_call_returns(1);
	some_thread_takes_it();
	masks_are_inherited();
	CHECK_DONE();
}
