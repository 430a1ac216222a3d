/* Wait queues. Sleeping itself is in kernel/task/sleep.c. */
#include "sentry/kernel/core/wait.h"

#include <stdatomic.h>

#include "sentry/kernel/core/current.h"

static bool wake_entry_task(struct wait_entry *e, uint32_t events)
{
	task_wake(e->task);
	return true;
}

void wait_entry_init_task(struct wait_entry *e, uint32_t mask)
{
	*e = (struct wait_entry){.func = wake_entry_task, .task = current, .mask = mask};
}

void wait_entry_init_func(struct wait_entry *e, wait_func_t func, void *data, uint32_t mask)
{
	*e = (struct wait_entry){.func = func, .task = current, .data = data, .mask = mask};
}

void wait_queue_add(struct wait_queue *q, struct wait_entry *e)
{
	MUTEX_GUARD(&q->lock);

	/* Exclusive ones last, so that a wake-up meets all others first. */
	if (e->exclusive)
		TAILQ_INSERT_TAIL(&q->entries, e, link);
	else
		TAILQ_INSERT_HEAD(&q->entries, e, link);
	__atomic_store_n(&e->queue, q, __ATOMIC_RELEASE);
}

void wait_queue_remove(struct wait_entry *e)
{
	struct wait_queue *q = __atomic_load_n(&e->queue, __ATOMIC_ACQUIRE);

	if (!q)
		return;
	MUTEX_GUARD(&q->lock);
	if (e->queue) {
		TAILQ_REMOVE(&q->entries, e, link);
		e->queue = NULL;
	}
}

/* False only if nobody waits: without the lock where the sanitizer does not have to follow. */
static bool may_have_waiters(struct wait_queue *q)
{
#ifdef __SANITIZE_THREAD__
	MUTEX_GUARD(&q->lock);
	return !TAILQ_EMPTY(&q->entries);
#else
	atomic_thread_fence(memory_order_seq_cst);
	return __atomic_load_n(&q->entries.tqh_first, __ATOMIC_RELAXED) != NULL;
#endif
}

static void wake_entries(struct wait_queue *q, uint32_t events, bool all)
{
	struct wait_entry *e, *next;

	/* The waiter queues itself before it checks its condition; the waker changes the condition
	 * before it looks here. The fence orders the two, so an empty queue needs no lock. */
	if (!may_have_waiters(q))
		return;
	MUTEX_GUARD(&q->lock);
	for (e = TAILQ_FIRST(&q->entries); e; e = next) {
		next = TAILQ_NEXT(e, link);
		if (!(e->mask & events))
			continue;
		if (e->func(e, events) && e->exclusive && !all)
			break;
	}
}

void wake_up(struct wait_queue *q, uint32_t events)
{
	wake_entries(q, events, false);
}

void wake_up_all(struct wait_queue *q, uint32_t events)
{
	wake_entries(q, events, true);
}

bool wait_queue_active(struct wait_queue *q)
{
	return may_have_waiters(q);
}
