/* What a program has submitted and not yet been told of. See README.md. */
#ifndef MOAT_SENTRY_FS_AIO_CONTEXT_INTERNAL_H
#define MOAT_SENTRY_FS_AIO_CONTEXT_INTERNAL_H

#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>

#include "sentry/fs/aio/aio.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

struct aio_context;

/* Room for nr events, one reference. -EAGAIN: more than AIO_MAX_NR; -ENOMEM. */
int aio_context_create(unsigned nr, struct aio_context **out);
void aio_context_put(struct aio_context *ctx);
unsigned aio_context_capacity(const struct aio_context *ctx);

/* Enters it into mm's table under id; the table takes the caller's reference on success. -ENOMEM;
 * -EINVAL: the number is taken. */
int aio_context_publish(struct mm *mm, struct aio_context *ctx, uint64_t id);
/* A reference, or NULL. */
struct aio_context *aio_context_find(struct mm *mm, uint64_t id);
/* Takes it out of the table and wakes those who wait for events, with -EINVAL. The table's
 * reference, or NULL. */
struct aio_context *aio_context_remove(struct mm *mm, uint64_t id);

/* Room for one event, until complete or unreserve. */
bool aio_context_reserve(struct aio_context *ctx);
void aio_context_unreserve(struct aio_context *ctx);
void aio_context_complete(struct aio_context *ctx, const struct io_event *event);
/* Waits for min events and copies up to nr of those there are to the guest. Their number; what
 * there is when the deadline (monotonic ns, 0: do not wait) passes; -EINTR, -EFAULT, -EINVAL
 * (destroyed) if there was none. */
int64_t aio_context_read(struct aio_context *ctx, int64_t min, int64_t nr, uaddr_t events,
			 int64_t deadline);

#endif
