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
/* class/net, devices/virtual/net; sb->private is the mount's namespace, counted, or NULL. */
extern const struct inode_operations sysfs_class_net_iops;
extern const struct inode_operations sysfs_virtual_net_iops;
extern const struct file_operations sysfs_net_fops;
/* Is what was found in them still so? */
bool sysfs_net_revalidate(struct dentry *dentry);

#endif
