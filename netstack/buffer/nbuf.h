/*
 * Packet buffers. A buffer (struct nbuf) is one packet or one run of stream bytes: a linear part,
 * where headers are pushed and pulled, followed by fragments. Bytes lie in reference-counted
 * memory (struct nmem) from pools with one limit per stack, so that cloning a packet, keeping
 * data for retransmission and cutting a packet into segments copies no payload.
 *
 * Rules: a buffer has one owner at a time and is not locked; its memory may be shared and is then
 * read-only. Functions that take a buffer and may fail free it unless they say otherwise.
 */
#ifndef MOAT_NETSTACK_BUFFER_NBUF_H
#define MOAT_NETSTACK_BUFFER_NBUF_H

#include <bsd/sys/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>
#include <netinet/in.h>

#include "base/refcount.h"

struct netstack;
struct net_link;
struct npool;

/* One piece of payload memory. Freed, back to its pool, with the last reference. */
struct nmem {
	struct refcount refs;
	uint8_t class; /* pool class, or NMEM_HUGE */
	uint32_t size; /* usable bytes */
	struct npool *pool;
	struct nmem *next_free;
	uint8_t bytes[] __attribute__((aligned(64)));
};

struct nfrag {
	struct nmem *mem; /* holds a reference */
	uint32_t off, len;
};

#define NBUF_FRAGS 18
#define NBUF_INLINE 192 /* room for headers inside the buffer itself */

enum nbuf_csum {
	NBUF_CSUM_NONE,	   /* rx: to be verified; tx: complete */
	NBUF_CSUM_PARTIAL, /* sum from csum_start is to be put at csum_start + csum_offset */
	NBUF_CSUM_OK,	   /* rx: verified */
};

enum nbuf_gso { NBUF_GSO_NONE, NBUF_GSO_TCP4, NBUF_GSO_TCP6, NBUF_GSO_UDP };

struct nbuf {
	STAILQ_ENTRY(nbuf) next;
	struct npool *pool;
	struct refcount refs;
	uint8_t *data;	     /* first byte of the linear part */
	uint8_t *head, *end; /* bounds of the linear part's memory */
	uint32_t lin;	     /* bytes in the linear part */
	uint32_t len;	     /* all bytes */
	struct nmem *mem;    /* linear memory; NULL: `inl` */
	uint8_t nfrags;
	uint8_t csum;	  /* enum nbuf_csum */
	uint8_t gso;	  /* enum nbuf_gso */
	uint8_t pkt_type; /* PACKET_HOST ... */
	uint16_t gso_size;
	uint16_t csum_start; /* offset from data */
	uint16_t csum_offset;
	uint16_t protocol; /* ETH_P_*, host order */
	uint16_t vlan_tci; /* with has_vlan */
	uint8_t has_vlan, has_mac, tos, ttl;
	uint8_t is_frag; /* was reassembled: largest fragment in frag_max */
	uint8_t looped;	 /* our own multicast or broadcast, given back to us */
	uint16_t frag_max;
	uint8_t *mac;	       /* link header, when has_mac; inside the linear memory */
	uint8_t *net;	       /* IP header, inside the linear memory */
	struct net_link *link; /* input: where it came from; holds a reference */
	int64_t tstamp;	       /* wall clock of reception, 0: none */
	union {
		struct {
			struct in6_addr src, dst; /* input: addresses, IPv4 as v4-mapped */
		};
		RB_ENTRY(nbuf) node; /* TCP's out-of-order tree */
	};
	uint16_t sport, dport;
	uint8_t l4proto;
	uint8_t mcast;	   /* input: destination is multicast or broadcast (2) */
	uint32_t flow;	   /* IPv6 flow label and class */
	uint32_t seq, ack; /* TCP input: sequence numbers; stream position in queues */
	uint32_t end_seq;
	uint8_t tcp_flags;
	uint32_t off; /* queues: bytes already read */
	uint32_t truesize;
	struct nfrag frags[NBUF_FRAGS];
	uint8_t inl[NBUF_INLINE];
};
STAILQ_HEAD(nbuf_queue, nbuf);

/* A pool: all packet memory of one stack. */
int npool_create(void *(*alloc)(void *, size_t), void (*free)(void *, void *), void *ctx,
		 size_t limit, struct npool **out);
/* Counts what it holds against the budget, too; before its first use. It then keeps less of what is
 * free for later. */
struct net_budget;
void npool_share(struct npool *p, struct net_budget *budget);
/* Drops the creator's reference; memory goes when the last buffer does. */
void npool_put(struct npool *p);
size_t npool_used(struct npool *p, size_t *peak);
size_t npool_limit(struct npool *p);
/* 0 normal, 1 pressure (above 3/4: queues shrink), 2 at the limit. */
int npool_pressure(struct npool *p);

