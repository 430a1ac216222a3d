/* name_to_handle_at, open_by_handle_at (man 2): no file system here gives out handles, and this is
 * what Linux answers for such. */
#include <fcntl.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/name/namei.h"

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID AT_REMOVEDIR
#endif
#define MAX_HANDLE_BYTES 128

SYSCALL_DEFINE5(name_to_handle_at, int, dfd, uaddr_t, uname, uaddr_t, uhandle, uaddr_t, umount_id,
		int, flags)
{
	struct path path __put_path = {0};
	unsigned lookup = flags & AT_SYMLINK_FOLLOW ? LOOKUP_FOLLOW : 0;
	int err;

	(void)t;
	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | AT_HANDLE_FID))
		return -EINVAL;
	if (flags & AT_EMPTY_PATH)
		lookup |= LOOKUP_EMPTY;
	err = user_path_at(dfd, uname, lookup, &path);
	return err ? err : -EOPNOTSUPP;
}

SYSCALL_DEFINE3(open_by_handle_at, int, mount_fd, uaddr_t, uhandle, int, flags)
{
	struct file *__put_file file = NULL;
	uint32_t bytes;

	(void)t;
	if (!capable(CAP_DAC_READ_SEARCH))
		return -EPERM;
	if (get_user(&bytes, uhandle))
		return -EFAULT;
	if (!bytes || bytes > MAX_HANDLE_BYTES)
		return -EINVAL;
	if (mount_fd != AT_FDCWD) {
		file = fd_get_raw(mount_fd);
		if (!file)
			return -EBADF;
	}
	return -ESTALE;
}
