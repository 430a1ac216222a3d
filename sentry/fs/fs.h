/* Registers every file system type of the sentry: called once by the loader. Each type's init is
 * found by weak reference, so that a build without one still links. */
#ifndef MOAT_SENTRY_FS_FS_H
#define MOAT_SENTRY_FS_FS_H

void fs_register_all(void);

/* Each calls fs_register(), and registers its devices. */
void tmpfs_init(void);
void hostfs_init(void);
void overlay_init(void);
void proc_init(void);
void sysfs_init(void);
void devtmpfs_init(void);
void devpts_init(void);
void mqueue_init(void);
void cgroupfs_init(void);
void pipe_init(void); /* fifos */

#endif
