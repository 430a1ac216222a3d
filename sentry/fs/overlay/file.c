/*
 * Regular files of the overlay. Each operation looks where the content is now: a file that was
 * opened before the copy-up reads what was written after it. What was mapped before keeps the lower
 * file's pages: exact for MAP_PRIVATE, which promises nothing about later changes, and the one
 * difference for read-only MAP_SHARED (Linux's overlayfs has it, too).
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/command_lock.h"
#include "sentry/fs/overlay/overlay_internal.h"

/* file->private: the lower fd is lent for the life of the file (mapped, spliced from). */
#define LENT ((void *)1)

static struct tmpfs_data *data_of(const struct inode *inode)
{
	return atomic_load(&ovl_of(inode)->data);
}

static int open_op(struct inode *inode, struct file *file)
{
	struct ovl_inode *oi = ovl_of(inode);
	int fd;

	if (data_of(inode) || host_open_can_wait(&oi->lower))
		return 0;
	fd = host_fd_get(&oi->lower, false);
	if (fd < 0)
		return fd;
	host_fd_put(&oi->lower, false);
	return 0;
}

static void release(struct file *file)
{
	if (file->private == LENT)
		host_fd_return(&ovl_of(file->inode)->lower, false);
}

static ssize_t read_op(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct tmpfs_data *data = data_of(file->inode);
	ssize_t n;

	if (data)
		n = tmpfs_data_read(data, to, *pos);
	else
		n = host_read_at(&ovl_of(file->inode)->lower, to, *pos);
	if (n > 0)
		*pos += n;
	return n;
}

static ssize_t write_op(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct inode *inode = file->inode;
	struct tmpfs_data *data;
	uint64_t at = *pos;
	ssize_t n;
	int ret;

	if (!iov_iter_count(from))
		return 0;
	COMMAND_WRITE_GUARD(&inode->lock);
	ret = ovl_copy_up(inode, INT64_MAX, &data);
	if (ret)
		return ret;
	if (atomic_load(&file->flags) & O_APPEND || rwf & RWF_APPEND)
		n = tmpfs_data_append(data, from, &at);
	else
		n = tmpfs_data_write(data, from, at);
	if (n > 0) {
		*pos = (int64_t)at + n;
		atomic_store(&inode->size, (int64_t)tmpfs_data_size(data));
		ovl_touch(inode, true);
	}
	return n;
}

static int64_t llseek(struct file *file, int64_t offset, int whence)
{
	struct ovl_inode *oi = ovl_of(file->inode);
	struct tmpfs_data *data = data_of(file->inode);
	int64_t ret;
	int fd;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_llseek(file, offset, whence, atomic_load(&file->inode->size),
				      inode_max_bytes(file->inode));
	if (data) {
		ret = tmpfs_data_seek(data, offset, whence);
	} else {
		fd = host_fd_get(&oi->lower, false);
		if (fd < 0)
			return fd;
		ret = lseek(fd, offset, whence); /* the host fd's position is nobody's */
		ret = ret < 0 ? -errno : ret;
		host_fd_put(&oi->lower, false);
	}
	if (ret >= 0)
		atomic_store(&file->pos, ret);
	return ret;
}

/* The lower fd, until the file is released. */
static int lend_lower(struct file *file)
{
	int fd;

	MUTEX_GUARD(&ovl_of(file->inode)->lock);
	fd = host_fd_lend(&ovl_of(file->inode)->lower, false);
	if (fd >= 0 && file->private == LENT)
		host_fd_return(&ovl_of(file->inode)->lower, false);
	else if (fd >= 0)
		file->private = LENT;
	return fd;
}

static int mmap_op(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
		   int *host_fd, uint64_t *host_offset)
{
	struct tmpfs_data *data = data_of(file->inode);
	/* It may be made writable later (mprotect). */
	bool shared_writable = file->can_write && (flags & MAP_TYPE) != MAP_PRIVATE;
	int fd;

	if (!data && shared_writable) {
		int ret;

		COMMAND_WRITE_GUARD(&file->inode->lock);
		ret = ovl_copy_up(file->inode, INT64_MAX, &data);
		if (ret)
			return ret;
	}
	fd = data ? tmpfs_data_mmap(data, shared_writable) : lend_lower(file);
	if (fd < 0)
		return fd;
	*host_fd = fd;
	*host_offset = offset;
	return 0;
}

static int host_fd_op(struct file *file)
{
	int fd;

	if (file->can_write || data_of(file->inode))
		return -1;
	fd = lend_lower(file);
	return fd < 0 ? -1 : fd;
}

static int fsync_op(struct file *file, int64_t start, int64_t end, bool datasync)
{
	return 0; /* memory */
}

static int fallocate_op(struct file *file, int mode, int64_t offset, int64_t len)
{
	struct inode *inode = file->inode;
	struct tmpfs_data *data;
	int ret;

	COMMAND_WRITE_GUARD(&inode->lock);
	ret = ovl_copy_up(inode, INT64_MAX, &data);
	if (!ret)
		ret = tmpfs_data_fallocate(data, mode, offset, len);
	if (!ret) {
		atomic_store(&inode->size, (int64_t)tmpfs_data_size(data));
		ovl_touch(inode, true);
	}
	return ret;
}

const struct file_operations ovl_file_fops = {
	.open = open_op,
	.release = release,
	.read = read_op,
	.write = write_op,
	.llseek = llseek,
	.mmap = mmap_op,
	.fsync = fsync_op,
	.fallocate = fallocate_op,
	.host_fd = host_fd_op,
};
