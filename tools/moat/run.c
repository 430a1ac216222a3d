/* moat run: the container that an OCI bundle describes. */
#include "tools/moat/cli.h"

static int run_run(const struct cli_options *options, int argc, char **argv)
{
	return cli_error("run: not available in this build");
}

const struct cli_command cli_run = {
	.name = "run",
	.usage = "--bundle DIR ID",
	.summary = "Run the container that an OCI bundle describes",
	.run = run_run,
};
