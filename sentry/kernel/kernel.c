/* Starting the kernel, and its face towards the host: containers' first processes. */
#include <pthread.h>
#include <string.h>

#include "base/thread.h"
#include "sentry/kernel/lifecycle.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

static pthread_mutex_t exit_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t exit_cond = PTHREAD_COND_INITIALIZER;

int kernel_init(int num_cpus, uint64_t total_memory)
{
	TAILQ_INIT(&kernel.groups);
	wait_queue_init(&kernel.exit_wait);
	kernel.num_cpus = num_cpus;
	kernel.total_memory = total_memory;
	kernel.boot_mono_ns = monotonic_ns();
	kernel.boot_time_ns = clock_ns(CLOCK_REALTIME);
	kernel.root_pid_ns = pid_ns_create(NULL);
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

	if (!err && ktimer_start_thread)
		err = ktimer_start_thread();
	if (!err)
		err = platform_start_threads();
	if (!err)
		err = thread_start(first_worker, NULL, 0);
	return err;
}

/* --- a container's first process ---------------------------------------------------------------
 */

static int init_namespaces(struct task *t, struct thread_group *g, const struct init_params *p)
{
	struct pid_ns *ns = pid_ns_create(kernel.root_pid_ns);
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
	t->uts_ns = uts_ns_create(NULL);
	t->ipc_ns = ipc_ns_create();
	t->net_ns = net_ns_create();
	if (!t->uts_ns || !t->ipc_ns || !t->net_ns)
		return -ENOMEM;
	strncpy(t->uts_ns->nodename, p->hostname ? p->hostname : "moat", UTS_NAME_LEN);
	strncpy(t->uts_ns->domainname, p->domainname ? p->domainname : "(none)", UTS_NAME_LEN);
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
	if (group_timers_init)
		group_timers_init(g);
	return 0;
}

static void init_task(struct task *t, const struct init_params *p)
{
	t->no_new_privs = p->no_new_privs;
	t->timer_slack = t->default_timer_slack = 50000;
	t->altstack_flags = SS_DISABLE;
	CPU_ZERO(&t->affinity);
	for (int cpu = 0; cpu < kernel.num_cpus && cpu < CPU_SETSIZE; cpu++)
		CPU_SET(cpu, &t->affinity);
}

static void init_publish(struct task *t, struct thread_group *g)
{
	write_lock(&kernel.tasklist_lock);
	g->leader = t;
	task_link(t);
	group_link(g, NULL, t->pid, t->pid);
	t->pid->ns->init = g;
	write_unlock(&kernel.tasklist_lock);
}

static void init_unpublish(struct thread_group *g)
{
	write_lock(&kernel.tasklist_lock);
	g->num_threads = g->num_live = 0;
	g->tgid->ns->init = NULL;
	group_release(g);
	write_unlock(&kernel.tasklist_lock);
}

int kernel_create_init(const struct init_params *p, struct thread_group **group, const char **what)
{
	struct task *t = task_alloc();
	struct thread_group *g = group_alloc();
	int err;

	*what = "no memory";
	if (!t || !g)
		return -ENOMEM;
	t->group = g;
	t->cred = p->cred;
	t->mnt_ns = p->mnt_ns;
	init_task(t, p);
	current = t;
	err = init_group(t, g, p);
	if (!err)
		err = init_namespaces(t, g, p);
	if (!err)
		err = init_files(t, p, what);
	for (int i = 0; i < 3; i++)
		if (p->stdio[i])
			file_put(p->stdio[i]);
	if (err)
		goto out;
	init_publish(t, g);
	if (p->console && tty_set_controlling)
		tty_set_controlling(p->console, g);
	*what = p->path;
	err = init_program(t, p);
	if (err) {
		init_unpublish(g);
		goto out;
	}
	*group = group_get(g);
	current = NULL;
	err = platform_resume(t->ctx);
	if (err) {
		*what = "cannot start the first process";
		current = t;
		group_kill(g, SIGKILL);
		do_exit(t, SIGKILL);
		group_put(*group);
	}
	return err;
out:
	current = NULL;
	task_put(t);
	return err;
}

/* --- from the host -----------------------------------------------------------------------------
 */

void kernel_group_exited(void)
{
	pthread_mutex_lock(&exit_lock);
	pthread_cond_broadcast(&exit_cond);
	pthread_mutex_unlock(&exit_lock);
}

static bool group_gone(struct thread_group *g)
{
	return __atomic_load_n(&g->num_threads, __ATOMIC_ACQUIRE) == 0;
}

int kernel_wait_group(struct thread_group *group)
{
	pthread_mutex_lock(&exit_lock);
	while (!group_gone(group))
		pthread_cond_wait(&exit_cond, &exit_lock);
	pthread_mutex_unlock(&exit_lock);
	/* Its last thread still holds the lock while it buries the group. */
	READ_GUARD(&kernel.tasklist_lock);
	return group->exit_status;
}

int kernel_signal_group(struct thread_group *group, int sig)
{
	if (sig < 0 || sig > GUEST_NSIG)
		return -EINVAL;
	if (group_gone(group))
		return -ESRCH;
	return sig ? group_send_signal(group, sig, NULL) : 0;
}
