/*
 * Making threads and processes (man 2 clone, fork, vfork).
 *
 * A child is built in private, then its stub is made, and only then it becomes visible, under
 * tasklist_lock, unless a signal for the parent has come meanwhile: then the call starts again
 * after delivery, so that a signal to a process group misses nobody.
 */
#include <errno.h>
#include <linux/sched.h>
#include <string.h>

#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/pidfd.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/mount/mount_ops.h"

#define CLONE_NEW_NAMESPACES                                                                       \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP)
/* As a kernel built without them answers. */
#define CLONE_UNSUPPORTED (CLONE_NEWTIME | CLONE_INTO_CGROUP)

static int check_flags(struct task *parent, uint64_t flags)
{
	if (flags & CLONE_UNSUPPORTED)
		return -EINVAL;
	if ((flags & (CLONE_NEWNS | CLONE_NEWUSER)) && (flags & CLONE_FS))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND))
		return -EINVAL;
	if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
		return -EINVAL;
	if ((flags & CLONE_SIGHAND) && (flags & CLONE_CLEAR_SIGHAND))
		return -EINVAL;
	if ((flags & CLONE_PARENT) && parent->group->unkillable)
		return -EINVAL;
	if ((flags & CLONE_THREAD) && ((flags & (CLONE_NEWPID | CLONE_NEWUSER)) ||
				       parent->pid_ns_children != task_pid_ns(parent)))
		return -EINVAL;
	if ((flags & CLONE_NEW_NAMESPACES) && !(flags & CLONE_NEWUSER) &&
	    !own_ns_capable(CAP_SYS_ADMIN))
		return -EPERM;
	if ((flags & CLONE_PIDFD) && (flags & CLONE_DETACHED))
		return -EINVAL;
	return 0;
}

static int charge(struct task *parent, struct task *child)
{
	struct rlimit *lim = &parent->group->rlim[RLIMIT_NPROC];
	bool exempt = parent->cred->uid == 0 || capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN);
	struct container_mark *mark = parent->group->container;
	struct ucount *u = ucount_get(parent->cred->uid);

	if (!u)
		return -ENOMEM;
	if (mark && !container_mark_charge(mark, false)) {
		ucount_put(u);
		return -EAGAIN;
	}
	if (mark)
		child->counted = container_mark_get(mark);
	if (ucount_charge_task(u, exempt ? UINT64_MAX : lim->rlim_cur)) {
		ucount_put(u);
		return -EAGAIN;
	}
	task_account(child, u);
	return 0;
}

static void copy_fields(struct task *child, const struct task *parent,
			const struct clone_args_k *args)
{
	memcpy(child->comm, parent->comm, sizeof(child->comm));
	child->blocked = parent->blocked;
	child->altstack_flags = SS_DISABLE;
	/* A thread's alternate stack is its own; vfork's child runs on in the parent's place. */
	if ((args->flags & (CLONE_VM | CLONE_VFORK)) != CLONE_VM) {
		child->altstack_sp = parent->altstack_sp;
		child->altstack_size = parent->altstack_size;
		child->altstack_flags = parent->altstack_flags;
	}
	if (!(args->flags & CLONE_VM)) {
		child->rseq_addr = parent->rseq_addr;
		child->rseq_len = parent->rseq_len;
		child->rseq_sig = parent->rseq_sig;
	}
	if (args->flags & CLONE_CHILD_CLEARTID)
		child->clear_child_tid = args->child_tid;
	if (args->flags & CLONE_CHILD_SETTID)
		child->set_child_tid = args->child_tid;
	child->keep_caps = parent->keep_caps;
	child->personality = parent->personality;
	child->timer_slack = child->default_timer_slack = parent->timer_slack;
	child->nice = parent->nice;
	child->sched_policy = parent->sched_policy;
	child->sched_priority = parent->sched_priority;
	if (parent->sched_reset_on_fork) {
		child->sched_policy = SCHED_OTHER;
		child->sched_priority = 0;
		child->nice = MAX(0, child->nice);
	}
	child->affinity = parent->affinity;
	child->ioprio = parent->ioprio;
	child->mempolicy = parent->mempolicy;
	child->mempolicy_nodes = parent->mempolicy_nodes;
}

