/* Starting the sandbox that a subcommand has specified. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/host.h"
#include "base/log.h"
#include "boot/net/passt.h"
#include "boot/sandbox/sandbox.h"
#include "sentry/platform/platform.h"
#include "tools/moat/cli.h"

/* The sandbox gets an open file description of its own for the terminal, so that it may make it
 * non-blocking without the caller's shell noticing. */
static void reopen_terminal(struct sandbox_spec *spec)
{
	int fd = open("/proc/self/fd/0", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < 3; i++)
		spec->stdio[i] = fd;
}

/* A link to a user-mode network, before the program runs. 0, or the exit status after a message;
 * the sandbox is gone then. */
static int set_up_network(struct sandbox_spec *spec, struct sandbox *sb, pid_t *network)
{
	char err[600];
	int status = sandbox_wait_created(sb, err, sizeof(err));

	if (status)
		return status == SANDBOX_CONFINED ? status : (cli_error("%s", err), status);
	*network = passt_start(spec->publish, sb->client, err, sizeof(err));
	if (*network > 0)
		return 0;
	sandbox_kill(sb);
	return cli_error("--network: %s", err);
}

static int run(struct sandbox_spec *spec)
{
	struct sandbox sb;
	char err[600];
	pid_t network = 0;
	int status;

	if (sandbox_start(spec, &sb, err, sizeof(err)))
		return cli_error("%s (see 'moat check')", err);
	if (spec->isolation == ISOLATION_NONE)
		fprintf(stderr, "moat: warning: no namespaces are to be had here: the boundary is "
				"weaker (see 'moat check')\n");
	if (spec->network == NETWORK_SANDBOX) {
		status = set_up_network(spec, &sb, &network);
		if (status)
			return status;
	}
	status = sandbox_wait(spec, &sb);
	if (network > 0)
		waitpid(network, NULL, 0);
	if (sb.platform[0])
		spec->platform = platform_find(sb.platform);
	return status;
}

int cli_run_sandbox(const struct cli_options *options, struct sandbox_spec *spec)
{
	int status;

	spec->rootless = options->rootless;
	spec->debug = options->debug;
	spec->num_cpus = host_cpus();
	if (spec->log_fd >= 0)
		log_set_fd(spec->log_fd);
	if (spec->container.process.terminal)
		reopen_terminal(spec);
	status = run(spec);
	while (status == SANDBOX_CONFINED && spec->isolation < ISOLATION_NONE) {
		spec->isolation++;
		status = run(spec);
	}
	return status;
}

int cli_launch(const struct cli_options *options, struct sandbox_spec *spec)
{
	int status = cli_run_sandbox(options, spec);

	spec_free(spec);
	return status;
}
