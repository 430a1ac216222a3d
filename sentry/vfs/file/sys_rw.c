/* read, write and their vector and positioned forms, lseek. */
#include <linux/fs.h>

#include "base/command_lock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

#define FAST_IOV 8

static ssize_t transfer(struct file *f, struct iov_iter *it, int64_t *pos, bool write, int rwf)
{
	ssize_t n = write ? vfs_write(f, it, pos, rwf) : vfs_read(f, it, pos, rwf);

	current_count_io(write, n);
	return n;
}

/* Transfers at the file's own position. Regular files: one at a time, as POSIX wants. */
static ssize_t at_file_pos(struct file *f, struct iov_iter *it, bool write, int rwf)
{
	int64_t pos = 0;
	ssize_t n;

	if (!f->has_pos)
		return transfer(f, it, &pos, write, rwf);
	command_lock(&f->pos_lock);
	pos = atomic_load(&f->pos);
	n = transfer(f, it, &pos, write, rwf);
	atomic_store(&f->pos, pos);
	mutex_unlock(&f->pos_lock);
	return n;
}

static ssize_t at_pos(struct file *f, struct iov_iter *it, int64_t pos, bool write, int rwf)
{
	if (pos < 0)
		return -EINVAL;
	if (!f->has_pos)
		return -ESPIPE;
	return transfer(f, it, &pos, write, rwf);
}

/* Before anything is moved the whole buffer must be where the guest's memory can be. */
static int check_buffer(const struct file *f, uaddr_t buf, size_t count, bool write)
{
	if (!(write ? f->can_write : f->can_read))
		return -EBADF;
	return guest_range_ok(buf, count) ? 0 : -EFAULT;
}

SYSCALL_DEFINE3(read, int, fd, uaddr_t, buf, size_t, count)
{
	struct file *__put_file f = fd_get(fd);
	struct iov_iter it;
	int err;

	if (!f)
		return -EBADF;
	err = check_buffer(f, buf, count, false);
	if (err)
		return err;
	iov_iter_user(&it, buf, count);
	return at_file_pos(f, &it, false, 0);
}

SYSCALL_DEFINE3(write, int, fd, uaddr_t, buf, size_t, count)
{
	struct file *__put_file f = fd_get(fd);
	struct iov_iter it;
	int err;

	if (!f)
		return -EBADF;
	err = check_buffer(f, buf, count, true);
	if (err)
		return err;
	iov_iter_user(&it, buf, count);
	return at_file_pos(f, &it, true, 0);
}

SYSCALL_DEFINE4(pread64, int, fd, uaddr_t, buf, size_t, count, int64_t, pos)
{
	struct file *__put_file f = NULL;
	struct iov_iter it;
	int err;

	if (pos < 0)
		return -EINVAL;
	f = fd_get(fd);
	if (!f)
		return -EBADF;
	if (!f->has_pos)
		return -ESPIPE;
	err = check_buffer(f, buf, count, false);
	if (err)
		return err;
	iov_iter_user(&it, buf, count);
	return at_pos(f, &it, pos, false, 0);
}

SYSCALL_DEFINE4(pwrite64, int, fd, uaddr_t, buf, size_t, count, int64_t, pos)
{
	struct file *__put_file f = NULL;
	struct iov_iter it;
	int err;

	if (pos < 0)
		return -EINVAL;
	f = fd_get(fd);
	if (!f)
		return -EBADF;
	if (!f->has_pos)
		return -ESPIPE;
	err = check_buffer(f, buf, count, true);
	if (err)
		return err;
	iov_iter_user(&it, buf, count);
	return at_pos(f, &it, pos, true, 0);
}

/* All vector forms. pos NULL: the file's position. */
static ssize_t vector(int fd, uaddr_t iov, int nr, const int64_t *pos, bool write, int rwf)
{
	struct file *__put_file f = fd_get(fd);
	struct iovec fast[FAST_IOV], *alloc __free = NULL;
	struct iov_iter it;
	int err;

	if (!f)
		return -EBADF;
	if (pos && !f->has_pos)
		return -ESPIPE;
	if (!(write ? f->can_write : f->can_read))
		return -EBADF;
	err = iovec_from_user(&it, iov, nr, fast, FAST_IOV, &alloc);
	/* Nothing succeeds on everything, a pipe without readers included. */
	if (err || !it.count)
		return err;
	return pos ? at_pos(f, &it, *pos, write, rwf) : at_file_pos(f, &it, write, rwf);
}

SYSCALL_DEFINE3(readv, int, fd, uaddr_t, iov, int, nr)
{
	return vector(fd, iov, nr, NULL, false, 0);
}

SYSCALL_DEFINE3(writev, int, fd, uaddr_t, iov, int, nr)
{
	return vector(fd, iov, nr, NULL, true, 0);
}

/* The position comes in two halves; on x86-64 the low one is all of it. */
SYSCALL_DEFINE5(preadv, int, fd, uaddr_t, iov, int, nr, int64_t, pos, uint64_t, pos_high)
{
	if (pos < 0)
		return -EINVAL;
	return vector(fd, iov, nr, &pos, false, 0);
}

SYSCALL_DEFINE5(pwritev, int, fd, uaddr_t, iov, int, nr, int64_t, pos, uint64_t, pos_high)
{
	if (pos < 0)
		return -EINVAL;
	return vector(fd, iov, nr, &pos, true, 0);
}

SYSCALL_DEFINE6(preadv2, int, fd, uaddr_t, iov, int, nr, int64_t, pos, uint64_t, pos_high, int, rwf)
{
	if (pos < -1)
		return -EINVAL;
	return vector(fd, iov, nr, pos == -1 ? NULL : &pos, false, rwf);
}

SYSCALL_DEFINE6(pwritev2, int, fd, uaddr_t, iov, int, nr, int64_t, pos, uint64_t, pos_high, int,
		rwf)
{
	if (pos < -1)
		return -EINVAL;
	return vector(fd, iov, nr, pos == -1 ? NULL : &pos, true, rwf);
}

SYSCALL_DEFINE3(lseek, int, fd, int64_t, offset, unsigned, whence)
{
	struct file *__put_file f = fd_get(fd);

	if (!f)
		return -EBADF;
	if (whence > SEEK_HOLE)
		return -EINVAL;
	if (f->ops->llseek)
		return f->ops->llseek(f, offset, whence);
	if (!f->has_pos)
		return -ESPIPE;
	return generic_llseek(f, offset, whence, atomic_load(&f->inode->size),
			      inode_max_bytes(f->inode));
}
