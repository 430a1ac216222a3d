/* Changing and reading attributes: stat, chmod, chown, utimes, truncate. */
#include <linux/fs.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/command_lock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/lock/leases.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/notify/fsnotify.h"

int vfs_getattr(const struct path *path, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct inode *inode = path->dentry->inode;
	int err = 0;

	if (!inode)
		return -ENOENT;
	memset(stat, 0, sizeof(*stat));
	if (inode->ops && inode->ops->getattr)
		err = inode->ops->getattr(inode, stat, mask, flags);
	else
		generic_fillattr(inode, stat);
	stat->mnt_id =
		mask & STATX_MNT_ID_UNIQUE ? mount_unique_id(path->mnt) : (uint64_t)path->mnt->id;
	return err;
}

int vfs_copy_up(struct dentry *dentry)
{
	struct inode *inode = dentry->inode;

	return inode->ops && inode->ops->copy_up ? inode->ops->copy_up(dentry) : 0;
}

static uint32_t notify_mask(const struct iattr *attr)
{
	uint32_t valid = attr->valid;

	if (valid & (ATTR_UID | ATTR_GID | ATTR_MODE))
		return IN_ATTRIB;
	if (valid & ATTR_SIZE)
		return IN_MODIFY;
	if ((valid & (ATTR_ATIME | ATTR_MTIME)) == (ATTR_ATIME | ATTR_MTIME))
		return IN_ATTRIB;
	return valid & ATTR_ATIME ? IN_ACCESS : valid & ATTR_MTIME ? IN_MODIFY : 0;
}

/* The mode without setuid and setgid, as a change of owner or content leaves it. */
static uint32_t mode_without_priv(uint32_t mode)
{
	mode &= ~(uint32_t)S_ISUID;
	if (mode & S_IXGRP)
		mode &= ~(uint32_t)S_ISGID;
	return mode;
}

void inode_drop_capability(struct inode *inode)
{
	if (inode->no_capability)
		return;
	if (inode->ops && inode->ops->getxattr && inode->ops->setxattr &&
	    inode->ops->getxattr(inode, XATTR_CAPABILITY, NULL, 0) > 0 &&
	    inode->ops->setxattr(inode, XATTR_CAPABILITY, NULL, 0, 0))
		return; /* to be tried again */
	inode->no_capability = true;
}

int notify_change(struct dentry *dentry, struct iattr *attr)
{
	struct inode *inode;
	int err = vfs_copy_up(dentry);

	if (err)
		return err;
	inode = dentry->inode;
	if (!(attr->valid & ATTR_CTIME)) {
		attr->ctime = current_time();
		attr->valid |= ATTR_CTIME;
	}
	command_write_lock(&inode->lock);
	if (attr->valid & (ATTR_KILL_PRIV | ATTR_SIZE))
		inode_drop_capability(inode);
	if (attr->valid & ATTR_KILL_PRIV) {
		uint32_t mode = atomic_load(&inode->mode);

		attr->valid &= ~ATTR_KILL_PRIV;
		if (S_ISREG(mode) && mode_without_priv(mode) != mode &&
		    !(attr->valid & ATTR_MODE)) {
			attr->mode = mode_without_priv(mode) & 07777;
			attr->valid |= ATTR_MODE;
		}
	}
	if (inode->ops && inode->ops->setattr)
		err = inode->ops->setattr(inode, attr);
	else
		err = generic_setattr(inode, attr);
	write_unlock(&inode->lock);
	if (!err && notify_mask(attr))
		fsnotify_dentry(notify_mask(attr), dentry);
	return err;
}

static bool immutable(const struct inode *inode)
{
	return inode->flags & (S_IMMUTABLE_FL | S_APPEND_FL);
}

/* The following run with write access to the mount: EROFS comes before who may (man 2 chmod). */

static int change_mode(const struct path *path, uint32_t mode)
{
	struct inode *inode = path->dentry->inode;
	struct iattr attr = {.valid = ATTR_MODE, .mode = mode & 07777};

	if (S_ISLNK(inode->mode))
		return -EOPNOTSUPP;
	if (!inode_owner_or_capable(inode) || immutable(inode))
		return -EPERM;
	if ((mode & S_ISGID) && !cred_in_group(vfs_cred(), inode->gid) &&
	    !inode_capable(inode, CAP_FSETID))
		attr.mode &= ~(uint32_t)S_ISGID;
	return notify_change(path->dentry, &attr);
}

