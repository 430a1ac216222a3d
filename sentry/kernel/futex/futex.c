/* Futexes: keys, buckets, wait, wake, requeue, wake_op. */
#include "sentry/kernel/futex/futex_internal.h"

#include <errno.h>
#include <linux/futex.h>

#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

static struct futex_bucket buckets[FUTEX_BUCKETS] = {
	[0 ... FUTEX_BUCKETS - 1] = {.lock = MUTEX_INIT_AS(LOCK_OVER_COMMANDS | LOCK_BY_ADDRESS)},
};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_buckets(void)
{
	for (int i = 0; i < FUTEX_BUCKETS; i++)
		TAILQ_INIT(&buckets[i].waiters);
}

struct futex_bucket *futex_bucket_of(const struct futex_key *key)
{
	uint64_t h = (uint64_t)key->object * 0x9e3779b97f4a7c15ULL;

	pthread_once(&once, init_buckets);
	h ^= key->offset >> 2;
	h *= 0xff51afd7ed558ccdULL;
	return &buckets[(h >> 40) % FUTEX_BUCKETS];
}

struct futex_bucket *futex_bucket_nr(int i)
{
	pthread_once(&once, init_buckets);
	return &buckets[i];
}

int futex_get_key(struct task *t, uaddr_t uaddr, unsigned flags, struct futex_key *key)
{
	struct vm_area *vma;

	if (uaddr % sizeof(uint32_t))
		return -EINVAL;
	if (!guest_range_ok(uaddr, sizeof(uint32_t)))
		return -EFAULT;
	*key = (struct futex_key){t->mm, uaddr};
	if (flags & FUTEX_KEY_PRIVATE) {
		key->offset |= 1; /* not the same as without the flag */
		return 0;
	}
	COMMAND_GUARD(&t->mm->lock);
	vma = vma_find(t->mm, uaddr);
	if (!vma || vma->start > uaddr)
		return -EFAULT;
	if (!(vma->flags & VM_SHARED))
		return 0;
	/* Waiters may outlive the object, so its number stands for it, which is never given again.
	 * Odd ones are no pointers; the next bit tells the two kinds apart. */
	if (vma->shared)
		*key = (struct futex_key){(void *)(vma->shared->ino * 4 + 1),
					  vma->host_offset + (uaddr - vma->start)};
	else if (vma->file)
		*key = (struct futex_key){(void *)(inode_sequence(vma->file->inode) * 4 + 3),
					  vma->offset + (uaddr - vma->start)};
	return 0;
}

/* --- queueing --------------------------------------------------------------------------------- */

void futex_lock_two(struct futex_bucket *a, struct futex_bucket *b)
{
	command_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		command_lock(a < b ? &b->lock : &a->lock);
}

void futex_unlock_two(struct futex_bucket *a, struct futex_bucket *b)
{
	mutex_unlock(&a->lock);
	if (a != b)
		mutex_unlock(&b->lock);
}

void futex_queue(struct futex_bucket *b, struct futex_waiter *w)
{
	TAILQ_INSERT_TAIL(&b->waiters, w, link);
	atomic_store(&w->bucket, b);
}

void futex_wake_waiter(struct futex_bucket *b, struct futex_waiter *w)
{
	struct task *t = task_get(w->task);

	TAILQ_REMOVE(&b->waiters, w, link);
	/* From here on w is its task's, and may be gone. */
	atomic_store_explicit(&w->bucket, NULL, memory_order_release);
	task_wake(t);
	task_put(t);
}

void futex_move_waiter(struct futex_bucket *from, struct futex_bucket *to, struct futex_waiter *w,
		       const struct futex_key *key)
{
	w->key = *key;
	if (from == to)
		return;
	TAILQ_REMOVE(&from->waiters, w, link);
	futex_queue(to, w);
}

bool futex_unqueue(struct futex_waiter *w)
{
	for (;;) {
		struct futex_bucket *b = atomic_load_explicit(&w->bucket, memory_order_acquire);

		if (!b)
			return false;
		COMMAND_GUARD(&b->lock);
		/* It may have been moved to another bucket, or woken. */
		if (b != atomic_load(&w->bucket))
			continue;
		TAILQ_REMOVE(&b->waiters, w, link);
		atomic_store(&w->bucket, NULL);
		return true;
	}
}

int futex_block(struct futex_waiter *w, int64_t deadline)
{
	int ret;

	do {
		wait_prepare();
		if (!atomic_load_explicit(&w->bucket, memory_order_acquire))
			return 0;
		ret = wait_block(deadline, true);
	} while (!ret);
	return futex_unqueue(w) ? ret : 0;
}

/* --- wait and wake ---------------------------------------------------------------------------- */

