/* Installing the programs that the generator made. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"
#include "filter/filter.h"

static const struct sock_filter sandbox_program[] = {
#include "filter/sandbox.inc"
};
static const struct sock_filter gofer_program[] = {
#include "filter/gofer.inc"
};

static int install(const struct sock_filter *insns, size_t n)
{
	struct sock_fprog program = {.len = (unsigned short)n,
				     .filter = (struct sock_filter *)insns};
	long ret =
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);

	/* A positive result is a thread that could not be synchronised. */
	return ret < 0 ? -errno : ret > 0 ? -EBUSY : 0;
}

int filter_install_sandbox(void)
{
#if defined(MOAT_DEBUG) && !defined(MOAT_FILTER_SANITIZERS)
	/* For finding out what a new part needs; release builds have no way around the filter. */
	if (getenv("MOAT_NO_FILTER"))
		return 0;
#endif
	return install(sandbox_program, ARRAY_SIZE(sandbox_program));
}

int filter_install_gofer(void)
{
	return install(gofer_program, ARRAY_SIZE(gofer_program));
}
