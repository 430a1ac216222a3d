/* open(2): finding or making the file, the permission checks, truncation. */
#include <stdio.h>
#include <string.h>

#include "base/command_lock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/name/name_internal.h"
#include "sentry/vfs/name/namei.h"
#include "sentry/vfs/notify/fsnotify.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/walk.h"

/* The C library's __O_TMPFILE has O_DIRECTORY in it. */
#define TMPFILE_BIT ((uint32_t)(__O_TMPFILE & ~O_DIRECTORY))

static int access_mask(uint32_t flags)
{
	static const int by_mode[] = {MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE,
				      MAY_READ | MAY_WRITE};
	int mask = by_mode[flags & O_ACCMODE];

	return flags & O_TRUNC ? mask | MAY_WRITE : mask;
}

/* The checks on what exists; created: this open made it, so its mode does not count. */
static int may_open(const struct path *path, uint32_t flags, bool created)
{
	struct inode *inode = path->dentry->inode;
	uint32_t mode = inode->mode;
	int err;

	if (S_ISLNK(mode))
		return -ELOOP;
	if (S_ISDIR(mode) && ((access_mask(flags) & MAY_WRITE) || (flags & O_CREAT)))
		return -EISDIR;
	if (!created) {
		err = inode_permission(inode, access_mask(flags));
		if (err)
			return err;
	}
	if (inode->flags & S_APPEND_FL)
		if ((flags & O_TRUNC) || ((flags & O_ACCMODE) != O_RDONLY && !(flags & O_APPEND)))
			return -EPERM;
	if ((flags & O_NOATIME) && !inode_owner_or_capable(inode))
		return -EPERM;
	return 0;
}

/* Ref mode or not: opens what is at path. */
static int open_path(const struct path *path, uint32_t flags, bool created, struct file **out)
{
	struct file *f;
	int err;

	if (!(flags & O_PATH)) {
		err = may_open(path, flags, created);
		if (err)
			return err;
	}
	if ((flags & O_DIRECTORY) && !S_ISDIR(path->dentry->inode->mode))
		return -ENOTDIR;
	err = file_open(path, flags, &f);
	if (err)
		return err;
	if ((flags & O_TRUNC) && !(flags & O_PATH) && !created && S_ISREG(f->inode->mode)) {
		if (!f->can_write)
			err = mnt_want_write(path);
		if (!err)
			err = do_truncate(path->dentry, 0, ATTR_OPEN);
		if (!f->can_write && !err)
			mnt_drop_write(path);
		if (err) {
			file_put(f);
			return err;
		}
	}
	*out = f;
	return 0;
}

/* O_CREAT with the parent locked. 1: a symlink is to be followed (*link, referenced); 0: *out is
 * the path, *created says whether it is new. */
static int create_or_find(struct walk *w, uint32_t flags, uint32_t mode, struct path *out,
			  struct dentry **link, bool *created)
{
	struct path *parent = &w->path;
	int ro = mnt_want_write(parent), err = 0;
	struct inode *dir;
	struct dentry *d;

	if (!ro)
		err = vfs_copy_up(parent->dentry);
	if (err)
		goto out_ro;
	dir = parent->dentry->inode;
	command_write_lock(&dir->lock);
	d = lookup_locked(parent->dentry, w->last, w->last_len);
	if (IS_ERR(d)) {
		err = PTR_ERR(d);
		goto out_unlock;
	}
	if (!d->inode) {
		err = ro ? ro : may_create(dir, d);
		if (!err)
			err = dir->ops->create
				      ? dir->ops->create(dir, d,
							 vfs_create_mode(dir, S_IFREG | mode),
							 flags & O_EXCL)
				      : -EACCES;
		if (!err) {
			*created = true;
			fsnotify_name(IN_CREATE, dir, d->name, d->inode, 0);
		}
	}
	if (err) {
		d_put(d);
	} else {
		out->mnt = mnt_get(parent->mnt);
		out->dentry = d;
	}
out_unlock:
	write_unlock(&dir->lock);
out_ro:
	if (!ro)
		mnt_drop_write(parent);
	if (err)
		return err;
	if (*created)
		return 0;
	follow_mount(out);
	if (flags & O_EXCL) {
		path_put(out);
		return -EEXIST;
	}
	if (S_ISLNK(out->dentry->inode->mode)) {
		*link = d_get(out->dentry);
		path_put(out);
		if (flags & O_NOFOLLOW) {
			d_put(*link);
			return -ELOOP;
		}
		return 1;
	}
	return 0;
}

