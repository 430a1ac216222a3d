/* ioctl: what all files share; the rest is their kind's. */
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "sentry/syscalls/syscall.h"
#include "sentry/vfs/fcntl.h"
#include "sentry/vfs/fd.h"

static long set_flag(struct file *f, uaddr_t arg, uint32_t flag)
{
	int on;

	if (get_user(&on, arg))
		return -EFAULT;
	return file_set_flags(f, on ? flag : 0, flag);
}

static long fionread(struct file *f, uaddr_t arg)
{
	int64_t left = atomic_load(&f->inode->size) - atomic_load(&f->pos);

	return put_user(arg, (int)left);
}

/* man 2 ioctl_ficlone: no file system here shares blocks between files. */
static long no_clone(struct file *dst, unsigned cmd, uint64_t arg)
{
	struct file *__put_file src = NULL;
	struct file_clone_range range = {.src_fd = (int64_t)arg};

	if (cmd == FICLONERANGE && copy_from_user(&range, arg, sizeof(range)))
		return -EFAULT;
	src = fd_get((int)range.src_fd);
	if (!src)
		return -EBADF;
	if (src->inode->sb != dst->inode->sb)
		return -EXDEV;
	if (S_ISDIR(src->inode->mode) || S_ISDIR(dst->inode->mode))
		return -EISDIR;
	if (!S_ISREG(src->inode->mode) || !S_ISREG(dst->inode->mode))
		return -EINVAL;
	if (!src->can_read || !dst->can_write || (dst->flags & O_APPEND))
		return -EBADF;
	return -EOPNOTSUPP;
}

SYSCALL_DEFINE3(ioctl, int, fd, unsigned, cmd, uint64_t, arg)
{
	struct file *__put_file f = fd_get(fd);
	long err;

	if (!f)
		return -EBADF;
	switch (cmd) {
	case FIOCLEX:
		return fd_set_cloexec(t->files, fd, true);
	case FIONCLEX:
		return fd_set_cloexec(t->files, fd, false);
	case FIONBIO:
		return set_flag(f, arg, O_NONBLOCK);
	case FIOASYNC:
		atomic_store(&f->async_fd, fd);
		return set_flag(f, arg, O_ASYNC);
	case FIGETBSZ:
		if (!f->inode->sb->blksize)
			return -EINVAL;
		return put_user(arg, (int)f->inode->sb->blksize);
	case FIOQSIZE:
		if (!S_ISREG(f->inode->mode) && !S_ISDIR(f->inode->mode) &&
		    !S_ISLNK(f->inode->mode))
			return -ENOTTY;
		return put_user(arg, (int64_t)atomic_load(&f->inode->size));
	case FICLONE:
	case FICLONERANGE:
		return no_clone(f, cmd, arg);
	case FIONREAD:
		if (S_ISREG(f->inode->mode))
			return fionread(f, arg);
		break;
	}
	err = f->ops->ioctl ? f->ops->ioctl(f, cmd, arg) : -ENOIOCTLCMD;
	return err == -ENOIOCTLCMD ? -ENOTTY : err;
}
