/* Contexts: a ring of completed requests each, in a table per address space. */
#include "sentry/fs/aio/context_internal.h"

#include <bsd/sys/tree.h>
#include <errno.h>
#include <stdlib.h>

#include "base/refcount.h"
#include "sentry/kernel/core/wait.h"

#define COPY_EVENTS 32

struct aio_context {
	RB_ENTRY(aio_context) node; /* table->lock */
	struct refcount refs;
	uint64_t id;
	struct mutex reader; /* one at a time takes events */
	struct mutex lock;   /* what follows */
	bool dead;
	unsigned capacity, reserved; /* reserved: submitted, no event yet */
	unsigned first, count;	     /* of events in the ring */
	struct wait_queue wait;
	struct io_event ring[];
};
RB_HEAD(context_tree, aio_context);

/* mm->aio */
struct aio_table {
	struct mutex lock;
	struct context_tree contexts;
};

static struct mutex make_lock = MUTEX_INIT; /* for mm->aio becoming a table */
static _Atomic unsigned total;

static int context_compare(const struct aio_context *a, const struct aio_context *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}
RB_PROTOTYPE(context_tree, aio_context, node, context_compare)
RB_GENERATE(context_tree, aio_context, node, context_compare)

unsigned aio_nr(void)
{
	return total;
}

int aio_context_create(unsigned nr, struct aio_context **out)
{
	unsigned before = atomic_load(&total);
	struct aio_context *ctx;

	do {
		if (nr > AIO_MAX_NR || before > AIO_MAX_NR - nr)
			return -EAGAIN;
	} while (!atomic_compare_exchange_weak(&total, &before, before + nr));
	ctx = calloc(1, sizeof(*ctx) + nr * sizeof(ctx->ring[0]));
	if (!ctx) {
		atomic_fetch_sub(&total, nr);
		return -ENOMEM;
	}
	refcount_init(&ctx->refs);
	mutex_init(&ctx->reader);
	mutex_init(&ctx->lock);
	wait_queue_init(&ctx->wait);
	ctx->capacity = nr;
	*out = ctx;
	return 0;
}

void aio_context_put(struct aio_context *ctx)
{
	if (!refcount_dec(&ctx->refs))
		return;
	atomic_fetch_sub(&total, ctx->capacity);
	mutex_destroy(&ctx->reader);
	mutex_destroy(&ctx->lock);
	free(ctx);
}

unsigned aio_context_capacity(const struct aio_context *ctx)
{
	return ctx->capacity;
}

/* --- the table
 * -------------------------------------------------------------------------------- */

static void table_free(void *private)
{
	struct aio_table *table = private;
	struct aio_context *ctx;

	while ((ctx = RB_ROOT(&table->contexts))) {
		RB_REMOVE(context_tree, &table->contexts, ctx);
		aio_context_put(ctx);
	}
	mutex_destroy(&table->lock);
	free(table);
}

static struct aio_table *table_of(struct mm *mm, bool create)
{
	struct aio_table *table = atomic_load(&mm->aio);

	if (table || !create)
		return table;
	MUTEX_GUARD(&make_lock);
	table = atomic_load(&mm->aio);
	if (table)
		return table;
	table = calloc(1, sizeof(*table));
	if (!table)
		return NULL;
	mutex_init(&table->lock);
	RB_INIT(&table->contexts);
	mm->aio_free = table_free;
	atomic_store(&mm->aio, table);
	return table;
}

/* table->lock held */
static struct aio_context *find(struct aio_table *table, uint64_t id)
{
	struct aio_context key = {.id = id};

	return RB_FIND(context_tree, &table->contexts, &key);
}

int aio_context_publish(struct mm *mm, struct aio_context *ctx, uint64_t id)
{
	struct aio_table *table = table_of(mm, true);

	if (!table)
		return -ENOMEM;
	ctx->id = id;
	MUTEX_GUARD(&table->lock);
	/* Only a guest that has unmapped a context's page can be given its number again. */
	return RB_INSERT(context_tree, &table->contexts, ctx) ? -EINVAL : 0;
}

