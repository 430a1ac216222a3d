/* Files without a place in a tree: pipes, sockets, eventfds. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>

#include "sentry/vfs/file/file_internal.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/walk/dcache.h"

static struct mount *anon_mount;

static char *anon_dname(struct dentry *d)
{
	/* Without memory for its name a file is just anonymous. */
	const char *fmt = d->private ? d->private : "anon_inode:", *percent = strchr(fmt, '%');
	char *text = NULL;

	if (!percent)
		return strdup(fmt);
	/* The one conversion is the inode number's, whatever its letters. */
	if (asprintf(&text, "%.*s%lu%s", (int)(percent - fmt), fmt, (unsigned long)d->inode->ino,
		     percent + 1 + strspn(percent + 1, "lud")) < 0)
		return NULL;
	return text;
}

static void anon_release(struct dentry *d)
{
	free(d->private);
}

static const struct dentry_operations anon_d_ops = {
	.dname = anon_dname,
	.release = anon_release,
};

static int anon_statfs(struct super_block *sb, struct statfs *buf)
{
	buf->f_type = sb->magic;
	buf->f_bsize = 4096;
	buf->f_namelen = NAME_MAX_LEN;
	return 0;
}

static const struct super_operations anon_s_ops = {.statfs = anon_statfs};
static const struct fs_type anon_type = {.name = "anon_inodefs", .nodev = true};

struct mount *anon_mount_create(const struct fs_type *type, uint64_t magic)
{
	struct super_block *sb = sb_alloc(type, &anon_s_ops);
	struct mount *mnt;
	struct inode *root;

	BUG_ON(!sb);
	sb->d_ops = &anon_d_ops;
	sb->magic = magic;
	sb->source = strdup(type->name);
	root = inode_alloc(sb, S_IFDIR | 0555);
	BUG_ON(!root);
	sb->root = d_make_root(sb, root);
	BUG_ON(!sb->root);
	sb->root->private = strdup("anon_inode:/");
	mnt = mount_internal(sb);
	BUG_ON(!mnt);
	return mnt;
}

void anon_init(void)
{
	anon_mount = anon_mount_create(&anon_type, ANON_INODE_FS_MAGIC);
}

/* Linux has one inode for all of those that are not pipes or sockets: it cannot be changed. */
static int anon_setattr(struct inode *inode, struct iattr *attr)
{
	return -EOPNOTSUPP;
}

static const struct inode_operations anon_iops = {.setattr = anon_setattr};

int64_t file_noop_llseek(struct file *f, int64_t offset, int whence)
{
	return atomic_load(&f->pos);
}

int anon_file_create(const char *dname, uint32_t mode, const struct file_operations *ops,
		     void *private, uint32_t flags, struct file **out)
{
	return anon_file_create_on(anon_mount, dname, mode, ops, private, flags, out);
}

int anon_file_create_on(struct mount *mnt, const char *dname, uint32_t mode,
			const struct file_operations *ops, void *private, uint32_t flags,
			struct file **out)
{
	struct super_block *sb = mnt->sb;
	struct file *f = file_alloc(flags);
	struct inode *inode;
	struct dentry *d;

	if (!f)
		return -ENFILE;
	inode = inode_alloc(sb, mode);
	d = inode ? d_alloc_anon(sb, inode) : NULL;
	if (!d) {
		if (inode)
			inode_put(inode);
		f->is_path = true; /* nothing was opened */
		file_put(f);
		return -ENOMEM;
	}
	inode->uid = vfs_cred()->fsuid;
	inode->gid = vfs_cred()->fsgid;
	inode->fops = ops;
	if (!strncmp(dname, "anon_inode:", strlen("anon_inode:")))
		inode->ops = &anon_iops;
	inode->flags |= S_PRIVATE;
	d->private = strdup(dname);
	f->path.mnt = mnt_get(mnt);
	f->path.dentry = d;
	f->inode = inode_get(inode);
	f->can_read = (flags & O_ACCMODE) != O_WRONLY;
	f->can_write = (flags & O_ACCMODE) != O_RDONLY;
	f->ops = ops;
	f->private = private;
	*out = f;
	return 0;
}
