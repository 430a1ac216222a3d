/* Start-up of the VFS: call once, before any mount is made. */
#ifndef MOAT_SENTRY_VFS_INIT_H
#define MOAT_SENTRY_VFS_INIT_H

/* Makes the mount of anonymous files; sizes the dentry cache by machine.total_memory. Calling it
 * again does nothing. tmpfs_init() calls it, so that fs_register_all() is enough. */
void vfs_init(void);

#endif
