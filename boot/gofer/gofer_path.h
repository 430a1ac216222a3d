/* How the gofer gets from a path out of a request to an fd, and never anywhere else. */
#ifndef MOAT_BOOT_GOFER_PATH_H
#define MOAT_BOOT_GOFER_PATH_H

#include <stddef.h>

/*
 * openat2 beneath root_fd, following no symbolic link and no magic link, with O_CLOEXEC. path "" is
 * the root itself. With O_PATH | O_NOFOLLOW the last component may be a symbolic link. An fd or
 * -errno.
 */
int gofer_open_beneath(int root_fd, const char *path, int flags);
/*
 * Opens a regular file or directory, and nothing else: what it is is looked at through an O_PATH fd
 * before, and again after the open. `flags` is an access mode, with O_DIRECTORY perhaps. An fd or
 * -errno; -EACCES for devices, fifos and sockets.
 */
int gofer_open_plain(int root_fd, const char *path, int flags);
/* Opens the directory that holds the last component of path (O_PATH) and points *name at it. The
 * name is never empty, "." or "..", and has no slash. An fd or -errno. */
int gofer_open_parent(int root_fd, const char *path, const char **name);

#endif
