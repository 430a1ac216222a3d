#include "sentry/fs/host/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/host.h"

/* Opens what a path leads to, the last name without following. */
static int open_step(int dir_fd, const char *name, int flags)
{
	int fd;

	do {
		fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, 0);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

static bool is_link(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISLNK(st.st_mode);
}

/* The last name of the path. `as_dir`: a slash follows it. */
static int open_last(int dir_fd, const char *name, int flags, bool as_dir)
{
	struct stat st;
	int fd = open_step(dir_fd, name, flags | (as_dir ? O_DIRECTORY : 0));

	/* openat2 says ELOOP, not ENOTDIR, unless the link itself was asked for. */
	if (fd == -ENOTDIR && (as_dir || !(flags & O_NOFOLLOW)) &&
	    !fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode))
		return -ELOOP;
	if (fd >= 0 && (flags & O_PATH) && !(flags & O_NOFOLLOW) && is_link(fd)) {
		close(fd);
		return -ELOOP;
	}
	return fd;
}

/*
 * openat2 for kernels before 5.6: every directory on the way is opened by its name alone, in the
 * directory before it, without following. Nothing that is renamed or replaced meanwhile leads
 * elsewhere, for each step starts at an fd and no step goes up.
 */
static int walk_beneath(int dir_fd, const char *path, int flags)
{
	int __close_fd at = -1;
	char name[GOFER_NAME_MAX + 1];

	if (*path == '/')
		return -EXDEV;
	for (;;) {
		size_t len = strcspn(path, "/");
		const char *rest = path + len + strspn(path + len, "/");
		int from = at >= 0 ? at : dir_fd, fd;

		if (len > GOFER_NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, path, len);
		name[len] = 0;
		if (len == 2 && !memcmp(name, "..", 2))
			return -EXDEV;
		if (!*rest)
			return open_last(from, len ? name : ".", flags, path[len]);
		/* Not O_DIRECTORY: a link is to be told from a file. */
		fd = open_step(from, name, O_PATH);
		if (fd < 0)
			return fd;
		if (is_link(fd)) {
			close(fd);
			return -ELOOP;
		}
		close_fd_ptr(&at);
		at = fd;
		path = rest;
	}
}

/* True if openat2 can be called at all: filters of container engines answer EPERM to calls that
 * they do not know. Without a structure it is EINVAL. */
static bool openat2_is_there(void)
{
	return syscall(SYS_openat2, -1, "", NULL, 0) < 0 && errno == EINVAL;
}

int host_openat2(int dir_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd, error;

	if (!host_has(HOST_OPENAT2))
		return walk_beneath(dir_fd, path, flags);
	/* EAGAIN: something was renamed while ".." was resolved; there is none in our paths, but
	 * man 2 openat2 allows it in general. */
	for (int tries = 0; tries < 16; tries++) {
		fd = syscall(SYS_openat2, dir_fd, *path ? path : ".", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	if (fd >= 0)
		return fd;
	error = errno;
	if ((error == ENOSYS || error == EPERM) && !openat2_is_there()) {
		host_lacks(HOST_OPENAT2);
		return walk_beneath(dir_fd, path, flags);
	}
	return -error;
}

int host_open_detached(int root_fd, const char *path, int flags)
{
	return open_step(root_fd, *path ? path : ".", flags);
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
