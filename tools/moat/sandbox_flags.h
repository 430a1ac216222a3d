/* The flags that every subcommand which starts a sandbox has. */
#ifndef MOAT_TOOLS_SANDBOX_FLAGS_H
#define MOAT_TOOLS_SANDBOX_FLAGS_H

#include <getopt.h>

#include "tools/moat/cli.h"

enum {
	FLAG_NETWORK = 1000,
	FLAG_PLATFORM,
	FLAG_PLATFORM_WITHOUT,
	FLAG_STRACE,
	FLAG_STATS,
	FLAG_DEBUG_LOG,
	FLAG_MEMORY,
	FLAG_TIMEOUT,
	FLAG_REQUIRE_NAMESPACES,
	FLAG_DIRECTFS,
	FLAG_FILE_ACCESS,
	FLAG_EGRESS,
	FLAG_EGRESS_LOG,
	FLAG_OWN, /* the first of a subcommand's own */
};

/* Entries for its array of long options, and lines for its help. */
#define SANDBOX_FLAGS                                                                              \
	{"network", required_argument, NULL, FLAG_NETWORK},                                        \
		{"egress", required_argument, NULL, FLAG_EGRESS},                                  \
		{"egress-log", required_argument, NULL, FLAG_EGRESS_LOG},                          \
		{"platform", required_argument, NULL, FLAG_PLATFORM},                              \
		{"platform-without", required_argument, NULL, FLAG_PLATFORM_WITHOUT},              \
		{"require-namespaces", no_argument, NULL, FLAG_REQUIRE_NAMESPACES},                \
		{"strace", no_argument, NULL, FLAG_STRACE},                                        \
		{"stats", no_argument, NULL, FLAG_STATS},                                          \
		{"debug-log", required_argument, NULL, FLAG_DEBUG_LOG},                            \
		{"memory", required_argument, NULL, FLAG_MEMORY},                                  \
		{"timeout", required_argument, NULL, FLAG_TIMEOUT},                                \
		{"directfs", optional_argument, NULL, FLAG_DIRECTFS},                              \
	{                                                                                          \
		"file-access", required_argument, NULL, FLAG_FILE_ACCESS                           \
	}
#define SANDBOX_FLAGS_HELP                                                                         \
	"  --network HOW           none: a loopback only (default of do); sandbox: with do by "    \
	"way\n"                                                                                    \
	"                          of passt, with create and run the links of the container's\n"   \
	"                          network namespace (their default); host: the host's own\n"      \
	"                          sockets, in the caller's network namespace\n"                   \
	"  --egress POLICY         what may leave: allow (default), deny, or a FILE with rules\n"  \
	"                          (see docs/NETWORKING.md); metadata services never are, "        \
	"unless\n"                                                                                 \
	"                          it says so\n"                                                   \
	"  --egress-log FILE       append what was refused to FILE, a JSON object a line, "        \
	"instead\n"                                                                                \
	"                          of to the log\n"                                                \
	"  --platform NAME         systrap, or ptrace, which is slower and works everywhere\n"     \
	"                          (default: the first of them that starts)\n"                     \
	"  --platform-without LIST do as on a host that lacks these (names as in 'moat check')\n"  \
	"  --require-namespaces    do not start where the sandbox can have none\n"                 \
	"  --memory SIZE           what the program may use, as 512M\n"                            \
	"  --timeout DURATION      end it after this time, as 90s or 1m30s (status 124)\n"         \
	"  --strace                log every system call of the program\n"                         \
	"  --stats                 log at the end what the sentry has counted of its work\n"       \
	"  --directfs=false        have the gofer open every file: slower, and the sentry holds "  \
	"no\n"                                                                                     \
	"                          descriptor of a mount's root\n"                                 \
	"  --file-access HOW       of a root without an overlay: shared (default), or "            \
	"exclusive:\n"                                                                             \
	"                          nobody else changes it, so the host is not asked twice\n"       \
	"  --debug-log FILE        append the log to FILE instead of stderr\n"

/* Takes one flag: 0, or the CLI's exit status after a message. `command` is for messages. */
int sandbox_flag_take(const char *command, struct sandbox_spec *spec, int flag, const char *value);

/* After the subcommand's own flags: what was given before it, for engines that give flags of their
 * own there only. 0 or the status likewise. */
int sandbox_flags_global(const char *command, const struct cli_options *options,
			 struct sandbox_spec *spec);

#endif
