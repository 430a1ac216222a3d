/*
 * devpts: a directory with ptmx and one name per pseudo-terminal. Every mount makes an instance, as
 * on Linux since 4.7.
 *
 * Lock: devpts->lock guards the table; after it, tty->lock. An instance lives as long as its super
 * block; a tty in the table is not counted, it leaves the table before its master is gone.
 */
#include "sentry/fs/tty/devpts_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "sentry/fs/fs.h"
#include "sentry/fs/tty/tty_internal.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/vfs.h"

#define DEVPTS_MAGIC 0x1cd1
#define DEVPTS_MAX 4096
#define PTMX_INO 2
#define FIRST_PTS_INO 3

struct devpts {
	struct super_block *sb;
	struct mutex lock;
	struct tty *ttys[DEVPTS_MAX];
	struct inode *inodes[DEVPTS_MAX]; /* made with the tty; counted */
	int max;
	bool uid_given, gid_given;
	uid_t uid;
	gid_t gid;
	uint32_t mode, ptmxmode;
};

static const struct file_operations devpts_ptmx_fops = {.open = pty_ptmx_open};
static const struct inode_operations devpts_iops;

/* --- ttys ---------------------------------------------------------------------------------------
 */

static struct inode *slave_inode(struct devpts *pts, struct tty *tty)
{
	struct inode *inode = inode_alloc(pts->sb, S_IFCHR | pts->mode);

	if (!inode)
		return NULL;
	inode->ino = FIRST_PTS_INO + (uint64_t)tty->index;
	inode->rdev = tty_device(tty);
	inode->ops = &devpts_iops;
	inode->fops = &tty_slave_fops;
	inode->uid = pts->uid_given || !current ? pts->uid : current->cred->fsuid;
	inode->gid = pts->gid_given || !current ? pts->gid : current->cred->fsgid;
	inode->private = tty_get(tty);
	return inode;
}

/* The instance beside the ptmx that was opened: its own for the one inside devpts, that on the
 * "pts" directory next to it for a device node. Path referenced. */
static int find_instance(struct file *file, struct path *root)
{
	struct super_block *sb = file->inode->sb;
	struct path here, fsroot;
	int err;

	*root = (struct path){0};
	if (sb->magic == DEVPTS_MAGIC) {
		root->mnt = mnt_get(file->path.mnt);
		root->dentry = d_get(sb->root);
		return 0;
	}
	here.mnt = file->path.mnt;
	here.dentry = file->path.dentry->parent;
	fs_get_root(current->fs, &fsroot);
	err = path_lookup_from(&fsroot, &here, "pts", LOOKUP_DIRECTORY, root);
	path_put(&fsroot);
	if (err)
		return -ENODEV;
	if (root->dentry->sb->magic != DEVPTS_MAGIC) {
		path_put(root);
		return -ENODEV;
	}
	return 0;
}

static int add_to(struct devpts *pts, struct tty *tty)
{
	MUTEX_GUARD(&pts->lock);
	for (int i = 0; i < pts->max; i++) {
		if (pts->ttys[i])
			continue;
		tty->index = i;
		pts->inodes[i] = slave_inode(pts, tty);
		if (!pts->inodes[i])
			return -ENOMEM;
		pts->ttys[i] = tty;
		tty->devpts = pts;
		sb_get(pts->sb);
		return 0;
	}
	return -ENOSPC;
}

int devpts_add(struct file *file, struct tty *tty)
{
	struct path __put_path root = {0};
	int err = find_instance(file, &root);

	return err ? err : add_to(root.dentry->sb->private, tty);
}

void devpts_remove(struct tty *tty)
{
	struct devpts *pts = tty->devpts;
	struct inode *inode;
	struct dentry *d;
	char name[16];

	if (!pts)
		return;
	mutex_lock(&pts->lock);
	inode = pts->inodes[tty->index];
	pts->ttys[tty->index] = NULL;
	pts->inodes[tty->index] = NULL;
	tty->devpts = NULL;
	mutex_unlock(&pts->lock);

	snprintf(name, sizeof(name), "%d", tty->index);
	d = d_lookup(pts->sb->root, name, strlen(name));
	if (d) {
		d_drop(d);
		d_put(d);
	}
	inode_put(inode);
	sb_put(pts->sb);
}

