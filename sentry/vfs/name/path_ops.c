/*
 * Creating and removing names (man 2 mknod, mkdir, rmdir, unlink, symlink, link).
 *
 * Each walks to the parent directory, takes write access to the mount, then the directory's inode
 * lock, looks the last component up under it, checks, and calls the file system.
 */
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

static bool sticky_forbids(struct inode *dir, struct inode *victim)
{
	uid_t fsuid = vfs_cred()->fsuid;

	return (atomic_load(&dir->mode) & S_ISVTX) && victim->uid != fsuid && dir->uid != fsuid &&
	       !inode_capable(victim, CAP_FOWNER);
}

int may_create(struct inode *dir, struct dentry *child)
{
	if (child->inode)
		return -EEXIST;
	if (dir->flags & S_DEAD)
		return -ENOENT;
	/* What is made would belong to nobody the file system knows. */
	if (!uid_has_name(dir->sb->user_ns, vfs_cred()->fsuid) ||
	    !gid_has_name(dir->sb->user_ns, vfs_cred()->fsgid))
		return -EOVERFLOW;
	return inode_permission(dir, MAY_WRITE | MAY_EXEC);
}

int may_delete(struct inode *dir, struct dentry *victim, bool is_dir)
{
	struct inode *inode = victim->inode;
	int err;

	if (!inode)
		return -ENOENT;
	err = inode_permission(dir, MAY_WRITE | MAY_EXEC);
	if (err)
		return err;
	if (dir->flags & S_APPEND_FL)
		return -EPERM;
	if (sticky_forbids(dir, inode) || (inode->flags & (S_APPEND_FL | S_IMMUTABLE_FL)))
		return -EPERM;
	if (is_dir) {
		if (!S_ISDIR(inode->mode))
			return -ENOTDIR;
	} else if (S_ISDIR(inode->mode)) {
		return -EISDIR;
	}
	return dir->flags & S_DEAD ? -ENOENT : 0;
}

/* A place where a name is made or removed, held: parent's lock and write access to its mount. */
struct place {
	struct walk walk;
	struct path parent; /* counted */
	struct dentry *child;
	int ro_error; /* -EROFS: reported after what is wrong with the name itself */
};

static int place_lock(struct place *p)
{
	struct inode *dir = p->parent.dentry->inode;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	p->ro_error = mnt_want_write(&p->parent);
	if (!p->ro_error) {
		int err = vfs_copy_up(p->parent.dentry);

		if (err) {
			mnt_drop_write(&p->parent);
			return err;
		}
		dir = p->parent.dentry->inode;
	}
	command_write_lock(&dir->lock);
	p->child = p->walk.last_len > NAME_MAX_LEN
			   ? ERR_PTR(-ENAMETOOLONG)
			   : lookup_locked(p->parent.dentry, p->walk.last, p->walk.last_len);
	if (!IS_ERR(p->child))
		return 0;
	write_unlock(&dir->lock);
	if (!p->ro_error)
		mnt_drop_write(&p->parent);
	return PTR_ERR(p->child);
}

static void place_unlock(struct place *p)
{
	write_unlock(&p->parent.dentry->inode->lock);
	d_put(p->child);
	if (!p->ro_error)
		mnt_drop_write(&p->parent);
}

/* Walks to the parent; the walk itself has begun. On success the caller ends with place_end. */
static int place_walk(struct place *p, const char *name)
{
	int err = *name ? walk_parent(&p->walk, name) : -ENOENT;

	if (!err) {
		int slot_err = walk_unlazy(&p->walk);

		err = slot_err;
	}
	if (err) {
		walk_end(&p->walk, NULL);
		return err;
	}
	p->parent = p->walk.path;
	path_get(&p->parent);
	return 0;
}

static void place_end(struct place *p)
{
	path_put(&p->parent);
	walk_end(&p->walk, NULL);
}

/* For making a new name: -EEXIST for "/", "." and "..", and for what exists. */
static int create_begin(struct place *p, const char *name, bool is_dir)
{
	int err = place_walk(p, name);

	if (err)
		return err;
	if (p->walk.last_kind != LAST_NORM) {
		place_end(p);
		return -EEXIST;
	}
	err = place_lock(p);
	if (err) {
		place_end(p);
		return err;
	}
	if (p->child->inode)
		err = -EEXIST;
	else if (!is_dir && p->walk.trailing_slash)
		err = -ENOENT;
	else if (p->ro_error)
		err = p->ro_error;
	else
		err = may_create(p->parent.dentry->inode, p->child);
	if (err) {
		place_unlock(p);
		place_end(p);
	}
	return err;
}

static int create_begin_at(struct place *p, int dfd, const char *name, bool is_dir)
{
	int err = walk_begin(&p->walk, dfd, name, 0);

	return err ? err : create_begin(p, name, is_dir);
}

static void create_end(struct place *p, int err, uint32_t event)
{
	if (!err)
		fsnotify_name(event, p->parent.dentry->inode, p->child->name, p->child->inode, 0);
	place_unlock(p);
	place_end(p);
}

