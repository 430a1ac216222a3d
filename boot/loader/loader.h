/*
 * The loader: runs in the sandbox process once it has given everything up. It builds the kernel and
 * the root container, serves the control connections, and reports how the root container ended.
 *
 *	loader_new -> loader_run -> loader_wait_for_start_signal -> loader_wait_exit ->
 *loader_destroy
 *
 * All of them on one thread, which is the control server's loop while it waits.
 */
#ifndef MOAT_BOOT_LOADER_H
#define MOAT_BOOT_LOADER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "boot/spec/spec.h"
#include "control/backend.h"

struct loader;

/* Descriptors are owned by the loader once loader_new() was called, whatever it returns; memory
 * stays the caller's and must live as long as the loader. */
struct loader_args {
	const char *id; /* of the sandbox, and of its root container */
	const struct container_spec *spec;
	bool strace, stats;	    /* stats: print the counters at the end */
	int controller_fd;	    /* the connection that owns the sandbox; -1: none */
	int listeners[2];	    /* by path, by abstract name; -1: none */
	const unsigned char *token; /* for the abstract name */
	uid_t owner;		    /* who may connect */
	int device_fd;		    /* of the platform; -1: it needs none */
	const int *gofer_fds;	    /* the lifeline, then one for each MOUNT_HOST mount */
	unsigned ngofer;
	int stdio_fds[3];     /* with a terminal, all the same one */
	const int *extra_fds; /* spec->process.extra_files of them */
	int num_cpus;
	uint64_t total_memory; /* bytes; 0: the host's */
	uint64_t memory_limit; /* bytes that guests may use; 0: no limit */
	bool oom_spared;       /* the same limit is that of a group, whose end takes guests only */
	int user_log_fd;       /* -1: none */
	bool links;	       /* it may be given links */
	bool host_sockets;     /* guests' sockets are the host's */
	const struct net_egress_config *egress; /* what may leave by them; NULL: a new stack's */
	int egress_log_fd;			/* -1: the log */
	int winch_fd; /* an eventfd: the terminal's size has changed; -1: nobody will say */
};

/* Builds the kernel and the control server. 0 or -errno with *err. */
int loader_new(const struct loader_args *args, struct loader **out, struct control_error *err);
/* Makes the root container: its mounts, its first process, which does not run yet. *program: what
 * failed is the program's fault (it is not there, or cannot be executed). */
int loader_run(struct loader *l, struct control_error *err, bool *program);
/* Serves until the root container has been started, or has ended before. */
void loader_wait_for_start_signal(struct loader *l);
/* Serves until the root container has ended, or whoever owned the sandbox has left. The wait status
 * of its first process; a SIGKILL if there was none. */
int loader_wait_exit(struct loader *l);
/* Sends what answers are left and closes all control connections. What guests still run in other
 * containers goes with the process. */
void loader_destroy(struct loader *l);

#endif
