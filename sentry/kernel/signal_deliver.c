/* Delivery on the way back to the guest: handlers, default actions, job control, restarts. */
#include <string.h>
#include <sys/syscall.h>

#include "sentry/kernel/lifecycle.h"
#include "sentry/mm/uaccess.h"

#define HANDLER_DFL 0
#define HANDLER_IGN 1

bool signal_pending(struct task *t)
{
	return atomic_load_explicit(&t->flags, memory_order_relaxed) & (TF_SIGPENDING | TF_KILLED);
}

bool fatal_signal_pending(struct task *t)
{
	return atomic_load_explicit(&t->flags, memory_order_relaxed) & TF_KILLED;
}

/* --- the blocked mask --------------------------------------------------------------------------
 */

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

int sigset_from_user(sigset64_t *set, uint64_t uaddr, uint64_t size)
{
	if (size != sizeof(*set))
		return -EINVAL;
	return copy_from_user(set, uaddr, sizeof(*set));
}

/* --- restarts ----------------------------------------------------------------------------------
 */

/* x86-64: the syscall instruction, which a restart runs again, is two bytes long. */
#define SYSCALL_INSN_LEN 2

static void back_to_syscall(struct task *t, uint64_t nr)
{
	struct guest_regs *regs = platform_regs(t->ctx);

	regs->rax = nr;
	regs->rip -= SYSCALL_INSN_LEN;
	atomic_fetch_or(&t->flags, TF_FULL_REGS);
}

/* No handler runs: every interrupted call is entered again. */
static void restart_without_handler(struct task *t)
{
	struct guest_regs *regs = platform_regs(t->ctx);

	if (!t->in_syscall)
		return;
	switch ((int64_t)regs->rax) {
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
		back_to_syscall(t, regs->orig_rax);
		break;
	case -ERESTART_RESTARTBLOCK:
		back_to_syscall(t, SYS_restart_syscall);
		break;
	}
	t->in_syscall = false;
}

static void restart_with_handler(struct task *t, const struct ksigaction *ka)
{
	struct guest_regs *regs = platform_regs(t->ctx);

	if (!t->in_syscall)
		return;
	switch ((int64_t)regs->rax) {
	case -ERESTART_RESTARTBLOCK:
	case -ERESTARTNOHAND:
		regs->rax = -EINTR;
		break;
	case -ERESTARTSYS:
		if (!(ka->flags & SA_RESTART)) {
			regs->rax = -EINTR;
			break;
		}
		back_to_syscall(t, regs->orig_rax);
		break;
	case -ERESTARTNOINTR:
		back_to_syscall(t, regs->orig_rax);
		break;
	}
	t->in_syscall = false;
}

/* --- stops -------------------------------------------------------------------------------------
 */

static void stop_start(struct task *t, int sig)
{
	struct thread_group *g = t->group;
	struct task *each;

	if (!g->group_stop_count)
		g->stop_signal = sig;
	for_each_thread (g, each) {
		if ((atomic_load(&each->flags) & TF_EXITING) ||
		    (each->jobctl & (JOBCTL_STOPPED | JOBCTL_STOP_COUNTED)))
			continue;
		each->jobctl |= JOBCTL_STOP_PENDING | JOBCTL_STOP_COUNTED;
		g->group_stop_count++;
		if (each != t)
			signal_wake(each);
	}
}

/* Takes part in the group stop that is under way, and sleeps until it ends. sighand->lock held; on
 * return it is not. */
static void stop_join(struct task *t, struct sighand *sh)
{
	struct thread_group *g = t->group;
	bool last = false;

	if (t->jobctl & JOBCTL_STOP_COUNTED)
		last = --g->group_stop_count == 0;
	t->jobctl &= ~(JOBCTL_STOP_PENDING | JOBCTL_STOP_COUNTED);
	t->jobctl |= JOBCTL_STOPPED;
	if (last && !g->stopped) {
		g->stopped = g->stop_notify = true;
		g->cont_notify = false;
	} else {
		last = false;
	}
	atomic_store(&t->state, TASK_STOPPED);
	mutex_unlock(&sh->lock);
	if (last) {
		read_lock(&kernel.tasklist_lock);
		notify_parent_jobctl(g, CLD_STOPPED);
		read_unlock(&kernel.tasklist_lock);
	}
	for (;;) {
		wait_prepare();
		sh = lock_sighand(g);
		if (!(t->jobctl & JOBCTL_STOPPED) || fatal_signal_pending(t))
			break;
		mutex_unlock(&sh->lock);
		if (wait_block(NO_DEADLINE, false)) {
			sh = lock_sighand(g);
			break;
		}
	}
	t->jobctl &= ~JOBCTL_STOPPED;
	recalc_sigpending(t);
	atomic_store(&t->state, TASK_RUNNING);
	mutex_unlock(&sh->lock);
}

