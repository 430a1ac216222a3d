/* Between the files of vfs/name. */
#ifndef MOAT_SENTRY_VFS_NAME_NAME_INTERNAL_H
#define MOAT_SENTRY_VFS_NAME_NAME_INTERNAL_H

#include "sentry/vfs/name/namei.h"

/* path_ops.c: the mode, type and all, that a new object in dir gets: without what the umask takes,
 * and without setgid for a group that the creator is not in, if the group may execute it. */
uint32_t vfs_create_mode(const struct inode *dir, uint32_t mode);

/* May the caller put a name into dir / take victim out of it? dir's lock held. */
int may_create(struct inode *dir, struct dentry *child);
int may_delete(struct inode *dir, struct dentry *victim, bool is_dir);

#endif
