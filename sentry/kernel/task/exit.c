/*
 * The end of threads and processes (man 2 exit, exit_group; man 3 wait's zombies).
 *
 * A thread passes two marks: TF_EXITING, from which it takes no signals and counts no more in
 * num_live, and exit_notify(), from which it counts no more in num_threads. The group is a zombie
 * when num_threads is 0; the leader stays in the list of threads until the group is reaped.
 */
#include <pthread.h>
#include <string.h>

#include "base/thread.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

void task_exit(struct task *t, int status)
{
	t->exit_code = status;
	atomic_fetch_or(&t->flags, TF_EXIT);
}

void group_exit(struct thread_group *g, int status)
{
	struct sighand *sh = lock_sighand(g);

	group_exit_locked(g, status, current);
	mutex_unlock(&sh->lock);
}

/* --- vfork -------------------------------------------------------------------------------------
 */

void vfork_put(struct vfork *v)
{
	if (refcount_dec(&v->refs))
		free(v);
}

void vfork_release(struct task *t)
{
	struct vfork *v = atomic_exchange(&t->vfork, NULL);

	if (!v)
		return;
	__atomic_store_n(&v->done, true, __ATOMIC_RELEASE);
	wake_up_all(&v->wait, ~0u);
	vfork_put(v);
}

/* --- telling the parent ------------------------------------------------------------------------
 */

static void child_siginfo(struct thread_group *g, guest_siginfo_t *info)
{
	struct thread_group *parent = g->parent;
	struct cred *cred = task_cred_get(g->leader);

	memset(info, 0, sizeof(*info));
	info->si_signo = SIGCHLD;
	info->si_pid = group_nr_ns(g, parent->tgid->ns);
	info->si_uid = task_shown_uid(parent->leader, cred->uid);
	cred_put(cred);
	/* In clock ticks of 10 ms. */
	info->si_utime = g->dead.utime / 10000000;
	info->si_stime = g->dead.stime / 10000000;
}

/* Tells the parent that g is a zombie. True: nobody will wait for it, reap it now. */
static bool notify_parent_exit(struct thread_group *g)
{
	struct thread_group *parent = g->parent;
	struct ksigaction *ka;
	struct sighand *sh;
	guest_siginfo_t info;
	int sig = g->exit_signal;
	bool reap = false;

	if (!parent)
		return true;
	child_siginfo(g, &info);
	info.si_signo = sig;
	if (g->exit_status & 0x7f) {
		info.si_code = g->exit_status & 0x80 ? CLD_DUMPED : CLD_KILLED;
		info.si_status = g->exit_status & 0x7f;
	} else {
		info.si_code = CLD_EXITED;
		info.si_status = g->exit_status >> 8 & 0xff;
	}
	sh = lock_sighand(parent);
	if (sig == SIGCHLD && !task_traced(g->leader)) {
		ka = &sh->action[SIGCHLD - 1];
		reap = ka->handler == 1 || (ka->flags & SA_NOCLDWAIT);
		if (ka->handler == 1)
			sig = 0;
	}
	if (sig > 0)
		send_signal_locked(parent, parent->leader, sig, &info, true, false);
	mutex_unlock(&sh->lock);
	wake_up_all(&parent->child_wait, ~0u);
	return reap;
}

void notify_parent_jobctl(struct thread_group *g, int why)
{
	struct thread_group *parent = g->parent;
	struct ksigaction *ka;
	struct sighand *sh;
	guest_siginfo_t info;

	if (!parent)
		return;
	child_siginfo(g, &info);
	info.si_code = why;
	info.si_status = why == CLD_STOPPED ? g->stop_signal : SIGCONT;
	sh = lock_sighand(parent);
	ka = &sh->action[SIGCHLD - 1];
	if (ka->handler != 1 && !(ka->flags & SA_NOCLDSTOP))
		send_signal_locked(parent, parent->leader, SIGCHLD, &info, true, false);
	mutex_unlock(&sh->lock);
	wake_up_all(&parent->child_wait, ~0u);
}

