/* unshare, setns (man 2 unshare, man 2 setns). */
#include <linux/sched.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/pidfd.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/mount/mount_ops.h"

/* Those whose making takes CAP_SYS_ADMIN. */
#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWCGROUP)
#define UNSHARE_VALID                                                                              \
	(NEW_NAMESPACES | CLONE_NEWUSER | CLONE_FILES | CLONE_FS | CLONE_SYSVSEM | CLONE_THREAD |  \
	 CLONE_SIGHAND | CLONE_VM)

/* A set of references that will replace the task's; NULL: stays. */
struct changes {
	struct files *files;
	struct fs *fs;
	struct mnt_ns *mnt;
	struct uts_ns *uts;
	struct ipc_ns *ipc;
	struct net_ns *net;
	struct pid_ns *pid;
	struct cgroup_ns *cgroup;
	struct cred *cred;
};

/* The user namespace that what is made will belong to. */
static struct user_ns *owner_of(const struct task *t, const struct changes *c)
{
	return c->cred ? c->cred->user_ns : t->cred->user_ns;
}

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
	if (c->cgroup)
		cgroup_ns_put(c->cgroup);
	if (c->cred)
		cred_put(c->cred);
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
	if (c->cred)
		task_set_cred(t, steal_ptr(&c->cred));
	MUTEX_GUARD(&t->group->lock);

	SWAP(t->files, c->files);
	SWAP(t->fs, c->fs);
	SWAP(t->mnt_ns, c->mnt);
	SWAP(t->uts_ns, c->uts);
	SWAP(t->ipc_ns, c->ipc);
	SWAP(t->net_ns, c->net);
	SWAP(t->pid_ns_children, c->pid);
	SWAP(t->cgroup_ns, c->cgroup);
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
	return mnt_ns_copy(t->mnt_ns, owner_of(t, c), c->fs, &c->mnt);
}

static int unshare_rest(struct task *t, uint64_t flags, struct changes *c)
{
	if ((flags & CLONE_FILES) && refcount_read(&t->files->refs) > 1) {
		c->files = files_dup(t->files);
		if (!c->files)
			return -ENOMEM;
	}
	if (flags & CLONE_NEWUTS) {
		c->uts = uts_ns_create(owner_of(t, c), t->uts_ns);
		if (!c->uts)
			return -ENOSPC;
	}
	if (flags & CLONE_NEWIPC) {
		c->ipc = ipc_ns_create(owner_of(t, c));
		if (!c->ipc)
			return -ENOSPC;
	}
	if (flags & CLONE_NEWNET) {
		c->net = net_ns_create(owner_of(t, c));
		if (!c->net)
			return -ENOSPC;
	}
	if (flags & CLONE_NEWPID) {
		/* Only once per process: its children are to have one init. */
		if (t->pid_ns_children != task_pid_ns(t))
			return -EINVAL;
		if (!user_ns_is_within(owner_of(t, c), t->pid_ns_children->user_ns))
			return -EINVAL;
		c->pid = pid_ns_create(owner_of(t, c), t->pid_ns_children);
		if (!c->pid)
			return -ENOSPC;
	}
	if (flags & CLONE_NEWCGROUP) {
		c->cgroup = cgroup_ns_create(owner_of(t, c));
		if (!c->cgroup)
			return -ENOSPC;
	}
	return 0;
}

SYSCALL_DEFINE1(unshare, uint64_t, flags)
{
	struct changes c = {0};
	int err = 0;

	if (flags & ~(uint64_t)UNSHARE_VALID)
		return -EINVAL;
	if (flags & CLONE_NEWUSER)
		flags |= CLONE_THREAD | CLONE_FS;
	if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && t->group->num_live > 1)
		return -EINVAL;
	if ((flags & CLONE_VM) && refcount_read(&t->sighand->refs) > 2)
		return -EINVAL;
	if (flags & CLONE_NEWUSER)
		err = cred_in_new_user_ns(t, &c.cred);
	else if ((flags & NEW_NAMESPACES) && !own_ns_capable(CAP_SYS_ADMIN))
		err = -EPERM;
	if (!err)
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

/* To join a namespace takes the capability over its owner, and over that of which the caller is, or
 * is about to be, a member. */
static bool may_join(struct task *t, const struct user_ns *owner, const struct changes *c)
{
	return ns_capable(owner, CAP_SYS_ADMIN) && ns_capable(owner_of(t, c), CAP_SYS_ADMIN);
}

