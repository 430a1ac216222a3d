/*
 * Names in the overlay's directories. A directory's own inode lock, which the VFS holds, keeps
 * these operations apart; oi->lock is for readers of listings.
 *
 * Every operation allocates all it needs first; then it cannot fail half-way.
 */
#include <errno.h>
#include <string.h>

#include "sentry/fs/overlay/overlay_internal.h"

#ifndef RENAME_EXCHANGE
#define RENAME_NOREPLACE (1 << 0)
#define RENAME_EXCHANGE (1 << 1)
#endif

static int lookup(struct inode *dir, struct dentry *dentry)
{
	struct ovl_inode *od = ovl_of(dir);
	struct inode *inode = NULL;
	struct ovl_name *n;
	int ret;

	mutex_lock(&od->lock);
	n = ovl_name_find(od, dentry->name);
	if (n && n->inode)
		inode = inode_get(n->inode);
	mutex_unlock(&od->lock);
	if (!n && ovl_has_lower(od)) {
		ret = host_lookup(&od->lower, dentry->name, &inode);
		if (ret)
			return ret;
	}
	if (inode)
		d_instantiate(dentry, inode);
	return 0;
}

/* --- changing the set of names -------------------------------------------------------------------
 */

/* Makes `name` lead to inode (reference consumed). `spare` is a name of that spelling, for use if
 * there is none yet: consumed. `from_lower`: what the name led to until now came from below. */
static void name_set(struct inode *dir, struct ovl_name *spare, struct inode *inode,
		     bool from_lower)
{
	struct ovl_inode *od = ovl_of(dir);
	struct dirlist *merged;
	struct inode *old;
	struct ovl_name *n;

	mutex_lock(&od->lock);
	merged = od->merged;
	od->merged = NULL;
	n = RB_INSERT(ovl_names, &od->names, spare);
	if (n) {
		free(spare);
	} else {
		n = spare;
		n->in_lower = from_lower;
	}
	old = n->inode;
	n->inode = inode;
	od->live_names += !!inode - !!old;
	if (!n->inode && !n->in_lower) {
		RB_REMOVE(ovl_names, &od->names, n);
		free(n);
	}
	mutex_unlock(&od->lock);
	dirlist_put(merged);
	ovl_pin(dir);
	if (old)
		inode_put(old);
}

/* A file lost a name. */
static void drop_link(struct inode *inode, bool is_dir)
{
	uint32_t nlink = atomic_load(&inode->nlink);

	nlink = is_dir || nlink == 0 ? 0 : nlink - 1;
	atomic_store(&inode->nlink, nlink);
	if (nlink && atomic_load(&ovl_of(inode)->extra_links)) {
		atomic_fetch_sub(&ovl_of(inode)->extra_links, 1);
		tmpfs_quota_uncharge_inode(ovl_super_of(inode)->quota);
	}
	inode->ctime = current_time();
	if (nlink)
		ovl_pin(inode);
	else
		ovl_unpin(inode);
}

static void change_nlink(struct inode *dir, int by)
{
	if (by < 0 && atomic_load(&dir->nlink) <= 2)
		return; /* host file systems that do not count (btrfs: always 1) */
	if (atomic_load(&dir->nlink) >= 2)
		atomic_fetch_add(&dir->nlink, by);
}

static int add(struct inode *dir, struct dentry *dentry, struct inode *inode)
{
	struct ovl_name *spare = ovl_name_alloc(dentry->name);

	if (!spare) {
		inode_put(inode);
		return -ENOMEM;
	}
	name_set(dir, spare, inode_get(inode), false);
	if (S_ISDIR(atomic_load(&inode->mode)))
		change_nlink(dir, 1);
	ovl_touch(dir, true);
	d_instantiate(dentry, inode);
	return 0;
}

static int make(struct inode *dir, struct dentry *dentry, mode_t mode, uint64_t rdev)
{
	struct inode *inode;
	int ret = ovl_new_inode(dir->sb, dir, mode, rdev, &inode);

	return ret ? ret : add(dir, dentry, inode);
}

static int create(struct inode *dir, struct dentry *dentry, mode_t mode, bool excl)
{
	return make(dir, dentry, S_IFREG | (mode & 07777), 0);
}

static int mkdir_op(struct inode *dir, struct dentry *dentry, mode_t mode)
{
	return make(dir, dentry, S_IFDIR | (mode & 07777), 0);
}

static int mknod_op(struct inode *dir, struct dentry *dentry, mode_t mode, dev_t dev)
{
	return make(dir, dentry, mode & S_IFMT ? mode : mode | S_IFREG, dev);
}

static int symlink_op(struct inode *dir, struct dentry *dentry, const char *target)
{
	struct inode *inode;
	int ret = ovl_new_inode(dir->sb, dir, S_IFLNK | 0777, 0, &inode);

	if (ret)
		return ret;
	ovl_of(inode)->link = strdup(target);
	if (!ovl_of(inode)->link) {
		inode_put(inode);
		return -ENOMEM;
	}
	atomic_store(&inode->size, (int64_t)strlen(target));
	return add(dir, dentry, inode);
}

