/*
 * Futex operations that change a word, while system calls of other threads write to the same page.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define ROUNDS 1500

static struct page {
	_Atomic uint32_t word, other;
	sigset_t old;
	struct timespec ts;
	char buf[64];
} * page;
static _Atomic int stop;

static long futex(_Atomic uint32_t *word, int op, uint32_t val, unsigned long val2,
		  _Atomic uint32_t *word2, uint32_t val3)
{
	return syscall(SYS_futex, word, op, val, val2, word2, val3);
}

static void *writes_by_calls(void *arg)
{
	sigset_t set;
	int fds[2];

	sigemptyset(&set);
	CHECK(!pipe(fds));
	while (!stop) {
		CHECK(!sigprocmask(SIG_BLOCK, &set, &page->old));
		CHECK(!syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &page->ts));
		CHECK(write(fds[1], "hello", 5) == 5);
		CHECK(read(fds[0], page->buf, sizeof(page->buf)) == 5);
	}
	close(fds[0]);
	close(fds[1]);
	return NULL;
}

static void with_writers(void (*fn)(void))
{
	pthread_t threads[2];

	stop = 0;
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, writes_by_calls, NULL));
	fn();
	stop = 1;
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

static void lock_and_unlock(void)
{
	/* With FUTEX_WAITERS set user space may not unlock by itself. */
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(!futex(&page->word, FUTEX_LOCK_PI_PRIVATE, 0, 0, NULL, 0));
		CHECK_EQ(page->word & FUTEX_TID_MASK, syscall(SYS_gettid));
		CHECK(!futex(&page->word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, NULL, 0));
		CHECK_EQ(page->word, 0);
	}
}

static void lock_and_unlock_beside_others(void)
{
	for (int i = 0; i < 200; i++) {
		CHECK(!futex(&page->word, FUTEX_LOCK_PI_PRIVATE, 0, 0, NULL, 0));
		CHECK_EQ(page->word & FUTEX_TID_MASK, syscall(SYS_gettid));
		sched_yield();
		CHECK(!futex(&page->word, FUTEX_UNLOCK_PI_PRIVATE, 0, 0, NULL, 0));
	}
}

static void add_by_wake_op(void)
{
	page->other = 0;
	for (int i = 0; i < ROUNDS; i++)
		CHECK(!futex(&page->word, FUTEX_WAKE_OP_PRIVATE, 1, 1, &page->other,
			     FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_GT, 100000)));
	CHECK_EQ(page->other, ROUNDS);
}

static void *locks(void *arg)
{
	lock_and_unlock_beside_others();
	return NULL;
}

static void pi_lock_by_many_threads(void)
{
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&threads[i], NULL, locks, NULL));
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK_EQ(page->word, 0);
}

static void pi_lock_beside_calls_that_write_the_page(void)
{
	with_writers(lock_and_unlock);
	with_writers(pi_lock_by_many_threads);
}

static void wake_op_beside_calls_that_write_the_page(void)
{
	with_writers(add_by_wake_op);
}

int main(void)
{
	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	REQUIRE(page != MAP_FAILED);
	pi_lock_by_many_threads();
	pi_lock_beside_calls_that_write_the_page();
	wake_op_beside_calls_that_write_the_page();
	CHECK_DONE();
}
