#include "sentry/kernel/wait.h"

#include <errno.h>

#include "base/parker.h"
#include "sentry/kernel/restart.h"
#include "sentry/kernel/strace.h"
#include "sentry/kernel/task.h"

/* task->wake_word */
enum { WAKE_ARMED, WAKE_WOKEN, WAKE_SLEEPING, WAKE_SUSPENDED };

__thread struct task *current;

void wait_queue_init(struct wait_queue *q)
{
	mutex_init(&q->lock);
	TAILQ_INIT(&q->entries);
}

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

void wait_prepare(void)
{
	atomic_store(&current->wake_word, WAKE_ARMED);
}

void task_wake(struct task *t)
{
	switch (atomic_exchange(&t->wake_word, WAKE_WOKEN)) {
	case WAKE_SLEEPING:
		parker_wake(t->parker); /* which its thread keeps until it has taken this */
		break;
	case WAKE_SUSPENDED:
		platform_continue(t->ctx); /* nobody else's: the task cannot end before */
		break;
	}
}

static bool must_leave(struct task *t, bool interruptible)
{
	uint32_t flags = atomic_load(&t->flags);

	return flags & (TF_KILLED | (interruptible ? TF_SIGPENDING | TF_PARK : 0));
}

int wait_block(int64_t deadline, bool interruptible)
{
	struct task *t = current;
	struct parker *parker = parker_self();
	uint32_t armed = WAKE_ARMED;
	int ret = 0, was;

	if (must_leave(t, interruptible))
		return -ERESTARTSYS;
	if (deadline != NO_DEADLINE && deadline <= monotonic_ns())
		return atomic_load(&t->wake_word) == WAKE_WOKEN ? 0 : -ETIMEDOUT;
	t->parker = parker;
	if (!atomic_compare_exchange_strong(&t->wake_word, &armed, WAKE_SLEEPING))
		return 0;
	/* For /proc only; a stopped task stays "stopped". */
	was = atomic_load_explicit(&t->state, memory_order_relaxed);
	if (was == TASK_RUNNING)
		atomic_store_explicit(&t->state, interruptible ? TASK_SLEEPING : TASK_DISK_SLEEP,
				      memory_order_relaxed);
	t->nvcsw++;
	platform_block_begin();
	if (!parker_sleep(parker, deadline)) {
		uint32_t sleeping = WAKE_SLEEPING;

		if (atomic_compare_exchange_strong(&t->wake_word, &sleeping, WAKE_ARMED))
			ret = -ETIMEDOUT;
		else
			parker_sleep(parker, NO_DEADLINE); /* a wake-up is on its way */
	}
	platform_block_end();
	atomic_store_explicit(&t->state, was, memory_order_relaxed);
	if (must_leave(t, interruptible))
		return -ERESTARTSYS;
	return ret;
}

/* --- without a thread --------------------------------------------------------------------------
 */

bool may_suspend(struct task *t)
{
	return !strace_enabled && platform_may_suspend(t->ctx);
}

static void deadline_passed(struct ktimer *timer)
{
	task_wake((struct task *)((char *)timer - offsetof(struct task, wait_timer)));
}

long wait_suspend(long (*fn)(struct task *t), int64_t deadline)
{
	struct task *t = current;

	if (must_leave(t, true))
		return -ERESTARTSYS;
	if (deadline != NO_DEADLINE && deadline <= monotonic_ns())
		return -ETIMEDOUT;
	t->continuation = fn;
	atomic_store_explicit(&t->state, TASK_SLEEPING, memory_order_relaxed);
	t->nvcsw++;
	if (deadline != NO_DEADLINE) {
		ktimer_init(&t->wait_timer, deadline_passed);
		ktimer_arm(&t->wait_timer, deadline);
	}
	return -ESUSPENDED;
}

int wait_resumed(int64_t deadline)
{
	struct task *t = current;

	if (deadline != NO_DEADLINE)
		ktimer_cancel_sync(&t->wait_timer);
	t->continuation = NULL;
	atomic_store_explicit(&t->state, TASK_RUNNING, memory_order_relaxed);
	if (must_leave(t, true))
		return -ERESTARTSYS;
	return deadline != NO_DEADLINE && deadline <= monotonic_ns() ? -ETIMEDOUT : 0;
}

bool task_let_go(struct task *t)
{
	uint32_t armed = WAKE_ARMED;

	return atomic_compare_exchange_strong(&t->wake_word, &armed, WAKE_SUSPENDED);
}
