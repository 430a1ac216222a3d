/* The file operations of host files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/hostfd/hostfd_internal.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/file.h"

/* file->pos of regular files: the position is the host's. */
#define HOST_POS (-1)
#define SMALL_IO 4096
#define BIG_IO (256 * 1024)

/* Bounce memory: small transfers use the caller's stack. *heap is for __free. */
static void *bounce(size_t n, char *small, char **heap)
{
	if (n <= SMALL_IO)
		return small;
	*heap = malloc(n);
	return *heap;
}

static bool may_not_wait(const struct file *file, int rwf)
{
	return (atomic_load_explicit(&file->flags, memory_order_relaxed) & O_NONBLOCK) ||
	       (rwf & RWF_NOWAIT);
}

static ssize_t try_at(struct hostfd *h, void *buf, size_t n, int64_t pos, bool write_it)
{
	ssize_t r;

	if (h->mode != HOSTFD_DIRECT || pos == HOST_POS || h->append_only)
		return write_it ? hostfd_try_write(h, buf, n) : hostfd_try_read(h, buf, n);
	r = write_it ? pwrite(h->fd, buf, n, pos) : pread(h->fd, buf, n, pos);
	return r < 0 ? -errno : r;
}

static ssize_t hostfd_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	struct hostfd *h = file->private;
	size_t n = MIN(iov_iter_count(to), (size_t)BIG_IO);
	bool streaming = h->type != S_IFREG;
	char small[SMALL_IO], *__free heap = NULL;
	char *buf = bounce(n, small, &heap);
	ssize_t done = 0;

	if (!buf)
		return -ENOMEM;
	while (iov_iter_count(to) > 0) {
		size_t want = MIN(iov_iter_count(to), n);
		ssize_t r = try_at(h, buf, want, *pos, false), copied;

		if (r == -EAGAIN && !done && !may_not_wait(file, rwf)) {
			int err = hostfd_wait(h, EPOLLIN);

			if (err)
				return err;
			continue;
		}
		if (r <= 0)
			return done ? done : r;
		copied = copy_to_iter(to, buf, (size_t)r);
		if (copied > 0) {
			done += copied;
			if (*pos != HOST_POS && !streaming)
				*pos += copied;
		}
		if (copied < r) /* the rest is lost, as with a faulting read of a pipe */
			return done ? done : -EFAULT;
		/* Regular files fill the buffer; streams return what there is. */
		if (streaming || (size_t)r < want)
			break;
	}
	/* An edge-triggered poller that saw a short read expects to hear of what comes next. */
	if (streaming && wait_queue_active(&h->wait))
		hostfd_arm(h, EPOLLIN);
	return done;
}

static ssize_t hostfd_write(struct file *file, struct iov_iter *from, int64_t *pos, int rwf)
{
	struct hostfd *h = file->private;
	size_t n = MIN(iov_iter_count(from), (size_t)BIG_IO);
	char small[SMALL_IO], *__free heap = NULL;
	char *buf = bounce(n, small, &heap);
	ssize_t done = 0;

	if (!buf)
		return -ENOMEM;
	while (iov_iter_count(from) > 0) {
		ssize_t have = copy_from_iter(from, buf, MIN(iov_iter_count(from), n)), put = 0;

		if (have <= 0)
			return done ? done : have;
		while (put < have) {
			ssize_t r = try_at(h, buf + put, (size_t)(have - put), *pos, true);

			if (r == -EAGAIN && !may_not_wait(file, rwf)) {
				int err = hostfd_wait(h, EPOLLOUT);

				if (!err)
					continue;
				r = err;
			}
			if (r < 0) {
				iov_iter_revert(from, (size_t)(have - put));
				if (r == -EPIPE && current)
					task_send_signal(current, SIGPIPE, NULL);
				return done ? done : r;
			}
			if (r == 0)
				return done;
			put += r;
			done += r;
			if (*pos != HOST_POS && h->type == S_IFREG)
				*pos += r;
		}
	}
	return done;
}

static int64_t hostfd_llseek(struct file *file, int64_t offset, int whence)
{
	struct hostfd *h = file->private;
	int64_t r;

	if (h->type != S_IFREG)
		return -ESPIPE;
	/* The position is the caller's, too, and stays where writes put it: the end. */
	if (h->append_only && !(offset == 0 && (whence == SEEK_CUR || whence == SEEK_END)))
		return -ESPIPE;
	r = lseek(h->fd, offset, whence);
	return r < 0 ? -errno : r;
}

