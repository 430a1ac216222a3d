/* moat pool: sandboxes that wait, so that whoever wants one need not. */
#include "tools/moat/pool.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/compiler.h"
#include "tools/moat/cli.h"

enum { FLAG_SOCKET = 1000, FLAG_SIZE, FLAG_MAX, FLAG_MEMORY, FLAG_DISK, FLAG_ROOTFS, FLAG_VOLUME };

static const struct option flags[] = {
	{"socket", required_argument, NULL, FLAG_SOCKET},
	{"size", required_argument, NULL, FLAG_SIZE},
	{"max", required_argument, NULL, FLAG_MAX},
	{"memory", required_argument, NULL, FLAG_MEMORY},
	{"disk", required_argument, NULL, FLAG_DISK},
	{"rootfs", required_argument, NULL, FLAG_ROOTFS},
	{"volume", required_argument, NULL, FLAG_VOLUME},
	{0},
};

static int take_count(const char *flag, const char *text, unsigned *out)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || n > POOL_SIZE_MAX)
		return cli_error("pool: %s must be 0 to %d: %s", flag, POOL_SIZE_MAX, text);
	*out = (unsigned)n;
	return 0;
}

static int take_flag(struct pool_settings *s, char ***volumes, int flag, const char *value)
{
	switch (flag) {
	case FLAG_SOCKET:
		s->socket = value;
		return 0;
	case FLAG_SIZE:
		return take_count("--size", value, &s->size);
	case FLAG_MAX:
		return take_count("--max", value, &s->max);
	case FLAG_MEMORY:
		if (!parse_size(value, &s->config.memory) || s->config.memory < 1 << 20)
			return cli_error("pool: --memory must be a size of at least 1M: %s", value);
		return 0;
	case FLAG_DISK:
		if (!parse_size(value, &s->config.disk) || s->config.disk < 1 << 16)
			return cli_error("pool: --disk must be a size of at least 64K: %s", value);
		return 0;
	case FLAG_ROOTFS:
		s->config.rootfs = value;
		return 0;
	case FLAG_VOLUME:
		return strv_append(volumes, value) ? 0 : cli_error("pool: no memory");
	}
	return cli_error("pool: flag %d", flag);
}

/* Asks the daemon, and prints what it answers. */
static int ask(const char *path, const char *what)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int __close_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char text[1024];
	ssize_t n;

	if (strlen(path) >= sizeof(addr.sun_path))
		return cli_error("pool: the socket's path is too long");
	strcpy(addr.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return cli_error("pool: %s: %s", path, strerror(errno));
	if (send(fd, what, strlen(what), MSG_NOSIGNAL) < 0 ||
	    (n = recv(fd, text, sizeof(text), 0)) <= 0)
		return cli_error("pool: %s: the daemon has hung up", path);
	printf("%.*s\n", (int)n, text);
	return strncmp(text, "error", 5) ? 0 : EXIT_CLI_FAILED;
}

static int run_command(struct pool_settings *s, int argc, char **argv)
{
	char text[64];
	unsigned n;

	if (!argc)
		return pool_serve(s);
	if (!strcmp(argv[0], "resize") && argc == 2) {
		if (take_count("the size", argv[1], &n))
			return EXIT_CLI_FAILED;
		snprintf(text, sizeof(text), "resize %u", n);
		return ask(s->socket, text);
	}
	if (argc == 1 && (!strcmp(argv[0], "status") || !strcmp(argv[0], "drain")))
		return ask(s->socket, argv[0]);
	return cli_error("pool: there are status, drain and resize N (see 'moat help pool')");
}

static int run_pool(const struct cli_options *options, int argc, char **argv)
{
	struct pool_settings s = {
		.config = {.size = sizeof(s.config), .program = "/proc/self/exe"},
		.size = 4,
		.max = 256,
	};
	char **volumes = NULL, path[PATH_MAX];
	int c, ret = 0;

	snprintf(path, sizeof(path), "%s/pool.sock", options->root);
	s.socket = path;
	while (!ret && (c = getopt_long(argc, argv, "+:", flags, NULL)) != -1)
		ret = c == '?' || c == ':' ? cli_bad_flag("pool", argv, c)
					   : take_flag(&s, &volumes, c, optarg);
	s.config.volumes = (const char *const *)volumes;
	if (!ret)
		ret = run_command(&s, argc - optind, argv + optind);
	for (char **v = volumes; v && *v; v++)
		free(*v);
	free(volumes);
	return ret;
}

const struct cli_command cli_pool = {
	.name = "pool",
	.usage = "[flags] [status|drain|resize N]",
	.summary = "Keep sandboxes ready for programs that use libmoat or the Python package",
	.flags =
		"  --socket PATH           where it is asked for them (default: ROOT/pool.sock)\n"
		"  --size N                how many wait (default 4)\n"
		"  --max N                 how many there may be, those in use included (default "
		"256);\n"
		"                          who asks beyond that waits, first come, first served\n"
		"  --memory SIZE           of each sandbox, as 512M\n"
		"  --disk SIZE             of /w and of /tmp, each, in memory (default 512M)\n"
		"  --rootfs DIR            an image's directory, shown read-only; default: the "
		"host's\n"
		"                          programs and libraries\n"
		"  --volume SRC:DST[:rw]   show the host's SRC at DST, read-only unless rw\n"
		"\n"
		"Whoever can open the socket (its owner) is given a sandbox of its own, which ends "
		"with\n"
		"the client; no two clients ever have the same. status prints JSON; drain ends "
		"those\n"
		"that wait and hands out no more; resize changes --size.\n",
	.run = run_pool,
};
