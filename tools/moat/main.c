/* moat: finds the subcommand and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "boot/sandbox.h"
#include "tools/moat/cli.h"

#ifndef MOAT_VERSION
#define MOAT_VERSION "0.0"
#endif

const struct cli_command *const cli_commands[] = {&cli_do, &cli_run, &cli_help, NULL};

int cli_error(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* A file name may hold anything; the message stays one line of text. */
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	fprintf(stderr, "moat: %s\n", line);
	return EXIT_MOAT_FAILED;
}

int cli_bad_flag(const char *command, char **argv, int result)
{
	const char *flag = argv[optind - 1];

	if (result == ':')
		return cli_error("%s: flag %s needs a value (see 'moat help %s')", command, flag,
				 command);
	/* A short flag: getopt does not advance optind inside a cluster. */
	if (optopt && optopt < 256 && strncmp(flag, "--", 2))
		return cli_error("%s: unknown flag -%c (see 'moat help %s')", command, optopt,
				 command);
	if (optopt)
		return cli_error("%s: flag %s takes no value (see 'moat help %s')", command, flag,
				 command);
	return cli_error("%s: unknown flag %s (see 'moat help %s')", command, flag, command);
}

/* What is opened later must not become 0, 1 or 2. */
static void open_missing_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	static const struct option flags[] = {
		{"rootless", no_argument, NULL, 'r'},
		{"debug", no_argument, NULL, 'd'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct cli_options options = {.rootless = geteuid() != 0};
	int c;

	open_missing_stdio();
	signal(SIGPIPE, SIG_IGN);
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:hv", flags, NULL)) != -1) {
		switch (c) {
		case 'r':
			options.rootless = true;
			break;
		case 'd':
			options.debug = true;
			break;
		case 'v':
			printf("moat %s\n", MOAT_VERSION);
			return 0;
		case 'h':
			return cli_help.run(&options, 1, (char *[]){"help", NULL});
		default:
			return cli_error("unknown flag %s (see 'moat help')", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return cli_error("no command given (see 'moat help')");
	if (options.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	for (unsigned i = 0; cli_commands[i]; i++) {
		if (strcmp(argv[optind], cli_commands[i]->name))
			continue;
		argc -= optind;
		argv += optind;
		optind = 0; /* glibc: start over, with a new option string */
		return cli_commands[i]->run(&options, argc, argv);
	}
	return cli_error("unknown command '%s' (see 'moat help')", argv[optind]);
}
