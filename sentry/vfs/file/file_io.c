/* Reading, writing, seeking and polling files, with the checks that all kinds share. */
#include <dirent.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/epoll.h>

#include "base/command_lock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/vfs/file/file_internal.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/notify/fsnotify.h"

/*
 * relatime: an access time that is older than the last change, or than a day. Reads the times
 * without the inode's lock, as Linux does: should one change meanwhile, the access time is written
 * once more or once less than need be, which nobody can tell from reading a moment later.
 */
__attribute__((no_sanitize("thread"))) static bool
atime_needs_update(const struct inode *inode, struct timespec now, unsigned long flags)
{
	if (!(flags & MS_RELATIME))
		return inode->atime.tv_sec != now.tv_sec || inode->atime.tv_nsec != now.tv_nsec;
	if (inode->atime.tv_sec < inode->mtime.tv_sec ||
	    (inode->atime.tv_sec == inode->mtime.tv_sec &&
	     inode->atime.tv_nsec <= inode->mtime.tv_nsec))
		return true;
	if (inode->atime.tv_sec < inode->ctime.tv_sec ||
	    (inode->atime.tv_sec == inode->ctime.tv_sec &&
	     inode->atime.tv_nsec <= inode->ctime.tv_nsec))
		return true;
	return now.tv_sec - inode->atime.tv_sec >= 24 * 60 * 60;
}

void touch_atime(const struct path *path)
{
	struct inode *inode = path->dentry->inode;
	unsigned long flags = atomic_load_explicit(&path->mnt->flags, memory_order_relaxed);
	struct timespec now;

	if (!inode || (inode->flags & (S_NOATIME_FL | S_PRIVATE)) || (flags & MS_NOATIME) ||
	    ((flags | inode->sb->flags) & MS_RDONLY))
		return;
	if ((flags & MS_NODIRATIME) && S_ISDIR(inode->mode))
		return;
	now = current_time();
	if (!atime_needs_update(inode, now, flags))
		return;
	COMMAND_WRITE_GUARD(&inode->lock);
	inode->atime = now;
}

/* A transfer whose end no offset can name. */
static bool beyond_offsets(const struct file *f, int64_t pos, size_t count)
{
	return f->has_pos && pos >= 0 && count > (uint64_t)(INT64_MAX - pos);
}

/* Positions below 0 are refused by the system calls; files whose position the host keeps use -1. */
ssize_t vfs_read(struct file *f, struct iov_iter *to, int64_t *pos, int rwf)
{
	ssize_t n;

	if (!f->can_read)
		return -EBADF;
	if (beyond_offsets(f, *pos, to->count))
		return -EINVAL;
	if (!f->ops->read)
		return S_ISDIR(f->inode->mode) ? -EISDIR : -EINVAL;
	if (rwf & ~(RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC))
		return -EOPNOTSUPP;
	if (to->count > MAX_RW_COUNT)
		to->count = MAX_RW_COUNT;
	n = f->ops->read(f, to, pos, rwf);
	if (n >= 0 && f->has_pos && !(atomic_load(&f->flags) & O_NOATIME))
		touch_atime(&f->path);
	if (n > 0 && !S_ISFIFO(f->inode->mode))
		fsnotify_file(IN_ACCESS, f);
	return n;
}

/* RLIMIT_FSIZE (man 2 setrlimit): a write that starts past it fails with SIGXFSZ, one that crosses
 * it is shortened. */
static int limit_write(struct file *f, struct iov_iter *from, int64_t pos)
{
	uint64_t limit = current_rlimit(RLIMIT_FSIZE);
	int64_t max = inode_max_bytes(f->inode);

	if (limit != RLIM_INFINITY && S_ISREG(f->inode->mode)) {
		if ((uint64_t)pos >= limit) {
			task_send_signal(current, SIGXFSZ, NULL);
			return -EFBIG;
		}
		if (from->count > limit - pos)
			from->count = limit - pos;
	}
	if (!S_ISREG(f->inode->mode))
		return 0;
	if (pos >= max)
		return -EFBIG;
	from->count = MIN(from->count, (uint64_t)(max - pos));
	return 0;
}

