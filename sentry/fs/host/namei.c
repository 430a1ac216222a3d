/* Names in host directories: looking up, and the changes, which the gofer makes. */
#include <errno.h>
#include <string.h>

#include "sentry/fs/host/host_internal.h"
#include "sentry/kernel/core/cred.h"

#ifndef RENAME_EXCHANGE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE (1 << 1)
#endif

static int lookup(struct inode *dir, struct dentry *dentry)
{
	struct inode *inode;
	int ret = host_lookup(host_object_of(dir), dentry->name, &inode);

	if (!ret && inode)
		d_instantiate(dentry, inode);
	return ret;
}

/* After a change in a directory: its own attributes, and no stale listing. */
static void dir_changed(struct host_object *dir)
{
	struct dirlist *old;

	mutex_lock(&dir->lock);
	old = dir->list;
	dir->list = NULL;
	mutex_unlock(&dir->lock);
	dirlist_put(old);
	host_refresh(dir);
}

/* One change of the name `name` in dir by the gofer; the path goes to a buffer of the caller's. */
static int change(struct host_object *dir, const char *name, struct gofer_transaction *t,
		  char *path)
{
	int ret;

	if (dir->mount->readonly)
		return -EROFS;
	ret = host_node_path(dir->mount, dir->node, name, path);
	if (ret)
		return ret;
	t->path = path;
	ret = gofer_call(dir->mount, t);
	if (!ret)
		dir_changed(dir);
	return ret;
}

/* Makes `dentry` in dir with the owner that Linux gives a new file (inode_init_owner). */
static int make(struct inode *dir, struct dentry *dentry, struct gofer_transaction *t)
{
	struct host_object *d = host_object_of(dir);
	char path[GOFER_PATH_MAX + 1];
	struct inode *inode;
	int ret;

	t->req.uid = vfs_cred()->fsuid;
	t->req.gid = vfs_cred()->fsgid;
	if (atomic_load(&dir->mode) & S_ISGID) {
		t->req.gid = dir->gid;
		if (t->req.op == GOFER_MKDIR)
			t->req.mode |= S_ISGID;
	}
	ret = change(d, dentry->name, t, path);
	if (ret)
		return ret;
	ret = host_iget(d, dentry->name, &t->reply.stat, &inode);
	if (ret) {
		close_fd_ptr(&t->fd);
		return ret;
	}
	if (t->fd >= 0) {
		struct host_object *o = host_object_of(inode);

		mutex_lock(&o->lock);
		if (S_ISREG(t->reply.stat.mode) && atomic_load(&o->wr.fd) < 0) {
			atomic_store(&o->wr.fd, steal_fd(&t->fd));
			host_fd_cache_add(&o->wr);
		}
		mutex_unlock(&o->lock);
		close_fd_ptr(&t->fd);
	}
	d_instantiate(dentry, inode);
	return 0;
}

static int create(struct inode *dir, struct dentry *dentry, mode_t mode, bool excl)
{
	struct gofer_transaction t = {.req.op = GOFER_CREATE, .req.mode = mode & 07777};
	int ret = make(dir, dentry, &t);

	/* Somebody on the host was faster. */
	if (ret == -EEXIST && !excl) {
		ret = lookup(dir, dentry);
		if (!ret && !dentry->inode)
			ret = -ENOENT;
	}
	return ret;
}

static int mkdir_op(struct inode *dir, struct dentry *dentry, mode_t mode)
{
	struct gofer_transaction t = {.req.op = GOFER_MKDIR, .req.mode = mode & 07777};

	return make(dir, dentry, &t);
}

static int mknod_op(struct inode *dir, struct dentry *dentry, mode_t mode, dev_t dev)
{
	struct gofer_transaction t = {.req.op = GOFER_MKNOD, .req.mode = mode};

	if (!(mode & S_IFMT))
		t.req.mode |= S_IFREG;
	return make(dir, dentry, &t);
}

static int symlink_op(struct inode *dir, struct dentry *dentry, const char *target)
{
	struct gofer_transaction t = {
		.req.op = GOFER_SYMLINK, .data = target, .data_len = strlen(target)};

	return make(dir, dentry, &t);
}

