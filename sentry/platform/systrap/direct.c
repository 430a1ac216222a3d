/*
 * What the stub does for the guest by itself: it answers ids, changes the mask of blocked signals
 * while that is lent to it, and makes the calls on private futexes, which concern its process
 * alone. So threads wake each other without the sentry.
 *
 * The sentry's part: to say what the ids are, to have a futex call made that did come to it, to
 * take it up where a kick has interrupted it, and to know who sleeps. That a thread sleeps is its
 * own word: it is believed only where a lie harms nobody else.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <x86intrin.h>

#include "base/clock.h"
#include "sentry/platform/systrap/systrap.h"

#define SHORTCUTS_ON 1

static struct {
	uint64_t ticks;
	int64_t ns;
} start;

void direct_init(void)
{
	systrap.direct_futexes = !(systrap.config.without & PLATFORM_WITHOUT_DIRECT_FUTEX);
	start.ticks = __rdtsc();
	start.ns = monotonic_ns();
}

/* The CPU's counter in nanoseconds, as fast as it has been since the start. */
static int64_t since(uint64_t ticks)
{
	uint64_t now = __rdtsc();
	int64_t passed = monotonic_ns() - start.ns;

	if (ticks > now || now <= start.ticks || ticks < start.ticks)
		return 0;
	return (int64_t)((double)(now - ticks) * (double)passed / (double)(now - start.ticks));
}

bool systrap_executes_futexes(void)
{
	return systrap.direct_futexes;
}

void systrap_execute(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6],
		     int64_t deadline)
{
	struct slot *slot = ctx->slot;

	slot->cmd_nr = nr;
	slot->report = 0;
	memcpy(slot->cmd_args, args, sizeof(slot->cmd_args));
	if (deadline >= 0) {
		slot->deadline[0] = deadline / NSEC_PER_SEC;
		slot->deadline[1] = deadline % NSEC_PER_SEC;
		slot->cmd_args[3] = slot_stub_addr(ctx->index) + offsetof(struct slot, deadline);
	}
	ctx->executes = true;
}

void systrap_execute_report(struct platform_ctx *ctx)
{
	ctx->slot->report = 1;
}

void systrap_execute_not(struct platform_ctx *ctx)
{
	ctx->executes = false;
}

void direct_load_restart(struct platform_ctx *ctx, struct platform_event *event)
{
	event->kind = EVENT_RESTART;
	event->slept_ns = since(__atomic_load_n(&ctx->slot->slept_from, __ATOMIC_RELAXED));
	ctx->regs.orig_rax &= 0xffffffff;
	ctx->regs.rax = (uint64_t)-ENOSYS;
}

static struct region_page *page_of(const struct platform_as *as)
{
	return (struct region_page *)slot_of(as->index, PAGE_INDEX);
}

int as_sleepers(struct platform_as *as)
{
	uint32_t n = __atomic_load_n(&page_of(as)->sleepers, __ATOMIC_RELAXED);

	return (int)MIN(n, (uint32_t)as->nctx);
}

bool ctx_sleeps(struct platform_ctx *ctx)
{
	return __atomic_load_n(&ctx->slot->sleeping, __ATOMIC_SEQ_CST);
}

void patch_gen_bump(struct platform_as *as)
{
	__atomic_fetch_add(&page_of(as)->patch_gen, 1, __ATOMIC_SEQ_CST);
}

int systrap_sleepers(void)
{
	static struct mutex lock = MUTEX_INIT;
	static int64_t counted_at;
	static _Atomic int count;
	int64_t now = monotonic_ns();
	int n = 0;

	/* It decides about polling only: once a millisecond is often enough. */
	if (!mutex_trylock(&lock))
		return count;
	if (now - counted_at > 1000000) {
		for (uint32_t i = 1; i < MAX_AS; i++) {
			struct platform_as *as = as_lock_nth(&i);

			if (!as)
				break;
			n += as_sleepers(as);
			as_unlock_nth(as);
		}
		count = n;
		counted_at = now;
	}
	mutex_unlock(&lock);
	return count;
}

bool systrap_sleeps(struct platform_ctx *ctx)
{
	return ctx_state(ctx) == CTX_GUEST && ctx_sleeps(ctx);
}

void systrap_set_identity(struct platform_ctx *ctx, const struct platform_identity *id)
{
	struct slot *slot = ctx->slot;

	slot->pid = id->pid;
	slot->tid = id->tid;
	slot->uid = id->uid;
	slot->euid = id->euid;
	slot->gid = id->gid;
	slot->egid = id->egid;
	systrap_set_parent(ctx, id->ppid);
	__atomic_store_n(&slot->shortcuts, id->direct && systrap.direct_futexes ? SHORTCUTS_ON : 0,
			 __ATOMIC_RELEASE);
}

void systrap_lend_mask(struct platform_ctx *ctx, uint64_t mask)
{
	__atomic_store_n(&ctx->slot->sigmask, mask | MASK_LENT, __ATOMIC_SEQ_CST);
}

uint64_t systrap_take_mask(struct platform_ctx *ctx)
{
	return __atomic_fetch_and(&ctx->slot->sigmask, ~MASK_LENT, __ATOMIC_SEQ_CST) & ~MASK_NEVER;
}

void systrap_set_parent(struct platform_ctx *ctx, int32_t ppid)
{
	__atomic_store_n(&ctx->slot->ppid, ppid, __ATOMIC_RELAXED);
}
