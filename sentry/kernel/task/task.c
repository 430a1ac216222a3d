/* The objects: tasks and thread groups, their references and the lists that they are in. */
#include <string.h>

#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/mm/mm.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

struct kernel kernel = {.tasklist_lock = RWLOCK_INIT};
const struct task_tty_operations *task_tty_ops;

void task_set_tty_operations(const struct task_tty_operations *ops)
{
	task_tty_ops = ops;
}

struct task *task_alloc(void)
{
	struct task *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	refcount_init(&t->refs);
	mutex_init(&t->cred_lock);
	sigpending_init(&t->pending);
	t->start_time = monotonic_ns();
	return t;
}

struct thread_group *group_alloc(void)
{
	struct thread_group *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	refcount_init(&g->refs);
	mutex_init(&g->lock);
	TAILQ_INIT(&g->threads);
	TAILQ_INIT(&g->children);
	TAILQ_INIT(&g->tracees);
	wait_queue_init(&g->child_wait);
	wait_queue_init(&g->thread_exit_wait);
	sigpending_init(&g->pending);
	g->start_time = monotonic_ns();
	return g;
}

struct task *task_get(struct task *t)
{
	refcount_inc(&t->refs);
	return t;
}

void task_account(struct task *t, struct ucount *u)
{
	if (t->ucount) {
		ucount_uncharge_task(t->ucount);
		ucount_put(t->ucount);
	}
	t->ucount = u;
}

/* Also frees what was never published: every field may still be NULL. */
void task_put(struct task *t)
{
	if (!refcount_dec(&t->refs))
		return;
	sigpending_flush(&t->pending, ~0ULL);
	seccomp_forget(t);
	task_account(t, NULL);
	if (t->counted) {
		container_mark_uncharge(t->counted);
		container_mark_put(t->counted);
	}
	if (t->mm)
		mm_put(t->mm);
	if (t->files)
		files_put(t->files);
	if (t->fs)
		fs_put(t->fs);
	if (t->cred)
		cred_put(t->cred);
	if (t->sighand)
		sighand_put(t->sighand);
	if (t->mnt_ns)
		mnt_ns_put(t->mnt_ns);
	if (t->uts_ns)
		uts_ns_put(t->uts_ns);
	if (t->ipc_ns)
		ipc_ns_put(t->ipc_ns);
	if (t->net_ns)
		net_ns_put(t->net_ns);
	if (t->cgroup_ns)
		cgroup_ns_put(t->cgroup_ns);
	if (t->pid_ns_children)
		pid_ns_put(t->pid_ns_children);
	if (t->pid)
		pid_put(t->pid);
	if (t->group)
		group_put(t->group);
	mutex_destroy(&t->cred_lock);
	trace_free(atomic_load(&t->trace));
	free(t->futex_sleep);
	free(t);
}

struct thread_group *group_get(struct thread_group *g)
{
	refcount_inc(&g->refs);
	return g;
}

void group_put(struct thread_group *g)
{
	if (!refcount_dec(&g->refs))
		return;
	sigpending_flush(&g->pending, ~0ULL);
	if (g->tgid)
		pid_put(g->tgid);
	if (g->pgrp)
		pid_put(g->pgrp);
	if (g->session)
		pid_put(g->session);
	if (g->sighand)
		sighand_put(g->sighand);
	if (g->container)
		container_mark_put(g->container);
	mutex_destroy(&g->lock);
	free(g);
}

struct cred *task_cred_get(struct task *t)
{
	MUTEX_GUARD(&t->cred_lock);

	return cred_get(t->cred);
}

struct mm *task_mm_get(struct task *t)
{
	MUTEX_GUARD(&t->group->lock);

	return t->mm ? mm_get(t->mm) : NULL;
}

struct files *task_files_get(struct task *t)
{
	MUTEX_GUARD(&t->group->lock);

	return t->files ? files_get(t->files) : NULL;
}

struct fs *task_fs_get(struct task *t)
{
	MUTEX_GUARD(&t->group->lock);

