/* Starting the kernel, and its face towards the host: containers' first processes. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/exec/exec.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/run/container.h"
#include "sentry/kernel/run/kernel.h"
#include "sentry/kernel/run/run_internal.h"
#include "sentry/kernel/seccomp/seccomp.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/mm/mm.h"
#include "sentry/syscalls/strace.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

static struct mutex exit_lock = MUTEX_INIT;
static pthread_cond_t exit_cond = PTHREAD_COND_INITIALIZER;

int kernel_init(int num_cpus, uint64_t total_memory)
{
	TAILQ_INIT(&kernel.groups);
	wait_queue_init(&kernel.exit_wait);
	machine.num_cpus = num_cpus;
	machine.total_memory = total_memory;
	machine.boot_mono_ns = monotonic_ns();
	machine.boot_time_ns = clock_ns(CLOCK_REALTIME);
	kernel.root_pid_ns = pid_ns_create(&root_user_ns, NULL);
	if (!kernel.root_pid_ns)
		return -ENOMEM;
	platform_set_worker_main(worker_main);
	return 0;
}

static void *first_worker(void *arg)
{
	worker_main();
	return NULL;
}

int kernel_start(void)
{
	int err = dead_context_thread_start();

	wait_keeps_threads = kernel.watched = strace_enabled;
	if (!err)
		err = ktimer_start_thread();
	if (!err)
		err = platform_start_threads();
	if (!err)
		err = thread_start(first_worker, NULL, 0);
	return err;
}

/* --- a container's first process ---------------------------------------------------------------
 */

/* Namespaces of others that it lives in; what is NULL there is its own. */
static const struct container_ns *joined(const struct init_params *p)
{
	static const struct container_ns none;

	return p->join ? p->join : p->share ? p->share : &none;
}

static int init_namespaces(struct task *t, struct thread_group *g, const struct init_params *p)
{
	const struct container_ns *from = joined(p);
	struct pid_ns *ns = from->pid ? pid_ns_get(from->pid)
				      : pid_ns_create(&root_user_ns, kernel.root_pid_ns);
	int err;

	if (!ns)
		return -ENOMEM;
	err = pid_alloc(ns, NULL, 0, &t->pid);
	if (err) {
		pid_ns_put(ns);
		return err;
	}
	t->pid_ns_children = ns;
	/* The second reference is the table's. */
	pid_get(t->pid);
	g->tgid = pid_get(t->pid);
	t->uts_ns = from->uts ? uts_ns_get(from->uts) : uts_ns_create(&root_user_ns, NULL);
	t->ipc_ns = from->ipc ? ipc_ns_get(from->ipc) : ipc_ns_create(&root_user_ns);
	t->net_ns = from->net ? net_ns_get(from->net) : net_ns_create(&root_user_ns);
	if (!t->uts_ns || !t->ipc_ns || !t->net_ns)
		return -ENOMEM;
	if (!from->net)
		t->net_ns->lo_up = true;
	if (!from->uts) {
		strncpy(t->uts_ns->nodename, p->hostname ? p->hostname : "moat", UTS_NAME_LEN);
		strncpy(t->uts_ns->domainname, p->domainname ? p->domainname : "(none)",
			UTS_NAME_LEN);
	}
	return 0;
}

static int init_files(struct task *t, const struct init_params *p, const char **what)
{
	struct path root = {0}, cwd = {0};
	int err = 0;

	t->files = files_alloc();
	if (!t->files)
		return -ENOMEM;
	for (int fd = 0; fd < 3; fd++) {
		if (!p->stdio[fd])
			continue;
		err = fd_install_from(t->files, fd, file_get(p->stdio[fd]), false);
		if (err < 0) {
			file_put(p->stdio[fd]);
			*what = "standard input and output";
			return err;
		}
	}
	for (unsigned i = 0; i < p->nextra; i++) {
		err = fd_install_from(t->files, 3 + (int)i, file_get(p->extra[i]), false);
		if (err < 0) {
			file_put(p->extra[i]);
			*what = "extra files";
			return err;
		}
	}
	mnt_ns_root(t->mnt_ns, &root);
	t->fs = fs_alloc(&root, &root, p->umask);
	path_put(&root);
	if (!t->fs)
		return -ENOMEM;
	if (p->cwd && strcmp(p->cwd, "/")) {
		err = path_lookupat(AT_FDCWD, p->cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &cwd);
		if (err) {
			*what = "working directory";
			return err;
		}
		path_put(&t->fs->cwd);
		t->fs->cwd = cwd;
	}
	return 0;
}

static int init_group(struct task *t, struct thread_group *g, const struct init_params *p)
{
	struct ucount *u = ucount_get(t->cred->uid);

	if (!u)
		return -ENOMEM;
	ucount_charge_task(u, UINT64_MAX);
	task_account(t, u);
	t->sighand = sighand_alloc();
	if (!t->sighand)
		return -ENOMEM;
	g->sighand = sighand_get(t->sighand);
	memcpy(g->rlim, p->rlim, sizeof(g->rlim));
	g->exit_signal = SIGCHLD;
	g->oom_score_adj = p->oom_score_adj;
	g->unkillable = p->unkillable;
	if (p->container) {
		g->container = container_mark_get(p->container);
		t->counted = container_mark_get(p->container);
		container_mark_charge(p->container, true);
	}
	group_timers_init(g);
	return 0;
}

