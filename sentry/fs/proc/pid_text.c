/* The small files of a process: comm, limits, oom_*, io, sched, schedstat, personality, ... */
#include <errno.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"

/* --- comm
 * ---------------------------------------------------------------------------------------------- */

int proc_show_comm(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	char comm[TASK_COMM_LEN + 1] = {0};

	if (!t)
		return -ESRCH;
	memcpy(comm, t->comm, TASK_COMM_LEN);
	text_printf(out, "%s\n", comm);
	return 0;
}

/* Threads of the same process may name each other. */
ssize_t proc_write_comm(struct inode *inode, char *s, size_t n)
{
	struct task *__put_task t = proc_task_get(inode);
	char comm[TASK_COMM_LEN] = {0};

	if (!t)
		return -ESRCH;
	if (!current || t->group != current->group)
		return -EINVAL;
	memcpy(comm, s, MIN(strcspn(s, ""), (size_t)TASK_COMM_LEN - 1));
	memcpy(t->comm, comm, sizeof(comm));
	return (ssize_t)n;
}

/* --- limits
 * -------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *unit;
} limit_names[RLIM_NLIMITS] = {
	[RLIMIT_CPU] = {"Max cpu time", "seconds"},
	[RLIMIT_FSIZE] = {"Max file size", "bytes"},
	[RLIMIT_DATA] = {"Max data size", "bytes"},
	[RLIMIT_STACK] = {"Max stack size", "bytes"},
	[RLIMIT_CORE] = {"Max core file size", "bytes"},
	[RLIMIT_RSS] = {"Max resident set", "bytes"},
	[RLIMIT_NPROC] = {"Max processes", "processes"},
	[RLIMIT_NOFILE] = {"Max open files", "files"},
	[RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
	[RLIMIT_AS] = {"Max address space", "bytes"},
	[RLIMIT_LOCKS] = {"Max file locks", "locks"},
	[RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
	[RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
	[RLIMIT_NICE] = {"Max nice priority", ""},
	[RLIMIT_RTPRIO] = {"Max realtime priority", ""},
	[RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
};

static void show_limit(struct text *out, rlim_t value)
{
	if (value == RLIM_INFINITY)
		text_printf(out, "%-20s ", "unlimited");
	else
		text_printf(out, "%-20lu ", value);
}

int proc_show_limits(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct rlimit rlim[RLIM_NLIMITS];

	if (!t)
		return -ESRCH;
	mutex_lock(&t->group->lock);
	memcpy(rlim, t->group->rlim, sizeof(rlim));
	mutex_unlock(&t->group->lock);
	text_puts(
		out,
		"Limit                     Soft Limit           Hard Limit           Units     \n");
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		text_printf(out, "%-25s ", limit_names[i].name);
		show_limit(out, rlim[i].rlim_cur);
		show_limit(out, rlim[i].rlim_max);
		text_printf(out, "%-10s\n", limit_names[i].unit);
	}
	return 0;
}

/* --- out of memory
 * --------------------------------------------------------------------------------------- */

#define OOM_SCORE_ADJ_MAX 1000
#define OOM_ADJUST_MAX 15
#define OOM_DISABLE (-17)

/* node->arg: 1 for the old oom_adj, whose range is -17 to 15. */
int proc_show_oom(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	int adj;

	if (!t)
		return -ESRCH;
	adj = t->group->oom_score_adj;
	if (pseudo(inode)->node->arg)
		adj = adj == OOM_SCORE_ADJ_MAX ? OOM_ADJUST_MAX
					       : adj * -OOM_DISABLE / OOM_SCORE_ADJ_MAX;
	text_printf(out, "%d\n", adj);
	return 0;
}

