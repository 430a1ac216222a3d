/* How much memory and how many inodes one tmpfs may have. */
#include "sentry/fs/tmpfs/tmpfs.h"

#include <errno.h>

#include "sentry/kernel/core/machine.h"

#define FALLBACK_MEMORY (1ULL << 30) /* before the kernel knows its memory */

struct tmpfs_quota *tmpfs_quota_create(uint64_t max_bytes, uint64_t max_inodes)
{
	uint64_t total = machine.total_memory ? machine.total_memory : FALLBACK_MEMORY;
	struct tmpfs_quota *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	refcount_init(&q->refs);
	if (!max_bytes)
		max_bytes = total / 2;
	/* Inodes live in the sentry's own memory: at most a half of the pages, as Linux. */
	if (!max_inodes)
		max_inodes = total / 2 / 4096;
	atomic_init(&q->max_pages, max_bytes / 4096 + !!(max_bytes % 4096));
	atomic_init(&q->max_inodes, max_inodes);
	return q;
}

struct tmpfs_quota *tmpfs_quota_get(struct tmpfs_quota *q)
{
	refcount_inc(&q->refs);
	return q;
}

void tmpfs_quota_put(struct tmpfs_quota *q)
{
	if (q && refcount_dec(&q->refs))
		free(q);
}

static int charge(_Atomic uint64_t *count, uint64_t n, uint64_t max)
{
	uint64_t now = atomic_load(count);

	do {
		if (now > max || n > max - now)
			return -ENOSPC;
	} while (!atomic_compare_exchange_weak(count, &now, now + n));
	return 0;
}

int tmpfs_quota_charge_inode(struct tmpfs_quota *q)
{
	return charge(&q->inodes, 1, atomic_load(&q->max_inodes));
}

void tmpfs_quota_uncharge_inode(struct tmpfs_quota *q)
{
	atomic_fetch_sub(&q->inodes, 1);
}

int tmpfs_quota_charge_pages(struct tmpfs_quota *q, uint64_t n)
{
	return charge(&q->pages, n, atomic_load(&q->max_pages));
}

void tmpfs_quota_uncharge_pages(struct tmpfs_quota *q, uint64_t n)
{
	atomic_fetch_sub(&q->pages, n);
}
