/* Getting at a host object's content: fds, bytes, listings, extended attributes. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "sentry/fs/host/host_internal.h"

#define SMALL_COPY 4096
#define BOUNCE_SIZE 65536

/* --- fds -----------------------------------------------------------------------------------------
 */

static int open_by_gofer(struct host_object *o, const char *path, int flags)
{
	struct gofer_transaction t = {.req.op = GOFER_OPEN, .req.flags = flags, .path = path};
	int ret = gofer_call(o->mount, &t);

	if (ret)
		return ret;
	return t.fd < 0 ? -EIO : t.fd;
}

/* Opens o's file by its path and makes sure that it is still the same one. */
static int open_object(struct host_object *o, int flags)
{
	char path[GOFER_PATH_MAX + 1];
	struct host_mount *m = o->mount;
	struct gofer_stat st;
	int __close_fd fd = -EACCES;
	int ret = host_node_path(m, o->node, NULL, path);

	if (ret)
		return ret;
	if (atomic_load(&o->deleted))
		return -ESTALE;
	/* O_NONBLOCK: what was a regular file when it was looked up may be a fifo now. */
	if (m->root_fd >= 0)
		fd = host_open_detached(m->root_fd, path,
					flags | (flags & O_PATH ? 0 : O_NOCTTY | O_NONBLOCK));
	if (fd == -EACCES || fd == -EPERM)
		fd = open_by_gofer(o, path, flags);
	if (fd < 0)
		return fd == -ENOENT ? -ESTALE : fd;
	ret = host_statx(fd, "", &st);
	if (ret)
		return ret;
	if (!host_object_is(o, &st))
		return -ESTALE;
	return steal_fd(&fd);
}

/* For names beneath it, and for reading if that is permitted. */
static int open_directory(struct host_object *o)
{
	int fd = open_object(o, O_RDONLY | O_DIRECTORY);

	return fd == -EACCES || fd == -EPERM ? open_object(o, O_PATH | O_DIRECTORY) : fd;
}

static int fd_get_slow(struct host_object *o, struct host_fd *slot)
{
	uint32_t type = atomic_load(&o->inode->mode) & S_IFMT;
	int fd;

	MUTEX_GUARD(&o->lock);
	fd = atomic_load(&slot->fd);
	if (fd >= 0)
		return fd;
	if (type == S_IFDIR)
		fd = slot->write ? -EISDIR : open_directory(o);
	else if (type != S_IFREG)
		fd = -EACCES;
	else if (slot->write && o->mount->readonly)
		fd = -EROFS;
	else
		fd = open_object(o, slot->write ? O_RDWR : O_RDONLY);
	if (fd >= 0) {
		atomic_store(&slot->fd, fd);
		host_fd_cache_add(slot);
	}
	return fd;
}

int host_fd_get(struct host_object *o, bool write)
{
	struct host_fd *slot = write ? &o->wr : &o->rd;
	int fd;

	atomic_fetch_add(&slot->users, 1);
	fd = atomic_load(&slot->fd);
	if (fd < 0)
		fd = fd_get_slow(o, slot);
	if (fd < 0)
		atomic_fetch_sub(&slot->users, 1);
	else if (!atomic_load_explicit(&slot->referenced, memory_order_relaxed))
		atomic_store_explicit(&slot->referenced, true, memory_order_relaxed);
	return fd;
}

void host_fd_put(struct host_object *o, bool write)
{
	atomic_fetch_sub(write ? &o->wr.users : &o->rd.users, 1);
}

int host_fd_lend(struct host_object *o, bool write)
{
	int fd = host_fd_get(o, write);

	if (fd >= 0 && !host_fd_cache_lend(write ? &o->wr : &o->rd)) {
		host_fd_put(o, write);
		return -ENFILE;
	}
	return fd;
}

void host_fd_return(struct host_object *o, bool write)
{
	host_fd_cache_return(write ? &o->wr : &o->rd);
	host_fd_put(o, write);
}

void host_object_keep(struct host_object *o)
{
	if (!S_ISREG(atomic_load(&o->inode->mode)))
		return;
	/* These are given back by host_object_release alone. */
	if (atomic_load(&o->opens))
		(void)host_fd_lend(o, false);
	if (atomic_load(&o->write_opens))
		(void)host_fd_lend(o, true);
}

