#include "tools/moat/sandbox_flags.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/host/host_features.h"
#include "boot/spec/egress.h"
#include "sentry/platform/platform.h"
#include "tools/moat/cli.h"

static int open_log(const char *command, int *to, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return cli_error("%s: cannot open the log %s: %s", command, path, strerror(errno));
	if (*to >= 0)
		close(*to);
	*to = fd;
	return 0;
}

static int take_network(const char *command, struct sandbox_spec *spec, const char *value)
{
	if (!strcmp(value, "none"))
		spec->network = NETWORK_NONE;
	else if (!strcmp(value, "sandbox"))
		spec->network = NETWORK_SANDBOX;
	else if (!strcmp(value, "host"))
		spec->network = NETWORK_HOST;
	else
		return cli_error("%s: --network must be sandbox, host or none: %s", command, value);
	return 0;
}

static int take_egress(const char *command, struct sandbox_spec *spec, const char *value)
{
	struct net_egress_config *c = spec->egress ? spec->egress : calloc(1, sizeof(*c));
	char err[512];

	if (!c)
		return cli_error("%s: %s", command, strerror(ENOMEM));
	spec->egress = c;
	net_egress_free(c);
	if (egress_read(value, c, err, sizeof(err)))
		return cli_error("%s: --egress: %s", command, err);
	spec->egress_given = true;
	return 0;
}

static int take_without(const char *command, struct sandbox_spec *spec, const char *list)
{
	while (*list) {
		size_t len = strcspn(list, ",");

		if (host_feature_hide(list, len, &spec->platform_without))
			return cli_error(
				"%s: --platform-without: no feature '%.*s' that moat can do "
				"without (see 'moat check')",
				command, (int)len, list);
		list += len + (list[len] == ',');
	}
	return 0;
}

int sandbox_flag_take(const char *command, struct sandbox_spec *spec, int flag, const char *value)
{
	switch (flag) {
	case FLAG_NETWORK:
		return take_network(command, spec, value);
	case FLAG_EGRESS:
		return take_egress(command, spec, value);
	case FLAG_EGRESS_LOG:
		return open_log(command, &spec->egress_log_fd, value);
	case FLAG_PLATFORM:
		spec->platform = platform_find(value);
		if (!spec->platform)
			return cli_error("%s: no platform '%s'; there are systrap and ptrace",
					 command, value);
		return 0;
	case FLAG_PLATFORM_WITHOUT:
		return take_without(command, spec, value);
	case FLAG_REQUIRE_NAMESPACES:
		spec->require_namespaces = true;
		return 0;
	case FLAG_STRACE:
		spec->strace = true;
		return 0;
	case FLAG_STATS:
		spec->stats = true;
		return 0;
	case FLAG_DEBUG_LOG:
		return open_log(command, &spec->log_fd, value);
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
	case FLAG_DIRECTFS:
		if (value && strcmp(value, "true") && strcmp(value, "false"))
			return cli_error("%s: --directfs must be true or false: %s", command,
					 value);
		spec->through_gofer = value && !strcmp(value, "false");
		return 0;
	case FLAG_FILE_ACCESS:
		if (strcmp(value, "shared") && strcmp(value, "exclusive"))
			return cli_error("%s: --file-access must be shared or exclusive: %s",
					 command, value);
		spec->file_access = *value == 's' ? ACCESS_SHARED : ACCESS_EXCLUSIVE;
		return 0;
	}
	return cli_error("%s: flag %d", command, flag);
}

int sandbox_flags_global(const char *command, const struct cli_options *options,
			 struct sandbox_spec *spec)
{
	int ret = 0;

	if (options->egress && !spec->egress_given)
		ret = take_egress(command, spec, options->egress);
	if (!ret && options->egress_log && spec->egress_log_fd < 0)
		ret = open_log(command, &spec->egress_log_fd, options->egress_log);
	return ret;
}
