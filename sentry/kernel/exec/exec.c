#include "sentry/kernel/exec/exec.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "sentry/kernel/exec/exec_internal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/task/trace.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

size_t strv_count(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

static char **strv_copy(char *const *v)
{
	size_t n = strv_count(v);
	char **copy = calloc(n + 1, sizeof(char *));

	for (size_t i = 0; copy && i < n; i++) {
		copy[i] = strdup(v[i]);
		if (!copy[i]) {
			strv_free(copy);
			return NULL;
		}
	}
	return copy;
}

int exec_use_file(struct exec *e, struct file *file)
{
	ssize_t n;

	if (!S_ISREG(file->inode->mode))
		return -EACCES;
	if (file->path.mnt && (file->path.mnt->flags & MS_NOEXEC))
		return -EACCES;
	memset(e->head, 0, sizeof(e->head));
	n = kernel_read(file, e->head, sizeof(e->head), 0);
	if (n < 0)
		return (int)n;
	e->head_len = n;
	if (e->file)
		file_put(e->file);
	e->file = file_get(file);
	return 0;
}

int exec_open(struct exec *e, int dfd, const char *path, unsigned lookup_flags)
{
	struct path __put_path p = {0};
	struct file *__put_file file = NULL;
	int err = path_lookupat(dfd, path, lookup_flags, &p);

	if (err)
		return err;
	if (!p.dentry->inode)
		return -ENOENT;
	/* Without LOOKUP_FOLLOW. */
	if (S_ISLNK(p.dentry->inode->mode))
		return -ELOOP;
	if (!S_ISREG(p.dentry->inode->mode) || (p.mnt->flags & MS_NOEXEC))
		return -EACCES;
	err = inode_permission(p.dentry->inode, MAY_EXEC);
	if (err)
		return err;
	err = file_open(&p, O_RDONLY, &file);
	if (err)
		return err;
	if (inode_permission(p.dentry->inode, MAY_READ))
		e->unreadable = true;
	return exec_use_file(e, file);
}

static void exec_free(struct exec *e)
{
	if (e->ctx)
		platform_ctx_exit(e->ctx);
	if (e->mm)
		mm_put(e->mm);
	if (e->cred)
		cred_put(e->cred);
	elf_free(&e->elf);
	elf_free(&e->interp);
	if (e->file)
		file_put(e->file);
	if (e->interp_file)
		file_put(e->interp_file);
	if (e->script)
		file_put(e->script);
	strv_free(e->argv);
	strv_free(e->envp);
	free(e->name);
	free(e->script_name);
	if (e->old_pid)
		pid_put(e->old_pid);
}

/* RLIMIT_NPROC is checked here again for programs that changed their uid since (man 2 execve). */
static int check_nproc(struct task *t)
{
	uint64_t limit = t->group->rlim[RLIMIT_NPROC].rlim_cur;

	if (t->cred->uid == 0 || capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN) || !t->ucount)
		return 0;
	return t->nproc_exceeded && ucount_tasks(t->ucount) > limit ? -EAGAIN : 0;
}

int task_exec(struct task *t, struct file *file, const char *path, char *const argv[],
	      char *const envp[])
{
	struct exec e = {.task = t};
	int err = check_nproc(t);

	if (err)
		return err;
	t->nproc_exceeded = false;
	e.name = strdup(path);
	e.argv = strv_copy(argv);
	e.envp = strv_copy(envp);
	if (!e.name || !e.argv || !e.envp)
		err = -ENOMEM;
	/* As Linux: a program always has an argv[0]. */
	if (!err && !e.argv[0]) {
		strv_free(e.argv);
		e.argv = strv_copy((char *const[]){(char *)"", NULL});
		err = e.argv ? 0 : -ENOMEM;
	}
	if (!err)
		err = file ? exec_use_file(&e, file) : exec_open(&e, AT_FDCWD, path, LOOKUP_FOLLOW);
	if (!err && file && !strncmp(path, "/dev/fd/", 8))
		e.fd_path_gone = t->exec_fd_cloexec;
	if (!err)
		err = exec_resolve_scripts(&e);
	if (!err)
		err = exec_prepare_cred(&e);
	if (!err)
		err = exec_load(&e);
	if (!err)
		err = exec_commit(&e);
	if (!err && unlikely(task_traced(t)))
		trace_exec(t, e.old_pid);
	/* The caller finds its old program untouched all the same, but is not to see it again. */
	if (err && e.no_way_back && t->mm)
		group_kill(t->group, SIGSEGV);
	exec_free(&e);
	return err;
}

/* --- the first program of a container ----------------------------------------------------------
 */

static const char *find_env(char *const *envp, const char *name)
{
	size_t n = strlen(name);

	for (; *envp; envp++)
		if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
			return *envp + n + 1;
	return NULL;
}

/* Like execvpe(3): "not found" in one directory goes on to the next, "not allowed" is remembered.
 */
static int exec_search(struct task *t, const char *name, char *const argv[], char *const envp[])
{
	const char *dirs = find_env(envp, "PATH");
	int err = -ENOENT;

	if (!dirs)
		dirs = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	while (*dirs) {
		size_t n = strcspn(dirs, ":");
		char path[PATH_MAX];
		int ret;

		if ((size_t)snprintf(path, sizeof(path), "%.*s/%s", n ? (int)n : 1, n ? dirs : ".",
				     name) >= sizeof(path))
			return -ENAMETOOLONG;
		ret = task_exec(t, NULL, path, argv, envp);
		if (ret != -ENOENT && ret != -ENOTDIR && ret != -EACCES)
			return ret;
		if (ret == -EACCES)
			err = ret;
		dirs += n + (dirs[n] == ':');
	}
	return err;
}

int init_program(struct task *t, const char *path, char *const argv[], char *const envp[])
{
	if (!path[0])
		return -ENOENT;
	if (strchr(path, '/'))
		return task_exec(t, NULL, path, argv, envp);
	return exec_search(t, path, argv, envp);
}
