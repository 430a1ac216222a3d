/* Sending signals: what is ignored, which thread takes it, what it does at once. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/signal/signal_upcalls.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/trace.h"

#define STOP_SIGNALS (SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) | SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU))
#define IGNORED_SIGNALS (SIG_BIT(SIGCONT) | SIG_BIT(SIGCHLD) | SIG_BIT(SIGWINCH) | SIG_BIT(SIGURG))
/* The kernel's SIGRTMIN: the C library keeps the first two for itself. */
#define KERNEL_SIGRTMIN 32
#define HANDLER_DFL 0
#define HANDLER_IGN 1

bool sig_default_ignores(int sig)
{
	return SIG_BIT(sig) & IGNORED_SIGNALS;
}

bool sig_default_stops(int sig)
{
	return SIG_BIT(sig) & STOP_SIGNALS;
}

static bool kernel_only(int sig)
{
	return sig == SIGKILL || sig == SIGSTOP;
}

void signal_wake(struct task *t)
{
	atomic_fetch_or(&t->flags, TF_SIGPENDING);
	task_wake(t);
	if (t != current && t->ctx)
		platform_kick(t->ctx);
}

void signal_kill_thread(struct task *t)
{
	atomic_fetch_or(&t->flags, TF_KILLED);
	signal_wake(t);
}

static bool sig_ignored(struct thread_group *g, struct task *t, int sig, bool forced)
{
	uint64_t handler = g->sighand->action[sig - 1].handler;

	/* Blocked signals are kept: the handler may be another one when they are unblocked. */
	if ((t->blocked & SIG_BIT(sig)) && !kernel_only(sig))
		return false;
	if (g->unkillable && handler == HANDLER_DFL && !(forced && kernel_only(sig)))
		return true;
	/* The tracer wants to see it. */
	if (unlikely(task_traced(t)) && sig != SIGKILL)
		return false;
	return handler == HANDLER_IGN || (handler == HANDLER_DFL && sig_default_ignores(sig));
}

/* SIGCONT wakes what is stopped, even when it is ignored or blocked. */
static void continue_group(struct thread_group *g)
{
	struct task *t;
	bool was_stopping = g->group_stop_count > 0;

	sigpending_flush(&g->pending, STOP_SIGNALS);
	for_each_thread (g, t) {
		sigpending_flush(&t->pending, STOP_SIGNALS);
		t->jobctl &= ~(JOBCTL_STOP_PENDING | JOBCTL_STOP_COUNTED | JOBCTL_STOP_DEQUEUED);
		if (task_traced(t) && atomic_load(&t->trace)->seized)
			trace_changed_group_stop(t);
		if (t->jobctl & JOBCTL_STOPPED) {
			t->jobctl &= ~JOBCTL_STOPPED;
			task_wake(t);
		}
	}
	if (g->stopped) {
		g->notify_why = CLD_CONTINUED;
		g->cont_notify = true;
	} else if (was_stopping) {
		g->notify_why = CLD_STOPPED;
	}
	g->stopped = g->stop_notify = false;
	g->group_stop_count = 0;
	if (g->notify_why) {
		for_each_thread (g, t) {
			if (!(atomic_load(&t->flags) & TF_EXITING)) {
				signal_wake(t);
				break;
			}
		}
	}
}

/* Whoever writes one is told to leave it, and it was SIGKILL that ended the process.
 * sighand->lock held. */
static void stop_core_file(struct thread_group *g)
{
	if (!g->core)
		return;
	g->exit_status = SIGKILL;
	atomic_store(&g->core_killed, true);
	wake_up_all(&g->thread_exit_wait, ~0u);
}

/* False: the signal has done all that it will. */
static bool prepare_signal(struct thread_group *g, struct task *t, int sig, bool forced)
{
	struct task *each;

	if (g->exiting) {
		if (sig == SIGKILL)
			stop_core_file(g);
		return false;
	}
	if (sig_default_stops(sig)) {
		sigpending_flush(&g->pending, SIG_BIT(SIGCONT));
		for_each_thread (g, each)
			sigpending_flush(&each->pending, SIG_BIT(SIGCONT));
	} else if (sig == SIGCONT) {
		continue_group(g);
	}
	return !sig_ignored(g, t, sig, forced);
}

static bool wants_signal(struct task *t, int sig)
{
	uint32_t flags = atomic_load(&t->flags);

	if (flags & TF_EXITING)
		return false;
	if (sig == SIGKILL)
		return true;
	if ((t->blocked & ~t->sigwait_mask & SIG_BIT(sig)) || (t->jobctl & JOBCTL_STOPPED) ||
	    atomic_load(&t->state) == TASK_TRACED)
		return false;
	return t == current || !(flags & TF_SIGPENDING);
}