static void init_task(struct task *t, const struct init_params *p)
{
	t->no_new_privs = p->no_new_privs;
	t->timer_slack = t->default_timer_slack = 50000;
	t->altstack_flags = SS_DISABLE;
	t->sched_policy = p->sched_policy;
	t->sched_priority = p->sched_priority;
	t->sched_reset_on_fork = p->sched_reset_on_fork;
	t->nice = p->nice;
	t->ioprio = p->ioprio;
	CPU_ZERO(&t->affinity);
	for (int cpu = 0; cpu < machine.num_cpus && cpu < CPU_SETSIZE; cpu++)
		CPU_SET(cpu, &t->affinity);
}

/* -ESRCH: the namespace that it joins has ended. */
static int init_publish(struct task *t, struct thread_group *g, const struct init_params *p)
{
	int err = 0;
	WRITE_GUARD(&kernel.tasklist_lock);

	if (joined(p)->pid && (t->pid->ns->dying || !t->pid->ns->init))
		err = -ESRCH;
	g->leader = t;
	task_link(t);
	group_link(g, NULL, t->pid, t->pid);
	if (!joined(p)->pid)
		t->pid->ns->init = g;
	return err;
}

static void init_unpublish(struct thread_group *g)
{
	write_lock(&kernel.tasklist_lock);
	g->num_threads = g->num_live = 0;
	if (g->tgid->ns->init == g)
		g->tgid->ns->init = NULL;
	group_release(g);
	write_unlock(&kernel.tasklist_lock);
}

static void put_files(const struct init_params *p)
{
	for (int i = 0; i < 3; i++)
		if (p->stdio[i])
			file_put(p->stdio[i]);
	for (unsigned i = 0; i < p->nextra; i++)
		file_put(p->extra[i]);
}

/* This thread serves no context any more: what it listens on is another's. */
static void let_go(void)
{
	platform_block_begin();
	platform_block_end();
}

static int start_program(struct task *t, const struct init_params *p)
{
	struct file *program;
	int err;

	if (!p->make_program)
		return init_program(t, p->path, p->argv, p->envp);
	err = p->make_program(p->make_program_arg, &program);
	if (err)
		return err;
	err = task_exec(t, program, p->path, p->argv, p->envp);
	file_put(program);
	return err;
}

int kernel_create_process(const struct init_params *p, struct thread_group **group,
			  const char **what)
{
	struct task *t = task_alloc();
	struct thread_group *g = group_alloc();
	int err;

	*what = "no memory";
	if (!t || !g) {
		put_files(p);
		return -ENOMEM;
	}
	t->group = g;
	t->cred = p->cred;
	t->mnt_ns = p->join ? mnt_ns_get(p->join->mnt) : p->mnt_ns;
	init_task(t, p);
	current = t;
	err = init_group(t, g, p);
	if (!err)
		err = init_namespaces(t, g, p);
	if (!err)
		err = init_files(t, p, what);
	put_files(p);
	if (err)
		goto out;
	err = init_publish(t, g, p);
	if (!err && p->console)
		task_tty_ops->set_controlling(p->console, g);
	*what = p->path;
	if (!err)
		err = start_program(t, p);
	if (!err && p->ignore_children)
		t->sighand->action[SIGCHLD - 1].handler = 1; /* SIG_IGN */
	if (err) {
		init_unpublish(g);
		goto out;
	}
	group_get(g);
	if (p->nseccomp) {
		*what = "seccomp profile";
		err = seccomp_impose_filter(t, p->seccomp, p->nseccomp, 0);
	}
	current = NULL;
	if (err) {
		kernel_discard_process(g);
		group_put(g);
		return err;
	}
	*group = g;
	/* Whoever starts it may be another thread. */
	platform_hand_over(t->ctx);
	return 0;
out:
	current = NULL;
	task_put(t);
	let_go();
	return err;
}

int kernel_start_process(struct thread_group *g)
{
	int err = platform_resume(g->leader->ctx);

	if (err)
		kernel_discard_process(g);
	return err;
}

void kernel_discard_process(struct thread_group *g)
{
	current = g->leader;
	group_kill(g, SIGKILL);
	do_exit(g->leader, SIGKILL);
	let_go();
}

/* --- from the host -----------------------------------------------------------------------------
 */

/* Written to when a process without a parent has ended. */
static int exit_fd = -1;

void kernel_set_exit_fd(int fd)
{
	exit_fd = fd;
}

void kernel_group_exited(void)
{
	uint64_t one = 1;

	if (exit_fd >= 0 && write(exit_fd, &one, sizeof(one)) < 0)
		log_error("kernel: exit eventfd: %d", errno);
	mutex_lock(&exit_lock);
	pthread_cond_broadcast(&exit_cond);
	mutex_unlock(&exit_lock);
}

static bool group_gone(struct thread_group *g)
{
	return g->num_threads == 0;
}

int kernel_wait_group(struct thread_group *group)
{
	mutex_lock(&exit_lock);
	while (!group_gone(group))
		mutex_wait(&exit_lock, &exit_cond);
	mutex_unlock(&exit_lock);
	/* Its last thread still holds the lock while it buries the group. */
	READ_GUARD(&kernel.tasklist_lock);
	return group->exit_status;
}

bool kernel_group_ended(struct thread_group *group, int *status)
{
	if (!group_gone(group))
		return false;
	/* Its last thread still holds the lock while it buries the group. */
	READ_GUARD(&kernel.tasklist_lock);
	*status = group->exit_status;
	return true;
}

int kernel_signal_group(struct thread_group *group, int sig)
{
	if (sig < 0 || sig > GUEST_NSIG)
		return -EINVAL;
	if (group_gone(group))
		return -ESRCH;
	return sig ? group_send_signal(group, sig, NULL) : 0;
}