bool host_open_can_wait(const struct host_object *o)
{
	uint32_t mode = atomic_load(&o->inode->mode);

	return o->mount->cache && S_ISREG(mode) && mode & S_IROTH;
}

void host_refresh(struct host_object *o)
{
	struct host_fd *slot = atomic_load(&o->rd.fd) >= 0 ? &o->rd : &o->wr;
	struct gofer_stat st;
	int fd;

	if (atomic_load(&slot->fd) < 0)
		return;
	fd = host_fd_get(o, slot->write);
	if (fd < 0)
		return;
	if (!host_statx(fd, "", &st) && host_object_is(o, &st))
		host_inode_fill(o->inode, o, &st);
	host_fd_put(o, slot->write);
}

/* --- bytes ---------------------------------------------------------------------------------------
 */

/* Reads into the sentry's own memory without a copy in between. */
static ssize_t read_kernel(int fd, struct iov_iter *to, int64_t pos)
{
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		size_t n = MIN(to->iov->iov_len - to->offset, to->count);
		ssize_t got;

		if (!n) {
			iov_iter_advance(to, 0);
			n = MIN(to->iov->iov_len - to->offset, to->count);
			if (!n)
				break;
		}
		got = pread(fd, (char *)to->iov->iov_base + to->offset, n, pos + done);
		if (got < 0)
			return done ? done : -errno;
		iov_iter_advance(to, got);
		done += got;
		if ((size_t)got < n)
			break;
	}
	return done;
}

static ssize_t read_bounced(int fd, struct iov_iter *to, int64_t pos, char *buf, size_t size)
{
	ssize_t done = 0;

	while (iov_iter_count(to)) {
		size_t n = MIN(iov_iter_count(to), size);
		ssize_t got = pread(fd, buf, n, pos + done), moved;

		if (got < 0)
			return done ? done : -errno;
		if (!got)
			break;
		moved = copy_to_iter(to, buf, got);
		if (moved < 0)
			return done ? done : moved;
		done += moved;
		if (moved < got || (size_t)got < n)
			break;
	}
	return done;
}

ssize_t host_read_at(struct host_object *o, struct iov_iter *to, int64_t pos)
{
	char small[SMALL_COPY];
	ssize_t ret;
	int fd;

	if (!iov_iter_count(to))
		return 0;
	fd = host_fd_get(o, false);
	if (fd < 0)
		return fd;
	if (to->kind == ITER_KERNEL) {
		ret = read_kernel(fd, to, pos);
	} else if (iov_iter_count(to) <= sizeof(small)) {
		ret = read_bounced(fd, to, pos, small, sizeof(small));
	} else {
		char *__free big = malloc(BOUNCE_SIZE);

		ret = big ? read_bounced(fd, to, pos, big, BOUNCE_SIZE) : -ENOMEM;
	}
	host_fd_put(o, false);
	return ret;
}

/* --- listings ------------------------------------------------------------------------------------
 */

static int read_listing(struct host_object *dir, struct dirlist *l)
{
	char path[GOFER_PATH_MAX + 1];
	int __close_fd own = -1;
	int fd = host_fd_get(dir, false), ret;

	if (fd < 0)
		return fd;
	/* The fd's position is for one reader at a time. */
	mutex_lock(&dir->lock);
	ret = lseek(fd, 0, SEEK_SET) < 0 ? -errno : dirlist_read(l, fd);
	mutex_unlock(&dir->lock);
	host_fd_put(dir, false);
	if (ret != -EBADF)
		return ret;
	/* O_PATH: reading was not permitted, as it was opened. */
	ret = host_node_path(dir->mount, dir->node, NULL, path);
	if (ret)
		return ret;
	own = open_by_gofer(dir, path, O_RDONLY | O_DIRECTORY);
	return own < 0 ? own : dirlist_read(l, own);
}

