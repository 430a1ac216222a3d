#include "boot/gofer/gofer_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "sentry/fs/host/beneath.h"

/* Components separated by single slashes, none of them "." or "..". */
static bool path_is_clean(const char *path)
{
	const char *p = path;

	while (*p) {
		size_t len = strcspn(p, "/");

		if (len == 0 || len > GOFER_NAME_MAX)
			return false;
		if (p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.')))
			return false;
		p += len;
		if (*p == '/' && *++p == 0)
			return false;
	}
	return true;
}

int gofer_open_beneath(int root_fd, const char *path, int flags)
{
	if (!path_is_clean(path))
		return -EINVAL;
	return host_openat2(root_fd, path, flags);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       (a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

int gofer_open_plain(int root_fd, const char *path, int flags)
{
	struct stat before, after;
	int __close_fd probe = -1, __close_fd fd = -1;

	probe = gofer_open_beneath(root_fd, path, O_PATH | O_NOFOLLOW);
	if (probe < 0)
		return probe;
	if (fstat(probe, &before))
		return -errno;
	if (S_ISLNK(before.st_mode))
		return -ELOOP;
	if (!S_ISREG(before.st_mode) && !S_ISDIR(before.st_mode))
		return -EACCES;
	if (S_ISDIR(before.st_mode))
		fd = host_openat2(probe, "", O_RDONLY | O_DIRECTORY | (flags & O_ACCMODE));
	else if (flags & O_DIRECTORY)
		return -ENOTDIR;
	else
		/* O_NONBLOCK: had it been replaced by a fifo meanwhile, this does not hang. */
		fd = gofer_open_beneath(root_fd, path, flags | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	if (fstat(fd, &after))
		return -errno;
	if (!same_file(&before, &after))
		return -ESTALE;
	return steal_fd(&fd);
}

int gofer_open_parent(int root_fd, const char *path, const char **name)
{
	char parent[GOFER_PATH_MAX + 1];
	const char *slash = strrchr(path, '/');

	if (!*path || !path_is_clean(path))
		return -EINVAL;
	if (!slash) {
		*name = path;
		return host_openat2(root_fd, "", O_PATH | O_DIRECTORY);
	}
	*name = slash + 1;
	memcpy(parent, path, slash - path);
	parent[slash - path] = 0;
	return host_openat2(root_fd, parent, O_PATH | O_DIRECTORY);
}
