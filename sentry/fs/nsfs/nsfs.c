/* The inode holds a reference on its namespace, so a descriptor or a bind mount keeps it alive. */
#include "sentry/fs/nsfs/nsfs.h"

#include <linux/nsfs.h>
#include <linux/sched.h>
#include <stdio.h>

#include "sentry/kernel/lifecycle.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/restart.h"
#include "sentry/vfs/mount.h"

/* Linux's numbers of the initial namespaces, for the kinds of which there is only one. */
#define TIME_NS_INUM 0xeffffffaUL
#define CGROUP_NS_INUM 0xeffffffbUL
#define USER_NS_INUM 0xeffffffdUL

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
		break;
	default:
		r->inum = USER_NS_INUM;
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

/* man 2 ioctl_ns; relations between namespaces cannot be asked for. */
static long ns_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	const struct ns_ref *r = file->inode->private;

	return cmd == NS_GET_NSTYPE ? (long)r->type : -ENOIOCTLCMD;
}

static const struct inode_operations ns_iops = {.evict = ns_evict};
static const struct file_operations ns_fops = {.open = ns_open, .ioctl = ns_ioctl};

int nsfs_path(struct task *t, unsigned type, bool for_children, struct path *out)
{
	struct ns_ref *r = malloc(sizeof(*r));
	struct file *f;
	char name[48];
	int err;

	if (!r)
		return -ENOMEM;
	err = ns_get(t, type, for_children, r);
	if (!err) {
		snprintf(name, sizeof(name), "%s:[%lu]", ns_name(type), r->inum);
		err = anon_file_create(name, S_IFREG | 0444, &ns_fops, NULL, O_RDONLY, &f);
	}
	if (err) {
		ns_put(r);
		free(r);
		return err;
	}
	f->inode->ino = r->inum;
	f->inode->private = r;
	f->inode->ops = &ns_iops;
	/* A mount namespace that is mounted in itself would never go. */
	if (type != CLONE_NEWNS)
		f->inode->flags |= S_BINDABLE;
	*out = f->path;
	path_get(out);
	file_put(f);
	return 0;
}

bool nsfs_namespace(const struct file *f, unsigned *type, void **ns)
{
	const struct ns_ref *r = f->inode->private;

	if (f->ops != &ns_fops)
		return false;
	*type = r->type;
	*ns = r->ns;
	return true;
}
