/* futex(2), futex_waitv(2), robust lists. */
#include <errno.h>
#include <linux/futex.h>

#include "base/clock.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/time/time.h"
#include "sentry/uaccess/uaccess.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

static bool takes_timeout(int cmd)
{
	return cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_LOCK_PI ||
	       cmd == FUTEX_LOCK_PI2 || cmd == FUTEX_WAIT_REQUEUE_PI;
}

/* FUTEX_WAIT's timeout is relative; the others' are absolute, by the chosen clock. */
static int get_deadline(int op, int cmd, uaddr_t utime, int64_t *deadline)
{
	bool realtime = (op & FUTEX_CLOCK_REALTIME) || cmd == FUTEX_LOCK_PI;
	int64_t ns;
	int ret;

	*deadline = NO_DEADLINE;
	if (!utime || !takes_timeout(cmd))
		return 0;
	ret = timespec_from_user(&ns, utime);
	if (ret)
		return ret;
	if (cmd == FUTEX_WAIT)
		*deadline = deadline_after(ns);
	else
		*deadline = deadline_at(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns);
	return 0;
}

SYSCALL_DEFINE6(futex, uaddr_t, uaddr, int, op, uint32_t, val, uaddr_t, utime, uaddr_t, uaddr2,
		uint32_t, val3)
{
	int cmd = op & FUTEX_CMD_MASK, nr2 = (int)utime;
	unsigned flags = op & FUTEX_PRIVATE_FLAG ? FUTEX_KEY_PRIVATE : 0;
	int64_t deadline;
	int ret;

	if (futex_is_direct(op))
		return futex_direct(t, uaddr, op, val, utime, uaddr2, val3);
	if ((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET &&
	    cmd != FUTEX_WAIT_REQUEUE_PI && cmd != FUTEX_LOCK_PI2)
		return -ENOSYS;
	ret = get_deadline(op, cmd, utime, &deadline);
	if (ret)
		return ret;
	switch (cmd) {
	case FUTEX_WAIT:
		return futex_wait(t, uaddr, flags, val, deadline, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAIT_BITSET:
		return futex_wait(t, uaddr, flags, val, deadline, val3);
	case FUTEX_WAKE:
		return futex_wake(t, uaddr, flags, (int)val, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAKE_BITSET:
		return futex_wake(t, uaddr, flags, (int)val, val3);
	case FUTEX_REQUEUE:
		return futex_requeue(t, uaddr, flags, (int)val, nr2, uaddr2, NULL);
	case FUTEX_CMP_REQUEUE:
		return futex_requeue(t, uaddr, flags, (int)val, nr2, uaddr2, &val3);
	case FUTEX_WAKE_OP:
		return futex_wake_op(t, uaddr, flags, (int)val, nr2, uaddr2, val3);
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
		return futex_lock_pi(t, uaddr, flags, deadline, false);
	case FUTEX_TRYLOCK_PI:
		return futex_lock_pi(t, uaddr, flags, NO_DEADLINE, true);
	case FUTEX_UNLOCK_PI:
		return futex_unlock_pi(t, uaddr, flags);
	case FUTEX_WAIT_REQUEUE_PI:
		return futex_wait_requeue_pi(t, uaddr, flags, val, deadline, FUTEX_BITSET_MATCH_ANY,
					     uaddr2);
	case FUTEX_CMP_REQUEUE_PI:
		if (val != 1)
			return -EINVAL;
		return futex_cmp_requeue_pi(t, uaddr, flags, nr2, uaddr2, val3);
	default:
		return -ENOSYS;
	}
}

/* --- futex_waitv -------------------------------------------------------------------------------
 */

/* linux/futex.h has them from 5.16 on */
#ifndef FUTEX_32
#define FUTEX_32 2
#define FUTEX_WAITV_MAX 128
#endif
#define MIXED_STEP_NS 1000000

struct waitv_entry {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

/* The absolute timeout of the newer calls. */
static int get_absolute(uaddr_t utime, int clock, int64_t *deadline)
{
	int64_t ns;
	int ret;

	*deadline = NO_DEADLINE;
	if (!utime)
		return 0;
	if (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME)
		return -EINVAL;
	ret = timespec_from_user(&ns, utime);
	if (!ret)
		*deadline = deadline_at(clock, ns);
	return ret;
}

static int get_waiters(struct task *t, uaddr_t uwaiters, unsigned nr, struct futex_waiter *w,
		       uint32_t *vals, unsigned *nprivate)
{
	*nprivate = 0;
	for (unsigned i = 0; i < nr; i++) {
		struct waitv_entry e;
		int ret;

		if (copy_from_user(&e, uwaiters + i * sizeof(e), sizeof(e)))
			return -EFAULT;
		/* Words of other sizes are for kernels to come. */
		if ((e.flags & ~(uint32_t)FUTEX_PRIVATE_FLAG) != FUTEX_32 || e.reserved ||
		    e.val > UINT32_MAX)
			return -EINVAL;
		w[i].task = t;
		w[i].uaddr = e.uaddr;
		w[i].bitset = FUTEX_BITSET_MATCH_ANY;
		vals[i] = (uint32_t)e.val;
		*nprivate += (e.flags & FUTEX_PRIVATE_FLAG) != 0;
		ret = futex_get_key(t, e.uaddr,
				    e.flags & FUTEX_PRIVATE_FLAG ? FUTEX_KEY_PRIVATE : 0,
				    &w[i].key);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Private futexes, for which the host's kernel knows the waiters, and others, for which we do, in
 * one call: nobody knows both, so the private words are looked at again and again. Who wakes one
 * without a change of its value is not seen.
 */
static int wait_mixed(struct futex_waiter *w, const uint32_t *vals, unsigned nr, int64_t deadline)
{
	for (;;) {
		int64_t step = MIN(deadline, monotonic_ns() + MIXED_STEP_NS);
		int ret = futex_wait_multiple(w, vals, nr, step);

		if (ret != -ETIMEDOUT || step == deadline)
			return ret;
		for (unsigned i = 0; i < nr; i++) {
			uint32_t now;

			if (futex_read(w[i].uaddr, &now))
				return -EFAULT;
			if (now != vals[i])
				return (int)i;
		}
	}
}

SYSCALL_DEFINE5(futex_waitv, uaddr_t, uwaiters, unsigned, nr, unsigned, flags, uaddr_t, utime, int,
		clock)
{
	struct futex_waiter *w __free = NULL;
	uint32_t vals[FUTEX_WAITV_MAX];
	unsigned nprivate;
	int64_t deadline;
	int ret;

	if (flags || !nr || nr > FUTEX_WAITV_MAX || !uwaiters)
		return -EINVAL;
	ret = get_absolute(utime, clock, &deadline);
	if (ret)
		return ret;
	w = calloc(nr, sizeof(*w));
	if (!w)
		return -ENOMEM;
	ret = get_waiters(t, uwaiters, nr, w, vals, &nprivate);
	if (ret)
		return ret;
	if (nprivate && platform_executes_futexes())
		return nprivate == nr ? futex_waitv_direct(t, uwaiters, nr, utime, clock)
				      : wait_mixed(w, vals, nr, deadline);
	return futex_wait_multiple(w, vals, nr, deadline);
}

/* --- robust lists ------------------------------------------------------------------------------
 */

SYSCALL_DEFINE2(set_robust_list, uaddr_t, head, size_t, len)
{
	if (len != sizeof(struct robust_list_head))
		return -EINVAL;
	t->robust_list = head;
	return 0;
}

SYSCALL_DEFINE3(get_robust_list, int, tid, uaddr_t, head, uaddr_t, len)
{
	struct task *other = tid ? task_find(tid) : task_get(t);
	size_t size = sizeof(struct robust_list_head);
	uint64_t value;

	if (!other)
		return -ESRCH;
	value = other->robust_list;
	if (other != t && ptrace_may_access(other, false)) {
		task_put(other);
		return -EPERM;
	}
	task_put(other);
	if (put_user(len, size))
		return -EFAULT;
	return put_user(head, value);
}
