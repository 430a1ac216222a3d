/* The inode holds a reference on its namespace, so a descriptor or a bind mount keeps it alive. */
#include "sentry/fs/nsfs/nsfs.h"

#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <pthread.h>
#include <stdio.h>

#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/ns/namespaces.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/vfs/mount.h"

/* Linux's numbers of the initial namespaces, for those that there is no object of. */
#define TIME_NS_INUM 0xeffffffaUL
#define CGROUP_NS_INUM 0xeffffffbUL

struct ns_ref {
	unsigned type;
	void *ns; /* counted, or NULL */
	unsigned long inum;
};

/* Takes a reference, unless there is none any more. */
#define SET(R, NS, GET)                                                                            \
	do {                                                                                       \
		if (NS) {                                                                          \
			(R)->ns = GET(NS);                                                         \
			(R)->inum = (NS)->inum;                                                    \
		}                                                                                  \
	} while (0)

static void ns_get_user(struct task *t, struct ns_ref *r)
{
	struct cred *c = task_cred_get(t);

	SET(r, c->user_ns, user_ns_get);
	cred_put(c);
}

static int ns_get(struct task *t, unsigned type, bool for_children, struct ns_ref *r)
{
	MUTEX_GUARD(&t->group->lock);

	*r = (struct ns_ref){.type = type};
	switch (type) {
	case CLONE_NEWNS:
		SET(r, t->mnt_ns, mnt_ns_get);
		break;
	case CLONE_NEWUTS:
		SET(r, t->uts_ns, uts_ns_get);
		break;
	case CLONE_NEWIPC:
		SET(r, t->ipc_ns, ipc_ns_get);
		break;
	case CLONE_NEWNET:
		SET(r, t->net_ns, net_ns_get);
		break;
	case CLONE_NEWPID:
		if (for_children)
			SET(r, t->pid_ns_children, pid_ns_get);
		else
			SET(r, t->pid->ns, pid_ns_get);
		break;
	case CLONE_NEWTIME:
		r->inum = TIME_NS_INUM;
		break;
	case CLONE_NEWCGROUP:
		r->inum = CGROUP_NS_INUM;
		SET(r, t->cgroup_ns, cgroup_ns_get);
		break;
	default:
		ns_get_user(t, r);
		break;
	}
	return r->inum ? 0 : -ENOENT;
}

static void ns_put(struct ns_ref *r)
{
	if (!r->ns)
		return;
	switch (r->type) {
	case CLONE_NEWNS:
		mnt_ns_put(r->ns);
		break;
	case CLONE_NEWUTS:
		uts_ns_put(r->ns);
		break;
	case CLONE_NEWIPC:
		ipc_ns_put(r->ns);
		break;
	case CLONE_NEWNET:
		net_ns_put(r->ns);
		break;
	case CLONE_NEWPID:
		pid_ns_put(r->ns);
		break;
	case CLONE_NEWCGROUP:
		cgroup_ns_put(r->ns);
		break;
	case CLONE_NEWUSER:
		user_ns_put(r->ns);
		break;
	}
}

static const char *ns_name(unsigned type)
{
	switch (type) {
	case CLONE_NEWNS:
		return "mnt";
	case CLONE_NEWUTS:
		return "uts";
	case CLONE_NEWIPC:
		return "ipc";
	case CLONE_NEWNET:
		return "net";
	case CLONE_NEWPID:
		return "pid";
	case CLONE_NEWTIME:
		return "time";
	case CLONE_NEWCGROUP:
		return "cgroup";
	default:
		return "user";
	}
}

static void ns_evict(struct inode *inode)
{
	ns_put(inode->private);
	free(inode->private);
}

/* Unlike other files without a name, these can be opened by way of /proc. */
static int ns_open(struct inode *inode, struct file *file)
{
	return 0;
}

/* --- man 2 ioctl_ns --------------------------------------------------------------------------- */

static int file_create(struct ns_ref *r, struct file **out);

