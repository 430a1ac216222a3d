/* Nice values and I/O priorities (man 2 getpriority, ioprio_set). */
#include <errno.h>
#include <sys/resource.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/sched/sched_internal.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

#define IOPRIO_CLASS(p) ((unsigned)(p) >> 13)
#define IOPRIO_LEVEL(p) ((p)&7)
#define IOPRIO_NONE 0
#define IOPRIO_RT 1
#define IOPRIO_BE 2
#define IOPRIO_IDLE 3

/* What is done to each task; *result starts at -ESRCH. */
typedef void (*task_fn)(struct task *t, int arg, long *result);

static void each_thread(struct thread_group *g, task_fn fn, int arg, long *result)
{
	struct task *t;

	for_each_thread (g, t)
		fn(t, arg, result);
}

static void each_of_user(uid_t uid, task_fn fn, int arg, long *result)
{
	struct thread_group *g;
	struct task *t;

	TAILQ_FOREACH (g, &kernel.groups, all_link) {
		for_each_thread (g, t) {
			struct cred *cred = task_cred_get(t);
			bool match = cred->uid == uid;

			cred_put(cred);
			if (match)
				fn(t, arg, result);
		}
	}
}

/* which: PRIO_PROCESS (a thread), PRIO_PGRP, PRIO_USER; who 0: the caller's. */
static long for_tasks(int which, int who, task_fn fn, int arg)
{
	long result = -ESRCH;
	struct thread_group *g;
	struct pid *pgrp;
	struct task *t;
	uid_t uid;

	switch (which) {
	case PRIO_PROCESS:
		t = who ? task_find(who) : task_get(current);
		if (t) {
			fn(t, arg, &result);
			task_put(t);
		}
		return result;
	case PRIO_PGRP:
		pgrp = who ? pid_find(task_pid_ns(current), who) : NULL;
		if (who && !pgrp)
			return -ESRCH;
		read_lock(&kernel.tasklist_lock);
		TAILQ_FOREACH (g, &(pgrp ? pgrp : current->group->pgrp)->pgrp, pgrp_link)
			each_thread(g, fn, arg, &result);
		read_unlock(&kernel.tasklist_lock);
		if (pgrp)
			pid_put(pgrp);
		return result;
	case PRIO_USER:
		uid = who ? make_kuid((uid_t)who) : current->cred->uid;
		if (uid == INVALID_ID)
			return -ESRCH;
		read_lock(&kernel.tasklist_lock);
		each_of_user(uid, fn, arg, &result);
		read_unlock(&kernel.tasklist_lock);
		return result;
	default:
		return -EINVAL;
	}
}

/* --- nice ------------------------------------------------------------------------------------- */

static void set_nice(struct task *t, int nice, long *result)
{
	if (!task_same_owner(t) && !task_capable(t, CAP_SYS_NICE)) {
		*result = -EPERM;
		return;
	}
	if (nice < t->nice && !task_can_nice(t, nice)) {
		*result = -EACCES;
		return;
	}
	if (*result == -ESRCH)
		*result = 0;
	t->nice = nice;
}

SYSCALL_DEFINE3(setpriority, int, which, int, who, int, nice)
{
	return for_tasks(which, who, set_nice, MAX(MIN(nice, 19), -20));
}

/* The highest of all, as 20 - nice, so that it is no error number. */
static void best_nice(struct task *t, int arg, long *result)
{
	*result = MAX(*result, 20L - t->nice);
}

SYSCALL_DEFINE2(getpriority, int, which, int, who)
{
	return for_tasks(which, who, best_nice, 0);
}

/* --- I/O priority ----------------------------------------------------------------------------- */

static int check_ioprio(int ioprio)
{
	switch (IOPRIO_CLASS(ioprio)) {
	case IOPRIO_RT:
		return capable(CAP_SYS_ADMIN) || capable(CAP_SYS_NICE) ? 0 : -EPERM;
	case IOPRIO_BE:
	case IOPRIO_IDLE:
		return 0;
	case IOPRIO_NONE:
		return IOPRIO_LEVEL(ioprio) ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static void set_ioprio(struct task *t, int ioprio, long *result)
{
	if (!task_same_owner(t) && !task_capable(t, CAP_SYS_NICE)) {
		*result = -EPERM;
		return;
	}
	if (*result == -ESRCH)
		*result = 0;
	t->ioprio = ioprio;
}

/* Numbered from 1, otherwise as PRIO_*. */
SYSCALL_DEFINE3(ioprio_set, int, which, int, who, int, ioprio)
{
	int ret = check_ioprio(ioprio);

	if (ret)
		return ret;
	return which < 1 ? -EINVAL : for_tasks(which - 1, who, set_ioprio, ioprio);
}

/* The lowest number is the best. */
static void best_ioprio(struct task *t, int arg, long *result)
{
	if (*result == -ESRCH || t->ioprio < *result)
		*result = t->ioprio;
}

SYSCALL_DEFINE2(ioprio_get, int, which, int, who)
{
	return which < 1 ? -EINVAL : for_tasks(which - 1, who, best_ioprio, 0);
}
