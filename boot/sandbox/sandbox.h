/*
 * Starting a sandbox and waiting for it: the side of the caller (the CLI).
 */
#ifndef MOAT_BOOT_SANDBOX_H
#define MOAT_BOOT_SANDBOX_H

#include <sys/types.h>

#include "boot/spec/spec.h"

struct control_client;

/* The root container's name in a sandbox whose spec has no id. */
#define SANDBOX_DEFAULT_ID "root"

struct sandbox {
	pid_t gofer_pid, sandbox_pid;
	int gofer_pidfd, sandbox_pidfd;
	int link; /* the CLI's end; -1: closed */
	struct control_client
		*client;   /* the connection that owns it; NULL: spec->controller does */
	char platform[16]; /* which it runs on, once it has started */
	bool sweep;	   /* no pid namespace: its processes may become ours */
};

/* Creates the gofer and the sandbox process for `spec` and returns while they start. Unless the
 * spec says detached, the calling thread must live as long as the sandbox (PR_SET_PDEATHSIG). On
 * error a message in err, nothing left behind. */
int sandbox_start(struct sandbox_spec *spec, struct sandbox *sb, char *err, size_t errlen);
/* It may not use the namespaces that it got: to be started again with a lower spec->isolation. */
#define SANDBOX_CONFINED (-1)
/* Waits until the root container exists. 0, or the status for the CLI to exit with and a message in
 * err, or SANDBOX_CONFINED; the sandbox is gone then. */
int sandbox_wait_created(struct sandbox *sb, char *err, size_t errlen);
/* Starts the root container and runs until it ends: forwards signals and window sizes, keeps the
 * terminal raw if the spec has one, enforces spec->timeout_ns. Returns the status for the CLI to
 * exit with: the program's, 128 + signal, or EXIT_*, or SANDBOX_CONFINED; problems have been
 * reported on stderr. Everything is gone when it returns. */
int sandbox_wait(const struct sandbox_spec *spec, struct sandbox *sb);
/* Lets a detached sandbox go on without the caller. 0 or -errno; then it is gone. */
int sandbox_release(struct sandbox *sb);
/* Kills and reaps both processes. */
void sandbox_kill(struct sandbox *sb);
/* 128 + signal, or the exit code, of a wait status. */
int status_from_wait(int status);

/* --- the gofer's sockets: [0] is the lifeline, then one for each MOUNT_HOST mount ------------- */

#define MAX_GOFER_FDS 200
/* Makes pairs; *n of each. 0 or -errno, then none is left. */
int gofer_make_sockets(const struct container_spec *spec, int *sandbox_ends, int *gofer_ends,
		       int *n);
/* Forks a gofer for spec->container, to go with a running sandbox (sandbox_pidfd); the caller
 * closes both ends. The pid, or -errno with a message. */
pid_t gofer_start(const struct sandbox_spec *spec, int sandbox_pidfd, const int *gofer_ends, int n,
		  int *pidfd, char *err, size_t errlen);

/* --- inside the children ---------------------------------------------------------------------- */

/* The sandbox process's main (boot/sandbox/sandbox_child.c): namespaces are made, link gives
 * LINK_GO. Never returns. control: its end of the connection that owns it. */
void sandbox_child_main(const struct sandbox_spec *spec, int link, int control,
			const int *gofer_fds, int ngofer) __attribute__((noreturn));
/* What a gofer is to know of the sandbox that it goes with. */
struct gofer_surroundings {
	enum isolation isolation;
	bool detached;	    /* outlives whoever started it */
	bool through_gofer; /* no root of a mount is donated */
	int sandbox_pidfd;  /* it moves into this one's root once that speaks to it; -1: it makes
			     * one of its own */
};
/* The gofer process's main: opens the host's side of every MOUNT_HOST mount, then serves. */
void gofer_child_main(const struct container_spec *spec, const struct gofer_surroundings *around,
		      const int *gofer_fds, int ngofer) __attribute__((noreturn));

/* Shared by both children (boot/sandbox/isolate.c). */
/* Makes the calling process's root an empty read-only tmpfs; needs its own mount namespace. Hides
 * what the caller has not opened; for -EPERM and -EACCES there is isolate_chroot(). */
int isolate_root(void);
/* Makes the mount that is the working directory the root, in the same way. */
int isolate_enter_root(void);
/* Makes an empty folder that nobody can write to the process's root: what is left to do without a
 * mount namespace. Needs CAP_SYS_CHROOT. */
int isolate_chroot(void);
/* A procfs of the caller's pid namespace as an O_PATH-like fd without a place in any tree. */
int isolate_open_proc(void);

/* Lets crashes of this process be logged with where they happened (boot/sandbox/crash.c). */
void crash_report_install(void);

#endif
