/*
 * The zygote's beginning: it has the sentry's memory, and the stub's text and STUB_MEMORY over it.
 * No guest code has run anywhere yet.
 */
#include <asm/prctl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "stub.h"

#define USER_END 0x7ffffffff000
#define SA_RESTORER_FLAG 0x04000000
#define MREMAP_MAYMOVE_FIXED 3

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

void set_handlers(const unsigned char *signals, unsigned n, const char *entry)
{
	struct kernel_sigaction sa = {0};
	uint64_t none = 0;

	/* The sentry's own handlers have been inherited, and are not there any more. */
	for (int i = 1; i < NSIG; i++)
		stub_syscall(SYS_rt_sigaction, i, (long)&sa, 0, 8, 0, 0);
	sa.handler = (uint64_t)entry;
	sa.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER_FLAG;
	sa.restorer = (uint64_t)stub_sigreturn;
	for (unsigned i = 0; i < n; i++)
		stub_syscall(SYS_rt_sigaction, signals[i], (long)&sa, 0, 8, 0, 0);
	stub_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, 8, 0, 0);
}

long install_filter(const struct stub_filter *filter, unsigned flags)
{
	return stub_syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, (long)filter, 0, 0, 0);
}

static uint64_t move_vdso(const struct stub_config *config)
{
	uint64_t stub_vdso = STUB_VDSO;

	stub_syscall(SYS_munmap, STUB_VDSO, STUB_VDSO_SIZE, 0, 0, 0, 0);
	for (uint64_t i = 0; i < config->vdso_pieces; i++) {
		uint64_t start = config->vdso_piece[i].start, size = config->vdso_piece[i].size;
		uint64_t to = STUB_VDSO + (start - config->vdso_start);

		if ((uint64_t)stub_syscall(SYS_mremap, start, size, size, MREMAP_MAYMOVE_FIXED, to,
					   0) != to)
			stub_vdso = 0;
	}
	return stub_vdso;
}

void zygote_main(struct slot *memory) __attribute__((noreturn));
void zygote_main(struct slot *memory)
{
	uint64_t stub_vdso = move_vdso(&stub_config);
	uint64_t size = has(STUB_TRACED) ? ZYGOTE_STACK_TOP : STUB_MEMORY_SIZE;

	stub_syscall(SYS_munmap, 0, STUB_TEXT, 0, 0, 0, 0);
	stub_syscall(SYS_munmap, STUB_TEXT + STUB_TEXT_SIZE,
		     STUB_MEMORY - STUB_TEXT - STUB_TEXT_SIZE, 0, 0, 0, 0);
	stub_syscall(SYS_munmap, STUB_MEMORY + size, STUB_MEMORY_SIZE - size, 0, 0, 0, 0);
	stub_syscall(SYS_munmap, STUB_END, USER_END - STUB_END, 0, 0, 0, 0);
	/* Where the sentry keeps its threads' storage is nothing for guests to know. */
	stub_syscall(SYS_arch_prctl, ARCH_SET_FS, 0, 0, 0, 0, 0);
	if (has(STUB_TRACED))
		traced_zygote(stub_vdso);
	systrap_zygote(memory, stub_vdso);
}
