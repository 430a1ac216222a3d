/* The mqueue file system: one super block, which shows each caller its own namespace's queues. */
#include <dirent.h>
#include <errno.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/command_lock.h"
#include "sentry/fs/fs.h"
#include "sentry/fs/mqueue/mqueue_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/name/namei.h"

#define MQUEUE_MAGIC 0x19800202

static struct mutex init_lock = MUTEX_INIT;
static struct super_block *the_sb; /* counted: lives as long as the sandbox */
static struct mount *the_mount;	   /* likewise */
/* The attributes for the queue that mq_open is about to create. */
static __thread const struct mq_attr *create_attr;

/* --- directory
 * -------------------------------------------------------------------------------------------- */

static struct mq *find(struct mq_ns *ns, const char *name)
{
	struct mq *mq;

	TAILQ_FOREACH (mq, &ns->queues, ns_link)
		if (!strcmp(mq->name, name))
			return mq;
	return NULL;
}

static int mq_lookup(struct inode *dir, struct dentry *dentry)
{
	struct mq_ns *ns = mq_ns_current();
	struct mq *mq;

	if (!ns)
		return 0;
	MUTEX_GUARD(&ns->lock);
	mq = find(ns, dentry->name);
	if (mq)
		d_instantiate(dentry, inode_get(mq->inode));
	return 0;
}

static const struct inode_operations mq_iops;

static int mq_create_name(struct inode *dir, struct dentry *dentry, mode_t mode, bool excl)
{
	struct mq_ns *ns = mq_ns_current();
	struct inode *inode;
	struct mq *mq;
	int err;

	if (!ns)
		return -ENOMEM;
	err = mq_create(ns, create_attr, &mq);
	if (err)
		return err;
	inode = inode_alloc(dir->sb, S_IFREG | (mode & 0777));
	if (!inode) {
		atomic_fetch_sub(&ns->total, mq->charged);
		mq_ns_put(ns);
		mq_put(mq);
		return -ENOMEM;
	}
	inode->ops = &mq_iops;
	inode->fops = &mq_fops;
	inode->uid = current->cred->fsuid;
	inode->gid = current->cred->fsgid;
	inode->size = 80;
	inode->private = mq; /* the reference of mq_create: dropped at eviction */
	mq->inode = inode;
	snprintf(mq->name, sizeof(mq->name), "%s", dentry->name);
	mutex_lock(&ns->lock);
	if (ns->count >= MQ_MAX_QUEUES && !capable(CAP_SYS_RESOURCE))
		err = -ENOSPC;
	if (!err) {
		ns->count++;
		mq_get(mq); /* the namespace's list */
		inode_get(inode);
		TAILQ_INSERT_TAIL(&ns->queues, mq, ns_link);
		d_instantiate(dentry, inode_get(inode));
	}
	mutex_unlock(&ns->lock);
	inode_put(inode);
	return err;
}

static int mq_unlink(struct inode *dir, struct dentry *dentry)
{
	struct mq *mq = dentry->inode->private;
	struct mq_ns *ns = mq_ns_current();

	if (!ns)
		return -ENOENT;
	mutex_lock(&ns->lock);
	if (mq->ns != ns) {
		mutex_unlock(&ns->lock);
		return -ENOENT;
	}
	TAILQ_REMOVE(&ns->queues, mq, ns_link);
	ns->count--;
	mutex_unlock(&ns->lock);
	dentry->inode->nlink = 0;
	inode_put(mq->inode);
	mq_put(mq);
	return 0;
}

static int mq_iterate(struct file *file, struct dir_context *ctx)
{
	struct mq_ns *ns = mq_ns_current();
	struct mq *mq;
	int64_t pos = 2;

	if (!dir_emit_dots(file, ctx) || !ns)
		return 0;
	MUTEX_GUARD(&ns->lock);
	TAILQ_FOREACH (mq, &ns->queues, ns_link) {
		if (pos++ < ctx->pos)
			continue;
		if (!ctx->actor(ctx, mq->name, strlen(mq->name), pos, mq->inode->ino, DT_REG))
			return 0;
		ctx->pos = pos;
	}
	return 0;
}

/* Names are per namespace: what another one's caller left in the cache is looked up again. */
static bool mq_revalidate(struct dentry *dentry)
{
	struct mq_ns *ns = mq_ns_current();
	struct mq *mq = dentry->inode ? dentry->inode->private : NULL;

	if (!mq || !ns)
		return dentry->inode && S_ISDIR(dentry->inode->mode);
	MUTEX_GUARD(&ns->lock);
	return find(ns, dentry->name) == mq;
}

/* --- files
 * ---------------------------------------------------------------------------------------------------
 */

static int mq_open_file(struct inode *inode, struct file *file)
{
	file->private = mq_get(inode->private);
	return 0;
}

static void mq_release(struct file *file)
{
	mq_put(file->private);
}

static int mq_flush(struct file *file)
{
	if (current)
		mq_unnotify(file->private, current->group);
	return 0;
}

