/* Process ids, groups, sessions (man 7 credentials, "Process ID" to "Process group ID and session
 * ID"). */
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/uaccess/uaccess.h"

SYSCALL_DEFINE0(getpid)
{
	return task_tgid(t);
}

SYSCALL_DEFINE0(gettid)
{
	return task_tid(t);
}

SYSCALL_DEFINE0(getppid)
{
	READ_GUARD(&kernel.tasklist_lock);

	return group_nr_ns(t->group->parent, task_pid_ns(t));
}

/* The process that nr names, 0 being the caller; reference or NULL. */
static struct thread_group *find_process(struct task *t, int nr)
{
	struct task *other;
	struct thread_group *g;

	if (nr == 0)
		return group_get(t->group);
	/* A thread's number names its process, too. */
	other = task_find(nr);
	if (!other)
		return NULL;
	g = group_get(other->group);
	task_put(other);
	return g;
}

SYSCALL_DEFINE1(getpgid, int, nr)
{
	struct thread_group *g = find_process(t, nr);
	pid_t ret;

	if (!g)
		return -ESRCH;
	read_lock(&kernel.tasklist_lock);
	ret = pid_nr_ns(g->pgrp, task_pid_ns(t));
	read_unlock(&kernel.tasklist_lock);
	group_put(g);
	return ret;
}

SYSCALL_DEFINE0(getpgrp)
{
	READ_GUARD(&kernel.tasklist_lock);

	return pid_nr_ns(t->group->pgrp, task_pid_ns(t));
}

SYSCALL_DEFINE1(getsid, int, nr)
{
	struct thread_group *g = find_process(t, nr);
	pid_t ret;

	if (!g)
		return -ESRCH;
	read_lock(&kernel.tasklist_lock);
	ret = pid_nr_ns(g->session, task_pid_ns(t));
	read_unlock(&kernel.tasklist_lock);
	group_put(g);
	return ret;
}

/* The checks of setpgid(2), tasklist_lock held. *group is the id of the new process group. */
static int check_setpgid(struct task *t, struct thread_group *g, struct pid *pgrp)
{
	struct thread_group *member;

	if (g->zombie || !g->num_threads)
		return -ESRCH;
	if (g->parent == t->group) {
		if (g->session != t->group->session)
			return -EPERM;
		if (g->did_exec)
			return -EACCES;
	} else if (g != t->group) {
		return -ESRCH;
	}
	if (g->session == g->tgid)
		return -EPERM;
	if (pgrp == g->tgid)
		return 0;
	/* Another group must exist in the same session. */
	member = TAILQ_FIRST(&pgrp->pgrp);
	return member && member->session == t->group->session ? 0 : -EPERM;
}

SYSCALL_DEFINE2(setpgid, int, nr, int, pgid)
{
	struct thread_group *g;
	struct pid *pgrp;
	int err;

	if (pgid < 0)
		return -EINVAL;
	g = nr == 0 ? group_get(t->group) : group_find(nr);
	if (!g)
		return -ESRCH;
	pgrp = pgid ? pid_find(task_pid_ns(t), pgid) : pid_get(g->tgid);
	if (!pgrp) {
		group_put(g);
		return -EPERM;
	}
	write_lock(&kernel.tasklist_lock);
	err = check_setpgid(t, g, pgrp);
	if (!err)
		group_set_pgrp(g, pgrp);
	write_unlock(&kernel.tasklist_lock);
	pid_put(pgrp);
	group_put(g);
	return err;
}

SYSCALL_DEFINE0(setsid)
{
	struct thread_group *g = t->group;
	struct tty *tty = NULL;
	int err = 0;

	write_lock(&kernel.tasklist_lock);
	if (g->session == g->tgid || !TAILQ_EMPTY(&g->tgid->pgrp)) {
		err = -EPERM;
	} else {
		group_set_session(g, g->tgid);
		group_set_pgrp(g, g->tgid);
		tty = steal_ptr(&g->tty);
	}
	write_unlock(&kernel.tasklist_lock);
	if (tty)
		task_tty_ops->put(tty);
	return err ? err : task_tgid(t);
}