static int copy_sighand(struct task *child, struct task *parent, uint64_t flags)
{
	struct sighand *sh;

	if (flags & CLONE_SIGHAND) {
		child->sighand = sighand_get(parent->sighand);
		return 0;
	}
	child->sighand = sighand_alloc();
	if (!child->sighand)
		return -ENOMEM;
	sh = lock_sighand(parent->group);
	memcpy(child->sighand->action, sh->action, sizeof(sh->action));
	mutex_unlock(&sh->lock);
	if (flags & CLONE_CLEAR_SIGHAND)
		for (int i = 0; i < GUEST_NSIG; i++)
			if (child->sighand->action[i].handler != 1)
				memset(&child->sighand->action[i], 0,
				       sizeof(child->sighand->action[i]));
	return 0;
}

static int copy_group(struct task *child, struct task *parent, const struct clone_args_k *args)
{
	struct thread_group *pg = parent->group, *g;

	if (args->flags & CLONE_THREAD) {
		child->group = group_get(pg);
		return 0;
	}
	g = group_alloc();
	if (!g)
		return -ENOMEM;
	child->group = g;
	g->leader = child;
	g->sighand = sighand_get(child->sighand);
	mutex_lock(&pg->lock);
	memcpy(g->rlim, pg->rlim, sizeof(g->rlim));
	mutex_unlock(&pg->lock);
	g->oom_score_adj = pg->oom_score_adj;
	g->container = pg->container ? container_mark_get(pg->container) : NULL;
	g->exit_signal = args->flags & CLONE_PARENT ? pg->exit_signal : (int)args->exit_signal;
	group_timers_init(g);
	return 0;
}

static int copy_files_fs(struct task *child, struct task *parent, uint64_t flags)
{
	child->files = flags & CLONE_FILES ? files_get(parent->files) : files_dup(parent->files);
	if (!child->files)
		return -ENOMEM;
	child->fs = flags & CLONE_FS ? fs_get(parent->fs) : fs_dup(parent->fs);
	return child->fs ? 0 : -ENOMEM;
}

static int copy_mnt_ns(struct task *child, struct task *parent, uint64_t flags)
{
	if (!(flags & CLONE_NEWNS)) {
		child->mnt_ns = mnt_ns_get(parent->mnt_ns);
		return 0;
	}
	return mnt_ns_copy(parent->mnt_ns, child->cred->user_ns, child->fs, &child->mnt_ns);
}

static int copy_namespaces(struct task *child, struct task *parent, uint64_t flags)
{
	struct user_ns *owner = child->cred->user_ns;
	int err = copy_mnt_ns(child, parent, flags);

	if (err)
		return err;
	if ((flags & CLONE_NEWPID) && !user_ns_is_within(owner, parent->pid_ns_children->user_ns))
		return -EINVAL;
	child->uts_ns = flags & CLONE_NEWUTS ? uts_ns_create(owner, parent->uts_ns)
					     : uts_ns_get(parent->uts_ns);
	child->ipc_ns = flags & CLONE_NEWIPC ? ipc_ns_create(owner) : ipc_ns_get(parent->ipc_ns);
	child->net_ns = flags & CLONE_NEWNET ? net_ns_create(owner) : net_ns_get(parent->net_ns);
	child->pid_ns_children = flags & CLONE_NEWPID
					 ? pid_ns_create(owner, parent->pid_ns_children)
					 : pid_ns_get(parent->pid_ns_children);
	if (flags & CLONE_NEWCGROUP)
		child->cgroup_ns = cgroup_ns_create(owner);
	else if (parent->cgroup_ns)
		child->cgroup_ns = cgroup_ns_get(parent->cgroup_ns);
	if ((flags & CLONE_NEWCGROUP) && !child->cgroup_ns)
		return -ENOSPC;
	if (!child->uts_ns || !child->ipc_ns || !child->net_ns)
		return -ENOSPC;
	if (!child->pid_ns_children)
		return flags & CLONE_NEWPID ? -ENOSPC : -ENOMEM;
	return 0;
}

/* In each of the n namespaces, from the innermost up, that a number is wanted in. */
static bool may_choose_tids(const struct pid_ns *ns, uint64_t n)
{
	for (; ns && n; ns = ns->parent, n--)
		if (!ns_capable(ns->user_ns, CAP_SYS_ADMIN))
			return false;
	return true;
}

