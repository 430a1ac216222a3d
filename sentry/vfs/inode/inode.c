/* Inodes: life, times, generic attributes, write access against execution. */
#include <string.h>
#include <time.h>

#include "base/command_lock.h"
#include "sentry/vfs/inode/inode_internal.h"
#include "sentry/vfs/lock/locks.h"

struct timespec current_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts;
}

struct inode *inode_alloc(struct super_block *sb, uint32_t mode)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	refcount_init(&inode->refs);
	inode->sb = sb;
	refcount_inc(&sb->passive);
	inode->ino = atomic_fetch_add(&sb->next_ino, 1) + 1;
	atomic_init(&inode->mode, mode);
	atomic_init(&inode->nlink, 1);
	/* Two classes: directories come before files. */
	if (S_ISDIR(mode))
		rwlock_init_as(&inode->lock, LOCK_NESTS);
	else
		rwlock_init_as(&inode->lock, LOCK_NESTS);
	inode->atime = inode->mtime = inode->ctime = inode->btime = current_time();
	return inode;
}

struct inode *inode_get(struct inode *inode)
{
	refcount_inc(&inode->refs);
	return inode;
}

void inode_put(struct inode *inode)
{
	struct super_block *sb = inode->sb;

	if (!refcount_dec(&inode->refs))
		return;
	if (inode->ops && inode->ops->evict)
		inode->ops->evict(inode);
	if (sb->ops && sb->ops->evict_inode)
		sb->ops->evict_inode(inode);
	file_locks_free(inode->locks);
	free(atomic_load(&inode->link));
	rwlock_destroy(&inode->lock);
	free(inode);
	sb_put_passive(sb);
}

uint64_t inode_sequence(struct inode *inode)
{
	static _Atomic uint64_t last;
	uint64_t seq = atomic_load(&inode->sequence), new;

	if (seq)
		return seq;
	new = atomic_fetch_add(&last, 1) + 1;
	return atomic_compare_exchange_strong(&inode->sequence, &seq, new) ? new : seq;
}

void inode_update_time(struct inode *inode, bool m, bool c)
{
	struct timespec now = current_time();

	COMMAND_WRITE_GUARD(&inode->lock);
	if (m)
		inode->mtime = now;
	if (c)
		inode->ctime = now;
}

void generic_fillattr(struct inode *inode, struct kstat *stat)
{
	stat->ino = inode->ino;
	stat->mode = atomic_load(&inode->mode);
	stat->nlink = atomic_load(&inode->nlink);
	stat->uid = inode->uid;
	stat->gid = inode->gid;
	stat->rdev = inode->rdev;
	stat->size = atomic_load(&inode->size);
	stat->blocks = (stat->size + 511) / 512;
	stat->blksize = inode->sb->blksize ? inode->sb->blksize : 4096;
	stat->dev = inode->sb->dev;
	stat->atime = inode->atime;
	stat->mtime = inode->mtime;
	stat->ctime = inode->ctime;
	stat->btime = inode->btime;
	stat->result_mask = STATX_BASIC_STATS | STATX_BTIME;
}

int generic_setattr(struct inode *inode, const struct iattr *attr)
{
	if (attr->valid & ATTR_UID)
		inode->uid = attr->uid;
	if (attr->valid & ATTR_GID)
		inode->gid = attr->gid;
	if (attr->valid & ATTR_MODE)
		atomic_store(&inode->mode,
			     (atomic_load(&inode->mode) & S_IFMT) | (attr->mode & 07777));
	if (attr->valid & ATTR_SIZE)
		atomic_store(&inode->size, attr->size);
	if (attr->valid & ATTR_ATIME)
		inode->atime = attr->atime;
	if (attr->valid & ATTR_MTIME)
		inode->mtime = attr->mtime;
	if (attr->valid & ATTR_CTIME)
		inode->ctime = attr->ctime;
	return 0;
}

int inode_get_write_access(struct inode *inode)
{
	int n = atomic_load(&inode->write_count);

	do {
		if (n < 0)
			return -ETXTBSY;
	} while (!atomic_compare_exchange_weak(&inode->write_count, &n, n + 1));
	return 0;
}

void inode_put_write_access(struct inode *inode)
{
	atomic_fetch_sub(&inode->write_count, 1);
}

int inode_deny_write_access(struct inode *inode)
{
	int n = atomic_load(&inode->write_count);

	do {
		if (n > 0)
			return -ETXTBSY;
	} while (!atomic_compare_exchange_weak(&inode->write_count, &n, n - 1));
	return 0;
}

void inode_allow_write_access(struct inode *inode)
{
	atomic_fetch_add(&inode->write_count, 1);
}
