/* The slots memfd, contexts as objects, and the table of stub thread ids. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/platform/systrap/systrap.h"

#define TID_BUCKETS 4096

static struct {
	struct mutex lock;
	struct platform_ctx *bucket[TID_BUCKETS];
} tid_table = {.lock = MUTEX_INIT};

_Static_assert(offsetof(struct slot, regs) == SLOT_OFF_REGS, "entry.S knows this offset");
_Static_assert(offsetof(struct slot, fpstate) == SLOT_OFF_FPSTATE, "entry.S knows this offset");
_Static_assert(offsetof(struct slot, kicked) == SLOT_OFF_KICKED, "entry.S knows this offset");
_Static_assert(offsetof(struct slot, self) == 0x10, "entry.S knows this offset");
_Static_assert(sizeof(struct stub_regs) == sizeof(struct guest_regs), "copied as a whole");

int slots_init(void)
{
	uint64_t size = MAX_AS * SLOT_REGION;

	systrap.slots_fd = memfd_create("moat-slots", MFD_CLOEXEC);
	if (systrap.slots_fd < 0)
		return -errno;
	if (ftruncate(systrap.slots_fd, (off_t)size))
		return -errno;
	systrap.slots = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			     systrap.slots_fd, 0);
	return systrap.slots == MAP_FAILED ? -errno : 0;
}

void slots_discard(void)
{
	if (systrap.slots && systrap.slots != MAP_FAILED)
		munmap(systrap.slots, MAX_AS * SLOT_REGION);
	if (systrap.slots_fd > 0)
		close(systrap.slots_fd);
	systrap.slots = NULL;
	systrap.slots_fd = -1;
}

static int slot_index_alloc(struct platform_as *as, int index)
{
	if (index >= 0) {
		as->used[index / 64] |= 1ULL << (index % 64);
		return index;
	}
	for (unsigned i = 0; i < SLOTS_PER_AS / 64; i++) {
		if (as->used[i] == ~0ULL)
			continue;
		unsigned bit = __builtin_ctzll(~as->used[i]);
		as->used[i] |= 1ULL << bit;
		return (int)(i * 64 + bit);
	}
	return -EAGAIN;
}

static struct platform_ctx *ctx_new(struct platform_as *as, int index, void *owner)
{
	struct platform_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	systrap_as_get(as);
	ctx->as = as;
	ctx->index = (uint32_t)index;
	ctx->listener = as->listener;
	listener_get(ctx->listener);
	refcount_init(&ctx->refs);
	mutex_init(&ctx->order_lock);
	ctx->owner = owner;
	ctx->fpu_live = true;
	ctx->slot = slot_of(as->index, ctx->index);
	return ctx;
}

struct platform_ctx *ctx_alloc(struct platform_as *as, int index, void *owner)
{
	struct platform_ctx *ctx;
	struct slot *slot;

	mutex_lock(&as->lock);
	index = slot_index_alloc(as, index);
	mutex_unlock(&as->lock);
	if (index < 0)
		return NULL;
	ctx = ctx_new(as, index, owner);
	if (!ctx) {
		mutex_lock(&as->lock);
		as->used[index / 64] &= ~(1ULL << (index % 64));
		mutex_unlock(&as->lock);
		return NULL;
	}
	slot = ctx->slot;
	slot->turn = TURN_NONE;
	slot->stub_sleeping = 0;
	slot->wake = WAKE_DOORBELL;
	slot->spin = 0;
	slot->self = slot_stub_addr(ctx->index);
	slot->fast = 0;
	slot->set_fs = 0;
	slot->shortcuts = 0;
	slot->sleeping = 0;
	slot->sigmask = 0;
	slot->kicked = 0;
	ctx->seq = slot->seq;
	slot->fpstate = 0;
	/* Others look at what is in the list. */
	mutex_lock(&as->lock);
	TAILQ_INSERT_TAIL(&as->ctxs, ctx, as_link);
	as->nctx++;
	mutex_unlock(&as->lock);
	return ctx;
}

/* Only now: whoever has told its thread to exit may still be writing there. */
static void slot_index_free(struct platform_ctx *ctx)
{
	struct platform_as *as = ctx->as;
	MUTEX_GUARD(&as->lock);

	/* The slot of the stub's first thread is never reused: that thread stays. */
	if (ctx->index == NO_SLOT || ctx->tid == as->pid)
		return;
	as->used[ctx->index / 64] &= ~(1ULL << (ctx->index % 64));
	if (!as->dead)
		fallocate(systrap.slots_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)(as->index * SLOT_REGION + ctx->index * SLOT_SIZE),
			  (off_t)SLOT_SIZE);
}

void ctx_put(struct platform_ctx *ctx)
{
	if (refcount_dec(&ctx->refs)) {
		slot_index_free(ctx);
		listener_put(ctx->listener);
		systrap_as_put(ctx->as);
		mutex_destroy(&ctx->order_lock);
		free(ctx);
	}
}

