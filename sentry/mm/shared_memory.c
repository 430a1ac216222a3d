/* Memory that several address spaces map: one memfd each. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "sentry/mm/backing.h"
#include "sentry/mm/mm.h"

/* Every object costs an fd of the sandbox, so guests may have only so many. */
#define MAX_OBJECTS 16384

static atomic_uint objects;
static atomic_ulong next_ino = 1;

int shared_memory_create(uint64_t size, struct shared_memory **out)
{
	struct shared_memory *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	if (atomic_fetch_add(&objects, 1) >= MAX_OBJECTS) {
		log_warn_once("mm: more than %d shared memory objects", MAX_OBJECTS);
		goto fail;
	}
	s->fd = backing_create("shm", 0);
	if (s->fd < 0)
		goto fail;
	if (ftruncate(s->fd, (off_t)size)) {
		backing_close(s->fd);
		goto fail;
	}
	refcount_init(&s->refs);
	s->size = size;
	s->ino = atomic_fetch_add(&next_ino, 1);
	*out = s;
	return 0;
fail:
	atomic_fetch_sub(&objects, 1);
	free(s);
	return -ENOMEM;
}

void shared_memory_get(struct shared_memory *s)
{
	refcount_inc(&s->refs);
}

void shared_memory_put(struct shared_memory *s)
{
	if (!refcount_dec(&s->refs))
		return;
	if (s->release)
		s->release(s);
	backing_close(s->fd);
	atomic_fetch_sub(&objects, 1);
	free(s);
}
