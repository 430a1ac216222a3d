/* What a stop of a tracee in the guest means. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sentry/platform/ptrace/ptrace.h"

/* si_code of a SIGSYS by a filter (man 2 sigaction). */
#define SYS_SECCOMP_CODE 1
/* A number that is no call's, in whatever table. */
#define NO_CALL 0xffffffffULL

static bool died(struct platform_event *event)
{
	*event = (struct platform_event){.kind = EVENT_DEAD};
	return true;
}

/* The thread's registers as the guest has them. */
static int take_regs(struct tracee *t)
{
	struct guest_regs *regs = &t->head.regs;
	int ret = tracee_get_regs(t, regs);

	t->fs_loaded = regs->fs_base;
	t->gs_loaded = regs->gs_base;
	if (!ret && regs->cs != GUEST_CS)
		ret = tracee_leave_32_bit(t);
	regs->cs = GUEST_CS;
	regs->ss = GUEST_SS;
	regs->eflags = (regs->eflags & GUEST_EFLAGS_MASK) | GUEST_EFLAGS_FIXED;
	return ret;
}

/*
 * int 0x80, and whatever 32-bit code calls by, has numbers of its own: none of ours. The `syscall`
 * instruction leaves its return address in rcx; who forges that gets a system call of the sentry's
 * kernel, like anybody.
 */
static bool is_64_bit_call(struct tracee *t)
{
	struct __ptrace_syscall_info info = {0};

	if (t->head.regs.rcx == t->head.regs.rip)
		return true;
	return syscall(SYS_ptrace, PTRACE_GET_SYSCALL_INFO, t->head.tid, sizeof(info), &info) > 0 &&
	       info.arch == AUDIT_ARCH_X86_64;
}

static bool on_syscall(struct tracee *t, uint64_t nr, bool ours, struct platform_event *event)
{
	t->head.regs.orig_rax = ours ? nr & 0xffffffff : NO_CALL;
	t->head.regs.rax = (uint64_t)-ENOSYS;
	*event = (struct platform_event){.kind = EVENT_SYSCALL};
	return true;
}

static int get_siginfo(struct tracee *t, siginfo_t *info)
{
	return syscall(SYS_ptrace, PTRACE_GETSIGINFO, t->head.tid, 0, info) ? -errno : 0;
}

static bool on_fault(struct tracee *t, int signo, struct platform_event *event)
{
	siginfo_t info;

	if (take_regs(t) || get_siginfo(t, &info))
		return died(event);
	t->head.regs.orig_rax = ~0ULL;
	*event = (struct platform_event){
		.kind = EVENT_FAULT,
		.signo = signo,
		.code = info.si_code,
		.addr = (uint64_t)info.si_addr,
	};
	if (fault_details(t, event))
		return died(event);
	return true;
}

/* The filter's: a call that PTRACE_SYSEMU has not caught, as those through the vsyscall page. */
static bool on_sigsys(struct tracee *t, struct platform_event *event, int *pass)
{
	siginfo_t info;

	if (take_regs(t) || get_siginfo(t, &info))
		return died(event);
	if (info.si_code != SYS_SECCOMP_CODE) {
		*pass = SIGSYS;
		return false;
	}
	return on_syscall(t, (uint32_t)info.si_syscall, info.si_arch == AUDIT_ARCH_X86_64, event);
}

bool event_from_stop(struct tracee *t, int stop, struct platform_event *event, int *pass)
{
	*pass = 0;
	if (stop == STOP_SYSCALL) {
		if (take_regs(t))
			return died(event);
		return on_syscall(t, t->head.regs.orig_rax, is_64_bit_call(t), event);
	}
	if (stop == STOP_CLAIMED) {
		/* With PTRACE_SYSEMU the kernel does not come so far. */
		log_error("stub %d has come to a system call", tracee_stub(t)->head.pid);
		ptrace_as_kill(t->head.as);
		return died(event);
	}
	if (stop >> 8)
		return false; /* stopped as a group, by somebody on the host: not for stubs */
	switch (stop) {
	case SIGSEGV:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGTRAP:
		return on_fault(t, stop, event);
	case SIGSYS:
		return on_sigsys(t, event, pass);
	case KICK_SIGNAL:
		if (take_regs(t))
			return died(event);
		t->head.regs.orig_rax = ~0ULL;
		*event = (struct platform_event){.kind = EVENT_INTERRUPTED};
		return true;
	}
	*pass = stop_pass_signal(stop);
	return false;
}
