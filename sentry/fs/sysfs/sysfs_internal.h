/* Between the files of fs/sysfs. */
#ifndef MOAT_SENTRY_FS_SYSFS_H
#define MOAT_SENTRY_FS_SYSFS_H

#include "sentry/fs/pseudo/pseudo.h"

/* devices/system/cpu */
extern const struct inode_operations sysfs_cpus_iops;
extern const struct file_operations sysfs_cpus_fops;
/* "0-3\n" and "f\n" for all CPUs of the sandbox. */
int sysfs_show_cpu_list(struct text *out, struct inode *inode);
int sysfs_show_cpu_mask(struct text *out, struct inode *inode);

#endif