/* The default action of a stop signal. sighand->lock held; on return it is not. */
static void stop_by_signal(struct task *t, struct sighand *sh, int sig)
{
	struct thread_group *g = t->group;

	if (sig != SIGSTOP) {
		bool orphaned;

		t->jobctl |= JOBCTL_STOP_DEQUEUED;
		mutex_unlock(&sh->lock);
		read_lock(&kernel.tasklist_lock);
		orphaned = pgrp_is_orphaned_locked(g->pgrp);
		read_unlock(&kernel.tasklist_lock);
		sh = lock_sighand(g);
		/* SIGCONT may have come meanwhile: it undoes the stop that had not begun. */
		if (orphaned || !(t->jobctl & JOBCTL_STOP_DEQUEUED)) {
			t->jobctl &= ~JOBCTL_STOP_DEQUEUED;
			mutex_unlock(&sh->lock);
			return;
		}
		t->jobctl &= ~JOBCTL_STOP_DEQUEUED;
	}
	if (g->exiting) {
		mutex_unlock(&sh->lock);
		return;
	}
	stop_start(t, sig);
	stop_join(t, sh);
}

/* --- delivery ----------------------------------------------------------------------------------
 */

static void run_handler(struct task *t, int sig, const struct ksigaction *ka,
			const guest_siginfo_t *info)
{
	sigset64_t oldmask = t->blocked;
	sigset64_t mask = t->blocked | ka->mask;

	if (atomic_load(&t->flags) & TF_RESTORE_MASK) {
		oldmask = t->saved_mask;
		atomic_fetch_and(&t->flags, ~TF_RESTORE_MASK);
	}
	restart_with_handler(t, ka);
	if (setup_signal_frame(t, sig, ka, info, oldmask)) {
		if (sig == SIGSEGV) {
			struct sighand *sh = lock_sighand(t->group);

			sh->action[SIGSEGV - 1].handler = HANDLER_DFL;
			mutex_unlock(&sh->lock);
		}
		force_signal(t, SIGSEGV, NULL);
		return;
	}
	if (!(ka->flags & SA_NODEFER))
		mask |= SIG_BIT(sig);
	set_blocked(t, mask);
}

enum delivery { DELIVER_AGAIN, DELIVER_NOTHING, DELIVER_EXIT };

static enum delivery deliver_one(struct task *t)
{
	struct thread_group *g = t->group;
	struct sighand *sh = lock_sighand(g);
	struct ksigaction ka;
	guest_siginfo_t info;
	int sig;

	if (fatal_signal_pending(t)) {
		t->exit_code = g->exiting ? g->exit_status : SIGKILL;
		mutex_unlock(&sh->lock);
		return DELIVER_EXIT;
	}
	if (g->notify_why) {
		int why = g->notify_why;

		g->notify_why = 0;
		mutex_unlock(&sh->lock);
		read_lock(&kernel.tasklist_lock);
		notify_parent_jobctl(g, why);
		read_unlock(&kernel.tasklist_lock);
		return DELIVER_AGAIN;
	}
	if (t->jobctl & JOBCTL_STOP_PENDING) {
		stop_join(t, sh);
		return DELIVER_AGAIN;
	}
	sig = dequeue_signal(t, ~t->blocked, &info);
	if (!sig) {
		mutex_unlock(&sh->lock);
		return DELIVER_NOTHING;
	}
	ka = sh->action[sig - 1];
	if (ka.handler != HANDLER_DFL && ka.handler != HANDLER_IGN) {
		if (ka.flags & SA_RESETHAND)
			sh->action[sig - 1].handler = HANDLER_DFL;
		mutex_unlock(&sh->lock);
		run_handler(t, sig, &ka, &info);
		return DELIVER_AGAIN;
	}
	if (ka.handler == HANDLER_IGN || sig_default_ignores(sig) ||
	    (g->unkillable && sig != SIGKILL && sig != SIGSTOP)) {
		mutex_unlock(&sh->lock);
		return DELIVER_AGAIN;
	}
	if (sig_default_stops(sig)) {
		stop_by_signal(t, sh, sig);
		return DELIVER_AGAIN;
	}
	group_exit_locked(g, sig, t);
	t->exit_code = g->exit_status;
	mutex_unlock(&sh->lock);
	return DELIVER_EXIT;
}

bool deliver_signals(struct task *t)
{
	for (;;) {
		switch (deliver_one(t)) {
		case DELIVER_AGAIN:
			continue;
		case DELIVER_EXIT:
			return false;
		case DELIVER_NOTHING:
			restart_without_handler(t);
			restore_saved_mask(t);
			/* The restored mask may let one through. */
			if (signal_pending(t))
				continue;
			return true;
		}
	}
}
