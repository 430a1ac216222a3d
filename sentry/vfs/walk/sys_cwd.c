/* Where a task stands: chdir, fchdir, getcwd, chroot, umask. */
#include <limits.h>
#include <string.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/walk/dcache.h"
#include "sentry/vfs/walk/dpath.h"

static int enter(struct fs *fs, const struct path *path)
{
	int err = inode_permission(path->dentry->inode, MAY_EXEC);

	if (!err)
		fs_set_cwd(fs, path);
	return err;
}

SYSCALL_DEFINE1(chdir, uaddr_t, name)
{
	struct path path __put_path = {0};
	int err = user_path_at(AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &path);

	return err ? err : enter(current_fs(), &path);
}

SYSCALL_DEFINE1(fchdir, int, fd)
{
	struct file *__put_file f = fd_get_raw(fd);

	if (!f)
		return -EBADF;
	if (!S_ISDIR(f->inode->mode))
		return -ENOTDIR;
	return enter(current_fs(), &f->path);
}

SYSCALL_DEFINE1(chroot, uaddr_t, name)
{
	struct path path __put_path = {0};
	int err = user_path_at(AT_FDCWD, name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &path);

	if (!err)
		err = inode_permission(path.dentry->inode, MAY_EXEC);
	if (err)
		return err;
	if (!own_ns_capable(CAP_SYS_CHROOT))
		return -EPERM;
	fs_set_root(current_fs(), &path);
	return 0;
}

SYSCALL_DEFINE2(getcwd, uaddr_t, ubuf, size_t, size)
{
	static const char unreachable[] = "(unreachable)";
	struct path root __put_path = {0}, cwd __put_path = {0};
	char buf[sizeof(unreachable) + PATH_MAX], *start;
	bool reached;
	size_t n;

	fs_get_root(current_fs(), &root);
	fs_get_cwd(current_fs(), &cwd);
	if (!d_is_root(cwd.dentry) && (atomic_load(&cwd.dentry->flags) & DCACHE_UNHASHED))
		return -ENOENT;
	if (d_path_text(&cwd, &root, buf + sizeof(unreachable) - 1, PATH_MAX, &start, &reached))
		return -ENAMETOOLONG;
	if (!reached) {
		start -= sizeof(unreachable) - 1;
		memcpy(start, unreachable, sizeof(unreachable) - 1);
	}
	n = strlen(start) + 1;
	if (n > size)
		return -ERANGE;
	return copy_to_user(ubuf, start, n) ? -EFAULT : (long)n;
}

SYSCALL_DEFINE1(umask, uint32_t, mask)
{
	int old;

	mutex_lock(&current_fs()->lock);
	old = current_fs()->umask;
	current_fs()->umask = mask & 0777;
	mutex_unlock(&current_fs()->lock);
	return old;
}
