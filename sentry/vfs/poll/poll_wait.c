/* Entries on many wait queues that wake one task. */
#include "sentry/vfs/poll/poll_internal.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK_ENTRIES 60

struct poll_chunk {
	struct poll_chunk *next;
	int n;
	struct wait_entry entries[CHUNK_ENTRIES];
};

static struct wait_entry *next_entry(struct poll_wqueues *pwq)
{
	struct poll_chunk *chunk = pwq->chunks;

	if (pwq->ninline < POLL_INLINE_ENTRIES)
		return &pwq->entries[pwq->ninline++];
	if (!chunk || chunk->n == CHUNK_ENTRIES) {
		chunk = malloc(sizeof(*chunk));
		if (!chunk)
			return NULL;
		chunk->n = 0;
		chunk->next = pwq->chunks;
		pwq->chunks = chunk;
	}
	return &chunk->entries[chunk->n++];
}

static void poll_queue(struct poll_table *pt, struct wait_queue *q)
{
	struct poll_wqueues *pwq = (struct poll_wqueues *)(void *)pt;
	struct wait_entry *e = next_entry(pwq);

	if (!e) {
		pwq->error = -ENOMEM;
		return;
	}
	wait_entry_init_task(e, pt->events);
	wait_queue_add(q, e);
}

void poll_wqueues_init(struct poll_wqueues *pwq)
{
	pwq->pt.queue_fn = poll_queue;
	pwq->ninline = 0;
	pwq->error = 0;
	pwq->chunks = NULL;
}

void poll_wqueues_end(struct poll_wqueues *pwq)
{
	struct poll_chunk *chunk;

	for (int i = 0; i < pwq->ninline; i++)
		wait_queue_remove(&pwq->entries[i]);
	while ((chunk = pwq->chunks)) {
		for (int i = 0; i < chunk->n; i++)
			wait_queue_remove(&chunk->entries[i]);
		pwq->chunks = chunk->next;
		free(chunk);
	}
}
