#include "sentry/kernel/run/container.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/time/time.h"
#include "sentry/vfs/mount.h"

/* How often a pause looks, a millisecond apart, and after how many looks it kicks again. */
#define PARK_TRIES 20000
#define KICK_EVERY 64

void container_ns_get(struct thread_group *init, struct container_ns *ns)
{
	struct task *t = init->leader;

	*ns = (struct container_ns){
		.pid = pid_ns_get(t->pid->ns),
		.uts = uts_ns_get(t->uts_ns),
		.ipc = ipc_ns_get(t->ipc_ns),
		.net = net_ns_get(t->net_ns),
		.mnt = mnt_ns_get(t->mnt_ns),
	};
}

void container_ns_put(struct container_ns *ns)
{
	if (ns->pid)
		pid_ns_put(ns->pid);
	if (ns->uts)
		uts_ns_put(ns->uts);
	if (ns->ipc)
		ipc_ns_put(ns->ipc);
	if (ns->net)
		net_ns_put(ns->net);
	if (ns->mnt)
		mnt_ns_put(ns->mnt);
	*ns = (struct container_ns){0};
}

int kernel_signal_container(const struct container_mark *c, int sig)
{
	struct thread_group *g;
	int n = 0;
	READ_GUARD(&kernel.tasklist_lock);

	TAILQ_FOREACH (g, &kernel.groups, all_link) {
		if (!container_mark_within(g->container, c) || !g->num_threads)
			continue;
		n++;
		if (sig)
			group_send_signal(g, sig, NULL);
	}
	return n;
}

int kernel_signal_foreground(struct thread_group *g, int sig)
{
	struct tty *tty = NULL;

	if (task_tty_ops) {
		READ_GUARD(&kernel.tasklist_lock);
		tty = g->tty ? task_tty_ops->get(g->tty) : NULL;
	}
	if (!tty)
		return kernel_signal_group(g, sig);
	task_tty_ops->signal_foreground(tty, sig);
	task_tty_ops->put(tty);
	return 0;
}

static void set_park(struct task *t, bool park, bool again)
{
	if (!park) {
		atomic_fetch_and(&t->flags, ~(uint32_t)TF_PARK);
		task_wake(t);
		return;
	}
	if ((atomic_fetch_or(&t->flags, TF_PARK) & TF_PARK) && !again)
		return;
	task_wake(t);
	if (t->ctx)
		platform_kick(t->ctx);
}

/* A task that sleeps where nothing interrupts it, or is stopped, goes no further than one that is
 * parked: it is so when it leaves. */
static bool stands_still(struct task *t)
{
	int state = atomic_load(&t->state);

	return atomic_load(&t->parked) || state == TASK_DISK_SLEEP || state == TASK_STOPPED ||
	       state == TASK_TRACED || (atomic_load(&t->flags) & TF_EXITING);
}

static void report_restless(struct thread_group *g, struct task *t)
{
	log_warn("pause: %d (%s) does not stand still: state %d, flags %#x, %s call %u",
		 group_nr_ns(g, g->tgid->ns), t->comm, atomic_load(&t->state),
		 atomic_load(&t->flags), t->in_syscall ? "in" : "after", (unsigned)t->syscall_nr);
}

/* All threads of the container; true if they do as they are told already. */
static bool park_all(const struct container_mark *c, bool park, bool again, bool report)
{
	struct thread_group *g;
	bool done = true;
	READ_GUARD(&kernel.tasklist_lock);

	TAILQ_FOREACH (g, &kernel.groups, all_link) {
		struct sighand *sh;
		struct task *t;

		if (!container_mark_within(g->container, c) || !g->num_threads)
			continue;
		sh = lock_sighand(g);
		for_each_thread (g, t) {
			bool still = !park || stands_still(t);

			if (!park || !still || !(atomic_load(&t->flags) & TF_PARK))
				set_park(t, park, again);
			done = done && still;
			if (report && !still)
				report_restless(g, t);
		}
		mutex_unlock(&sh->lock);
	}
	return done;
}

int kernel_park_container(const struct container_mark *c, bool park)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	/* Again and again: a thread may have been made by one that had not been told. */
	for (int n = 0; n < PARK_TRIES; n++) {
		if (park_all(c, park, n % KICK_EVERY == KICK_EVERY - 1, n == PARK_TRIES - 1))
			return 0;
		nanosleep(&pause, NULL);
	}
	park_all(c, false, false, false);
	return -ETIMEDOUT;
}

struct thread_group *kernel_container_process(const struct container_mark *c, struct pid_ns *ns,
					      pid_t nr)
{
	struct thread_group *g;
	READ_GUARD(&kernel.tasklist_lock);

	TAILQ_FOREACH (g, &kernel.groups, all_link)
		if (container_mark_within(g->container, c) && g->num_threads &&
		    group_nr_ns(g, ns) == nr)
			return group_get(g);
	return NULL;
}

static void describe(struct thread_group *g, struct pid_ns *ns, struct process_info *p)
{
	*p = (struct process_info){
		.pid = group_nr_ns(g, ns),
		.parent = g->parent ? group_nr_ns(g->parent, ns) : 0,
		.threads = g->num_threads,
		.started_ns = machine.boot_time_ns + (g->start_time - machine.boot_mono_ns),
		.tty = g->tty && task_tty_ops ? task_tty_ops->device(g->tty) : 0,
	};
	memcpy(p->command, g->leader->comm, sizeof(p->command));
	p->command[sizeof(p->command) - 1] = 0;
}

int kernel_container_processes(const struct container_mark *c, struct pid_ns *ns,
			       struct process_info **out)
{
	struct process_info *list = NULL;
	struct task **leaders = NULL;
	struct thread_group *g;
	int n = 0, room = 0, err = 0;

	read_lock(&kernel.tasklist_lock);
	TAILQ_FOREACH (g, &kernel.groups, all_link)
		room += container_mark_within(g->container, c) && g->num_threads;
	list = calloc((size_t)room + 1, sizeof(*list));
	leaders = calloc((size_t)room + 1, sizeof(struct task *));
	if (!list || !leaders)
		err = -ENOMEM;
	TAILQ_FOREACH (g, &kernel.groups, all_link) {
		if (err || !container_mark_within(g->container, c) || !g->num_threads || n == room)
			continue;
		describe(g, ns, &list[n]);
		leaders[n++] = task_get(g->leader);
	}
	read_unlock(&kernel.tasklist_lock);
	for (int i = 0; i < n; i++) {
		struct cred *cred = task_cred_get(leaders[i]);

		list[i].uid = cred->euid;
		cred_put(cred);
		list[i].cpu_ns = group_cpu_ns(leaders[i]->group);
		task_put(leaders[i]);
	}
	free(leaders);
	if (err) {
		free(list);
		return err;
	}
	*out = list;
	return n;
}