	return t->fs ? fs_get(t->fs) : NULL;
}

static void add_io(struct task_io *sum, const struct task_io *io)
{
	sum->rchar += __atomic_load_n(&io->rchar, __ATOMIC_RELAXED);
	sum->wchar += __atomic_load_n(&io->wchar, __ATOMIC_RELAXED);
	sum->syscr += __atomic_load_n(&io->syscr, __ATOMIC_RELAXED);
	sum->syscw += __atomic_load_n(&io->syscw, __ATOMIC_RELAXED);
}

void group_io(struct thread_group *g, struct task_io *sum)
{
	struct task *t;
	READ_GUARD(&kernel.tasklist_lock);

	*sum = g->dead_io;
	for_each_thread (g, t)
		add_io(sum, &t->io);
}

void task_link(struct task *t)
{
	struct thread_group *g = t->group;

	/* The list's reference. */
	task_get(t);
	TAILQ_INSERT_TAIL(&g->threads, t, thread_link);
	g->num_threads++;
	g->num_live++;
	t->pid->task = t;
	kernel.num_tasks++;
}

void group_link(struct thread_group *g, struct thread_group *parent, struct pid *pgrp,
		struct pid *session)
{
	/* The reference of the list of all groups. */
	group_get(g);
	TAILQ_INSERT_TAIL(&kernel.groups, g, all_link);
	g->tgid->group = g;
	g->parent = parent;
	if (parent)
		TAILQ_INSERT_TAIL(&parent->children, g, sibling);
	g->pgrp = pid_get(pgrp);
	TAILQ_INSERT_TAIL(&pgrp->pgrp, g, pgrp_link);
	g->session = pid_get(session);
	TAILQ_INSERT_TAIL(&session->session, g, session_link);
}

void group_set_pgrp(struct thread_group *g, struct pid *pgrp)
{
	struct pid *old = g->pgrp;

	if (old == pgrp)
		return;
	TAILQ_REMOVE(&old->pgrp, g, pgrp_link);
	g->pgrp = pid_get(pgrp);
	TAILQ_INSERT_TAIL(&pgrp->pgrp, g, pgrp_link);
	pid_release_unused(old);
	pid_put(old);
}

void group_set_session(struct thread_group *g, struct pid *session)
{
	struct pid *old = g->session;

	if (old == session)
		return;
	TAILQ_REMOVE(&old->session, g, session_link);
	g->session = pid_get(session);
	TAILQ_INSERT_TAIL(&session->session, g, session_link);
	pid_release_unused(old);
	pid_put(old);
}

void task_release(struct task *t)
{
	struct thread_group *g = t->group;
	struct sighand *sh;

	if (unlikely(task_traced(t)) && !atomic_load(&t->trace)->dead)
		trace_unlink(t);
	mutex_lock(&g->lock);
	sh = lock_sighand(g);
	TAILQ_REMOVE(&g->threads, t, thread_link);
	mutex_unlock(&sh->lock);
	mutex_unlock(&g->lock);
	t->pid->task = NULL;
	if (!task_traced(t))
		pid_release_unused(t->pid);
	atomic_store(&t->state, TASK_DEAD);
	add_io(&g->dead_io, &t->io);
	kernel.num_tasks--;
	task_put(t);
}

void group_release(struct thread_group *g)
{
	struct pid *tgid = pid_get(g->tgid);

	if (g->parent)
		TAILQ_REMOVE(&g->parent->children, g, sibling);
	g->parent = NULL;
	TAILQ_REMOVE(&kernel.groups, g, all_link);
	container_mark_add_time(g->container, g->dead.utime, g->dead.stime);
	TAILQ_REMOVE(&g->pgrp->pgrp, g, pgrp_link);
	TAILQ_REMOVE(&g->session->session, g, session_link);
	if (g->pgrp != tgid)
		pid_release_unused(g->pgrp);
	if (g->session != tgid && g->session != g->pgrp)
		pid_release_unused(g->session);
	tgid->group = NULL;
	g->zombie = false;
	wake_up_all(&tgid->exit_wait, ~0u);
	task_release(g->leader);
	pid_put(tgid);
	group_put(g);
}

