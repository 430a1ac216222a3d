/* The epoll calls: epoll_create(2), epoll_ctl(2), epoll_wait(2). */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "sentry/fs/epoll/epoll_internal.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/core/timeout.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

static long do_epoll_create(unsigned flags)
{
	struct file *file;
	int ret;

	if (flags & ~(unsigned)EPOLL_CLOEXEC)
		return -EINVAL;
	ret = epoll_create_file(0, &file);
	if (ret)
		return ret;
	ret = fd_install(file, flags & EPOLL_CLOEXEC);
	if (ret < 0)
		file_put(file);
	return ret;
}

SYSCALL_DEFINE1(epoll_create, int, size)
{
	(void)t;
	return size <= 0 ? -EINVAL : do_epoll_create(0);
}

SYSCALL_DEFINE1(epoll_create1, unsigned, flags)
{
	(void)t;
	return do_epoll_create(flags);
}

SYSCALL_DEFINE4(epoll_ctl, int, epfd, int, op, int, fd, uaddr_t, uevent)
{
	struct epoll_event_k event = {0};
	struct file *__put_file ep = NULL, *__put_file target = NULL;

	(void)t;
	if (op != EPOLL_CTL_DEL && get_user(&event, uevent))
		return -EFAULT;
	ep = fd_get(epfd);
	if (!ep)
		return -EBADF;
	target = fd_get(fd);
	if (!target)
		return -EBADF;
	return epoll_control(ep, op, fd, target, &event);
}

static long do_epoll_wait(int epfd, uaddr_t events, int maxevents, int64_t deadline)
{
	struct file *__put_file ep = fd_get(epfd);
	struct iov_iter to;

	if (!ep)
		return -EBADF;
	iov_iter_user(&to, events,
		      maxevents > 0 ? (size_t)maxevents * sizeof(struct epoll_event_k) : 0);
	return epoll_wait_events(ep, &to, maxevents, deadline);
}

static int64_t deadline_from_ms(int timeout)
{
	if (timeout < 0)
		return NO_DEADLINE;
	return timeout ? current_kept_deadline(monotonic_ns() + (int64_t)timeout * 1000000) : 0;
}

SYSCALL_DEFINE4(epoll_wait, int, epfd, uaddr_t, events, int, maxevents, int, timeout)
{
	(void)t;
	return do_epoll_wait(epfd, events, maxevents, deadline_from_ms(timeout));
}

static long do_epoll_pwait(struct task *t, int epfd, uaddr_t events, int maxevents,
			   int64_t deadline, uaddr_t usigmask, size_t size)
{
	sigset64_t mask;
	long ret;

	if (usigmask) {
		ret = sigset_from_user(&mask, usigmask, size);
		if (ret)
			return ret;
		set_temporary_mask(t, mask);
	}
	ret = do_epoll_wait(epfd, events, maxevents, deadline);
	/* Interrupted: the handler runs with the temporary mask, its return restores the old. */
	if (usigmask && ret != -EINTR)
		restore_saved_mask(t);
	return ret;
}

SYSCALL_DEFINE6(epoll_pwait, int, epfd, uaddr_t, events, int, maxevents, int, timeout, uaddr_t,
		sigmask, size_t, size)
{
	return do_epoll_pwait(t, epfd, events, maxevents, deadline_from_ms(timeout), sigmask, size);
}

SYSCALL_DEFINE6(epoll_pwait2, int, epfd, uaddr_t, events, int, maxevents, uaddr_t, utimeout,
		uaddr_t, sigmask, size_t, size)
{
	int64_t deadline = NO_DEADLINE;

	if (utimeout) {
		struct timespec ts;

		if (get_user(&ts, utimeout))
			return -EFAULT;
		deadline = deadline_of_call(&ts);
		if (deadline < 0)
			return deadline;
	}
	return do_epoll_pwait(t, epfd, events, maxevents, deadline, sigmask, size);
}
