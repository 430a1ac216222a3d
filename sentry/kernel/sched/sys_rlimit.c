/* Resource limits and usage (man 2 getrlimit, prlimit, getrusage). */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/time/timers.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

/* Linux's default of /proc/sys/fs/nr_open. */
#define NR_OPEN (1024 * 1024)

/* --- limits ----------------------------------------------------------------------------------- */

/* May the current task see and change the limits of t's process (Linux: check_prlimit_permission)?
 */
static int check_permission(struct task *t)
{
	const struct cred *mine = current->cred;
	struct cred *theirs;
	bool same;

	if (t->group == current->group || task_capable(t, CAP_SYS_RESOURCE))
		return 0;
	theirs = task_cred_get(t);
	same = mine->uid == theirs->euid && mine->uid == theirs->suid && mine->uid == theirs->uid &&
	       mine->gid == theirs->egid && mine->gid == theirs->sgid && mine->gid == theirs->gid;
	cred_put(theirs);
	return same ? 0 : -EPERM;
}

static int set_limit(struct thread_group *g, unsigned resource, const struct rlimit *new,
		     struct rlimit *old)
{
	struct rlimit *lim;

	if (new &&new->rlim_cur > new->rlim_max)
		return -EINVAL;
	if (new &&resource == RLIMIT_NOFILE &&new->rlim_max > NR_OPEN)
		return -EPERM;
	mutex_lock(&g->lock);
	lim = &g->rlim[resource];
	*old = *lim;
	if (new &&new->rlim_max > lim->rlim_max && !capable(CAP_SYS_RESOURCE)) {
		mutex_unlock(&g->lock);
		return -EPERM;
	}
	if (new) {
		*lim = *new;
		/* Zero would be "none" to what looks at it (Linux: at least a second). */
		if (resource == RLIMIT_CPU && !lim->rlim_cur)
			lim->rlim_cur = 1;
	}
	mutex_unlock(&g->lock);
	if (new &&resource == RLIMIT_CPU &&new->rlim_cur != RLIM_INFINITY)
		cpu_timer_watch(g);
	return 0;
}

SYSCALL_DEFINE4(prlimit64, int, pid, unsigned, resource, uaddr_t, unew, uaddr_t, uold)
{
	struct rlimit new, old;
	struct task *target;
	int ret;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	if (unew && get_user(&new, unew))
		return -EFAULT;
	target = pid ? task_find(pid) : task_get(t);
	if (!target)
		return -ESRCH;
	ret = check_permission(target);
	if (!ret)
		ret = set_limit(target->group, resource, unew ? &new : NULL, &old);
	task_put(target);
	if (!ret && uold && put_user(uold, old))
		ret = -EFAULT;
	return ret;
}

SYSCALL_DEFINE2(getrlimit, unsigned, resource, uaddr_t, ulim)
{
	struct rlimit old;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	set_limit(t->group, resource, NULL, &old);
	return put_user(ulim, old);
}

SYSCALL_DEFINE2(setrlimit, unsigned, resource, uaddr_t, ulim)
{
	struct rlimit new, old;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	if (get_user(&new, ulim))
		return -EFAULT;
	return set_limit(t->group, resource, &new, &old);
}

/* --- usage ------------------------------------------------------------------------------------ */

static void add_memory_usage(struct task *t, struct rusage *ru)
{
	struct platform_usage usage;
	uint64_t rss, shared;
	long kib;

	if (mm_rss(t->mm, &rss, &shared) || platform_as_usage(t->mm->as, &usage))
		return;
	kib = (long)(MAX(t->mm->hiwater_rss, rss) * (PAGE_SIZE / 1024));
	ru->ru_maxrss = MAX(ru->ru_maxrss, kib);
	ru->ru_minflt += (long)usage.minflt;
	ru->ru_majflt += (long)usage.majflt;
}

static void usage_self(struct task *t, struct rusage *ru)
{
	struct thread_group *g = t->group;
	uint64_t utime, stime;
	struct task *thread;

	group_cpu_split(g, &utime, &stime);
	ru->ru_utime = ns_to_timeval((int64_t)utime);
	ru->ru_stime = ns_to_timeval((int64_t)stime);
	read_lock(&kernel.tasklist_lock);
	ru->ru_maxrss = (long)g->dead.maxrss;
	ru->ru_minflt = (long)g->dead.minflt;
	ru->ru_majflt = (long)g->dead.majflt;
	ru->ru_nvcsw = (long)g->dead.nvcsw;
	ru->ru_nivcsw = (long)g->dead.nivcsw;
	for_each_thread (g, thread)
		ru->ru_nvcsw += (long)thread->nvcsw;
	read_unlock(&kernel.tasklist_lock);
	add_memory_usage(t, ru);
}

static void usage_children(struct task *t, struct rusage *ru)
{
	READ_GUARD(&kernel.tasklist_lock);
	ru->ru_utime = ns_to_timeval((int64_t)t->group->children_usage.utime);
	ru->ru_stime = ns_to_timeval((int64_t)t->group->children_usage.stime);
	ru->ru_maxrss = (long)t->group->children_usage.maxrss;
	ru->ru_minflt = (long)t->group->children_usage.minflt;
	ru->ru_majflt = (long)t->group->children_usage.majflt;
	ru->ru_nvcsw = (long)t->group->children_usage.nvcsw;
	ru->ru_nivcsw = (long)t->group->children_usage.nivcsw;
}

SYSCALL_DEFINE2(getrusage, int, who, uaddr_t, uusage)
{
	struct rusage ru = {0};

	switch (who) {
	case RUSAGE_SELF:
		usage_self(t, &ru);
		break;
	case RUSAGE_CHILDREN:
		usage_children(t, &ru);
		break;
	case RUSAGE_THREAD:
		ru.ru_utime = ns_to_timeval((int64_t)task_cpu_ns(t));
		ru.ru_nvcsw = (long)t->nvcsw;
		add_memory_usage(t, &ru);
		break;
	default:
		return -EINVAL;
	}
	return put_user(uusage, ru);
}
