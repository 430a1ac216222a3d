/* Extended attributes of paths, with the checks of man 7 xattr. */
#ifndef MOAT_SENTRY_VFS_XATTR_XATTR_INTERNAL_H
#define MOAT_SENTRY_VFS_XATTR_XATTR_INTERNAL_H

#include "sentry/vfs/vfs.h"

/* size 0 asks for the length. Errors as the man pages; -EOPNOTSUPP: the file system or the name's
 * prefix has none. */
ssize_t vfs_getxattr(const struct path *path, const char *name, void *buf, size_t size);
int vfs_setxattr(const struct path *path, const char *name, const void *value, size_t size,
		 int flags);
int vfs_removexattr(const struct path *path, const char *name);
ssize_t vfs_listxattr(const struct path *path, char *buf, size_t size);

#endif