static uint32_t hostfd_poll(struct file *file, struct poll_table *pt)
{
	struct hostfd *h = file->private;
	uint32_t all =
		(h->readable ? EPOLLIN | EPOLLRDHUP | EPOLLPRI : 0) | (h->writable ? EPOLLOUT : 0);
	uint32_t want = h->readable ? EPOLLIN : 0, mask;

	if (h->type == S_IFREG || h->type == S_IFDIR)
		return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM;
	if (h->writable)
		want |= EPOLLOUT;
	poll_wait(pt, &h->wait);
	mask = hostfd_ready(h, all);
	/* With an open queue: what is not ready now must wake it later. */
	if ((want & ~mask) && !(mask & (EPOLLHUP | EPOLLERR)) &&
	    ((pt && pt->queue_fn) || wait_queue_active(&h->wait)))
		hostfd_arm(h, want & ~mask);
	if (mask & EPOLLIN)
		mask |= EPOLLRDNORM;
	if (mask & EPOLLOUT)
		mask |= EPOLLWRNORM;
	return mask;
}

/* Terminal requests on a terminal that is not the sandbox's own. Reading and setting its modes is
 * allowed; faking input, taking it over and the like are not. */
static long terminal_ioctl(struct hostfd *h, unsigned cmd, uint64_t arg)
{
	/* The kernel's struct termios: 36 bytes. */
	char termios[36];
	struct winsize ws;

	switch (cmd) {
	case TCGETS:
		if (ioctl(h->fd, TCGETS, termios))
			return -errno;
		return copy_to_user(arg, termios, sizeof(termios));
	case TCSETS:
	case TCSETSW:
	case TCSETSF:
		if (copy_from_user(termios, arg, sizeof(termios)))
			return -EFAULT;
		return ioctl(h->fd, cmd, termios) ? -errno : 0;
	case TIOCGWINSZ:
		if (ioctl(h->fd, TIOCGWINSZ, &ws))
			return -errno;
		return copy_to_user(arg, &ws, sizeof(ws));
	default:
		return -ENOIOCTLCMD;
	}
}

static long hostfd_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct hostfd *h = file->private;
	int n;

	if (cmd == FIONREAD) {
		if (ioctl(h->fd, FIONREAD, &n))
			return errno == ENOTTY ? -ENOIOCTLCMD : -errno;
		return put_user(arg, n);
	}
	return h->type == S_IFCHR ? terminal_ioctl(h, cmd, arg) : -ENOIOCTLCMD;
}

static int hostfd_mmap(struct file *file, uint64_t offset, uint64_t len, int prot, int flags,
		       int *host_fd, uint64_t *host_offset)
{
	struct hostfd *h = file->private;

	if (h->type != S_IFREG)
		return -ENODEV;
	if (h->append_only)
		return -EACCES;
	*host_fd = h->fd;
	*host_offset = offset;
	return 0;
}

static int hostfd_fsync(struct file *file, int64_t start, int64_t end, bool datasync)
{
	struct hostfd *h = file->private;

	return (datasync ? fdatasync(h->fd) : fsync(h->fd)) ? -errno : 0;
}

static int hostfd_fallocate(struct file *file, int mode, int64_t offset, int64_t len)
{
	struct hostfd *h = file->private;

	if (h->append_only)
		return -EPERM;
	return fallocate(h->fd, mode, offset, len) ? -errno : 0;
}

/* Regular files only: a transfer on another kind could block in the host. A transfer into an
 * append-only one would be at a position. */
static int hostfd_host_fd(struct file *file)
{
	struct hostfd *h = file->private;

	return h->type == S_IFREG && !h->append_only ? h->fd : -1;
}

/* Opened again through /proc/PID/fd (which is what /dev/stdout is): the same host file. */
static int hostfd_open(struct inode *inode, struct file *file)
{
	struct hostfd *h;

	MUTEX_GUARD(&hostfd_lives);
	h = inode->private;
	if (!h)
		return -ENXIO;
	if (h->type == S_IFSOCK)
		return -ENXIO;
	if ((file->can_read && !h->readable) || (file->can_write && !h->writable))
		return -EACCES;
	refcount_inc(&h->refs);
	file->private = h;
	file->has_pos = h->type == S_IFREG;
	file->pos = HOST_POS;
	return 0;
}

static void hostfd_release(struct file *file)
{
	struct hostfd *h = file->private;

	mutex_lock(&hostfd_lives);
	if (!refcount_dec(&h->refs)) {
		mutex_unlock(&hostfd_lives);
		return;
	}
	file->inode->private = NULL;
	hostfd_poll_remove(h);
	mutex_unlock(&hostfd_lives);
	close(h->fd);
	free(h);
}

