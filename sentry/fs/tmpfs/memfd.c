/* memfd_create(2): files of a tmpfs that is mounted nowhere. */
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>

#include "sentry/fs/tmpfs/node_internal.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#define MFD_EXEC 0x0010U
#endif

static struct mount *memfd_mount;
static struct mutex mount_made = MUTEX_INIT;

static char *memfd_dname(struct dentry *d)
{
	return d->private ? strdup(d->private) : NULL;
}

static void memfd_release(struct dentry *d)
{
	free(d->private);
}

static const struct dentry_operations memfd_d_ops = {
	.dname = memfd_dname,
	.release = memfd_release,
};

static int get_mount(struct mount **out)
{
	const struct fs_type *type = fs_find("tmpfs");
	struct super_block *sb;
	int err;

	MUTEX_GUARD(&mount_made);
	if (!memfd_mount) {
		err = type ? type->get_super(type, 0, NULL, NULL, NULL, &sb) : -ENODEV;
		if (err)
			return err;
		sb_of_kernel(sb);
		sb->d_ops = &memfd_d_ops;
		memfd_mount = mount_internal(sb);
		sb_put(sb);
		if (!memfd_mount)
			return -ENOMEM;
		/* memfds are executable where MFD_NOEXEC_SEAL does not forbid it */
		atomic_store(&memfd_mount->flags, 0);
	}
	*out = memfd_mount;
	return 0;
}

int memfd_file_create(const char *name, unsigned mfd_flags, struct file **out)
{
	struct path path = {0};
	struct inode *inode;
	struct mount *m;
	uint32_t mode = mfd_flags & MFD_NOEXEC_SEAL ? 0666 : 0777, seals = F_SEAL_SEAL;
	int err = get_mount(&m);

	if (!err)
		err = tmpfs_inode_new(m->sb, NULL, S_IFREG | mode, 0, &inode);
	if (err)
		return err;
	atomic_store(&inode->nlink, 0);
	if (mfd_flags & MFD_ALLOW_SEALING)
		seals = 0;
	if (mfd_flags & MFD_NOEXEC_SEAL)
		seals = F_SEAL_EXEC;
	tmpfs_data_init_seals(tmpfs_node(inode)->data, seals);
	path.dentry = d_alloc_anon(m->sb, inode);
	if (!path.dentry) {
		inode_put(inode);
		return -ENOMEM;
	}
	if (asprintf((char **)&path.dentry->private, "/memfd:%s (deleted)", name) < 0)
		path.dentry->private = NULL;
	path.mnt = mnt_get(m);
	/* O_LARGEFILE, which the C library has as 0. */
	err = file_open(&path, O_RDWR | 0100000, out);
	path_put(&path);
	return err;
}
