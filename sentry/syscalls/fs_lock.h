/* The lock commands of fcntl(2), called by fs_fcntl.c. */
#ifndef MOAT_SENTRY_SYSCALLS_FS_LOCK_H
#define MOAT_SENTRY_SYSCALLS_FS_LOCK_H

#include "sentry/vfs/file.h"

long fcntl_lock(struct file *f, int fd, unsigned cmd, uint64_t arg);

#endif
