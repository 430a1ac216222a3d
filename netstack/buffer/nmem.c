/*
 * Packet memory: size classes with free lists, under one limit per stack. `used` counts memory
 * that buffers hold; free lists are kept up to cache_max bytes in total.
 */
#include "netstack/buffer/nbuf.h"

#include <string.h>

#include "base/lock.h"
#include "netstack/buffer/npool_internal.h"
#include "netstack/netstack.h"

/* Of a stack alone, and of one of many. */
#define CACHE_MAX (8u << 20)
#define BUF_CACHE 512
#define SHARED_CACHE_MAX (64u << 10)
#define SHARED_BUF_CACHE 32

static const uint32_t class_size[NMEM_CLASSES] = {512, 2048, 4096, 16384, 65536, 66048};

int npool_create(void *(*alloc)(void *, size_t), void (*free_fn)(void *, void *), void *ctx,
		 size_t limit, struct npool **out)
{
	struct npool *p = alloc(ctx, sizeof(*p));

	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	refcount_init(&p->refs);
	p->alloc = alloc;
	p->free = free_fn;
	p->ctx = ctx;
	p->limit = limit;
	p->cache_max = CACHE_MAX;
	p->nbufs_max = BUF_CACHE;
	for (int i = 0; i < NMEM_CLASSES; i++)
		mutex_init(&p->class[i].lock);
	mutex_init(&p->buf_lock);
	STAILQ_INIT(&p->bufs_head);
	*out = p;
	return 0;
}

void npool_share(struct npool *p, struct net_budget *budget)
{
	p->budget = budget;
	p->cache_max = SHARED_CACHE_MAX;
	p->nbufs_max = SHARED_BUF_CACHE;
}

void npool_get(struct npool *p)
{
	refcount_inc(&p->refs);
}

static void pool_destroy(struct npool *p)
{
	for (int i = 0; i < NMEM_CLASSES; i++) {
		struct nmem *m, *n;

		for (m = p->class[i].free; m; m = n) {
			n = m->next_free;
			p->free(p->ctx, m);
		}
		mutex_destroy(&p->class[i].lock);
	}
	while (!STAILQ_EMPTY(&p->bufs_head)) {
		struct nbuf *b = STAILQ_FIRST(&p->bufs_head);

		STAILQ_REMOVE_HEAD(&p->bufs_head, next);
		p->free(p->ctx, b);
	}
	mutex_destroy(&p->buf_lock);
	p->free(p->ctx, p);
}

void npool_put(struct npool *p)
{
	if (refcount_dec(&p->refs))
		pool_destroy(p);
}

size_t npool_used(struct npool *p, size_t *peak)
{
	if (peak)
		*peak = atomic_load_explicit(&p->peak, memory_order_relaxed);
	return atomic_load_explicit(&p->used, memory_order_relaxed);
}

size_t npool_limit(struct npool *p)
{
	return p->limit;
}

int npool_pressure(struct npool *p)
{
	size_t used = npool_used(p, NULL), limit = p->limit;

	if (used < limit && p->budget) {
		used = atomic_load_explicit(&p->budget->memory, memory_order_relaxed);
		limit = p->budget->memory_limit;
	}
	if (used >= limit)
		return 2;
	return used > limit / 4 * 3;
}

static bool budget_charge(struct net_budget *b, size_t n)
{
	if (atomic_fetch_add_explicit(&b->memory, n, memory_order_relaxed) + n <= b->memory_limit)
		return true;
	atomic_fetch_sub_explicit(&b->memory, n, memory_order_relaxed);
	return false;
}

bool npool_charge(struct npool *p, size_t n)
{
	size_t used = atomic_fetch_add_explicit(&p->used, n, memory_order_relaxed) + n;

	if (unlikely(used > p->limit) || (p->budget && !budget_charge(p->budget, n))) {
		atomic_fetch_sub_explicit(&p->used, n, memory_order_relaxed);
		return false;
	}
	if (used > atomic_load_explicit(&p->peak, memory_order_relaxed))
		atomic_store_explicit(&p->peak, used, memory_order_relaxed);
	return true;
}

void npool_uncharge(struct npool *p, size_t n)
{
	if (p->budget)
		atomic_fetch_sub_explicit(&p->budget->memory, n, memory_order_relaxed);
	atomic_fetch_sub_explicit(&p->used, n, memory_order_relaxed);
}

static int size_class(size_t size)
{
	for (int i = 0; i < NMEM_CLASSES; i++)
		if (size <= class_size[i])
			return i;
	return NMEM_HUGE;
}

struct nmem *nmem_alloc(struct npool *p, size_t size)
{
	int c = size_class(size);
	struct nmem *m = NULL;

	if (c != NMEM_HUGE)
		size = class_size[c];
	if (size > UINT32_MAX / 2 || !npool_charge(p, size + sizeof(*m)))
		return NULL;
	if (c != NMEM_HUGE && __atomic_load_n(&p->class[c].free, __ATOMIC_RELAXED)) {
		mutex_lock(&p->class[c].lock);
		m = p->class[c].free;
		if (m) {
			__atomic_store_n(&p->class[c].free, m->next_free, __ATOMIC_RELAXED);
			atomic_fetch_sub_explicit(&p->cached, size, memory_order_relaxed);
		}
		mutex_unlock(&p->class[c].lock);
	}
	if (!m)
		m = p->alloc(p->ctx, sizeof(*m) + size);
	if (!m) {
		npool_uncharge(p, size + sizeof(*m));
		return NULL;
	}
	refcount_init(&m->refs);
	m->class = c;
	m->size = size;
	m->pool = p;
	npool_get(p);
	return m;
}

void nmem_put(struct nmem *m)
{
	struct npool *p;

	if (!m || !refcount_dec(&m->refs))
		return;
	p = m->pool;
	npool_uncharge(p, m->size + sizeof(*m));
	if (m->class != NMEM_HUGE &&
	    atomic_load_explicit(&p->cached, memory_order_relaxed) < p->cache_max) {
		mutex_lock(&p->class[m->class].lock);
		m->next_free = p->class[m->class].free;
		__atomic_store_n(&p->class[m->class].free, m, __ATOMIC_RELAXED);
		atomic_fetch_add_explicit(&p->cached, m->size, memory_order_relaxed);
		mutex_unlock(&p->class[m->class].lock);
	} else {
		p->free(p->ctx, m);
	}
	npool_put(p);
}
