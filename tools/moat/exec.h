/* Between exec's files: exec.c has its flags, exec_run.c the process that stands for the one
 * inside. */
#ifndef MOAT_TOOLS_EXEC_H
#define MOAT_TOOLS_EXEC_H

#include "tools/moat/bundle.h"

#define EXIT_EXEC_FAILED 255
#define EXTRA_FDS_MAX 200

struct exec_flags {
	const char *process, *pid_file, *console_socket, *pidfd_socket, *cwd, *user;
	char **env, **caps, **gids;
	bool detach, terminal, no_new_privs, ignore_paused;
	int preserve_fds;
};

/* "exec failed: " and the message, to whoever waits at the other end of a process sync, too; the
 * exit status of an exec that failed. */
int exec_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Runs p in the container of s, in the foreground or detached. The exit status. */
int exec_run(const struct cli_options *options, const struct state *s, const struct exec_flags *f,
	     struct process_spec *p);
/* The first process of a container as its bundle has it, with another program and what the flags
 * change. 0, or the exit status. */
int exec_process_from_bundle(const struct state *s, const struct exec_flags *f, char **argv,
			     struct process_spec *p);
/* Takes over the descriptor that the environment names, if it names one (control/procsync.h). */
int exec_begin_sync(void);

#endif
