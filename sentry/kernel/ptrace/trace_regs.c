/* Registers of a tracee: general ones, struct user, register sets (man 2 ptrace, PTRACE_GETREGSET).
 */
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "sentry/kernel/ptrace/ptrace_internal.h"
#include "sentry/uaccess/uaccess.h"

#define FXSAVE_SIZE 512
#define XSTATE_BV FXSAVE_SIZE /* in the XSAVE header */
#define MXCSR 24
#define MXCSR_VALID 0xffffu
/* In a signal frame's legacy area: magic, size, then the mask of features; a register set has the
 * mask in their place. */
#define SW_RESERVED 464
#define SW_RESERVED_SIZE 48
#define FRAME_FEATURES (SW_RESERVED + 8)
#define MAGIC2_SIZE 4
#define DEBUG_REGS 8

/* struct user */
#define USER_SIZE 928 /* of the kernel's: two words more than the C library's */
#define USER_DEBUG_REGS 848

/* --- general registers -------------------------------------------------------------------------
 */

void trace_get_regs(struct task *t, uint64_t out[USER_REGS_COUNT])
{
	memset(out, 0, USER_REGS_COUNT * sizeof(out[0]));
	memcpy(out, platform_regs(t->ctx), sizeof(struct guest_regs));
}

static bool is_base(uint64_t addr)
{
	return addr < GUEST_TASK_SIZE;
}

/* Segment registers are what 64-bit code has; the bases are user space's. */
static int check(unsigned i, uint64_t value)
{
	bool fine = true;

	switch (i * 8) {
	case offsetof(struct guest_regs, cs):
		fine = value == GUEST_CS;
		break;
	case offsetof(struct guest_regs, ss):
		fine = value == GUEST_SS;
		break;
	case offsetof(struct guest_regs, fs_base):
	case offsetof(struct guest_regs, gs_base):
		fine = is_base(value);
		break;
	case offsetof(struct user_regs, ds):
	case offsetof(struct user_regs, es):
	case offsetof(struct user_regs, fs):
	case offsetof(struct user_regs, gs):
		fine = !value;
		break;
	}
	return fine ? 0 : -EIO;
}

int trace_set_regs(struct task *t, const uint64_t *in, unsigned n)
{
	struct guest_regs *regs = platform_regs(t->ctx);
	uint64_t *words = (uint64_t *)regs, flags = regs->eflags;

	for (unsigned i = 0; i < n; i++)
		if (check(i, in[i]))
			return -EIO;
	n = MIN(n, (unsigned)(sizeof(*regs) / 8));
	memcpy(words, in, n * sizeof(in[0]));
	regs->eflags = (flags & ~GUEST_EFLAGS_MASK) | (regs->eflags & GUEST_EFLAGS_MASK) |
		       GUEST_EFLAGS_FIXED;
	/* A number of -1 says that there is no call to be entered again, another that there is. */
	if (n > offsetof(struct guest_regs, orig_rax) / 8)
		t->in_syscall = (int32_t)regs->orig_rax >= 0;
	return 0;
}

/* --- struct user -------------------------------------------------------------------------------
 */

static bool is_debug_reg(uint64_t offset)
{
	return offset >= USER_DEBUG_REGS &&
	       offset < USER_DEBUG_REGS + DEBUG_REGS * sizeof(uint64_t);
}

static unsigned debug_index(uint64_t offset)
{
	return (unsigned)(offset - USER_DEBUG_REGS) / sizeof(uint64_t);
}

int trace_peek_user(struct task *t, uint64_t offset, uint64_t *value)
{
	uint64_t regs[USER_REGS_COUNT];

	if (offset % 8 || offset >= USER_SIZE)
		return -EIO;
	*value = 0;
	if (offset < sizeof(regs)) {
		trace_get_regs(t, regs);
		*value = regs[offset / 8];
	} else if (is_debug_reg(offset)) {
		*value = trace_get_debug(trace_of(t), debug_index(offset));
	}
	return 0;
}

int trace_poke_user(struct task *t, uint64_t offset, uint64_t value)
{
	uint64_t regs[USER_REGS_COUNT];
	bool in_syscall = t->in_syscall;
	int ret;

	if (offset % 8 || offset >= USER_SIZE)
		return -EIO;
	if (is_debug_reg(offset))
		return trace_set_debug(trace_of(t), debug_index(offset), value);
	if (offset >= sizeof(regs))
		return -EIO;
	trace_get_regs(t, regs);
	regs[offset / 8] = value;
	ret = trace_set_regs(t, regs, USER_REGS_COUNT);
	if (offset != offsetof(struct guest_regs, orig_rax))
		t->in_syscall = in_syscall;
	return ret;
}

/* --- floating point: by the tracee's own thread ------------------------------------------------
 */

static int read_fpstate(struct task *t, struct trace *tr)
{
	return platform_get_fpstate(t->ctx, tr->fpstate, platform_fpstate_size());
}