/* --- the family --------------------------------------------------------------------------------
 */

/* Who inherits g's children: the nearest subreaper above it in its namespace, else init; NULL when
 * g is init itself: its children are being killed. */
static struct thread_group *find_reaper(struct thread_group *g)
{
	struct pid_ns *ns = g->tgid->ns;
	struct thread_group *p;

	for (p = g->parent; p && p->tgid->ns == ns; p = p->parent)
		if (p->is_child_subreaper && p->num_threads)
			return p;
	return ns->init != g ? ns->init : NULL;
}

static struct task *living_thread(struct thread_group *g)
{
	struct task *t;

	for_each_thread (g, t)
		if (!(atomic_load(&t->flags) & TF_EXITING))
			return t;
	return NULL;
}

/* man 2 PR_SET_PDEATHSIG: the parent that dies is a thread, even if its process goes on. */
static void parent_thread_died(struct thread_group *child, struct task *heir)
{
	struct task *t;

	child->parent_thread = heir;
	for_each_thread (child, t)
		if (t->pdeath_signal)
			group_send_signal(child, t->pdeath_signal, NULL);
}

/* t exits, other threads of its process live on: one of them has its children now. */
static void leave_children(struct task *t)
{
	struct task *heir = living_thread(t->group);
	struct thread_group *child;

	TAILQ_FOREACH (child, &t->group->children, sibling)
		if (child->parent_thread == t)
			parent_thread_died(child, heir);
}

/* By another process than its parent, which hears of its end only afterwards. */
static bool traced_by_another(struct thread_group *g)
{
	return task_traced(g->leader) && atomic_load(&g->leader->trace)->tracer->group != g->parent;
}

static void reparent(struct thread_group *child, struct thread_group *reaper)
{
	struct task *t;

	TAILQ_REMOVE(&child->parent->children, child, sibling);
	child->parent = reaper;
	if (reaper)
		TAILQ_INSERT_TAIL(&reaper->children, child, sibling);
	parent_thread_died(child, reaper ? living_thread(reaper) : NULL);
	for_each_thread (child, t)
		if (t->ctx)
			platform_set_parent(t->ctx,
					    reaper ? group_nr_ns(reaper, task_pid_ns(t)) : 0);
	child->exit_signal = SIGCHLD;
	if (child->zombie && !traced_by_another(child))
		zombie_to_parent(child);
}

void zombie_to_parent(struct thread_group *g)
{
	if (notify_parent_exit(g))
		group_release(g);
}

static void kill_namespace(struct pid_ns *ns)
{
	struct thread_group *g;

	ns->dying = true;
	ns->init = NULL;
	TAILQ_FOREACH (g, &kernel.groups, all_link)
		if (g->num_threads && group_nr_ns(g, ns))
			group_kill(g, SIGKILL);
}

static void finish_zombie(struct thread_group *g)
{
	g->zombie = true;
	wake_up_all(&g->tgid->exit_wait, ~0u);
	if (!g->parent) {
		kernel_group_exited();
		wake_up_all(&kernel.exit_wait, ~0u);
	}
	if (traced_by_another(g))
		trace_notify(g->leader, g->exit_status & 0x7f ? CLD_KILLED : CLD_EXITED,
			     g->exit_status & 0x7f ? g->exit_status & 0x7f : g->exit_status >> 8);
	else
		zombie_to_parent(g);
}

/* Are the numbers that its dead init still needs the only ones of the namespace? */
static bool only_init_left(struct pid_ns *ns, struct thread_group *init)
{
	unsigned own = 1;

	if (init->pgrp != init->tgid && pid_nr_ns(init->pgrp, ns))
		own++;
	if (init->session != init->tgid && init->session != init->pgrp &&
	    pid_nr_ns(init->session, ns))
		own++;
	return pid_ns_population(ns) <= own;
}

void pid_ns_shrank(struct pid_ns *ns)
{
	struct thread_group *init = ns->ending;

	if (!init || !only_init_left(ns, init))
		return;
	ns->ending = NULL;
	finish_zombie(init);
}

