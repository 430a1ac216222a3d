/* inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2). */
#include "sentry/fs/inotify/inotify_internal.h"

#include <errno.h>
#include <sys/inotify.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"

#define ALL_BITS                                                                                   \
	(IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |   \
	 IN_EXCL_UNLINK | IN_MASK_ADD | IN_MASK_CREATE | IN_ISDIR | IN_ONESHOT)

static long do_inotify_init(unsigned flags)
{
	struct file *file;
	int ret;

	if (flags & ~(unsigned)(IN_CLOEXEC | IN_NONBLOCK))
		return -EINVAL;
	ret = inotify_create(flags & IN_NONBLOCK, &file);
	if (ret)
		return ret;
	ret = fd_install(file, flags & IN_CLOEXEC);
	if (ret < 0)
		file_put(file);
	return ret;
}

SYSCALL_DEFINE0(inotify_init)
{
	(void)t;
	return do_inotify_init(0);
}

SYSCALL_DEFINE1(inotify_init1, unsigned, flags)
{
	(void)t;
	return do_inotify_init(flags);
}

SYSCALL_DEFINE3(inotify_add_watch, int, fd, uaddr_t, upath, uint32_t, mask)
{
	struct file *__put_file file = NULL;
	struct path __put_path path = {0};
	unsigned lookup = mask & IN_DONT_FOLLOW ? 0 : LOOKUP_FOLLOW;
	int ret;

	(void)t;
	if (!(mask & ALL_BITS) || ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE)))
		return -EINVAL;
	file = fd_get(fd);
	if (!file)
		return -EBADF;
	if (mask & IN_ONLYDIR)
		lookup |= LOOKUP_DIRECTORY;
	ret = user_path_at(AT_FDCWD, upath, lookup, &path);
	if (!ret)
		ret = inode_permission(path.dentry->inode, MAY_READ);
	return ret ? ret : inotify_watch(file, path.dentry->inode, mask);
}

SYSCALL_DEFINE2(inotify_rm_watch, int, fd, int, wd)
{
	struct file *__put_file file = fd_get(fd);

	(void)t;
	return file ? inotify_unwatch(file, wd) : -EBADF;
}
