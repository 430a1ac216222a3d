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
static const struct sock_filter sandbox_tracer_program[] = {
#include "filter/sandbox-tracer.inc"
};
static const struct sock_filter sandbox_links_program[] = {
#include "filter/sandbox-links.inc"
};
static const struct sock_filter sandbox_tracer_links_program[] = {
#include "filter/sandbox-tracer-links.inc"
};
static const struct sock_filter sandbox_host_program[] = {
#include "filter/sandbox-host.inc"
};
static const struct sock_filter sandbox_tracer_host_program[] = {
#include "filter/sandbox-tracer-host.inc"
};
static const struct sock_filter gofer_program[] = {
#include "filter/gofer.inc"
};

static const struct sock_filter resolver_program[] = {
#include "filter/resolver.inc"
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

int filter_install_sandbox(bool traces, enum filter_network network)
{
#if defined(MOAT_DEBUG) && !defined(MOAT_FILTER_SANITIZERS)
	/* For finding out what a new part needs; release builds have no way around the filter. */
	if (getenv("MOAT_NO_FILTER"))
		return 0;
#endif
#define PROGRAM(name)                                                                              \
	{                                                                                          \
		name, ARRAY_SIZE(name)                                                             \
	}
	static const struct {
		const struct sock_filter *insns;
		size_t n;
	} programs[2][3] = {
		{[FILTER_NO_NETWORK] = PROGRAM(sandbox_program),
		 [FILTER_LINKS] = PROGRAM(sandbox_links_program),
		 [FILTER_HOST_SOCKETS] = PROGRAM(sandbox_host_program)},
		{[FILTER_NO_NETWORK] = PROGRAM(sandbox_tracer_program),
		 [FILTER_LINKS] = PROGRAM(sandbox_tracer_links_program),
		 [FILTER_HOST_SOCKETS] = PROGRAM(sandbox_tracer_host_program)},
	};

	return install(programs[traces][network].insns, programs[traces][network].n);
}

int filter_install_gofer(void)
{
	return install(gofer_program, ARRAY_SIZE(gofer_program));
}

int filter_install_resolver(void)
{
	return install(resolver_program, ARRAY_SIZE(resolver_program));
}
