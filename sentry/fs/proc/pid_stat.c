/* /proc/PID/stat, statm, status (man 5 proc_pid_stat, proc_pid_statm, proc_pid_status). */
#include <errno.h>
#include <string.h>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/fs/tty/tty.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/seccomp/seccomp.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"

#define PF_FORKNOEXEC 0x40
#define PF_RANDOMIZE 0x400000
#define KB(pages) ((uint64_t)(pages) * (PAGE_SIZE / 1024))

/* --- usage
 * ------------------------------------------------------------------------------------------- */

static uint64_t thread_cpu_ns(struct task *t)
{
	struct sighand *sh = lock_sighand(t->group); /* keeps t->ctx */
	uint64_t ns = 0;

	if (t->ctx && platform_ctx_cpu_ns(t->ctx, &ns))
		ns = 0;
	mutex_unlock(&sh->lock);
	return ns;
}

void proc_usage(struct task *t, bool thread, struct proc_usage *u)
{
	struct mm *mm = task_mm_get(t);
	struct thread_group *g = t->group;
	struct platform_usage p = {0};

	memset(u, 0, sizeof(*u));
	if (mm) {
		if (platform_as_usage(mm->as, &p))
			p = (struct platform_usage){0};
		mm_put(mm);
	}
	u->rss_pages = p.rss_pages;
	u->shared_pages = p.shared_pages;
	if (thread) {
		u->utime_ns = thread_cpu_ns(t);
		return;
	}
	MUTEX_GUARD(&g->lock);
	u->utime_ns = p.utime_ns + g->dead.utime;
	u->stime_ns = p.stime_ns + g->dead.stime;
	u->minflt = p.minflt + g->dead.minflt;
	u->majflt = p.majflt + g->dead.majflt;
}

void proc_usage_all(struct pid_ns *ns, struct proc_usage *sum)
{
	struct thread_group *g;
	pid_t nr = 1;

	memset(sum, 0, sizeof(*sum));
	for (; (g = group_next(ns, &nr)); nr++) {
		struct task *t = NULL;
		struct proc_usage u = {0};

		read_lock(&kernel.tasklist_lock);
		if (g->leader)
			t = task_get(g->leader);
		read_unlock(&kernel.tasklist_lock);
		if (t) {
			proc_usage(t, false, &u);
			task_put(t);
		}
		mutex_lock(&g->lock);
		u.utime_ns += g->children_usage.utime;
		u.stime_ns += g->children_usage.stime;
		mutex_unlock(&g->lock);
		sum->utime_ns += u.utime_ns;
		sum->stime_ns += u.stime_ns;
		sum->rss_pages += u.rss_pages;
		sum->shared_pages += u.shared_pages;
		group_put(g);
	}
}

uint64_t proc_memory_used(struct pid_ns *ns)
{
	struct proc_usage u;

	proc_usage_all(ns ? ns : kernel.root_pid_ns, &u);
	return u.rss_pages * PAGE_SIZE;
}

/* --- a snapshot of what stat and status share
 * ------------------------------------------------------- */

struct snapshot {
	char state;
	pid_t pid, tgid, ppid, pgrp, sid, tracer;
	int num_threads;
	struct tty *tty; /* counted, or NULL */
	sigset64_t pending, shared_pending, blocked, ignored, caught;
	uint64_t queued, queue_limit;
	int64_t cutime, cstime, cminflt, cmajflt;
	uint64_t rss_limit;
};

static char state_letter(int state)
{
	static const char letters[] = "RSDTtZX";

	return (size_t)state < sizeof(letters) - 1 ? letters[state] : 'R';
}

static void snapshot_signals(struct task *t, struct snapshot *s)
{
	struct sighand *sh = lock_sighand(t->group);

	s->pending = t->pending.set;
	s->shared_pending = t->group->pending.set;
	signal_mask_take(t);
	s->blocked = t->blocked;
	for (int sig = 1; sig <= GUEST_NSIG; sig++) {
		if (sh->action[sig - 1].handler == (uint64_t)(uintptr_t)SIG_IGN)
			s->ignored |= SIG_BIT(sig);
		else if (sh->action[sig - 1].handler != (uint64_t)(uintptr_t)SIG_DFL)
			s->caught |= SIG_BIT(sig);
	}
	if (t->ucount)
		s->queued = ucount_signals(t->ucount);
	mutex_unlock(&sh->lock);
}

