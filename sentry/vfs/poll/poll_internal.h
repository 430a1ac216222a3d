/* Waiting on many files at once, for poll(2), select(2) and their kin. */
#ifndef MOAT_SENTRY_VFS_POLL_POLL_INTERNAL_H
#define MOAT_SENTRY_VFS_POLL_POLL_INTERNAL_H

#include "sentry/vfs/file.h"

#define POLL_INLINE_ENTRIES 16

struct poll_chunk;

/* The caller's entries on the wait queues of all polled files. Lives on the caller's stack. */
struct poll_wqueues {
	struct poll_table pt; /* first: queue_fn finds the rest */
	int ninline;
	int error; /* -ENOMEM: an entry could not be had */
	struct wait_entry entries[POLL_INLINE_ENTRIES];
	struct poll_chunk *chunks;
};

void poll_wqueues_init(struct poll_wqueues *pwq);
/* Takes all entries out of their queues. The polled files must still be referenced. */
void poll_wqueues_end(struct poll_wqueues *pwq);

#endif
