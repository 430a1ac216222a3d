/* The two calls with which both the sentry and the gofer reach host files: from a directory's fd,
 * never out of it, never through a link. */
#ifndef MOAT_SENTRY_FS_HOST_BENEATH_H
#define MOAT_SENTRY_FS_HOST_BENEATH_H

#include "sentry/fs/host/protocol.h"

/* openat2 with O_CLOEXEC, beneath dir_fd, following neither symbolic nor magic links; path "" is
 * the directory itself. An fd or -errno. On kernels without openat2 (before 5.6) it walks the path
 * itself, as safely. */
int host_openat2(int dir_fd, const char *path, int flags);
/* The same for the root of a detached mount, which no path leads out of, whatever links it meets;
 * the last name is not followed. (openat: openat2's flags are where no filter can look.) */
int host_open_detached(int root_fd, const char *path, int flags);
/* statx of a name in a directory, not followed, or of the fd itself when name is "". 0 or -errno.
 */
int host_statx(int fd, const char *name, struct gofer_stat *st);

#endif