static void snapshot_take(struct task *t, struct pid_ns *ns, struct snapshot *s)
{
	struct thread_group *g = t->group;

	memset(s, 0, sizeof(*s));
	read_lock(&kernel.tasklist_lock);
	s->state = state_letter(task_state_now(t));
	s->pid = pid_nr_ns(t->pid, ns);
	s->tgid = group_nr_ns(g, ns);
	s->ppid = group_nr_ns(g->parent, ns);
	s->pgrp = pid_nr_ns(g->pgrp, ns);
	s->sid = pid_nr_ns(g->session, ns);
	s->num_threads = g->num_threads;
	if (task_traced(t))
		s->tracer = pid_nr_ns(atomic_load(&t->trace)->tracer->pid, ns);
	if (g->tty)
		s->tty = tty_get(g->tty);
	read_unlock(&kernel.tasklist_lock);
	snapshot_signals(t, s);
	MUTEX_GUARD(&g->lock);
	s->cutime = (int64_t)g->children_usage.utime;
	s->cstime = (int64_t)g->children_usage.stime;
	s->cminflt = (int64_t)g->children_usage.minflt;
	s->cmajflt = (int64_t)g->children_usage.majflt;
	s->rss_limit = g->rlim[RLIMIT_RSS].rlim_cur;
	s->queue_limit = g->rlim[RLIMIT_SIGPENDING].rlim_cur;
}

static uint64_t ticks(uint64_t ns)
{
	return ns / (NSEC_PER_SEC / USER_HZ);
}

/* The tty_nr field: minor bits 31-20 and 7-0, major 15-8. */
static int64_t tty_number(struct tty *tty)
{
	uint64_t dev = tty ? tty_device(tty) : 0;
	uint64_t major = (dev >> 8) & 0xfff, minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);

	return (int64_t)((minor & 0xff) | (major << 8) | ((minor & ~0xffULL) << 12));
}

static int64_t priority(const struct task *t)
{
	bool rt = t->sched_policy == SCHED_FIFO || t->sched_policy == SCHED_RR;

	return rt ? -1 - t->sched_priority : 20 + t->nice;
}

/* --- stat
 * -------------------------------------------------------------------------------------------- */

struct layout {
	uint64_t vsize, start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
};

/* Addresses are for those who may trace the process; others see what Linux shows them. */
static void read_layout(struct task *t, struct layout *l)
{
	struct mm *mm = task_mm_get(t);
	bool may = !ptrace_may_access(t, true);

	*l = (struct layout){.start_code = 1, .end_code = 1};
	if (!mm) {
		l->start_code = l->end_code = 0;
		return;
	}
	command_lock(&mm->lock);
	l->vsize = mm->total_vm * PAGE_SIZE;
	if (may) {
		l->start_code = mm->start_code;
		l->end_code = mm->end_code;
		l->start_stack = mm->start_stack;
		l->start_data = mm->start_data;
		l->end_data = mm->end_data;
		l->start_brk = mm->start_brk;
		l->arg_start = mm->arg_start;
		l->arg_end = mm->arg_end;
		l->env_start = mm->env_start;
		l->env_end = mm->env_end;
	}
	mutex_unlock(&mm->lock);
	mm_put(mm);
}

/* Fields 27 to the end. */
static void stat_tail(struct text *out, struct task *t, const struct snapshot *s,
		      const struct layout *l)
{
	text_unum(out, l->start_code);
	text_unum(out, l->end_code);
	text_unum(out, l->start_stack);
	text_puts(out, " 0 0"); /* esp, eip: only of dumping processes */
	/* The masks of this old interface hold signals 1 to 31 only. */
	text_unum(out, (s->pending | s->shared_pending) & 0x7fffffff);
	text_unum(out, s->blocked & 0x7fffffff);
	text_unum(out, s->ignored & 0x7fffffff);
	text_unum(out, s->caught & 0x7fffffff);
	text_puts(out, " 0 0 0"); /* wchan, nswap, cnswap */
	text_num(out, t->group->leader == t ? t->group->exit_signal : -1);
	text_num(out, 0); /* processor */
	text_num(out, t->sched_priority);
	text_num(out, t->sched_policy);
	text_puts(out, " 0 0 0"); /* delayacct, guest_time, cguest_time */
	text_unum(out, l->start_data);
	text_unum(out, l->end_data);
	text_unum(out, l->start_brk);
	text_unum(out, l->arg_start);
	text_unum(out, l->arg_end);
	text_unum(out, l->env_start);
	text_unum(out, l->env_end);
	text_num(out, l->start_data ? t->exit_code : 0);
	text_puts(out, "\n");
}

static void text_comm(struct text *out, const struct task *t)
{
	char comm[TASK_COMM_LEN + 1] = {0};

	memcpy(comm, t->comm, TASK_COMM_LEN);
	text_puts(out, comm);
}