static int copy_pid(struct task *child, const struct clone_args_k *args)
{
	int32_t set_tid[PID_NS_MAX_DEPTH];
	struct pid *pid;
	int err;

	if (args->set_tid_size) {
		if (args->set_tid_size > PID_NS_MAX_DEPTH)
			return -EINVAL;
		if (!may_choose_tids(child->pid_ns_children, args->set_tid_size))
			return -EPERM;
		if (copy_from_user(set_tid, args->set_tid, args->set_tid_size * sizeof(int32_t)))
			return -EFAULT;
		for (uint64_t i = 0; i < args->set_tid_size; i++)
			if (set_tid[i] <= 0)
				return -EINVAL;
	}
	err = pid_alloc(child->pid_ns_children, set_tid, args->set_tid_size, &pid);
	if (err)
		return err;
	child->pid = pid_get(pid);
	if (!(args->flags & CLONE_THREAD))
		child->group->tgid = pid_get(pid);
	return 0;
}

static int copy_cred(struct task *child, struct task *parent, uint64_t flags)
{
	if (flags & CLONE_NEWUSER)
		return cred_in_new_user_ns(parent, &child->cred);
	child->cred = cred_get(parent->cred);
	return 0;
}

/* What the child shares and owns, apart from its memory. On error task_put() frees what there is.
 */
static int copy_task(struct task *child, struct task *parent, const struct clone_args_k *args)
{
	int err = charge(parent, child);

	copy_fields(child, parent, args);
	if (!err)
		err = copy_cred(child, parent, args->flags);
	if (!err)
		err = copy_sighand(child, parent, args->flags);
	if (!err)
		err = copy_group(child, parent, args);
	if (!err)
		err = copy_files_fs(child, parent, args->flags);
	if (!err)
		err = copy_namespaces(child, parent, args->flags);
	if (!err)
		err = copy_pid(child, args);
	return err;
}

static int clone_memory(struct task *child, struct task *parent, const struct clone_args_k *args)
{
	struct platform_as *as;
	int err;

	if ((args->flags & CLONE_SETTLS) && args->tls >= GUEST_TASK_SIZE)
		return -EPERM;
	if (args->flags & CLONE_VM) {
		child->mm = mm_get(parent->mm);
		return platform_clone_thread(parent->ctx, child,
					     args->flags & CLONE_SETTLS
						     ? args->tls
						     : platform_regs(parent->ctx)->fs_base,
					     &child->ctx);
	}
	COMMAND_GUARD(&parent->mm->lock);
	err = platform_fork(parent->ctx, child, &as, &child->ctx);
	if (err)
		return err;
	err = mm_fork(parent->mm, as, child->ctx, &child->mm);
	if (err)
		platform_as_put(as);
	return err;
}

static void prepare_registers(struct task *child, const struct clone_args_k *args)
{
	struct guest_regs *regs = platform_regs(child->ctx);

	regs->rax = 0;
	regs->orig_rax = -1;
	if (args->stack)
		regs->rsp = args->stack + args->stack_size;
	if (args->flags & CLONE_SETTLS)
		regs->fs_base = args->tls;
	atomic_fetch_or(&child->flags, TF_FULL_REGS);
}

/* tasklist_lock (write), group->lock of the parent, and sighand->lock held: whoever changes seccomp
 * for all threads sees the child, or has been seen by it. */
static void link_child(struct task *child, const struct task *parent)
{
	seccomp_inherit(child, parent);
	task_link(child);
}

/* Makes the child visible. -ERESTARTNOINTR: a signal came first. */
static int publish(struct task *child, struct task *parent, uint64_t flags)
{
	struct thread_group *pg = parent->group, *g = child->group;
	struct pid_ns *ns = child->pid->ns;
	struct sighand *sh;
	int err = 0;
	WRITE_GUARD(&kernel.tasklist_lock);

	mutex_lock(&pg->lock);
	sh = lock_sighand(pg);
	if (signal_pending(parent))
		err = -ERESTARTNOINTR;
	else if (ns->dying)
		err = -ENOMEM;
	else
		link_child(child, parent);
	mutex_unlock(&sh->lock);
	mutex_unlock(&pg->lock);
	if (err)
		return err;
	if (flags & CLONE_THREAD) {
		task_show_identity(child);
		trace_start_child(child, parent, flags);
		return 0;
	}
	if (!ns->init) {
		ns->init = g;
		g->unkillable = true;
	}
	g->has_child_subreaper = pg->has_child_subreaper || pg->is_child_subreaper;
	g->tty = pg->tty ? task_tty_ops->get(pg->tty) : NULL;
	g->parent_thread = flags & CLONE_PARENT ? pg->parent_thread : parent;
	group_link(g, flags & CLONE_PARENT ? pg->parent : pg, pg->pgrp, pg->session);
	task_show_identity(child);
	trace_start_child(child, parent, flags);
	return 0;
}

