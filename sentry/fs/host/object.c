/* Host objects: the table that makes equal host files equal inodes, attributes, look-ups. */
#include <errno.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "sentry/fs/host/host_internal.h"

#define MIN_BUCKETS 256

/* --- attributes ------------------------------------------------------------------------------ */

static bool denied(int ret)
{
	return ret == -EACCES || ret == -EPERM;
}

static int stat_by_gofer(struct host_object *dir, const char *name, struct gofer_stat *st)
{
	char path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = GOFER_STAT, .path = path};
	int ret = host_node_path(dir->mount, dir->node, name, path);

	if (!ret)
		ret = gofer_call(dir->mount, &t);
	*st = t.reply.stat;
	return ret;
}

int host_stat_child(struct host_object *dir, const char *name, struct gofer_stat *st)
{
	int fd, ret;

	if (dir->mount->root_fd < 0)
		return stat_by_gofer(dir, name, st);
	fd = host_fd_get(dir, false);
	if (fd < 0)
		return fd;
	ret = host_statx(fd, name, st);
	host_fd_put(dir, false);
	return denied(ret) ? stat_by_gofer(dir, name, st) : ret;
}

static struct timespec timespec_of(const struct gofer_time *t)
{
	return (struct timespec){.tv_sec = t->sec, .tv_nsec = t->nsec % NSEC_PER_SEC};
}

static int64_t nanoseconds_of(const struct gofer_time *t)
{
	return (int64_t)((uint64_t)t->sec * NSEC_PER_SEC + t->nsec);
}

/* new_encode_dev(): the encoding of the kernel's ABI. */
static uint64_t abi_dev(uint64_t dev)
{
	return (minor(dev) & 0xff) | ((uint64_t)major(dev) << 8) |
	       ((uint64_t)(minor(dev) & ~0xffu) << 12);
}

void host_inode_fill(struct inode *inode, struct host_object *o, const struct gofer_stat *st)
{
	atomic_store(&inode->mode, st->mode);
	atomic_store(&inode->nlink, st->nlink);
	inode->uid = st->uid;
	inode->gid = st->gid;
	inode->rdev = abi_dev(st->rdev);
	atomic_store(&inode->size, (int64_t)MIN(st->size, (uint64_t)INT64_MAX));
	inode->atime = timespec_of(&st->atime);
	inode->mtime = timespec_of(&st->mtime);
	inode->ctime = timespec_of(&st->ctime);
	inode->btime = timespec_of(&st->btime);
	atomic_store(&o->blocks, st->blocks);
}

/* --- the table of objects ----------------------------------------------------------------------
 */

static struct host_object_list *bucket(struct host_mount *m, uint64_t dev, uint64_t ino)
{
	uint64_t x = (ino ^ dev << 40) * 0x9e3779b97f4a7c15ULL;

	return &m->buckets[(x >> 32) & (m->num_buckets - 1)];
}

/* icache_lock held. Without memory the chains just get longer. */
static void grow(struct host_mount *m)
{
	uint32_t old_num = m->num_buckets, num = old_num ? old_num * 2 : MIN_BUCKETS;
	struct host_object_list *old = m->buckets, *buckets;

	if (m->num_objects < old_num || num < old_num)
		return;
	buckets = calloc(num, sizeof(*buckets));
	if (!buckets)
		return;
	m->buckets = buckets;
	m->num_buckets = num;
	for (uint32_t i = 0; i < old_num; i++) {
		struct host_object *o;

		while ((o = LIST_FIRST(&old[i]))) {
			LIST_REMOVE(o, hash_link);
			LIST_INSERT_HEAD(bucket(m, o->dev, o->ino), o, hash_link);
		}
	}
	free(old);
}

/* icache_lock held. */
static void unhash(struct host_object *o)
{
	if (!o->hashed)
		return;
	LIST_REMOVE(o, hash_link);
	o->hashed = false;
	o->mount->num_objects--;
}

bool host_object_is(const struct host_object *o, const struct gofer_stat *st)
{
	return o->ino == st->ino && o->dev == st->dev && o->btime == nanoseconds_of(&st->btime) &&
	       ((atomic_load(&o->inode->mode) ^ st->mode) & S_IFMT) == 0;
}

/* icache_lock held. A reference on the inode of st's file, or NULL. */
static struct inode *find(struct host_mount *m, const struct gofer_stat *st)
{
	struct host_object *o;

	if (!m->buckets)
		return NULL;
	LIST_FOREACH (o, bucket(m, st->dev, st->ino), hash_link) {
		if (o->ino != st->ino || o->dev != st->dev)
			continue;
		if (host_object_is(o, st) && refcount_inc_not_zero(&o->inode->refs))
			return o->inode;
		/* Dying, or the number has a new file. */
		unhash(o);
		return NULL;
	}
	return NULL;
}

/* Distinct file systems below one mount get distinct ranges: all share its st_dev. */
uint64_t host_ino(struct host_mount *m, uint64_t dev, uint64_t ino)
{
	unsigned i = 0;

	while (i < m->num_devs && m->devs[i] != dev)
		i++;
	if (i == m->num_devs && i < ARRAY_SIZE(m->devs))
		m->devs[m->num_devs++] = dev;
	return ino ^ (uint64_t)i << 48;
}

