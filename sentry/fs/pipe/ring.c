/* The byte ring of a pipe. */
#include "sentry/fs/pipe/ring_internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "sentry/arch/regs.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/core/user_quota.h"

/* Linux: fs.pipe-user-pages-soft. Beyond it a user's pipes stay as small as they are. */
#define PIPE_USER_PAGES_SOFT 16384
/* All rings of the sandbox together: an eighth of its memory, and never under this. */
#define PIPE_TOTAL_MIN (64L << 20)

static atomic_long total_bytes;

long pipe_ring_total(void)
{
	return atomic_load(&total_bytes);
}

static long total_limit(void)
{
	return MAX((long)(machine.total_memory / 8), PIPE_TOTAL_MIN);
}

static bool ring_charge(struct pipe_ring *r, long bytes)
{
	long pages = bytes >> PAGE_SHIFT;
	long limit = total_limit();

	if (r->size == 0)
		limit *= 2; /* the first page: every pipe should work */
	if (atomic_fetch_add(&total_bytes, bytes) + bytes > limit)
		goto undo;
	if (r->quota && !user_quota_charge(r->quota, QUOTA_PIPE_PAGES, pages,
					   r->privileged || r->size == 0 ? INT64_MAX / 2
									 : PIPE_USER_PAGES_SOFT))
		goto undo;
	return true;
undo:
	atomic_fetch_sub(&total_bytes, bytes);
	return false;
}

static void ring_uncharge(struct pipe_ring *r, long bytes)
{
	atomic_fetch_sub(&total_bytes, bytes);
	if (r->quota)
		user_quota_uncharge(r->quota, QUOTA_PIPE_PAGES, bytes >> PAGE_SHIFT);
}

void pipe_ring_init(struct pipe_ring *r, uint32_t capacity, struct user_quota *quota,
		    bool privileged)
{
	memset(r, 0, sizeof(*r));
	r->capacity = capacity;
	r->quota = quota;
	r->privileged = privileged;
}

void pipe_ring_destroy(struct pipe_ring *r)
{
	ring_uncharge(r, r->size);
	free(r->data);
	free(r->packets);
	user_quota_put(r->quota);
	memset(r, 0, sizeof(*r));
}

uint32_t pipe_ring_space(const struct pipe_ring *r)
{
	if (r->npackets && r->npackets >= r->packet_slots)
		return 0;
	return r->capacity - pipe_ring_used(r);
}

/* Moves the content into a new ring of `size` bytes, which holds it. */
static int ring_reallocate(struct pipe_ring *r, uint32_t size)
{
	uint32_t used = pipe_ring_used(r), old = r->size;
	char *data;

	if (size > old && !ring_charge(r, (long)size - old))
		return -ENOMEM;
	data = malloc(size);
	if (!data) {
		if (size > old)
			ring_uncharge(r, (long)size - old);
		return -ENOMEM;
	}
	/* Positions stay; only the mapping from position to index changes. */
	for (uint32_t done = 0; done < used;) {
		uint64_t pos = r->tail + done;
		uint32_t from = pos & (old - 1), to = pos & (size - 1);
		uint32_t run = MIN(old - from, size - to), n = MIN(used - done, run);

		memcpy(data + to, r->data + from, n);
		done += n;
	}
	if (size < old)
		ring_uncharge(r, (long)old - size);
	free(r->data);
	r->data = data;
	r->size = size;
	return 0;
}

int pipe_ring_reserve(struct pipe_ring *r, uint32_t n)
{
	uint64_t want = (uint64_t)pipe_ring_used(r) + n;
	uint64_t size = r->size ? r->size : PAGE_SIZE;

	if (likely(want <= r->size))
		return 0;
	while (size < want && size < r->capacity)
		size *= 2;
	for (; size > r->size; size /= 2)
		if (ring_reallocate(r, (uint32_t)size) == 0)
			break;
	if (!r->size)
		return -ENOMEM;
	if (want > r->size)
		r->capacity = r->size;
	return 0;
}

static int packet_push(struct pipe_ring *r, uint64_t start, uint64_t end)
{
	if (!r->packets) {
		uint32_t slots = r->capacity >> PAGE_SHIFT;

		r->packets = calloc(slots, sizeof(*r->packets));
		if (!r->packets)
			return -ENOMEM;
		r->packet_slots = slots;
	}
	r->packets[(r->first_packet + r->npackets) % r->packet_slots] =
		(struct pipe_packet){start, end};
	r->npackets++;
	return 0;
}