static int open_create(struct walk *w, const char *name, uint32_t flags, uint32_t mode,
		       struct file **out)
{
	struct path path = {0};
	struct dentry *link = NULL;
	bool created = false;
	int err = walk_parent(w, name);

	for (;;) {
		if (!err)
			err = walk_unlazy(w);
		if (err)
			return err;
		if (w->last_kind != LAST_NORM) { /* "/", "..": a directory; or a magic link's end */
			if (flags & O_EXCL)
				return -EEXIST;
			err = walk_last(w, true);
			if (!err)
				err = walk_check_scope(w, &w->path);
			return err ? err : open_path(&w->path, flags, false, out);
		}
		if (w->trailing_slash)
			return -EISDIR;
		if (w->last_len > NAME_MAX_LEN)
			return -ENAMETOOLONG;
		if (!w->path.dentry->inode || !S_ISDIR(w->path.dentry->inode->mode))
			return -ENOTDIR;
		err = walk_check_scope(w, &w->path);
		if (err)
			return err;
		err = create_or_find(w, flags, mode, &path, &link, &created);
		if (err <= 0)
			break;
		err = walk_into_link(w, link);
		d_put(link);
	}
	if (!err && (w->flags & LOOKUP_NO_XDEV) && path.mnt != w->path.mnt)
		err = -EXDEV;
	if (!err)
		err = open_path(&path, flags, created, out);
	path_put(&path);
	return err;
}

static int open_tmpfile(struct walk *w, const char *name, uint32_t flags, uint32_t mode,
			struct file **out)
{
	struct path path;
	struct inode *dir, *inode = NULL;
	int err;

	w->flags |= LOOKUP_DIRECTORY;
	err = walk_all(w, name);
	if (!err)
		err = walk_unlazy(w);
	if (err)
		return err;
	err = mnt_want_write(&w->path);
	if (err)
		return err;
	err = vfs_copy_up(w->path.dentry);
	dir = w->path.dentry->inode;
	if (!err)
		err = inode_permission(dir, MAY_WRITE | MAY_EXEC);
	if (!err)
		err = dir->ops && dir->ops->tmpfile
			      ? dir->ops->tmpfile(dir, vfs_create_mode(dir, S_IFREG | mode), &inode)
			      : -EOPNOTSUPP;
	if (!err) {
		char unused[32];

		if (!(flags & O_EXCL))
			inode->flags |= S_LINKABLE;
		snprintf(unused, sizeof(unused), "#%lu", (unsigned long)inode->ino);
		path.mnt = mnt_get(w->path.mnt);
		path.dentry = d_alloc(w->path.dentry, unused, strlen(unused));
		if (path.dentry) {
			d_instantiate(path.dentry, inode);
			err = open_path(&path, flags & ~(uint32_t)(O_CREAT | O_DIRECTORY), true,
					out);
		} else {
			inode_put(inode);
			err = -ENOMEM;
		}
		path_put(&path);
	}
	mnt_drop_write(&w->path);
	return err;
}

static int open_existing(struct walk *w, const char *name, uint32_t flags, struct file **out)
{
	int err = walk_all(w, name);

	if (err)
		return err;
	/* file_open takes its own references; nothing of this runs in the read section. */
	err = walk_unlazy(w);
	return err ? err : open_path(&w->path, flags, false, out);
}

int vfs_open(int dfd, const char *name, uint32_t flags, uint32_t mode, unsigned lookup,
	     struct file **out)
{
	bool tmpfile = (flags & TMPFILE_BIT) && !(flags & O_PATH);
	struct walk w;
	int err;

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if ((flags & O_CREAT) && (flags & O_DIRECTORY) && !tmpfile)
		return -EINVAL;
	if (tmpfile && ((flags & O_TMPFILE) != O_TMPFILE || (flags & O_ACCMODE) == O_RDONLY))
		return -EINVAL;
	if (!(flags & O_NOFOLLOW))
		lookup |= LOOKUP_FOLLOW;
	if (flags & O_DIRECTORY)
		lookup |= LOOKUP_DIRECTORY;
	if (!*name && !(lookup & LOOKUP_EMPTY))
		return -ENOENT;
	mode &= 07777;
	err = walk_begin(&w, dfd, name, lookup);
	if (err)
		return err;
	if (tmpfile)
		err = open_tmpfile(&w, name, flags, mode, out);
	else if (flags & O_CREAT)
		err = open_create(&w, name, flags, mode, out);
	else
		err = open_existing(&w, name, flags, out);
	walk_end(&w, NULL);
	return err;
}

int file_open_at(int dfd, const char *name, uint32_t flags, mode_t mode, struct file **out)
{
	return vfs_open(dfd, name, flags, mode, 0, out);
}