static void discard(struct task *child)
{
	struct platform_ctx *ctx = steal_ptr(&child->ctx);
	struct pid *pid = child->pid;

	if (pid) {
		write_lock(&kernel.tasklist_lock);
		pid_release_unused(pid);
		write_unlock(&kernel.tasklist_lock);
	}
	task_put(child);
	if (ctx)
		platform_ctx_exit(ctx);
}

/* The pidfd, installed in the parent's table; -errno. */
static int give_pidfd(struct task *child, const struct clone_args_k *args)
{
	struct file *file;
	int fd, err = pidfd_create(child->pid, 0, &file);

	if (err)
		return err;
	fd = fd_install(file, true);
	if (fd < 0) {
		file_put(file);
		return fd;
	}
	if (put_user(args->pidfd, (int32_t)fd)) {
		fd_close(current->files, fd);
		return -EFAULT;
	}
	return fd;
}

static void wait_for_vfork(struct vfork *v)
{
	wait_event_killable(&v->wait, __atomic_load_n(&v->done, __ATOMIC_ACQUIRE), NO_DEADLINE);
	vfork_put(v);
}

static struct vfork *vfork_alloc(struct task *child)
{
	struct vfork *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	refcount_init(&v->refs);
	wait_queue_init(&v->wait);
	refcount_inc(&v->refs);
	child->vfork = v;
	return v;
}

/* Tells the numbers to whoever asked; Linux, too, ignores bad addresses here. */
static void store_tids(struct task *child, struct task *parent, const struct clone_args_k *args)
{
	int32_t nr;

	if (args->flags & CLONE_PARENT_SETTID) {
		nr = pid_nr_ns(child->pid, task_pid_ns(parent));
		(void)!put_user(args->parent_tid, nr);
	}
	if (args->flags & CLONE_CHILD_SETTID) {
		nr = task_tid(child);
		if (args->child_tid < GUEST_TASK_SIZE)
			mm_access(child->mm, args->child_tid, &nr, sizeof(nr), true, false);
	}
}

static long start_child(struct task *child, struct task *parent, const struct clone_args_k *args)
{
	long nr = pid_nr_ns(child->pid, task_pid_ns(parent));
	struct vfork *v = NULL;
	struct pid *pid;
	uint64_t flags = args->flags | (args->exit_signal & CSIGNAL);
	int pidfd = -1, err;

	err = trace_prepare_child(child, parent, flags);
	if (err)
		return err;
	if (args->flags & CLONE_VFORK) {
		v = vfork_alloc(child);
		if (!v)
			return -ENOMEM;
	}
	if (args->flags & CLONE_PIDFD) {
		pidfd = give_pidfd(child, args);
		if (pidfd < 0) {
			err = pidfd;
			goto fail;
		}
	}
	store_tids(child, parent, args);
	pid = pid_get(child->pid);
	err = publish(child, parent, flags);
	if (err) {
		pid_put(pid);
		goto fail;
	}
	/* It may run, and be gone, from here on. */
	if (platform_resume(child->ctx))
		kernel_on_stub_death(child->ctx, child);
	if (unlikely(task_traced(parent)))
		trace_event_clone(parent, flags, pid);
	if (v) {
		wait_for_vfork(v);
		if (unlikely(task_traced(parent)))
			trace_event_vfork_done(parent, pid);
	}
	pid_put(pid);
	return nr;
fail:
	if (pidfd >= 0)
		fd_close(parent->files, pidfd);
	if (v) {
		child->vfork = NULL;
		vfork_put(v);
		vfork_put(v);
	}
	return err;
}

long task_clone(struct task *parent, const struct clone_args_k *args)
{
	struct task *child;
	long ret = check_flags(parent, args->flags);

	if (ret)
		return ret;
	if (signal_pending(parent))
		return -ERESTARTNOINTR;
	child = task_alloc();
	if (!child)
		return -ENOMEM;
	ret = copy_task(child, parent, args);
	if (!ret)
		ret = clone_memory(child, parent, args);
	if (!ret) {
		prepare_registers(child, args);
		ret = start_child(child, parent, args);
	}
	if (ret < 0)
		discard(child);
	return ret;
}
