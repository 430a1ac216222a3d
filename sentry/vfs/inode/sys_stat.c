/* The stat family, statx, statfs, access. */
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/mount.h"

#undef st_atime
#undef st_mtime
#undef st_ctime

/* struct stat of the x86-64 kernel ABI. */
struct guest_stat {
	uint64_t st_dev, st_ino, st_nlink;
	uint32_t st_mode, st_uid, st_gid, pad0;
	uint64_t st_rdev;
	int64_t st_size, st_blksize, st_blocks;
	uint64_t st_atime, st_atime_nsec, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec;
	int64_t unused[3];
};

static int put_stat(uaddr_t ubuf, const struct kstat *k)
{
	struct guest_stat st = {
		.st_dev = k->dev,
		.st_ino = k->ino,
		.st_nlink = k->nlink,
		.st_mode = k->mode,
		.st_uid = uid_shown_here(k->uid),
		.st_gid = gid_shown_here(k->gid),
		.st_rdev = k->rdev,
		.st_size = k->size,
		.st_blksize = k->blksize,
		.st_blocks = k->blocks,
		.st_atime = k->atime.tv_sec,
		.st_atime_nsec = k->atime.tv_nsec,
		.st_mtime = k->mtime.tv_sec,
		.st_mtime_nsec = k->mtime.tv_nsec,
		.st_ctime = k->ctime.tv_sec,
		.st_ctime_nsec = k->ctime.tv_nsec,
	};

	return copy_to_user(ubuf, &st, sizeof(st));
}

/* Path by name or, with AT_EMPTY_PATH and "" (or NULL), the fd's own. */
static int stat_at(int dfd, uaddr_t uname, int at_flags, uint32_t mask, struct kstat *k)
{
	unsigned lookup = at_flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
	struct path path __put_path = {0};
	char name[PATH_MAX];
	ssize_t n;
	int err;

	if (at_flags & AT_EMPTY_PATH)
		lookup |= LOOKUP_EMPTY;
	n = strncpy_from_user(name, uname, sizeof(name));
	if (n < 0)
		return n;
	if (!n && (at_flags & AT_EMPTY_PATH) && dfd >= 0) {
		struct file *__put_file f = fd_get_raw(dfd);

		return f ? vfs_getattr(&f->path, k, mask, at_flags) : -EBADF;
	}
	err = path_lookupat(dfd, name, lookup, &path);
	return err ? err : vfs_getattr(&path, k, mask, at_flags);
}

static long stat_common(int dfd, uaddr_t name, int at_flags, uaddr_t ubuf)
{
	struct kstat k;
	int err = stat_at(dfd, name, at_flags, STATX_BASIC_STATS, &k);

	return err ? err : put_stat(ubuf, &k);
}

SYSCALL_DEFINE2(stat, uaddr_t, name, uaddr_t, buf)
{
	return stat_common(AT_FDCWD, name, 0, buf);
}

SYSCALL_DEFINE2(lstat, uaddr_t, name, uaddr_t, buf)
{
	return stat_common(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, buf);
}

SYSCALL_DEFINE4(newfstatat, int, dfd, uaddr_t, name, uaddr_t, buf, int, flags)
{
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | 0x6000))
		return -EINVAL;
	return stat_common(dfd, name, flags, buf);
}

SYSCALL_DEFINE2(fstat, int, fd, uaddr_t, buf)
{
	struct file *__put_file f = fd_get_raw(fd);
	struct kstat k;
	int err;

	if (!f)
		return -EBADF;
	err = vfs_getattr(&f->path, &k, STATX_BASIC_STATS, 0);
	return err ? err : put_stat(buf, &k);
}

static void put_statx_time(struct statx_timestamp *to, struct timespec from)
{
	to->tv_sec = from.tv_sec;
	to->tv_nsec = from.tv_nsec;
}

static uint32_t dev_major(uint64_t dev)
{
	return (dev >> 8) & 0xfff;
}

static uint32_t dev_minor(uint64_t dev)
{
	return (dev & 0xff) | ((dev >> 12) & 0xfff00);
}

