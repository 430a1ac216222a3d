/*
 * Priority-inheritance futexes: the word holds the owner's thread id. The sentry does not schedule
 * guest threads, so no priority is lent; what stays is the protocol: ownership is handed from the
 * owner to the first waiter, inversion loops are EDEADLK, a dead owner is noticed.
 *
 * pi_lock guards waiter->owner and task->pi_waiter (the PI waiter that a task sleeps in).
 */
#include "sentry/kernel/futex/futex_internal.h"

#include <errno.h>
#include <linux/futex.h>

#include "sentry/mm/mm.h"

static struct mutex pi_lock = MUTEX_INIT;
static atomic_int pi_waiters; /* so that exit need not look when there are none */

/* How long a chain of owners waiting for owners may be. */
#define CHAIN_MAX 1024

/* --- owners ----------------------------------------------------------------------------------- */

/* Makes `owner` (NULL: none) the one that w waits for. */
static void set_owner(struct futex_waiter *w, struct task *owner)
{
	struct task *old = w->owner;

	w->owner = owner ? task_get(owner) : NULL;
	if (old)
		task_put(old);
}

/* Would t, waiting for owner, wait for itself? pi_lock held. */
static bool would_deadlock(struct task *t, struct task *owner)
{
	for (int i = 0; owner && i < CHAIN_MAX; i++) {
		struct futex_waiter *w;

		if (owner == t)
			return true;
		w = owner->pi_waiter;
		owner = w ? w->owner : NULL;
	}
	return false;
}

static struct futex_waiter *first_waiter(struct futex_bucket *b, const struct futex_key *key)
{
	struct futex_waiter *w;

	TAILQ_FOREACH (w, &b->waiters, link)
		if (w->pi && futex_key_equal(&w->key, key))
			return w;
	return NULL;
}

static struct futex_waiter *other_waiter(struct futex_bucket *b, const struct futex_key *key,
					 const struct futex_waiter *than)
{
	struct futex_waiter *w;

	TAILQ_FOREACH (w, &b->waiters, link)
		if (w != than && w->pi && futex_key_equal(&w->key, key))
			return w;
	return NULL;
}

/* w has become a waiter for a PI futex held by owner. Bucket locked. */
static int begin_waiting(struct futex_waiter *w, struct task *owner)
{
	MUTEX_GUARD(&pi_lock);
	if (would_deadlock(w->task, owner))
		return -EDEADLK;
	w->pi = true;
	set_owner(w, owner);
	w->task->pi_waiter = w;
	atomic_fetch_add(&pi_waiters, 1);
	return 0;
}

/* w waits no longer: its own task has come back, and it is in no bucket. */
static void end_waiting(struct futex_waiter *w)
{
	MUTEX_GUARD(&pi_lock);
	if (w->pi) {
		atomic_fetch_sub(&pi_waiters, 1);
		if (w->task->pi_waiter == w)
			w->task->pi_waiter = NULL;
	}
	set_owner(w, NULL);
	w->pi = false;
}

/* w, which is in b, has got the futex: the others of the key wait for its task now. */
static void hand_over(struct futex_bucket *b, struct futex_waiter *w)
{
	struct futex_waiter *other;

	mutex_lock(&pi_lock);
	TAILQ_FOREACH (other, &b->waiters, link)
		if (other != w && other->pi && futex_key_equal(&other->key, &w->key))
			set_owner(other, w->task);
	set_owner(w, NULL); /* it waits for nobody, though it has not come back yet */
	mutex_unlock(&pi_lock);
	w->acquired = true;
	futex_wake_waiter(b, w);
}

/* The thread whose id the word shows, referenced. -ESRCH: there is none. */
static int find_owner(struct task *t, uint32_t word, struct task **owner)
{
	*owner = task_find((pid_t)(word & FUTEX_TID_MASK));
	if (!*owner)
		return -ESRCH;
	if (*owner == t) {
		task_put(*owner);
		return -EDEADLK;
	}
	return 0;
}

/* --- lock ------------------------------------------------------------------------------------- */

/* Under mm->lock and the bucket's: 1 acquired, 0 queued, -EAGAIN the word changed, try again,
 * -EBUSY it is held and try_only, or another error. */
