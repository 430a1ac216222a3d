/* Open host files and directories. Files on one inode share its host fds; positions are the
 * sentry's own, so every transfer is a pread or pwrite. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/command_lock.h"
#include "sentry/fs/host/host_internal.h"
#include "sentry/platform/platform.h"

#define SMALL_COPY 4096
#define BOUNCE_SIZE 65536

/* file->private */
struct host_file {
	bool lent_rd, lent_wr; /* lent to a mapping or a splice; given back with the file */
	struct dirlist *list;  /* directories: what is being read */
	struct mutex lock;
};

static struct host_object *object_of(const struct file *file)
{
	return host_object_of(file->inode);
}

static int open_op(struct inode *inode, struct file *file)
{
	struct host_object *o = host_object_of(inode);
	struct host_file *hf;
	int fd;

	if (S_ISREG(atomic_load(&inode->mode)) && (file->can_write || !host_open_can_wait(o))) {
		bool write = file->can_write;

		fd = host_fd_get(o, write);
		if (fd < 0)
			return fd;
		host_fd_put(o, write);
	}
	hf = calloc(1, sizeof(*hf));
	if (!hf)
		return -ENOMEM;
	mutex_init(&hf->lock);
	file->private = hf;
	atomic_fetch_add(&o->opens, 1);
	if (file->can_write)
		atomic_fetch_add(&o->write_opens, 1);
	return 0;
}

static void release(struct file *file)
{
	struct host_object *o = object_of(file);
	struct host_file *hf = file->private;

	if (!hf)
		return;
	if (hf->lent_rd)
		host_fd_return(o, false);
	if (hf->lent_wr)
		host_fd_return(o, true);
	atomic_fetch_sub(&o->opens, 1);
	if (file->can_write)
		atomic_fetch_sub(&o->write_opens, 1);
	dirlist_put(hf->list);
	mutex_destroy(&hf->lock);
	free(hf);
}

static ssize_t read_op(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	ssize_t n = host_read_at(object_of(file), to, *pos);

	if (n > 0)
		*pos += n;
	return n;
}

static int write_flags(const struct file *file, int rwf)
{
	uint32_t flags = atomic_load(&file->flags);
	int host = 0;

	if (flags & O_APPEND || rwf & RWF_APPEND)
		host |= RWF_APPEND;
	if ((flags & O_SYNC) == O_SYNC || rwf & RWF_SYNC)
		host |= RWF_SYNC;
	else if (flags & O_DSYNC || rwf & RWF_DSYNC)
		host |= RWF_DSYNC;
	return host;
}

static ssize_t write_bounced(int fd, struct iov_iter *from, int64_t pos, int flags, char *buf,
			     size_t size)
{
	ssize_t done = 0;

	while (iov_iter_count(from)) {
		ssize_t n = copy_from_iter(from, buf, MIN(iov_iter_count(from), size)), put;
		struct iovec iov;

		if (n <= 0)
			return done ? done : n;
		iov = (struct iovec){buf, n};
		put = pwritev2(fd, &iov, 1, pos + done, flags);
		if (put < 0) {
			int err = -errno;

			iov_iter_revert(from, n);
			return done ? done : err;
		}
		done += put;
		if (put < n) {
			iov_iter_revert(from, n - put);
			break;
		}
	}
	return done;
}

/* After a write at pos: size and times, as they are now. */
static void after_write(struct host_object *o, int fd, int64_t *pos, ssize_t n, bool append)
{
	struct gofer_stat st;

	if (host_statx(fd, "", &st)) {
		*pos += n;
		return;
	}
	*pos = append ? (int64_t)st.size : *pos + n;
	host_inode_fill(o->inode, o, &st);
	if (atomic_load(&o->deleted))
		atomic_store(&o->inode->nlink, 0);
}

static ssize_t write_op(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct host_object *o = object_of(file);
	int flags = write_flags(file, rwf);
	char small[SMALL_COPY], *__free big = NULL;
	size_t size = sizeof(small);
	ssize_t ret;
	int fd;

	if (!iov_iter_count(from))
		return 0;
	if (iov_iter_count(from) > sizeof(small)) {
		big = malloc(BOUNCE_SIZE);
		if (!big)
			return -ENOMEM;
		size = BOUNCE_SIZE;
	}
	fd = host_fd_get(o, true);
	if (fd < 0)
		return fd;
	command_write_lock(&o->inode->lock);
	ret = write_bounced(fd, from, *pos, flags, big ? big : small, size);
	if (ret > 0)
		after_write(o, fd, pos, ret, flags & RWF_APPEND);
	write_unlock(&o->inode->lock);
	host_fd_put(o, true);
	return ret;
}

