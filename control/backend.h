/*
 * What the control server asks of whoever owns the containers: boot/ in the sandbox, a test's own
 * in the unit tests. Arguments have been checked for form (names, numbers of descriptors, ranges),
 * not for sense.
 */
#ifndef MOAT_CONTROL_BACKEND_H
#define MOAT_CONTROL_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "control/moat.pb-c.h"

/* Why a call failed: errno (positive), and a line of text for people. */
struct control_error {
	int number;
	char text[480];
};
/* Fills it and returns -number. */
int control_fail(struct control_error *err, int number, const char *fmt, ...) __printf(3, 4);

struct control_call;

/* How a process ended; nanoseconds and bytes. */
struct control_exit {
	uint32_t wait_status;
	Moat__ExitStatus__Reason reason;
	uint64_t user_ns, kernel_ns, wall_ns, memory_peak;
	const uint64_t *calls; /* system calls by number; whoever replies keeps them; or NULL */
	unsigned ncalls;
};

/* Whom a signal is for. pid 0: the init process. */
struct control_target {
	const char *id;
	int pid;
	Moat__Delivery delivery;
};

/*
 * 0, or a negative errno with *err filled. Called on worker threads, several at once, except where
 * noted; may block. Descriptors that an operation takes it sets to -1 in the array; the server
 * closes the others.
 */
struct control_backend {
	int (*create)(void *ctx, const Moat__Create *create, int *fds, unsigned nfds,
		      struct control_error *err);
	int (*start)(void *ctx, const char *id, bool root, struct control_error *err);
	int (*destroy)(void *ctx, const char *id, struct control_error *err);
	/* connection: 0, or that with which the process is to end. *pid is in the container. */
	int (*execute)(void *ctx, const Moat__Execute *execute, uint64_t connection, int *fds,
		       unsigned nfds, int *pid, struct control_error *err);
	/* A process that was executed with `hold` runs, or never does. */
	int (*proceed)(void *ctx, const Moat__Proceed *proceed, struct control_error *err);
	int (*pause)(void *ctx, const char *id, bool pause, struct control_error *err);
	/* Fills a list from malloc; freed by the server with moat__process_list__free_unpacked().
	 */
	int (*processes)(void *ctx, const char *id, Moat__ProcessList *list,
			 struct control_error *err);
	/* Everything that ran in the root container or was written there is gone afterwards. */
	int (*reset)(void *ctx, const char *id, struct control_error *err);
	/* Paths have been checked for form. *data is malloc'd, with *size bytes of a file that has
	 * *total. */
	int (*file_read)(void *ctx, const Moat__FileRead *what, unsigned char **data, size_t *size,
			 uint64_t *total, struct control_error *err);
	int (*file_write)(void *ctx, const Moat__FileWrite *what, struct control_error *err);
	int (*file_delete)(void *ctx, const Moat__FileDelete *what, struct control_error *err);
	/* Fills a list from malloc, as processes does. */
	int (*file_list)(void *ctx, const Moat__FileName *what, Moat__FileList *list,
			 struct control_error *err);
	int (*update)(void *ctx, const Moat__Update *update, struct control_error *err);
	int (*event)(void *ctx, const char *id, Moat__Stats *stats, struct control_error *err);
	/* Addresses have a length that there is, lists are not longer than they may be, and there
	 * are as many descriptors as links and resolver need. */
	int (*create_links)(void *ctx, const Moat__CreateLinksAndRoutes *links, int *fds,
			    unsigned nfds, struct control_error *err);

	/* Form has been checked: lengths of addresses and lists. */
	int (*set_egress)(void *ctx, const Moat__EgressPolicy *policy, struct control_error *err);
	/* *status: from malloc; freed by the server with moat__egress_status__free_unpacked(). */
	int (*get_egress)(void *ctx, Moat__EgressStatus **status, struct control_error *err);

	/* On the loop's thread; these must not block. */
	int (*status)(void *ctx, const char *id, Moat__Status *status, struct control_error *err);
	int (*signal)(void *ctx, const struct control_target *to, int sig,
		      struct control_error *err);
	int (*resize)(void *ctx, const char *id, int pid, struct control_error *err);
	/* Keeps the call and answers it with control_reply_exit(), now or later, when it returns
	 * 0. pid 0: init; bound: it is to end with the connection. */
	int (*wait)(void *ctx, const char *id, int pid, bool bound, struct control_call *call,
		    struct control_error *err);
	/* malloc'd text, NULL: no memory */
	char *(*stacks)(void *ctx);
	void (*set_strace)(void *ctx, bool on);
	/* A connection is gone: its waits will not be read, what is bound to it must end. */
	void (*disconnected)(void *ctx, uint64_t connection);
	/* The connection that owned the sandbox is gone without having released it. */
	void (*abandoned)(void *ctx);
};

#endif
