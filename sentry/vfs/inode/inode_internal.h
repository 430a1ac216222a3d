/* Between the files of vfs/inode. */
#ifndef MOAT_SENTRY_VFS_INODE_INODE_INTERNAL_H
#define MOAT_SENTRY_VFS_INODE_INODE_INTERNAL_H

#include "sentry/vfs/vfs.h"

/* An inode that kept sb is gone. */
void sb_put_passive(struct super_block *sb);

#endif