/* A thread that is to look at the signal, or NULL when all block it or will look anyway. */
static struct task *choose_thread(struct thread_group *g, struct task *t, int sig, bool group)
{
	struct task *each;

	if (t && wants_signal(t, sig))
		return t;
	if (!group)
		return NULL;
	for_each_thread (g, each)
		if (each != t && wants_signal(each, sig))
			return each;
	return NULL;
}

static int count_threads(struct thread_group *g)
{
	struct task *t;
	int n = 0;

	for_each_thread (g, t)
		n++;
	return n;
}

void group_exit_locked(struct thread_group *g, int status, struct task *except)
{
	int nthreads = count_threads(g);
	struct task *t;

	if (g->exiting) {
		if (status == SIGKILL)
			stop_core_file(g);
		return;
	}
	g->exiting = true;
	g->exit_status = status;
	g->group_stop_count = 0;
	for_each_thread (g, t) {
		t->jobctl = 0;
		if (atomic_load(&t->flags) & TF_EXITING)
			continue;
		if (t == except) {
			atomic_fetch_or(&t->flags, TF_KILLED | TF_SIGPENDING);
			continue;
		}
		if (t != current && t->ctx)
			platform_hurry(t->ctx, nthreads);
		signal_kill_thread(t);
	}
}

bool sig_default_dumps(int sig)
{
	static const sigset64_t set = SIG_BIT(SIGQUIT) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) |
				      SIG_BIT(SIGABRT) | SIG_BIT(SIGFPE) | SIG_BIT(SIGSEGV) |
				      SIG_BIT(SIGBUS) | SIG_BIT(SIGSYS) | SIG_BIT(SIGXCPU) |
				      SIG_BIT(SIGXFSZ);
	return SIG_BIT(sig) & set;
}

static bool is_fatal(struct thread_group *g, int sig)
{
	return g->sighand->action[sig - 1].handler == HANDLER_DFL && !sig_default_ignores(sig) &&
	       !sig_default_stops(sig);
}

static void complete_signal(struct thread_group *g, struct task *t, int sig, bool group)
{
	struct task *target = choose_thread(g, t, sig, group);

	if (!target)
		return;
	/* What ends the process anyway ends it at once, even threads in sleeps that only a kill
	 * interrupts. */
	if (sig == SIGKILL || (is_fatal(g, sig) && !sig_default_dumps(sig) && !g->unkillable &&
			       !(target->blocked & SIG_BIT(sig)) && !task_traced(target))) {
		group_exit_locked(g, sig, NULL);
		return;
	}
	signal_wake(target);
}

static int queue_siginfo(struct thread_group *g, struct task *t, struct sigpending *p, int sig,
			 const guest_siginfo_t *info)
{
	struct ucount *u = t->ucount;
	struct sigqueue *q;
	/* Of the old signals one each is queued, so they need no quota. A kill(2) of a real-time
	 * signal without quota loses its siginfo; a request to queue fails. */
	bool limited = sig >= KERNEL_SIGRTMIN;
	bool must_queue = limited && info && info->si_code != SI_USER;

	if (ucount_charge_signal(u, limited ? g->rlim[RLIMIT_SIGPENDING].rlim_cur : UINT64_MAX))
		return must_queue ? -EAGAIN : 0;
	q = malloc(sizeof(*q));
	if (!q) {
		ucount_uncharge_signal(u);
		return must_queue ? -EAGAIN : 0;
	}
	memset(q, 0, sizeof(*q));
	if (info)
		q->info = *info;
	else
		q->info.si_code = SI_KERNEL;
	q->info.si_signo = sig;
	q->ucount = u;
	ucount_hold(u);
	TAILQ_INSERT_TAIL(&p->queue, q, link);
	return 0;
}

int send_signal_locked(struct thread_group *g, struct task *t, int sig, const guest_siginfo_t *info,
		       bool group, bool forced)
{
	struct sigpending *p = group ? &g->pending : &t->pending;
	int err;

	signal_mask_take_all(g);
	if (!prepare_signal(g, t, sig, forced))
		return 0;
	if (sig < KERNEL_SIGRTMIN && (p->set & SIG_BIT(sig)))
		return 0;
	if (sig != SIGKILL) {
		err = queue_siginfo(g, t, p, sig, info);
		if (err)
			return err;
	}
	__atomic_fetch_or(&p->set, SIG_BIT(sig), __ATOMIC_SEQ_CST);
	signal_mask_take_all(g);
	wake_up(&g->sighand->signalfd_wait, EPOLLIN);
	complete_signal(g, t, sig, group);
	return 0;
}

static bool from_kernel(const guest_siginfo_t *info)
{
	return !info || info->si_code == SI_KERNEL;
}

