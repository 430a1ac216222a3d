/* devtmpfs: a tmpfs that is born with device nodes. */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/command_lock.h"
#include "sentry/fs/dev/mem_internal.h"
#include "sentry/fs/fs.h"
#include "sentry/vfs/vfs.h"

#define TTY_GID 5

static const struct dev_node {
	const char *name;
	uint32_t mode; /* with S_IFMT */
	unsigned major, minor;
	const char *target; /* of symlinks */
	gid_t gid;
} nodes[] = {
	{"null", S_IFCHR | 0666, MEM_MAJOR, MEM_NULL, NULL, 0},
	{"zero", S_IFCHR | 0666, MEM_MAJOR, MEM_ZERO, NULL, 0},
	{"full", S_IFCHR | 0666, MEM_MAJOR, MEM_FULL, NULL, 0},
	{"random", S_IFCHR | 0666, MEM_MAJOR, MEM_RANDOM, NULL, 0},
	{"urandom", S_IFCHR | 0666, MEM_MAJOR, MEM_URANDOM, NULL, 0},
	{"tty", S_IFCHR | 0666, 5, 0, NULL, TTY_GID},
	{"console", S_IFCHR | 0620, 5, 1, NULL, TTY_GID},
	{"ptmx", S_IFLNK | 0777, 0, 0, "pts/ptmx", 0},
	{"fd", S_IFLNK | 0777, 0, 0, "/proc/self/fd", 0},
	{"stdin", S_IFLNK | 0777, 0, 0, "/proc/self/fd/0", 0},
	{"stdout", S_IFLNK | 0777, 0, 0, "/proc/self/fd/1", 0},
	{"stderr", S_IFLNK | 0777, 0, 0, "/proc/self/fd/2", 0},
	{"pts", S_IFDIR | 0755, 0, 0, NULL, 0},
	{"shm", S_IFDIR | 01777, 0, 0, NULL, 0},
	{"mqueue", S_IFDIR | 01777, 0, 0, NULL, 0},
};

static int make_node(struct inode *dir, struct dentry *d, const struct dev_node *node)
{
	if (S_ISLNK(node->mode))
		return dir->ops->symlink(dir, d, node->target);
	if (S_ISDIR(node->mode))
		return dir->ops->mkdir(dir, d, node->mode);
	return dir->ops->mknod(dir, d, node->mode, makedev(node->major, node->minor));
}

static int populate(struct super_block *sb)
{
	struct inode *dir = sb->root->inode;

	COMMAND_WRITE_GUARD(&dir->lock);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		struct dentry *d = d_alloc_child(sb->root, nodes[i].name);
		int err = d ? make_node(dir, d, &nodes[i]) : -ENOMEM;

		if (!err && d->inode) {
			/* Neither the creator's umask nor its ids count here. */
			d->inode->mode = nodes[i].mode;
			d->inode->uid = 0;
			d->inode->gid = nodes[i].gid;
		}
		d_put(d);
		if (err)
			return err;
	}
	return 0;
}

static int devtmpfs_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			      const char *data, void *arg, struct super_block **out)
{
	const struct fs_type *tmpfs = fs_find("tmpfs");
	int err;

	if (!tmpfs)
		return -ENODEV;
	err = tmpfs->get_super(type, flags, source, data, arg, out);
	if (err)
		return err;
	(*out)->root->inode->mode = S_IFDIR | 0755;
	err = populate(*out);
	if (err)
		sb_put(*out);
	return err;
}

static const struct fs_type devtmpfs_type = {
	.name = "devtmpfs",
	.nodev = true,
	.get_super = devtmpfs_get_super,
};

void devtmpfs_init(void)
{
	mem_devices_init();
	fs_register(&devtmpfs_type);
}
