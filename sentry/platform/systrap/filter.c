/* The stubs' seccomp programs. */
#include <asm/prctl.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

#include "sentry/platform/shared/filter.h"
#include "sentry/platform/systrap/systrap.h"

/*
 * Private futexes, which concern the caller's process alone, without priority inheritance; and,
 * confined to the slot region, WAIT and WAKE that others take part in.
 */
static void emit_futex(struct program *p)
{
	static const uint32_t private[] = {
		FUTEX_WAIT_PRIVATE,
		FUTEX_WAKE_PRIVATE,
		FUTEX_WAIT_BITSET_PRIVATE,
		FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME,
		FUTEX_WAKE_BITSET_PRIVATE,
		FUTEX_CMP_REQUEUE_PRIVATE,
		FUTEX_REQUEUE | FUTEX_PRIVATE_FLAG,
		FUTEX_WAKE_OP_PRIVATE,
	};
	const unsigned n = systrap.direct_futexes ? ARRAY_SIZE(private) : 0;

	EMIT(JUMP(BPF_JEQ, SYS_futex, 0, (uint8_t)(n + 9)));
	EMIT(LD(ARG_LO(1)));
	for (unsigned i = 0; i < n; i++)
		EMIT(JUMP(BPF_JEQ, private[i], (uint8_t)(n - i + 5), 0));
	EMIT(JUMP(BPF_JGT, FUTEX_WAKE, 6, 0));
	EMIT(LD(ARG_HI(0)));
	EMIT(JUMP(BPF_JEQ, STUB_SLOTS >> 32, 0, 4));
	EMIT(LD(ARG_LO(0)));
	EMIT(JUMP(BPF_JGE, (uint32_t)STUB_SLOTS, 0, 2));
	EMIT(JUMP(BPF_JGE, (uint32_t)(STUB_SLOTS + SLOT_REGION), 1, 0));
	EMIT(RET(SECCOMP_RET_ALLOW));
	EMIT(RET(SECCOMP_RET_TRAP));
}

/* Without FSGSBASE: the guest's own FS base, whatever it is, and a GS base in the slot region. */
static void emit_arch_prctl(struct program *p)
{
	EMIT(JUMP(BPF_JEQ, SYS_arch_prctl, 0, 10));
	EMIT(LD(ARG_LO(0)));
	EMIT(JUMP(BPF_JEQ, ARCH_SET_FS, 6, 0));
	EMIT(JUMP(BPF_JEQ, ARCH_SET_GS, 0, 6));
	EMIT(LD(ARG_HI(1)));
	EMIT(JUMP(BPF_JEQ, STUB_SLOTS >> 32, 0, 4));
	EMIT(LD(ARG_LO(1)));
	EMIT(JUMP(BPF_JGE, (uint32_t)STUB_SLOTS, 0, 2));
	EMIT(JUMP(BPF_JGE, (uint32_t)(STUB_SLOTS + SLOT_REGION), 1, 0));
	EMIT(RET(SECCOMP_RET_ALLOW));
	EMIT(RET(SECCOMP_RET_TRAP));
}

/* The notification filter, which a fresh stub adds, and no other. */
static void emit_seccomp(struct program *p)
{
	const uint64_t notify = STUB_CONFIG_ADDR(notify);

	EMIT(JUMP(BPF_JEQ, SYS_seccomp, 0, 8));
	EMIT(LD(ARG_LO(0)));
	EMIT(JUMP(BPF_JEQ, SECCOMP_SET_MODE_FILTER, 0, 5));
	EMIT(LD(ARG_HI(2)));
	EMIT(JUMP(BPF_JEQ, (uint32_t)(notify >> 32), 0, 3));
	EMIT(LD(ARG_LO(2)));
	EMIT(JUMP(BPF_JEQ, (uint32_t)notify, 0, 1));
	EMIT(RET(SECCOMP_RET_ALLOW));
	EMIT(RET(SECCOMP_RET_TRAP));
}

/*
 * Everything traps unless the syscall instruction is the stub's own and the call one that the
 * protocol knows. What changes memory, clones or ends a thread, and the doorbell, passes here only
 * to be claimed by the notification filter.
 */
unsigned trap_filter(struct sock_filter *insns, uint32_t features)
{
	const uint32_t passed[] = {
		systrap.direct_futexes ? SYS_futex_waitv : SYS_sched_yield,
		SYS_rt_sigreturn,
		SYS_sched_yield,
		SYS_mmap,
		SYS_munmap,
		SYS_mprotect,
		SYS_mremap,
		SYS_madvise,
		SYS_exit,
		SYS_exit_group,
		SYS_sigaltstack,
	};
	struct program program = {insns, 0}, *p = &program;

	filter_emit_text_only(p);
	/* The most frequent first. */
	EMIT(JUMP(BPF_JEQ, DOORBELL_NR, 0, 1));
	EMIT(RET(SECCOMP_RET_ALLOW));
	emit_futex(p);
	if (!(features & STUB_FSGSBASE))
		emit_arch_prctl(p);
	filter_emit_clone(p, SECCOMP_RET_ALLOW);
	emit_seccomp(p);
	filter_emit_numbers(p, passed, ARRAY_SIZE(passed), SECCOMP_RET_ALLOW);
	return p->n;
}

/* Claims what the trap filter let pass and is not harmless in itself. Tiny: the kernel evaluates a
 * filter for every syscall number when it is installed. */
unsigned notify_filter(struct sock_filter *insns, uint32_t features)
{
	struct program program = {insns, 0}, *p = &program;

	EMIT(LD(DATA(nr)));
	if (!(features & STUB_FSGSBASE))
		EMIT(JUMP(BPF_JEQ, SYS_arch_prctl, 5, 0));
	EMIT(JUMP(BPF_JEQ, SYS_futex_waitv, 4, 0));
	EMIT(JUMP(BPF_JEQ, SYS_futex, 3, 0));
	EMIT(JUMP(BPF_JEQ, SYS_rt_sigreturn, 2, 0));
	EMIT(JUMP(BPF_JEQ, SYS_sched_yield, 1, 0));
	EMIT(RET(SECCOMP_RET_USER_NOTIF));
	EMIT(RET(SECCOMP_RET_ALLOW));
	return p->n;
}