static ssize_t mq_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct mq *mq = file->private;
	char text[128];
	ssize_t n;
	int len, pid;

	mutex_lock(&mq->lock);
	pid = mq->notify_group && current ? group_nr_ns(mq->notify_group, task_pid_ns(current)) : 0;
	len = snprintf(text, sizeof(text), "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
		       mq->bytes, mq->notify_group ? mq->notify_kind : 0,
		       mq->notify_group && mq->notify_kind == SIGEV_SIGNAL ? mq->notify_sig : 0,
		       pid);
	mutex_unlock(&mq->lock);
	if (*pos >= len)
		return 0;
	n = copy_to_iter(to, text + *pos, MIN(iov_iter_count(to), (size_t)(len - *pos)));
	if (n > 0)
		*pos += n;
	return n;
}

static uint32_t mq_poll(struct file *file, struct poll_table *pt)
{
	struct mq *mq = file->private;
	uint32_t mask = 0;

	poll_wait(pt, &mq->wait);
	MUTEX_GUARD(&mq->lock);
	if (mq->count)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (mq->count < mq->max_msgs)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

const struct file_operations mq_fops = {
	.no_splice = true,
	.open = mq_open_file,
	.release = mq_release,
	.flush = mq_flush,
	.read = mq_read,
	.poll = mq_poll,
};

static const struct inode_operations mq_iops = {0};
static const struct inode_operations mq_dir_iops = {
	.lookup = mq_lookup,
	.create = mq_create_name,
	.unlink = mq_unlink,
};
static const struct file_operations mq_dir_fops = {.iterate = mq_iterate};

/* --- the super block
 * ------------------------------------------------------------------------------------------- */

static void mq_evict(struct inode *inode)
{
	struct mq *mq = inode->private;
	struct mq_ns *ns = mq ? mq->ns : NULL;

	if (!mq)
		return;
	if (ns) {
		atomic_fetch_sub(&ns->total, mq->charged);
		mq_ns_put(ns);
	}
	mq_put(mq);
}

static int mq_statfs(struct super_block *sb, struct statfs *buf)
{
	memset(buf, 0, sizeof(*buf));
	buf->f_type = MQUEUE_MAGIC;
	buf->f_bsize = buf->f_frsize = PAGE_SIZE;
	buf->f_namelen = NAME_MAX_LEN;
	return 0;
}

static const struct super_operations mq_sops = {.evict_inode = mq_evict, .statfs = mq_statfs};
static const struct dentry_operations mq_dops = {.revalidate = mq_revalidate};
static const struct fs_type mqueue_type;

/* init_lock held. */
static int make_super(void)
{
	struct super_block *sb = sb_alloc(&mqueue_type, &mq_sops);
	struct inode *root;

	if (!sb)
		return -ENOMEM;
	sb_of_kernel(sb);
	sb->magic = MQUEUE_MAGIC;
	sb->flags = SB_NO_NEGATIVE;
	sb->d_ops = &mq_dops;
	root = inode_alloc(sb, S_IFDIR | 01777);
	if (root) {
		root->nlink = 2;
		root->ops = &mq_dir_iops;
		root->fops = &mq_dir_fops;
		sb->root = d_make_root(sb, root);
	}
	if (!sb->root) {
		sb_put(sb);
		return -ENOMEM;
	}
	the_sb = sb;
	return 0;
}

static int mq_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			const char *data, void *arg, struct super_block **out)
{
	MUTEX_GUARD(&init_lock);
	if (!the_sb && make_super())
		return -ENOMEM;
	sb_get(the_sb);
	*out = the_sb;
	return 0;
}

int mq_root(struct path *out)
{
	MUTEX_GUARD(&init_lock);
	if (!the_sb && make_super())
		return -ENOMEM;
	if (!the_mount) {
		sb_get(the_sb);
		the_mount = mount_internal(the_sb);
		if (!the_mount)
			return -ENOMEM;
	}
	out->mnt = mnt_get(the_mount);
	out->dentry = d_get(the_sb->root);
	return 0;
}

int mq_create_at(const struct path *root, const char *name, mode_t mode, const struct mq_attr *attr)
{
	struct inode *dir = root->dentry->inode;
	struct dentry *d;
	int err = inode_permission(dir, MAY_WRITE | MAY_EXEC);

	if (err)
		return err;
	COMMAND_WRITE_GUARD(&dir->lock);
	d = lookup_locked(root->dentry, name, strlen(name));
	if (IS_ERR(d))
		return (int)PTR_ERR(d);
	if (d->inode) {
		d_put(d);
		return -EEXIST;
	}
	create_attr = attr;
	err = mq_create_name(dir, d, mode, true);
	create_attr = NULL;
	d_put(d);
	return err;
}

static struct user_ns *mqueue_owner(void)
{
	return namespace_owner(CLONE_NEWIPC, current->ipc_ns);
}

static const struct fs_type mqueue_type = {
	.name = "mqueue",
	.nodev = true,
	.guest_mount = true,
	.userns_mount = true,
	.owner = mqueue_owner,
	.get_super = mq_get_super,
};

void mqueue_init(void)
{
	fs_register(&mqueue_type);
}
