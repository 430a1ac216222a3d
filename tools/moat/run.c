/* moat run: the container that an OCI bundle describes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/oci.h"
#include "tools/moat/cli.h"
#include "tools/moat/sandbox_flags.h"

/* As containerd's and Docker's; far above any real one. */
#define CONFIG_MAX (10 << 20)

enum { FLAG_BUNDLE = FLAG_OWN };

static const struct option flags[] = {
	{"bundle", required_argument, NULL, FLAG_BUNDLE},
	SANDBOX_FLAGS,
	{0},
};

/* runc's rule. */
static bool is_valid_id(const char *id)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_+-.";

	return *id && strlen(id) <= 1024 && strspn(id, allowed) == strlen(id) && strcmp(id, ".") &&
	       strcmp(id, "..");
}

/* The text of bundle/config.json, malloc'd; NULL after a message. */
static char *read_config(const char *bundle, size_t *len)
{
	char path[PATH_MAX], *text;
	int __close_fd fd = -1;
	struct stat st;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/config.json", bundle) >= (int)sizeof(path)) {
		cli_error("run: --bundle: %s", strerror(ENAMETOOLONG));
		return NULL;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		cli_error("run: %s: %s", path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX) {
		cli_error("run: %s: %s", path,
			  S_ISREG(st.st_mode) ? "larger than 10 MiB" : "not a regular file");
		return NULL;
	}
	text = malloc(st.st_size + 1);
	n = text ? read(fd, text, st.st_size) : -1;
	if (n < 0) {
		cli_error("run: %s: %s", path, strerror(errno));
		free(text);
		return NULL;
	}
	*len = n;
	return text;
}

static int build_spec(struct sandbox_spec *spec, const char *bundle)
{
	char *__free text = NULL;
	char err[512];
	size_t len;

	text = read_config(bundle, &len);
	if (!text)
		return 125;
	if (oci_parse(text, len, spec, err, sizeof(err)) ||
	    oci_resolve(spec, bundle, err, sizeof(err)))
		return cli_error("run: %s", err);
	if (spec->terminal && !isatty(STDIN_FILENO))
		return cli_error("run: config.json: process.terminal: standard input is not a "
				 "terminal");
	return 0;
}

static int run_run(const struct cli_options *options, int argc, char **argv)
{
	const char *bundle = ".";
	struct sandbox_spec spec;
	int c, ret = 0;

	spec_init(&spec);
	while (!ret && (c = getopt_long(argc, argv, "+:b:", flags, NULL)) != -1) {
		if (c == '?' || c == ':')
			ret = cli_bad_flag("run", argv, c);
		else if (c == FLAG_BUNDLE || c == 'b')
			bundle = optarg;
		else
			ret = sandbox_flag_take("run", &spec, c, optarg);
	}
	if (!ret && argc - optind != 1)
		ret = cli_error("run: %s (see 'moat help run')",
				optind == argc ? "no container id given" : "one id only");
	if (!ret && !is_valid_id(argv[optind]))
		ret = cli_error("run: '%s' is not a valid container id", argv[optind]);
	if (!ret)
		ret = build_spec(&spec, bundle);
	if (!ret)
		return cli_launch(options, &spec);
	spec_free(&spec);
	return ret;
}

const struct cli_command cli_run = {
	.name = "run",
	.usage = "[flags] --bundle DIR ID",
	.summary = "Run the container that an OCI bundle describes",
	.flags = "  --bundle DIR, -b DIR    holds config.json (default: the current "
		 "directory)\n" SANDBOX_FLAGS_HELP,
	.run = run_run,
};
