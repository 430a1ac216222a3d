/* Inodes of the overlay: from the lower layer or new, and what keeps them. */
#include <errno.h>
#include <string.h>

#include "sentry/fs/overlay/overlay_internal.h"
#include "sentry/kernel/core/cred.h"

static void set_ops(struct inode *inode, uint32_t mode)
{
	if (S_ISDIR(mode)) {
		inode->ops = &ovl_dir_iops;
		inode->fops = &ovl_dir_fops;
	} else if (S_ISREG(mode)) {
		inode->ops = &ovl_file_iops;
		inode->fops = &ovl_file_fops;
	} else if (S_ISLNK(mode)) {
		inode->ops = &ovl_link_iops;
		inode->flags |= S_CACHE_LINK;
	} else {
		inode->ops = &ovl_file_iops; /* what they do is not the file system's */
	}
}

static struct inode *alloc(struct super_block *sb, uint32_t mode)
{
	struct ovl_inode *oi = calloc(1, sizeof(*oi));
	struct inode *inode = oi ? inode_alloc(sb, mode) : NULL;

	if (!inode) {
		free(oi);
		return NULL;
	}
	mutex_init(&oi->lock);
	RB_INIT(&oi->names);
	LIST_INIT(&oi->xattrs);
	oi->inode = inode;
	inode->private = oi;
	set_ops(inode, mode);
	return inode;
}

struct inode *ovl_make_lower(struct super_block *sb, const struct gofer_stat *st)
{
	return alloc(sb, st->mode);
}

int ovl_new_inode(struct super_block *sb, struct inode *dir, mode_t mode, uint64_t rdev,
		  struct inode **out)
{
	struct ovl_super *s = sb->private;
	const struct cred *cred = vfs_cred();
	struct inode *inode;
	int ret = tmpfs_quota_charge_inode(s->quota);

	if (ret)
		return ret;
	inode = alloc(sb, mode);
	if (!inode) {
		tmpfs_quota_uncharge_inode(s->quota);
		return -ENOMEM;
	}
	ovl_of(inode)->charged = true;
	ovl_of(inode)->xattrs_up = true;
	inode->rdev = rdev;
	inode->uid = cred->fsuid;
	inode->gid = cred->fsgid;
	if (dir && atomic_load(&dir->mode) & S_ISGID) {
		inode->gid = dir->gid;
		if (S_ISDIR(mode))
			atomic_store(&inode->mode, mode | S_ISGID);
	}
	if (S_ISDIR(mode))
		atomic_store(&inode->nlink, 2);
	if (S_ISREG(mode)) {
		struct tmpfs_data *data = tmpfs_data_create(s->quota);

		if (!data) {
			inode_put(inode);
			return -ENOMEM;
		}
		atomic_store(&ovl_of(inode)->data, data);
	}
	*out = inode;
	return 0;
}

void ovl_evict(struct inode *inode)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct tmpfs_data *data = atomic_load(&oi->data);

	host_object_release(&oi->lower);
	ovl_names_free(oi);
	ovl_xattrs_free(oi);
	if (data)
		tmpfs_data_free(data);
	dirlist_put(oi->merged);
	for (uint32_t i = oi->charged + atomic_load(&oi->extra_links); i; i--)
		tmpfs_quota_uncharge_inode(ovl_super_of(inode)->quota);
	free(oi->link);
	mutex_destroy(&oi->lock);
	free(oi);
}

void ovl_pin(struct inode *inode)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct ovl_super *s = ovl_super_of(inode);

	/* Without a name nobody will look for it again: who uses it keeps it. */
	if (!ovl_has_lower(oi) || !atomic_load(&inode->nlink))
		return;
	MUTEX_GUARD(&s->lock);
	if (oi->pinned || s->dying)
		return;
	oi->pinned = true;
	inode_get(inode);
	TAILQ_INSERT_TAIL(&s->pinned, oi, pinned_link);
}

void ovl_unpin(struct inode *inode)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct ovl_super *s = ovl_super_of(inode);
	bool was;

	mutex_lock(&s->lock);
	was = oi->pinned;
	if (was)
		TAILQ_REMOVE(&s->pinned, oi, pinned_link);
	oi->pinned = false;
	mutex_unlock(&s->lock);
	if (was)
		inode_put(inode);
}

void ovl_touch(struct inode *inode, bool mtime)
{
	inode->ctime = current_time();
	if (mtime)
		inode->mtime = inode->ctime;
}

static int set_size(struct inode *inode, int64_t size)
{
	struct tmpfs_data *data;
	int ret = ovl_copy_up(inode, size, &data);

	if (!ret)
		ret = tmpfs_data_truncate(data, size);
	if (!ret)
		atomic_store(&inode->size, size);
	return ret;
}

int ovl_setattr(struct inode *inode, struct iattr *attr)
{
	struct iattr a = *attr;

	if (a.valid & ATTR_SIZE) {
		int ret = set_size(inode, a.size);

		if (ret)
			return ret;
	}
	if (!(a.valid & ATTR_CTIME)) {
		a.ctime = current_time();
		a.valid |= ATTR_CTIME;
	}
	ovl_pin(inode);
	return generic_setattr(inode, &a);
}

int ovl_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct ovl_inode *oi = ovl_of(inode);
	struct tmpfs_data *data = atomic_load(&oi->data);

	generic_fillattr(inode, stat);
	if (data)
		stat->blocks = tmpfs_data_blocks(data);
	else
		stat->blocks = ovl_has_lower(oi) ? atomic_load(&oi->lower.blocks) : 0;
	return 0;
}