static void group_becomes_zombie(struct thread_group *g)
{
	struct pid_ns *ns = g->tgid->ns;
	struct thread_group *reaper, *child;

	check_orphaned_pgrps(g);
	reaper = find_reaper(g);
	/* One that goes can take others of the list along: pid_ns_shrank(). */
	while ((child = TAILQ_FIRST(&g->children)))
		reparent(child, reaper);
	if (ns->init == g) {
		kill_namespace(ns);
		/* Its end is seen only when all others of the namespace have been reaped (man 7
		 * pid_namespaces). Nobody waits for those of a container: it goes as a whole. */
		if (g->parent && !only_init_left(ns, g)) {
			ns->ending = g;
			return;
		}
	}
	finish_zombie(g);
}

/* --- one thread --------------------------------------------------------------------------------
 */

/* Asking the host for an address space's page faults, peak memory and share of system time costs
 * more than many a small process's whole life: those that used less CPU than this are not asked
 * about. */
#define WORTH_ASKING_NS 2000000

void account_thread(struct task *t, struct cpu_usage *cpu)
{
	struct thread_group *g = t->group;
	struct platform_usage u;
	uint64_t ns = 0, sys = 0, peak = 0, host;

	if (platform_ctx_cpu_ns(t->ctx, &ns))
		ns = 0;
	/* The rest is the address space's, taken once, by its last thread. A vfork child's is its
	 * parent's. */
	if (ns >= WORTH_ASKING_NS && t->mm && refcount_read(&t->mm->refs) == 1 &&
	    !platform_as_usage(t->mm->as, &u)) {
		if (platform_as_peak_rss(t->mm->as, &peak))
			peak = u.rss_pages;
		host = u.utime_ns + u.stime_ns;
		sys = host ? (uint64_t)((double)ns * (double)u.stime_ns / (double)host) : 0;
		MUTEX_GUARD(&g->lock);
		g->dead.minflt += u.minflt;
		g->dead.majflt += u.majflt;
		g->dead.maxrss = MAX(g->dead.maxrss, peak * (PAGE_SIZE / 1024));
	}
	cpu->utime = ns - sys;
	cpu->stime = sys;
}

void account_cpu(struct thread_group *g, const struct cpu_usage *cpu, const struct task *t)
{
	g->dead.utime += cpu->utime;
	g->dead.stime += cpu->stime;
	g->dead.nvcsw += t->nvcsw;
}

/* True if it was the last living thread of the group. */
static bool mark_exiting(struct task *t, int status)
{
	struct thread_group *g = t->group;
	struct sighand *sh = lock_sighand(g);
	bool dead, stopped = false;

	atomic_fetch_or(&t->flags, TF_EXITING);
	t->exit_code = status;
	if (!g->exiting && t == g->leader)
		g->exit_status = status;
	if (t->jobctl & JOBCTL_STOP_COUNTED)
		stopped = --g->group_stop_count == 0 && !g->stopped;
	t->jobctl = 0;
	dead = --g->num_live == 0;
	if (dead)
		g->exiting = true;
	else if (stopped)
		g->stopped = g->stop_notify = true;
	retarget_pending(t, ~t->blocked);
	mutex_unlock(&sh->lock);
	if (stopped && !dead) {
		read_lock(&kernel.tasklist_lock);
		notify_parent_jobctl(g, CLD_STOPPED);
		read_unlock(&kernel.tasklist_lock);
	}
	return dead;
}

static void exit_group_resources(struct thread_group *g)
{
	bool has_tty;

	group_timers_exit(g);
	ipc_group_exit(current);
	read_lock(&kernel.tasklist_lock);
	has_tty = g->tty || g->session == g->tgid;
	read_unlock(&kernel.tasklist_lock);
	if (has_tty && task_tty_ops)
		task_tty_ops->disassociate(g, true);
}