/* A descriptor for a namespace, of which the caller gives a reference. */
static long install(unsigned type, void *ns, unsigned long inum)
{
	struct ns_ref *r = malloc(sizeof(*r)), given = {type, ns, inum};
	struct file *f;
	int fd;

	if (!r) {
		ns_put(&given);
		return -ENOMEM;
	}
	*r = given;
	fd = file_create(r, &f);
	if (fd)
		return fd;
	fd = fd_install(f, true);
	if (fd < 0)
		file_put(f);
	return fd;
}

/* Relations are told only of what the caller's own namespace is, or has below it. */
static long owner_fd(const struct ns_ref *r)
{
	struct user_ns *owner = namespace_owner(r->type, r->ns);

	if (!owner || !user_ns_is_within(owner, current->cred->user_ns))
		return -EPERM;
	return install(CLONE_NEWUSER, user_ns_get(owner), owner->inum);
}

static long parent_fd(const struct ns_ref *r)
{
	struct pid_ns *parent, *up;

	if (r->type == CLONE_NEWUSER)
		return owner_fd(r);
	if (r->type != CLONE_NEWPID)
		return -EINVAL;
	parent = up = ((struct pid_ns *)r->ns)->parent;
	while (up && up != task_pid_ns(current))
		up = up->parent;
	if (!up)
		return -EPERM;
	return install(CLONE_NEWPID, pid_ns_get(parent), parent->inum);
}

static long ns_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	const struct ns_ref *r = file->inode->private;

	switch (cmd) {
	case NS_GET_NSTYPE:
		return (long)r->type;
	case NS_GET_USERNS:
		return owner_fd(r);
	case NS_GET_PARENT:
		return parent_fd(r);
	case NS_GET_OWNER_UID:
		if (r->type != CLONE_NEWUSER)
			return -EINVAL;
		return put_user(arg, uid_shown_here(((struct user_ns *)r->ns)->owner));
	default:
		return -ENOIOCTLCMD;
	}
}

static void ns_of_file(const struct file *f, unsigned *type, void **ns)
{
	const struct ns_ref *r = f->inode->private;

	*type = r->type;
	*ns = r->ns;
}

static const struct inode_operations ns_iops = {.evict = ns_evict};
static const struct file_operations ns_fops = {
	.open = ns_open, .ioctl = ns_ioctl, .namespace = ns_of_file};

/* By its magic programs know that a file is a namespace. */
static const struct fs_type ns_type = {.name = "nsfs", .nodev = true};
static struct mount *ns_mount;

static void make_mount(void)
{
	ns_mount = anon_mount_create(&ns_type, NSFS_MAGIC);
}

/* Consumes r. */
static int file_create(struct ns_ref *r, struct file **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct file *f;
	char name[48];
	int err;

	snprintf(name, sizeof(name), "%s:[%lu]", ns_name(r->type), r->inum);
	pthread_once(&once, make_mount);
	err = anon_file_create_on(ns_mount, name, S_IFREG | 0444, &ns_fops, NULL, O_RDONLY, &f);
	if (err) {
		ns_put(r);
		free(r);
		return err;
	}
	f->inode->ino = r->inum;
	f->inode->private = r;
	f->inode->ops = &ns_iops;
	/* A mount namespace that is mounted in itself would never go. */
	if (r->type != CLONE_NEWNS)
		f->inode->flags |= S_BINDABLE;
	*out = f;
	return 0;
}

int nsfs_path(struct task *t, unsigned type, bool for_children, struct path *out)
{
	struct ns_ref *r = malloc(sizeof(*r));
	struct file *f;
	int err;

	if (!r)
		return -ENOMEM;
	err = ns_get(t, type, for_children, r);
	if (err) {
		free(r);
		return err;
	}
	err = file_create(r, &f);
	if (err)
		return err;
	*out = f->path;
	path_get(out);
	file_put(f);
	return 0;
}
