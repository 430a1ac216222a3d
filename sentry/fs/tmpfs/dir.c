/*
 * Directories of tmpfs. The dentry cache is the directory: every entry's dentry is pinned there,
 * and a tree by position serves readdir. The directory's inode lock guards it; the VFS holds it
 * (write) around all but iterate.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <string.h>

#include "base/command_lock.h"
#include "sentry/fs/tmpfs/node_internal.h"
#include "sentry/vfs/file.h"

#define DIRENT_SIZE 20 /* what an entry adds to st_size, as Linux's tmpfs says */

static int compare(struct tmpfs_dirent *a, struct tmpfs_dirent *b)
{
	return a->pos < b->pos ? -1 : a->pos > b->pos;
}
RB_GENERATE_INTERNAL(tmpfs_dir_tree, tmpfs_dirent, node, compare, static __maybe_unused)

static void touch(struct inode *dir)
{
	dir->mtime = dir->ctime = current_time();
}

static void insert(struct inode *dir, struct tmpfs_dirent *e)
{
	struct tmpfs_node *node = tmpfs_node(dir);

	e->pos = node->next_pos++;
	RB_INSERT(tmpfs_dir_tree, &node->entries, e);
	atomic_fetch_add(&dir->size, DIRENT_SIZE);
	touch(dir);
}

static void take_out(struct inode *dir, struct tmpfs_dirent *e)
{
	RB_REMOVE(tmpfs_dir_tree, &tmpfs_node(dir)->entries, e);
	atomic_fetch_sub(&dir->size, DIRENT_SIZE);
	touch(dir);
}

/* Puts the dentry, which gets inode (consumed), into dir. */
static int add_entry(struct inode *dir, struct dentry *dentry, struct inode *inode)
{
	struct tmpfs_dirent *e = calloc(1, sizeof(*e));

	if (!e) {
		inode_put(inode);
		return -ENOMEM;
	}
	e->dentry = dentry;
	dentry->private = e;
	d_instantiate(dentry, inode);
	d_pin(dentry);
	insert(dir, e);
	return 0;
}

/* The dentry leaves dir; its name is still cached until the VFS drops it. */
static void remove_entry(struct inode *dir, struct dentry *dentry)
{
	struct tmpfs_dirent *e = dentry->private;

	take_out(dir, e);
	dentry->private = NULL;
	free(e);
	d_unpin(dentry);
}

static int make(struct inode *dir, struct dentry *dentry, uint32_t mode, uint64_t rdev)
{
	struct inode *inode;
	int err = tmpfs_inode_new(dir->sb, dir, mode, rdev, &inode);

	if (!err)
		err = add_entry(dir, dentry, inode);
	if (!err && S_ISDIR(mode))
		atomic_fetch_add(&dir->nlink, 1);
	return err;
}

static int tmpfs_lookup(struct inode *dir, struct dentry *dentry)
{
	return 0; /* what exists is cached */
}

static int tmpfs_create(struct inode *dir, struct dentry *dentry, mode_t mode, bool excl)
{
	return make(dir, dentry, S_IFREG | (mode & 07777), 0);
}

static int tmpfs_mkdir(struct inode *dir, struct dentry *dentry, mode_t mode)
{
	return make(dir, dentry, S_IFDIR | (mode & 07777), 0);
}

static int tmpfs_mknod(struct inode *dir, struct dentry *dentry, mode_t mode, dev_t dev)
{
	return make(dir, dentry, mode, dev);
}

static int tmpfs_symlink(struct inode *dir, struct dentry *dentry, const char *target)
{
	struct inode *inode;
	int err = tmpfs_inode_new(dir->sb, dir, S_IFLNK | 0777, 0, &inode);

	if (err)
		return err;
	tmpfs_node(inode)->target = strdup(target);
	if (!tmpfs_node(inode)->target) {
		inode_put(inode);
		return -ENOMEM;
	}
	atomic_store(&inode->size, strlen(target));
	return add_entry(dir, dentry, inode);
}

static int tmpfs_tmpfile(struct inode *dir, mode_t mode, struct inode **out)
{
	int err = tmpfs_inode_new(dir->sb, dir, mode, 0, out);

	if (!err)
		atomic_store(&(*out)->nlink, 0);
	return err;
}

static int tmpfs_link(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = old->inode;
	int err;

	err = add_entry(dir, dentry, inode_get(inode));
	if (err)
		return err;
	atomic_fetch_add(&inode->nlink, 1);
	inode->ctime = current_time();
	return 0;
}

static void drop_link(struct inode *inode)
{
	atomic_fetch_sub(&inode->nlink, 1);
	inode->ctime = current_time();
}

