/*
 * inotify (man 7 inotify).
 *
 * A group is an inotify file: a queue of events and its watches by descriptor. A watch pins its
 * inode and stands in the inode's list (inode->watches), where fsnotify() finds it.
 *
 * Locks: marks_lock (every inode's list, every group's tree of watches) -> group->lock (the queue)
 * -> group->wait.lock. fsnotify() may be called with inode locks held and takes only these; inode
 * references are dropped with none of them held.
 */
#ifndef MOAT_SENTRY_FS_INOTIFY_INOTIFY_INTERNAL_H
#define MOAT_SENTRY_FS_INOTIFY_INOTIFY_INTERNAL_H

#include "sentry/vfs/file.h"

/* A new instance, not in any fd table. -EMFILE: the user has too many. */
int inotify_create(uint32_t flags, struct file **out);
/* inotify_add_watch(2) on an inode: the watch descriptor, -EEXIST, -ENOSPC, -ENOMEM; -EINVAL if
 * file is no inotify instance. Takes a reference of its own. */
int inotify_watch(struct file *file, struct inode *inode, uint32_t mask);
int inotify_unwatch(struct file *file, int wd);

#endif