int proc_show_stat(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct pid_ns *ns = proc_ns(inode->sb);
	struct snapshot s;
	struct layout l;
	struct proc_usage u;

	if (!t)
		return -ESRCH;
	snapshot_take(t, ns, &s);
	read_layout(t, &l);
	proc_usage(t, proc_is_thread(inode), &u);

	text_printf(out, "%d (", s.pid);
	text_comm(out, t);
	text_printf(out, ") %c", s.state);
	text_num(out, s.ppid);
	text_num(out, s.pgrp);
	text_num(out, s.sid);
	text_num(out, tty_number(s.tty));
	text_num(out, s.tty && current ? tty_foreground(s.tty, current) : -1);
	text_unum(out, PF_RANDOMIZE | (t->group->did_exec ? 0 : PF_FORKNOEXEC));
	text_unum(out, u.minflt);
	text_num(out, s.cminflt);
	text_unum(out, u.majflt);
	text_num(out, s.cmajflt);
	text_unum(out, ticks(u.utime_ns));
	text_unum(out, ticks(u.stime_ns));
	text_unum(out, ticks((uint64_t)s.cutime));
	text_unum(out, ticks((uint64_t)s.cstime));
	text_num(out, priority(t));
	text_num(out, t->nice);
	text_num(out, s.num_threads);
	text_num(out, 0); /* itrealvalue */
	text_unum(out, ticks((uint64_t)MAX(t->start_time - machine.boot_mono_ns, 0)));
	text_unum(out, l.vsize);
	text_unum(out, u.rss_pages);
	text_unum(out, s.rss_limit);
	stat_tail(out, t, &s, &l);
	tty_put(s.tty);
	return 0;
}

int proc_show_statm(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct proc_usage u;
	struct mm *mm;

	if (!t)
		return -ESRCH;
	proc_usage(t, false, &u);
	mm = task_mm_get(t);
	if (!mm) {
		text_puts(out, "0 0 0 0 0 0 0\n");
		return 0;
	}
	command_lock(&mm->lock);
	text_printf(out, "%lu %lu %lu %lu 0 %lu 0\n", mm->total_vm, u.rss_pages, u.shared_pages,
		    (ROUND_UP(mm->end_code, PAGE_SIZE) - ROUND_DOWN(mm->start_code, PAGE_SIZE)) /
			    PAGE_SIZE,
		    mm->data_vm + mm->stack_vm);
	mutex_unlock(&mm->lock);
	mm_put(mm);
	return 0;
}

/* --- status
 * ------------------------------------------------------------------------------------------- */

static const char *state_name(char letter)
{
	switch (letter) {
	case 'S':
		return "S (sleeping)";
	case 'D':
		return "D (disk sleep)";
	case 'T':
		return "T (stopped)";
	case 't':
		return "t (tracing stop)";
	case 'Z':
		return "Z (zombie)";
	case 'X':
		return "X (dead)";
	default:
		return "R (running)";
	}
}

static void status_ids(struct text *out, struct task *t, const struct snapshot *s)
{
	struct cred *c = task_cred_get(t);
	struct files *files = task_files_get(t);
	struct fs *fs = task_fs_get(t);

	if (fs) {
		text_printf(out, "Umask:\t%04o\n", (unsigned)fs->umask);
		fs_put(fs);
	}
	text_printf(out,
		    "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t%d\n"
		    "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%d\nGroups:\t",
		    state_name(s->state), s->tgid, s->pid, s->ppid, s->tracer,
		    uid_shown_here(c->uid), uid_shown_here(c->euid), uid_shown_here(c->suid),
		    uid_shown_here(c->fsuid), gid_shown_here(c->gid), gid_shown_here(c->egid),
		    gid_shown_here(c->sgid), gid_shown_here(c->fsgid), files ? files->size : 0);
	for (uint32_t i = 0; i < c->ngroups; i++)
		text_printf(out, "%s%u", i ? " " : "", gid_shown_here(c->groups[i]));
	text_puts(out, " \n");
	if (files)
		files_put(files);
	cred_put(c);
}

static void status_ns_ids(struct text *out, struct task *t, struct pid_ns *ns)
{
	struct thread_group *g = t->group;

	READ_GUARD(&kernel.tasklist_lock);
	const struct {
		const char *name;
		struct pid *pid;
	} ids[] = {
		{"NStgid", g->tgid}, {"NSpid", t->pid}, {"NSpgid", g->pgrp}, {"NSsid", g->session}};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		text_printf(out, "%s:", ids[i].name);
		for (unsigned d = ns->depth; ids[i].pid && d <= ids[i].pid->depth; d++)
			text_printf(out, "\t%d", ids[i].pid->numbers[d].nr);
		text_puts(out, "\n");
	}
	text_puts(out, "Kthread:\t0\n");
}

