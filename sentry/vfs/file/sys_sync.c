/* sync, fsync and advice about caching. */
#include <fcntl.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

static long do_fsync(int fd, int64_t start, int64_t end, bool datasync)
{
	struct file *__put_file f = fd_get(fd);

	if (!f)
		return -EBADF;
	return f->ops->fsync ? f->ops->fsync(f, start, end, datasync) : -EINVAL;
}

SYSCALL_DEFINE1(fsync, int, fd)
{
	return do_fsync(fd, 0, INT64_MAX, false);
}

SYSCALL_DEFINE1(fdatasync, int, fd)
{
	return do_fsync(fd, 0, INT64_MAX, true);
}

SYSCALL_DEFINE4(sync_file_range, int, fd, int64_t, offset, int64_t, nbytes, unsigned, flags)
{
	struct file *__put_file f = fd_get(fd);
	int64_t end;

	if (!f)
		return -EBADF;
	if (flags & ~(unsigned)(SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				SYNC_FILE_RANGE_WAIT_AFTER))
		return -EINVAL;
	if (offset < 0 || nbytes < 0 || __builtin_add_overflow(offset, nbytes, &end))
		return -EINVAL;
	if (!S_ISREG(f->inode->mode) && !S_ISBLK(f->inode->mode) && !S_ISDIR(f->inode->mode) &&
	    !S_ISLNK(f->inode->mode))
		return -ESPIPE;
	if (!(flags & SYNC_FILE_RANGE_WAIT_AFTER) || !f->ops->fsync)
		return 0; /* to start writing back is a hint: nothing of a guest's is delayed here
			   */
	return f->ops->fsync(f, offset, nbytes ? end - 1 : INT64_MAX, true);
}

/* Guests' written data is in the host's page cache or in memory that has no other place: what a
 * crash of the sandbox keeps is kept already. */
SYSCALL_DEFINE0(sync)
{
	return 0;
}

SYSCALL_DEFINE1(syncfs, int, fd)
{
	struct file *__put_file f = fd_get(fd);

	if (!f)
		return -EBADF;
	/* The file's own data must be as safe as fsync makes it; others were handed to the host. */
	if (f->can_write && S_ISREG(f->inode->mode) && f->ops->fsync)
		return f->ops->fsync(f, 0, INT64_MAX, false);
	return 0;
}

SYSCALL_DEFINE4(fadvise64, int, fd, int64_t, offset, int64_t, len, int, advice)
{
	struct file *__put_file f = fd_get(fd);

	if (!f)
		return -EBADF;
	if (S_ISFIFO(f->inode->mode))
		return -ESPIPE;
	if (len < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE)
		return -EINVAL;
	return 0; /* advice is advice */
}

SYSCALL_DEFINE3(readahead, int, fd, int64_t, offset, size_t, count)
{
	struct file *__put_file f = fd_get(fd);

	if (!f || !f->can_read)
		return -EBADF;
	return S_ISREG(f->inode->mode) || S_ISBLK(f->inode->mode) ? 0 : -EINVAL;
}
