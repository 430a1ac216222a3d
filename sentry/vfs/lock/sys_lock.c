/* flock(2), and fcntl(2)'s F_*LK* commands. */
#include <sys/file.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/pid.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/lock/locks.h"

static int flock_type(unsigned cmd)
{
	switch (cmd & ~(unsigned)LOCK_NB) {
	case LOCK_SH:
		return F_RDLCK;
	case LOCK_EX:
		return F_WRLCK;
	case LOCK_UN:
		return F_UNLCK;
	}
	return -EINVAL;
}

SYSCALL_DEFINE2(flock, int, fd, unsigned, cmd)
{
	struct file *__put_file f = NULL;
	int type;

	/* Mandatory locks are no more: Linux takes the request and does nothing. */
	if (cmd & LOCK_MAND)
		return 0;
	type = flock_type(cmd);
	if (type < 0)
		return type;
	f = fd_get(fd);
	if (!f)
		return -EBADF;
	return flock_set(f, (short)type, type != F_UNLCK && !(cmd & LOCK_NB));
}

/* The range of l, in absolute and inclusive terms. */
static int to_range(struct file *f, const struct flock *l, struct lock_request *req)
{
	int64_t base, start;

	switch (l->l_whence) {
	case SEEK_SET:
		base = 0;
		break;
	case SEEK_CUR:
		base = atomic_load(&f->pos);
		break;
	case SEEK_END:
		base = atomic_load(&f->inode->size);
		break;
	default:
		return -EINVAL;
	}
	if (__builtin_add_overflow(base, l->l_start, &start))
		return -EOVERFLOW;
	if (start < 0)
		return -EINVAL;
	if (l->l_len > 0) {
		if (__builtin_add_overflow(start, l->l_len - 1, &req->end))
			return -EOVERFLOW;
	} else if (l->l_len < 0) {
		if (start + l->l_len < 0)
			return -EINVAL;
		req->end = start - 1;
		start += l->l_len;
	} else {
		req->end = INT64_MAX;
	}
	req->start = start;
	return 0;
}

static long get_lock(struct file *f, struct flock *l, struct lock_request *req, uaddr_t arg)
{
	struct lock_request found;

	if (req->type == F_UNLCK)
		return -EINVAL;
	posix_lock_test(f, req, &found);
	l->l_type = found.type;
	if (found.type != F_UNLCK) {
		l->l_whence = SEEK_SET;
		l->l_start = found.start;
		l->l_len = found.end == INT64_MAX ? 0 : found.end - found.start + 1;
		l->l_pid = found.pid ? pid_nr_ns(found.pid, task_pid_ns(current)) : -1;
	}
	if (found.pid)
		pid_put(found.pid);
	return copy_to_user(arg, l, sizeof(*l));
}

static long set_lock(struct file *f, int fd, struct lock_request *req, bool wait)
{
	struct file *now;
	int err;

	if ((req->type == F_RDLCK && !f->can_read) || (req->type == F_WRLCK && !f->can_write))
		return -EBADF;
	err = posix_lock_set(f, req, wait);
	if (err || req->type == F_UNLCK || req->ofd)
		return err;
	/* Closed meanwhile by another thread: that close did not see this lock. */
	now = fd_get_raw(fd);
	if (now != f) {
		req->type = F_UNLCK;
		posix_lock_set(f, req, false);
		err = -EBADF;
	}
	if (now)
		file_put(now);
	return err;
}

long fcntl_lock(struct file *f, int fd, unsigned cmd, uint64_t arg)
{
	bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
	struct lock_request req = {.ofd = ofd};
	struct flock l;
	int err;

	if (copy_from_user(&l, arg, sizeof(l)))
		return -EFAULT;
	if (l.l_type != F_RDLCK && l.l_type != F_WRLCK && l.l_type != F_UNLCK)
		return -EINVAL;
	if (ofd && l.l_pid)
		return -EINVAL;
	err = to_range(f, &l, &req);
	if (err)
		return err;
	req.type = l.l_type;
	req.owner = ofd ? (const void *)f : (const void *)current_files();
	req.pid = ofd ? NULL : current_tgid();
	if (cmd == F_GETLK || cmd == F_OFD_GETLK)
		return get_lock(f, &l, &req, arg);
	return set_lock(f, fd, &req, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
}