static int tmpfile_op(struct inode *dir, mode_t mode, struct inode **out)
{
	int ret = ovl_new_inode(dir->sb, dir, S_IFREG | (mode & 07777), 0, out);

	if (!ret)
		atomic_store(&(*out)->nlink, 0);
	return ret;
}

static int link_op(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = old->inode;
	int ret;

	if (atomic_load(&inode->nlink) >= UINT32_MAX - 1)
		return -EMLINK;
	/* As tmpfs has it: names cost memory, however few files they are of. */
	ret = tmpfs_quota_charge_inode(ovl_super_of(inode)->quota);
	if (ret)
		return ret;
	ret = add(dir, dentry, inode_get(inode));
	if (ret) {
		tmpfs_quota_uncharge_inode(ovl_super_of(inode)->quota);
		return ret;
	}
	atomic_fetch_add(&ovl_of(inode)->extra_links, 1);
	atomic_fetch_add(&inode->nlink, 1);
	inode->ctime = current_time();
	ovl_pin(inode);
	return 0;
}

/* What is not in dir's own names came from below. */
static bool is_from_lower(struct inode *dir, const char *name)
{
	struct ovl_inode *od = ovl_of(dir);

	MUTEX_GUARD(&od->lock);
	return !ovl_name_find(od, name);
}

static int remove_name(struct inode *dir, struct dentry *dentry, bool is_dir)
{
	struct ovl_name *spare = ovl_name_alloc(dentry->name);

	if (!spare)
		return -ENOMEM;
	name_set(dir, spare, NULL, is_from_lower(dir, dentry->name));
	drop_link(dentry->inode, is_dir);
	if (is_dir)
		change_nlink(dir, -1);
	ovl_touch(dir, true);
	return 0;
}

static int unlink_op(struct inode *dir, struct dentry *dentry)
{
	return remove_name(dir, dentry, false);
}

static int rmdir_op(struct inode *dir, struct dentry *dentry)
{
	int ret = ovl_check_empty(dentry->inode);

	return ret ? ret : remove_name(dir, dentry, true);
}

/* --- rename -------------------------------------------------------------------------------------
 */

/* A directory that came from below keeps its lower directory wherever it goes: an inode refers to
 * the lower object itself, not to a path. So nothing is copied. */
static int rename_op(struct inode *olddir, struct dentry *old, struct inode *newdir,
		     struct dentry *new, unsigned flags)
{
	struct inode *inode = old->inode, *victim = new->inode;
	bool is_dir = S_ISDIR(atomic_load(&inode->mode));
	bool exchange = flags & RENAME_EXCHANGE;
	struct ovl_name *old_spare, *new_spare;
	bool victim_is_dir = victim && S_ISDIR(atomic_load(&victim->mode));

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (victim == inode)
		return 0;
	if (victim_is_dir && !exchange) {
		int ret = ovl_check_empty(victim);

		if (ret)
			return ret;
	}
	old_spare = ovl_name_alloc(old->name);
	new_spare = ovl_name_alloc(new->name);
	if (!old_spare || !new_spare) {
		free(old_spare);
		free(new_spare);
		return -ENOMEM;
	}
	if (victim)
		inode_get(victim);
	name_set(newdir, new_spare, inode_get(inode), victim && is_from_lower(newdir, new->name));
	name_set(olddir, old_spare, exchange ? inode_get(victim) : NULL,
		 is_from_lower(olddir, old->name));
	if (is_dir) {
		change_nlink(olddir, -1);
		change_nlink(newdir, 1);
	}
	if (victim_is_dir) {
		change_nlink(newdir, -1);
		if (exchange)
			change_nlink(olddir, 1);
	}
	if (victim && !exchange)
		drop_link(victim, victim_is_dir);
	else if (victim)
		victim->ctime = current_time();
	inode->ctime = current_time();
	ovl_touch(olddir, true);
	ovl_touch(newdir, true);
	if (victim)
		inode_put(victim);
	return 0;
}

static int get_link(struct inode *inode, char **target, struct path *jump)
{
	struct ovl_inode *oi = ovl_of(inode);

	if (!oi->link)
		return host_readlink(&oi->lower, target);
	*target = strdup(oi->link);
	return *target ? 0 : -ENOMEM;
}

const struct inode_operations ovl_dir_iops = {
	.lookup = lookup,
	.create = create,
	.link = link_op,
	.unlink = unlink_op,
	.symlink = symlink_op,
	.mkdir = mkdir_op,
	.rmdir = rmdir_op,
	.mknod = mknod_op,
	.rename = rename_op,
	.tmpfile = tmpfile_op,
	.setattr = ovl_setattr,
	.getattr = ovl_getattr,
	.getxattr = ovl_getxattr,
	.setxattr = ovl_setxattr,
	.listxattr = ovl_listxattr,
};

const struct inode_operations ovl_file_iops = {
	.setattr = ovl_setattr,
	.getattr = ovl_getattr,
	.getxattr = ovl_getxattr,
	.setxattr = ovl_setxattr,
	.listxattr = ovl_listxattr,
};

const struct inode_operations ovl_link_iops = {
	.get_link = get_link,
	.setattr = ovl_setattr,
	.getattr = ovl_getattr,
	.getxattr = ovl_getxattr,
	.setxattr = ovl_setxattr,
	.listxattr = ovl_listxattr,
};
