/* The flags that every subcommand which starts a sandbox has. */
#ifndef MOAT_TOOLS_SANDBOX_FLAGS_H
#define MOAT_TOOLS_SANDBOX_FLAGS_H

#include <getopt.h>

#include "boot/spec.h"

enum {
	FLAG_NETWORK = 1000,
	FLAG_PLATFORM,
	FLAG_STRACE,
	FLAG_DEBUG_LOG,
	FLAG_MEMORY,
	FLAG_TIMEOUT,
	FLAG_MM_COMMANDS,
	FLAG_OWN, /* the first of a subcommand's own */
};

/* Entries for its array of long options, and lines for its help. */
#define SANDBOX_FLAGS                                                                              \
	{"network", required_argument, NULL, FLAG_NETWORK},                                        \
		{"platform", required_argument, NULL, FLAG_PLATFORM},                              \
		{"strace", no_argument, NULL, FLAG_STRACE},                                        \
		{"debug-log", required_argument, NULL, FLAG_DEBUG_LOG},                            \
		{"memory", required_argument, NULL, FLAG_MEMORY},                                  \
		{"timeout", required_argument, NULL, FLAG_TIMEOUT},                                \
	{                                                                                          \
		"mm-commands", required_argument, NULL, FLAG_MM_COMMANDS                           \
	}
#define SANDBOX_FLAGS_HELP                                                                         \
	"  --network none          the only one yet\n"                                             \
	"  --platform systrap      the only one yet\n"                                             \
	"  --memory SIZE           what the program may use, as 512M\n"                            \
	"  --timeout DURATION      end it after this time, as 90s or 1m30s (status 124)\n"         \
	"  --strace                log every system call of the program\n"                         \
	"  --debug-log FILE        append the log to FILE instead of stderr\n"                     \
	"  --mm-commands HOW       verified (default), or direct: private memory changes\n"        \
	"                          without asking the sentry, faster\n"

/* Takes one flag: 0, or the CLI's exit status after a message. `command` is for messages. */
int sandbox_flag_take(const char *command, struct sandbox_spec *spec, int flag, const char *value);

#endif
