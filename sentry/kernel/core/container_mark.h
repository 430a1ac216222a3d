/*
 * What the kernel knows of a container: a mark that its processes carry and their children inherit,
 * and what those have used that are gone. Whoever makes a container makes its mark. A part of a
 * container that is counted and limited on its own has a mark with the container's as its parent;
 * what is charged to it is charged to both.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_CONTAINER_MARK_H
#define MOAT_SENTRY_KERNEL_CORE_CONTAINER_MARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/refcount.h"

#define MARK_CALLS 512

struct container_mark {
	struct refcount refs;
	struct container_mark *parent; /* counted; NULL: none; constant */
	_Atomic bool oom;	       /* one of its processes was killed for want of memory */
	uint64_t utime, stime;	       /* ns; of processes that are gone; tasklist_lock */
	_Atomic uint64_t tasks;	       /* threads that there are, of all processes */
	_Atomic uint64_t tasks_max;    /* 0: no limit */
	/* System calls that came to the sentry, by number: MARK_CALLS of them, owned; or NULL.
	 * Constant but for its words. */
	_Atomic uint64_t *calls;
};

/* NULL: no memory. */
static inline struct container_mark *container_mark_new(void)
{
	struct container_mark *m = calloc(1, sizeof(*m));

	if (m)
		refcount_init(&m->refs);
	return m;
}

static inline struct container_mark *container_mark_get(struct container_mark *m)
{
	refcount_inc(&m->refs);
	return m;
}

static inline void container_mark_put(struct container_mark *m)
{
	if (!refcount_dec(&m->refs))
		return;
	if (m->parent)
		container_mark_put(m->parent);
	free(m->calls);
	free(m);
}

/* Takes a reference of its own. NULL: no memory. */
static inline struct container_mark *container_mark_new_part(struct container_mark *parent)
{
	struct container_mark *m = container_mark_new();

	if (m)
		m->parent = container_mark_get(parent);
	return m;
}

static inline void container_mark_count_call(struct container_mark *m, uint32_t nr)
{
	if (m && m->calls && nr < MARK_CALLS)
		atomic_fetch_add_explicit(&m->calls[nr], 1, memory_order_relaxed);
}

/* Does what carries m belong to c? */
static inline bool container_mark_within(const struct container_mark *m,
					 const struct container_mark *c)
{
	return m && (m == c || m->parent == c);
}

/* Time that a process has used that is gone; tasklist_lock held for writing. */
static inline void container_mark_add_time(struct container_mark *m, uint64_t utime, uint64_t stime)
{
	for (; m; m = m->parent) {
		m->utime += utime;
		m->stime += stime;
	}
}

/* One thread more. False: the limit is reached (Linux: pids_can_fork). The limit may be lowered
 * below what there is: then nothing is added until enough have gone. */
static inline bool container_mark_charge(struct container_mark *m, bool always)
{
	uint64_t n = atomic_fetch_add(&m->tasks, 1) + 1, max = atomic_load(&m->tasks_max);

	if ((always || !max || n <= max) &&
	    (!m->parent || container_mark_charge(m->parent, always)))
		return true;
	atomic_fetch_sub(&m->tasks, 1);
	return false;
}

static inline void container_mark_uncharge(struct container_mark *m)
{
	for (; m; m = m->parent)
		atomic_fetch_sub(&m->tasks, 1);
}

#endif
