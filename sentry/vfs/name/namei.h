/*
 * Operations on names: what mkdir(2), unlink(2), rename(2) and their kin do, for the system calls
 * and for other parts of the kernel (unix sockets, mqueue, the loader). Names are kernel strings;
 * dfd is an fd of the current task or AT_FDCWD. All check permissions with vfs_cred(), take the
 * locks, and tell fsnotify. 0 or -errno as the man pages say.
 */
#ifndef MOAT_SENTRY_VFS_NAME_NAMEI_H
#define MOAT_SENTRY_VFS_NAME_NAMEI_H

#include <limits.h>

#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs.h"

/* Makes a node: mode holds the type (S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK) and permission
 * bits; the umask is applied here. rdev in the kernel's encoding. */
int vfs_mknod(int dfd, const char *name, uint32_t mode, uint64_t rdev);
int vfs_mkdir(int dfd, const char *name, uint32_t mode);
int vfs_rmdir(int dfd, const char *name);
int vfs_unlink(int dfd, const char *name);
int vfs_symlink(const char *target, int dfd, const char *name);
/* at_flags: AT_SYMLINK_FOLLOW, AT_EMPTY_PATH */
int vfs_link(int old_dfd, const char *old_name, int new_dfd, const char *new_name, int at_flags);
/* flags: RENAME_* */
int vfs_rename(int old_dfd, const char *old_name, int new_dfd, const char *new_name,
	       unsigned flags);
/* For the loader: from an explicit start, and without a umask. */
int vfs_mkdir_from(const struct path *root, const struct path *start, const char *name,
		   uint32_t mode);
int vfs_mknod_from(const struct path *root, const struct path *start, const char *name,
		   uint32_t mode, uint64_t rdev);

/* mknod for a unix socket's bind(2): as vfs_mknod with S_IFSOCK, and the path of what was made. */
int vfs_bind_socket(const char *name, uint32_t mode, struct path *out);

/* open(2) in all its forms. lookup: LOOKUP_* of openat2's resolve. root/start NULL: the task's. */
int vfs_open(int dfd, const char *name, uint32_t flags, uint32_t mode, unsigned lookup,
	     struct file **out);

/* readlink(2) without the buffer: malloc'd target of the symlink at path. -EINVAL: none. */
int vfs_readlink(const struct path *path, char **target);

#endif