static int lock_or_queue(struct task *t, struct futex_bucket *b, struct futex_waiter *w,
			 bool try_only)
{
	struct task *owner;
	uint32_t word, new;
	int ret;

	if (futex_read(w->uaddr, &word))
		return -EFAULT;
	if ((word & FUTEX_TID_MASK) == (uint32_t)w->tid)
		return -EDEADLK;
	if (!(word & FUTEX_TID_MASK) && !first_waiter(b, &w->key)) {
		new = (uint32_t)w->tid | (word & FUTEX_OWNER_DIED);
		ret = futex_cmpxchg(t, w->uaddr, word, new);
		return ret ? ret : 1;
	}
	if (try_only)
		return -EBUSY;
	ret = find_owner(t, word, &owner);
	if (ret)
		return ret;
	if (!(word & FUTEX_WAITERS))
		ret = futex_cmpxchg(t, w->uaddr, word, word | FUTEX_WAITERS);
	if (!ret)
		ret = begin_waiting(w, owner);
	if (!ret)
		futex_queue(b, w);
	task_put(owner);
	return ret;
}

long futex_lock_pi(struct task *t, uaddr_t uaddr, unsigned flags, int64_t deadline, bool try_only)
{
	struct futex_waiter w = {
		.task = t,
		.bitset = FUTEX_BITSET_MATCH_ANY,
		.uaddr = uaddr,
		.tid = task_tid(t),
	};
	struct futex_bucket *b;
	int ret;

	ret = futex_get_key(t, uaddr, flags, &w.key);
	if (ret)
		return ret;
	b = futex_bucket_of(&w.key);
	do {
		COMMAND_GUARD(&t->mm->lock);
		COMMAND_GUARD(&b->lock);
		ret = lock_or_queue(t, b, &w, try_only);
	} while (ret == -EAGAIN && !signal_pending(t));
	if (ret == 1)
		return 0;
	if (ret == -EBUSY)
		return -EWOULDBLOCK;
	if (ret)
		return ret == -EAGAIN ? -ERESTARTNOINTR : ret;
	ret = futex_block(&w, deadline);
	end_waiting(&w);
	if (!ret && !w.acquired)
		return -EAGAIN;
	return ret == -ERESTARTSYS ? -ERESTARTNOINTR : ret;
}

/* --- unlock ----------------------------------------------------------------------------------- */

static int unlock_locked(struct task *t, struct futex_bucket *b, const struct futex_key *key,
			 uaddr_t uaddr)
{
	struct futex_waiter *w = first_waiter(b, key);
	uint32_t word, new = 0;
	int ret;

	if (futex_read(uaddr, &word))
		return -EFAULT;
	if ((word & FUTEX_TID_MASK) != (uint32_t)task_tid(t))
		return -EPERM;
	if (w)
		new = (uint32_t)w->tid | (other_waiter(b, key, w) ? FUTEX_WAITERS : 0);
	ret = futex_cmpxchg(t, uaddr, word, new);
	if (!ret && w)
		hand_over(b, w);
	return ret;
}

long futex_unlock_pi(struct task *t, uaddr_t uaddr, unsigned flags)
{
	struct futex_key key;
	struct futex_bucket *b;
	int ret;

	ret = futex_get_key(t, uaddr, flags, &key);
	if (ret)
		return ret;
	b = futex_bucket_of(&key);
	do {
		COMMAND_GUARD(&t->mm->lock);
		COMMAND_GUARD(&b->lock);
		ret = unlock_locked(t, b, &key, uaddr);
	} while (ret == -EAGAIN && !signal_pending(t));
	return ret == -EAGAIN ? -ERESTARTNOINTR : ret;
}

/* --- condition variables ---------------------------------------------------------------------- */

long futex_wait_requeue_pi(struct task *t, uaddr_t uaddr, unsigned flags, uint32_t val,
			   int64_t deadline, uint32_t bitset, uaddr_t uaddr2)
{
	struct futex_waiter w = {
		.task = t,
		.bitset = bitset,
		.uaddr = uaddr,
		.requeue_pi = true,
		.tid = task_tid(t),
	};
	struct futex_bucket *b;
	uint32_t now;
	int ret;

	if (!bitset || uaddr == uaddr2)
		return -EINVAL;
	ret = futex_get_key(t, uaddr, flags, &w.key);
	if (!ret)
		ret = futex_get_key(t, uaddr2, flags, &w.pi_key);
	if (ret)
		return ret;
	if (futex_key_equal(&w.key, &w.pi_key))
		return -EINVAL;
	b = futex_bucket_of(&w.key);
	command_lock(&b->lock);
	if (futex_read(uaddr, &now))
		ret = -EFAULT;
	else if (now != val)
		ret = -EAGAIN;
	else
		futex_queue(b, &w);
	mutex_unlock(&b->lock);
	if (ret)
		return ret;
	ret = futex_block(&w, deadline);
	now = w.pi;
	end_waiting(&w);
	if (ret == -ERESTARTSYS)
		return now ? -EWOULDBLOCK : -ERESTARTNOINTR;
	return ret || w.acquired ? ret : -EWOULDBLOCK;
}