SYSCALL_DEFINE5(statx, int, dfd, uaddr_t, name, unsigned, flags, unsigned, mask, uaddr_t, ubuf)
{
	struct statx x;
	struct kstat k;
	int err;

	if (mask & STATX__RESERVED)
		return -EINVAL;
	if (flags &
	    ~(unsigned)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
		return -EINVAL;
	if ((flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
		return -EINVAL;
	err = stat_at(dfd, name, flags, mask, &k);
	if (err)
		return err;
	memset(&x, 0, sizeof(x));
	x.stx_mask = k.result_mask;
	x.stx_mask |= mask & STATX_MNT_ID_UNIQUE ? STATX_MNT_ID_UNIQUE : STATX_MNT_ID;
	x.stx_blksize = k.blksize;
	x.stx_attributes = k.attributes;
	x.stx_attributes_mask = k.attributes_mask;
	x.stx_nlink = k.nlink;
	x.stx_uid = uid_shown_here(k.uid);
	x.stx_gid = gid_shown_here(k.gid);
	x.stx_mode = k.mode;
	x.stx_ino = k.ino;
	x.stx_size = k.size;
	x.stx_blocks = k.blocks;
	put_statx_time(&x.stx_atime, k.atime);
	put_statx_time(&x.stx_btime, k.btime);
	put_statx_time(&x.stx_ctime, k.ctime);
	put_statx_time(&x.stx_mtime, k.mtime);
	x.stx_rdev_major = dev_major(k.rdev);
	x.stx_rdev_minor = dev_minor(k.rdev);
	x.stx_dev_major = dev_major(k.dev);
	x.stx_dev_minor = dev_minor(k.dev);
	x.stx_mnt_id = k.mnt_id;
	return copy_to_user(ubuf, &x, sizeof(x));
}

/* --- statfs ------------------------------------------------------------------------------------
 */

static long do_statfs(const struct path *path, uaddr_t ubuf)
{
	static const struct {
		unsigned long mount, statfs;
	} map[] = {
		{MS_RDONLY, ST_RDONLY},	    {MS_NOSUID, ST_NOSUID},
		{MS_NODEV, ST_NODEV},	    {MS_NOEXEC, ST_NOEXEC},
		{MS_NOATIME, ST_NOATIME},   {MS_NODIRATIME, ST_NODIRATIME},
		{MS_RELATIME, ST_RELATIME},
	};
	struct super_block *sb = path->mnt->sb;
	unsigned long flags = atomic_load(&path->mnt->flags) | (sb->flags & MS_RDONLY);
	struct statfs st = {0};
	int err;

	st.f_type = sb->magic;
	st.f_bsize = st.f_frsize = sb->blksize;
	st.f_namelen = NAME_MAX_LEN;
	err = sb->ops && sb->ops->statfs ? sb->ops->statfs(sb, &st) : 0;
	if (err)
		return err;
	if (!st.f_frsize)
		st.f_frsize = st.f_bsize;
	if (!st.f_fsid.__val[0] && !st.f_fsid.__val[1])
		st.f_fsid.__val[0] = sb->dev;
	st.f_flags = 0x20; /* ST_VALID */
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (flags & map[i].mount)
			st.f_flags |= map[i].statfs;
	return copy_to_user(ubuf, &st, sizeof(st));
}

SYSCALL_DEFINE2(statfs, uaddr_t, name, uaddr_t, buf)
{
	struct path path __put_path = {0};
	int err = user_path_at(AT_FDCWD, name, LOOKUP_FOLLOW, &path);

	return err ? err : do_statfs(&path, buf);
}

SYSCALL_DEFINE2(fstatfs, int, fd, uaddr_t, buf)
{
	struct file *__put_file f = fd_get_raw(fd);

	return f ? do_statfs(&f->path, buf) : -EBADF;
}

/* --- access ------------------------------------------------------------------------------------
 */

static bool is_root(const struct cred *c)
{
	return c->uid == id_to_kernel(c->user_ns, ID_USER, 0);
}

/* The real ids instead of the effective ones; capabilities as an exec by that user would have. */
static struct cred *real_cred(const struct cred *cred)
{
	struct cred *c = cred_dup(cred);

	if (!c)
		return NULL;
	c->fsuid = c->uid;
	c->fsgid = c->gid;
	if (!(c->securebits & 1 /* SECBIT_NOROOT */))
		c->cap_effective = is_root(c) ? c->cap_permitted : 0;
	return c;
}

static int check_access(int dfd, uaddr_t name, int mode, int flags)
{
	unsigned lookup = flags & AT_SYMLINK_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
	struct path path __put_path = {0};
	struct inode *inode;
	int err;

	if (flags & AT_EMPTY_PATH)
		lookup |= LOOKUP_EMPTY;
	err = user_path_at(dfd, name, lookup, &path);
	if (err)
		return err;
	inode = path.dentry->inode;
	if ((mode & MAY_EXEC) && S_ISREG(inode->mode) &&
	    (atomic_load(&path.mnt->flags) & MS_NOEXEC))
		return -EACCES;
	err = mode ? inode_permission(inode, mode) : 0;
	if (err || !(mode & MAY_WRITE) || S_ISCHR(inode->mode) || S_ISBLK(inode->mode) ||
	    S_ISFIFO(inode->mode) || S_ISSOCK(inode->mode))
		return err;
	err = mnt_want_write(&path);
	if (!err)
		mnt_drop_write(&path);
	return err;
}

static long do_access(struct task *t, int dfd, uaddr_t name, int mode, int flags)
{
	const struct cred *cred = current_cred();
	struct cred *real = NULL;
	long err;

	if (mode & ~7)
		return -EINVAL;
	if (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!(flags & AT_EACCESS) &&
	    (cred->uid != cred->fsuid || cred->gid != cred->fsgid ||
	     cred->cap_effective != (is_root(cred) ? cred->cap_permitted : 0))) {
		real = real_cred(cred);
		if (!real)
			return -ENOMEM;
		vfs_override_cred(real);
	}
	err = check_access(dfd, name, mode, flags);
	if (real) {
		vfs_override_cred(NULL);
		cred_put(real);
	}
	return err;
}

SYSCALL_DEFINE2(access, uaddr_t, name, int, mode)
{
	return do_access(t, AT_FDCWD, name, mode, 0);
}

SYSCALL_DEFINE3(faccessat, int, dfd, uaddr_t, name, int, mode)
{
	return do_access(t, dfd, name, mode, 0);
}

SYSCALL_DEFINE4(faccessat2, int, dfd, uaddr_t, name, int, mode, int, flags)
{
	return do_access(t, dfd, name, mode, flags);
}
