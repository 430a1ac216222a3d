/* unshare, setns (man 2 unshare, man 2 setns). */
#include <linux/sched.h>

#include "sentry/fs/nsfs/nsfs.h"
#include "sentry/kernel/lifecycle.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/pidfd.h"
#include "sentry/syscalls/syscall.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

#define NEW_NAMESPACES (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID)
#define UNSHARE_VALID                                                                              \
	(NEW_NAMESPACES | CLONE_FILES | CLONE_FS | CLONE_SYSVSEM | CLONE_THREAD | CLONE_SIGHAND |  \
	 CLONE_VM)

/* A set of references that will replace the task's; NULL: stays. */
struct changes {
	struct files *files;
	struct fs *fs;
	struct mnt_ns *mnt;
	struct uts_ns *uts;
	struct ipc_ns *ipc;
	struct net_ns *net;
	struct pid_ns *pid;
};

static void drop(struct changes *c)
{
	if (c->files)
		files_put(c->files);
	if (c->fs)
		fs_put(c->fs);
	if (c->mnt)
		mnt_ns_put(c->mnt);
	if (c->uts)
		uts_ns_put(c->uts);
	if (c->ipc)
		ipc_ns_put(c->ipc);
	if (c->net)
		net_ns_put(c->net);
	if (c->pid)
		pid_ns_put(c->pid);
}

#define SWAP(a, b)                                                                                 \
	do {                                                                                       \
		if (b) {                                                                           \
			__typeof__(a) swap_ = (a);                                                 \
			(a) = (b);                                                                 \
			(b) = swap_;                                                               \
		}                                                                                  \
	} while (0)

/* Puts the changes in place; the old ones are then in *c. */
static void apply(struct task *t, struct changes *c)
{
	MUTEX_GUARD(&t->group->lock);

	SWAP(t->files, c->files);
	SWAP(t->fs, c->fs);
	SWAP(t->mnt_ns, c->mnt);
	SWAP(t->uts_ns, c->uts);
	SWAP(t->ipc_ns, c->ipc);
	SWAP(t->net_ns, c->net);
	SWAP(t->pid_ns_children, c->pid);
}

static int unshare_fs(struct task *t, uint64_t flags, struct changes *c)
{
	if (!(flags & (CLONE_FS | CLONE_NEWNS)) ||
	    (refcount_read(&t->fs->refs) == 1 && !(flags & CLONE_NEWNS)))
		return 0;
	c->fs = fs_dup(t->fs);
	if (!c->fs)
		return -ENOMEM;
	if (!(flags & CLONE_NEWNS))
		return 0;
	return mnt_ns_copy ? mnt_ns_copy(t->mnt_ns, c->fs, &c->mnt) : -EINVAL;
}

static int unshare_rest(struct task *t, uint64_t flags, struct changes *c)
{
	if ((flags & CLONE_FILES) && refcount_read(&t->files->refs) > 1) {
		c->files = files_dup(t->files);
		if (!c->files)
			return -ENOMEM;
	}
	if (flags & CLONE_NEWUTS) {
		c->uts = uts_ns_create(t->uts_ns);
		if (!c->uts)
			return -ENOMEM;
	}
	if (flags & CLONE_NEWIPC) {
		c->ipc = ipc_ns_create();
		if (!c->ipc)
			return -ENOMEM;
	}
	if (flags & CLONE_NEWNET) {
		c->net = net_ns_create();
		if (!c->net)
			return -ENOMEM;
	}
	if (flags & CLONE_NEWPID) {
		/* Only once per process: its children are to have one init. */
		if (t->pid_ns_children != task_pid_ns(t))
			return -EINVAL;
		c->pid = pid_ns_create(t->pid_ns_children);
		if (!c->pid)
			return -ENOSPC;
	}
	return 0;
}

SYSCALL_DEFINE1(unshare, uint64_t, flags)
{
	struct changes c = {0};
	int err;

	if (flags & ~(uint64_t)UNSHARE_VALID)
		return -EINVAL;
	if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && t->group->num_live > 1)
		return -EINVAL;
	if ((flags & CLONE_VM) && refcount_read(&t->sighand->refs) > 2)
		return -EINVAL;
	if ((flags & NEW_NAMESPACES) && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = unshare_fs(t, flags, &c);
	if (!err)
		err = unshare_rest(t, flags, &c);
	if (!err)
		apply(t, &c);
	drop(&c);
	return err;
}

