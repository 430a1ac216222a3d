/* Inside of the packet memory pool, for nmem.c and nbuf.c. */
#ifndef MOAT_NETSTACK_BUFFER_NPOOL_INTERNAL_H
#define MOAT_NETSTACK_BUFFER_NPOOL_INTERNAL_H

#include <errno.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "netstack/buffer/nbuf.h"

#define NMEM_CLASSES 6
#define NMEM_HUGE 255

struct npool {
	struct refcount refs; /* creator, and every buffer and piece of memory in use */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p);
	void *ctx;
	size_t limit;
	struct net_budget *budget; /* shared with other pools; NULL: none */
	size_t cache_max;	   /* bytes in free lists */
	unsigned nbufs_max;	   /* in bufs_head */
	atomic_size_t used, peak;
	atomic_size_t cached; /* bytes in free lists */
	struct {
		struct mutex lock;
		struct nmem *free;
	} class[NMEM_CLASSES];
	struct mutex buf_lock;
	struct nbuf_queue bufs_head; /* free struct nbufs */
	unsigned nbufs;
};

void npool_get(struct npool *p);
/* Counts n bytes against the limit; false when it would be passed. */
bool npool_charge(struct npool *p, size_t n);
void npool_uncharge(struct npool *p, size_t n);

#endif