struct tty *devpts_tty_get(struct inode *inode)
{
	return inode->private ? tty_get(inode->private) : NULL;
}

int devpts_peer_path(struct file *file, struct tty *tty, struct path *out)
{
	struct path __put_path root = {0};
	char name[16];
	int err = find_instance(file, &root);

	if (err)
		return err;
	snprintf(name, sizeof(name), "%d", tty->index);
	return path_lookup_from(&root, &root, name, 0, out);
}

/* --- the directory ------------------------------------------------------------------------------
 */

static struct inode *ptmx_inode(struct devpts *pts)
{
	struct inode *inode = inode_alloc(pts->sb, S_IFCHR | pts->ptmxmode);

	if (!inode)
		return NULL;
	inode->ino = PTMX_INO;
	inode->rdev = makedev(TTYAUX_MAJOR, 2);
	inode->ops = &devpts_iops;
	inode->fops = &devpts_ptmx_fops;
	return inode;
}

static int parse_index(const char *name)
{
	char *end;
	long n;

	if (name[0] < '0' || name[0] > '9' || (name[0] == '0' && name[1]))
		return -1;
	n = strtol(name, &end, 10);
	return *end || n >= DEVPTS_MAX ? -1 : (int)n;
}

static int devpts_lookup(struct inode *dir, struct dentry *dentry)
{
	struct devpts *pts = dir->sb->private;
	struct inode *inode = NULL;
	int n;

	if (!strcmp(dentry->name, "ptmx")) {
		inode = ptmx_inode(pts);
		if (!inode)
			return -ENOMEM;
	} else {
		n = parse_index(dentry->name);
		MUTEX_GUARD(&pts->lock);
		if (n >= 0 && pts->inodes[n])
			inode = inode_get(pts->inodes[n]);
	}
	if (inode)
		d_instantiate(dentry, inode);
	return 0;
}

static int devpts_iterate(struct file *file, struct dir_context *ctx)
{
	struct devpts *pts = file->inode->sb->private;

	if (!dir_emit_dots(file, ctx))
		return 0;
	if (ctx->pos == 2) {
		if (!ctx->actor(ctx, "ptmx", 4, 3, PTMX_INO, DT_CHR))
			return 0;
		ctx->pos = 3;
	}
	for (; ctx->pos - 3 < pts->max; ctx->pos++) {
		char name[16];
		int64_t i = ctx->pos - 3;
		bool there;

		mutex_lock(&pts->lock);
		there = pts->ttys[i];
		mutex_unlock(&pts->lock);
		if (!there)
			continue;
		snprintf(name, sizeof(name), "%d", (int)i);
		if (!ctx->actor(ctx, name, strlen(name), ctx->pos + 1, FIRST_PTS_INO + (uint64_t)i,
				DT_CHR))
			return 0;
	}
	return 0;
}

static const struct inode_operations devpts_iops = {0};
static const struct inode_operations devpts_dir_iops = {.lookup = devpts_lookup};
static const struct file_operations devpts_dir_fops = {.iterate = devpts_iterate};

/* --- the super block -----------------------------------------------------------------------------
 */

static void devpts_evict(struct inode *inode)
{
	if (inode->fops == &tty_slave_fops)
		tty_put(inode->private);
}

static void devpts_put_super(struct super_block *sb)
{
	free(sb->private);
}

static int devpts_statfs(struct super_block *sb, struct statfs *buf)
{
	memset(buf, 0, sizeof(*buf));
	buf->f_type = DEVPTS_MAGIC;
	buf->f_bsize = buf->f_frsize = PAGE_SIZE;
	buf->f_namelen = NAME_MAX_LEN;
	return 0;
}

