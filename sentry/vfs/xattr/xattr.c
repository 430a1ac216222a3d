/* Who may read and write which extended attribute (man 7 xattr). */
#include "base/command_lock.h"
#include "sentry/vfs/xattr/xattr_internal.h"

#include <endian.h>
#include <linux/capability.h>
#include <string.h>

#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/notify/fsnotify.h"

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
		if (!strcmp(name, XATTR_CAPABILITY))
			return inode_capable(inode, CAP_SETFCAP) ? 0 : -EPERM;
		return vfs_ns_capable(inode->sb->user_ns, CAP_SYS_ADMIN) ? 0 : -EPERM;
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

/* --- security.capability ---------------------------------------------------------------------- */

/* struct vfs_cap_data: little-endian words, the first says which version, and so how long. */
static bool valid_capability(const void *value, size_t size)
{
	uint32_t magic;

	if (size < sizeof(magic))
		return false;
	memcpy(&magic, value, sizeof(magic));
	magic = le32toh(magic) & VFS_CAP_REVISION_MASK;
	return (magic == VFS_CAP_REVISION_2 && size == XATTR_CAPS_SZ_2) ||
	       (magic == VFS_CAP_REVISION_3 && size == XATTR_CAPS_SZ_3);
}

static void set_revision(struct vfs_ns_cap_data *d, uint32_t revision, uid_t root)
{
	uint32_t magic = le32toh(d->magic_etc) & ~(uint32_t)VFS_CAP_REVISION_MASK;

	d->magic_etc = htole32(magic | revision);
	d->rootid = htole32(root);
}

/* What is kept has the root of a user namespace as a kernel id; the caller sees its own names, and
 * nothing of a namespace when that is its own or one above (man 7 capabilities). */
static ssize_t get_capability(struct inode *inode, void *buf, size_t size)
{
	const struct user_ns *ns = vfs_cred()->user_ns;
	struct vfs_ns_cap_data d = {0};
	ssize_t n = inode->ops->getxattr(inode, XATTR_CAPABILITY, &d, sizeof(d));

	if (n == XATTR_CAPS_SZ_3 && valid_capability(&d, (size_t)n)) {
		uid_t root = le32toh(d.rootid), name = id_from_kernel(ns, ID_USER, root);

		if (name != INVALID_ID && name != 0) {
			set_revision(&d, VFS_CAP_REVISION_3, name);
		} else if (!user_ns_has_root(ns, root)) {
			return -EOVERFLOW;
		} else {
			set_revision(&d, VFS_CAP_REVISION_2, 0);
			n = XATTR_CAPS_SZ_2;
		}
	}
	if (n < 0 || !size)
		return n;
	if ((size_t)n > size)
		return -ERANGE;
	memcpy(buf, &d, (size_t)n);
	return n;
}

/* The other way: capabilities that the root of a namespace gives count only there. Bytes in *d. */
static ssize_t put_capability(const struct inode *inode, const void *value, size_t size,
			      struct vfs_ns_cap_data *d)
{
	uid_t root = 0;

	if (!valid_capability(value, size))
		return -EINVAL;
	memset(d, 0, sizeof(*d));
	memcpy(d, value, size);
	if (size == XATTR_CAPS_SZ_2 && vfs_ns_capable(inode->sb->user_ns, CAP_SETFCAP))
		return (ssize_t)size;
	if (size == XATTR_CAPS_SZ_3)
		root = le32toh(d->rootid);
	root = id_to_kernel(vfs_cred()->user_ns, ID_USER, root);
	if (root == INVALID_ID || !uid_has_name(inode->sb->user_ns, root))
		return -EINVAL;
	set_revision(d, VFS_CAP_REVISION_3, root);
	return XATTR_CAPS_SZ_3;
}

ssize_t vfs_getxattr(const struct path *path, const char *name, void *buf, size_t size)
{
	struct inode *inode = path->dentry->inode;
	int err = xattr_permission(inode, name, MAY_READ);

	if (err)
		return err;
	if (!inode->ops || !inode->ops->getxattr)
		return -EOPNOTSUPP;
	if (!strcmp(name, XATTR_CAPABILITY))
		return get_capability(inode, buf, size);
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
		command_write_lock(&inode->lock);
		if (!strcmp(name, XATTR_CAPABILITY))
			inode->no_capability = false;
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
	struct vfs_ns_cap_data d;
	ssize_t n;

	if (!strcmp(name, XATTR_CAPABILITY)) {
		n = put_capability(path->dentry->inode, value, size, &d);
		return n < 0 ? (int)n : change(path, name, &d, (size_t)n, flags);
	}
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
