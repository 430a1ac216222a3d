/*
 * Wait queues and blocking. Queues are in wait.c, blocking is in kernel/task/sleep.c.
 *
 * A wait queue holds entries; wake_up() calls each entry's function with the poll events that
 * happened. The usual entry wakes a blocked task; epoll and poll bring their own function.
 *
 * Blocking, with the queue's own condition:
 *
 *	ret = wait_event_interruptible(&pipe->rd_wait, pipe_readable(pipe), deadline);
 *
 * Lock order: any object's lock -> queue->lock -> (inside entry functions) epoll item locks ->
 * task wake word. Entry functions must not block, take object locks or free their entry.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_WAIT_H
#define MOAT_SENTRY_KERNEL_CORE_WAIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/lock.h"

struct task;
struct wait_entry;

/* Called with queue->lock held. `events` is the poll mask of what happened (EPOLLIN ...), or ~0u.
 * Returns true when it consumed an exclusive wake-up. */
typedef bool (*wait_func_t)(struct wait_entry *entry, uint32_t events);

struct wait_queue {
	struct mutex lock;
	TAILQ_HEAD(, wait_entry) entries;
};

struct wait_entry {
	TAILQ_ENTRY(wait_entry) link;
	struct wait_queue *queue; /* NULL when not queued */
	wait_func_t func;
	struct task *task; /* whom the task entry function wakes */
	void *data;
	uint32_t mask;	/* events of interest; others do not call func */
	bool exclusive; /* wake_up() stops after the first that consumed */
};

/* A macro, so that a debug build knows the queues of one place as one class of locks. `what` as of
 * mutex_init_as(). */
#define wait_queue_init(q) wait_queue_init_as(q, 0)
#define wait_queue_init_as(q, what)                                                                \
	do {                                                                                       \
		mutex_init_as(&(q)->lock, what);                                                   \
		TAILQ_INIT(&(q)->entries);                                                         \
	} while (0)
/* Entries that wake the current task, or call func. Then queue / unqueue; removing an entry that
 * is not queued is fine. */
void wait_entry_init_task(struct wait_entry *e, uint32_t mask);
void wait_entry_init_func(struct wait_entry *e, wait_func_t func, void *data, uint32_t mask);
void wait_queue_add(struct wait_queue *q, struct wait_entry *e);
void wait_queue_remove(struct wait_entry *e);
/* Wakes all non-exclusive entries and at most one exclusive one whose mask meets events. */
void wake_up(struct wait_queue *q, uint32_t events);
/* Wakes exclusive ones, too. */
void wake_up_all(struct wait_queue *q, uint32_t events);
bool wait_queue_active(struct wait_queue *q);

/* Deadlines are absolute CLOCK_MONOTONIC nanoseconds. */
#define NO_DEADLINE INT64_MAX

/*
 * The primitive under everything. wait_prepare() arms the current task's wake word; a wake-up that
 * comes after it makes wait_block() return at once. wait_block() sleeps until task_wake(), a
 * deliverable signal (if interruptible), a kill, or the deadline:
 *   0            woken (check your condition again)
 *   -ERESTARTSYS a signal is pending (interruptible), or the task is being killed (always)
 *   -ETIMEDOUT   the deadline passed
 * Calls platform_block_begin/end around the sleep. No locks held.
 */
void wait_prepare(void);
int wait_block(int64_t deadline, bool interruptible);
/* Wakes t out of wait_block. Any thread, any locks. The caller keeps t alive. */
void task_wake(struct task *t);

/*
 * Waiting without a thread, for what is waited for most. A syscall that has armed the wake word and
 * queued itself returns wait_suspend(fn, deadline). If that is -ESUSPENDED, nobody runs the task
 * until task_wake(), a signal, a kill or the deadline; then some worker calls fn(task), which finds
 * out why and returns the syscall's result, or suspends again. Everything that must live until then
 * is in the task. Other results are wait_block()'s, at once. Only where may_suspend() says so.
 */
extern bool wait_keeps_threads; /* set at start: it never does (--strace wants to see results) */
bool may_suspend(struct task *t);
long wait_suspend(long (*fn)(struct task *t), int64_t deadline);
/* In fn: what wait_block() would return for a task that is to sleep until deadline. Ends the
 * suspension: wait_suspend() may begin another. */
int wait_resumed(int64_t deadline);
/* The run loop: lets go of a task whose syscall has returned -ESUSPENDED. False: it has been woken
 * already, and is still the caller's. */
bool task_let_go(struct task *t);

#define wait_event_ex(q, cond, deadline, interruptible, events)                                    \
	({                                                                                         \
		struct wait_entry we_;                                                             \
		int we_ret_ = 0;                                                                   \
		if (!(cond)) {                                                                     \
			wait_entry_init_task(&we_, (events));                                      \
			wait_queue_add((q), &we_);                                                 \
			for (;;) {                                                                 \
				wait_prepare();                                                    \
				if (cond)                                                          \
					break;                                                     \
				we_ret_ = wait_block((deadline), (interruptible));                 \
				if (we_ret_) {                                                     \
					if (cond)                                                  \
						we_ret_ = 0;                                       \
					break;                                                     \
				}                                                                  \
			}                                                                          \
			wait_queue_remove(&we_);                                                   \
		}                                                                                  \
		we_ret_;                                                                           \
	})
#define wait_event_interruptible(q, cond, deadline) wait_event_ex(q, cond, deadline, true, ~0u)
#define wait_event_killable(q, cond, deadline) wait_event_ex(q, cond, deadline, false, ~0u)

/* --- poll ---------------------------------------------------------------------------------- */

/* What file->ops->poll gets: it calls poll_wait() for every queue that a change would wake, then
 * returns the mask of now. pt may be NULL: only the mask is wanted. */
struct poll_table {
	void (*queue_fn)(struct poll_table *pt, struct wait_queue *q);
	uint32_t events; /* what the poller asks for */
};
static inline void poll_wait(struct poll_table *pt, struct wait_queue *q)
{
	if (pt && pt->queue_fn)
		pt->queue_fn(pt, q);
}

#endif
