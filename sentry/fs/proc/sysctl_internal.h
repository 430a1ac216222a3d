/* Between the files that make /proc/sys. */
#ifndef MOAT_SENTRY_FS_PROC_SYSCTL_INTERNAL_H
#define MOAT_SENTRY_FS_PROC_SYSCTL_INTERNAL_H

#include "sentry/fs/pseudo/pseudo.h"

extern const struct inode_operations sysctl_iops;
extern const struct file_operations sysctl_fops;
extern const struct pseudo_node sysctl_net_nodes[];

/* sysctl_ipc.c: node->arg is the first limit, and the number of them shifted by 8. */
extern const struct inode_operations sysctl_ipc_iops;
int sysctl_ipc_show(struct text *out, struct inode *inode);
ssize_t sysctl_ipc_write(struct inode *inode, char *s, size_t n);
#define IPC_SETTING(NAME, FIRST, N)                                                                \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0644, .show = sysctl_ipc_show,                   \
		.write = sysctl_ipc_write, .iops = &sysctl_ipc_iops, .fops = &sysctl_fops,         \
		.arg = (FIRST) | (N) << 8                                                          \
	}

#define DIR(NAME, CHILDREN)                                                                        \
	{                                                                                          \
		.name = (NAME), .mode = S_IFDIR | 0555, .children = (CHILDREN)                     \
	}
#define TEXT(NAME, SHOW)                                                                           \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .show = (SHOW), .iops = &sysctl_iops,      \
		.fops = &sysctl_fops                                                               \
	}
#define SETTING(NAME, SHOW, WRITE)                                                                 \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0644, .show = (SHOW), .write = (WRITE),          \
		.iops = &sysctl_iops, .fops = &sysctl_fops                                         \
	}
#define FIXED(NAME, CONTENT)                                                                       \
	{                                                                                          \
		.name = (NAME), .mode = S_IFREG | 0444, .content = (CONTENT),                      \
		.iops = &sysctl_iops, .fops = &sysctl_fops                                         \
	}

#endif
