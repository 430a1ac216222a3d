/* moat: finds the subcommand and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/log.h"
#include "boot/sandbox/sandbox.h"
#include "boot/oci/state.h"
#include "tools/moat/cli.h"

const struct cli_command *const cli_commands[] = {
	&cli_do,       &cli_run,     &cli_create,    &cli_start,  &cli_state,	&cli_kill,
	&cli_delete,   &cli_exec,    &cli_list,	     &cli_ps,	  &cli_wait,	&cli_pause,
	&cli_resume,   &cli_update,  &cli_events,    &cli_egress, &cli_runcext, &cli_spec,
	&cli_features, &cli_install, &cli_uninstall, &cli_check,  &cli_sandbox, &cli_mcp,
	&cli_pool,     &cli_serve,   &cli_help,	     NULL};

static const char *error_log;
static bool error_log_json;

void cli_log_to(const char *path, bool json)
{
	error_log = path;
	error_log_json = json;
}

/* A line of the --log file, in logrus's form: what calls a runtime reads its last error there. */
static void log_error_line(const char *text)
{
	int __close_fd fd =
		open(error_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
	char when[64], *__free line = NULL;
	json_t *j;
	int n;

	if (fd < 0)
		return;
	format_time(clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC * NSEC_PER_SEC, when, sizeof(when));
	if (error_log_json) {
		j = json_pack("{s:s, s:s, s:s}", "level", "error", "msg", text, "time", when);
		line = j ? json_dumps(j, JSON_COMPACT) : NULL;
		json_decref(j);
		n = line ? dprintf(fd, "%s\n", line) : 0;
	} else {
		n = dprintf(fd, "time=\"%s\" level=error msg=\"%s\"\n", when, text);
	}
	if (n < 0)
		fprintf(stderr, "moat: %s: %s\n", error_log, strerror(errno));
}

static void report(const char *fmt, va_list ap)
{
	char line[2048];

	vsnprintf(line, sizeof(line), fmt, ap);
	/* A file name may hold anything; the message stays one line of text. */
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (error_log)
		log_error_line(line);
	fprintf(stderr, "moat: %s\n", line);
}

int cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(fmt, ap);
	va_end(ap);
	return EXIT_MOAT_FAILED;
}

int cli_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(fmt, ap);
	va_end(ap);
	return EXIT_CLI_FAILED;
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

enum { FLAG_ROOT = 1000, FLAG_LOG, FLAG_LOG_FORMAT, FLAG_EGRESS, FLAG_EGRESS_LOG, FLAG_IGNORED };

static const struct option global_flags[] = {
	{"rootless", optional_argument, NULL, 'r'},
	{"debug", no_argument, NULL, 'd'},
	{"version", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"root", required_argument, NULL, FLAG_ROOT},
	{"log", required_argument, NULL, FLAG_LOG},
	{"log-format", required_argument, NULL, FLAG_LOG_FORMAT},
	{"egress", required_argument, NULL, FLAG_EGRESS},
	{"egress-log", required_argument, NULL, FLAG_EGRESS_LOG},
	{"systemd-cgroup", no_argument, NULL, FLAG_IGNORED},
	{0},
};

struct globals {
	struct cli_options options;
	const char *log, *log_format;
};

/* Takes one flag that stands before the command. -1, or the exit status. */
static int take_global(struct globals *g, int c, char **argv)
{
	switch (c) {
	case 'r':
		if (optarg && !strcmp(optarg, "auto"))
			g->options.rootless = geteuid() != 0;
		else if (!optarg || !strcmp(optarg, "true"))
			g->options.rootless = true;
		else if (strcmp(optarg, "false"))
			return cli_error("--rootless must be true, false or auto: %s", optarg);
		return -1;
	case 'd':
		g->options.debug = true;
		return -1;
	case 'v':
		printf("moat %s\nspec: " OCI_VERSION "\n", MOAT_VERSION);
		return 0;
	case 'h':
		return cli_help.run(&g->options, 1, (char *[]){"help", NULL});
	case FLAG_ROOT:
		g->options.root = optarg;
		return -1;
	case FLAG_LOG:
		g->log = optarg;
		return -1;
	case FLAG_LOG_FORMAT:
		if (strcmp(optarg, "json") && strcmp(optarg, "text"))
			return cli_fail("unknown log-format \"%s\"", optarg);
		g->log_format = optarg;
		return -1;
	case FLAG_EGRESS:
		g->options.egress = optarg;
		return -1;
	case FLAG_EGRESS_LOG:
		g->options.egress_log = optarg;
		return -1;
	case FLAG_IGNORED:
		return -1;
	default:
		return cli_error("unknown flag %s (see 'moat help')", argv[optind - 1]);
	}
}

/* Root of a user namespace only: its ids are not all there are. */
static bool in_user_namespace(void)
{
	FILE *f = fopen("/proc/self/uid_map", "re");
	unsigned long inside, outside, n = 0;
	bool whole = f && fscanf(f, "%lu %lu %lu", &inside, &outside, &n) == 3 && !inside &&
		     !outside && n == UINT32_MAX;

	if (f)
		fclose(f);
	return f && !whole;
}

/* Where runc would have its state, too: an ordinary user's is in XDG_RUNTIME_DIR, also if he is
 * root of a namespace of his own, as under Podman. */
static const char *default_root(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR"), *user = getenv("USER");
	char *path;

	if (!dir || !*dir ||
	    (!geteuid() && (!in_user_namespace() || (user && !strcmp(user, "root")))))
		return STATE_DEFAULT_ROOT;
	return asprintf(&path, "%s/moat", dir) < 0 ? STATE_DEFAULT_ROOT : path;
}

int main(int argc, char **argv)
{
	struct globals g = {.options = {.rootless = geteuid() != 0, .root = NULL}};
	int c, status;

	open_missing_stdio();
	signal(SIGPIPE, SIG_IGN);
	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:hv", global_flags, NULL)) != -1) {
		status = take_global(&g, c, argv);
		if (status >= 0)
			return status;
	}
	if (!g.options.root)
		g.options.root = default_root();
	if (g.log && *g.log)
		cli_log_to(g.log, g.log_format && !strcmp(g.log_format, "json"));
	if (optind == argc)
		return cli_error("no command given (see 'moat help')");
	if (g.options.debug)
		log_set_level(LOG_LEVEL_DEBUG);
	for (unsigned i = 0; cli_commands[i]; i++) {
		if (strcmp(argv[optind], cli_commands[i]->name))
			continue;
		argc -= optind;
		argv += optind;
		optind = 0; /* glibc: start over, with a new option string */
		return cli_commands[i]->run(&g.options, argc, argv);
	}
	return cli_error("unknown command '%s' (see 'moat help')", argv[optind]);
}
