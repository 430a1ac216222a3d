/*
 * System calls of the sentry's in a stub: the registers are set in a stopped thread, and nobody
 * else can change them, so what runs is what was asked for. It runs at a syscall instruction of the
 * stub's text; the filter's answer to that is to ask the tracer (SECCOMP_RET_TRACE), which makes
 * two stops of one, but without a tracer nothing is called.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/zygote.h"

/* What system calls return inside the kernel when a signal has come: they are to be made again. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516

static bool to_be_made_again(int64_t result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
	       result == -ERESTART_RESTARTBLOCK;
}

/* To the stop just before the call is made. */
static int approach(struct tracee *t, uint64_t nr, const uint64_t args[6])
{
	const struct guest_regs regs = {
		.rip = stub_header()->traced_call,
		.cs = GUEST_CS,
		.ss = GUEST_SS,
		.eflags = GUEST_EFLAGS_FIXED,
		.rax = nr,
		.rdi = args[0],
		.rsi = args[1],
		.rdx = args[2],
		.r10 = args[3],
		.r8 = args[4],
		.r9 = args[5],
	};
	int stop, ret = tracee_set_regs(t, &regs);

	if (!ret)
		ret = tracee_run(t, PTRACE_CONT, 0, &stop);
	while (!ret && stop != STOP_CLAIMED)
		ret = tracee_run(t, PTRACE_CONT, stop_pass_signal(stop), &stop);
	return ret;
}

static int call_once(struct tracee *t, uint64_t nr, const uint64_t args[6], int64_t *result)
{
	struct guest_regs regs;
	int stop, ret = approach(t, nr, args);

	if (!ret)
		ret = tracee_run(t, PTRACE_SYSCALL, 0, &stop);
	if (!ret && stop != STOP_SYSCALL) {
		log_error("stub %d stopped with %#x in a system call", tracee_stub(t)->head.pid,
			  (unsigned)stop);
		ptrace_as_kill(t->head.as);
		return -ESRCH;
	}
	if (!ret)
		ret = tracee_get_regs(t, &regs);
	if (!ret)
		*result = (int64_t)regs.rax;
	return ret;
}

int tracee_call(struct tracee *t, uint64_t nr, const uint64_t args[6], int64_t *result)
{
	int ret = tracee_attach(t);

	lock_check_command();
	t->in_call = true;
	do {
		if (!ret)
			ret = call_once(t, nr, args, result);
	} while (!ret && to_be_made_again(*result));
	t->in_call = false;
	return ret;
}

void tracee_call_exit(struct tracee *t)
{
	static const uint64_t none[6];
	int stop, ret = tracee_attach(t);

	if (!ret)
		ret = approach(t, SYS_exit, none);
	/* Any stop that it makes now is on its way out. */
	while (!ret)
		ret = tracee_run(t, PTRACE_CONT, 0, &stop);
}

int ptrace_memory_call(struct platform_ctx *ctx, uint64_t nr, const uint64_t args[6])
{
	int64_t result = 0;
	int ret = tracee_call(tracee_of(ctx), nr, args, &result);

	if (ret)
		return ret;
	return result < 0 && result >= -4095 ? (int)result : 0;
}

/* The stub has the code for this; it runs until its int3, or to a fault. */
int ptrace_word_op(struct platform_ctx *ctx, uint64_t addr, enum platform_word_op op, uint32_t arg,
		   uint32_t expected, uint32_t *old)
{
	const struct guest_regs regs = {
		.rip = stub_header()->traced_word,
		.rsp = stub_header()->traced_word_stack,
		.cs = GUEST_CS,
		.ss = GUEST_SS,
		.eflags = GUEST_EFLAGS_FIXED,
		.rdi = op,
		.rsi = addr,
		.rdx = arg,
		.rcx = expected,
	};
	struct tracee *t = tracee_of(ctx);
	struct guest_regs after;
	int stop = 0, ret = tracee_attach(t);

	lock_check_command();
	t->in_call = true;
	if (!ret)
		ret = tracee_set_regs(t, &regs);
	if (!ret)
		ret = tracee_run(t, PTRACE_SYSEMU, 0, &stop);
	while (!ret && stop != SIGTRAP && stop != SIGSEGV && stop != SIGBUS)
		ret = tracee_run(t, PTRACE_SYSEMU, stop_pass_signal(stop), &stop);
	if (!ret)
		ret = tracee_get_regs(t, &after);
	t->in_call = false;
	if (ret)
		return ret;
	if (stop != SIGTRAP || after.rip != stub_header()->traced_word_done + 1)
		return -EFAULT;
	*old = (uint32_t)after.rax;
	return 0;
}
