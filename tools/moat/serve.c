/* moat serve: moat-serve, a program of its own (tools/serve), since it has libraries that a
 * sandbox's start should not pay for. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/moat/cli.h"

static int run_serve(const struct cli_options *options, int argc, char **argv)
{
	char path[PATH_MAX], self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return cli_error("serve: /proc/self/exe: %s", strerror(errno));
	self[n] = 0;
	/* It starts sandboxes with the moat that it was started by. */
	if (setenv("MOAT", self, 0))
		return cli_error("serve: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s", self);
	slash = strrchr(path, '/');
	if ((size_t)(slash - path) + sizeof("/moat-serve") > sizeof(path))
		return cli_error("serve: %s", strerror(ENAMETOOLONG));
	strcpy(slash, "/moat-serve");
	execv(path, argv);
	if (errno == ENOENT)
		return cli_error("serve: there is no %s: moat was built without libmicrohttpd",
				 path);
	return cli_error("serve: %s: %s", path, strerror(errno));
}

const struct cli_command cli_serve = {
	.name = "serve",
	.usage = "[--unix PATH | --listen ADDRESS:PORT] [flags]",
	.summary = "Serve sandboxes over HTTP, in the shape that judges use",
	.flags = "  --unix PATH             listen at a socket of mode 0600\n"
		 "  --listen ADDRESS:PORT   or at an IPv4 address (default 127.0.0.1:5050); beyond "
		 "loopback\n"
		 "                          a token is needed\n"
		 "  --token-file FILE       who asks must say 'Authorization: Bearer TOKEN'\n"
		 "  --parallel N            programs that run at a time (default 4)\n"
		 "  --rootfs DIR            an image's directory, shown read-only; default: the "
		 "host's\n"
		 "                          programs and libraries\n"
		 "  --memory MEBIBYTES      of each sandbox (default 1024)\n"
		 "  --store MEBIBYTES       of files that are kept for later runs (default 256)\n"
		 "\n"
		 "POST /run, GET and DELETE /file/ID, GET /file, /version, /config, /metrics: "
		 "docs/EMBEDDING.md.\n",
	.run = run_serve,
};
