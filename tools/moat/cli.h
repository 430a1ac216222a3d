/*
 * The command line: main.c finds the subcommand, one file each has its flags, launch.c starts what
 * the subcommand has specified and waits for it.
 */
#ifndef MOAT_TOOLS_CLI_H
#define MOAT_TOOLS_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/spec/spec.h"

/* Flags before the subcommand. */
struct cli_options {
	bool rootless; /* given, or implied by an effective uid other than 0 */
	bool debug;
	const char *root; /* where the state of containers is kept */
	/* --egress and --egress-log of create, run and do where they have none; NULL: not given. */
	const char *egress, *egress_log;
};

#ifndef MOAT_VERSION
#define MOAT_VERSION "0.0"
#endif
#define OCI_VERSION "1.0.2" /* of the runtime specification */

#define EXIT_CLI_FAILED 1 /* of the commands that runc has, too */

struct cli_command {
	const char *name;
	const char *usage;   /* after "moat NAME " */
	const char *summary; /* one line */
	const char *flags;   /* the rest of its help text */
	/* argv[0] is the subcommand's name. Returns the CLI's exit status. */
	int (*run)(const struct cli_options *options, int argc, char **argv);
};
extern const struct cli_command cli_do, cli_run, cli_check, cli_help, cli_create, cli_start,
	cli_state, cli_kill, cli_delete, cli_exec, cli_list, cli_ps, cli_wait, cli_pause,
	cli_resume, cli_update, cli_events, cli_egress, cli_runcext, cli_spec, cli_features,
	cli_install, cli_uninstall, cli_sandbox, cli_mcp, cli_pool, cli_serve;
extern const struct cli_command *const cli_commands[]; /* NULL at the end */

/* "moat: " and the message on one line of stderr; returns the status of a failed CLI (125). */
int cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, with the status of those commands (1). */
int cli_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Errors go to this file, too: as text, or a JSON object a line. */
void cli_log_to(const char *path, bool json);
/* For getopt_long() that returned ? or :, with opterr = 0 and an option string that starts "+:". */
int cli_bad_flag(const char *command, char **argv, int result);

/* "64M", "1GiB", "4096": bytes. False when it is not a size. */
bool parse_size(const char *text, uint64_t *bytes);
/* "90", "1.5s", "500ms", "1m30s", "2h": nanoseconds; a number without unit is seconds. */
bool parse_duration(const char *text, int64_t *ns);

/* Appends a copy to a NULL-terminated vector; false without memory. */
bool strv_append(char ***v, const char *s);
/* Sets NAME=VALUE in a vector of that form, replacing an entry of the same name. */
bool env_set(char ***env, const char *assignment);
/* The value of a name, or NULL. */
const char *env_find(char *const *env, const char *name);

/* Fills in what every subcommand has in common (log, rootless, number of CPUs), starts the sandbox
 * and waits for it. Returns the exit status; spec->isolation says what it was cut off from,
 * spec->platform what it ran on (NULL: it did not start). */
int cli_run_sandbox(const struct cli_options *options, struct sandbox_spec *spec);
/* The same, and frees spec. */
int cli_launch(const struct cli_options *options, struct sandbox_spec *spec);

#endif
