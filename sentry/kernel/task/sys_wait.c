/* wait4, waitid (man 2 wait): children that exited, stopped or continued. */
#include <string.h>
#include <sys/wait.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/pidfd.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/kernel/task/wait_internal.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

#ifndef __WNOTHREAD
#define __WNOTHREAD 0x20000000
#define __WALL 0x40000000
#define __WCLONE 0x80000000
#endif

static void ns_to_timeval(uint64_t ns, struct timeval *tv)
{
	tv->tv_sec = ns / NSEC_PER_SEC;
	tv->tv_usec = ns % NSEC_PER_SEC / 1000;
}

static void fill_usage(struct thread_group *g, struct rusage *ru)
{
	ns_to_timeval(g->dead.utime + g->children_usage.utime, &ru->ru_utime);
	ns_to_timeval(g->dead.stime + g->children_usage.stime, &ru->ru_stime);
	ru->ru_minflt = g->dead.minflt + g->children_usage.minflt;
	ru->ru_majflt = g->dead.majflt + g->children_usage.majflt;
	ru->ru_maxrss = MAX(g->dead.maxrss, g->children_usage.maxrss);
	ru->ru_nvcsw = g->dead.nvcsw + g->children_usage.nvcsw;
	ru->ru_nivcsw = g->dead.nivcsw + g->children_usage.nivcsw;
}

void wait_inherit_usage(struct thread_group *parent, struct thread_group *child)
{
	MUTEX_GUARD(&parent->lock);

	parent->children_usage.utime += child->dead.utime + child->children_usage.utime;
	parent->children_usage.stime += child->dead.stime + child->children_usage.stime;
	parent->children_usage.minflt += child->dead.minflt + child->children_usage.minflt;
	parent->children_usage.majflt += child->dead.majflt + child->children_usage.majflt;
	parent->children_usage.nvcsw += child->dead.nvcsw + child->children_usage.nvcsw;
	parent->children_usage.nivcsw += child->dead.nivcsw + child->children_usage.nivcsw;
	parent->children_usage.maxrss = MAX(parent->children_usage.maxrss, child->dead.maxrss);
	parent->children_usage.maxrss =
		MAX(parent->children_usage.maxrss, child->children_usage.maxrss);
}

static bool eligible(const struct wait_request *w, const struct thread_group *child)
{
	bool is_clone = child->exit_signal != SIGCHLD;

	if ((w->type == P_PID || w->type == P_PIDFD) && child->tgid != w->pid)
		return false;
	if (w->type == P_PGID && child->pgrp != w->pid)
		return false;
	if ((w->options & __WNOTHREAD) && child->parent_thread != current)
		return false;
	return (w->options & __WALL) || is_clone == !!(w->options & __WCLONE);
}

void wait_fill_result(struct task *t, int code, int status, struct wait_result *r)
{
	struct cred *cred = task_cred_get(t);

	r->pid = pid_nr_ns(t->pid, task_pid_ns(current));
	r->uid = uid_shown_here(cred->uid);
	cred_put(cred);
	r->code = code;
	r->status = status;
	fill_usage(t->group, &r->usage);
}

static void fill_result(struct thread_group *child, int code, int status, struct wait_result *r)
{
	wait_fill_result(child->leader, code, status, r);
}

static bool traced_by_us(struct thread_group *child)
{
	return atomic_load(&child->leader->trace)->tracer->group == current->group;
}

/* True if the child has something to tell; it is then told (and, a zombie, buried). */
static bool consume(const struct wait_request *w, struct thread_group *child, struct wait_result *r)
{
	bool keep = w->options & WNOWAIT, traced = task_traced(child->leader);
	struct sighand *sh;
	bool found = false;

	if (child->zombie) {
		int status = child->exit_status;

		/* A tracer's before it is the parent's. */
		if (!(w->options & WEXITED) || traced)
			return false;
		fill_result(child, status & 0x7f ? CLD_KILLED : CLD_EXITED, status, r);
		if (!keep) {
			wait_inherit_usage(current->group, child);
			group_release(child);
		}
		return true;
	}
	sh = lock_sighand(child);
	if ((w->options & WSTOPPED) && child->stop_notify && !(traced && traced_by_us(child))) {
		fill_result(child, CLD_STOPPED, child->stop_signal << 8 | 0x7f, r);
		child->stop_notify = keep;
		found = true;
	} else if ((w->options & WCONTINUED) && child->cont_notify) {
		fill_result(child, CLD_CONTINUED, 0xffff, r);
		child->cont_notify = keep;
		found = true;
	}
	mutex_unlock(&sh->lock);
	return found;
}

/* 1: *r is filled. 0: nothing yet. -ECHILD: there is no such child. */
static int look(const struct wait_request *w, struct wait_result *r)
{
	struct thread_group *child;
	int ret = -ECHILD;
	WRITE_GUARD(&kernel.tasklist_lock);

	TAILQ_FOREACH (child, &current->group->children, sibling) {
		if (!eligible(w, child))
			continue;
		/* It exists, also when it cannot be reaped now; but the dead stop and continue no
		 * more, so there is no use in waiting for that. */
		if (!child->zombie || (w->options & WEXITED))
			ret = 0;
		if (consume(w, child, r))
			return 1;
	}
	if (unlikely(!TAILQ_EMPTY(&current->group->tracees))) {
		int traced = wait_look_traced(w, r);

		ret = traced == -ECHILD ? ret : traced;
	}
	return ret;
}

