#include "base/parker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock_order.h"
#include "base/log.h"

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static __thread struct parker *self;

static void parker_free(void *arg)
{
	struct parker *p = arg;

	if (p->rd >= 0) {
		close(p->rd);
		close(p->wr);
	}
	free(p);
}

static void make_key(void)
{
	pthread_key_create(&key, parker_free);
}

struct parker *parker_self(void)
{
	int fds[2] = {-1, -1};

	if (self)
		return self;
	pthread_once(&once, make_key);
	self = calloc(1, sizeof(*self));
	if (!self)
		panic("no memory for a thread");
	/* A guest decides how many threads wait: running out of descriptors must do no harm. */
	if (pipe2(fds, O_CLOEXEC))
		fds[0] = fds[1] = -1;
	self->rd = fds[0];
	self->wr = fds[1];
	pthread_setspecific(key, self);
	return self;
}

static bool take_wake(struct parker *p)
{
	uint32_t n = atomic_load(&p->wakes);

	while (n)
		if (atomic_compare_exchange_weak(&p->wakes, &n, n - 1))
			return true;
	return false;
}

static bool futex_sleep(struct parker *p, int64_t deadline)
{
	struct timespec at = {deadline / NSEC_PER_SEC, deadline % NSEC_PER_SEC};

	while (!take_wake(p)) {
		/* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. */
		if (syscall(SYS_futex, &p->wakes, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0,
			    deadline == INT64_MAX ? NULL : &at, NULL, FUTEX_BITSET_MATCH_ANY) &&
		    errno == ETIMEDOUT)
			return take_wake(p);
	}
	return true;
}

bool parker_sleep(struct parker *p, int64_t deadline)
{
	char byte;

	lock_check_sleeps(NULL);
	if (p->rd < 0)
		return futex_sleep(p, deadline);
	while (deadline != INT64_MAX) {
		struct pollfd fd = {.fd = p->rd, .events = POLLIN};
		int64_t left = deadline - monotonic_ns();
		struct timespec ts;
		int n;

		if (left < 0)
			left = 0;
		ts = (struct timespec){left / NSEC_PER_SEC, left % NSEC_PER_SEC};
		n = ppoll(&fd, 1, &ts, NULL);
		if (n > 0)
			break;
		if (n == 0)
			return false;
	}
	while (read(p->rd, &byte, 1) < 0 && errno == EINTR)
		;
	return true;
}

void parker_wake(struct parker *p)
{
	if (p->rd < 0) {
		atomic_fetch_add(&p->wakes, 1);
		syscall(SYS_futex, &p->wakes, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
		return;
	}
	while (write(p->wr, "", 1) < 0 && errno == EINTR)
		;
}
