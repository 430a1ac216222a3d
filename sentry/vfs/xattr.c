/* Who may read and write which extended attribute (man 7 xattr). */
#include "sentry/vfs/xattr.h"

#include <string.h>

#include "sentry/kernel/cred.h"
#include "sentry/vfs/fsnotify.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/namei.h"

static bool has_prefix(const char *name, const char *prefix)
{
	return !strncmp(name, prefix, strlen(prefix));
}

static int xattr_permission(struct inode *inode, const char *name, int mask)
{
	if ((mask & MAY_WRITE) && (inode->flags & (S_IMMUTABLE_FL | S_APPEND_FL)))
		return -EPERM;
	/* The security and system ones are up to their owners; writing needs what Linux without
	 * security modules asks (cap_inode_setxattr). */
	if (has_prefix(name, "security.")) {
		if (!(mask & MAY_WRITE))
			return 0;
		if (!strcmp(name, "security.capability"))
			return vfs_capable(CAP_SETFCAP) ? 0 : -EPERM;
		return vfs_capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
	}
	if (has_prefix(name, "system."))
		return 0;
	if (has_prefix(name, "trusted.")) {
		if (vfs_capable(CAP_SYS_ADMIN))
			return 0;
		return mask & MAY_WRITE ? -EPERM : -ENODATA;
	}
	if (has_prefix(name, "user.")) {
		if (!S_ISREG(inode->mode) && !S_ISDIR(inode->mode))
			return mask & MAY_WRITE ? -EPERM : -ENODATA;
		if (S_ISDIR(inode->mode) && (inode->mode & S_ISVTX) && (mask & MAY_WRITE) &&
		    !inode_owner_or_capable(inode))
			return -EPERM;
	}
	return inode_permission(inode, mask);
}

ssize_t vfs_getxattr(const struct path *path, const char *name, void *buf, size_t size)
{
	struct inode *inode = path->dentry->inode;
	int err = xattr_permission(inode, name, MAY_READ);

	if (err)
		return err;
	if (!inode->ops || !inode->ops->getxattr)
		return -EOPNOTSUPP;
	return inode->ops->getxattr(inode, name, buf, size);
}

static int change(const struct path *path, const char *name, const void *value, size_t size,
		  int flags)
{
	struct inode *inode = path->dentry->inode;
	int err = mnt_want_write(path);

	if (err)
		return err;
	err = xattr_permission(inode, name, MAY_WRITE);
	if (!err && (!inode->ops || !inode->ops->setxattr))
		err = -EOPNOTSUPP;
	if (!err)
		err = vfs_copy_up(path->dentry);
	if (!err) {
		inode = path->dentry->inode;
		write_lock(&inode->lock);
		err = inode->ops->setxattr(inode, name, value, size, flags);
		write_unlock(&inode->lock);
	}
	mnt_drop_write(path);
	if (!err)
		fsnotify_dentry(IN_ATTRIB, path->dentry);
	return err;
}

int vfs_setxattr(const struct path *path, const char *name, const void *value, size_t size,
		 int flags)
{
	return change(path, name, value ? value : "", size, flags);
}

int vfs_removexattr(const struct path *path, const char *name)
{
	return change(path, name, NULL, 0, 0);
}

ssize_t vfs_listxattr(const struct path *path, char *buf, size_t size)
{
	struct inode *inode = path->dentry->inode;

	if (!inode->ops || !inode->ops->listxattr)
		return 0;
	return inode->ops->listxattr(inode, buf, size);
}