struct aio_context *aio_context_find(struct mm *mm, uint64_t id)
{
	struct aio_table *table = table_of(mm, false);
	struct aio_context *ctx;

	if (!table)
		return NULL;
	MUTEX_GUARD(&table->lock);
	ctx = find(table, id);
	if (ctx)
		refcount_inc(&ctx->refs);
	return ctx;
}

struct aio_context *aio_context_remove(struct mm *mm, uint64_t id)
{
	struct aio_table *table = table_of(mm, false);
	struct aio_context *ctx;

	if (!table)
		return NULL;
	mutex_lock(&table->lock);
	ctx = find(table, id);
	if (ctx)
		RB_REMOVE(context_tree, &table->contexts, ctx);
	mutex_unlock(&table->lock);
	if (!ctx)
		return NULL;
	mutex_lock(&ctx->lock);
	ctx->dead = true;
	mutex_unlock(&ctx->lock);
	wake_up_all(&ctx->wait, ~0U);
	return ctx;
}

/* --- events
 * ----------------------------------------------------------------------------------- */

bool aio_context_reserve(struct aio_context *ctx)
{
	MUTEX_GUARD(&ctx->lock);
	if (ctx->dead || ctx->count + ctx->reserved >= ctx->capacity)
		return false;
	ctx->reserved++;
	return true;
}

void aio_context_unreserve(struct aio_context *ctx)
{
	MUTEX_GUARD(&ctx->lock);
	ctx->reserved--;
}

void aio_context_complete(struct aio_context *ctx, const struct io_event *event)
{
	mutex_lock(&ctx->lock);
	ctx->reserved--;
	ctx->ring[(ctx->first + ctx->count) % ctx->capacity] = *event;
	ctx->count++;
	mutex_unlock(&ctx->lock);
	wake_up(&ctx->wait, ~0U);
}

/* Copies out what there is of up to n events. How many, or -EFAULT. */
static int64_t take(struct aio_context *ctx, uaddr_t to, int64_t n)
{
	struct io_event copy[COPY_EVENTS];
	int64_t done = 0;

	MUTEX_GUARD(&ctx->reader);
	while (done < n) {
		unsigned some = (unsigned)MIN(n - done, (int64_t)COPY_EVENTS);

		mutex_lock(&ctx->lock);
		some = MIN(some, ctx->count);
		for (unsigned i = 0; i < some; i++)
			copy[i] = ctx->ring[(ctx->first + i) % ctx->capacity];
		mutex_unlock(&ctx->lock);
		if (!some)
			break;
		if (copy_to_user(to + (uint64_t)done * sizeof(copy[0]), copy,
				 some * sizeof(copy[0])))
			return done ? done : -EFAULT;
		mutex_lock(&ctx->lock);
		ctx->first = (ctx->first + some) % ctx->capacity;
		ctx->count -= some;
		mutex_unlock(&ctx->lock);
		done += some;
	}
	return done;
}

static bool has_news(struct aio_context *ctx)
{
	MUTEX_GUARD(&ctx->lock);
	return ctx->count || ctx->dead;
}

static bool is_dead(struct aio_context *ctx)
{
	MUTEX_GUARD(&ctx->lock);
	return ctx->dead;
}

int64_t aio_context_read(struct aio_context *ctx, int64_t min, int64_t nr, uaddr_t events,
			 int64_t deadline)
{
	int64_t done = 0;

	for (;;) {
		int64_t n = take(ctx, events + (uint64_t)done * sizeof(struct io_event), nr - done);
		int err;

		if (n < 0)
			return done ? done : n;
		done += n;
		if (done >= min || deadline == 0)
			return done;
		if (is_dead(ctx))
			return done ? done : -EINVAL;
		err = wait_event_interruptible(&ctx->wait, has_news(ctx), deadline);
		if (err == -ETIMEDOUT)
			return done;
		if (err)
			return done ? done : -EINTR;
	}
}
