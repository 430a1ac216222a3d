/*
 * epoll (man 7 epoll).
 *
 * An eventpoll has a tree of items, one per (file, fd); each item has entries on the wait queues
 * that its file's poll named. A wake-up puts the item on the ready list; epoll_wait looks only at
 * that list.
 *
 * Locks, outermost first:
 *   nest_lock        adding an epoll to an epoll: loop checks see a graph that stands still
 *   ep->mtx          items and the delivery of events; an outer epoll's before an inner one's (the
 *                    graph has no loops). vfs_poll() is called with it held.
 *   file->epoll_lock the list of items that watch the file (file->epoll_items)
 *   source's locks, source's wait_queue->lock
 *   ep->lock         the ready list; all that a wake-up takes
 *   ep->wait.lock, ep->poll_wait.lock (then an outer ep->lock: see nested wake-ups)
 *
 * Life: an item holds no reference to its file. The file's last file_put() calls
 * epoll_release(), which takes ep->mtx of every watcher; so under ep->mtx an item's file is
 * whole. An item holds no reference to its eventpoll either, which dies only with all its items.
 */
#ifndef MOAT_SENTRY_FS_EPOLL_EPOLL_INTERNAL_H
#define MOAT_SENTRY_FS_EPOLL_EPOLL_INTERNAL_H

#include <stdint.h>

#include "sentry/uaccess/uaccess.h"
#include "sentry/vfs/file.h"

struct epoll_event_k {
	uint32_t events;
	uint64_t data;
} __attribute__((packed));

/* A new epoll file, not in any fd table. */
int epoll_create_file(uint32_t flags, struct file **out);
/* epoll_ctl(2), with the files looked up and *event copied (unused for EPOLL_CTL_DEL). */
int epoll_control(struct file *epfile, int op, int fd, struct file *target,
		  const struct epoll_event_k *event);
/* epoll_wait(2): number of events (struct epoll_event_k) written to `to`, 0 at the deadline
 * (monotonic ns), -EINTR, -EFAULT, -EINVAL. A deadline of 0 does not block. */
int epoll_wait_events(struct file *epfile, struct iov_iter *to, int maxevents, int64_t deadline);

#endif
