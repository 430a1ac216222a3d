/* chmod, chown, utime and truncate families. */
#include <linux/falloc.h>
#include <sys/resource.h>
#include <utime.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode/attr.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/notify/fsnotify.h"

/* --- mode and owner ----------------------------------------------------------------------------
 */

static int at_path(int dfd, uaddr_t name, int flags, int allowed, struct path *path)
{
	unsigned lookup = flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;

	if (flags & ~allowed)
		return -EINVAL;
	if (flags & AT_EMPTY_PATH)
		lookup |= LOOKUP_EMPTY;
	return user_path_at(dfd, name, lookup, path);
}

static long do_chmod(int dfd, uaddr_t name, uint32_t mode, int flags)
{
	struct path path __put_path = {0};
	int err = at_path(dfd, name, flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &path);

	return err ? err : vfs_chmod(&path, mode);
}

SYSCALL_DEFINE2(chmod, uaddr_t, name, uint32_t, mode)
{
	return do_chmod(AT_FDCWD, name, mode, 0);
}

SYSCALL_DEFINE3(fchmodat, int, dfd, uaddr_t, name, uint32_t, mode)
{
	return do_chmod(dfd, name, mode, 0);
}

SYSCALL_DEFINE4(fchmodat2, int, dfd, uaddr_t, name, uint32_t, mode, int, flags)
{
	return do_chmod(dfd, name, mode, flags);
}

SYSCALL_DEFINE2(fchmod, int, fd, uint32_t, mode)
{
	struct file *__put_file f = fd_get(fd);

	return f ? vfs_chmod(&f->path, mode) : -EBADF;
}

/* Whom the caller's names mean; -1 is nobody, and stays. -EINVAL: nobody has such a name. */
static long chown_path(const struct path *path, uid_t uid, gid_t gid)
{
	uid_t kuid = make_kuid(uid);
	gid_t kgid = make_kgid(gid);

	if ((uid != (uid_t)-1 && kuid == INVALID_ID) || (gid != (gid_t)-1 && kgid == INVALID_ID))
		return -EINVAL;
	return vfs_chown(path, kuid, kgid);
}

static long do_chown(int dfd, uaddr_t name, uid_t uid, gid_t gid, int flags)
{
	struct path path __put_path = {0};
	int err = at_path(dfd, name, flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, &path);

	return err ? err : chown_path(&path, uid, gid);
}

SYSCALL_DEFINE3(chown, uaddr_t, name, uid_t, uid, gid_t, gid)
{
	return do_chown(AT_FDCWD, name, uid, gid, 0);
}