ssize_t proc_write_oom(struct inode *inode, char *s, size_t n)
{
	struct task *__put_task t = proc_task_get(inode);
	bool old = pseudo(inode)->node->arg;
	int64_t adj;

	if (!t)
		return -ESRCH;
	if (pseudo_parse_int(s, old ? OOM_DISABLE : -OOM_SCORE_ADJ_MAX,
			     old ? OOM_ADJUST_MAX : OOM_SCORE_ADJ_MAX, &adj))
		return -EINVAL;
	if (old)
		adj = adj == OOM_ADJUST_MAX ? OOM_SCORE_ADJ_MAX
					    : adj * OOM_SCORE_ADJ_MAX / -OOM_DISABLE;
	if (adj < t->group->oom_score_adj && !capable(CAP_SYS_RESOURCE))
		return -EACCES;
	t->group->oom_score_adj = (int)adj;
	return (ssize_t)n;
}

/* --- accounting
 * ------------------------------------------------------------------------------------------ */

/* What storage was asked for, the host alone knows: no file here is on a disk of the sandbox's. */
int proc_show_io(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct task_io io;

	if (!t)
		return -ESRCH;
	if (proc_is_thread(inode))
		io = t->io;
	else
		group_io(t->group, &io);
	text_printf(out,
		    "rchar: %lu\nwchar: %lu\nsyscr: %lu\nsyscw: %lu\nread_bytes: 0\n"
		    "write_bytes: 0\ncancelled_write_bytes: 0\n",
		    io.rchar, io.wchar, io.syscr, io.syscw);
	return 0;
}

int proc_show_schedstat(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct proc_usage u;

	if (!t)
		return -ESRCH;
	proc_usage(t, proc_is_thread(inode), &u);
	text_printf(out, "%lu 0 %lu\n", u.utime_ns + u.stime_ns, t->nvcsw);
	return 0;
}

int proc_show_sched(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct proc_usage u;
	uint64_t cpu;

	if (!t)
		return -ESRCH;
	proc_usage(t, proc_is_thread(inode), &u);
	cpu = u.utime_ns + u.stime_ns;
	text_printf(out, "%.*s (%d, #threads: %d)\n", TASK_COMM_LEN, t->comm,
		    pid_nr_ns(t->pid, proc_ns(inode->sb)), t->group->num_threads);
	text_puts(out, "-------------------------------------------------------------------\n");
	text_printf(out, "%-45s:%21lu.%06lu\n", "se.sum_exec_runtime", cpu / 1000000,
		    cpu % 1000000);
	text_printf(out, "%-45s:%21lu\n", "nr_switches", t->nvcsw);
	text_printf(out, "%-45s:%21lu\n", "nr_voluntary_switches", t->nvcsw);
	text_printf(out, "%-45s:%21d\n", "policy", t->sched_policy);
	text_printf(out, "%-45s:%21d\n", "prio",
		    t->sched_priority ? 99 - t->sched_priority : 120 + t->nice);
	return 0;
}

int proc_show_personality(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);

	if (!t)
		return -ESRCH;
	text_printf(out, "%08lx\n", t->personality);
	return 0;
}

int proc_show_timerslack(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);

	if (!t)
		return -ESRCH;
	text_printf(out, "%lu\n", t->timer_slack);
	return 0;
}

/* 0: back to the default. Others' takes CAP_SYS_NICE. */
ssize_t proc_write_timerslack(struct inode *inode, char *s, size_t n)
{
	struct task *__put_task t = proc_task_get(inode);
	int64_t ns;

	if (!t)
		return -ESRCH;
	if (t != current && !task_capable(t, CAP_SYS_NICE))
		return -EPERM;
	if (pseudo_parse_int(s, 0, INT64_MAX, &ns))
		return -EINVAL;
	t->timer_slack = ns ? (uint64_t)ns : t->default_timer_slack;
	return (ssize_t)n;
}

/* The children of a thread's process; Linux lists those that the thread itself made. */
int proc_show_children(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct pid_ns *ns = proc_ns(inode->sb);
	struct thread_group *child;

	if (!t)
		return -ESRCH;
	READ_GUARD(&kernel.tasklist_lock);
	if (t != t->group->leader)
		return 0;
	TAILQ_FOREACH (child, &t->group->children, sibling)
		text_printf(out, "%d ", group_nr_ns(child, ns));
	return 0;
}
