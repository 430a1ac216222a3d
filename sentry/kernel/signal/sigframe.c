/*
 * Signal frames of x86-64, as Linux lays them out (arch/x86/include/uapi/asm/sigcontext.h,
 * ucontext.h): from the handler's stack pointer upwards, the return address (the restorer), the
 * ucontext, the siginfo; above them, 64-byte aligned, the FPU state.
 */
#include <string.h>

#include "sentry/kernel/signal/signal_internal.h"
#include "sentry/kernel/task/lifecycle.h"
#include "sentry/uaccess/uaccess.h"

#define UC_FP_XSTATE 0x1
#define UC_SIGCONTEXT_SS 0x2
#define UC_STRICT_RESTORE_SS 0x4

#define SA_RESTORER_FLAG 0x04000000
#define REDZONE 128
#define FP_XSTATE_MAGIC1 0x46505853U
#define FXSAVE_SIZE 512
#define FX_SW_RESERVED 464 /* magic1, extended size, features, xstate size */

struct sigcontext64 {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
};

struct stack64 {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

struct ucontext64 {
	uint64_t flags, link;
	struct stack64 stack;
	struct sigcontext64 mcontext;
	sigset64_t sigmask;
};

struct rt_sigframe {
	uint64_t restorer;
	struct ucontext64 uc;
	guest_siginfo_t info;
};

_Static_assert(sizeof(struct sigcontext64) == 256, "sigcontext");
_Static_assert(sizeof(struct rt_sigframe) == 440, "rt_sigframe");

static bool on_altstack(const struct task *t, uint64_t sp)
{
	/* With SS_AUTODISARM the stack is off while the handler runs on it. */
	if (t->altstack_flags & (uint32_t)SS_AUTODISARM)
		return false;
	return sp > t->altstack_sp && sp - t->altstack_sp <= t->altstack_size;
}

uint32_t altstack_state(const struct task *t, uint64_t sp)
{
	if (!t->altstack_size)
		return SS_DISABLE;
	return on_altstack(t, sp) ? SS_ONSTACK : 0;
}

static uint64_t frame_stack_top(struct task *t, const struct ksigaction *ka, bool *alt)
{
	uint64_t sp = platform_regs(t->ctx)->rsp;

	*alt = on_altstack(t, sp);
	if ((ka->flags & SA_ONSTACK) && altstack_state(t, sp) == 0) {
		*alt = true;
		return t->altstack_sp + t->altstack_size;
	}
	return sp - REDZONE;
}

static void fill_context(struct task *t, struct sigcontext64 *sc, uint64_t fpstate,
			 sigset64_t oldmask)
{
	const struct guest_regs *r = platform_regs(t->ctx);

	*sc = (struct sigcontext64){
		.r8 = r->r8,
		.r9 = r->r9,
		.r10 = r->r10,
		.r11 = r->r11,
		.r12 = r->r12,
		.r13 = r->r13,
		.r14 = r->r14,
		.r15 = r->r15,
		.rdi = r->rdi,
		.rsi = r->rsi,
		.rbp = r->rbp,
		.rbx = r->rbx,
		.rdx = r->rdx,
		.rax = r->rax,
		.rcx = r->rcx,
		.rsp = r->rsp,
		.rip = r->rip,
		.eflags = r->eflags,
		.cs = GUEST_CS,
		.ss = GUEST_SS,
		.err = t->fault.error,
		.trapno = t->fault.trapno,
		.oldmask = oldmask,
		.cr2 = t->fault.addr,
		.fpstate = fpstate,
	};
}

/* The FPU state goes to *fpstate, which is set to its place below `top`. */
static int write_fpstate(struct task *t, uint64_t top, uint64_t *fpstate)
{
	size_t size = platform_fpstate_size();
	void *buf __free = malloc(size);
	int err;

	if (!buf)
		return -ENOMEM;
	err = platform_get_fpstate(t->ctx, buf, size);
	if (err)
		return err;
	*fpstate = ROUND_DOWN(top - size, 64);
	return copy_to_user(*fpstate, buf, size);
}

int setup_signal_frame(struct task *t, int sig, const struct ksigaction *ka,
		       const guest_siginfo_t *info, sigset64_t oldmask)
{
	struct guest_regs *regs = platform_regs(t->ctx);
	struct rt_sigframe frame;
	uint64_t fpstate, sp;
	bool alt;
	int err;

	if (!(ka->flags & SA_RESTORER_FLAG))
		return -EFAULT;
	sp = frame_stack_top(t, ka, &alt);
	err = write_fpstate(t, sp, &fpstate);
	if (err)
		return err;
	/* As at a function's entry: the return address is 8 below a multiple of 16. */
	sp = ROUND_DOWN(fpstate - sizeof(frame), 16) - 8;
	if (alt && (sp < t->altstack_sp || sp - t->altstack_sp > t->altstack_size))
		return -EFAULT;
	memset(&frame, 0, sizeof(frame));
	frame.restorer = ka->restorer;
	frame.uc.flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	if (platform_fpstate_size() > FXSAVE_SIZE)
		frame.uc.flags |= UC_FP_XSTATE;
	frame.uc.stack = (struct stack64){
		.sp = t->altstack_sp,
		.flags = t->altstack_flags | altstack_state(t, regs->rsp),
		.size = t->altstack_size,
	};
	fill_context(t, &frame.uc.mcontext, fpstate, oldmask);
	frame.uc.sigmask = oldmask;
	frame.info = *info;
	err = copy_to_user(sp, &frame, sizeof(frame));
	if (err)
		return err;
	if (t->altstack_flags & (uint32_t)SS_AUTODISARM) {
		t->altstack_sp = t->altstack_size = 0;
		t->altstack_flags = SS_DISABLE;
	}
	regs->rdi = sig;
	regs->rsi = sp + offsetof(struct rt_sigframe, info);
	regs->rdx = sp + offsetof(struct rt_sigframe, uc);
	regs->rax = 0;
	regs->rsp = sp;
	regs->rip = ka->handler;
	regs->cs = GUEST_CS;
	regs->ss = GUEST_SS;
	/* Direction, resume and trap flags are off in a handler. */
	regs->eflags &= ~0x10500ULL;
	regs->orig_rax = -1;
	atomic_fetch_or(&t->flags, TF_FULL_REGS);
	/* And a handler begins with the FPU as a program does. */
	return platform_reset_fpstate(t->ctx);
}

static int restore_fpstate(struct task *t, uint64_t addr)
{
	size_t size = platform_fpstate_size(), have = FXSAVE_SIZE;
	uint8_t *buf __free = NULL;
	uint32_t sw[2];

	if (!addr)
		return platform_reset_fpstate(t->ctx);
	buf = calloc(1, size);
	if (!buf)
		return -ENOMEM;
	if (copy_from_user(buf, addr, have))
		return -EFAULT;
	memcpy(sw, buf + FX_SW_RESERVED, sizeof(sw));
	if (sw[0] == FP_XSTATE_MAGIC1 && sw[1] > have && sw[1] <= size) {
		have = sw[1];
		if (copy_from_user(buf, addr, have))
			return -EFAULT;
	} else {
		/* Only the legacy state is there: x87 and SSE from it, the rest initial. */
		uint64_t features = 3;

		memcpy(buf + FXSAVE_SIZE, &features, sizeof(features));
	}
	return platform_set_fpstate(t->ctx, buf, size);
}

/* What restoring a stack takes from a frame; bad values are ignored, as Linux does. */
static void restore_altstack(struct task *t, const struct stack64 *s)
{
	uint32_t mode = s->flags & ~(uint32_t)SS_AUTODISARM;

	if (on_altstack(t, platform_regs(t->ctx)->rsp))
		return;
	if (mode == SS_DISABLE) {
		t->altstack_sp = t->altstack_size = 0;
	} else if ((mode == 0 || mode == SS_ONSTACK) && s->size >= 2048) {
		t->altstack_sp = s->sp;
		t->altstack_size = s->size;
	} else {
		return;
	}
	t->altstack_flags = s->flags & (SS_DISABLE | (uint32_t)SS_AUTODISARM);
}

int restore_signal_frame(struct task *t)
{
	struct guest_regs *r = platform_regs(t->ctx);
	struct rt_sigframe frame;
	const struct sigcontext64 *sc = &frame.uc.mcontext;

	/* The handler's ret popped the restorer's address. */
	if (copy_from_user(&frame, r->rsp - 8, sizeof(frame)))
		return -EFAULT;
	r->r8 = sc->r8;
	r->r9 = sc->r9;
	r->r10 = sc->r10;
	r->r11 = sc->r11;
	r->r12 = sc->r12;
	r->r13 = sc->r13;
	r->r14 = sc->r14;
	r->r15 = sc->r15;
	r->rdi = sc->rdi;
	r->rsi = sc->rsi;
	r->rbp = sc->rbp;
	r->rbx = sc->rbx;
	r->rdx = sc->rdx;
	r->rcx = sc->rcx;
	r->rsp = sc->rsp;
	r->rip = sc->rip;
	r->rax = sc->rax;
	r->eflags = (r->eflags & ~GUEST_EFLAGS_MASK) | (sc->eflags & GUEST_EFLAGS_MASK) |
		    GUEST_EFLAGS_FIXED;
	r->cs = GUEST_CS;
	r->ss = GUEST_SS;
	r->orig_rax = -1;
	atomic_fetch_or(&t->flags, TF_FULL_REGS);
	set_blocked(t, frame.uc.sigmask);
	if (restore_fpstate(t, sc->fpstate))
		return -EFAULT;
	restore_altstack(t, &frame.uc.stack);
	t->in_syscall = false;
	return 0;
}