static void devpts_show_options(struct super_block *sb, char *buf, size_t size)
{
	struct devpts *pts = sb->private;
	size_t n = 0;

	if (pts->uid_given)
		n += (size_t)snprintf(buf, size, ",uid=%u", pts->uid);
	if (pts->gid_given && n < size)
		n += (size_t)snprintf(buf + n, size - n, ",gid=%u", pts->gid);
	if (n < size)
		n += (size_t)snprintf(buf + n, size - n, ",mode=%03o,ptmxmode=%03o", pts->mode,
				      pts->ptmxmode);
	if (pts->max != DEVPTS_MAX && n < size)
		snprintf(buf + n, size - n, ",max=%d", pts->max);
}

static const struct super_operations devpts_sops = {
	.evict_inode = devpts_evict,
	.statfs = devpts_statfs,
	.put_super = devpts_put_super,
	.show_options = devpts_show_options,
};

static int parse_option(struct devpts *pts, const char *opt)
{
	unsigned n;

	if (sscanf(opt, "uid=%u", &n) == 1) {
		pts->uid = make_kuid(n);
		pts->uid_given = true;
		if (pts->uid == INVALID_ID)
			return -EINVAL;
	} else if (sscanf(opt, "gid=%u", &n) == 1) {
		pts->gid = make_kgid(n);
		pts->gid_given = true;
		if (pts->gid == INVALID_ID)
			return -EINVAL;
	} else if (sscanf(opt, "mode=%o", &n) == 1) {
		pts->mode = n & 0777;
	} else if (sscanf(opt, "ptmxmode=%o", &n) == 1) {
		pts->ptmxmode = n & 0777;
	} else if (sscanf(opt, "max=%u", &n) == 1) {
		if (n > DEVPTS_MAX)
			return -EINVAL;
		pts->max = (int)n;
	} else if (strcmp(opt, "newinstance") && *opt) {
		return -EINVAL;
	}
	return 0;
}

static int parse_options(struct devpts *pts, const char *data)
{
	char *__free copy = strdup(data ? data : ""), *rest = copy, *opt;
	int err = copy ? 0 : -ENOMEM;

	while (!err && (opt = strsep(&rest, ",")))
		err = parse_option(pts, opt);
	return err;
}

static int devpts_get_super(const struct fs_type *type, unsigned long flags, const char *source,
			    const char *data, void *arg, struct super_block **out)
{
	struct devpts *pts = calloc(1, sizeof(*pts));
	struct super_block *sb;
	struct inode *root;
	int err;

	if (!pts)
		return -ENOMEM;
	mutex_init(&pts->lock);
	pts->max = DEVPTS_MAX;
	pts->mode = 0600;
	err = parse_options(pts, data);
	sb = err ? NULL : sb_alloc(type, &devpts_sops);
	if (!sb) {
		free(pts);
		return err ? err : -ENOMEM;
	}
	pts->sb = sb;
	sb->nodev = false; /* its terminals are its own */
	sb->private = pts;
	sb->magic = DEVPTS_MAGIC;
	sb->blksize = 1024;
	sb->flags = (flags & MS_RDONLY) | SB_NO_NEGATIVE;
	root = inode_alloc(sb, S_IFDIR | 0755);
	if (root) {
		root->ino = 1;
		root->nlink = 2;
		root->ops = &devpts_dir_iops;
		root->fops = &devpts_dir_fops;
		sb->root = d_make_root(sb, root);
	}
	if (!sb->root) {
		sb_put(sb);
		return -ENOMEM;
	}
	*out = sb;
	return 0;
}

static const struct fs_type devpts_type = {
	.name = "devpts",
	.nodev = true,
	.guest_mount = true,
	.userns_mount = true,
	.get_super = devpts_get_super,
};

void devpts_init(void)
{
	tty_init();
	fs_register(&devpts_type);
}