/* One waiter of the condition goes on to the PI futex at uaddr2: as its owner if it is free (1), or
 * as a waiter (0). Both buckets and mm locked. */
static int requeue_one(struct task *t, struct futex_bucket *b1, struct futex_bucket *b2,
		       struct futex_waiter *w, uaddr_t uaddr2)
{
	struct futex_key key = w->pi_key;
	struct task *owner;
	uint32_t word;
	int ret;

	if (futex_read(uaddr2, &word))
		return -EFAULT;
	if (!(word & FUTEX_TID_MASK) && !first_waiter(b2, &key)) {
		ret = futex_cmpxchg(t, uaddr2, word, (uint32_t)w->tid | (word & FUTEX_OWNER_DIED));
		if (ret)
			return ret;
		w->acquired = true;
		futex_wake_waiter(b1, w);
		return 1;
	}
	ret = find_owner(w->task, word, &owner);
	if (ret)
		return ret;
	if (!(word & FUTEX_WAITERS))
		ret = futex_cmpxchg(t, uaddr2, word, word | FUTEX_WAITERS);
	if (!ret)
		ret = begin_waiting(w, owner);
	task_put(owner);
	if (ret)
		return ret;
	w->requeue_pi = false;
	w->uaddr = uaddr2;
	futex_move_waiter(b1, b2, w, &key);
	return 0;
}

static long requeue_all(struct task *t, struct futex_bucket *b1, const struct futex_key *key1,
			struct futex_bucket *b2, const struct futex_key *key2, int nr_requeue,
			uaddr_t uaddr2)
{
	struct futex_waiter *w, *next;
	long done = 0;

	TAILQ_FOREACH_SAFE (w, &b1->waiters, link, next) {
		int ret;

		/* nr_wake is 1: one may get the futex, nr_requeue may wait for it. */
		if (done - 1 >= nr_requeue)
			break;
		if (!futex_key_equal(&w->key, key1))
			continue;
		if (!w->requeue_pi || !futex_key_equal(&w->pi_key, key2))
			return done ? done : -EINVAL;
		do {
			ret = requeue_one(t, b1, b2, w, uaddr2);
		} while (ret == -EAGAIN && !signal_pending(t));
		if (ret < 0)
			return done ? done : ret;
		done++;
	}
	return done;
}

long futex_cmp_requeue_pi(struct task *t, uaddr_t uaddr, unsigned flags, int nr_requeue,
			  uaddr_t uaddr2, uint32_t cmpval)
{
	struct futex_key key1, key2;
	struct futex_bucket *b1, *b2;
	uint32_t now;
	long ret;

	if (nr_requeue < 0 || uaddr == uaddr2)
		return -EINVAL;
	ret = futex_get_key(t, uaddr, flags, &key1);
	if (!ret)
		ret = futex_get_key(t, uaddr2, flags, &key2);
	if (ret)
		return ret;
	if (futex_key_equal(&key1, &key2))
		return -EINVAL;
	b1 = futex_bucket_of(&key1);
	b2 = futex_bucket_of(&key2);
	COMMAND_GUARD(&t->mm->lock);
	futex_lock_two(b1, b2);
	if (futex_read(uaddr, &now))
		ret = -EFAULT;
	else if (now != cmpval)
		ret = -EAGAIN;
	else
		ret = requeue_all(t, b1, &key1, b2, &key2, nr_requeue, uaddr2);
	futex_unlock_two(b1, b2);
	return ret;
}

/* --- the owner exits -------------------------------------------------------------------------- */

/* A key for which a waiter in b waits on t. */
static struct futex_waiter *waiter_on(struct futex_bucket *b, const struct task *t)
{
	struct futex_waiter *w;

	TAILQ_FOREACH (w, &b->waiters, link)
		if (w->pi && w->owner == t)
			return w;
	return NULL;
}

void futex_exit_pi(struct task *t)
{
	if (!atomic_load(&pi_waiters))
		return;
	for (int i = 0; i < FUTEX_BUCKETS; i++) {
		struct futex_bucket *b = futex_bucket_nr(i);
		struct futex_waiter *w;

		COMMAND_GUARD(&b->lock);
		/* Each turn takes one key from t. User space leaves a word with FUTEX_WAITERS
		 * alone, so it is simply written, in the waiter's own address space. */
		while ((w = waiter_on(b, t))) {
			uint32_t word = (uint32_t)w->tid | FUTEX_OWNER_DIED;

			if (other_waiter(b, &w->key, w))
				word |= FUTEX_WAITERS;
			(void)mm_access(w->task->mm, w->uaddr, &word, sizeof(word), true, false);
			hand_over(b, w);
		}
	}
}