/* A write by somebody else than a privileged owner takes away setuid and setgid. */
static void kill_priv(struct file *f)
{
	uint32_t mode = atomic_load_explicit(&f->inode->mode, memory_order_relaxed);
	struct iattr attr = {.valid = ATTR_MODE};

	if (unlikely(!atomic_load_explicit(&f->inode->no_capability, memory_order_relaxed))) {
		COMMAND_WRITE_GUARD(&f->inode->lock);
		inode_drop_capability(f->inode);
	}
	if (likely(!(mode & (S_ISUID | S_ISGID))) || !S_ISREG(mode) || vfs_capable(CAP_FSETID))
		return;
	attr.mode = mode & ~(uint32_t)S_ISUID;
	if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		attr.mode &= ~(uint32_t)S_ISGID;
	COMMAND_WRITE_GUARD(&f->inode->lock);
	if (f->inode->ops && f->inode->ops->setattr)
		f->inode->ops->setattr(f->inode, &attr);
	else
		generic_setattr(f->inode, &attr);
}

ssize_t vfs_write(struct file *f, struct iov_iter *from, int64_t *pos, int rwf)
{
	size_t count;
	ssize_t n;
	int err;

	if (!f->can_write)
		return -EBADF;
	if (beyond_offsets(f, *pos, from->count) || !f->ops->write)
		return -EINVAL;
	if (rwf & ~(RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC | RWF_APPEND))
		return -EOPNOTSUPP;
	if (from->count > MAX_RW_COUNT)
		from->count = MAX_RW_COUNT;
	count = from->count;
	if (f->has_pos) {
		bool append = (atomic_load(&f->flags) & O_APPEND) || (rwf & RWF_APPEND);

		if (count && (append || *pos >= 0)) {
			err = limit_write(f, from, append ? atomic_load(&f->inode->size) : *pos);
			if (err)
				return err;
		}
		kill_priv(f);
	}
	n = f->ops->write(f, from, pos, rwf);
	from->count += count - from->count - (n > 0 ? (size_t)n : 0);
	if (n > 0) {
		if (((rwf & (RWF_SYNC | RWF_DSYNC)) || (atomic_load(&f->flags) & O_DSYNC)) &&
		    f->ops->fsync) {
			err = f->ops->fsync(f, *pos - n, *pos, !(rwf & RWF_SYNC));
			if (err)
				return err;
		}
		if (!S_ISFIFO(f->inode->mode))
			fsnotify_file(IN_MODIFY, f);
	}
	return n;
}

ssize_t kernel_read(struct file *f, void *buf, size_t n, int64_t pos)
{
	struct iov_iter it;

	iov_iter_kernel(&it, buf, n);
	return vfs_read(f, &it, &pos, 0);
}

ssize_t kernel_write(struct file *f, const void *buf, size_t n, int64_t pos)
{
	struct iov_iter it;

	iov_iter_kernel(&it, (void *)(uintptr_t)buf, n);
	return vfs_write(f, &it, &pos, 0);
}

int64_t generic_llseek(struct file *f, int64_t offset, int whence, int64_t size, int64_t max)
{
	int64_t pos;

	COMMAND_GUARD(&f->pos_lock);
	switch (whence) {
	case SEEK_SET:
		pos = offset;
		break;
	case SEEK_CUR:
		if (__builtin_add_overflow(atomic_load(&f->pos), offset, &pos))
			return -EINVAL;
		break;
	case SEEK_END:
		if (__builtin_add_overflow(size, offset, &pos))
			return -EINVAL;
		break;
	case SEEK_DATA:
		if (offset < 0 || offset >= size)
			return -ENXIO;
		pos = offset;
		break;
	case SEEK_HOLE:
		if (offset < 0 || offset >= size)
			return -ENXIO;
		pos = size;
		break;
	default:
		return -EINVAL;
	}
	if (pos < 0 || pos > max)
		return -EINVAL;
	atomic_store(&f->pos, pos);
	return pos;
}

uint32_t vfs_poll(struct file *f, struct poll_table *pt)
{
	if (!f->ops->poll)
		return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
	return f->ops->poll(f, pt);
}

bool dir_emit_dots(struct file *file, struct dir_context *ctx)
{
	if (ctx->pos == 0) {
		if (!ctx->actor(ctx, ".", 1, 1, file->inode->ino, DT_DIR))
			return false;
		ctx->pos = 1;
	}
	if (ctx->pos == 1) {
		struct dentry *parent = d_get_parent(file->path.dentry);
		bool fits =
			ctx->actor(ctx, "..", 2, 2, parent->inode ? parent->inode->ino : 1, DT_DIR);

		d_put(parent);
		if (!fits)
			return false;
		ctx->pos = 2;
	}
	return true;
}
