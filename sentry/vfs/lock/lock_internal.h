/* Between the files of vfs/lock. */
#ifndef MOAT_SENTRY_VFS_LOCK_LOCK_INTERNAL_H
#define MOAT_SENTRY_VFS_LOCK_LOCK_INTERNAL_H

#include "sentry/vfs/lock/locks.h"

/* Processes outside of the sandbox use the file, too: see struct lock_mirror. */
bool is_mirrored(const struct inode *inode);

#endif
