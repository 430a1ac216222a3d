/* Starting the sandbox that a subcommand has specified. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "boot/sandbox.h"
#include "tools/moat/cli.h"

static int num_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return CPU_COUNT(&set);
}

/* The sandbox gets an open file description of its own for the terminal, so that it may make it
 * non-blocking without the caller's shell noticing. */
static void reopen_terminal(struct sandbox_spec *spec)
{
	int fd = open("/proc/self/fd/0", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		spec->stdio[i] = fd;
}

int cli_launch(const struct cli_options *options, struct sandbox_spec *spec)
{
	struct sandbox sb;
	char err[256];
	int status;

	spec->rootless = options->rootless;
	spec->debug = options->debug;
	spec->num_cpus = num_cpus();
	if (spec->log_fd >= 0)
		log_set_fd(spec->log_fd);
	if (spec->terminal)
		reopen_terminal(spec);
	if (sandbox_start(spec, &sb, err, sizeof(err)))
		status = cli_error("%s", err);
	else
		status = sandbox_wait(spec, &sb);
	spec_free(spec);
	return status;
}
