/* The file system type "overlay". */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>

#include "sentry/fs/fs.h"
#include "sentry/fs/overlay/overlay_internal.h"

#define OVERLAYFS_SUPER_MAGIC 0x794c7630
/* Upper inodes are numbered from here; below are the host's (host_ino). */
#define FIRST_UPPER_INO (1ull << 52)

static int ovl_statfs(struct super_block *sb, struct statfs *buf)
{
	struct ovl_super *s = sb->private;
	uint64_t pages = atomic_load(&s->quota->pages), inodes = atomic_load(&s->quota->inodes);

	memset(buf, 0, sizeof(*buf));
	buf->f_type = OVERLAYFS_SUPER_MAGIC;
	buf->f_bsize = buf->f_frsize = 4096;
	buf->f_blocks = s->quota->max_pages;
	buf->f_bfree = buf->f_bavail =
		s->quota->max_pages > pages ? s->quota->max_pages - pages : 0;
	buf->f_files = s->quota->max_inodes;
	buf->f_ffree = s->quota->max_inodes > inodes ? s->quota->max_inodes - inodes : 0;
	buf->f_namelen = NAME_MAX_LEN;
	return 0;
}

void ovl_drop_doomed(struct ovl_super *s)
{
	struct ovl_name *n;

	mutex_lock(&s->lock);
	if (s->dropping) {
		mutex_unlock(&s->lock); /* a caller further up does it, or another thread */
		return;
	}
	s->dropping = true;
	while ((n = LIST_FIRST(&s->doomed))) {
		LIST_REMOVE(n, doomed);
		mutex_unlock(&s->lock);
		inode_put(n->inode);
		free(n);
		mutex_lock(&s->lock);
	}
	s->dropping = false;
	mutex_unlock(&s->lock);
}

static void ovl_shutdown(struct super_block *sb)
{
	struct ovl_super *s = sb->private;

	if (!s)
		return;
	for (;;) {
		struct ovl_inode *oi;

		mutex_lock(&s->lock);
		s->dying = true;
		oi = TAILQ_FIRST(&s->pinned);
		mutex_unlock(&s->lock);
		if (!oi)
			break;
		ovl_unpin(oi->inode);
	}
	ovl_drop_doomed(s);
}

static void put_super(struct super_block *sb)
{
	struct ovl_super *s = sb->private;

	if (!s)
		return;
	if (s->lower)
		sb_put(s->lower);
	if (s->quota)
		tmpfs_quota_put(s->quota);
	mutex_destroy(&s->lock);
	free(s);
}

static void show_options(struct super_block *sb, char *buf, size_t size)
{
	snprintf(buf, size, ",lowerdir=/,upperdir=/,workdir=/");
}

static const struct super_operations ovl_super_ops = {
	.evict_inode = ovl_evict,
	.statfs = ovl_statfs,
	.shutdown = ovl_shutdown,
	.put_super = put_super,
	.show_options = show_options,
};

static int make_root(struct ovl_super *s, struct inode **out)
{
	struct host_mount *m;
	int ret;

	if (!s->lower)
		return ovl_new_inode(s->sb, NULL, S_IFDIR | 0755, 0, out);
	m = host_mount_of(s->lower);
	if (!m)
		return -EINVAL;
	ret = host_mount_adopt(m, s->sb, ovl_make_lower);
	return ret ? ret : host_root_inode(m, out);
}

/* How long a file can be: what file systems on disks with blocks of 4 KiB have, as programs know it
 * of their root. */
#define OVL_MAX_BYTES (((1LL << 32) - 1) * 4096)

static int get_super(const struct fs_type *type, unsigned long flags, const char *source,
		     const char *data, void *arg, struct super_block **out)
{
	const struct overlay_arg *a = arg;
	struct super_block *sb;
	struct ovl_super *s;
	struct inode *root;
	int ret;

	if (!a)
		return -EPERM; /* not for guests */
	sb = sb_alloc(type, &ovl_super_ops);
	if (sb)
		sb->max_bytes = OVL_MAX_BYTES;
	s = calloc(1, sizeof(*s));
	if (!sb || !s) {
		free(s);
		if (sb)
			sb_put(sb);
		return -ENOMEM;
	}
	sb->private = s;
	sb->flags = flags;
	sb->magic = OVERLAYFS_SUPER_MAGIC;
	sb->source = strdup(source ? source : "overlay");
	atomic_store(&sb->next_ino, FIRST_UPPER_INO);
	s->sb = sb;
	mutex_init(&s->lock);
	TAILQ_INIT(&s->pinned);
	LIST_INIT(&s->doomed);
	if (a->lower) {
		sb_get(a->lower);
		s->lower = a->lower;
	}
	s->quota = tmpfs_quota_create(a->max_bytes, 0);
	ret = s->quota ? make_root(s, &root) : -ENOMEM;
	if (!ret) {
		sb->root = d_make_root(sb, root);
		ret = sb->root ? 0 : -ENOMEM;
	}
	if (ret) {
		sb_put(sb);
		return ret;
	}
	*out = sb;
	return 0;
}

static const struct fs_type overlay_type = {
	.name = "overlay",
	.nodev = true,
	.get_super = get_super,
};

void overlay_init(void)
{
	fs_register(&overlay_type);
}
