/* sendfile, copy_file_range: data from file to file without the guest's memory. */
#include <linux/fs.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

#define COPY_CHUNK 65536UL

/* What was read but not written is to be read again. */
static void unread(struct file *f, int64_t *pos, ssize_t n)
{
	if (!f->has_pos)
		return;
	if (*pos >= 0)
		*pos -= n;
	else if (f->ops->llseek) /* the host keeps the position */
		f->ops->llseek(f, -n, SEEK_CUR);
}

/* Moves up to n bytes. The positions are the callers' copies; a pipe or socket ignores its own.
 * A short write leaves *in_pos behind what was written. */
static ssize_t copy_loop(struct file *in, int64_t *in_pos, struct file *out, int64_t *out_pos,
			 size_t n)
{
	char *buf __free = malloc(MIN(n, COPY_CHUNK));
	ssize_t done = 0;

	if (!buf)
		return -ENOMEM;
	while (n) {
		struct iov_iter it;
		ssize_t got, put;

		iov_iter_kernel(&it, buf, MIN(n, COPY_CHUNK));
		got = vfs_read(in, &it, in_pos, 0);
		if (got <= 0)
			return done ? done : got;
		iov_iter_kernel(&it, buf, got);
		put = vfs_write(out, &it, out_pos, 0);
		if (put < got)
			unread(in, in_pos, got - MAX(put, (ssize_t)0));
		if (put <= 0)
			return done ? done : put;
		done += put;
		n -= put;
		if (put < got || signal_pending(current))
			break;
	}
	return done;
}

/* Where a transfer of `f` starts: *upos if given, else the file's position. */
static int get_pos(struct file *f, uaddr_t upos, int64_t *pos)
{
	if (!upos) {
		*pos = atomic_load(&f->pos);
		return 0;
	}
	if (!f->has_pos)
		return -ESPIPE;
	return get_user(pos, upos) ? -EFAULT : 0;
}

static int put_pos(struct file *f, uaddr_t upos, int64_t pos)
{
	if (upos)
		return put_user(upos, pos) ? -EFAULT : 0;
	if (f->has_pos)
		atomic_store(&f->pos, pos);
	return 0;
}

/* What both ends can name, and may hold, of a transfer. */
static int limit_count(struct file *in, int64_t in_pos, struct file *out, int64_t out_pos,
		       size_t *count)
{
	int64_t max = MIN(inode_max_bytes(in->inode), inode_max_bytes(out->inode));

	if (*count > INT64_MAX || (in->has_pos && in_pos > INT64_MAX - (int64_t)*count) ||
	    (out->has_pos && out_pos > INT64_MAX - (int64_t)*count))
		return -EINVAL;
	*count = MIN(*count, MAX_RW_COUNT);
	if (!in->has_pos || in_pos < 0)
		return 0;
	if (*count && in_pos >= max)
		return -EOVERFLOW;
	*count = MIN(*count, (uint64_t)(max - in_pos));
	return 0;
}

SYSCALL_DEFINE4(sendfile, int, out_fd, int, in_fd, uaddr_t, offset, size_t, count)
{
	struct file *__put_file in = fd_get(in_fd), *__put_file out = fd_get(out_fd);
	int64_t in_pos, out_pos;
	ssize_t n;
	int err;

	if (!in || !out || !in->can_read || !out->can_write)
		return -EBADF;
	if (atomic_load(&out->flags) & O_APPEND)
		return -EINVAL;
	if (S_ISDIR(in->inode->mode))
		return -EINVAL;
	/* Only pipes take what comes from streams, and nothing comes from pipes this way. */
	if (S_ISFIFO(in->inode->mode) || (!in->has_pos && !S_ISFIFO(out->inode->mode)))
		return offset ? -ESPIPE : -EINVAL;
	err = get_pos(in, offset, &in_pos);
	if (err)
		return err;
	out_pos = atomic_load(&out->pos);
	if (offset && in_pos < 0)
		return -EINVAL;
	err = limit_count(in, in_pos, out, out_pos, &count);
	if (err)
		return err;
	n = count ? copy_loop(in, &in_pos, out, &out_pos, count) : 0;
	current_count_io(false, n);
	current_count_io(true, n);
	if (n < 0)
		return n;
	put_pos(out, 0, out_pos);
	err = put_pos(in, offset, in_pos);
	return err ? err : n;
}

/* How much of len there is to copy: *len. The order of the errors is Linux's. */
static int range_allowed(struct file *in, struct file *out, int64_t in_pos, int64_t out_pos,
			 size_t *len)
{
	uint64_t in_end, out_end;
	int64_t size = atomic_load(&in->inode->size), max = inode_max_bytes(out->inode);

	if (__builtin_add_overflow((uint64_t)in_pos, *len, &in_end) ||
	    __builtin_add_overflow((uint64_t)out_pos, *len, &out_end))
		return -EOVERFLOW;
	if (in_pos < 0 || out_pos < 0)
		return -EINVAL;
	*len = in_pos >= size ? 0 : MIN(*len, (uint64_t)(size - in_pos));
	if (out_pos >= max)
		return -EFBIG;
	*len = MIN(*len, (uint64_t)(max - out_pos));
	*len = MIN(*len, MAX_RW_COUNT);
	if (in->inode == out->inode && out_pos < in_pos + (int64_t)*len &&
	    in_pos < out_pos + (int64_t)*len)
		return -EINVAL;
	return 0;
}

SYSCALL_DEFINE6(copy_file_range, int, in_fd, uaddr_t, in_off, int, out_fd, uaddr_t, out_off, size_t,
		len, unsigned, flags)
{
	struct file *__put_file in = NULL, *__put_file out = NULL;
	int64_t in_pos, out_pos;
	ssize_t n;
	int err;

	in = fd_get(in_fd);
	out = fd_get(out_fd);
	if (!in || !out)
		return -EBADF;
	err = get_pos(in, in_off, &in_pos);
	if (!err)
		err = get_pos(out, out_off, &out_pos);
	if (err)
		return err;
	if (flags)
		return -EINVAL;
	if (S_ISDIR(in->inode->mode) || S_ISDIR(out->inode->mode))
		return -EISDIR;
	if (!S_ISREG(in->inode->mode) || !S_ISREG(out->inode->mode))
		return -EINVAL;
	if (!in->can_read || !out->can_write || (atomic_load(&out->flags) & O_APPEND))
		return -EBADF;
	if (in->inode->sb != out->inode->sb)
		return -EXDEV;
	if ((in_pos < 0 && !in_off) || (out_pos < 0 && !out_off))
		return -EXDEV; /* the host keeps the position: callers fall back to read and write
				*/
	err = range_allowed(in, out, in_pos, out_pos, &len);
	if (err || !len)
		return err;
	n = copy_loop(in, &in_pos, out, &out_pos, len);
	current_count_io(false, n);
	current_count_io(true, n);
	if (n <= 0)
		return n;
	err = put_pos(in, in_off, in_pos);
	if (!err)
		err = put_pos(out, out_off, out_pos);
	return err ? err : n;
}
