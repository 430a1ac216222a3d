/*
 * Futexes (man 2 futex, Linux Documentation/locking/{pi-futex,robust-futexes}.rst).
 *
 * A futex is a key: (address space, address) for private memory, (number of the shared object or
 * inode, offset) for shared memory. Waiters stand in hash buckets, first come first served.
 *
 * Locks: mm->lock (for operations that change a word) -> bucket->lock (two: lower address first)
 * -> pi_lock -> task wake word. A waiter that is in a bucket belongs to that bucket's lock; once
 * waiter->bucket is NULL it belongs to its own task alone.
 */
#ifndef MOAT_SENTRY_KERNEL_FUTEX_FUTEX_INTERNAL_H
#define MOAT_SENTRY_KERNEL_FUTEX_FUTEX_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* --- inside kernel/futex*.c and kernel/futex/sys_futex.c
 * ------------------------------------------------
 */

struct futex_key {
	const void *object;
	uint64_t offset;
};

struct futex_bucket {
	struct mutex lock;
	TAILQ_HEAD(, futex_waiter) waiters;
};

struct futex_waiter {
	TAILQ_ENTRY(futex_waiter) link;
	struct futex_key key;
	_Atomic(struct futex_bucket *) bucket; /* NULL: woken, or not queued */
	struct task *task;
	uint32_t bitset;
	uaddr_t uaddr;
	/* PI */
	bool pi;	 /* waits to own the futex */
	bool requeue_pi; /* waits to be requeued to pi_key */
	bool acquired;	 /* the word says that task owns it now */
	struct futex_key pi_key;
	pid_t tid;	    /* what the word shows when task owns it */
	struct task *owner; /* counted; of the futex that it waits for; pi_lock */
};

/* A wait that no thread sleeps for; one per task. */
struct futex_sleep {
	struct futex_waiter waiter;
	unsigned flags;
	uint32_t val;
	int64_t deadline;
};

#define FUTEX_KEY_PRIVATE 1 /* flags of futex_get_key: FUTEX_PRIVATE_FLAG given */

int futex_get_key(struct task *t, uaddr_t uaddr, unsigned flags, struct futex_key *key);
static inline bool futex_key_equal(const struct futex_key *a, const struct futex_key *b)
{
	return a->object == b->object && a->offset == b->offset;
}
#define FUTEX_BUCKETS 1024
struct futex_bucket *futex_bucket_of(const struct futex_key *key);
struct futex_bucket *futex_bucket_nr(int i);
void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b);
void futex_unlock_two(struct futex_bucket *a, struct futex_bucket *b);
/* bucket->lock held. futex_wake_waiter takes it out and wakes its task; it is gone afterwards. */
void futex_queue(struct futex_bucket *b, struct futex_waiter *w);
void futex_wake_waiter(struct futex_bucket *b, struct futex_waiter *w);
void futex_move_waiter(struct futex_bucket *from, struct futex_bucket *to, struct futex_waiter *w,
		       const struct futex_key *key);
/* Takes w out of whichever bucket it is in; false: it had been woken. */
bool futex_unqueue(struct futex_waiter *w);
/* Queues w, whose key is known, if the word is still val: 0, -EAGAIN, -EFAULT. */
int futex_wait_setup(struct futex_waiter *w, uint32_t val);
/* Waits on all of w, keys known, until one is woken: its index, the last if several were. -EAGAIN:
 * a word is not its val; -EFAULT, -ETIMEDOUT, -ERESTARTSYS. */
long futex_wait_multiple(struct futex_waiter *w, const uint32_t *vals, unsigned nr,
			 int64_t deadline);
/* Sleeps until w is woken (0), or takes it out of its bucket and returns wait_block()'s error. */
int futex_block(struct futex_waiter *w, int64_t deadline);

/* The operations; results as the system call's. Deadlines are wait_block()'s. */
long futex_wait(struct task *t, uaddr_t uaddr, unsigned flags, uint32_t val, int64_t deadline,
		uint32_t bitset);
long futex_wake(struct task *t, uaddr_t uaddr, unsigned flags, int nr, uint32_t bitset);
long futex_requeue(struct task *t, uaddr_t uaddr, unsigned flags, int nr_wake, int nr_requeue,
		   uaddr_t uaddr2, const uint32_t *cmpval);
long futex_wake_op(struct task *t, uaddr_t uaddr, unsigned flags, int nr_wake, int nr_wake2,
		   uaddr_t uaddr2, uint32_t op);
long futex_lock_pi(struct task *t, uaddr_t uaddr, unsigned flags, int64_t deadline, bool try_only);
long futex_unlock_pi(struct task *t, uaddr_t uaddr, unsigned flags);
long futex_wait_requeue_pi(struct task *t, uaddr_t uaddr, unsigned flags, uint32_t val,
			   int64_t deadline, uint32_t bitset, uaddr_t uaddr2);
long futex_cmp_requeue_pi(struct task *t, uaddr_t uaddr, unsigned flags, int nr_requeue,
			  uaddr_t uaddr2, uint32_t cmpval);
void futex_exit_pi(struct task *t);

/* --- made by the guest's own thread: kernel/futex/futex_direct.c
 * -------------------------------------
 */

/* True if all calls of this kind are. op: futex(2)'s. */
bool futex_is_direct(int op);
/* -EEXECUTED. */
long futex_direct(struct task *t, uaddr_t uaddr, int op, uint32_t val, uaddr_t utime,
		  uaddr_t uaddr2, uint32_t val3);
long futex_waitv_direct(struct task *t, uaddr_t uwaiters, unsigned nr, uaddr_t utime, int clock);

/* --- words: kernel/futex/futex_word.c
 * -----------------------------------------------------------------
 */

int futex_read(uaddr_t uaddr, uint32_t *val);
/* Changes *uaddr in one step as other guest threads see it. mm->lock held; *old is what stood
 * there. 0 or -EFAULT. */
int futex_update(struct task *t, uaddr_t uaddr, enum platform_word_op op, uint32_t arg,
		 uint32_t expected, uint32_t *old);
/* Stores new if the word is `expected`: 0, -EAGAIN if it is not, -EFAULT. mm->lock held. */
int futex_cmpxchg(struct task *t, uaddr_t uaddr, uint32_t expected, uint32_t new);

#endif
