/* Signal handlers' table, pending queues, and taking signals out of them. */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/signal/signal_upcalls.h"
#include "sentry/kernel/task/lifecycle.h"

/* Freed ones: their memory, and the initialised lock in it, is never given back (see signal.h). */
static struct sighand *free_sighands;
static struct mutex free_lock = MUTEX_INIT;

struct sighand *sighand_alloc(void)
{
	struct sighand *sh;

	mutex_lock(&free_lock);
	sh = free_sighands;
	if (sh)
		free_sighands = sh->next_free;
	mutex_unlock(&free_lock);
	if (!sh) {
		sh = calloc(1, sizeof(*sh));
		if (!sh)
			return NULL;
		mutex_init(&sh->lock);
		wait_queue_init(&sh->signalfd_wait);
	}
	refcount_init(&sh->refs);
	memset(sh->action, 0, sizeof(sh->action));
	return sh;
}

struct sighand *sighand_get(struct sighand *sh)
{
	refcount_inc(&sh->refs);
	return sh;
}

void sighand_put(struct sighand *sh)
{
	if (!refcount_dec(&sh->refs))
		return;
	mutex_lock(&free_lock);
	sh->next_free = free_sighands;
	free_sighands = sh;
	mutex_unlock(&free_lock);
}

struct sighand *lock_sighand(struct thread_group *tg)
{
	for (;;) {
		struct sighand *sh = __atomic_load_n(&tg->sighand, __ATOMIC_ACQUIRE);

		mutex_lock(&sh->lock);
		if (likely(sh == __atomic_load_n(&tg->sighand, __ATOMIC_ACQUIRE)))
			return sh;
		mutex_unlock(&sh->lock);
	}
}

void sigpending_init(struct sigpending *p)
{
	p->set = 0;
	TAILQ_INIT(&p->queue);
}

static void sigqueue_drop(struct sigqueue *q)
{
	if (q->posix_timer) {
		q->queued = false;
		return;
	}
	if (q->ucount) {
		ucount_uncharge_signal(q->ucount);
		ucount_put(q->ucount);
	}
	free(q);
}

void sigpending_flush(struct sigpending *p, sigset64_t set)
{
	struct sigqueue *q, *next;

	if (!(p->set & set))
		return;
	__atomic_fetch_and(&p->set, ~set, __ATOMIC_SEQ_CST);
	for (q = TAILQ_FIRST(&p->queue); q; q = next) {
		next = TAILQ_NEXT(q, link);
		if (SIG_BIT(q->info.si_signo) & set) {
			TAILQ_REMOVE(&p->queue, q, link);
			sigqueue_drop(q);
		}
	}
}

/* Synchronous ones first, as they belong to the instruction that the frame will point at. */
#define SYNCHRONOUS                                                                                \
	(SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) |                 \
	 SIG_BIT(SIGFPE) | SIG_BIT(SIGSYS))

static int next_signal(const struct sigpending *p, sigset64_t set)
{
	sigset64_t have = p->set & set;

	if (!have)
		return 0;
	if (have & SYNCHRONOUS)
		have &= SYNCHRONOUS;
	return __builtin_ctzll(have) + 1;
}

static void collect_signal(struct sigpending *p, int sig, guest_siginfo_t *info)
{
	struct sigqueue *q, *first = NULL;
	bool more = false;

	TAILQ_FOREACH (q, &p->queue, link) {
		if (q->info.si_signo != sig)
			continue;
		if (first) {
			more = true;
			break;
		}
		first = q;
	}
	if (!more)
		__atomic_fetch_and(&p->set, ~SIG_BIT(sig), __ATOMIC_SEQ_CST);
	if (!first) {
		/* Sent when no memory or no quota was left for its siginfo. */
		memset(info, 0, sizeof(*info));
		info->si_signo = sig;
		return;
	}
	TAILQ_REMOVE(&p->queue, first, link);
	*info = first->info;
	if (first->posix_timer) {
		void *timer = first->posix_timer;

		first->queued = false;
		posix_timer_delivered(timer, info);
	} else {
		sigqueue_drop(first);
	}
}

int dequeue_signal(struct task *t, sigset64_t set, guest_siginfo_t *info)
{
	struct sigpending *p = &t->pending;
	int sig = next_signal(p, set);

	if (!sig) {
		p = &t->group->pending;
		sig = next_signal(p, set);
	}
	if (sig)
		collect_signal(p, sig, info);
	recalc_sigpending(t);
	return sig;
}

sigset64_t signals_pending(struct task *t, sigset64_t set)
{
	struct sighand *sh = lock_sighand(t->group);

	set &= t->pending.set | t->group->pending.set;
	mutex_unlock(&sh->lock);
	return set;
}

void recalc_sigpending(struct task *t)
{
	struct thread_group *g = t->group;

	if (((t->pending.set | g->pending.set) & ~t->blocked) ||
	    (t->jobctl & (JOBCTL_STOP_PENDING | JOBCTL_TRAPS)) || g->notify_why ||
	    (atomic_load(&t->flags) & TF_KILLED))
		atomic_fetch_or(&t->flags, TF_SIGPENDING);
	else
		atomic_fetch_and(&t->flags, ~TF_SIGPENDING);
}