int vfs_chmod(const struct path *path, uint32_t mode)
{
	int err = mnt_want_write(path);

	if (err)
		return err;
	err = change_mode(path, mode);
	mnt_drop_write(path);
	return err;
}

static int change_owner(const struct path *path, uid_t uid, gid_t gid)
{
	struct inode *inode = path->dentry->inode;
	const struct cred *cred = vfs_cred();
	struct iattr attr = {.valid = ATTR_KILL_PRIV, .uid = uid, .gid = gid};
	bool owner = cred->fsuid == inode->uid;

	if (immutable(inode))
		return -EPERM;
	if (uid != (uid_t)-1) {
		attr.valid |= ATTR_UID;
		if (!uid_has_name(inode->sb->user_ns, uid))
			return -EOVERFLOW;
		if (!(owner && uid == inode->uid) && !inode_capable(inode, CAP_CHOWN))
			return -EPERM;
	}
	if (gid != (gid_t)-1) {
		attr.valid |= ATTR_GID;
		if (!gid_has_name(inode->sb->user_ns, gid))
			return -EOVERFLOW;
		if (!(owner && (gid == inode->gid || cred_in_group(cred, gid))) &&
		    !inode_capable(inode, CAP_CHOWN))
			return -EPERM;
	}
	return notify_change(path->dentry, &attr);
}

int vfs_chown(const struct path *path, uid_t uid, gid_t gid)
{
	int err = mnt_want_write(path);

	if (err)
		return err;
	err = change_owner(path, uid, gid);
	mnt_drop_write(path);
	return err;
}

static int change_times(const struct path *path, const struct timespec times[2])
{
	struct inode *inode = path->dentry->inode;
	struct timespec now = current_time();
	struct iattr attr = {0};
	bool explicit_time = false;

	for (int i = 0; i < 2; i++) {
		struct timespec t = times ? times[i] : now;

		if (times && t.tv_nsec == UTIME_OMIT)
			continue;
		if (times && t.tv_nsec == UTIME_NOW)
			t = now;
		else if (times)
			explicit_time = true;
		attr.valid |= i ? ATTR_MTIME : ATTR_ATIME;
		*(i ? &attr.mtime : &attr.atime) = t;
	}
	/* "One now, one omitted" counts as setting a time, too. */
	if (attr.valid != (ATTR_MTIME | ATTR_ATIME))
		explicit_time = true;
	if (inode->flags & S_IMMUTABLE_FL)
		return explicit_time ? -EPERM : -EACCES;
	if (explicit_time) {
		if (!inode_owner_or_capable(inode) || (inode->flags & S_APPEND_FL))
			return -EPERM;
	} else if (!inode_owner_or_capable(inode)) {
		int err = inode_permission(inode, MAY_WRITE);

		if (err)
			return err;
	}
	return notify_change(path->dentry, &attr);
}

int vfs_utimes(const struct path *path, const struct timespec times[2])
{
	int err;

	for (int i = 0; times && i < 2; i++)
		if (times[i].tv_nsec != UTIME_OMIT && times[i].tv_nsec != UTIME_NOW &&
		    (times[i].tv_nsec < 0 || times[i].tv_nsec > 999999999))
			return -EINVAL;
	if (times && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
		return 0;
	err = mnt_want_write(path);
	if (err)
		return err;
	err = change_times(path, times);
	mnt_drop_write(path);
	return err;
}

int do_truncate(struct dentry *dentry, int64_t length, uint32_t why)
{
	struct iattr attr = {.valid = ATTR_SIZE | ATTR_MTIME | why, .size = length};

	if (length < 0)
		return -EINVAL;
	if (length > inode_max_bytes(dentry->inode))
		return -EFBIG;
	if (!vfs_capable(CAP_FSETID))
		attr.valid |= ATTR_KILL_PRIV;
	attr.mtime = current_time();
	return notify_change(dentry, &attr);
}

int vfs_truncate(const struct path *path, int64_t length)
{
	struct inode *inode = path->dentry->inode;
	int err;

	if (S_ISDIR(inode->mode))
		return -EISDIR;
	if (!S_ISREG(inode->mode))
		return -EINVAL;
	err = mnt_want_write(path);
	if (err)
		return err;
	err = inode_permission(inode, MAY_WRITE);
	if (!err && (inode->flags & S_APPEND_FL))
		err = -EPERM;
	if (!err)
		err = lease_break(inode, true, false);
	if (!err)
		err = inode_get_write_access(inode);
	if (!err) {
		err = do_truncate(path->dentry, length, 0);
		inode_put_write_access(inode);
	}
	mnt_drop_write(path);
	return err;
}
