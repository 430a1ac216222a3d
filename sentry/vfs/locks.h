/* POSIX, open-file-description and flock locks (man 2 fcntl, flock). */
#ifndef MOAT_SENTRY_VFS_LOCKS_H
#define MOAT_SENTRY_VFS_LOCKS_H

#include "sentry/vfs/file.h"

struct file_lock_context;

void file_locks_free(struct file_lock_context *ctx); /* NULL is fine */
/* The last reference to the description goes: its flock and OFD locks with it. */
void file_locks_release_file(struct file *f);
/* close(2) by a process: its POSIX locks on the file's inode go. owner is the fd table. */
void file_locks_release_owner(struct file *f, struct files *owner);

#endif