static void exit_resources(struct task *t)
{
	struct mm *mm;
	struct files *files;
	struct fs *fs;
	struct mnt_ns *mnt_ns;
	struct ipc_ns *ipc_ns;
	struct net_ns *net_ns;

	mutex_lock(&t->group->lock);
	mm = steal_ptr(&t->mm);
	files = steal_ptr(&t->files);
	mutex_unlock(&t->group->lock);
	if (files)
		files_put(files);
	if (mm)
		mm_put(mm);
	mutex_lock(&t->group->lock);
	fs = steal_ptr(&t->fs);
	mnt_ns = steal_ptr(&t->mnt_ns);
	ipc_ns = steal_ptr(&t->ipc_ns);
	net_ns = steal_ptr(&t->net_ns);
	mutex_unlock(&t->group->lock);
	if (fs)
		fs_put(fs);
	if (mnt_ns)
		mnt_ns_put(mnt_ns);
	if (ipc_ns)
		ipc_ns_put(ipc_ns);
	if (net_ns)
		net_ns_put(net_ns);
}

static void release_thread(struct task *t)
{
	struct trace *tr = atomic_load(&t->trace);

	if (likely(!task_traced(t))) {
		task_release(t);
		return;
	}
	tr->dead = true;
	task_release(t);
	trace_thread_died(t);
}

/* The context goes together with the task's place in the list of threads: who holds tasklist_lock
 * sees both or none. Returns it, to be ended. */
static struct platform_ctx *exit_notify(struct task *t, const struct cpu_usage *cpu)
{
	struct thread_group *g = t->group;
	struct platform_ctx *ctx;
	struct sighand *sh;
	WRITE_GUARD(&kernel.tasklist_lock);

	if (unlikely(!TAILQ_EMPTY(&g->tracees)))
		trace_tracer_exits(t);
	sh = lock_sighand(g);
	ctx = t->ctx;
	t->ctx = NULL;
	mutex_unlock(&sh->lock);
	account_cpu(g, cpu, t);
	g->num_threads--;
	if (g->num_threads)
		leave_children(t);
	if (t == g->leader)
		atomic_store(&t->state, TASK_ZOMBIE);
	else
		release_thread(t);
	if (!g->num_threads)
		group_becomes_zombie(g);
	else
		wake_up_all(&g->thread_exit_wait, ~0u);
	return ctx;
}

void do_exit(struct task *t, int status)
{
	bool group_dead = mark_exiting(t, status);
	struct platform_ctx *ctx;
	struct cpu_usage cpu;

	if (t->mm)
		futex_task_exit(t);
	vfork_release(t);
	account_thread(t, &cpu);
	if (group_dead)
		exit_group_resources(t->group);
	exit_resources(t);
	ctx = exit_notify(t, &cpu);
	current = NULL;
	platform_ctx_exit(ctx);
	task_put(t);
}

/* --- stubs that died while their thread was in the guest ---------------------------------------
 */

static struct mutex dead_lock = MUTEX_INIT;
static pthread_cond_t dead_cond = PTHREAD_COND_INITIALIZER;
static struct task *dead_tasks;

void kernel_on_stub_death(struct platform_ctx *ctx, void *owner)
{
	struct task *t = owner;

	if (!t)
		return;
	mutex_lock(&dead_lock);
	t->next_dead = dead_tasks;
	dead_tasks = t;
	pthread_cond_signal(&dead_cond);
	mutex_unlock(&dead_lock);
}

static void *dead_context_main(void *arg)
{
	for (;;) {
		struct task *t;

		mutex_lock(&dead_lock);
		while (!dead_tasks)
			mutex_wait(&dead_lock, &dead_cond);
		t = dead_tasks;
		dead_tasks = t->next_dead;
		mutex_unlock(&dead_lock);
		current = t;
		group_kill(t->group, SIGKILL);
		do_exit(t, t->group->exit_status);
	}
	return NULL;
}

int dead_context_thread_start(void)
{
	return thread_start(dead_context_main, NULL, 0);
}