static int64_t llseek(struct file *file, int64_t offset, int whence)
{
	struct host_object *o = object_of(file);
	int64_t ret;
	int fd;

	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		if (whence == SEEK_END && !o->mount->cache)
			host_refresh(o);
		return generic_llseek(file, offset, whence, atomic_load(&o->inode->size),
				      INT64_MAX);
	}
	fd = host_fd_get(o, false);
	if (fd < 0)
		return fd;
	/* The host fd's position is nobody's. */
	ret = lseek(fd, offset, whence);
	ret = ret < 0 ? -errno : ret;
	host_fd_put(o, false);
	if (ret >= 0)
		atomic_store(&file->pos, ret);
	return ret;
}

/* The fd that stands for the whole life of the file. */
static int lend_fd(struct file *file, bool write)
{
	struct host_file *hf = file->private;
	bool *lent = write ? &hf->lent_wr : &hf->lent_rd;
	int fd;

	MUTEX_GUARD(&hf->lock);
	fd = host_fd_lend(object_of(file), write);
	if (fd < 0)
		return fd;
	if (*lent)
		host_fd_return(object_of(file), write);
	*lent = true;
	return fd;
}

static int mmap_op(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
		   int *host_fd, uint64_t *host_offset)
{
	/* A shared mapping of a writable file may become writable by mprotect later. */
	bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
	int fd = lend_fd(file, shared && file->can_write);

	if (fd >= 0 && shared) {
		int ret = host_identity_take(object_of(file));

		/* What was lent goes back with the file. */
		if (ret)
			return ret;
	}
	if (fd < 0)
		return fd;
	*host_fd = fd;
	*host_offset = offset;
	return 0;
}

static int host_fd_op(struct file *file)
{
	int fd;

	if (file->can_write)
		return -1; /* sizes and times are looked after in write_op */
	fd = lend_fd(file, false);
	return fd < 0 ? -1 : fd;
}

static int fsync_op(struct file *file, int64_t start, int64_t end, bool datasync)
{
	struct host_object *o = object_of(file);
	bool write = atomic_load(&o->wr.fd) >= 0;
	int fd, ret;

	if (o->mount->readonly)
		return 0;
	fd = host_fd_get(o, write);
	if (fd < 0)
		return fd;
	platform_block_begin();
	ret = (datasync ? fdatasync(fd) : fsync(fd)) ? -errno : 0;
	platform_block_end();
	host_fd_put(o, write);
	return ret;
}

static int fallocate_op(struct file *file, int mode, int64_t offset, int64_t len)
{
	struct host_object *o = object_of(file);
	int fd = host_fd_get(o, true), ret;

	if (fd < 0)
		return fd;
	ret = fallocate(fd, mode, offset, len) ? -errno : 0;
	if (!ret)
		host_refresh(o);
	host_fd_put(o, true);
	return ret;
}

static int iterate(struct file *file, struct dir_context *ctx)
{
	struct host_file *hf = file->private;
	int ret;

	MUTEX_GUARD(&hf->lock);
	if (!hf->list || ctx->pos == 0) {
		struct dirlist *l;

		ret = host_dirlist(object_of(file), &l);
		if (ret)
			return ret;
		dirlist_put(hf->list);
		hf->list = l;
	}
	return dirlist_emit(hf->list, file, ctx);
}

/* Changes of a directory were made by the gofer, and what it has done is not undone by us. */
static int dir_fsync(struct file *file, int64_t start, int64_t end, bool datasync)
{
	int fd = host_fd_get(object_of(file), false), ret = 0;

	if (fd < 0)
		return fd;
	platform_block_begin();
	/* EBADF: O_PATH, since the sentry may not read it. */
	if (fsync(fd) && errno != EROFS && errno != EINVAL && errno != EBADF)
		ret = -errno;
	platform_block_end();
	host_fd_put(object_of(file), false);
	return ret;
}

const struct file_operations host_file_fops = {
	.open = open_op,
	.release = release,
	.read = read_op,
	.write = write_op,
	.llseek = llseek,
	.mmap = mmap_op,
	.fsync = fsync_op,
	.fallocate = fallocate_op,
	.host_fd = host_fd_op,
};

const struct file_operations host_dir_fops = {
	.open = open_op,
	.release = release,
	.iterate = iterate,
	.fsync = dir_fsync,
};
