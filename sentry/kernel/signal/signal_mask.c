/*
 * The mask of blocked signals. While its thread is in the guest, and no signal is pending, the mask
 * is lent to it: t->mask_lent, and t->blocked is not the latest. Whoever sends a signal takes it
 * back first, and once more when the signal is pending; who lends looks at what is pending
 * afterwards. So a signal is never pending while the guest can unblock it without a word.
 */
#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/task/lifecycle.h"

static void set_blocked_locked(struct task *t, sigset64_t mask)
{
	sigset64_t newly;

	mask &= ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP));
	newly = mask & ~t->blocked;
	t->blocked = mask;
	if (newly & t->group->pending.set)
		retarget_pending(t, newly);
	recalc_sigpending(t);
}

void set_blocked(struct task *t, sigset64_t mask)
{
	struct sighand *sh = lock_sighand(t->group);

	set_blocked_locked(t, mask);
	mutex_unlock(&sh->lock);
}

void set_temporary_mask(struct task *t, sigset64_t mask)
{
	t->saved_mask = t->blocked;
	set_blocked(t, mask);
	atomic_fetch_or(&t->flags, TF_RESTORE_MASK);
}

void restore_saved_mask(struct task *t)
{
	/* With a signal pending, delivery restores: its handler runs under the temporary mask. */
	if (!(atomic_load(&t->flags) & TF_RESTORE_MASK))
		return;
	atomic_fetch_and(&t->flags, ~TF_RESTORE_MASK);
	set_blocked(t, t->saved_mask);
}

/* --- lending -----------------------------------------------------------------------------------
 */

static bool none_pending(struct task *t)
{
	return !(__atomic_load_n(&t->pending.set, __ATOMIC_SEQ_CST) |
		 __atomic_load_n(&t->group->pending.set, __ATOMIC_SEQ_CST));
}

/* In this order: its thread believes t->blocked as soon as the mask is not lent any more. And it
 * may have taken the mask itself, just now: then nothing is written beneath its eyes. */
void signal_mask_take(struct task *t)
{
	sigset64_t mask;

	if (!atomic_load(&t->mask_lent) || !t->ctx)
		return;
	mask = platform_take_mask(t->ctx);
	if (mask != t->blocked)
		__atomic_store_n(&t->blocked, mask, __ATOMIC_RELEASE);
	atomic_store(&t->mask_lent, false);
}

void signal_mask_take_all(struct thread_group *g)
{
	struct task *t;

	for_each_thread (g, t)
		signal_mask_take(t);
}

void signal_mask_lend(struct task *t)
{
	struct sighand *sh;

	if (!none_pending(t) || !platform_lend_mask(t->ctx, t->blocked))
		return;
	atomic_store(&t->mask_lent, true);
	if (likely(none_pending(t)))
		return;
	sh = lock_sighand(t->group);
	signal_mask_take(t);
	mutex_unlock(&sh->lock);
}

void signal_mask_return(struct task *t)
{
	uint64_t mask;
	struct sighand *sh;

	if (!atomic_load(&t->mask_lent))
		return;
	mask = platform_take_mask(t->ctx);
	if (mask == __atomic_load_n(&t->blocked, __ATOMIC_ACQUIRE)) {
		atomic_store(&t->mask_lent, false);
		return;
	}
	sh = lock_sighand(t->group);
	if (atomic_load(&t->mask_lent)) {
		t->mask_lent = false;
		set_blocked_locked(t, mask);
	}
	mutex_unlock(&sh->lock);
}