static int do_wait(const struct wait_request *w, struct wait_result *r)
{
	struct thread_group *g = current->group;
	struct wait_entry e;
	int ret;

	ret = look(w, r);
	if (ret || (w->options & WNOHANG))
		return ret;
	wait_entry_init_task(&e, ~0u);
	wait_queue_add(&g->child_wait, &e);
	for (;;) {
		int err;

		wait_prepare();
		ret = look(w, r);
		if (ret)
			break;
		err = wait_block(NO_DEADLINE, true);
		if (err) {
			/* The child may have been what sent the signal. */
			ret = look(w, r);
			if (!ret)
				ret = err;
			break;
		}
	}
	wait_queue_remove(&e);
	return ret;
}

/* Stores what the child has used, if somebody wants to know. */
static int put_usage(uaddr_t urusage, struct wait_result *r)
{
	uint64_t utime, stime;

	if (urusage && r->live) {
		group_cpu_split(r->live, &utime, &stime);
		ns_to_timeval(utime + r->live->children_usage.utime, &r->usage.ru_utime);
		ns_to_timeval(stime + r->live->children_usage.stime, &r->usage.ru_stime);
	}
	if (r->live)
		group_put(r->live);
	return urusage ? copy_to_user(urusage, &r->usage, sizeof(r->usage)) : 0;
}

SYSCALL_DEFINE4(wait4, int, upid, uaddr_t, ustatus, unsigned, options, uaddr_t, urusage)
{
	struct wait_request w = {.type = P_ALL, .options = options | WEXITED};
	struct wait_result r = {0};
	int ret;

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		return -EINVAL;
	if (upid == INT32_MIN)
		return -ESRCH;
	if (upid > 0) {
		w.type = P_PID;
		w.pid = pid_find(task_pid_ns(t), upid);
	} else if (upid < -1) {
		w.type = P_PGID;
		w.pid = pid_find(task_pid_ns(t), -upid);
	} else if (upid == 0) {
		w.type = P_PGID;
		read_lock(&kernel.tasklist_lock);
		w.pid = pid_get(t->group->pgrp);
		read_unlock(&kernel.tasklist_lock);
	}
	if (w.type != P_ALL && !w.pid)
		return -ECHILD;
	ret = do_wait(&w, &r);
	if (w.pid)
		pid_put(w.pid);
	if (ret <= 0)
		return ret;
	if (put_usage(urusage, &r))
		return -EFAULT;
	if (ustatus && put_user(ustatus, (int32_t)r.status))
		return -EFAULT;
	return r.pid;
}

static int waitid_target(struct task *t, int type, int id, struct wait_request *w)
{
	struct file *__put_file file = NULL;

	w->type = type;
	switch (type) {
	case P_ALL:
		return 0;
	case P_PID:
		if (id <= 0)
			return -EINVAL;
		w->pid = pid_find(task_pid_ns(t), id);
		return w->pid ? 0 : -ECHILD;
	case P_PGID:
		if (id < 0)
			return -EINVAL;
		if (id) {
			w->pid = pid_find(task_pid_ns(t), id);
			return w->pid ? 0 : -ECHILD;
		}
		read_lock(&kernel.tasklist_lock);
		w->pid = pid_get(t->group->pgrp);
		read_unlock(&kernel.tasklist_lock);
		return 0;
	case P_PIDFD:
		if (id < 0)
			return -EINVAL;
		file = fd_get(id);
		if (!file)
			return -EBADF;
		w->pid = pidfd_pid(file);
		if (!w->pid)
			return -EBADF;
		/* O_NONBLOCK on the pidfd: EAGAIN instead of waiting. */
		if (file->flags & O_NONBLOCK)
			w->options |= WNOHANG;
		return 0;
	}
	return -EINVAL;
}

static int put_siginfo(uaddr_t addr, int ret, const struct wait_result *r)
{
	guest_siginfo_t info;

	memset(&info, 0, sizeof(info));
	if (ret > 0) {
		info.si_signo = SIGCHLD;
		info.si_code = r->code;
		info.si_pid = r->pid;
		info.si_uid = r->uid;
		info.si_status = r->code == CLD_EXITED	    ? r->status >> 8
				 : r->code == CLD_KILLED    ? r->status & 0x7f
				 : r->code == CLD_CONTINUED ? SIGCONT
							    : r->status >> 8;
	}
	/* As much as Linux writes: up to si_status. */
	return copy_to_user(addr, &info, offsetof(siginfo_t, si_status) + sizeof(int));
}

SYSCALL_DEFINE5(waitid, int, type, int, id, uaddr_t, uinfo, unsigned, options, uaddr_t, urusage)
{
	struct wait_request w = {.options = options};
	struct wait_result r = {0};
	int ret;

	if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD |
			__WCLONE | __WALL))
		return -EINVAL;
	if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	ret = waitid_target(t, type, id, &w);
	if (ret)
		return ret;
	ret = do_wait(&w, &r);
	if (w.pid)
		pid_put(w.pid);
	if (ret < 0)
		return ret;
	if (ret == 0 && !(options & WNOHANG))
		return -EAGAIN;
	if (ret > 0 && put_usage(urusage, &r))
		return -EFAULT;
	if (uinfo && put_siginfo(uinfo, ret, &r))
		return -EFAULT;
	return 0;
}
