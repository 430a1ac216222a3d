#include "sentry/fs/host/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int host_openat2(int dir_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd;

	/* EAGAIN: something was renamed while ".." was resolved; there is none in our paths, but
	 * man 2 openat2 allows it in general. */
	for (int tries = 0; tries < 16; tries++) {
		fd = syscall(SYS_openat2, dir_fd, *path ? path : ".", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			return fd < 0 ? -errno : fd;
	}
	return -EAGAIN;
}

static struct gofer_time time_of(const struct statx_timestamp *t)
{
	return (struct gofer_time){.sec = t->tv_sec, .nsec = t->tv_nsec};
}

int host_statx(int fd, const char *name, struct gofer_stat *st)
{
	struct statx sx;

	if (statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH),
		  STATX_BASIC_STATS | STATX_BTIME, &sx))
		return -errno;
	*st = (struct gofer_stat){
		.ino = sx.stx_ino,
		.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor),
		.rdev = makedev(sx.stx_rdev_major, sx.stx_rdev_minor),
		.size = sx.stx_size,
		.blocks = sx.stx_blocks,
		.mode = sx.stx_mode,
		.nlink = sx.stx_nlink,
		.uid = sx.stx_uid,
		.gid = sx.stx_gid,
		.blksize = sx.stx_blksize,
		.atime = time_of(&sx.stx_atime),
		.mtime = time_of(&sx.stx_mtime),
		.ctime = time_of(&sx.stx_ctime),
		.btime = time_of(&sx.stx_btime),
	};
	return 0;
}
