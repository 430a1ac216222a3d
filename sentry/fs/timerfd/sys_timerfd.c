/* timerfd_create(2), timerfd_settime(2), timerfd_gettime(2). */
#include "sentry/fs/timerfd/timerfd_internal.h"

#include <errno.h>
#include <sys/timerfd.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"

SYSCALL_DEFINE2(timerfd_create, int, clockid, unsigned, flags)
{
	struct file *file;
	int ret;

	(void)t;
	if (flags & ~(unsigned)(TFD_CLOEXEC | TFD_NONBLOCK))
		return -EINVAL;
	ret = timerfd_create_file(clockid, flags & TFD_NONBLOCK, &file);
	if (ret)
		return ret;
	ret = fd_install(file, flags & TFD_CLOEXEC);
	if (ret < 0)
		file_put(file);
	return ret;
}

SYSCALL_DEFINE4(timerfd_settime, int, fd, int, flags, uaddr_t, unew, uaddr_t, uold)
{
	struct itimerspec new, old;
	struct file *__put_file file = NULL;
	int ret;

	(void)t;
	if (get_user(&new, unew))
		return -EFAULT;
	file = fd_get(fd);
	if (!file)
		return -EBADF;
	ret = timerfd_set(file, flags, &new, &old);
	if (!ret && uold)
		ret = copy_to_user(uold, &old, sizeof(old));
	return ret;
}

SYSCALL_DEFINE2(timerfd_gettime, int, fd, uaddr_t, ucurr)
{
	struct file *__put_file file = fd_get(fd);
	struct itimerspec now;
	int ret;

	(void)t;
	if (!file)
		return -EBADF;
	ret = timerfd_get(file, &now);
	return ret ? ret : copy_to_user(ucurr, &now, sizeof(now));
}
