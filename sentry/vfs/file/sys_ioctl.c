/* ioctl: what all files share; the rest is their kind's. */
#include <linux/fs.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file/fcntl_internal.h"
#include "sentry/vfs/file/fd.h"

static long set_flag(struct file *f, uaddr_t arg, uint32_t flag)
{
	int on;

	if (get_user(&on, arg))
		return -EFAULT;
	return file_set_flags(f, on ? flag : 0, flag);
}

static long set_async(struct file *f, int fd, uaddr_t arg)
{
	bool is = atomic_load(&f->flags) & O_ASYNC;
	int on;

	if (get_user(&on, arg))
		return -EFAULT;
	if (is == (on != 0))
		return 0;
	if (!f->ops->can_async)
		return -ENOTTY;
	atomic_store(&f->async_fd, fd);
	return file_set_flags(f, on ? O_ASYNC : 0, O_ASYNC);
}

static long fionread(struct file *f, uaddr_t arg)
{
	int64_t left = atomic_load(&f->inode->size) - atomic_load(&f->pos);

	return put_user(arg, (int)left);
}

/* As F_SETOWN and F_GETOWN, by way of memory (man 7 socket). */
static long socket_owner(struct file *f, bool set, uaddr_t arg)
{
	int type, id;

	if (!set) {
		file_get_owner(f, &type, &id);
		return put_user(arg, type == F_OWNER_PGRP ? -id : id);
	}
	if (get_user(&id, arg))
		return -EFAULT;
	if (id == INT32_MIN)
		return -EINVAL;
	return file_set_owner(f, id < 0 ? F_OWNER_PGRP : F_OWNER_PID, id < 0 ? -id : id);
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
		return fd_set_cloexec(current_files(), fd, true);
	case FIONCLEX:
		return fd_set_cloexec(current_files(), fd, false);
	case FIONBIO:
		return set_flag(f, arg, O_NONBLOCK);
	case FIOASYNC:
		return set_async(f, fd, arg);
	case FIGETBSZ:
		if (!f->inode->sb->blksize)
			return -EINVAL;
		return put_user(arg, (int)f->inode->sb->blksize);
	case FIOQSIZE:
		if (!S_ISREG(f->inode->mode) && !S_ISDIR(f->inode->mode) &&
		    !S_ISLNK(f->inode->mode))
			return -ENOTTY;
		return put_user(arg, (int64_t)atomic_load(&f->inode->size));
	case FIOSETOWN:
	case SIOCSPGRP:
	case FIOGETOWN:
	case SIOCGPGRP:
		if (!S_ISSOCK(f->inode->mode))
			break;
		return socket_owner(f, cmd == FIOSETOWN || cmd == SIOCSPGRP, arg);
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
