/*
 * Starting a sandbox and waiting for it: the side of the caller (the CLI).
 */
#ifndef MOAT_BOOT_SANDBOX_H
#define MOAT_BOOT_SANDBOX_H

#include <sys/types.h>

#include "boot/spec.h"

/* Exit statuses of the CLI itself, as Docker uses them. */
#define EXIT_MOAT_FAILED 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_TIMED_OUT 124

struct sandbox {
	pid_t gofer_pid, sandbox_pid;
	int gofer_pidfd, sandbox_pidfd;
	int link; /* the CLI's end */
};

/* Creates the gofer and the sandbox process for `spec` and returns while they start. The calling
 * thread must live as long as the sandbox (PR_SET_PDEATHSIG). On error a message in err, nothing
 * left behind. */
int sandbox_start(struct sandbox_spec *spec, struct sandbox *sb, char *err, size_t errlen);
/* Runs until the sandbox ends: forwards signals and window sizes, keeps the terminal raw if
 * spec->terminal, enforces spec->timeout_ns. Returns the status for the CLI to exit with: the
 * program's, 128 + signal, or EXIT_*; problems have been reported on stderr. Everything is gone
 * when it returns. */
int sandbox_wait(const struct sandbox_spec *spec, struct sandbox *sb);

/* The sandbox process's main (boot/sandbox_child.c): namespaces are made, link gives LINK_GO. Never
 * returns. gofer_fds has one socket per MOUNT_HOST mount. */
void sandbox_child_main(const struct sandbox_spec *spec, int link, const int *gofer_fds, int ngofer)
	__attribute__((noreturn));
/* The gofer process's main: opens the host's side of every MOUNT_HOST mount, then serves. */
void gofer_child_main(const struct sandbox_spec *spec, const int *gofer_fds, int ngofer)
	__attribute__((noreturn));
/* Builds kernel, mounts and first process, and runs: boot/loader.c. proc_fd: see platform_config.
 */
void loader_main(const struct sandbox_spec *spec, int link, const int *gofer_fds, int ngofer)
	__attribute__((noreturn));

/* Shared by both children (boot/isolate.c). */
/* Makes the calling process's root an empty read-only tmpfs; needs its own mount namespace. */
int isolate_root(void);
/* Closes every fd but 0, 1, 2 and those listed (any order; negative ones are skipped). */
void isolate_close_fds(const int *keep, int n);
/* A procfs of the caller's pid namespace as an O_PATH-like fd without a place in any tree. */
int isolate_open_proc(void);

/* Lets crashes of this process be logged with where they happened (boot/crash.c). */
void crash_report_install(void);

#endif
