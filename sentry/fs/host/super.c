/* The file system type "host": attaching to a gofer, and the end of a mount. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "sentry/fs/fs.h"
#include "sentry/fs/host/host_internal.h"

static const struct fs_type host_type;

static struct inode *make_host_inode(struct super_block *sb, const struct gofer_stat *st)
{
	struct host_object *o = calloc(1, sizeof(*o));
	struct inode *inode = o ? inode_alloc(sb, st->mode) : NULL;

	if (!inode) {
		free(o);
		return NULL;
	}
	inode->private = o;
	if (S_ISDIR(st->mode)) {
		inode->ops = &host_dir_iops;
		inode->fops = &host_dir_fops;
	} else if (S_ISREG(st->mode)) {
		inode->ops = &host_file_iops;
		inode->fops = &host_file_fops;
	} else {
		/* Links; fifos, sockets and devices: what they do is the sentry's own. */
		inode->ops = S_ISLNK(st->mode) ? &host_link_iops : &host_file_iops;
	}
	if (((struct host_mount *)sb->private)->cache && S_ISLNK(st->mode))
		inode->flags |= S_CACHE_LINK;
	return inode;
}

static void evict_inode(struct inode *inode)
{
	host_object_release(inode->private);
	free(inode->private);
}

static int host_statfs(struct super_block *sb, struct statfs *buf)
{
	struct host_mount *m = sb->private;
	struct gofer_transaction t = {
		.req.op = GOFER_STATFS, .reply_data = buf, .reply_size = sizeof(*buf)};
	int ret;

	if (m->root_fd >= 0)
		return fstatfs(m->root_fd, buf) ? -errno : 0;
	ret = gofer_call(m, &t);
	if (!ret && t.reply.data_len != sizeof(*buf))
		ret = -EIO;
	return ret;
}

static void free_mount(struct host_mount *m)
{
	if (m->num_objects)
		log_error("host mount: %u files still in use at its end", m->num_objects);
	close_fd_ptr(&m->sock);
	close_fd_ptr(&m->root_fd);
	mutex_destroy(&m->gofer_lock);
	mutex_destroy(&m->node_lock);
	mutex_destroy(&m->icache_lock);
	free(m->buckets);
	free(m);
}

static void put_super(struct super_block *sb)
{
	if (sb->private)
		free_mount(sb->private);
}

static bool revalidate(struct dentry *dentry)
{
	struct host_mount *m = dentry->sb->private;
	struct inode *inode = dentry->inode;
	struct dentry *parent;
	char name[NAME_MAX_LEN + 1];
	struct host_object *dir;
	struct gofer_stat st;
	bool ok;

	if (m->cache || dentry == dentry->sb->root)
		return true;
	if (!inode)
		return false;
	parent = d_get_parent(dentry);
	d_get_name(dentry, name);
	dir = host_object_of(parent->inode);
	ok = !host_stat_child(dir, name, &st) && host_object_is(host_object_of(inode), &st);
	if (ok)
		host_inode_fill(inode, host_object_of(inode), &st);
	d_put(parent);
	return ok;
}

static const struct super_operations host_super_ops = {
	.evict_inode = evict_inode,
	.statfs = host_statfs,
	.put_super = put_super,
};
static const struct dentry_operations host_dentry_ops = {.revalidate = revalidate};

static int attach(struct host_mount *m, const struct host_mount_arg *arg)
{
	struct gofer_transaction t = {.req.op = GOFER_ATTACH};
	int ret = gofer_call(m, &t);

	if (ret)
		return ret;
	m->readonly = arg->readonly || t.reply.flags & GOFER_ATTACH_READONLY;
	m->squash = t.reply.flags & GOFER_ATTACH_SQUASH;
	m->root_stat = t.reply.stat;
	m->root_fd = t.fd;
	if (!arg->directfs)
		close_fd_ptr(&m->root_fd);
	return 0;
}

static int get_super(const struct fs_type *type, unsigned long flags, const char *source,
		     const char *data, void *arg, struct super_block **out)
{
	const struct host_mount_arg *a = arg;
	struct super_block *sb;
	struct host_mount *m;
	struct inode *root;
	int ret;

	if (!a)
		return -EPERM; /* not for guests */
	sb = sb_alloc(type, &host_super_ops);
	m = calloc(1, sizeof(*m));
	if (!sb || !m) {
		free(m);
		if (sb)
			sb_put(sb);
		close(a->gofer_sock);
		return -ENOMEM;
	}
	sb->private = m;
	sb->flags = flags;
	sb->magic = 0x01021997; /* V9FS_MAGIC: what statfs says of files of another's */
	sb->source = strdup(source ? source : "host");
	m->sb = m->inode_sb = sb;
	m->make = make_host_inode;
	m->sock = a->gofer_sock;
	m->root_fd = -1;
	m->cache = a->cache;
	mutex_init(&m->gofer_lock);
	mutex_init(&m->node_lock);
	mutex_init(&m->icache_lock);
	sb->d_ops = &host_dentry_ops;
	ret = attach(m, a);
	if (!ret)
		ret = host_root_inode(m, &root);
	if (!ret) {
		if (m->readonly)
			sb->flags |= MS_RDONLY;
		if (!m->cache)
			sb->flags |= SB_NO_NEGATIVE;
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

struct host_mount *host_mount_of(struct super_block *sb)
{
	return sb->type == &host_type ? sb->private : NULL;
}

int host_mount_adopt(struct host_mount *m, struct super_block *sb, host_make_inode_t make)
{
	MUTEX_GUARD(&m->icache_lock);
	if (!m->cache)
		return -EINVAL;
	if (m->inode_sb != m->sb || m->num_objects)
		return -EBUSY;
	m->inode_sb = sb;
	m->make = make;
	return 0;
}

static const struct fs_type host_type = {
	.name = "host",
	.nodev = true,
	.get_super = get_super,
};

void hostfs_init(void)
{
	fs_register(&host_type);
	host_locks_init();
}
