/* The slots memfd, address spaces and contexts as objects, and the table of stub thread ids. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/platform/systrap.h"

#define TID_BUCKETS 4096

static struct {
	struct mutex lock;
	struct platform_as *as[MAX_AS];
	uint32_t top; /* above all that are in use */
} as_table = {.lock = MUTEX_INIT};

static struct {
	struct mutex lock;
	struct platform_ctx *bucket[TID_BUCKETS];
} tid_table = {.lock = MUTEX_INIT};

_Static_assert(offsetof(struct slot, regs) == SLOT_OFF_REGS, "entry.S knows this offset");
_Static_assert(offsetof(struct slot, fpstate) == SLOT_OFF_FPSTATE, "entry.S knows this offset");
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

struct platform_as *as_alloc(void)
{
	struct platform_as *as = calloc(1, sizeof(*as));

	if (!as)
		return NULL;
	refcount_init(&as->refs);
	mutex_init(&as->lock);
	TAILQ_INIT(&as->ctxs);
	MUTEX_GUARD(&as_table.lock);
	for (uint32_t i = 1; i < MAX_AS; i++) { /* region 0 is the zygote's */
		if (as_table.as[i])
			continue;
		as_table.as[i] = as;
		if (as_table.top <= i)
			as_table.top = i + 1;
		as->index = i;
		return as;
	}
	free(as);
	return NULL;
}

void as_free(struct platform_as *as)
{
	/* The pages go back to the host; both mappings, ours and the stub's, lose them. */
	fallocate(systrap.slots_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		  (off_t)(as->index * SLOT_REGION), (off_t)SLOT_REGION);
	mutex_lock(&as_table.lock);
	as_table.as[as->index] = NULL;
	while (as_table.top && !as_table.as[as_table.top - 1])
		as_table.top--;
	mutex_unlock(&as_table.lock);
	if (as->listener)
		listener_put(as->listener);
	patches_put(as->patches);
	mutex_destroy(&as->lock);
	free(as);
}

struct platform_as *as_by_pid(pid_t pid)
{
	MUTEX_GUARD(&as_table.lock);
	for (uint32_t i = 1; i < as_table.top; i++)
		if (as_table.as[i] && as_table.as[i]->pid == pid)
			return as_table.as[i];
	return NULL;
}

struct platform_as *as_lock_nth(uint32_t *i)
{
	mutex_lock(&as_table.lock);
	for (; *i < as_table.top; ++*i)
		if (as_table.as[*i]) {
			mutex_lock(&as_table.as[*i]->lock);
			return as_table.as[*i];
		}
	mutex_unlock(&as_table.lock);
	return NULL;
}

void as_unlock_nth(struct platform_as *as)
{
	mutex_unlock(&as->lock);
	mutex_unlock(&as_table.lock);
}

void as_kill_all(void)
{
	MUTEX_GUARD(&as_table.lock);
	for (uint32_t i = 1; i < as_table.top; i++) {
		if (!as_table.as[i])
			continue;
		as_table.as[i]->dead = true;
		/* Not reaped while it is in the table, so the pid is still its own. */
		if (as_table.as[i]->pid > 0)
			kill(as_table.as[i]->pid, SIGKILL);
	}
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

struct platform_ctx *ctx_alloc(struct platform_as *as, int index, void *owner)
{
	struct platform_ctx *ctx = calloc(1, sizeof(*ctx));
	struct slot *slot;

	if (!ctx)
		return NULL;
	mutex_lock(&as->lock);
	index = slot_index_alloc(as, index);
	if (index < 0) {
		mutex_unlock(&as->lock);
		free(ctx);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&as->ctxs, ctx, as_link);
	as->nctx++;
	mutex_unlock(&as->lock);
	platform_as_get(as);
	ctx->as = as;
	ctx->index = (uint32_t)index;
	ctx->listener = as->listener;
	listener_get(ctx->listener);
	refcount_init(&ctx->refs);
	ctx->owner = owner;
	ctx->fpu_live = true;
	slot = ctx->slot = slot_of(as->index, ctx->index);
	slot->turn = TURN_SENTRY;
	slot->stub_sleeping = 0;
	slot->wake = WAKE_DOORBELL;
	slot->spin = 0;
	slot->self = slot_stub_addr(ctx->index);
	slot->fast = 0;
	ctx->seq = slot->seq;
	slot->fpstate = 0;
	return ctx;
}

void ctx_put(struct platform_ctx *ctx)
{
	if (refcount_dec(&ctx->refs)) {
		listener_put(ctx->listener);
		platform_as_put(ctx->as);
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
	as->nctx--;
	if (as->batch_ctx == ctx)
		as->batch_ctx = NULL;
	/* The slot of the stub's first thread is never reused: that thread stays, parked. */
	if (ctx->tid != as->pid)
		as->used[ctx->index / 64] &= ~(1ULL << (ctx->index % 64));
	mutex_unlock(&as->lock);
	ctx_put(ctx);
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
