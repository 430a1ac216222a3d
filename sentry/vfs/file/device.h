/* Which file operations an S_IFCHR or S_IFIFO inode gets when opened. */
#ifndef MOAT_SENTRY_VFS_FILE_DEVICE_H
#define MOAT_SENTRY_VFS_FILE_DEVICE_H

#include "sentry/vfs/file.h"

#define DEVICE_ANY_MINOR (-1)

/* At init. ops is static; its open runs with file->inode set to the device's inode. minor may be
 * DEVICE_ANY_MINOR; an exact entry wins. */
void device_register(int major, int minor, const struct file_operations *ops);
/* The same for fifos. */
void device_register_fifo(const struct file_operations *ops);

#endif
