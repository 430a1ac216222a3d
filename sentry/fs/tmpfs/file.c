/* Regular files of tmpfs, and memfd_create(2)'s. */
#include <linux/fs.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>

#include "base/command_lock.h"
#include "sentry/fs/tmpfs/node_internal.h"
#include "sentry/vfs/file.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif
#define ALL_SEALS                                                                                  \
	(F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE |          \
	 F_SEAL_EXEC)

static struct tmpfs_data *data_of(struct file *file)
{
	return tmpfs_node(file->inode)->data;
}

static ssize_t tmpfs_file_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	ssize_t n = tmpfs_data_read(data_of(file), to, *pos);

	if (n > 0)
		*pos += n;
	return n;
}

static ssize_t tmpfs_file_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct inode *inode = file->inode;
	bool append = (atomic_load(&file->flags) & O_APPEND) || (rwf & RWF_APPEND);
	uint64_t at = *pos;
	ssize_t n;

	if (append)
		n = tmpfs_data_append(data_of(file), from, &at);
	else
		n = tmpfs_data_write(data_of(file), from, at);
	if (n <= 0)
		return n;
	*pos = at + n;
	COMMAND_WRITE_GUARD(&inode->lock);
	atomic_store(&inode->size, tmpfs_data_size(data_of(file)));
	inode->mtime = inode->ctime = current_time();
	return n;
}

static int64_t tmpfs_file_llseek(struct file *file, int64_t offset, int whence)
{
	if (whence == SEEK_DATA || whence == SEEK_HOLE) {
		int64_t pos = tmpfs_data_seek(data_of(file), offset, whence);

		if (pos >= 0)
			atomic_store(&file->pos, pos);
		return pos;
	}
	return generic_llseek(file, offset, whence, atomic_load(&file->inode->size), INT64_MAX);
}

static int tmpfs_file_mmap(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
			   int *host_fd, uint64_t *host_offset)
{
	int fd = tmpfs_data_mmap(data_of(file),
				 (flags & MAP_TYPE) != MAP_PRIVATE && (prot & PROT_WRITE));

	if (fd < 0)
		return fd;
	*host_fd = fd;
	*host_offset = offset;
	return 0;
}

static int tmpfs_file_fsync(struct file *file, int64_t start, int64_t end, bool datasync)
{
	return 0;
}

static int tmpfs_file_fallocate(struct file *file, int mode, int64_t offset, int64_t len)
{
	struct inode *inode = file->inode;
	int err;

	COMMAND_WRITE_GUARD(&inode->lock);
	err = tmpfs_data_fallocate(data_of(file), mode, offset, len);
	if (err)
		return err;
	atomic_store(&inode->size, tmpfs_data_size(data_of(file)));
	inode->ctime = current_time();
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		inode->mtime = inode->ctime;
	return 0;
}

static int tmpfs_file_host_fd(struct file *file)
{
	/* Not for splice: quota, seals and times are kept here. */
	return -1;
}

static long tmpfs_file_fcntl(struct file *file, unsigned cmd, uint64_t arg)
{
	switch (cmd) {
	case F_GET_SEALS:
		return tmpfs_data_get_seals(data_of(file));
	case F_ADD_SEALS:
		if (!file->can_write)
			return -EPERM;
		if (arg & ~(uint64_t)ALL_SEALS)
			return -EINVAL;
		return tmpfs_data_add_seals(data_of(file), arg);
	}
	return -EINVAL;
}

const struct inode_operations tmpfs_file_iops = {TMPFS_COMMON_IOPS};
const struct file_operations tmpfs_file_fops = {
	.read = tmpfs_file_read,
	.write = tmpfs_file_write,
	.llseek = tmpfs_file_llseek,
	.mmap = tmpfs_file_mmap,
	.fsync = tmpfs_file_fsync,
	.fallocate = tmpfs_file_fallocate,
	.host_fd = tmpfs_file_host_fd,
	.fcntl = tmpfs_file_fcntl,
};
