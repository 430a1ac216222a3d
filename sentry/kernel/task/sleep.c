/*
 * The one place where a task sleeps: see core/wait.h. Whoever wakes it, a wait queue, a signal, a
 * timer, does so by its wake word.
 */
#include <errno.h>

#include "base/parker.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/task/task.h"

/* task->wake_word */
enum { WAKE_ARMED, WAKE_WOKEN, WAKE_SLEEPING, WAKE_SUSPENDED };

__thread struct task *current;
bool wait_keeps_threads;

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

static bool must_leave(struct task *t, int64_t deadline, bool interruptible)
{
	uint32_t flags = atomic_load(&t->flags);

	if (flags & (TF_KILLED | (interruptible ? TF_SIGPENDING : 0)))
		return true;
	if (!interruptible || !(flags & TF_PARK))
		return false;
	/* The guest may not know: see deliver_signals(). */
	t->kept_deadline = deadline == NO_DEADLINE ? 0 : deadline;
	atomic_fetch_or(&t->flags, TF_LEFT);
	return true;
}

int wait_block(int64_t deadline, bool interruptible)
{
	struct task *t = current;
	struct parker *parker = parker_self();
	uint32_t armed = WAKE_ARMED;
	int ret = 0, was;

	if (must_leave(t, deadline, interruptible))
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
	if (must_leave(t, deadline, interruptible))
		return -ERESTARTSYS;
	return ret;
}

/* --- without a thread --------------------------------------------------------------------------
 */

bool may_suspend(struct task *t)
{
	return !wait_keeps_threads && platform_may_suspend(t->ctx);
}

static void deadline_passed(struct ktimer *timer)
{
	task_wake((struct task *)((char *)timer - offsetof(struct task, wait_timer)));
}

long wait_suspend(long (*fn)(struct task *t), int64_t deadline)
{
	struct task *t = current;

	if (must_leave(t, deadline, true))
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
	if (must_leave(t, deadline, true))
		return -ERESTARTSYS;
	return deadline != NO_DEADLINE && deadline <= monotonic_ns() ? -ETIMEDOUT : 0;
}

bool task_let_go(struct task *t)
{
	uint32_t armed = WAKE_ARMED;

	return atomic_compare_exchange_strong(&t->wake_word, &armed, WAKE_SUSPENDED);
}
