#include "sentry/platform/shared/filter.h"

#include <linux/audit.h>
#include <sys/syscall.h>

void filter_emit_text_only(struct program *p)
{
	EMIT(LD(DATA(arch)));
	EMIT(JUMP(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(LD(DATA(instruction_pointer) + 4));
	EMIT(JUMP(BPF_JEQ, STUB_TEXT >> 32, 1, 0));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(LD(DATA(instruction_pointer)));
	EMIT(JUMP(BPF_JGE, (uint32_t)STUB_TEXT_SIZE, 0, 1));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(LD(DATA(nr)));
}

void filter_emit_clone(struct program *p, uint32_t action)
{
	EMIT(JUMP(BPF_JEQ, SYS_clone, 0, 8));
	EMIT(LD(ARG_HI(0)));
	EMIT(JUMP(BPF_JEQ, 0, 0, 5));
	EMIT(LD(ARG_LO(0)));
	EMIT(JUMP(BPF_JEQ, STUB_FORK_FLAGS, 2, 0));
	EMIT(JUMP(BPF_JEQ, STUB_THREAD_FLAGS, 1, 0));
	EMIT(JUMP(BPF_JEQ, STUB_THREAD_FLAGS | CLONE_SETTLS, 0, 1));
	EMIT(RET(action));
	EMIT(RET(SECCOMP_RET_TRAP));
}

void filter_emit_numbers(struct program *p, const uint32_t *numbers, unsigned n, uint32_t action)
{
	for (unsigned i = 0; i < n; i++)
		EMIT(JUMP(BPF_JEQ, numbers[i], (uint8_t)(n - i), 0));
	EMIT(RET(SECCOMP_RET_TRAP));
	EMIT(RET(action));
}