/* The sender is outside of the namespace that g is init of. */
static bool sent_from_outside(struct thread_group *g)
{
	return !current || !pid_nr_ns(current->group->tgid, g->tgid->ns);
}

int task_send_signal(struct task *t, int sig, const guest_siginfo_t *info)
{
	struct sighand *sh = lock_sighand(t->group);
	int ret;

	if (atomic_load(&t->flags) & TF_EXITING)
		ret = 0;
	else
		ret = send_signal_locked(t->group, t, sig, info, false,
					 from_kernel(info) || sent_from_outside(t->group));
	mutex_unlock(&sh->lock);
	return ret;
}

int group_send_signal(struct thread_group *tg, int sig, const guest_siginfo_t *info)
{
	struct sighand *sh = lock_sighand(tg);
	int ret = send_signal_locked(tg, tg->leader, sig, info, true,
				     from_kernel(info) || sent_from_outside(tg));

	mutex_unlock(&sh->lock);
	return ret;
}

int pgrp_send_signal(struct task *from_ns, pid_t pgid, int sig, const guest_siginfo_t *info)
{
	struct pid *pgrp = pid_find(task_pid_ns(from_ns), pgid);
	struct thread_group *g;
	int ret = -ESRCH;

	if (!pgrp)
		return -ESRCH;
	read_lock(&kernel.tasklist_lock);
	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link) {
		int err = sig ? group_send_signal(g, sig, info) : 0;

		if (ret)
			ret = err;
	}
	read_unlock(&kernel.tasklist_lock);
	pid_put(pgrp);
	return ret;
}

void group_kill(struct thread_group *tg, int status)
{
	struct sighand *sh = lock_sighand(tg);

	group_exit_locked(tg, status, NULL);
	mutex_unlock(&sh->lock);
}

void force_signal(struct task *t, int sig, const guest_siginfo_t *info)
{
	struct thread_group *g = t->group;
	struct sighand *sh = lock_sighand(g);
	struct ksigaction *ka = &sh->action[sig - 1];
	bool blocked = t->blocked & SIG_BIT(sig);

	if (blocked || ka->handler == HANDLER_IGN) {
		ka->handler = HANDLER_DFL;
		t->blocked &= ~SIG_BIT(sig);
	}
	/* Nothing is left that could run after a fault that nobody handles, init or not. */
	if (ka->handler == HANDLER_DFL && !task_traced(t))
		g->unkillable = false;
	send_signal_locked(g, t, sig, info, false, true);
	recalc_sigpending(t);
	mutex_unlock(&sh->lock);
}

int timer_signal_send(struct thread_group *tg, struct task *t, struct sigqueue *q)
{
	struct sighand *sh = lock_sighand(tg);
	struct sigpending *p = t ? &t->pending : &tg->pending;
	int sig = q->info.si_signo, ret = 0;

	signal_mask_take_all(tg);
	if (q->queued) {
		ret = 1;
	} else if (prepare_signal(tg, t ? t : tg->leader, sig, false) &&
		   !(t && (atomic_load(&t->flags) & TF_EXITING))) {
		q->queued = true;
		TAILQ_INSERT_TAIL(&p->queue, q, link);
		__atomic_fetch_or(&p->set, SIG_BIT(sig), __ATOMIC_SEQ_CST);
		signal_mask_take_all(tg);
		wake_up(&sh->signalfd_wait, EPOLLIN);
		complete_signal(tg, t ? t : tg->leader, sig, !t);
	}
	mutex_unlock(&sh->lock);
	return ret;
}

void timer_signal_cancel(struct thread_group *tg, struct task *t, struct sigqueue *q)
{
	struct sighand *sh = lock_sighand(tg);
	struct sigpending *p = t ? &t->pending : &tg->pending;

	if (q->queued) {
		struct sigqueue *each;
		bool more = false;

		TAILQ_REMOVE(&p->queue, q, link);
		q->queued = false;
		TAILQ_FOREACH (each, &p->queue, link)
			more = more || each->info.si_signo == q->info.si_signo;
		if (!more)
			__atomic_fetch_and(&p->set, ~SIG_BIT(q->info.si_signo), __ATOMIC_SEQ_CST);
	}
	mutex_unlock(&sh->lock);
}

void retarget_pending(struct task *t, sigset64_t set)
{
	struct thread_group *g = t->group;
	struct task *each;

	set &= g->pending.set;
	for_each_thread (g, each) {
		if (!set)
			return;
		if (each == t || !(set & ~each->blocked) ||
		    (atomic_load(&each->flags) & TF_EXITING))
			continue;
		set &= each->blocked;
		if (!(atomic_load(&each->flags) & TF_SIGPENDING))
			signal_wake(each);
	}
}
