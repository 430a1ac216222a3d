/*
 * splice(2), tee(2), vmsplice(2): moving bytes to and from pipes. The bytes are copied once, by way
 * of a buffer here; while the other file blocks, the pipe's end is claimed, not locked
 * (pipe_internal.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>

#include "sentry/fs/pipe/pipe_internal.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

#define SPLICE_CHUNK 65536U
#define SPLICE_ALL (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

/* Where the file that is not the pipe is read or written: at the guest's offset, or its own. */
struct splice_end {
	struct file *file;
	bool own_pos;  /* file->pos */
	int64_t value; /* of the guest's offset */
};

static int end_init(struct splice_end *e, struct file *file, uaddr_t uoff, size_t len)
{
	int64_t at;

	e->file = file;
	e->value = 0;
	e->own_pos = file->has_pos && !uoff;
	at = e->own_pos ? atomic_load(&file->pos) : 0;
	if (uoff) {
		if (!file->has_pos)
			return -ESPIPE;
		if (get_user(&e->value, uoff))
			return -EFAULT;
		if (e->value < 0)
			return -EINVAL;
		at = e->value;
	}
	return len > INT64_MAX || at > INT64_MAX - (int64_t)len ? -EINVAL : 0;
}

/* One read or write of sentry memory at the end's position, which moves. As in Linux the file's own
 * position is not locked meanwhile: the transfer may block for good, and others would with it. */
static ssize_t end_transfer(struct splice_end *e, char *buf, size_t n, bool write)
{
	struct iov_iter it;
	ssize_t ret;

	iov_iter_kernel(&it, buf, n);
	if (e->own_pos)
		e->value = atomic_load(&e->file->pos);
	ret = write ? vfs_write(e->file, &it, &e->value, 0) : vfs_read(e->file, &it, &e->value, 0);
	if (e->own_pos && ret > 0)
		atomic_store(&e->file->pos, e->value);
	return ret;
}

/* Up to len bytes of the pipe into the file. buf: SPLICE_CHUNK bytes. */
static ssize_t pipe_to_file(struct pipe *p, struct splice_end *out, size_t len, bool nonblock,
			    char *buf)
{
	ssize_t done = 0;

	while (len) {
		uint32_t n = (uint32_t)MIN(len, (size_t)SPLICE_CHUNK);
		ssize_t wrote;
		/* Once something was moved, what is not there yet is not waited for. */
		int ret = pipe_read_claim(p, nonblock || done);

		if (ret)
			return done ? done : ret;
		n = pipe_read_peek(p, 0, buf, n);
		if (!n) {
			pipe_read_release(p, 0);
			break;
		}
		wrote = end_transfer(out, buf, n, true);
		pipe_read_release(p, wrote > 0 ? (uint32_t)wrote : 0);
		if (wrote <= 0)
			return done ? done : wrote;
		done += wrote;
		len -= (size_t)wrote;
		if ((uint32_t)wrote < n)
			break;
	}
	return done;
}

static ssize_t file_to_pipe(struct splice_end *in, struct pipe *p, size_t len, bool nonblock,
			    char *buf)
{
	uint32_t space;
	ssize_t got, put;
	int ret = pipe_write_claim(p, nonblock, &space);

	if (ret)
		return ret;
	space = MIN(space, SPLICE_CHUNK);
	space = (uint32_t)MIN(len, (size_t)space);
	/* The room must be there before bytes are taken from what cannot give them back. */
	ret = pipe_write_prepare(p, &space);
	got = ret ? ret : end_transfer(in, buf, space, false);
	put = got > 0 ? pipe_write_push(p, buf, (uint32_t)got) : got;
	pipe_write_release(p);
	return put;
}

/* Pipe to pipe, consuming (splice) or not (tee). */
static ssize_t pipe_to_pipe(struct pipe *in, struct pipe *out, size_t len, bool nonblock,
			    bool consume, char *buf)
{
	ssize_t done = 0;

	while (len) {
		bool nowait = nonblock || done;
		uint32_t space, n;
		ssize_t put;
		int ret = pipe_read_claim(in, nowait);

		if (ret)
			return done ? done : ret;
		/* Never wait for one pipe with the other claimed. */
		ret = pipe_write_claim(out, true, &space);
		if (ret) {
			pipe_read_release(in, 0);
			if (ret != -EAGAIN || nowait)
				return done ? done : ret;
			ret = pipe_write_claim(out, false, &space);
			if (ret)
				return ret;
			pipe_write_release(out);
			continue;
		}
		space = MIN(space, SPLICE_CHUNK);
		n = (uint32_t)MIN(len, (size_t)space);
		n = pipe_read_peek(in, consume ? 0 : (uint32_t)done, buf, n);
		put = n ? pipe_write_push(out, buf, n) : 0;
		pipe_write_release(out);
		pipe_read_release(in, consume && put > 0 ? (uint32_t)put : 0);
		if (put <= 0)
			return done ? done : put;
		done += put;
		len -= (size_t)put;
	}
	return done;
}

static bool is_nonblock(struct file *file)
{
	return file->flags & O_NONBLOCK;
}

