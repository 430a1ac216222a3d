/* Delivery on the way back to the guest: handlers, default actions, job control, restarts. */
#include <string.h>
#include <sys/syscall.h>

#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/signal/signal_upcalls.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/uaccess/uaccess.h"

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
		if ((atomic_load(&t->flags) & TF_LEFT) && t->kept_deadline)
			atomic_fetch_or(&t->flags, TF_PUT_OFF);
		back_to_syscall(t, regs->orig_rax);
		break;
	case -ERESTART_RESTARTBLOCK:
		back_to_syscall(t, SYS_restart_syscall);
		break;
	}
	atomic_fetch_and(&t->flags, ~(uint32_t)TF_LEFT);
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
		if (each != t && task_traced(each) && atomic_load(&each->trace)->seized)
			trace_changed_group_stop(each);
		else if (each != t)
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
		/* It goes on when its tracer wants it to, whatever the others do. */
		if (unlikely(task_traced(t))) {
			trace_trap(t);
			sh = lock_sighand(g);
			break;
		}
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
	/* What was put off is given up, or begins anew. */
	atomic_fetch_and(&t->flags, ~(uint32_t)(TF_LEFT | TF_PUT_OFF));
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
	if (unlikely(atomic_load(&t->flags) & TF_TRACE))
		trace_handler_begins(t);
}

void group_exit_dumping(struct task *t, int sig, const guest_siginfo_t *info)
{
	struct sighand *sh;

	coredump(t, sig, info);
	sh = lock_sighand(t->group);
	group_exit_locked(t->group, sig, t);
	mutex_unlock(&sh->lock);
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
		/* Threads that execve ends have done nothing wrong. */
		t->exit_code = g->exiting ? g->exit_status : g->exec_task ? 0 : SIGKILL;
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
	if (unlikely(t->jobctl & JOBCTL_TRAPS)) {
		mutex_unlock(&sh->lock);
		trace_trap(t);
		return DELIVER_AGAIN;
	}
	sig = dequeue_signal(t, ~t->blocked, &info);
	if (!sig) {
		mutex_unlock(&sh->lock);
		return DELIVER_NOTHING;
	}
	if (unlikely(task_traced(t)) && sig != SIGKILL) {
		mutex_unlock(&sh->lock);
		sig = trace_signal(t, sig, &info);
		if (!sig)
			return DELIVER_AGAIN;
		sh = lock_sighand(g);
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
	if (sig_default_dumps(sig)) {
		mutex_unlock(&sh->lock);
		coredump(t, sig, &info);
		sh = lock_sighand(g);
	}
	group_exit_locked(g, sig, t);
	t->exit_code = g->exit_status;
	mutex_unlock(&sh->lock);
	return DELIVER_EXIT;
}

/*
 * A call whose wait was left for a pause is put off: it is entered again when the container goes
 * on, and waits no longer than it would have (current_kept_deadline). One that gives up with EINTR
 * whatever interrupts it was interrupted by nothing that the guest may know of. A signal that comes
 * meanwhile finds the call interrupted as it would find it waiting.
 */
static void put_off(struct task *t)
{
	uint32_t flags = atomic_load(&t->flags);

	if (!t->in_syscall || !(flags & (TF_LEFT | TF_PUT_OFF)))
		return;
	if (!(flags & TF_LEFT)) {
		atomic_fetch_and(&t->flags, ~(uint32_t)TF_PUT_OFF);
		return;
	}
	if (!signal_pending(t) && (int64_t)platform_regs(t->ctx)->rax == -EINTR)
		platform_regs(t->ctx)->rax = (uint64_t)-ERESTARTNOHAND;
}

/* The container is paused: the task stays here, on the edge of the guest, whatever signals come but
 * the end. */
static void park(struct task *t)
{
	atomic_store(&t->parked, true);
	while ((atomic_load(&t->flags) & (TF_PARK | TF_KILLED)) == TF_PARK) {
		wait_prepare();
		if ((atomic_load(&t->flags) & (TF_PARK | TF_KILLED)) == TF_PARK)
			wait_block(NO_DEADLINE, false);
	}
	atomic_store(&t->parked, false);
}

bool deliver_signals(struct task *t)
{
	put_off(t);
	for (;;) {
		switch (deliver_one(t)) {
		case DELIVER_AGAIN:
			continue;
		case DELIVER_EXIT:
			return false;
		case DELIVER_NOTHING:
			if (t->in_syscall && (atomic_load(&t->flags) & TF_PARK)) {
				park(t);
				continue;
			}
			restart_without_handler(t);
			restore_saved_mask(t);
			/* The restored mask may let one through. */
			if (signal_pending(t))
				continue;
			if (!(atomic_load(&t->flags) & TF_PARK))
				return true;
			park(t);
			continue;
		}
	}
}
