/* tmpfs's own inodes. Private to the folder. */
#ifndef MOAT_SENTRY_FS_TMPFS_NODE_INTERNAL_H
#define MOAT_SENTRY_FS_TMPFS_NODE_INTERNAL_H

#include <bsd/sys/tree.h>

#include "sentry/fs/tmpfs/data_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/xattr/simple_xattr.h"

/* An entry of a directory, by the position that readdir knows it by. Owned by its dentry. */
struct tmpfs_dirent {
	RB_ENTRY(tmpfs_dirent) node;
	uint64_t pos;
	struct dentry *dentry;
};
RB_HEAD(tmpfs_dir_tree, tmpfs_dirent);

struct tmpfs_node {
	struct tmpfs_data *data; /* regular files */
	char *target;		 /* symlinks */
	/* directories; the inode's lock */
	struct tmpfs_dir_tree entries;
	uint64_t next_pos;
	struct simple_xattrs xattrs;
	uint64_t xattr_pages; /* charged for them; inode->lock */
};

struct tmpfs_sb {
	struct tmpfs_quota *quota;
	uint32_t root_mode;
	uid_t uid;
	gid_t gid;
};

static inline struct tmpfs_node *tmpfs_node(const struct inode *inode)
{
	return inode->private;
}
static inline struct tmpfs_sb *tmpfs_sb(const struct super_block *sb)
{
	return sb->private;
}

/* A new inode of any type (mode has S_IFMT), owned by the caller's fsuid, charged to the quota;
 * dir gives group and setgid. NULL dir: none. -ENOSPC, -ENOMEM. */
int tmpfs_inode_new(struct super_block *sb, struct inode *dir, uint32_t mode, uint64_t rdev,
		    struct inode **out);
void tmpfs_evict_inode(struct inode *inode);
extern const struct inode_operations tmpfs_dir_iops, tmpfs_file_iops, tmpfs_symlink_iops,
	tmpfs_special_iops;
extern const struct file_operations tmpfs_dir_fops, tmpfs_file_fops;

/* attributes: attr.c */
int tmpfs_setattr(struct inode *inode, struct iattr *attr);
int tmpfs_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags);
ssize_t tmpfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size);
int tmpfs_setxattr(struct inode *inode, const char *name, const void *value, size_t size,
		   int flags);
ssize_t tmpfs_listxattr(struct inode *inode, char *buf, size_t size);
#define TMPFS_COMMON_IOPS                                                                          \
	.setattr = tmpfs_setattr, .getattr = tmpfs_getattr, .getxattr = tmpfs_getxattr,            \
	.setxattr = tmpfs_setxattr, .listxattr = tmpfs_listxattr

#endif