int futex_wait_setup(struct futex_waiter *w, uint32_t val)
{
	struct futex_bucket *b = futex_bucket_of(&w->key);
	uint32_t now;

	COMMAND_GUARD(&b->lock);
	if (futex_read(w->uaddr, &now))
		return -EFAULT;
	if (now != val)
		return -EAGAIN;
	futex_queue(b, w);
	return 0;
}

static long wait_restart(struct task *t, struct restart_block *rb)
{
	return futex_wait(t, rb->arg[0], (unsigned)rb->arg[1], (uint32_t)rb->arg[2], rb->deadline,
			  (uint32_t)rb->arg[3]);
}

static void set_restart(struct task *t, uaddr_t uaddr, unsigned flags, uint32_t val,
			int64_t deadline, uint32_t bitset)
{
	t->restart = (struct restart_block){
		.fn = wait_restart,
		.deadline = deadline,
		.arg = {uaddr, flags, val, bitset},
	};
}

/* Woken, or not: the result, or -ESUSPENDED again. `ret`: what wait_block() would have said. */
static long sleep_more(struct task *t, int ret);

static long sleep_resumed(struct task *t)
{
	return sleep_more(t, wait_resumed(t->futex_sleep->deadline));
}

static long sleep_more(struct task *t, int ret)
{
	struct futex_sleep *s = t->futex_sleep;
	struct futex_waiter *w = &s->waiter;

	if (!ret) {
		wait_prepare();
		if (!atomic_load_explicit(&w->bucket, memory_order_acquire))
			return 0;
		ret = (int)wait_suspend(sleep_resumed, s->deadline);
		if (ret == -ESUSPENDED)
			return ret;
	}
	if (!futex_unqueue(w))
		return 0;
	if (ret != -ERESTARTSYS || s->deadline == NO_DEADLINE)
		return ret;
	set_restart(t, w->uaddr, s->flags, s->val, s->deadline, w->bitset);
	return -ERESTART_RESTARTBLOCK;
}

/* NULL: this wait takes a thread. */
static struct futex_sleep *sleep_without_thread(struct task *t)
{
	if (!may_suspend(t))
		return NULL;
	if (!t->futex_sleep)
		t->futex_sleep = calloc(1, sizeof(*t->futex_sleep));
	return t->futex_sleep;
}

long futex_wait(struct task *t, uaddr_t uaddr, unsigned flags, uint32_t val, int64_t deadline,
		uint32_t bitset)
{
	struct futex_waiter here = {.task = t, .bitset = bitset, .uaddr = uaddr}, *w = &here;
	struct futex_sleep *s;
	int ret;

	if (!bitset)
		return -EINVAL;
	ret = futex_get_key(t, uaddr, flags, &here.key);
	if (ret)
		return ret;
	s = sleep_without_thread(t);
	if (s) {
		*s = (struct futex_sleep){
			.waiter = here, .flags = flags, .val = val, .deadline = deadline};
		w = &s->waiter;
	}
	ret = futex_wait_setup(w, val);
	if (ret)
		return ret;
	if (s)
		return sleep_more(t, 0);
	ret = futex_block(w, deadline);
	if (ret != -ERESTARTSYS || deadline == NO_DEADLINE)
		return ret;
	set_restart(t, uaddr, flags, val, deadline, bitset);
	return -ERESTART_RESTARTBLOCK;
}

/* Wakes up to nr waiters of key; bucket locked. Their number, or -EINVAL: they wait for PI. */
static long wake_key(struct futex_bucket *b, const struct futex_key *key, int nr, uint32_t bitset)
{
	struct futex_waiter *w, *next;
	long woken = 0;

	TAILQ_FOREACH_SAFE (w, &b->waiters, link, next) {
		if (woken >= nr)
			break;
		if (!futex_key_equal(&w->key, key))
			continue;
		if (w->pi || w->requeue_pi)
			return -EINVAL;
		if (!(w->bitset & bitset))
			continue;
		futex_wake_waiter(b, w);
		woken++;
	}
	return woken;
}

long futex_wake(struct task *t, uaddr_t uaddr, unsigned flags, int nr, uint32_t bitset)
{
	struct futex_key key;
	struct futex_bucket *b;
	int ret;

	if (!bitset)
		return -EINVAL;
	ret = futex_get_key(t, uaddr, flags, &key);
	if (ret)
		return ret;
	b = futex_bucket_of(&key);
	COMMAND_GUARD(&b->lock);
	/* Linux wakes one even if asked for none. */
	return wake_key(b, &key, MAX(nr, 1), bitset);
}