static int tmpfs_unlink(struct inode *dir, struct dentry *dentry)
{
	drop_link(dentry->inode);
	remove_entry(dir, dentry);
	return 0;
}

static int tmpfs_rmdir(struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = dentry->inode;

	if (!RB_EMPTY(&tmpfs_node(inode)->entries))
		return -ENOTEMPTY;
	drop_link(inode);
	drop_link(inode);
	atomic_fetch_sub(&dir->nlink, 1);
	remove_entry(dir, dentry);
	return 0;
}

static int make_whiteout(struct inode *dir, struct dentry *old)
{
	struct dentry *d = d_alloc(old->parent, old->name, old->len);
	int err;

	if (!d)
		return -ENOMEM;
	err = make(dir, d, S_IFCHR, 0);
	if (!err)
		d_add(d); /* behind `old`, which the VFS moves away next */
	d_put(d);
	return err;
}

static void move_links(struct inode *from, struct inode *to, const struct inode *moved)
{
	if (from != to && S_ISDIR(moved->mode)) {
		atomic_fetch_sub(&from->nlink, 1);
		atomic_fetch_add(&to->nlink, 1);
	}
}

static int tmpfs_rename(struct inode *olddir, struct dentry *old, struct inode *newdir,
			struct dentry *new, unsigned flags)
{
	struct tmpfs_dirent *e = old->private, *other = new->private;
	struct inode *target = new->inode;
	int err;

	if (flags & RENAME_EXCHANGE) {
		take_out(olddir, e);
		take_out(newdir, other);
		insert(newdir, e);
		insert(olddir, other);
		move_links(olddir, newdir, old->inode);
		move_links(newdir, olddir, target);
		old->inode->ctime = target->ctime = current_time();
		return 0;
	}
	if (target && S_ISDIR(target->mode) && !RB_EMPTY(&tmpfs_node(target)->entries))
		return -ENOTEMPTY;
	if (flags & RENAME_WHITEOUT) {
		err = make_whiteout(olddir, old);
		if (err)
			return err;
	}
	if (target) {
		drop_link(target);
		if (S_ISDIR(target->mode)) {
			drop_link(target);
			atomic_fetch_sub(&newdir->nlink, 1);
		}
		remove_entry(newdir, new);
	}
	take_out(olddir, e);
	insert(newdir, e);
	move_links(olddir, newdir, old->inode);
	old->inode->ctime = current_time();
	return 0;
}

static int tmpfs_get_link(struct inode *inode, char **target, struct path *jump)
{
	*target = strdup(tmpfs_node(inode)->target);
	return *target ? 0 : -ENOMEM;
}

static int tmpfs_iterate(struct file *file, struct dir_context *ctx)
{
	struct inode *dir = file->inode;
	struct tmpfs_dirent *e, key;

	if (!dir_emit_dots(file, ctx))
		return 0;
	COMMAND_READ_GUARD(&dir->lock);
	key.pos = ctx->pos;
	for (e = RB_NFIND(tmpfs_dir_tree, &tmpfs_node(dir)->entries, &key); e;
	     e = RB_NEXT(tmpfs_dir_tree, &tmpfs_node(dir)->entries, e)) {
		struct dentry *d = e->dentry;

		if (!ctx->actor(ctx, d->name, d->len, e->pos + 1, d->inode->ino,
				IFTODT(d->inode->mode)))
			break;
		ctx->pos = e->pos + 1;
	}
	return 0;
}

static int64_t tmpfs_dir_llseek(struct file *file, int64_t offset, int whence)
{
	return generic_llseek(file, offset, whence, INT64_MAX, INT64_MAX);
}

static int tmpfs_fsync(struct file *file, int64_t start, int64_t end, bool datasync)
{
	return 0; /* memory is as safe as it gets */
}

const struct inode_operations tmpfs_dir_iops = {
	TMPFS_COMMON_IOPS,	.lookup = tmpfs_lookup,	  .create = tmpfs_create,
	.link = tmpfs_link,	.unlink = tmpfs_unlink,	  .symlink = tmpfs_symlink,
	.mkdir = tmpfs_mkdir,	.rmdir = tmpfs_rmdir,	  .mknod = tmpfs_mknod,
	.rename = tmpfs_rename, .tmpfile = tmpfs_tmpfile,
};
const struct inode_operations tmpfs_symlink_iops = {
	TMPFS_COMMON_IOPS,
	.get_link = tmpfs_get_link,
};
const struct file_operations tmpfs_dir_fops = {
	.iterate = tmpfs_iterate,
	.llseek = tmpfs_dir_llseek,
	.fsync = tmpfs_fsync,
};
