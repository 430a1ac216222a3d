/* The zygote of the ptrace platform: sets up what its children inherit, then does nothing more by
 * itself. */
#include <signal.h>
#include <sys/syscall.h>

#include "../../shared/stub/stub.h"

void traced_zygote(uint64_t stub_vdso)
{
	/* The faults whose frames the tracer looks at. The handler never runs: see fault.c. */
	static const unsigned char signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	const stack_t none = {.ss_flags = SS_DISABLE};
	long ret;

	/* The sentry's main thread may have had one. */
	stub_syscall(SYS_sigaltstack, (long)&none, 0, 0, 0, 0, 0);
	set_handlers(signals, sizeof(signals), traced_parked);
	ret = install_filter(&stub_config.trap, 0);
	if (ret)
		stub_syscall(SYS_exit_group, -ret, 0, 0, 0, 0, 0);
	/* The filter answers ENOSYS until there is a tracer, who takes the answer from the
	 * registers and does not let us come back here. */
	for (;;)
		stub_syscall(DOORBELL_NR, (long)stub_vdso, 0, 0, 0, 0, 0);
}