/* tasklist_lock held. A parent in the same session but another process group keeps a group from
 * being orphaned. `ignored` is as if gone. */
static bool pgrp_orphaned_without(struct pid *pgrp, struct thread_group *ignored)
{
	struct thread_group *g;

	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link) {
		struct thread_group *parent = g->parent;

		/* A container's init may be a shell: only the host's init never counts. */
		if (g == ignored || (g->zombie && !g->num_threads) || !parent)
			continue;
		if (parent->pgrp != pgrp && parent->session == g->session)
			return false;
	}
	return true;
}

bool pgrp_is_orphaned(struct pid *pgrp)
{
	READ_GUARD(&kernel.tasklist_lock);

	return pgrp_orphaned_without(pgrp, NULL);
}

bool pgrp_is_orphaned_locked(struct pid *pgrp)
{
	return pgrp_orphaned_without(pgrp, NULL);
}

static bool is_stopped(struct thread_group *g)
{
	struct sighand *sh = lock_sighand(g);
	bool stopped = g->stopped;

	mutex_unlock(&sh->lock);
	return stopped;
}

static void hang_up_if_orphaned(struct pid *pgrp, struct thread_group *ignored)
{
	struct thread_group *g;
	bool any_stopped = false;

	if (!pgrp_orphaned_without(pgrp, ignored))
		return;
	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link)
		any_stopped = any_stopped || is_stopped(g);
	if (!any_stopped)
		return;
	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link)
		group_send_signal(g, SIGHUP, NULL);
	TAILQ_FOREACH (g, &pgrp->pgrp, pgrp_link)
		group_send_signal(g, SIGCONT, NULL);
}

void check_orphaned_pgrps(struct thread_group *g)
{
	struct thread_group *child;

	/* g may have been what kept its own group, and its children's, from being orphaned. */
	if (g->parent && g->parent->pgrp != g->pgrp && g->parent->session == g->session)
		hang_up_if_orphaned(g->pgrp, g);
	TAILQ_FOREACH (child, &g->children, sibling)
		if (child->pgrp != g->pgrp && child->session == g->session)
			hang_up_if_orphaned(child->pgrp, child);
}

/* Linux's __ptrace_may_access: the same user in all three ids, or CAP_SYS_PTRACE; and dumpable.
 * Capabilities are over the user namespace of the other's credentials, or of its program. */
int ptrace_may_access(struct task *t, bool fscreds)
{
	const struct cred *mine = current->cred;
	uid_t uid = fscreds ? mine->fsuid : mine->uid;
	gid_t gid = fscreds ? mine->fsgid : mine->gid;
	struct cred *theirs;
	bool same, covered, capable_over, readable;

	if (t->group == current->group)
		return 0;
	theirs = task_cred_get(t);
	same = uid == theirs->euid && uid == theirs->suid && uid == theirs->uid &&
	       gid == theirs->egid && gid == theirs->sgid && gid == theirs->gid;
	capable_over = ns_capable(theirs->user_ns, CAP_SYS_PTRACE);
	covered = mine->user_ns == theirs->user_ns &&
		  !(theirs->cap_permitted & ~(fscreds ? mine->cap_effective : mine->cap_permitted));
	cred_put(theirs);
	mutex_lock(&t->group->lock);
	readable = !t->mm || t->mm->dumpable == 1 || ns_capable(t->mm->user_ns, CAP_SYS_PTRACE);
	mutex_unlock(&t->group->lock);
	return (same || capable_over) && readable && (covered || capable_over) ? 0 : -EPERM;
}

int task_state_now(struct task *t)
{
	if (t->state == TASK_RUNNING && t->ctx && platform_sleeps(t->ctx))
		return TASK_SLEEPING;
	return t->state;
}
