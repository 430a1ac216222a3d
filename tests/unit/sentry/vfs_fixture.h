/* A task without a guest: root credentials, an fd table, and a tmpfs as its root. */
#ifndef MOAT_TESTS_UNIT_VFS_FIXTURE_H
#define MOAT_TESTS_UNIT_VFS_FIXTURE_H

#include "sentry/vfs/mount.h"

struct mnt_ns *vfs_fixture_start(void);
void vfs_fixture_stop(struct mnt_ns *ns);
/* open(2) with an fd; -errno. */
int t_open(const char *name, int flags, unsigned mode);
int t_close(int fd);
long t_write(int fd, const void *buf, size_t n);
long t_pread(int fd, void *buf, size_t n, int64_t pos);
int t_exists(const char *name); /* 0 or -errno, following symlinks */

#endif