/* --- making ------------------------------------------------------------------------------------
 */

uint32_t vfs_create_mode(const struct inode *dir, uint32_t mode)
{
	const uint32_t setgid = S_ISGID | S_IXGRP;
	const struct fs *fs = current_fs();

	if (!S_ISDIR(mode) && (mode & setgid) == setgid && (dir->mode & S_ISGID) &&
	    !cred_in_group(vfs_cred(), dir->gid) && !inode_capable(dir, CAP_FSETID))
		mode &= ~(uint32_t)S_ISGID;
	return fs ? mode & ~(uint32_t)fs->umask : mode;
}

static int mknod_locked(struct place *p, uint32_t mode, uint64_t rdev)
{
	struct inode *dir = p->parent.dentry->inode;

	if (S_ISREG(mode))
		return dir->ops->create ? dir->ops->create(dir, p->child, mode, true) : -EACCES;
	if ((S_ISCHR(mode) || S_ISBLK(mode)) && !vfs_capable(CAP_MKNOD))
		return -EPERM;
	return dir->ops->mknod ? dir->ops->mknod(dir, p->child, mode, rdev) : -EPERM;
}

static int valid_type(uint32_t *mode)
{
	switch (*mode & S_IFMT) {
	case 0:
		*mode |= S_IFREG;
		return 0;
	case S_IFREG:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	case S_IFDIR:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

int vfs_mknod(int dfd, const char *name, uint32_t mode, uint64_t rdev)
{
	struct place p;
	int err = valid_type(&mode);

	if (!err)
		err = create_begin_at(&p, dfd, name, false);
	if (err)
		return err;
	err = mknod_locked(&p, vfs_create_mode(p.parent.dentry->inode, mode), rdev);
	create_end(&p, err, IN_CREATE);
	return err;
}

int vfs_mknod_from(const struct path *root, const struct path *start, const char *name,
		   uint32_t mode, uint64_t rdev)
{
	struct place p;
	int err = valid_type(&mode);

	if (err)
		return err;
	walk_begin_at(&p.walk, root, start, name, 0);
	err = create_begin(&p, name, false);
	if (err)
		return err;
	err = mknod_locked(&p, mode, rdev);
	create_end(&p, err, IN_CREATE);
	return err;
}

int vfs_bind_socket(const char *name, uint32_t mode, struct path *out)
{
	struct place p;
	int err = create_begin_at(&p, AT_FDCWD, name, false);

	if (err)
		return err == -EEXIST ? -EADDRINUSE : err;
	mode = S_IFSOCK | (mode & 07777);
	err = mknod_locked(&p, vfs_create_mode(p.parent.dentry->inode, mode), 0);
	if (!err) {
		out->mnt = mnt_get(p.parent.mnt);
		out->dentry = d_get(p.child);
	}
	create_end(&p, err, IN_CREATE);
	return err;
}

static int mkdir_locked(struct place *p, uint32_t mode)
{
	struct inode *dir = p->parent.dentry->inode;

	return dir->ops->mkdir ? dir->ops->mkdir(dir, p->child, mode & 01777) : -EPERM;
}

int vfs_mkdir(int dfd, const char *name, uint32_t mode)
{
	struct place p;
	int err = create_begin_at(&p, dfd, name, true);

	if (err)
		return err;
	err = mkdir_locked(&p, vfs_create_mode(p.parent.dentry->inode, mode | S_IFDIR) & 07777);
	create_end(&p, err, IN_CREATE);
	return err;
}

int vfs_mkdir_from(const struct path *root, const struct path *start, const char *name,
		   uint32_t mode)
{
	struct place p;
	int err;

	walk_begin_at(&p.walk, root, start, name, 0);
	err = create_begin(&p, name, true);
	if (err)
		return err;
	err = mkdir_locked(&p, mode);
	create_end(&p, err, IN_CREATE);
	return err;
}

int vfs_symlink(const char *target, int dfd, const char *name)
{
	struct inode *dir;
	struct place p;
	int err;

	if (!*target)
		return -ENOENT;
	err = create_begin_at(&p, dfd, name, false);
	if (err)
		return err;
	dir = p.parent.dentry->inode;
	err = dir->ops->symlink ? dir->ops->symlink(dir, p.child, target) : -EPERM;
	create_end(&p, err, IN_CREATE);
	return err;
}

/* protected_hardlinks: others' files only if one could write them and they are harmless. */
static bool may_link_to(struct inode *inode)
{
	uint32_t mode = inode->mode;

	if (inode_owner_or_capable(inode))
		return true;
	if (!S_ISREG(mode) || (mode & S_ISUID) ||
	    (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		return false;
	return !inode_permission(inode, MAY_READ | MAY_WRITE);
}

static int link_locked(struct place *p, const struct path *old)
{
	struct inode *dir = p->parent.dentry->inode, *inode = old->dentry->inode;
	int err;

	if (old->mnt != p->parent.mnt || inode->sb != dir->sb)
		return -EXDEV;
	if (inode->flags & (S_APPEND_FL | S_IMMUTABLE_FL))
		return -EPERM;
	if (!dir->ops->link || S_ISDIR(inode->mode))
		return -EPERM;
	if (!may_link_to(inode))
		return -EPERM;
	/* Its last name is gone: what is deleted stays so. */
	if (!atomic_load(&inode->nlink) && !(inode->flags & S_LINKABLE))
		return -ENOENT;
	err = vfs_copy_up(old->dentry);
	if (!err)
		err = dir->ops->link(old->dentry, dir, p->child);
	if (!err && (inode->flags & S_LINKABLE)) {
		COMMAND_WRITE_GUARD(&inode->lock);
		inode->flags &= ~S_LINKABLE;
	}
	return err;
}

int vfs_link(int old_dfd, const char *old_name, int new_dfd, const char *new_name, int at_flags)
{
	struct path old __put_path = {0};
	unsigned lookup = at_flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0;
	struct place p;
	int err;

	if (at_flags & AT_EMPTY_PATH) {
		if (!*old_name && !vfs_capable(CAP_DAC_READ_SEARCH))
			return -ENOENT;
		lookup |= LOOKUP_EMPTY;
	}
	err = path_lookupat(old_dfd, old_name, lookup, &old);
	if (!err)
		err = create_begin_at(&p, new_dfd, new_name, false);
	if (err)
		return err;
	err = link_locked(&p, &old);
	if (!err)
		fsnotify_inode(IN_ATTRIB, old.dentry->inode);
	create_end(&p, err, IN_CREATE);
	return err;
}

/* --- removing ----------------------------------------------------------------------------------
 */

static int remove_locked(struct place *p, bool is_dir)
{
	struct inode *dir = p->parent.dentry->inode, *inode;
	int err;

	if (!p->child->inode)
		return -ENOENT;
	if (!is_dir && p->walk.trailing_slash)
		return S_ISDIR(p->child->inode->mode) ? -EISDIR : -ENOTDIR;
	if (p->ro_error)
		return p->ro_error;
	err = may_delete(dir, p->child, is_dir);
	if (err)
		return err;
	if (atomic_load(&p->child->mounted))
		return -EBUSY;
	inode = p->child->inode;
	if (is_dir) {
		if (!dir->ops->rmdir)
			return -EPERM;
		/* Held while the directory dies, so that nothing is created in it meanwhile. */
		COMMAND_WRITE_GUARD(&inode->lock);
		err = dir->ops->rmdir(dir, p->child);
		if (!err)
			inode->flags |= S_DEAD;
	} else {
		err = dir->ops->unlink ? dir->ops->unlink(dir, p->child) : -EPERM;
	}
	return err;
}

static int vfs_remove(int dfd, const char *name, bool is_dir)
{
	struct inode *inode, *gone;
	struct place p;
	int err = walk_begin(&p.walk, dfd, name, 0);

	if (!err)
		err = place_walk(&p, name);
	if (err)
		return err;
	if (p.walk.last_kind != LAST_NORM) {
		static const int rmdir_errors[] = {0, -EINVAL, -ENOTEMPTY, -EBUSY};

		err = is_dir ? rmdir_errors[p.walk.last_kind] : -EISDIR;
		place_end(&p);
		return err;
	}
	err = place_lock(&p);
	if (err) {
		place_end(&p);
		return err;
	}
	err = remove_locked(&p, is_dir);
	if (!err) {
		inode = inode_get(p.child->inode);
		if (is_dir)
			d_prune_children(p.child);
		else
			fsnotify_inode(IN_ATTRIB, inode); /* the link count */
		gone = d_delete(p.child);
		/* Nobody else has it open: the object goes before its name is said to be gone. */
		if (gone) {
			if (is_dir || !atomic_load(&inode->nlink))
				fsnotify_inode_gone(inode);
			inode_put(gone);
		}
		fsnotify_name(IN_DELETE, p.parent.dentry->inode, p.child->name, inode, 0);
		inode_put(inode);
	}
	place_unlock(&p);
	place_end(&p);
	return err;
}

int vfs_unlink(int dfd, const char *name)
{
	return vfs_remove(dfd, name, false);
}

int vfs_rmdir(int dfd, const char *name)
{
	return vfs_remove(dfd, name, true);
}

int vfs_readlink(const struct path *path, char **target)
{
	struct inode *inode = path->dentry->inode;
	struct path jump = {0};
	char *text;
	int err;

	if (!S_ISLNK(inode->mode) || !inode->ops || !inode->ops->get_link)
		return -EINVAL;
	text = atomic_load(&inode->link);
	if (text) {
		*target = strdup(text);
		return *target ? 0 : -ENOMEM;
	}
	*target = NULL;
	err = inode->ops->get_link(inode, target, &jump);
	if (err)
		return err;
	if (jump.dentry) {
		free(*target);
		*target = d_path(&jump, NULL);
		path_put(&jump);
	}
	return *target ? 0 : -ENOMEM;
}
