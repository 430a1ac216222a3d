/* moat create, moat run: a container from an OCI bundle. */
#include <stdlib.h>
#include <string.h>

#include "tools/moat/bundle.h"
#include "tools/moat/sandbox_flags.h"

enum {
	FLAG_BUNDLE = FLAG_OWN,
	FLAG_PID_FILE,
	FLAG_CONSOLE_SOCKET,
	FLAG_PIDFD_SOCKET,
	FLAG_PRESERVE_FDS,
	FLAG_OVERLAY,
	FLAG_DETACH,
	FLAG_KEEP,
	FLAG_IGNORED,
};

#define BUNDLE_FLAGS                                                                               \
	{"bundle", required_argument, NULL, FLAG_BUNDLE},                                          \
		{"pid-file", required_argument, NULL, FLAG_PID_FILE},                              \
		{"console-socket", required_argument, NULL, FLAG_CONSOLE_SOCKET},                  \
		{"pidfd-socket", required_argument, NULL, FLAG_PIDFD_SOCKET},                      \
		{"preserve-fds", required_argument, NULL, FLAG_PRESERVE_FDS},                      \
		{"overlay2", required_argument, NULL, FLAG_OVERLAY},                               \
		{"no-pivot", no_argument, NULL, FLAG_IGNORED},                                     \
	{                                                                                          \
		"no-new-keyring", no_argument, NULL, FLAG_IGNORED                                  \
	}

static const struct option create_flags[] = {
	BUNDLE_FLAGS,
	SANDBOX_FLAGS,
	{0},
};
static const struct option run_flags[] = {
	BUNDLE_FLAGS,
	{"detach", no_argument, NULL, FLAG_DETACH},
	{"keep", no_argument, NULL, FLAG_KEEP},
	{"no-subreaper", no_argument, NULL, FLAG_IGNORED},
	SANDBOX_FLAGS,
	{0},
};

static int take_overlay(struct container_flags *f, const char *value)
{
	if (strcmp(value, "none") && strcmp(value, "root:memory") && strcmp(value, "all:memory"))
		return cli_error("%s: --overlay2 must be none, root:memory or all:memory: %s",
				 f->command, value);
	f->overlay = value;
	return 0;
}

static int take_flag(struct new_container *c, struct container_flags *f, int flag,
		     const char *value)
{
	char *end;

	switch (flag) {
	case 'b':
	case FLAG_BUNDLE:
		f->bundle = value;
		return 0;
	case FLAG_PID_FILE:
		f->pid_file = value;
		return 0;
	case FLAG_CONSOLE_SOCKET:
		f->console_socket = *value ? value : NULL;
		return 0;
	case FLAG_PIDFD_SOCKET:
		f->pidfd_socket = *value ? value : NULL;
		return 0;
	case FLAG_PRESERVE_FDS:
		f->preserve_fds = (int)strtol(value, &end, 10);
		return *end || !*value ? cli_error("%s: --preserve-fds must be a number: %s",
						   f->command, value)
				       : 0;
	case FLAG_OVERLAY:
		return take_overlay(f, value);
	case 'd':
	case FLAG_DETACH:
		f->detach = true;
		return 0;
	case FLAG_KEEP:
		f->keep = true;
		return 0;
	case FLAG_IGNORED:
		/* Ways of runc's to set up what moat has no use for. */
		return 0;
	}
	return sandbox_flag_take(f->command, &c->spec, flag, value);
}

static int parse(struct new_container *c, struct container_flags *f, const struct option *flags,
		 const char *short_flags, int argc, char **argv)
{
	int ch, ret = 0;

	while (!ret && (ch = getopt_long(argc, argv, short_flags, flags, NULL)) != -1)
		ret = ch == '?' || ch == ':' ? cli_bad_flag(f->command, argv, ch)
					     : take_flag(c, f, ch, optarg);
	if (!ret && argc - optind != 1)
		ret = cli_error("%s: %s (see 'moat help %s')", f->command,
				optind == argc ? "no container id given" : "one id only",
				f->command);
	return ret ? ret : sandbox_flags_global(f->command, c->options, &c->spec);
}

static int run_create(const struct cli_options *options, int argc, char **argv)
{
	struct container_flags f = {.command = "create", .bundle = ".", .detach = true};
	struct new_container c = {.options = options, .flags = &f, .lock = -1};
	int ret;

	spec_init(&c.spec);
	c.spec.network = NETWORK_SANDBOX;
	ret = parse(&c, &f, create_flags, "+:b:", argc, argv);
	if (!ret)
		ret = container_new(&c, argv[optind]);
	if (!ret)
		ret = container_detach(&c);
	container_free(&c);
	return ret ? EXIT_CLI_FAILED : 0;
}

static int run_run(const struct cli_options *options, int argc, char **argv)
{
	struct container_flags f = {.command = "run", .bundle = "."};
	struct new_container c = {.options = options, .flags = &f, .lock = -1};
	int ret;

	spec_init(&c.spec);
	c.spec.network = NETWORK_SANDBOX;
	ret = parse(&c, &f, run_flags, "+:b:d", argc, argv);
	if (!ret)
		ret = container_new(&c, argv[optind]);
	if (!ret && f.detach)
		ret = container_detach(&c);
	if (ret) {
		/* As runc: other statuses are the program's. */
		ret = EXIT_CLI_FAILED;
	} else if (f.detach) {
		ret = start_container(options, &c.state);
	} else if (c.pod) {
		ret = pod_run(&c);
	} else {
		ret = container_run(&c);
	}
	container_free(&c);
	return ret;
}

#define BUNDLE_FLAGS_HELP                                                                          \
	"  --bundle DIR, -b DIR    holds config.json (default: the current directory)\n"           \
	"  --pid-file FILE         write the number of the container's process to FILE\n"          \
	"  --console-socket PATH   send the master of the container's terminal to this socket\n"   \
	"  --pidfd-socket PATH     send a pidfd of the container's process to this socket\n"       \
	"  --preserve-fds N        pass N descriptors more, from 3 on\n"                           \
	"  --overlay2 HOW          none (default): changes go to the bundle's root file system;\n" \
	"                          root:memory: they stay in memory; all:memory: and so do\n"      \
	"                          those to volumes that are folders\n"

const struct cli_command cli_create = {
	.name = "create",
	.usage = "[flags] --bundle DIR ID",
	.summary = "Create a container from an OCI bundle, without starting it",
	.flags = BUNDLE_FLAGS_HELP SANDBOX_FLAGS_HELP,
	.run = run_create,
};

const struct cli_command cli_run = {
	.name = "run",
	.usage = "[flags] --bundle DIR ID",
	.summary = "Create a container from an OCI bundle and run it",
	.flags = BUNDLE_FLAGS_HELP
	"  --detach, -d            do not wait for its end\n"
	"  --keep                  leave it there, stopped, when it has ended\n" SANDBOX_FLAGS_HELP,
	.run = run_run,
};
