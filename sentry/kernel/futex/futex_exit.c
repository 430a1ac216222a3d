/* What a thread's end means for futexes: robust lists, clear_child_tid (man 2 set_robust_list,
 * set_tid_address). */
#include <errno.h>
#include <linux/futex.h>

#include "sentry/kernel/futex/futex_internal.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/mm/mm.h"

/* A robust list longer than this is cut off (Linux: ROBUST_LIST_LIMIT). */
#define ROBUST_LIST_MAX 2048

/* How often a word that changes all the time is tried. */
#define MARK_TRIES 100

/* Marks the futex if it is still t's; *old is what stood there. */
static int mark_dead(struct task *t, uaddr_t uaddr, uint32_t *old)
{
	for (int i = 0; i < MARK_TRIES; i++) {
		uint32_t expected = *old;
		int ret;

		if ((expected & FUTEX_TID_MASK) != (uint32_t)task_tid(t))
			return 0;
		command_lock(&t->mm->lock);
		ret = futex_update(t, uaddr, WORD_SET_IF,
				   (expected & FUTEX_WAITERS) | FUTEX_OWNER_DIED, expected, old);
		mutex_unlock(&t->mm->lock);
		if (ret || *old == expected)
			return ret;
	}
	return -EFAULT;
}

/* One entry of the list, or the operation that was under way. False: stop, memory is bad. */
static bool owner_died(struct task *t, uaddr_t uaddr, bool pi, bool pending)
{
	uint32_t tid = (uint32_t)task_tid(t), old;

	if (uaddr % sizeof(uint32_t) || futex_read(uaddr, &old))
		return false;
	/* Died between unlocking and waking: whoever waits must be woken. */
	if (pending && !pi && !old) {
		futex_wake(t, uaddr, 0, 1, FUTEX_BITSET_MATCH_ANY);
		return true;
	}
	if (mark_dead(t, uaddr, &old))
		return false;
	if (!pi && (old & FUTEX_WAITERS) && (old & FUTEX_TID_MASK) == tid)
		futex_wake(t, uaddr, 0, 1, FUTEX_BITSET_MATCH_ANY);
	return true;
}

/* A pointer of the list: bit 0 says that it is a PI futex. */
static bool read_entry(uaddr_t at, uaddr_t *entry, bool *pi)
{
	uint64_t p;

	if (get_user(&p, at))
		return false;
	*pi = p & 1;
	*entry = p & ~1ULL;
	return true;
}

static void walk_robust_list(struct task *t)
{
	uaddr_t head = t->robust_list, entry, next, pending;
	bool pi, next_pi, pending_pi;
	int64_t offset;

	if (!read_entry(head, &entry, &pi) ||
	    get_user(&offset, head + offsetof(struct robust_list_head, futex_offset)) ||
	    !read_entry(head + offsetof(struct robust_list_head, list_op_pending), &pending,
			&pending_pi))
		return;
	for (int i = 0; entry != head && i < ROBUST_LIST_MAX; i++) {
		/* Before the futex is given away: its memory may be reused then. */
		bool more = read_entry(entry, &next, &next_pi);

		if (entry != pending && !owner_died(t, entry + offset, pi, false))
			return;
		if (!more)
			return;
		entry = next;
		pi = next_pi;
	}
	if (pending)
		owner_died(t, pending + offset, pending_pi, true);
}

void futex_task_exit(struct task *t)
{
	uint32_t zero = 0;

	if (t->robust_list)
		walk_robust_list(t);
	t->robust_list = 0;
	futex_exit_pi(t);
	/* Nobody is left to look when this was the last user of the memory. */
	if (t->clear_child_tid && refcount_read(&t->mm->refs) > 1) {
		if (!copy_to_user(t->clear_child_tid, &zero, sizeof(zero)))
			futex_wake(t, t->clear_child_tid, 0, 1, FUTEX_BITSET_MATCH_ANY);
	}
	t->clear_child_tid = 0;
}
