/* What a stub has published, and how it is told to go on. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "sentry/platform/systrap/systrap.h"

/* Copies what the stub has published; everything is checked here, once. */
void ctx_load_event(struct platform_ctx *ctx, struct platform_event *event)
{
	struct slot *slot = ctx->slot;
	uint64_t fpstate = __atomic_load_n(&slot->fpstate, __ATOMIC_RELAXED);
	uint64_t base = slot_stub_addr(ctx->index);
	uint32_t kind = __atomic_load_n(&slot->event, __ATOMIC_RELAXED);
	uint64_t fs_base = ctx->regs.fs_base;

	memcpy(&ctx->regs, &slot->regs, sizeof(ctx->regs));
	if (!(systrap.features & STUB_FSGSBASE))
		ctx->regs.fs_base = fs_base;
	ctx->kicked = 0;
	atomic_store_explicit(&ctx->owed_ms, 0, memory_order_relaxed);
	ctx->fast = slot->fast;
	ctx->fpu_pending = false;
	ctx->fpu_live = fpstate == 0;
	/* An image outside the signal stack, or misaligned: the guest has meddled; give it the
	 * top of the stack, which is as good as anything. */
	if (fpstate && fpstate != base + SLOT_FPU && /* the image that was about to be loaded */
	    (fpstate < base + SLOT_FPU || fpstate % 64 ||
	     fpstate > base + SLOT_STACK_TOP - platform_fpstate_size()))
		fpstate = base + SLOT_STACK;
	ctx->fpu_addr = fpstate;
	ctx->regs.cs = GUEST_CS;
	ctx->regs.ss = GUEST_SS;
	ctx->regs.gs_base = 0;
	ctx->regs.eflags = (ctx->regs.eflags & GUEST_EFLAGS_MASK) | GUEST_EFLAGS_FIXED;
	*event = (struct platform_event){.kind = EVENT_INTERRUPTED};
	if (kind == EVENT_SYSCALL) {
		event->kind = EVENT_SYSCALL;
		ctx->regs.rax = (uint64_t)-ENOSYS;
		ctx->regs.orig_rax &= 0xffffffff;
	} else if (kind == EVENT_RESTART) {
		direct_load_restart(ctx, event);
	} else if (kind == EVENT_FAULT) {
		int signo = slot->signo;

		event->kind = EVENT_FAULT;
		event->signo =
			signo == SIGBUS || signo == SIGFPE || signo == SIGILL || signo == SIGTRAP
				? signo
				: SIGSEGV;
		event->code = slot->code;
		event->addr = slot->addr;
		event->trapno = slot->trapno;
		event->error = slot->error;
	}
	if (event->kind != EVENT_SYSCALL && event->kind != EVENT_RESTART)
		ctx->regs.orig_rax = ~0ULL;
}

uint64_t ctx_take_ring(struct platform_ctx *ctx)
{
	uint64_t id = ctx->notif_id;

	ctx->notif_id = 0;
	return id;
}

void ctx_wake_stub(struct platform_ctx *ctx, uint32_t turn, uint64_t ring)
{
	struct slot *slot = ctx->slot;

	__atomic_store_n(&slot->turn, turn, __ATOMIC_SEQ_CST);
	if (!(ring && listener_answer(ctx->listener, ring)) &&
	    __atomic_load_n(&slot->stub_sleeping, __ATOMIC_SEQ_CST))
		futex_wake_word(&slot->turn, 1);
}
