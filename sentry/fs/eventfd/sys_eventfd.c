/* eventfd(2), eventfd2(2). */
#include "sentry/fs/eventfd/eventfd.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"

static long do_eventfd(unsigned count, unsigned flags)
{
	struct file *file;
	int ret;

	if (flags & ~(unsigned)(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK))
		return -EINVAL;
	ret = eventfd_create(count, flags & EFD_SEMAPHORE, flags & EFD_NONBLOCK, &file);
	if (ret)
		return ret;
	ret = fd_install(file, flags & EFD_CLOEXEC);
	if (ret < 0)
		file_put(file);
	return ret;
}

SYSCALL_DEFINE1(eventfd, unsigned, count)
{
	(void)t;
	return do_eventfd(count, 0);
}

SYSCALL_DEFINE2(eventfd2, unsigned, count, unsigned, flags)
{
	(void)t;
	return do_eventfd(count, flags);
}
