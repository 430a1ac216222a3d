/* execve, execveat. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/exec/exec.h"
#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

/* Above the largest limit that exec itself sets: bounds what is copied here. */
#define MAX_ARGS_BYTES (7UL << 20)

static long exec_strings(struct task *t, struct file *file, const char *path, uaddr_t uargv,
			 uaddr_t uenvp)
{
	char **argv = NULL, **envp = NULL;
	long ret = strv_from_user(&argv, uargv, MAX_ARGS_BYTES);

	if (!ret)
		ret = strv_from_user(&envp, uenvp, MAX_ARGS_BYTES);
	if (!ret)
		ret = task_exec(t, file, path, argv, envp);
	strv_free(argv);
	strv_free(envp);
	return ret;
}

SYSCALL_DEFINE3(execve, uaddr_t, upath, uaddr_t, argv, uaddr_t, envp)
{
	char *path __free = NULL;
	int err = path_from_user(&path, upath);

	return err ? err : exec_strings(t, NULL, path, argv, envp);
}

/* The file that (dfd, path, flags) names, as far as its path matters: exec checks the rest. */
static int open_at(int dfd, const char *path, unsigned lookup, struct file **out)
{
	struct path __put_path p = {0};
	int err = path_lookupat(dfd, path, lookup, &p);

	if (err)
		return err;
	if (!p.dentry->inode)
		return -ENOENT;
	if (S_ISLNK(p.dentry->inode->mode))
		return -ELOOP;
	if (!S_ISREG(p.dentry->inode->mode) || (p.mnt->flags & MS_NOEXEC))
		return -EACCES;
	err = inode_permission(p.dentry->inode, MAY_EXEC);
	return err ? err : file_open(&p, O_RDONLY, out);
}

static bool fd_is_cloexec(struct task *t, int fd)
{
	MUTEX_GUARD(&t->files->lock);

	return fd >= 0 && fd < t->files->size && t->files->slots[fd].file &&
	       t->files->slots[fd].cloexec;
}

SYSCALL_DEFINE5(execveat, int, dfd, uaddr_t, upath, uaddr_t, argv, uaddr_t, envp, int, flags)
{
	unsigned lookup = flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
	struct file *__put_file file = NULL;
	char *path __free = NULL;
	char name[PATH_MAX + 32];
	int err;

	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	err = path_from_user(&path, upath);
	if (err)
		return err;
	if (!path[0] && !(flags & AT_EMPTY_PATH))
		return -ENOENT;
	if (!path[0])
		lookup |= LOOKUP_EMPTY;
	err = open_at(dfd, path, lookup, &file);
	if (err)
		return err;
	t->exec_fd_cloexec = false;
	if (dfd == AT_FDCWD || path[0] == '/') {
		snprintf(name, sizeof(name), "%s", path);
	} else {
		snprintf(name, sizeof(name), path[0] ? "/dev/fd/%d/%s" : "/dev/fd/%d", dfd, path);
		t->exec_fd_cloexec = fd_is_cloexec(t, dfd);
	}
	return exec_strings(t, file, name, argv, envp);
}