void ctx_free(struct platform_ctx *ctx)
{
	struct platform_as *as = ctx->as;

	if (ctx->tid)
		tid_remove(ctx);
	mutex_lock(&as->lock);
	TAILQ_REMOVE(&as->ctxs, ctx, as_link);
	if (ctx->was_parked)
		as->nparked--;
	else
		as->nctx--;
	if (as->batch_ctx == ctx)
		as->batch_ctx = NULL;
	mutex_unlock(&as->lock);
	ctx_put(ctx);
}

/* In one step: its thread may be ringing, and is not to be taken for nobody's. */
static void tid_replace(struct platform_ctx *old, struct platform_ctx *ctx)
{
	struct platform_ctx **p = &tid_table.bucket[(unsigned)ctx->tid % TID_BUCKETS];

	MUTEX_GUARD(&tid_table.lock);
	while (*p && *p != old)
		p = &(*p)->hash_next;
	BUG_ON(!*p);
	ctx->hash_next = old->hash_next;
	*p = ctx;
}

/* as->lock held: as's threads are known at every moment. */
static void take_over(struct platform_ctx *ctx, struct platform_ctx *old)
{
	struct platform_as *as = ctx->as;

	ctx->seq = old->seq;
	ctx->notif_id = old->notif_id;
	ctx->fs_loaded = old->fs_loaded;
	ctx->cpu_ns_before = old->cpu_ns_seen;
	ctx->tid = old->tid;
	ctx->slot->fast = 0;
	ctx->slot->shortcuts = 0;
	ctx->slot->sleeping = 0;
	ctx->slot->sigmask = 0;
	ctx->slot->kicked = 0;
	tid_replace(old, ctx);
	TAILQ_REMOVE(&as->ctxs, old, as_link);
	TAILQ_INSERT_TAIL(&as->ctxs, ctx, as_link);
	as->nparked--;
	as->nctx++;
	old->index = NO_SLOT;
}

struct platform_ctx *ctx_take_parked(struct platform_as *as, void *owner)
{
	struct platform_ctx *old, *ctx = NULL;

	mutex_lock(&as->lock);
	TAILQ_FOREACH (old, &as->ctxs, as_link)
		if (ctx_left_parked(old))
			break;
	if (old) {
		ctx = ctx_new(as, (int)old->index, owner);
		if (ctx)
			take_over(ctx, old);
		else
			ctx_set_state(old, CTX_PARKED);
	}
	mutex_unlock(&as->lock);
	if (ctx)
		ctx_put(old);
	return ctx;
}

bool as_has_thread(struct platform_as *as, pid_t tid)
{
	struct platform_ctx *ctx;
	MUTEX_GUARD(&as->lock);

	TAILQ_FOREACH (ctx, &as->ctxs, as_link)
		if (ctx->tid == tid)
			return true;
	return false;
}

void tid_insert(struct platform_ctx *ctx)
{
	struct platform_ctx **b = &tid_table.bucket[(unsigned)ctx->tid % TID_BUCKETS];

	MUTEX_GUARD(&tid_table.lock);
	ctx->hash_next = *b;
	*b = ctx;
}

void tid_remove(struct platform_ctx *ctx)
{
	struct platform_ctx **p = &tid_table.bucket[(unsigned)ctx->tid % TID_BUCKETS];

	MUTEX_GUARD(&tid_table.lock);
	while (*p && *p != ctx)
		p = &(*p)->hash_next;
	if (*p)
		*p = ctx->hash_next;
}

struct platform_ctx *tid_find(pid_t tid)
{
	struct platform_ctx *ctx;

	MUTEX_GUARD(&tid_table.lock);
	ctx = tid_table.bucket[(unsigned)tid % TID_BUCKETS];
	while (ctx && ctx->tid != tid)
		ctx = ctx->hash_next;
	/* In the table it has its owner's reference; ctx_free() takes it out first. */
	if (ctx)
		ctx_get(ctx);
	return ctx;
}

uint64_t systrap_taken_memory(struct platform_as *as)
{
	off_t at = (off_t)(as->index * SLOT_REGION), end = at + (off_t)SLOT_REGION;
	uint64_t there = 0, needed;

	/* The position that this moves is nobody's. */
	while (at < end) {
		off_t data = lseek(systrap.slots_fd, at, SEEK_DATA), hole;

		if (data < 0 || data >= end)
			break;
		hole = lseek(systrap.slots_fd, data, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		there += (uint64_t)(hole - data);
		at = hole;
	}
	/* The first thread's slot stays when its context has gone. */
	needed = ((uint64_t)as->nctx + (uint64_t)as->nparked + 1) * SLOT_SIZE;
	return there > needed ? there - needed : 0;
}
