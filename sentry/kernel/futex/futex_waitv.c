/* Waiting on several futexes at once (man 2 futex_waitv). */
#include <errno.h>

#include "sentry/kernel/futex/futex_internal.h"

/* Takes all out of their queues; the index of one that was woken, or -1. */
static int unqueue_all(struct futex_waiter *w, unsigned nr)
{
	int woken = -1;

	for (unsigned i = 0; i < nr; i++)
		if (!futex_unqueue(&w[i]))
			woken = (int)i;
	return woken;
}

static bool any_woken(struct futex_waiter *w, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (!atomic_load_explicit(&w[i].bucket, memory_order_acquire))
			return true;
	return false;
}

long futex_wait_multiple(struct futex_waiter *w, const uint32_t *vals, unsigned nr,
			 int64_t deadline)
{
	int ret = 0, woken;

	for (unsigned i = 0; i < nr; i++) {
		ret = futex_wait_setup(&w[i], vals[i]);
		if (!ret)
			continue;
		/* One that was queued before may have been woken: that must not be lost. */
		woken = unqueue_all(w, i);
		return woken >= 0 ? woken : ret;
	}
	do {
		wait_prepare();
		if (any_woken(w, nr))
			break;
		ret = wait_block(deadline, true);
	} while (!ret);
	woken = unqueue_all(w, nr);
	return woken >= 0 ? woken : ret;
}
