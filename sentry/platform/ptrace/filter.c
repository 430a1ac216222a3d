/*
 * The seccomp program of traced stubs. Guest code does not come to it: PTRACE_SYSEMU stops a thread
 * before. It is there for threads whose tracer is gone or has missed something: what a guest calls
 * traps, which kills a process that is not traced; and what the stub's text calls is done only if a
 * tracer has seen it (without one the answer is ENOSYS). Parked threads pause.
 */
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "base/compiler.h"
#include "sentry/platform/ptrace/ptrace.h"
#include "sentry/platform/shared/filter.h"

unsigned traced_filter(struct sock_filter *insns)
{
	static const uint32_t asked[] = {
		SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_exit, DOORBELL_NR,
	};
	struct program program = {insns, 0}, *p = &program;

	filter_emit_text_only(p);
	filter_emit_clone(p, SECCOMP_RET_TRACE);
	EMIT(JUMP(BPF_JEQ, SYS_pause, 0, 1));
	EMIT(RET(SECCOMP_RET_ALLOW));
	filter_emit_numbers(p, asked, ARRAY_SIZE(asked), SECCOMP_RET_TRACE);
	return p->n;
}
