/* Reference counts: atomic, starting at 1; refcount_dec tells when the last one went. */
#ifndef MOAT_BASE_REFCOUNT_H
#define MOAT_BASE_REFCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/log.h"

struct refcount {
	atomic_uint n;
};

#define REFCOUNT_INIT                                                                              \
	{                                                                                          \
		1                                                                                  \
	}

static inline void refcount_init(struct refcount *r)
{
	atomic_init(&r->n, 1);
}
static inline void refcount_inc(struct refcount *r)
{
	unsigned old = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
	BUG_ON(old == 0 || old > 0x7fffffff);
}
/* Takes a reference unless the count is already 0 (a lookup racing with the last put). */
static inline bool refcount_inc_not_zero(struct refcount *r)
{
	unsigned old = atomic_load_explicit(&r->n, memory_order_relaxed);

	while (old)
		if (atomic_compare_exchange_weak_explicit(
			    &r->n, &old, old + 1, memory_order_acquire, memory_order_relaxed))
			return true;
	return false;
}
/* Drops a reference; true when it was the last one, and the caller must free the object. */
static inline bool refcount_dec(struct refcount *r)
{
	unsigned old = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);
	BUG_ON(old == 0);
	return old == 1;
}
static inline unsigned refcount_read(struct refcount *r)
{
	return atomic_load_explicit(&r->n, memory_order_relaxed);
}

#endif
