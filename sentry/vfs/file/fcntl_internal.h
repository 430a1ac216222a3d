/* SIGIO owners of files (man 2 fcntl: F_SETOWN, F_SETSIG, O_ASYNC). */
#ifndef MOAT_SENTRY_VFS_FILE_FCNTL_INTERNAL_H
#define MOAT_SENTRY_VFS_FILE_FCNTL_INTERNAL_H

#include "sentry/vfs/file.h"

/* Sends SIGIO (or what F_SETSIG chose) to the file's owner, if O_ASYNC is set. band: EPOLL* bits.
 * Any thread; takes owner_lock and signal locks. */
void file_send_sigio(struct file *f, uint32_t band);
void file_owner_clear(struct file *f);
void file_fasync_stop(struct file *f); /* before ops->release */
/* type: F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP; id in the current task's namespace, 0: none. */
int file_set_owner(struct file *f, int type, pid_t id);
void file_get_owner(struct file *f, int *type, pid_t *id);
/* Changes F_SETFL's flags (already masked), telling the kind of file. */
int file_set_flags(struct file *f, uint32_t set, uint32_t mask);

#endif
