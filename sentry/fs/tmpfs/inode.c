/* Inodes of tmpfs: making, evicting, attributes, extended attributes. */
#include <string.h>

#include "sentry/fs/tmpfs/node_internal.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/kernel/core/cred.h"

int tmpfs_inode_new(struct super_block *sb, struct inode *dir, uint32_t mode, uint64_t rdev,
		    struct inode **out)
{
	struct tmpfs_quota *quota = tmpfs_sb(sb)->quota;
	struct tmpfs_node *node;
	struct inode *inode;
	int err = tmpfs_quota_charge_inode(quota);

	if (err)
		return err;
	node = calloc(1, sizeof(*node));
	inode = node ? inode_alloc(sb, mode) : NULL;
	if (inode && S_ISREG(mode)) {
		node->data = tmpfs_data_create(quota);
		if (!node->data) {
			inode->private = NULL;
			inode_put(inode); /* evict gives the charge back */
			free(node);
			return -ENOMEM;
		}
	}
	if (!inode) {
		free(node);
		tmpfs_quota_uncharge_inode(quota);
		return -ENOMEM;
	}
	simple_xattrs_init(&node->xattrs);
	RB_INIT(&node->entries);
	node->next_pos = 2;
	inode->private = node;
	inode->uid = vfs_cred()->fsuid;
	inode->gid = vfs_cred()->fsgid;
	if (dir && (dir->mode & S_ISGID)) {
		inode->gid = dir->gid;
		if (S_ISDIR(mode))
			atomic_fetch_or(&inode->mode, S_ISGID);
		else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
			 !cred_in_group(vfs_cred(), dir->gid) && !inode_capable(dir, CAP_FSETID))
			atomic_fetch_and(&inode->mode, ~(uint32_t)S_ISGID);
	}
	inode->rdev = rdev;
	inode->ops = &tmpfs_special_iops;
	switch (mode & S_IFMT) {
	case S_IFREG:
		inode->ops = &tmpfs_file_iops;
		inode->fops = &tmpfs_file_fops;
		break;
	case S_IFDIR:
		inode->ops = &tmpfs_dir_iops;
		inode->fops = &tmpfs_dir_fops;
		atomic_store(&inode->nlink, 2);
		atomic_store(&inode->size, 40);
		break;
	case S_IFLNK:
		inode->ops = &tmpfs_symlink_iops;
		inode->flags |= S_CACHE_LINK;
		break;
	}
	*out = inode;
	return 0;
}

void tmpfs_evict_inode(struct inode *inode)
{
	struct tmpfs_node *node = tmpfs_node(inode);

	if (node) {
		tmpfs_data_free(node->data);
		free(node->target);
		tmpfs_quota_uncharge_pages(tmpfs_sb(inode->sb)->quota, node->xattr_pages);
		simple_xattrs_free(&node->xattrs);
		free(node);
	}
	tmpfs_quota_uncharge_inode(tmpfs_sb(inode->sb)->quota);
}

int tmpfs_setattr(struct inode *inode, struct iattr *attr)
{
	int err;

	if ((attr->valid & ATTR_SIZE) && S_ISREG(inode->mode)) {
		err = tmpfs_data_truncate(tmpfs_node(inode)->data, attr->size);
		if (err)
			return err;
	}
	if ((attr->valid & ATTR_MODE) && S_ISREG(inode->mode) &&
	    (tmpfs_data_get_seals(tmpfs_node(inode)->data) & F_SEAL_EXEC) &&
	    ((inode->mode ^ attr->mode) & 0111))
		return -EPERM;
	return generic_setattr(inode, attr);
}

int tmpfs_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct tmpfs_node *node = tmpfs_node(inode);

	generic_fillattr(inode, stat);
	stat->blksize = 4096;
	stat->blocks = node->data && stat->size ? tmpfs_data_blocks(node->data) : 0;
	return 0;
}

/* The VFS has checked who may use which name; here it is known which prefixes exist. */
static bool supported(const struct inode *inode, const char *name)
{
	if (!strncmp(name, "user.", 5))
		return S_ISREG(inode->mode) || S_ISDIR(inode->mode);
	return !strncmp(name, "trusted.", 8) || !strncmp(name, "security.", 9);
}

ssize_t tmpfs_getxattr(struct inode *inode, const char *name, void *buf, size_t size)
{
	if (!supported(inode, name))
		return -EOPNOTSUPP;
	return simple_xattr_get(&tmpfs_node(inode)->xattrs, name, buf, size);
}

int tmpfs_setxattr(struct inode *inode, const char *name, const void *value, size_t size, int flags)
{
	struct tmpfs_node *node = tmpfs_node(inode);
	struct tmpfs_quota *quota = tmpfs_sb(inode->sb)->quota;
	uint64_t worst, now;
	int err;

	if (!supported(inode, name))
		return -EOPNOTSUPP;
	/* The memory counts as pages of the file system; inode->lock keeps xattr_pages steady. */
	worst = value ? (size + 512) / 4096 + 1 : 0;
	err = tmpfs_quota_charge_pages(quota, worst);
	if (err)
		return err;
	err = simple_xattr_set(&node->xattrs, name, value, size, flags);
	now = (node->xattrs.bytes + 4095) / 4096;
	tmpfs_quota_uncharge_pages(quota, node->xattr_pages + worst - now);
	node->xattr_pages = now;
	if (!err)
		inode->ctime = current_time();
	return err;
}

ssize_t tmpfs_listxattr(struct inode *inode, char *buf, size_t size)
{
	return simple_xattr_list(&tmpfs_node(inode)->xattrs, buf, size, vfs_capable(CAP_SYS_ADMIN));
}

const struct inode_operations tmpfs_special_iops = {TMPFS_COMMON_IOPS};
