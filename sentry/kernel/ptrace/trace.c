/* Who traces whom (man 2 ptrace). */
#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/ptrace/ptrace_internal.h"
#include "sentry/kernel/task/lifecycle.h"

void trace_free(struct trace *tr)
{
	if (!tr)
		return;
	free(tr->fpstate);
	free(tr);
}

/* The task's struct trace, made if it has none yet. */
static struct trace *trace_get(struct task *t)
{
	struct trace *tr = trace_of(t), *none = NULL;

	if (tr)
		return tr;
	tr = calloc(1, sizeof(*tr));
	if (!tr)
		return NULL;
	tr->task = t;
	wait_queue_init(&tr->answer_wait);
	if (atomic_compare_exchange_strong(&t->trace, &none, tr))
		return tr;
	free(tr);
	return none;
}

/* tasklist_lock (write) held. */
static void link_to(struct task *t, struct task *tracer, bool seized, uint32_t options)
{
	struct trace *tr = trace_of(t);
	struct cred *cred = task_cred_get(tracer), *theirs = task_cred_get(t);
	struct sighand *sh = lock_sighand(t->group);

	tr->seized = seized;
	tr->options = options;
	/* Over the tracee: with it in a namespace below that means nothing. */
	tr->capable = cred_ns_capable(cred, theirs->user_ns, CAP_SYS_PTRACE);
	tr->mode = TRACE_RUN;
	tr->stopped = tr->listening = false;
	tr->code = tr->inject = 0;
	tr->call = PTRACE_SYSCALL_INFO_NONE;
	memset(tr->debug, 0, sizeof(tr->debug));
	atomic_store(&tr->tracer, tracer);
	mutex_unlock(&sh->lock);
	cred_put(cred);
	cred_put(theirs);
	task_get(t);
	TAILQ_INSERT_TAIL(&tracer->group->tracees, tr, link);
}

/* --- the end of it -----------------------------------------------------------------------------
 */

/* The tracee's sighand->lock held. */
static void set_free(struct task *t, struct trace *tr)
{
	struct thread_group *g = t->group;

	atomic_store(&tr->tracer, NULL);
	tr->options = 0;
	t->jobctl &= ~(uint32_t)JOBCTL_TRAPS;
	/* It is stopped with the others of its group. */
	if (!(atomic_load(&t->flags) & TF_EXITING) && (g->stopped || g->group_stop_count))
		t->jobctl |= JOBCTL_STOP_PENDING;
	if (tr->stopped)
		trace_continue(t, TRACE_RUN, tr->inject);
	tr->mode = TRACE_RUN;
	if (atomic_load(&t->flags) & TF_EXITING)
		return;
	recalc_sigpending(t);
	if (t->jobctl & (JOBCTL_STOP_PENDING | JOBCTL_STOPPED))
		signal_wake(t);
}

void trace_unlink(struct task *t)
{
	struct trace *tr = trace_of(t);
	struct thread_group *tracers = tr->tracer->group;
	struct sighand *sh = lock_sighand(t->group);

	set_free(t, tr);
	mutex_unlock(&sh->lock);
	TAILQ_REMOVE(&tracers->tracees, tr, link);
	wake_up_all(&tracers->child_wait, ~0u);
	if (tr->dead) {
		tr->dead = false;
		pid_release_unused(t->pid);
	}
	task_put(t);
}

void trace_let_go(struct task *t)
{
	struct thread_group *g = t->group, *tracers = trace_of(t)->tracer->group;
	bool zombie = t == g->leader && g->zombie;

	trace_unlink(t);
	if (zombie && g->parent != tracers)
		zombie_to_parent(g);
}

void trace_tracer_exits(struct task *t)
{
	struct trace *tr, *next;

	for (tr = TAILQ_FIRST(&t->group->tracees); tr; tr = next) {
		struct task *tracee = tr->task;

		next = TAILQ_NEXT(tr, link);
		if (tr->tracer != t)
			continue;
		if ((tr->options & PTRACE_O_EXITKILL) && !tr->dead)
			group_kill(tracee->group, SIGKILL);
		trace_let_go(tracee);
	}
}