int host_dirlist(struct host_object *dir, struct dirlist **out)
{
	bool cache = dir->mount->cache;
	struct dirlist *l;
	int ret;

	if (cache) {
		mutex_lock(&dir->lock);
		l = dir->list ? dirlist_get(dir->list) : NULL;
		mutex_unlock(&dir->lock);
		if (l) {
			*out = l;
			return 0;
		}
	}
	l = dirlist_alloc();
	if (!l)
		return -ENOMEM;
	ret = read_listing(dir, l);
	if (ret) {
		dirlist_put(l);
		return ret;
	}
	for (uint32_t i = 0; i < l->nr; i++)
		l->entries[i].ino = host_ino(dir->mount, dir->dev, l->entries[i].ino);
	if (cache) {
		mutex_lock(&dir->lock);
		if (!dir->list)
			dir->list = dirlist_get(l);
		mutex_unlock(&dir->lock);
	}
	*out = l;
	return 0;
}

/* --- extended attributes -------------------------------------------------------------------------
 */

/* Those that mean in the sandbox what they mean on the host. */
static bool xattr_is_shared(const char *name)
{
	return !strncmp(name, "user.", 5) || !strcmp(name, "security.capability");
}

static bool may_have_xattrs(struct host_object *o)
{
	uint32_t mode = atomic_load(&o->inode->mode);

	return (S_ISREG(mode) || S_ISDIR(mode)) && !o->no_xattrs;
}

/* A list or a value, by way of an fd if the sentry can have a real one. */
static ssize_t read_xattr(struct host_object *o, const char *name, char *buf, size_t size)
{
	char path[GOFER_PATH_MAX + 1];
	struct gofer_transaction t = {.req.op = name ? GOFER_GETXATTR : GOFER_LISTXATTR,
				      .path = path,
				      .path2 = name,
				      .reply_data = buf,
				      .reply_size = size};
	ssize_t n;
	int ret;

	if (S_ISREG(atomic_load(&o->inode->mode))) {
		int fd = host_fd_get(o, false);

		if (fd < 0)
			return fd;
		n = name ? fgetxattr(fd, name, buf, size) : flistxattr(fd, buf, size);
		n = n < 0 ? -errno : n;
		host_fd_put(o, false);
		/* user.* takes the right to read the file, however the fd was come by. */
		if (n != -EACCES && n != -EPERM)
			return n;
	}
	ret = host_node_path(o->mount, o->node, NULL, path);
	if (!ret)
		ret = gofer_call(o->mount, &t);
	return ret ? ret : (ssize_t)t.reply.data_len;
}

static ssize_t hand_out(const char *value, ssize_t n, void *buf, size_t size)
{
	if (n < 0 || !size)
		return n;
	if ((size_t)n > size)
		return -ERANGE;
	memcpy(buf, value, n);
	return n;
}

ssize_t host_listxattr(struct host_object *o, char *buf, size_t size)
{
	char *__free names = NULL;
	ssize_t n, kept = 0;

	if (!may_have_xattrs(o))
		return 0;
	names = malloc(GOFER_DATA_MAX);
	if (!names)
		return -ENOMEM;
	n = read_xattr(o, NULL, names, GOFER_DATA_MAX);
	if (n < 0)
		return n == -EOPNOTSUPP ? 0 : n;
	for (ssize_t at = 0; at < n;) {
		size_t len = strnlen(names + at, n - at) + 1;

		if (at + (ssize_t)len > n)
			break; /* not terminated: not a name */
		if (xattr_is_shared(names + at)) {
			memmove(names + kept, names + at, len);
			kept += len;
		}
		at += len;
	}
	if (!kept && o->mount->cache)
		o->no_xattrs = true;
	return hand_out(names, kept, buf, size);
}

ssize_t host_getxattr(struct host_object *o, const char *name, void *buf, size_t size)
{
	char *__free value = NULL;
	ssize_t n;

	if (!xattr_is_shared(name))
		return strncmp(name, "system.", 7) ? -ENODATA : -EOPNOTSUPP;
	/* Programs ask for names that are not there far more often than for others: one list
	 * answers for all of them. */
	if (o->mount->cache && may_have_xattrs(o)) {
		n = host_listxattr(o, NULL, 0);
		if (n < 0)
			return n;
	}
	if (!may_have_xattrs(o))
		return -ENODATA;
	value = malloc(GOFER_DATA_MAX);
	if (!value)
		return -ENOMEM;
	n = read_xattr(o, name, value, GOFER_DATA_MAX);
	return hand_out(value, n == -EOPNOTSUPP ? -ENODATA : n, buf, size);
}
