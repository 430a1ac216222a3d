/* Start-up of the VFS: call once, before any mount is made. */
#ifndef MOAT_SENTRY_VFS_INIT_H
#define MOAT_SENTRY_VFS_INIT_H

/* Registers tmpfs, anonymous files and the memory devices' table; sizes the dentry cache by
 * kernel.total_memory. Calling it again does nothing. */
void vfs_init(void);

#endif
