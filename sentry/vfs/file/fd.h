/* What the fd system calls need beyond file.h. Errors: -EBADF, -EMFILE, -ENOMEM. */
#ifndef MOAT_SENTRY_VFS_FILE_FD_H
#define MOAT_SENTRY_VFS_FILE_FD_H

#include "sentry/vfs/file.h"

/* dup2: puts a new reference on file into fd, closing what was there. Returns fd. */
int fd_install_at(struct files *files, int fd, struct file *file, bool cloexec);
/* -EMFILE if fd_install() would say so now: before a call that has an effect even if no fd is left.
 */
int fd_check_room(struct files *files);
int fd_get_cloexec(struct files *files, int fd); /* 0, 1 or -EBADF */
int fd_set_cloexec(struct files *files, int fd, bool cloexec);
/* Closes (or marks) the open fds of [first, last]. */
void fd_close_range(struct files *files, unsigned first, unsigned last, bool cloexec);
/* A copy of the fds below `limit`: close_range with CLOSE_RANGE_UNSHARE. */
struct files *files_dup_below(struct files *files, unsigned limit);

#endif
