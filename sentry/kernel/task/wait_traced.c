/*
 * What wait4(2) and waitid(2) tell a tracer (man 2 ptrace): stops and ends of its tracees, which
 * are threads, each with a number of its own, whatever kind of child they are.
 */
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/kernel/task/wait_internal.h"

#ifndef __WNOTHREAD
#define __WNOTHREAD 0x20000000
#endif

static bool is_meant(const struct wait_request *w, const struct trace *tr)
{
	const struct task *t = tr->task;

	if ((w->options & __WNOTHREAD) && tr->tracer != current)
		return false;
	switch (w->type) {
	case P_PID:
	case P_PIDFD:
		return t->pid == w->pid;
	case P_PGID:
		return t->group->pgrp == w->pid;
	default:
		return true;
	}
}

static int ended_code(int status)
{
	return status & 0x7f ? CLD_KILLED : CLD_EXITED;
}

static void take_thread(struct trace *tr, bool keep, struct wait_result *r)
{
	struct task *t = tr->task;

	wait_fill_result(t, ended_code(t->exit_code), t->exit_code, r);
	if (!keep)
		trace_unlink(t);
}

static void take_process(struct trace *tr, bool keep, struct wait_result *r)
{
	struct thread_group *g = tr->task->group;

	wait_fill_result(tr->task, ended_code(g->exit_status), g->exit_status, r);
	if (keep)
		return;
	if (g->parent == current->group) {
		wait_inherit_usage(current->group, g);
		group_release(g);
	} else {
		trace_let_go(tr->task);
	}
}

static bool take_stop(struct trace *tr, bool keep, struct wait_result *r)
{
	struct task *t = tr->task;
	struct sighand *sh = lock_sighand(t->group);
	int code = tr->stopped && !tr->listening ? tr->code : 0;

	/* From now on it takes a word of the tracer's for the signal to be delivered. */
	if (code && !keep)
		tr->code = tr->inject = 0;
	mutex_unlock(&sh->lock);
	if (!code)
		return false;
	wait_fill_result(t, CLD_TRAPPED, code << 8 | 0x7f, r);
	r->live = group_get(t->group);
	return true;
}

int wait_look_traced(const struct wait_request *w, struct wait_result *r)
{
	bool keep = w->options & WNOWAIT;
	int ret = -ECHILD;
	struct trace *tr;

	TAILQ_FOREACH (tr, &current->group->tracees, link) {
		struct thread_group *g = tr->task->group;
		bool ended = tr->dead || (tr->task == g->leader && g->zombie);

		if (!is_meant(w, tr))
			continue;
		if (!ended) {
			ret = 0;
			if (take_stop(tr, keep, r))
				return 1;
			continue;
		}
		if (!(w->options & WEXITED))
			continue;
		if (tr->dead)
			take_thread(tr, keep, r);
		else
			take_process(tr, keep, r);
		return 1;
	}
	return ret;
}
