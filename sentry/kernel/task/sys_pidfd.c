/* pidfd_open, pidfd_getfd. */
#include "sentry/kernel/task/pidfd.h"

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

SYSCALL_DEFINE2(pidfd_open, int, nr, unsigned, flags)
{
	struct file *file;
	struct pid *pid;
	bool is_process;
	int ret;

	if (flags & ~O_NONBLOCK)
		return -EINVAL;
	if (nr <= 0)
		return -EINVAL;
	pid = pid_find(task_pid_ns(t), nr);
	if (!pid)
		return -ESRCH;
	read_lock(&kernel.tasklist_lock);
	is_process = pid->group != NULL;
	/* A thread that is no leader: EINVAL (6.9 and later: ENOENT). A mere group id: no process.
	 */
	ret = pid->task ? -EINVAL : -ESRCH;
	read_unlock(&kernel.tasklist_lock);
	if (is_process)
		ret = pidfd_create(pid, flags, &file);
	pid_put(pid);
	if (ret)
		return ret;
	ret = fd_install(file, true);
	if (ret < 0)
		file_put(file);
	return ret;
}

/* The leader, or another thread that still has its files. */
static struct task *live_thread(struct pid *pid)
{
	struct task *t = NULL, *each;
	READ_GUARD(&kernel.tasklist_lock);

	if (!pid->group)
		return NULL;
	for_each_thread (pid->group, each)
		if (!t && atomic_load(&each->state) != TASK_ZOMBIE)
			t = each;
	return t ? task_get(t) : NULL;
}

static int take_fd(struct pid *pid, int fd)
{
	struct task *target = live_thread(pid);
	struct file *file = NULL;
	struct files *files;
	int ret;

	if (!target)
		return -ESRCH;
	ret = ptrace_may_access(target, false);
	if (!ret) {
		files = task_files_get(target);
		file = files ? files_fd_get(files, fd) : NULL;
		if (files)
			files_put(files);
		ret = file ? fd_install(file, true) : files ? -EBADF : -ESRCH;
		if (ret < 0 && file)
			file_put(file);
	}
	task_put(target);
	return ret;
}

SYSCALL_DEFINE3(pidfd_getfd, int, pidfd, int, fd, unsigned, flags)
{
	struct file *__put_file file = NULL;
	struct pid *pid;
	int ret;

	if (flags)
		return -EINVAL;
	file = fd_get(pidfd);
	if (!file)
		return -EBADF;
	pid = pidfd_pid(file);
	if (!pid)
		return -EBADF;
	ret = take_fd(pid, fd);
	pid_put(pid);
	return ret;
}