static const struct file_operations hostfd_fops = {
	.can_async = true,
	.open = hostfd_open,
	.release = hostfd_release,
	.read = hostfd_read,
	.write = hostfd_write,
	.llseek = hostfd_llseek,
	.poll = hostfd_poll,
	.ioctl = hostfd_ioctl,
	.mmap = hostfd_mmap,
	.fsync = hostfd_fsync,
	.fallocate = hostfd_fallocate,
	.host_fd = hostfd_host_fd,
};

/* What fstat shows is the host's, except for the device and inode numbers' name space. */
static int hostfd_getattr(struct inode *inode, struct kstat *stat, uint32_t mask, unsigned flags)
{
	struct stat st;
	struct hostfd *h;

	generic_fillattr(inode, stat);
	MUTEX_GUARD(&hostfd_lives);
	h = inode->private;
	if (!h || fstat(h->fd, &st))
		return 0;
	stat->size = (uint64_t)st.st_size;
	stat->blocks = (uint64_t)st.st_blocks;
	stat->blksize = (uint32_t)st.st_blksize;
	stat->nlink = (uint32_t)st.st_nlink;
	stat->rdev = st.st_rdev;
	stat->atime = st.st_atim;
	stat->mtime = st.st_mtim;
	stat->ctime = st.st_ctim;
	stat->ino = st.st_ino;
	return 0;
}

static int hostfd_setattr(struct inode *inode, struct iattr *attr)
{
	struct hostfd *h;

	MUTEX_GUARD(&hostfd_lives);
	h = inode->private;
	if (!h)
		return -EIO;
	if (attr->valid & (ATTR_MODE | ATTR_UID | ATTR_GID))
		return -EPERM; /* the file is the caller's */
	if (attr->valid & ATTR_SIZE) {
		if (h->type != S_IFREG || !h->writable)
			return -EINVAL;
		/* A shell's "> /dev/stdout" is O_TRUNC: it goes on at the end. */
		if (h->append_only)
			return attr->valid & ATTR_OPEN ? 0 : -EPERM;
		return ftruncate(h->fd, attr->size) ? -errno : 0;
	}
	return 0;
}

static const struct inode_operations hostfd_iops = {
	.getattr = hostfd_getattr,
	.setattr = hostfd_setattr,
};

static const char *class_name(uint32_t type)
{
	switch (type) {
	case S_IFIFO:
		return "pipe:[%lu]";
	case S_IFSOCK:
		return "socket:[%lu]";
	default:
		return "host:[%lu]";
	}
}

static enum hostfd_mode first_mode(uint32_t type, int host_flags)
{
	if (type == S_IFREG || type == S_IFDIR)
		return HOSTFD_DIRECT;
	if (type == S_IFSOCK)
		return HOSTFD_SOCKET;
	return host_flags & O_NONBLOCK ? HOSTFD_NONBLOCK : HOSTFD_NOWAIT;
}

int hostfd_file_create(int host_fd, enum hostfd_access access, struct file **out)
{
	int __close_fd fd = host_fd;
	struct hostfd *h;
	uint32_t flags;
	struct stat st;
	int err, host_flags;

	err = hostfd_init();
	if (err)
		return err;
	host_flags = fcntl(fd, F_GETFL);
	if (host_flags < 0 || fstat(fd, &st))
		return -errno;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	refcount_init(&h->refs);
	h->type = st.st_mode & S_IFMT;
	h->readable = access != HOSTFD_OUTPUT;
	h->writable = access != HOSTFD_INPUT;
	h->append_only = access == HOSTFD_OUTPUT && h->type == S_IFREG;
	h->mode = first_mode(h->type, host_flags);
	wait_queue_init(&h->wait);
	mutex_init(&h->lock);

	flags = h->readable ? (h->writable ? O_RDWR : O_RDONLY) : O_WRONLY;
	flags |= (uint32_t)host_flags & (O_APPEND | O_NONBLOCK);
	err = anon_file_create(class_name(h->type), st.st_mode, &hostfd_fops, h, flags, out);
	if (err) {
		free(h);
		return err;
	}
	h->fd = steal_fd(&fd);
	hostfd_poll_add(h);
	(*out)->inode->private = h;
	(*out)->inode->ops = &hostfd_iops;
	(*out)->inode->rdev = st.st_rdev;
	(*out)->inode->uid = st.st_uid;
	(*out)->inode->gid = st.st_gid;
	(*out)->has_pos = h->type == S_IFREG;
	(*out)->pos = HOST_POS;
	return 0;
}
