/*
 * The bytes in a pipe: a ring whose memory is allocated when first written and doubles up to the
 * pipe's capacity as it fills. Positions are absolute stream offsets, so a packet (O_DIRECT, man 2
 * pipe) is just the range that one write covered.
 *
 * No locks of its own: the caller holds pipe->lock.
 */
#ifndef MOAT_SENTRY_FS_PIPE_RING_INTERNAL_H
#define MOAT_SENTRY_FS_PIPE_RING_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sentry/uaccess/uaccess.h"

struct user_quota;

struct pipe_packet {
	uint64_t start, end;
};

struct pipe_ring {
	char *data;
	uint32_t size;		     /* bytes allocated: 0 or a power of two, at least a page */
	uint32_t capacity;	     /* bytes it may grow to; a power of two */
	uint64_t head, tail;	     /* next byte to write, next byte to read */
	struct pipe_packet *packets; /* a ring of npackets from first; NULL until used */
	uint32_t packet_slots, first_packet, npackets;
	struct user_quota *quota; /* charged for size; counted */
	bool privileged;	  /* not bound by the user's limit (still by the sandbox's) */
};

/* Does not allocate ring memory. `quota` is consumed (NULL: not accounted). */
void pipe_ring_init(struct pipe_ring *r, uint32_t capacity, struct user_quota *quota,
		    bool privileged);
void pipe_ring_destroy(struct pipe_ring *r);

static inline uint32_t pipe_ring_used(const struct pipe_ring *r)
{
	return (uint32_t)(r->head - r->tail);
}
/* Bytes that can be written now, growth included; 0 when the packet slots are full. */
uint32_t pipe_ring_space(const struct pipe_ring *r);
/* Makes room for n more bytes. When memory or a limit forbids it, the capacity shrinks to what is
 * there. -ENOMEM only if not even one page can be had. */
int pipe_ring_reserve(struct pipe_ring *r, uint32_t n);
/* Moves up to n bytes from `from`; they must fit in the space, as one packet if `packet`. Bytes
 * moved, -EFAULT if none, -ENOMEM. */
ssize_t pipe_ring_write(struct pipe_ring *r, struct iov_iter *from, uint32_t n, bool packet);
/* Moves what is there to `to`; stops after a packet, whose rest is thrown away. */
ssize_t pipe_ring_read(struct pipe_ring *r, struct iov_iter *to);
/* Copies up to n bytes that start `skip` bytes after the tail into buf, without consuming them. */
uint32_t pipe_ring_peek(const struct pipe_ring *r, uint32_t skip, void *buf, uint32_t n);
void pipe_ring_consume(struct pipe_ring *r, uint32_t n);
/* Changes the capacity (a power of two): -EBUSY if more is in use, -ENOMEM. */
int pipe_ring_resize(struct pipe_ring *r, uint32_t capacity);

/* Bytes allocated by all rings of the sandbox. */
long pipe_ring_total(void);

#endif