/* Memory of at least `size` bytes, or NULL at the limit. `need`: below a small reserve, too. */
struct nmem *nmem_alloc(struct npool *p, size_t size);
static inline struct nmem *nmem_get(struct nmem *m)
{
	refcount_inc(&m->refs);
	return m;
}
void nmem_put(struct nmem *m);

/* An empty buffer whose linear part has `headroom` bytes before data and `size` bytes after. */
struct nbuf *nbuf_alloc(struct npool *p, size_t headroom, size_t size);
/* A buffer whose linear part is bytes [off, off + len) of m; takes the reference. NULL: it does
 * not. */
struct nbuf *nbuf_from_nmem(struct nmem *m, size_t off, size_t len);
/* The same from the pool of a stack. (core/core.c) */
struct nbuf *nbuf_alloc_stack(struct netstack *s, size_t headroom, size_t size);
static inline struct nbuf *nbuf_get(struct nbuf *b)
{
	refcount_inc(&b->refs);
	return b;
}
void nbuf_put(struct nbuf *b);
/* Makes a second buffer over the same memory (headers in the inline area are copied). */
struct nbuf *nbuf_clone(struct nbuf *b);
/* A copy in fresh linear memory with `headroom`. */
struct nbuf *nbuf_copy(struct nbuf *b, size_t headroom);

/* Room after the linear part; before it. */
static inline size_t nbuf_tailroom(const struct nbuf *b)
{
	return b->nfrags ? 0 : (size_t)(b->end - b->data - b->lin);
}
static inline size_t nbuf_headroom(const struct nbuf *b)
{
	return b->data - b->head;
}
/* Adds n bytes at the end / front of the linear part; room must be there. Returns them. */
void *nbuf_append(struct nbuf *b, size_t n);
void *nbuf_push(struct nbuf *b, size_t n);
/* Drops n bytes from the front (n <= len). */
void nbuf_pull(struct nbuf *b, size_t n);
/* Cuts the buffer to n bytes. */
void nbuf_trim(struct nbuf *b, size_t n);
/*
 * Makes the first n bytes linear, copying from fragments if needed. False if the packet is shorter
 * or memory is short; the buffer is intact. Header pointers (mac, net) stay valid.
 */
bool nbuf_linear(struct nbuf *b, size_t n);
/* Makes the linear part's memory private, with at least `headroom` before data. -ENOBUFS. */
int nbuf_unshare(struct nbuf *b, size_t headroom);
/* Puts data on a multiple of 4, where headers are read as structures. -ENOBUFS. */
int nbuf_align(struct nbuf *b);
/* Adds a fragment; takes the caller's reference of m. -EMSGSIZE when full (reference kept). */
int nbuf_add_frag(struct nbuf *b, struct nmem *m, uint32_t off, uint32_t len);
/* Adds references to bytes [off, off+len) of src as fragments of b. -EMSGSIZE, nothing added. */
int nbuf_add_range(struct nbuf *b, struct nbuf *src, size_t off, size_t len);
/* Copies bytes out and in. Range must be inside the buffer. */
void nbuf_read(const struct nbuf *b, size_t off, void *to, size_t n);
void nbuf_write(struct nbuf *b, size_t off, const void *from, size_t n);
/* Appends bytes from an iovec at offset, into linear tailroom and fresh fragments. */
int nbuf_append_iov(struct nbuf *b, const struct iovec *iov, size_t iovcnt, size_t off, size_t n);
/* Copies [off, off+n) to an iovec starting at iov_off. Returns bytes copied. */
size_t nbuf_to_iov(const struct nbuf *b, size_t off, const struct iovec *iov, size_t iovcnt,
		   size_t iov_off, size_t n);
/* The buffer's pieces as an iovec, for writev and zero-copy readers. Returns their number. */
int nbuf_iov(const struct nbuf *b, struct iovec *iov, int max);
/* Internet checksum (RFC 1071) of [off, off+n), added to `sum`; folded by csum_fold. */
uint32_t nbuf_csum(const struct nbuf *b, size_t off, size_t n, uint32_t sum);
/* Computes a NBUF_CSUM_PARTIAL checksum in software. */
int nbuf_finish_csum(struct nbuf *b);
/* Bytes of memory that the buffer keeps from being used otherwise. */
size_t nbuf_truesize(const struct nbuf *b);
void nbuf_queue_purge(struct nbuf_queue *q);

/* Sets the input link with a reference, or clears it. */
void nbuf_set_link(struct nbuf *b, struct net_link *l);

#endif
