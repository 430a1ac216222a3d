/* Changes of attributes, with all checks (man 2 chmod, chown, truncate, utimensat). 0 or -errno. */
#ifndef MOAT_SENTRY_VFS_INODE_ATTR_H
#define MOAT_SENTRY_VFS_INODE_ATTR_H

#include "sentry/vfs/vfs.h"

int vfs_chmod(const struct path *path, uint32_t mode);
int vfs_chown(const struct path *path, uid_t uid, gid_t gid); /* -1: keep */
/* times: [0] atime, [1] mtime with UTIME_NOW and UTIME_OMIT; NULL: both now. */
int vfs_utimes(const struct path *path, const struct timespec times[2]);
/* setattr through the file system; the caller has checked and holds mnt_want_write. Copies up,
 * takes inode->lock. */
int notify_change(struct dentry *dentry, struct iattr *attr);
/* Truncation without the check of the path's permission (the file is open for writing). why: 0, or
 * ATTR_OPEN for O_TRUNC. */
int do_truncate(struct dentry *dentry, int64_t length, uint32_t why);
/* The file's content or owner changes: its capabilities go. inode->lock held (write). */
void inode_drop_capability(struct inode *inode);
#define XATTR_CAPABILITY "security.capability"
int vfs_copy_up(struct dentry *dentry); /* ops->copy_up if there is one */
/* With the check of the path's permission. */
int vfs_truncate(const struct path *path, int64_t length);

#endif
