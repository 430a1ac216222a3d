#include "sentry/kernel/task/pidfd.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file.h"

static void pidfd_release(struct file *file)
{
	pid_put(file->private);
}

static uint32_t pidfd_poll(struct file *file, struct poll_table *pt)
{
	struct pid *pid = file->private;
	struct thread_group *g;
	uint32_t mask = 0;

	poll_wait(pt, &pid->exit_wait);
	READ_GUARD(&kernel.tasklist_lock);
	g = pid->group;
	if (!g)
		mask = EPOLLIN | EPOLLRDNORM | EPOLLHUP;
	else if (g->zombie)
		mask = EPOLLIN | EPOLLRDNORM;
	return mask;
}

/* man 5 proc, fdinfo: Pid is -1 once the process has been reaped. */
static int pidfd_show_fdinfo(struct file *file, char *buf, size_t size)
{
	struct pid *pid = file->private;
	pid_t nr;
	READ_GUARD(&kernel.tasklist_lock);

	nr = pid->group ? pid_nr_ns(pid, task_pid_ns(current)) : -1;
	return snprintf(buf, size, "Pid:\t%d\nNSpid:\t%d\n", nr, nr);
}

static const struct file_operations pidfd_ops = {
	.release = pidfd_release,
	.poll = pidfd_poll,
	.show_fdinfo = pidfd_show_fdinfo,
};

int pidfd_create(struct pid *pid, unsigned flags, struct file **out)
{
	int err = anon_file_create("anon_inode:[pidfd]", 0600, &pidfd_ops, pid_get(pid),
				   O_RDWR | flags, out);

	if (err)
		pid_put(pid);
	return err;
}

struct pid *pidfd_pid(struct file *file)
{
	return file->ops == &pidfd_ops ? pid_get(file->private) : NULL;
}

struct pid *pidfd_or_proc_pid(struct file *file)
{
	return file->ops->process ? pid_get(file->ops->process(file)) : pidfd_pid(file);
}