static int join_pids(struct task *t, struct pid_ns *ns, struct changes *c)
{
	struct pid_ns *up = ns;

	/* Only down the tree. */
	while (up && up != task_pid_ns(t))
		up = up->parent;
	if (!up)
		return -EINVAL;
	c->pid = pid_ns_get(ns);
	return 0;
}

static int join_mounts(struct task *t, struct mnt_ns *ns, struct changes *c)
{
	struct path root;

	if (!ns_capable(owner_of(t, c), CAP_SYS_CHROOT))
		return -EPERM;
	/* Threads that share root and cwd would change with the caller. */
	if (refcount_read(&t->fs->refs) > 1)
		return -EINVAL;
	c->mnt = mnt_ns_get(ns);
	mnt_ns_root(c->mnt, &root);
	c->fs = fs_alloc(&root, &root, t->fs->umask);
	path_put(&root);
	return c->fs ? 0 : -ENOMEM;
}

/* Whoever has the capability over it has it in there, too: with all of them. */
static int join_users(struct task *t, struct user_ns *ns, struct changes *c)
{
	if (ns == t->cred->user_ns || t->group->num_live > 1 || refcount_read(&t->fs->refs) > 1)
		return -EINVAL;
	if (!ns_capable(ns, CAP_SYS_ADMIN))
		return -EPERM;
	c->cred = cred_dup(t->cred);
	if (!c->cred)
		return -ENOMEM;
	cred_enter_user_ns(c->cred, user_ns_get(ns));
	return 0;
}

/* Adds a reference to one namespace, of the type CLONE_NEW*, to the changes. */
static int add_namespace(struct task *t, unsigned type, void *ns, struct changes *c)
{
	struct user_ns *owner = namespace_owner(type, ns);

	if (type == CLONE_NEWUSER)
		return join_users(t, ns, c);
	if (!owner)
		return -EINVAL;
	if (!may_join(t, owner, c))
		return -EPERM;
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
	case CLONE_NEWCGROUP:
		c->cgroup = ns ? cgroup_ns_get(ns) : NULL;
		return 0;
	case CLONE_NEWTIME: /* of which there is only one */
		return t->group->num_live > 1 ? -EUSERS : 0;
	case CLONE_NEWPID:
		return join_pids(t, ns, c);
	default:
		return join_mounts(t, ns, c);
	}
}

/* Those of `from` that flags ask for. The user namespace comes first: it says over what the
 * others need to be had. */
static int add_namespaces_of(struct task *t, struct task *from, unsigned flags, struct changes *c)
{
	static const unsigned order[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWUTS,
					 CLONE_NEWIPC,	CLONE_NEWPID, CLONE_NEWCGROUP,
					 CLONE_NEWNET,	CLONE_NEWTIME};
	struct cred *cred = task_cred_get(from);
	int err = 0;

	mutex_lock(&from->group->lock);
	if (!from->fs || !from->mnt_ns || !from->ipc_ns || !from->net_ns)
		err = -ESRCH;
	for (size_t i = 0; !err && i < ARRAY_SIZE(order); i++) {
		void *all[] = {cred->user_ns,	  from->mnt_ns,	   from->uts_ns, from->ipc_ns,
			       task_pid_ns(from), from->cgroup_ns, from->net_ns, NULL};

		if (flags & order[i])
			err = add_namespace(t, order[i], all[i], c);
	}
	mutex_unlock(&from->group->lock);
	cred_put(cred);
	return err;
}

static int setns_of_process(struct task *t, struct pid *pid, unsigned flags, struct changes *c)
{
	struct task *from = NULL;
	int err;

	if (!flags || (flags & ~(NEW_NAMESPACES | CLONE_NEWUSER | CLONE_NEWTIME)))
		return -EINVAL;
	read_lock(&kernel.tasklist_lock);
	if (pid->group)
		from = task_get(pid->group->leader);
	read_unlock(&kernel.tasklist_lock);
	if (!from)
		return -ESRCH;
	err = ptrace_may_access(from, false);
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
	unsigned type = 0;
	void *ns;
	int err;

	if (!file)
		return -EBADF;
	if (file->ops->namespace)
		file->ops->namespace(file, &type, &ns);
	pid = pidfd_pid(file);
	if (pid) {
		err = setns_of_process(t, pid, flags, &c);
		pid_put(pid);
	} else if (!type || (flags && flags != type)) {
		err = -EINVAL;
	} else {
		err = add_namespace(t, type, ns, &c);
	}
	if (!err)
		apply(t, &c);
	drop(&c);
	return err;
}