static int write_fpstate(struct task *t, struct trace *tr)
{
	return platform_set_fpstate(t->ctx, tr->fpstate, platform_fpstate_size());
}

static bool has_xsave(void)
{
	return platform_fpstate_size() > FXSAVE_SIZE;
}

/* Only the tracer, which is the current task, uses it. */
static int fetch_fpstate(struct task *t)
{
	struct trace *tr = trace_of(t);

	if (!tr->fpstate)
		tr->fpstate = calloc(1, platform_fpstate_size());
	return tr->fpstate ? trace_ask(t, read_fpstate) : -ENOMEM;
}

static size_t xstate_size(void)
{
	return platform_fpstate_size() - MAGIC2_SIZE;
}

static int get_fp(struct task *t, bool extended, uint64_t uaddr, size_t n)
{
	char *image, sw[SW_RESERVED_SIZE] = {0};
	int ret = fetch_fpstate(t);

	if (ret)
		return ret;
	image = trace_of(t)->fpstate;
	if (extended)
		memcpy(sw, image + FRAME_FEATURES, sizeof(uint64_t));
	memcpy(image + SW_RESERVED, sw, sizeof(sw));
	return copy_to_user(uaddr, image, n);
}

/* What is not the caller's to set stays; what the CPU would refuse is taken out by the platform. */
static int set_fp(struct task *t, bool extended, uint64_t uaddr, size_t n)
{
	struct trace *tr = trace_of(t);
	char *buf __free = malloc(n), *image;
	uint64_t features;
	uint32_t mxcsr;
	int ret;

	if (!buf)
		return -ENOMEM;
	if (copy_from_user(buf, uaddr, n))
		return -EFAULT;
	memcpy(&mxcsr, buf + MXCSR, sizeof(mxcsr));
	if (mxcsr & ~MXCSR_VALID)
		return -EINVAL;
	ret = fetch_fpstate(t);
	if (ret)
		return ret;
	image = tr->fpstate;
	memcpy(image, buf, SW_RESERVED);
	if (extended) {
		memcpy(image + FXSAVE_SIZE, buf + FXSAVE_SIZE, n - FXSAVE_SIZE);
	} else if (has_xsave()) {
		memcpy(&features, image + XSTATE_BV, sizeof(features));
		features |= 3; /* x87 and SSE */
		memcpy(image + XSTATE_BV, &features, sizeof(features));
	}
	return trace_ask(t, write_fpstate);
}

int trace_fpregs(struct task *t, uint64_t uaddr, bool set)
{
	return set ? set_fp(t, false, uaddr, FXSAVE_SIZE) : get_fp(t, false, uaddr, FXSAVE_SIZE);
}

/* --- register sets -----------------------------------------------------------------------------
 */

static int general_regset(struct task *t, const struct iovec *iov, bool set)
{
	uint64_t regs[USER_REGS_COUNT], uaddr = (uint64_t)iov->iov_base;
	struct sighand *sh;
	int ret = 0;

	if (set && copy_from_user(regs, uaddr, iov->iov_len))
		return -EFAULT;
	sh = trace_lock(t, true);
	if (!sh)
		return -ESRCH;
	if (set)
		ret = trace_set_regs(t, regs, (unsigned)(iov->iov_len / 8));
	else
		trace_get_regs(t, regs);
	mutex_unlock(&sh->lock);
	return ret || set ? ret : copy_to_user(uaddr, regs, iov->iov_len);
}

static int move_regset(struct task *t, uint64_t type, const struct iovec *iov, bool set)
{
	uint64_t uaddr = (uint64_t)iov->iov_base;
	bool extended = type == NT_X86_XSTATE;
	size_t full = extended ? xstate_size() : FXSAVE_SIZE;

	if (type == NT_PRSTATUS)
		return general_regset(t, iov, set);
	if (!set)
		return get_fp(t, extended, uaddr, iov->iov_len);
	if (iov->iov_len != full)
		return extended ? -EFAULT : -EINVAL;
	return set_fp(t, extended, uaddr, full);
}

int trace_regset(struct task *t, uint64_t type, uint64_t uiov, bool set)
{
	struct iovec iov;
	size_t full;
	int ret;

	if (copy_from_user(&iov, uiov, sizeof(iov)))
		return -EFAULT;
	switch ((uint32_t)type) {
	case NT_PRSTATUS:
		full = sizeof(struct user_regs);
		break;
	case NT_PRFPREG:
		full = FXSAVE_SIZE;
		break;
	case NT_X86_XSTATE:
		if (!has_xsave())
			return -ENODEV;
		full = xstate_size();
		break;
	default:
		return -EINVAL;
	}
	if (iov.iov_len % 8)
		return -EINVAL;
	iov.iov_len = MIN(iov.iov_len, full);
	ret = move_regset(t, (uint32_t)type, &iov, set);
	return ret ? ret : put_user(uiov + offsetof(struct iovec, iov_len), iov.iov_len);
}
