/*
 * File locks that the host sees, on mounts that others change, too. All locks of the sandbox on a
 * file are of one open file description of the host's (fcntl's F_OFD_SETLK, flock): one for reading
 * and writing where there can be one, so that it can hold both kinds. It stays open as long as the
 * object; its end ends the locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "sentry/fs/host/host_internal.h"
#include "sentry/vfs/lock/locks.h"

static bool concerns(const struct inode *inode)
{
	const struct host_object *o;

	if (inode->ops != &host_file_iops || !S_ISREG(atomic_load(&inode->mode)))
		return false;
	o = inode->private;
	return !o->mount->cache;
}

/* Of all objects: a file is prepared once. Before everything of an object's. */
static struct mutex prepare_lock = MUTEX_INIT;

static int prepare(struct inode *inode)
{
	struct host_object *o = host_object_of(inode);
	int fd = -ESTALE;

	if (__atomic_load_n(&o->locks_by, __ATOMIC_ACQUIRE))
		return 0;
	MUTEX_GUARD(&prepare_lock);
	if (o->locks_by)
		return 0;
	if (!o->mount->readonly)
		fd = host_fd_lend(o, true);
	if (fd >= 0) {
		__atomic_store_n(&o->locks_by, &o->wr, __ATOMIC_RELEASE);
		return 0;
	}
	fd = host_fd_lend(o, false);
	if (fd < 0)
		return fd == -ENFILE ? -ENOLCK : fd;
	__atomic_store_n(&o->locks_by, &o->rd, __ATOMIC_RELEASE);
	return 0;
}

static int fd_of(struct inode *inode)
{
	const struct host_object *o = host_object_of(inode);
	struct host_fd *by = __atomic_load_n(&o->locks_by, __ATOMIC_ACQUIRE);

	return by ? atomic_load(&by->fd) : -1;
}

static struct flock range(int type, int64_t start, int64_t end)
{
	return (struct flock){
		.l_type = (short)type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = end == INT64_MAX ? 0 : end - start + 1,
	};
}

static int set(struct inode *inode, int type, int64_t start, int64_t end)
{
	struct flock l = range(type, start, end);

	if (!fcntl(fd_of(inode), F_OFD_SETLK, &l))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

static int test(struct inode *inode, const struct lock_request *req, struct lock_request *found)
{
	struct flock l = range(req->type, req->start, req->end);

	if (fcntl(fd_of(inode), F_OFD_GETLK, &l))
		return -errno;
	/* Whose it is concerns nobody in here. */
	*found = (struct lock_request){.type = l.l_type, .start = l.l_start};
	found->end = l.l_len ? l.l_start + l.l_len - 1 : INT64_MAX;
	return 0;
}

static int host_flock(struct inode *inode, int type)
{
	int op = type == F_UNLCK ? LOCK_UN : (type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB;

	return flock(fd_of(inode), op) ? -errno : 0;
}

static const struct lock_mirror mirror = {
	.concerns = concerns,
	.prepare = prepare,
	.set = set,
	.test = test,
	.flock = host_flock,
};

void host_locks_init(void)
{
	file_locks_set_mirror(&mirror);
}
