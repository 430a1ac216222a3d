/* Between the files of vfs/file. */
#ifndef MOAT_SENTRY_VFS_FILE_FILE_INTERNAL_H
#define MOAT_SENTRY_VFS_FILE_FILE_INTERNAL_H

#include "sentry/vfs/file.h"

/* A description without a file yet: see file.c. NULL: no memory, or too many in the sandbox. */
struct file *file_alloc(uint32_t flags);
/* anon.c */
void anon_init(void);
/* device.c: file->ops for a character or block device. */
int device_open(struct inode *inode, struct file *file);
/* device.c: file->ops of a fifo; NULL: there are none. */
const struct file_operations *device_fifo(void);
/* file_io.c: after a read of what is at path, if the mount's atime rules want it. */
void touch_atime(const struct path *path);

#endif