static void init_fd(struct host_object *o, struct host_fd *slot, bool write)
{
	atomic_init(&slot->fd, -1);
	slot->write = write;
	slot->object = o;
}

static struct inode *make_inode(struct host_mount *m, const struct gofer_stat *st)
{
	struct inode *inode = m->make(m->inode_sb, st);
	struct host_object *o;

	if (!inode)
		return NULL;
	o = inode->private;
	o->mount = m;
	o->inode = inode;
	o->dev = st->dev;
	o->ino = st->ino;
	o->btime = nanoseconds_of(&st->btime);
	mutex_init(&o->lock);
	init_fd(o, &o->rd, false);
	init_fd(o, &o->wr, true);
	host_inode_fill(inode, o, st);
	return inode;
}

static int settle_node(struct host_object *dir, const char *name, struct host_object *o)
{
	struct host_mount *m = o->mount;

	if (!o->node) {
		o->node = host_node_alloc(dir->node, name);
		return o->node ? 0 : -ENOMEM;
	}
	if (m->cache || host_node_is(m, o->node, dir->node, name))
		return 0;
	return host_node_move(m, o->node, dir->node, name);
}

int host_iget(struct host_object *dir, const char *name, const struct gofer_stat *st,
	      struct inode **out)
{
	struct host_mount *m = dir->mount;
	struct inode *inode;
	struct host_object *o;
	bool is_new = false;
	int ret = 0;

	mutex_lock(&m->icache_lock);
	inode = find(m, st);
	if (!inode) {
		grow(m);
		inode = m->buckets ? make_inode(m, st) : NULL;
		if (!inode) {
			mutex_unlock(&m->icache_lock);
			return -ENOMEM;
		}
		is_new = true;
		inode->ino = host_ino(m, st->dev, st->ino);
		o = inode->private;
		ret = settle_node(dir, name, o);
		if (!ret) {
			LIST_INSERT_HEAD(bucket(m, st->dev, st->ino), o, hash_link);
			o->hashed = true;
			m->num_objects++;
		}
	}
	mutex_unlock(&m->icache_lock);
	if (!is_new) {
		o = inode->private;
		ret = settle_node(dir, name, o);
		if (!ret && !m->cache)
			host_inode_fill(inode, o, st);
	}
	if (ret) {
		inode_put(inode);
		return ret;
	}
	*out = inode;
	return 0;
}

void host_object_release(struct host_object *o)
{
	struct host_mount *m = o->mount;

	if (!m)
		return;
	mutex_lock(&m->icache_lock);
	unhash(o);
	mutex_unlock(&m->icache_lock);
	host_identity_drop(o);
	host_fd_cache_remove(&o->rd);
	host_fd_cache_remove(&o->wr);
	host_node_put(o->node);
	dirlist_put(o->list);
	mutex_destroy(&o->lock);
}

int host_root_inode(struct host_mount *m, struct inode **out)
{
	struct host_object *o;
	struct inode *inode;

	if (!S_ISDIR(m->root_stat.mode) && m->inode_sb != m->sb)
		return -ENOTDIR;
	inode = make_inode(m, &m->root_stat);
	if (!inode)
		return -ENOMEM;
	o = inode->private;
	inode->ino = host_ino(m, m->root_stat.dev, m->root_stat.ino);
	o->node = host_node_alloc(NULL, NULL);
	if (!o->node) {
		inode_put(inode);
		return -ENOMEM;
	}
	*out = inode;
	return 0;
}

/* --- looking up ---------------------------------------------------------------------------------
 */

int host_lookup(struct host_object *dir, const char *name, struct inode **out)
{
	struct gofer_stat st;
	int ret;

	*out = NULL;
	if (strlen(name) > GOFER_NAME_MAX)
		return -ENAMETOOLONG;
	ret = host_stat_child(dir, name, &st);
	if (ret == -ENOENT)
		return 0;
	return ret ? ret : host_iget(dir, name, &st, out);
}

static int readlink_by_gofer(struct host_object *o, const char *path, char *buf)
{
	struct gofer_transaction t = {.req.op = GOFER_READLINK,
				      .path = path,
				      .reply_data = buf,
				      .reply_size = GOFER_PATH_MAX};
	int ret = gofer_call(o->mount, &t);

	return ret ? ret : (int)t.reply.data_len;
}

int host_readlink(struct host_object *o, char **target)
{
	char path[GOFER_PATH_MAX + 1], buf[GOFER_PATH_MAX + 1];
	int __close_fd fd = -1;
	int n = host_node_path(o->mount, o->node, NULL, path);

	if (n)
		return n;
	n = -EACCES;
	if (o->mount->root_fd >= 0) {
		fd = host_open_detached(o->mount->root_fd, path, O_PATH);
		n = fd < 0 ? fd : (int)readlinkat(fd, "", buf, GOFER_PATH_MAX);
		if (fd >= 0 && n < 0)
			n = errno == ENOENT ? -EINVAL : -errno;
	}
	if (denied(n))
		n = readlink_by_gofer(o, path, buf);
	if (n < 0)
		return n;
	buf[n] = 0;
	if (n == 0 || strlen(buf) != (size_t)n)
		return -EIO;
	*target = strdup(buf);
	return *target ? 0 : -ENOMEM;
}
