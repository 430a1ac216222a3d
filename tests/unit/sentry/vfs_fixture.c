#include "vfs_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/name/namei.h"

struct mnt_ns *vfs_fixture_start(void)
{
	static struct thread_group group;
	static struct task task;
	const struct fs_type *type;
	struct super_block *sb;
	struct mnt_ns *ns;
	struct path root;

	machine.total_memory = 64 << 20;
	if (!fs_find("tmpfs"))
		tmpfs_init();
	type = fs_find("tmpfs");
	if (type->get_super(type, 0, "root", "mode=755", NULL, &sb))
		abort();
	if (mnt_ns_create(sb, 0, &ns))
		abort();
	memset(&task, 0, sizeof(task));
	for (int i = 0; i < RLIM_NLIMITS; i++)
		group.rlim[i].rlim_cur = group.rlim[i].rlim_max = RLIM_INFINITY;
	group.rlim[RLIMIT_NOFILE].rlim_cur = 1024;
	task.group = &group;
	task.cred = cred_alloc();
	task.cred->cap_effective = task.cred->cap_permitted = CAP_FULL_MASK;
	mnt_ns_root(ns, &root);
	task.fs = fs_alloc(&root, &root, 022);
	path_put(&root);
	task.files = files_alloc();
	task.mnt_ns = ns;
	current = &task;
	return ns;
}

void vfs_fixture_stop(struct mnt_ns *ns)
{
	files_put(current->files);
	fs_put(current->fs);
	cred_put(current->cred);
	current = NULL;
	mnt_ns_put(ns);
}

int t_open(const char *name, int flags, unsigned mode)
{
	struct file *f;
	int err = file_open_at(AT_FDCWD, name, flags, mode, &f);

	if (err)
		return err;
	err = fd_install(f, false);
	if (err < 0)
		file_put(f);
	return err;
}

int t_close(int fd)
{
	return fd_close(current->files, fd);
}

long t_write(int fd, const void *buf, size_t n)
{
	struct file *f = fd_get(fd);
	int64_t pos = f->pos;
	struct iov_iter it;
	long ret;

	iov_iter_kernel(&it, (void *)(uintptr_t)buf, n);
	ret = vfs_write(f, &it, &pos, 0);
	f->pos = pos;
	file_put(f);
	return ret;
}

long t_pread(int fd, void *buf, size_t n, int64_t pos)
{
	struct file *f = fd_get(fd);
	long ret = kernel_read(f, buf, n, pos);

	file_put(f);
	return ret;
}

int t_exists(const char *name)
{
	struct path p;
	int err = path_lookupat(AT_FDCWD, name, LOOKUP_FOLLOW, &p);

	if (!err)
		path_put(&p);
	return err;
}
