/*
 * What ptrace(2) does not tell of a fault: the trap number, the error code, and cr2. Signal frames
 * have them. So the signal is delivered, to a handler that never runs: with PTRACE_SINGLESTEP the
 * kernel stops the thread when it has built the frame. The frame goes to the stub's scratch memory;
 * one thread of the stub at a time. A guest that writes there at the same time deceives itself. The
 * FPU's state, which a handler begins without, is kept aside.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/uio.h>
#include <ucontext.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/fpstate.h"
#include "sentry/platform/shared/layout.h"
#include "sentry/platform/shared/zygote.h"

struct details {
	uint64_t error, trapno, oldmask, cr2;
};

_Static_assert(REG_TRAPNO == REG_ERR + 1 && REG_CR2 == REG_ERR + 3, "the order of struct details");

static int read_details(struct tracee *t, uint64_t ucontext, struct details *d)
{
	struct iovec local = {d, sizeof(*d)};
	struct iovec remote = {(char *)ucontext + offsetof(ucontext_t, uc_mcontext.gregs[REG_ERR]),
			       sizeof(*d)};

	return platform_read_mem(t->head.as, &local, 1, &remote, 1) == sizeof(*d) ? 0 : -EFAULT;
}

static int deliver(struct tracee *t, int signo, struct details *d)
{
	struct guest_regs regs = t->head.regs;
	char image[FPSTATE_MAX];
	int stop, ret = fpu_save(t, image);

	regs.rsp = STUB_MEMORY + ZYGOTE_STACK_TOP;
	if (!ret)
		ret = tracee_set_regs(t, &regs);
	if (!ret)
		ret = tracee_run(t, PTRACE_SINGLESTEP, signo, &stop);
	if (!ret)
		ret = fpu_load(t, image);
	if (!ret)
		ret = tracee_get_regs(t, &regs);
	if (ret)
		return ret;
	if (stop != SIGTRAP || regs.rip != stub_header()->traced_parked)
		return -EFAULT;
	return read_details(t, regs.rdx, d);
}

int fault_details(struct tracee *t, struct platform_event *event)
{
	struct stub *stub = tracee_stub(t);
	struct details d;
	int ret;

	mutex_lock(&stub->scratch_lock);
	ret = deliver(t, event->signo, &d);
	mutex_unlock(&stub->scratch_lock);
	if (ret)
		return ret;
	event->trapno = (uint32_t)d.trapno;
	event->error = (uint32_t)d.error;
	return 0;
}
