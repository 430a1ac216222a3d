#include "tools/moat/sandbox_flags.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tools/moat/cli.h"

static int take_debug_log(const char *command, struct sandbox_spec *spec, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return cli_error("%s: cannot open the log %s: %s", command, path, strerror(errno));
	if (spec->log_fd >= 0)
		close(spec->log_fd);
	spec->log_fd = fd;
	return 0;
}

int sandbox_flag_take(const char *command, struct sandbox_spec *spec, int flag, const char *value)
{
	switch (flag) {
	case FLAG_NETWORK:
		if (strcmp(value, "none"))
			return cli_error("%s: --network=%s is not supported; only none is", command,
					 value);
		return 0;
	case FLAG_PLATFORM:
		if (strcmp(value, "systrap"))
			return cli_error("%s: no platform '%s'; there is systrap", command, value);
		spec->platform = value;
		return 0;
	case FLAG_STRACE:
		spec->strace = true;
		return 0;
	case FLAG_DEBUG_LOG:
		return take_debug_log(command, spec, value);
	case FLAG_MEMORY:
		if (!parse_size(value, &spec->memory) || spec->memory < 1 << 20)
			return cli_error("%s: --memory must be a size of at least 1M: %s", command,
					 value);
		return 0;
	case FLAG_TIMEOUT:
		if (!parse_duration(value, &spec->timeout_ns))
			return cli_error("%s: --timeout must be a duration, as 90s or 1m30s: %s",
					 command, value);
		return 0;
	case FLAG_MM_COMMANDS:
		if (strcmp(value, "direct") && strcmp(value, "verified"))
			return cli_error("%s: --mm-commands must be direct or verified: %s",
					 command, value);
		spec->direct_mm = !strcmp(value, "direct");
		return 0;
	}
	return cli_error("%s: flag %d", command, flag);
}