static void status_memory(struct text *out, struct task *t)
{
	struct mm *mm = task_mm_get(t);
	struct proc_usage u;
	uint64_t text, lib;

	if (!mm)
		return;
	proc_usage(t, false, &u);
	command_lock(&mm->lock);
	mm->hiwater_vm = MAX(mm->hiwater_vm, mm->total_vm);
	mm->hiwater_rss = MAX(mm->hiwater_rss, u.rss_pages);
	text = (ROUND_UP(mm->end_code, PAGE_SIZE) - ROUND_DOWN(mm->start_code, PAGE_SIZE)) >> 10;
	lib = KB(mm->exec_vm) > text ? KB(mm->exec_vm) - text : 0;
	text_printf(out,
		    "VmPeak:\t%8lu kB\nVmSize:\t%8lu kB\nVmLck:\t%8lu kB\nVmPin:\t%8u kB\n"
		    "VmHWM:\t%8lu kB\nVmRSS:\t%8lu kB\nRssAnon:\t%8lu kB\nRssFile:\t%8lu kB\n"
		    "RssShmem:\t%8u kB\nVmData:\t%8lu kB\nVmStk:\t%8lu kB\nVmExe:\t%8lu kB\n"
		    "VmLib:\t%8lu kB\nVmPTE:\t%8u kB\nVmSwap:\t%8u kB\nHugetlbPages:\t%8u kB\n"
		    "CoreDumping:\t0\nTHP_enabled:\t1\n",
		    KB(mm->hiwater_vm), KB(mm->total_vm), KB(mm->locked_vm), 0, KB(mm->hiwater_rss),
		    KB(u.rss_pages), KB(u.rss_pages - MIN(u.shared_pages, u.rss_pages)),
		    KB(u.shared_pages), 0, KB(mm->data_vm), KB(mm->stack_vm), text, lib, 0, 0, 0);
	mutex_unlock(&mm->lock);
	mm_put(mm);
}

static void status_signals(struct text *out, struct task *t, const struct snapshot *s)
{
	struct cred *c = task_cred_get(t);

	text_printf(out,
		    "Threads:\t%d\nSigQ:\t%lu/%lu\nSigPnd:\t%016lx\nShdPnd:\t%016lx\n"
		    "SigBlk:\t%016lx\nSigIgn:\t%016lx\nSigCgt:\t%016lx\n",
		    s->num_threads, s->queued, s->queue_limit, s->pending, s->shared_pending,
		    s->blocked, s->ignored, s->caught);
	text_printf(out,
		    "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\n"
		    "CapAmb:\t%016lx\nNoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%u\n"
		    "Speculation_Store_Bypass:\tvulnerable\n"
		    "SpeculationIndirectBranch:\talways enabled\n",
		    c->cap_inheritable, c->cap_permitted, c->cap_effective, c->cap_bset,
		    c->cap_ambient, t->no_new_privs, seccomp_mode(t), seccomp_filters(t));
	cred_put(c);
}

/* "3" and "0-1": the mask and the list of a set of CPUs. */
static void status_cpus(struct text *out, struct task *t)
{
	bool first = true;

	text_puts(out, "Cpus_allowed:\t");
	for (int word = (machine.num_cpus - 1) / 32; word >= 0; word--) {
		uint32_t bits = 0;

		for (int i = 0; i < 32; i++)
			if (word * 32 + i < machine.num_cpus &&
			    CPU_ISSET(word * 32 + i, &t->affinity))
				bits |= 1u << i;
		text_printf(out, first ? "%x" : ",%08x", bits);
		first = false;
	}
	text_puts(out, "\nCpus_allowed_list:\t");
	first = true;
	for (int i = 0; i < machine.num_cpus; i++) {
		int end = i;

		if (!CPU_ISSET(i, &t->affinity))
			continue;
		while (end + 1 < machine.num_cpus && CPU_ISSET(end + 1, &t->affinity))
			end++;
		text_printf(out, "%s%d", first ? "" : ",", i);
		if (end > i)
			text_printf(out, "-%d", end);
		first = false;
		i = end;
	}
	text_printf(out,
		    "\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t%lu\n"
		    "nonvoluntary_ctxt_switches:\t0\n",
		    t->nvcsw);
}

int proc_show_status(struct text *out, struct inode *inode)
{
	struct task *__put_task t = proc_task_get(inode);
	struct pid_ns *ns = proc_ns(inode->sb);
	struct snapshot s;
	char comm[TASK_COMM_LEN + 1] = {0};

	if (!t)
		return -ESRCH;
	snapshot_take(t, ns, &s);
	memcpy(comm, t->comm, TASK_COMM_LEN);
	text_puts(out, "Name:\t");
	text_escaped(out, comm, "\n\\");
	text_puts(out, "\n");
	status_ids(out, t, &s);
	status_ns_ids(out, t, ns);
	status_memory(out, t);
	status_signals(out, t, &s);
	status_cpus(out, t);
	tty_put(s.tty);
	return 0;
}
