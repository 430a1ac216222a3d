/* pipe(2), pipe2(2). */
#include <errno.h>
#include <fcntl.h>

#include "sentry/fs/pipe/pipe_internal.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

static long do_pipe(struct task *t, uaddr_t fds, unsigned flags)
{
	struct file *rd, *wr;
	int fd[2], ret;

	if (flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		return -EINVAL;
	ret = pipe_create(flags & (O_NONBLOCK | O_DIRECT), &rd, &wr);
	if (ret)
		return ret;
	fd[0] = fd_install(rd, flags & O_CLOEXEC);
	if (fd[0] < 0) {
		file_put(rd);
		file_put(wr);
		return fd[0];
	}
	fd[1] = fd_install(wr, flags & O_CLOEXEC);
	if (fd[1] < 0) {
		file_put(wr);
		fd_close(t->files, fd[0]);
		return fd[1];
	}
	ret = copy_to_user(fds, fd, sizeof(fd));
	if (ret) {
		fd_close(t->files, fd[0]);
		fd_close(t->files, fd[1]);
	}
	return ret;
}

SYSCALL_DEFINE1(pipe, uaddr_t, fds)
{
	return do_pipe(t, fds, 0);
}

SYSCALL_DEFINE2(pipe2, uaddr_t, fds, unsigned, flags)
{
	return do_pipe(t, fds, flags);
}