static long requeue_locked(struct futex_bucket *b1, const struct futex_key *key1,
			   struct futex_bucket *b2, const struct futex_key *key2, int nr_wake,
			   int nr_requeue)
{
	struct futex_waiter *w, *next;
	long done = 0;

	if (futex_key_equal(key1, key2))
		return wake_key(b1, key1, nr_wake, FUTEX_BITSET_MATCH_ANY);
	TAILQ_FOREACH_SAFE (w, &b1->waiters, link, next) {
		if (done - nr_wake >= nr_requeue)
			break;
		if (!futex_key_equal(&w->key, key1))
			continue;
		if (w->pi || w->requeue_pi)
			return -EINVAL;
		if (done < nr_wake)
			futex_wake_waiter(b1, w);
		else
			futex_move_waiter(b1, b2, w, key2);
		done++;
	}
	return done;
}

long futex_requeue(struct task *t, uaddr_t uaddr, unsigned flags, int nr_wake, int nr_requeue,
		   uaddr_t uaddr2, const uint32_t *cmpval)
{
	struct futex_key key1, key2;
	struct futex_bucket *b1, *b2;
	uint32_t now;
	long ret;

	if (nr_wake < 0 || nr_requeue < 0)
		return -EINVAL;
	ret = futex_get_key(t, uaddr, flags, &key1);
	if (!ret)
		ret = futex_get_key(t, uaddr2, flags, &key2);
	if (ret)
		return ret;
	b1 = futex_bucket_of(&key1);
	b2 = futex_bucket_of(&key2);
	futex_lock_two(b1, b2);
	if (cmpval && futex_read(uaddr, &now))
		ret = -EFAULT;
	else if (cmpval && now != *cmpval)
		ret = -EAGAIN;
	else
		ret = requeue_locked(b1, &key1, b2, &key2, nr_wake, nr_requeue);
	futex_unlock_two(b1, b2);
	return ret;
}

/* --- wake_op ---------------------------------------------------------------------------------- */

struct word_op {
	unsigned op, cmp;
	int32_t oparg, cmparg;
};

static int decode_op(uint32_t code, struct word_op *op)
{
	op->op = (code >> 28) & 7;
	op->cmp = (code >> 24) & 15;
	op->oparg = (int32_t)(code << 8) >> 20;
	op->cmparg = (int32_t)(code << 20) >> 20;
	if (code & ((uint32_t)FUTEX_OP_OPARG_SHIFT << 28))
		op->oparg = (int32_t)(1U << (op->oparg & 31));
	return op->op > FUTEX_OP_XOR || op->cmp > FUTEX_OP_CMP_GE ? -ENOSYS : 0;
}

_Static_assert(FUTEX_OP_SET == WORD_SET && FUTEX_OP_ADD == WORD_ADD && FUTEX_OP_OR == WORD_OR &&
		       FUTEX_OP_ANDN == WORD_ANDN && FUTEX_OP_XOR == WORD_XOR,
	       "used as they are");

static bool compare_op(int32_t old, const struct word_op *op)
{
	switch (op->cmp) {
	case FUTEX_OP_CMP_EQ:
		return old == op->cmparg;
	case FUTEX_OP_CMP_NE:
		return old != op->cmparg;
	case FUTEX_OP_CMP_LT:
		return old < op->cmparg;
	case FUTEX_OP_CMP_GE:
		return old >= op->cmparg;
	case FUTEX_OP_CMP_LE:
		return old <= op->cmparg;
	default:
		return old > op->cmparg;
	}
}

long futex_wake_op(struct task *t, uaddr_t uaddr, unsigned flags, int nr_wake, int nr_wake2,
		   uaddr_t uaddr2, uint32_t code)
{
	struct futex_key key1, key2;
	struct futex_bucket *b1, *b2;
	struct word_op op;
	uint32_t old;
	long ret, more;

	ret = futex_get_key(t, uaddr, flags, &key1);
	if (!ret)
		ret = futex_get_key(t, uaddr2, flags, &key2);
	if (!ret)
		ret = decode_op(code, &op);
	if (ret)
		return ret;
	b1 = futex_bucket_of(&key1);
	b2 = futex_bucket_of(&key2);
	COMMAND_GUARD(&t->mm->lock);
	futex_lock_two(b1, b2);
	ret = futex_update(t, uaddr2, (enum platform_word_op)op.op, (uint32_t)op.oparg, 0, &old);
	if (!ret)
		ret = wake_key(b1, &key1, MAX(nr_wake, 1), FUTEX_BITSET_MATCH_ANY);
	if (ret >= 0 && compare_op((int32_t)old, &op)) {
		more = wake_key(b2, &key2, MAX(nr_wake2, 1), FUTEX_BITSET_MATCH_ANY);
		ret = more < 0 ? more : ret + more;
	}
	futex_unlock_two(b1, b2);
	return ret;
}