static int link_op(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	struct host_object *o = host_object_of(old->inode), *d = host_object_of(dir);
	char old_path[GOFER_PATH_MAX + 1], path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = GOFER_LINK};
	int ret;

	if (d->mount->readonly)
		return -EROFS;
	if (atomic_load(&o->deleted))
		return -ENOENT;
	ret = host_node_path(d->mount, o->node, NULL, old_path);
	if (!ret)
		ret = host_node_path(d->mount, d->node, dentry->name, path);
	if (ret)
		return ret;
	t.path = old_path;
	t.path2 = path;
	ret = gofer_call(d->mount, &t);
	if (ret)
		return ret;
	dir_changed(d);
	if (!host_object_is(o, &t.reply.stat))
		return -ESTALE; /* the old name is another's now; ours will be found by look-up */
	host_inode_fill(old->inode, o, &t.reply.stat);
	d_instantiate(dentry, inode_get(old->inode));
	return 0;
}

/* The name that led to `inode` is gone. */
static void name_gone(struct inode *inode, bool is_dir)
{
	uint32_t nlink = atomic_load(&inode->nlink);

	if (is_dir || nlink <= 1) {
		atomic_store(&inode->nlink, 0);
		atomic_store(&host_object_of(inode)->deleted, true);
	} else {
		atomic_store(&inode->nlink, nlink - 1);
	}
}

static int remove_name(struct inode *dir, struct dentry *dentry, bool is_dir)
{
	char path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = GOFER_UNLINK,
				      .req.flags = is_dir ? AT_REMOVEDIR : 0};
	int ret;

	host_object_keep(host_object_of(dentry->inode));
	ret = change(host_object_of(dir), dentry->name, &t, path);
	if (!ret)
		name_gone(dentry->inode, is_dir);
	return ret;
}

static int unlink_op(struct inode *dir, struct dentry *dentry)
{
	return remove_name(dir, dentry, false);
}

static int rmdir_op(struct inode *dir, struct dentry *dentry)
{
	return remove_name(dir, dentry, true);
}

static int rename_op(struct inode *olddir, struct dentry *old, struct inode *newdir,
		     struct dentry *new, unsigned flags)
{
	struct host_object *from = host_object_of(olddir), *to = host_object_of(newdir);
	char old_path[GOFER_PATH_MAX + 1], new_path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = GOFER_RENAME, .req.flags = flags};
	struct host_object *o = host_object_of(old->inode);
	int ret;

	if (from->mount->readonly)
		return -EROFS;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	ret = host_node_path(from->mount, from->node, old->name, old_path);
	if (!ret)
		ret = host_node_path(to->mount, to->node, new->name, new_path);
	if (ret)
		return ret;
	if (new->inode && !(flags & RENAME_EXCHANGE))
		host_object_keep(host_object_of(new->inode));
	t.path = old_path;
	t.path2 = new_path;
	ret = gofer_call(from->mount, &t);
	if (ret)
		return ret;
	dir_changed(from);
	if (to != from)
		dir_changed(to);
	if (flags & RENAME_EXCHANGE) {
		host_node_swap(from->mount, o->node, host_object_of(new->inode)->node);
		return 0;
	}
	if (new->inode &&new->inode != old->inode)
		name_gone(new->inode, S_ISDIR(atomic_load(&new->inode->mode)));
	return host_node_move(from->mount, o->node, to->node, new->name);
}

static int get_link(struct inode *inode, char **target, struct path *jump)
{
	return host_readlink(host_object_of(inode), target);
}

const struct inode_operations host_dir_iops = {
	.lookup = lookup,
	.create = create,
	.link = link_op,
	.unlink = unlink_op,
	.symlink = symlink_op,
	.mkdir = mkdir_op,
	.rmdir = rmdir_op,
	.mknod = mknod_op,
	.rename = rename_op,
	.setattr = host_setattr,
	.getattr = host_getattr,
	.getxattr = host_inode_getxattr,
	.setxattr = host_setxattr,
	.listxattr = host_inode_listxattr,
};

const struct inode_operations host_link_iops = {
	.get_link = get_link,
	.setattr = host_setattr,
	.getattr = host_getattr,
};

const struct inode_operations host_file_iops = {
	.setattr = host_setattr,
	.getattr = host_getattr,
	.getxattr = host_inode_getxattr,
	.setxattr = host_setxattr,
	.listxattr = host_inode_listxattr,
};