/* --- setns -------------------------------------------------------------------------------------
 */

/* Adds a reference to one namespace, of the type CLONE_NEW*, to the changes. */
static int add_namespace(struct task *t, unsigned type, void *ns, struct changes *c)
{
	struct pid_ns *up = ns;
	struct path root;

	switch (type) {
	case CLONE_NEWUTS:
		c->uts = uts_ns_get(ns);
		return 0;
	case CLONE_NEWIPC:
		c->ipc = ipc_ns_get(ns);
		return 0;
	case CLONE_NEWNET:
		c->net = net_ns_get(ns);
		return 0;
	case CLONE_NEWPID:
		/* Only down the tree. */
		while (up && up != task_pid_ns(t))
			up = up->parent;
		if (!up)
			return -EINVAL;
		c->pid = pid_ns_get(ns);
		return 0;
	case CLONE_NEWNS:
		c->mnt = mnt_ns_get(ns);
		mnt_ns_root(c->mnt, &root);
		c->fs = fs_alloc(&root, &root, t->fs->umask);
		path_put(&root);
		return c->fs ? 0 : -ENOMEM;
	default: /* of which there is only one */
		return -EINVAL;
	}
}

/* Those of `from` that flags ask for. */
static int add_namespaces_of(struct task *t, struct task *from, unsigned flags, struct changes *c)
{
	int err = 0;
	MUTEX_GUARD(&from->group->lock);

	if (!from->fs)
		return -ESRCH;
	if (flags & CLONE_NEWUTS)
		err = add_namespace(t, CLONE_NEWUTS, from->uts_ns, c);
	if (!err && (flags & CLONE_NEWIPC))
		err = add_namespace(t, CLONE_NEWIPC, from->ipc_ns, c);
	if (!err && (flags & CLONE_NEWNET))
		err = add_namespace(t, CLONE_NEWNET, from->net_ns, c);
	if (!err && (flags & CLONE_NEWPID))
		err = add_namespace(t, CLONE_NEWPID, task_pid_ns(from), c);
	if (!err && (flags & CLONE_NEWNS))
		err = add_namespace(t, CLONE_NEWNS, from->mnt_ns, c);
	return err;
}

static int may_setns(struct task *t, unsigned flags)
{
	if (!capable(CAP_SYS_ADMIN) || ((flags & CLONE_NEWNS) && !capable(CAP_SYS_CHROOT)))
		return -EPERM;
	/* Threads that share root and cwd would change with the caller. */
	return (flags & CLONE_NEWNS) && refcount_read(&t->fs->refs) > 1 ? -EINVAL : 0;
}

static int setns_of_process(struct task *t, struct pid *pid, unsigned flags, struct changes *c)
{
	struct task *from = NULL;
	int err;

	if (!flags || (flags & ~NEW_NAMESPACES))
		return -EINVAL;
	read_lock(&kernel.tasklist_lock);
	if (pid->group)
		from = task_get(pid->group->leader);
	read_unlock(&kernel.tasklist_lock);
	if (!from)
		return -ESRCH;
	err = ptrace_may_access(from, false);
	if (!err)
		err = may_setns(t, flags);
	if (!err)
		err = add_namespaces_of(t, from, flags, c);
	task_put(from);
	return err;
}

SYSCALL_DEFINE2(setns, int, fd, unsigned, flags)
{
	struct file *__put_file file = fd_get(fd);
	struct changes c = {0};
	struct pid *pid;
	unsigned type;
	void *ns;
	int err;

	if (!file)
		return -EBADF;
	pid = pidfd_pid(file);
	if (pid) {
		err = setns_of_process(t, pid, flags, &c);
		pid_put(pid);
	} else if (!nsfs_namespace(file, &type, &ns) || (flags && flags != type)) {
		err = -EINVAL;
	} else {
		err = may_setns(t, type);
		if (!err)
			err = add_namespace(t, type, ns, &c);
	}
	if (!err)
		apply(t, &c);
	drop(&c);
	return err;
}