static ssize_t splice_files(struct file *in, uaddr_t uoff_in, struct file *out, uaddr_t uoff_out,
			    size_t all, unsigned flags, char *buf)
{
	size_t len = MIN(all, (size_t)MAX_RW_COUNT);
	struct pipe *from = file_pipe(in), *to = file_pipe(out);
	bool nonblock = flags & SPLICE_F_NONBLOCK;
	struct splice_end end;
	ssize_t ret;
	int err;

	if ((from && uoff_in) || (to && uoff_out))
		return -ESPIPE;
	if (from && to) {
		if (from == to)
			return -EINVAL;
		nonblock = nonblock || is_nonblock(in) || is_nonblock(out);
		return pipe_to_pipe(from, to, len, nonblock, true, buf);
	}
	if (from) {
		if (out->flags & O_APPEND)
			return -EINVAL;
		if (!out->ops->write || out->ops->no_splice)
			return -EINVAL;
		err = end_init(&end, out, uoff_out, all);
		if (err)
			return err;
		ret = pipe_to_file(from, &end, len, nonblock || is_nonblock(in), buf);
		return ret >= 0 && uoff_out && put_user(uoff_out, end.value) ? -EFAULT : ret;
	}
	if (!to || !in->ops->read || in->ops->no_splice)
		return -EINVAL;
	err = end_init(&end, in, uoff_in, all);
	if (err)
		return err;
	ret = file_to_pipe(&end, to, len, nonblock || is_nonblock(out), buf);
	return ret >= 0 && uoff_in && put_user(uoff_in, end.value) ? -EFAULT : ret;
}

SYSCALL_DEFINE6(splice, int, fd_in, uaddr_t, off_in, int, fd_out, uaddr_t, off_out, size_t, len,
		unsigned, flags)
{
	struct file *__put_file in = NULL, *__put_file out = NULL;
	char *__free buf = NULL;

	(void)t;
	if (!len)
		return 0;
	if (flags & ~(unsigned)SPLICE_ALL)
		return -EINVAL;
	in = fd_get(fd_in);
	out = fd_get(fd_out);
	if (!in || !out || !in->can_read || !out->can_write)
		return -EBADF;
	buf = malloc(SPLICE_CHUNK);
	if (!buf)
		return -ENOMEM;
	return splice_files(in, off_in, out, off_out, len, flags, buf);
}

SYSCALL_DEFINE4(tee, int, fd_in, int, fd_out, size_t, len, unsigned, flags)
{
	struct file *__put_file in = NULL, *__put_file out = NULL;
	struct pipe *from, *to;
	char *__free buf = NULL;
	bool nonblock;

	(void)t;
	if (flags & ~(unsigned)SPLICE_ALL)
		return -EINVAL;
	if (!len)
		return 0;
	in = fd_get(fd_in);
	out = fd_get(fd_out);
	if (!in || !out || !in->can_read || !out->can_write)
		return -EBADF;
	from = file_pipe(in);
	to = file_pipe(out);
	if (!from || !to || from == to)
		return -EINVAL;
	buf = malloc(SPLICE_CHUNK);
	if (!buf)
		return -ENOMEM;
	nonblock = (flags & SPLICE_F_NONBLOCK) || is_nonblock(in) || is_nonblock(out);
	return pipe_to_pipe(from, to, MIN(len, (size_t)MAX_RW_COUNT), nonblock, false, buf);
}

/* Waits for room, writes what fits: a vmsplice that has given its first pages does
 * not wait to give the others. */
static ssize_t vmsplice_to_pipe(struct file *file, struct iov_iter *from, bool nonblock)
{
	struct pipe *p = file_pipe(file);

	for (;;) {
		int64_t pos = 0;
		uint32_t space;
		ssize_t n;
		int err = pipe_write_claim(p, nonblock, &space);

		if (err)
			return err;
		pipe_write_release(p);
		n = file->ops->write(file, from, &pos, RWF_NOWAIT);
		/* Another writer may have been faster. */
		if (n != -EAGAIN || nonblock)
			return n;
	}
}

SYSCALL_DEFINE4(vmsplice, int, fd, uaddr_t, uiov, size_t, nr, unsigned, flags)
{
	struct iovec fast[8], *__free heap = NULL;
	struct file *__put_file file = NULL;
	struct iov_iter iter;
	int64_t pos = 0;
	int ret, rwf = flags & SPLICE_F_NONBLOCK ? RWF_NOWAIT : 0;

	(void)t;
	if (flags & ~(unsigned)SPLICE_ALL)
		return -EINVAL;
	file = fd_get(fd);
	if (!file)
		return -EBADF;
	if (!file_pipe(file))
		return -EBADF;
	if (nr > 1024)
		return -EINVAL;
	ret = iovec_from_user(&iter, uiov, (int)nr, fast, 8, &heap);
	if (ret)
		return ret;
	if (!iov_iter_count(&iter))
		return 0;
	if (file->can_write)
		return vmsplice_to_pipe(file, &iter, rwf || is_nonblock(file));
	return file->ops->read(file, &iter, &pos, rwf);
}