SYSCALL_DEFINE3(lchown, uaddr_t, name, uid_t, uid, gid_t, gid)
{
	return do_chown(AT_FDCWD, name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

SYSCALL_DEFINE5(fchownat, int, dfd, uaddr_t, name, uid_t, uid, gid_t, gid, int, flags)
{
	return do_chown(dfd, name, uid, gid, flags);
}

SYSCALL_DEFINE3(fchown, int, fd, uid_t, uid, gid_t, gid)
{
	struct file *__put_file f = fd_get(fd);

	return f ? chown_path(&f->path, uid, gid) : -EBADF;
}

/* --- times -------------------------------------------------------------------------------------
 */

/* name 0 with an fd: the fd's own file (futimens). */
static long do_utimes(int dfd, uaddr_t name, const struct timespec *times, int flags)
{
	struct path path __put_path = {0};
	int err;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!name && dfd != AT_FDCWD) {
		struct file *__put_file f = NULL;

		if (flags)
			return -EINVAL;
		f = fd_get(dfd);
		return f ? vfs_utimes(&f->path, times) : -EBADF;
	}
	err = at_path(dfd, name, flags, ~0, &path);
	return err ? err : vfs_utimes(&path, times);
}

SYSCALL_DEFINE4(utimensat, int, dfd, uaddr_t, name, uaddr_t, utimes, int, flags)
{
	struct timespec times[2];

	if (utimes) {
		if (copy_from_user(times, utimes, sizeof(times)))
			return -EFAULT;
		if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
			return 0;
	}
	return do_utimes(dfd, name, utimes ? times : NULL, flags);
}

static long do_utimes_us(int dfd, uaddr_t name, uaddr_t utv)
{
	struct timespec times[2];
	struct timeval tv[2];

	if (!utv)
		return do_utimes(dfd, name, NULL, 0);
	if (copy_from_user(tv, utv, sizeof(tv)))
		return -EFAULT;
	for (int i = 0; i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
			return -EINVAL;
		times[i].tv_sec = tv[i].tv_sec;
		times[i].tv_nsec = tv[i].tv_usec * 1000;
	}
	return do_utimes(dfd, name, times, 0);
}

SYSCALL_DEFINE2(utimes, uaddr_t, name, uaddr_t, tv)
{
	return do_utimes_us(AT_FDCWD, name, tv);
}

SYSCALL_DEFINE3(futimesat, int, dfd, uaddr_t, name, uaddr_t, tv)
{
	return do_utimes_us(dfd, name, tv);
}

SYSCALL_DEFINE2(utime, uaddr_t, name, uaddr_t, ubuf)
{
	struct timespec times[2] = {0};
	struct utimbuf buf;

	if (!ubuf)
		return do_utimes(AT_FDCWD, name, NULL, 0);
	if (copy_from_user(&buf, ubuf, sizeof(buf)))
		return -EFAULT;
	times[0].tv_sec = buf.actime;
	times[1].tv_sec = buf.modtime;
	return do_utimes(AT_FDCWD, name, times, 0);
}

/* --- size --------------------------------------------------------------------------------------
 */

static int check_fsize(struct task *t, int64_t length)
{
	uint64_t limit = current_rlimit(RLIMIT_FSIZE);

	if (length < 0)
		return -EINVAL;
	if (limit != RLIM_INFINITY && (uint64_t)length > limit) {
		task_send_signal(t, SIGXFSZ, NULL);
		return -EFBIG;
	}
	return 0;
}

SYSCALL_DEFINE2(truncate, uaddr_t, name, int64_t, length)
{
	struct path path __put_path = {0};
	int err;

	if (length < 0)
		return -EINVAL;
	err = user_path_at(AT_FDCWD, name, LOOKUP_FOLLOW, &path);
	if (!err && S_ISREG(path.dentry->inode->mode) &&
	    length > atomic_load(&path.dentry->inode->size))
		err = check_fsize(t, length);
	return err ? err : vfs_truncate(&path, length);
}

SYSCALL_DEFINE2(ftruncate, int, fd, int64_t, length)
{
	struct file *__put_file f = NULL;
	int err;

	if (length < 0)
		return -EINVAL;
	f = fd_get(fd);
	if (!f)
		return -EBADF;
	if (!S_ISREG(f->inode->mode) || !f->can_write)
		return -EINVAL;
	if (f->inode->flags & S_APPEND_FL)
		return -EPERM;
	err = length > atomic_load(&f->inode->size) ? check_fsize(t, length) : 0;
	return err ? err : do_truncate(f->path.dentry, length, 0);
}

static int check_fallocate_mode(int mode)
{
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
		     FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE))
		return -EOPNOTSUPP;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) ==
	    (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	return 0;
}

SYSCALL_DEFINE4(fallocate, int, fd, int, mode, int64_t, offset, int64_t, len)
{
	struct file *__put_file f = fd_get(fd);
	int64_t end;
	int err;

	if (!f)
		return -EBADF;
	if (offset < 0 || len <= 0)
		return -EINVAL;
	err = check_fallocate_mode(mode);
	if (err)
		return err;
	if (!f->can_write)
		return -EBADF;
	if ((mode & ~FALLOC_FL_KEEP_SIZE) && (f->inode->flags & S_APPEND_FL))
		return -EPERM;
	if (S_ISFIFO(f->inode->mode))
		return -ESPIPE;
	if (S_ISDIR(f->inode->mode))
		return -EISDIR;
	if (!S_ISREG(f->inode->mode) && !S_ISBLK(f->inode->mode))
		return -ENODEV;
	if (__builtin_add_overflow(offset, len, &end) || end > inode_max_bytes(f->inode))
		return -EFBIG;
	if (!f->ops->fallocate)
		return -EOPNOTSUPP;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && end > atomic_load(&f->inode->size)) {
		err = check_fsize(t, end);
		if (err)
			return err;
	}
	err = f->ops->fallocate(f, mode, offset, len);
	if (!err)
		fsnotify_file(IN_MODIFY, f);
	return err;
}