static void packet_drop(struct pipe_ring *r)
{
	r->first_packet = (r->first_packet + 1) % r->packet_slots;
	if (--r->npackets == 0) {
		free(r->packets);
		r->packets = NULL;
		r->packet_slots = r->first_packet = 0;
	}
}

ssize_t pipe_ring_write(struct pipe_ring *r, struct iov_iter *from, uint32_t n, bool packet)
{
	uint64_t start = r->head;
	uint32_t done = 0;
	int ret = pipe_ring_reserve(r, n);

	if (ret)
		return ret;
	n = MIN(n, r->size - pipe_ring_used(r));
	while (done < n) {
		uint32_t at = (start + done) & (r->size - 1);
		uint32_t chunk = MIN(n - done, r->size - at);
		ssize_t got = copy_from_iter(from, r->data + at, chunk);

		if (got < 0) {
			ret = (int)got;
			break;
		}
		done += (uint32_t)got;
		if ((uint32_t)got < chunk) {
			ret = -EFAULT;
			break;
		}
	}
	if (!done)
		return ret;
	if (packet && packet_push(r, start, start + done))
		return -ENOMEM;
	r->head = start + done;
	return done;
}

ssize_t pipe_ring_read(struct pipe_ring *r, struct iov_iter *to)
{
	size_t want = iov_iter_count(to);
	ssize_t done = 0;

	while (want && pipe_ring_used(r)) {
		struct pipe_packet *packet = r->npackets ? &r->packets[r->first_packet] : NULL;
		uint64_t end = r->head;
		uint32_t at = r->tail & (r->size - 1), chunk;
		bool in_packet = packet && packet->start <= r->tail;
		ssize_t got;

		if (packet)
			end = in_packet ? packet->end : packet->start;
		chunk = (uint32_t)MIN((uint64_t)want, end - r->tail);
		chunk = MIN(chunk, r->size - at);
		got = copy_to_iter(to, r->data + at, chunk);
		if (got < 0)
			return done ? done : got;
		r->tail += (uint64_t)got;
		done += got;
		want -= (size_t)got;
		if ((uint32_t)got < chunk)
			break;
		if (in_packet && (r->tail == end || !want)) {
			r->tail = end;
			packet_drop(r);
			break;
		}
	}
	if (r->head == r->tail && !r->npackets)
		r->head = r->tail = 0; /* the next bytes lie at the start: warm in the cache */
	return done;
}

uint32_t pipe_ring_peek(const struct pipe_ring *r, uint32_t skip, void *buf, uint32_t n)
{
	uint32_t used = pipe_ring_used(r);

	if (skip >= used)
		return 0;
	n = MIN(n, used - skip);
	for (uint32_t done = 0; done < n;) {
		uint32_t at = (r->tail + skip + done) & (r->size - 1);
		uint32_t chunk = MIN(n - done, r->size - at);

		memcpy((char *)buf + done, r->data + at, chunk);
		done += chunk;
	}
	return n;
}

void pipe_ring_consume(struct pipe_ring *r, uint32_t n)
{
	r->tail += MIN(n, pipe_ring_used(r));
	while (r->npackets && r->packets[r->first_packet].end <= r->tail)
		packet_drop(r);
}

int pipe_ring_resize(struct pipe_ring *r, uint32_t capacity)
{
	if (pipe_ring_used(r) > capacity || r->npackets > capacity >> PAGE_SHIFT)
		return -EBUSY;
	if (r->size > capacity) {
		int ret = ring_reallocate(r, capacity);

		if (ret)
			return ret;
	}
	if (r->packets) {
		uint32_t slots = capacity >> PAGE_SHIFT;
		struct pipe_packet *packets = calloc(slots, sizeof(*packets));

		if (!packets)
			return -ENOMEM;
		for (uint32_t i = 0; i < r->npackets; i++)
			packets[i] = r->packets[(r->first_packet + i) % r->packet_slots];
		free(r->packets);
		r->packets = packets;
		r->packet_slots = slots;
		r->first_packet = 0;
	}
	r->capacity = capacity;
	return 0;
}