void trace_thread_died(struct task *t)
{
	trace_notify(t, t->exit_code & 0x7f ? CLD_KILLED : CLD_EXITED,
		     t->exit_code & 0x7f ? t->exit_code & 0x7f : t->exit_code >> 8 & 0xff);
}

int trace_detach(struct task *t, int sig)
{
	struct sighand *sh;
	WRITE_GUARD(&kernel.tasklist_lock);

	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	trace_of(t)->inject = sig;
	mutex_unlock(&sh->lock);
	trace_let_go(t);
	return 0;
}

/* --- the beginning -----------------------------------------------------------------------------
 */

static bool exiting(const struct task *t)
{
	return atomic_load(&t->flags) & TF_EXITING;
}

/* The parent has at least the capabilities that t, the current task, has. */
static bool may_be_tracer(struct task *parent, struct task *t)
{
	struct cred *c = task_cred_get(parent);
	bool yes =
		(c->user_ns == t->cred->user_ns && !(t->cred->cap_permitted & ~c->cap_permitted)) ||
		cred_ns_capable(c, t->cred->user_ns, CAP_SYS_PTRACE);

	cred_put(c);
	return yes;
}

int trace_me(struct task *t)
{
	struct task *parent;

	if (!trace_get(t))
		return -ENOMEM;
	WRITE_GUARD(&kernel.tasklist_lock);
	parent = t->group->parent ? t->group->parent_thread : NULL;
	if (task_traced(t) || !parent || exiting(parent) || !may_be_tracer(parent, t))
		return -EPERM;
	link_to(t, parent, false, 0);
	return 0;
}

int trace_attach(struct task *t, bool seize, uint32_t options)
{
	struct sighand *sh;

	if (t->group == current->group)
		return -EPERM;
	if (!trace_get(t))
		return -ENOMEM;
	/* A set-id program gets its powers with the lock held, too. */
	WRITE_GUARD(&kernel.tasklist_lock);
	if (ptrace_may_access(t, false) || task_traced(t) || exiting(t) || exiting(current))
		return -EPERM;
	link_to(t, current, seize, options);
	sh = lock_sighand(t->group);
	if (!seize)
		send_signal_locked(t->group, t, SIGSTOP, NULL, false, true);
	/* From now on its stop is its tracer's to see. */
	if (t->jobctl & JOBCTL_STOPPED)
		signal_wake(t);
	mutex_unlock(&sh->lock);
	return 0;
}

static uint32_t clone_option(uint64_t flags)
{
	if (flags & CLONE_VFORK)
		return PTRACE_O_TRACEVFORK;
	return (flags & CSIGNAL) == SIGCHLD ? PTRACE_O_TRACEFORK : PTRACE_O_TRACECLONE;
}

/* It may be untraced before the child is published, but nobody begins to trace it: it runs. */
static bool traces_child(struct task *parent, uint64_t flags)
{
	return task_traced(parent) && !(flags & CLONE_UNTRACED) &&
	       ((flags & CLONE_PTRACE) || (trace_of(parent)->options & clone_option(flags)));
}

int trace_prepare_child(struct task *child, struct task *parent, uint64_t flags)
{
	return likely(!task_traced(parent)) || trace_get(child) ? 0 : -ENOMEM;
}

void trace_start_child(struct task *child, struct task *parent, uint64_t flags)
{
	struct trace *tr = trace_of(parent);
	struct sighand *sh;

	if (likely(!task_traced(parent)) || !traces_child(parent, flags) || !trace_of(child))
		return;
	link_to(child, tr->tracer, tr->seized, tr->options);
	sh = lock_sighand(child->group);
	if (tr->seized)
		child->jobctl |= JOBCTL_TRAP_STOP;
	else
		child->pending.set |= SIG_BIT(SIGSTOP);
	/* It stops before it has run at all. */
	signal_wake(child);
	mutex_unlock(&sh->lock);
}

bool trace_bears_set_id(struct task *t)
{
	struct sighand *sh;
	bool bears;

	if (likely(!task_traced(t)))
		return true;
	sh = lock_sighand(t->group);
	bears = !task_traced(t) || trace_of(t)->capable;
	mutex_unlock(&sh->lock);
	return bears;
}
