/* signalfd(2), signalfd4(2). */
#include "sentry/fs/signalfd/signalfd_internal.h"

#include <errno.h>
#include <sys/signalfd.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"

static long do_signalfd(int fd, uaddr_t umask, size_t size, unsigned flags)
{
	struct file *file;
	sigset64_t mask;
	int ret;

	if (flags & ~(unsigned)(SFD_CLOEXEC | SFD_NONBLOCK))
		return -EINVAL;
	if (size != sizeof(mask))
		return -EINVAL;
	if (get_user(&mask, umask))
		return -EFAULT;
	if (fd != -1) {
		struct file *__put_file old = fd_get(fd);

		if (!old)
			return -EBADF;
		ret = signalfd_set_mask(old, mask);
		return ret ? ret : fd;
	}
	ret = signalfd_create(mask, flags & SFD_NONBLOCK, &file);
	if (ret)
		return ret;
	ret = fd_install(file, flags & SFD_CLOEXEC);
	if (ret < 0)
		file_put(file);
	return ret;
}

SYSCALL_DEFINE3(signalfd, int, fd, uaddr_t, mask, size_t, size)
{
	(void)t;
	return do_signalfd(fd, mask, size, 0);
}

SYSCALL_DEFINE4(signalfd4, int, fd, uaddr_t, mask, size_t, size, unsigned, flags)
{
	(void)t;
	return do_signalfd(fd, mask, size, flags);
}
