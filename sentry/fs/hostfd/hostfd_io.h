/* An fd of the host and how it is read and written, for what embeds one: files here, the console.
 */
#ifndef MOAT_SENTRY_FS_HOSTFD_HOSTFD_IO_H
#define MOAT_SENTRY_FS_HOSTFD_HOSTFD_IO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/core/wait.h"

/* How to try I/O without blocking; found out at the first attempt. */
enum hostfd_mode {
	HOSTFD_NOWAIT,	 /* preadv2(RWF_NOWAIT) */
	HOSTFD_SOCKET,	 /* MSG_DONTWAIT */
	HOSTFD_NONBLOCK, /* the description has O_NONBLOCK already */
	HOSTFD_WATCHED,	 /* poll first, then a blocking call that the poller thread interrupts */
	HOSTFD_DIRECT,	 /* regular files: never wait */
};

struct hostfd {
	struct refcount refs; /* one per struct file */
	int fd;		      /* owned */
	uint32_t type;	      /* S_IFMT bits of the host's inode */
	bool readable, writable;
	bool append_only; /* regular files: the guest may add to the end, and no more */
	_Atomic int mode; /* enum hostfd_mode */
	struct wait_queue wait;
	LIST_ENTRY(hostfd) live; /* hostfd_lives */
	struct mutex lock;
	bool registered; /* in the epoll set */
	uint32_t armed;	 /* events that the poller will report once; lock */
};

/* hostfd_poll.c: what is watched is in a list, from add to remove, after which it may be freed. */
extern struct mutex hostfd_lives;
void hostfd_poll_add(struct hostfd *h);
/* With hostfd_lives held. */
void hostfd_poll_remove(struct hostfd *h);
/* Asks for one wake_up of h->wait when any of the events has happened. */
void hostfd_arm(struct hostfd *h, uint32_t events);
/* The events that are ready now (EPOLLIN ...). */
uint32_t hostfd_ready(const struct hostfd *h, uint32_t events);

/* hostfd_io.c: bytes, or -EAGAIN when it would block, or -errno. */
ssize_t hostfd_try_read(struct hostfd *h, void *buf, size_t n);
ssize_t hostfd_try_write(struct hostfd *h, const void *buf, size_t n);

#endif
