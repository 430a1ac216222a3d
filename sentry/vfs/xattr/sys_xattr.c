/* The xattr family (man 2 getxattr, setxattr, listxattr, removexattr). */
#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/xattr/xattr_internal.h"

static int get_name(char name[XATTR_NAME_MAX + 1], uaddr_t uname)
{
	ssize_t n = strncpy_from_user(name, uname, XATTR_NAME_MAX + 1);

	if (n == 0 || n == -ENAMETOOLONG)
		return -ERANGE;
	return n < 0 ? n : 0;
}

static long get_path(const struct path *path, uaddr_t uname, uaddr_t uvalue, size_t size)
{
	char name[XATTR_NAME_MAX + 1], *buf __free = NULL;
	ssize_t n;
	int err = get_name(name, uname);

	if (err)
		return err;
	size = MIN(size, (size_t)XATTR_SIZE_MAX);
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	n = vfs_getxattr(path, name, buf, size);
	if (n > 0 && size && copy_to_user(uvalue, buf, n))
		return -EFAULT;
	return n;
}

static long set_path(const struct path *path, uaddr_t uname, uaddr_t uvalue, size_t size, int flags)
{
	char name[XATTR_NAME_MAX + 1], *buf __free = NULL;
	int err;

	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	err = get_name(name, uname);
	if (err)
		return err;
	if (size > XATTR_SIZE_MAX)
		return -E2BIG;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	if (size && copy_from_user(buf, uvalue, size))
		return -EFAULT;
	return vfs_setxattr(path, name, buf, size, flags);
}

static long list_path(const struct path *path, uaddr_t ulist, size_t size)
{
	char *buf __free = NULL;
	ssize_t n;

	size = MIN(size, (size_t)XATTR_LIST_MAX);
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	n = vfs_listxattr(path, buf, size);
	if (n == -ERANGE && size == XATTR_LIST_MAX)
		n = -E2BIG;
	if (n > 0 && size && copy_to_user(ulist, buf, n))
		return -EFAULT;
	return n;
}

static long remove_path(const struct path *path, uaddr_t uname)
{
	char name[XATTR_NAME_MAX + 1];
	int err = get_name(name, uname);

	return err ? err : vfs_removexattr(path, name);
}

/* Runs `call` on the path that the first argument names: by name, by name without following a
 * final symlink, by fd. */
#define BY_NAME(lookup, call)                                                                      \
	struct path path __put_path = {0};                                                         \
	int err = user_path_at(AT_FDCWD, file, (lookup), &path);                                   \
                                                                                                   \
	return err ? err : (call)
#define BY_FD(call)                                                                                \
	struct file *__put_file f = fd_get(file);                                                  \
	const struct path path = f ? f->path : (struct path){0};                                   \
                                                                                                   \
	return f ? (call) : -EBADF

SYSCALL_DEFINE4(getxattr, uaddr_t, file, uaddr_t, name, uaddr_t, value, size_t, size)
{
	BY_NAME(LOOKUP_FOLLOW, get_path(&path, name, value, size));
}

SYSCALL_DEFINE4(lgetxattr, uaddr_t, file, uaddr_t, name, uaddr_t, value, size_t, size)
{
	BY_NAME(0, get_path(&path, name, value, size));
}

SYSCALL_DEFINE4(fgetxattr, int, file, uaddr_t, name, uaddr_t, value, size_t, size)
{
	BY_FD(get_path(&path, name, value, size));
}

SYSCALL_DEFINE5(setxattr, uaddr_t, file, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
	BY_NAME(LOOKUP_FOLLOW, set_path(&path, name, value, size, flags));
}

SYSCALL_DEFINE5(lsetxattr, uaddr_t, file, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
	BY_NAME(0, set_path(&path, name, value, size, flags));
}

SYSCALL_DEFINE5(fsetxattr, int, file, uaddr_t, name, uaddr_t, value, size_t, size, int, flags)
{
	BY_FD(set_path(&path, name, value, size, flags));
}

SYSCALL_DEFINE3(listxattr, uaddr_t, file, uaddr_t, list, size_t, size)
{
	BY_NAME(LOOKUP_FOLLOW, list_path(&path, list, size));
}

SYSCALL_DEFINE3(llistxattr, uaddr_t, file, uaddr_t, list, size_t, size)
{
	BY_NAME(0, list_path(&path, list, size));
}

SYSCALL_DEFINE3(flistxattr, int, file, uaddr_t, list, size_t, size)
{
	BY_FD(list_path(&path, list, size));
}

SYSCALL_DEFINE2(removexattr, uaddr_t, file, uaddr_t, name)
{
	BY_NAME(LOOKUP_FOLLOW, remove_path(&path, name));
}

SYSCALL_DEFINE2(lremovexattr, uaddr_t, file, uaddr_t, name)
{
	BY_NAME(0, remove_path(&path, name));
}

SYSCALL_DEFINE2(fremovexattr, int, file, uaddr_t, name)
{
	BY_FD(remove_path(&path, name));
}
