/* Names: mkdir, rmdir, unlink, rename, link, symlink, readlink, mknod. */
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/name/namei.h"

/* A path argument, on the stack. */
struct name {
	char text[PATH_MAX];
};

static int get_name(struct name *name, uaddr_t uname)
{
	ssize_t n = strncpy_from_user(name->text, uname, sizeof(name->text));

	return n < 0 ? n : 0;
}

static long do_mkdir(int dfd, uaddr_t uname, uint32_t mode)
{
	struct name name;
	int err = get_name(&name, uname);

	return err ? err : vfs_mkdir(dfd, name.text, mode);
}

SYSCALL_DEFINE2(mkdir, uaddr_t, name, uint32_t, mode)
{
	return do_mkdir(AT_FDCWD, name, mode);
}

SYSCALL_DEFINE3(mkdirat, int, dfd, uaddr_t, name, uint32_t, mode)
{
	return do_mkdir(dfd, name, mode);
}

static long do_mknod(int dfd, uaddr_t uname, uint32_t mode, uint32_t dev)
{
	struct name name;
	int err = get_name(&name, uname);

	return err ? err : vfs_mknod(dfd, name.text, mode, dev);
}

SYSCALL_DEFINE3(mknod, uaddr_t, name, uint32_t, mode, uint32_t, dev)
{
	return do_mknod(AT_FDCWD, name, mode, dev);
}

SYSCALL_DEFINE4(mknodat, int, dfd, uaddr_t, name, uint32_t, mode, uint32_t, dev)
{
	return do_mknod(dfd, name, mode, dev);
}

static long do_unlink(int dfd, uaddr_t uname, bool is_dir)
{
	struct name name;
	int err = get_name(&name, uname);

	if (err)
		return err;
	return is_dir ? vfs_rmdir(dfd, name.text) : vfs_unlink(dfd, name.text);
}

SYSCALL_DEFINE1(rmdir, uaddr_t, name)
{
	return do_unlink(AT_FDCWD, name, true);
}

SYSCALL_DEFINE1(unlink, uaddr_t, name)
{
	return do_unlink(AT_FDCWD, name, false);
}

SYSCALL_DEFINE3(unlinkat, int, dfd, uaddr_t, name, int, flags)
{
	if (flags & ~AT_REMOVEDIR)
		return -EINVAL;
	return do_unlink(dfd, name, flags & AT_REMOVEDIR);
}

static long do_symlink(uaddr_t utarget, int dfd, uaddr_t uname)
{
	struct name target, name;
	int err = get_name(&target, utarget);

	if (!err)
		err = get_name(&name, uname);
	return err ? err : vfs_symlink(target.text, dfd, name.text);
}

SYSCALL_DEFINE2(symlink, uaddr_t, target, uaddr_t, name)
{
	return do_symlink(target, AT_FDCWD, name);
}

SYSCALL_DEFINE3(symlinkat, uaddr_t, target, int, dfd, uaddr_t, name)
{
	return do_symlink(target, dfd, name);
}

static long do_link(int old_dfd, uaddr_t uold, int new_dfd, uaddr_t unew, int flags)
{
	struct name old_name, new_name;
	int err;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	err = get_name(&old_name, uold);
	if (!err)
		err = get_name(&new_name, unew);
	return err ? err : vfs_link(old_dfd, old_name.text, new_dfd, new_name.text, flags);
}

SYSCALL_DEFINE2(link, uaddr_t, old_name, uaddr_t, new_name)
{
	return do_link(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

SYSCALL_DEFINE5(linkat, int, old_dfd, uaddr_t, old_name, int, new_dfd, uaddr_t, new_name, int,
		flags)
{
	return do_link(old_dfd, old_name, new_dfd, new_name, flags);
}

static long do_rename(int old_dfd, uaddr_t uold, int new_dfd, uaddr_t unew, unsigned flags)
{
	struct name old_name, new_name;
	int err = get_name(&old_name, uold);

	if (!err)
		err = get_name(&new_name, unew);
	return err ? err : vfs_rename(old_dfd, old_name.text, new_dfd, new_name.text, flags);
}

SYSCALL_DEFINE2(rename, uaddr_t, old_name, uaddr_t, new_name)
{
	return do_rename(AT_FDCWD, old_name, AT_FDCWD, new_name, 0);
}

SYSCALL_DEFINE4(renameat, int, old_dfd, uaddr_t, old_name, int, new_dfd, uaddr_t, new_name)
{
	return do_rename(old_dfd, old_name, new_dfd, new_name, 0);
}

SYSCALL_DEFINE5(renameat2, int, old_dfd, uaddr_t, old_name, int, new_dfd, uaddr_t, new_name,
		unsigned, flags)
{
	return do_rename(old_dfd, old_name, new_dfd, new_name, flags);
}

static long do_readlink(int dfd, uaddr_t uname, uaddr_t buf, int size)
{
	struct path path __put_path = {0};
	char *target __free = NULL;
	struct name name;
	size_t n;
	int err;

	if (size <= 0)
		return -EINVAL;
	err = get_name(&name, uname);
	if (!err)
		err = path_lookupat(dfd, name.text, LOOKUP_EMPTY, &path);
	if (!err && !*name.text && dfd == AT_FDCWD)
		return -ENOENT;
	if (!err)
		err = vfs_readlink(&path, &target);
	if (err)
		return err == -EINVAL && !*name.text ? -ENOENT : err;
	n = MIN(strlen(target), (size_t)size);
	if (copy_to_user(buf, target, n))
		return -EFAULT;
	return n;
}

SYSCALL_DEFINE3(readlink, uaddr_t, name, uaddr_t, buf, int, size)
{
	return do_readlink(AT_FDCWD, name, buf, size);
}

SYSCALL_DEFINE4(readlinkat, int, dfd, uaddr_t, name, uaddr_t, buf, int, size)
{
	return do_readlink(dfd, name, buf, size);
}
