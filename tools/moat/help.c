/* moat help [COMMAND] */
#include <stdio.h>
#include <string.h>

#include "tools/moat/cli.h"

static int run_help(const struct cli_options *options, int argc, char **argv)
{
	if (argc > 2)
		return cli_error("help: one command at most");
	if (argc == 2) {
		for (unsigned i = 0; cli_commands[i]; i++) {
			const struct cli_command *c = cli_commands[i];

			if (strcmp(argv[1], c->name))
				continue;
			printf("usage: moat [--rootless] [--debug] %s %s\n\n%s.\n", c->name,
			       c->usage, c->summary);
			if (c->flags)
				printf("\n%s", c->flags);
			return 0;
		}
		return cli_error("help: unknown command '%s'", argv[1]);
	}
	puts("usage: moat [--rootless] [--debug] COMMAND ...\n\n"
	     "Runs programs in a sandbox with a kernel of its own.\n\n"
	     "  --rootless  work as an ordinary user (implied unless started as root)\n"
	     "  --debug     log what moat does\n"
	     "  --version   print the version\n");
	for (unsigned i = 0; cli_commands[i]; i++)
		printf("  %-6s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
	return 0;
}

const struct cli_command cli_help = {
	.name = "help",
	.usage = "[COMMAND]",
	.summary = "Explain moat, or one of its commands",
	.run = run_help,
};
