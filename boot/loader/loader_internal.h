/*
 * Between the files of the loader.
 *
 * loader->lock guards the lists of containers and processes and all their fields but those said to
 * be constant. It comes before the kernel's locks; no answer is sent with it held. A container is
 * counted: an operation that drops the lock holds a reference.
 */
#ifndef MOAT_BOOT_LOADER_INTERNAL_H
#define MOAT_BOOT_LOADER_INTERNAL_H

#include <pthread.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "boot/loader/loader.h"
#include "boot/loader/run.h"
#include "control/server.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/core/cred.h"
#include "sentry/kernel/run/container.h"

struct container;
struct link_set;
struct shared_mount;

/* Somebody who waits for a process. */
struct waiter {
	STAILQ_ENTRY(waiter) link;
	struct control_call *call;
};

/* A process that the loader has made: the first of a container, or one that exec added. */
struct process {
	LIST_ENTRY(process) link;    /* container->processes */
	struct container *container; /* constant */
	struct thread_group *group;  /* counted; constant */
	struct tty *console;	     /* counted, or NULL; the loop's */
	int pid;		     /* in the container; constant */
	uint64_t connection;	     /* it ends with this one; 0: with none */
	bool abandoned;		     /* that one has ended */
	bool held;		     /* it has not been started: process_claim() */
	bool exited;
	struct control_exit how; /* once exited */
	struct run *run;	 /* counted; NULL: it is not counted on its own */
	STAILQ_HEAD(, waiter) waiters;
};

enum container_state { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_PAUSED, CONTAINER_STOPPED };

struct container {
	LIST_ENTRY(container) link; /* loader->containers */
	struct refcount refs;
	struct loader *loader;
	char *id; /* constant */
	enum container_state state;
	bool discarded;		     /* killed before it was started */
	bool gone;		     /* out of the list: Destroy */
	bool resetting;		     /* its first process ends, and another comes */
	bool own_net;		     /* a network namespace that it made; constant */
	bool links_made;	     /* CreateLinksAndRoutes has been called for that */
	struct link_set *links;	     /* what it made; owned by whoever destroys it; or NULL */
	struct cred *files_cred;     /* driven: who reads and writes files; counted; constant */
	struct super_block **lowers; /* of its MOUNT_HOST mounts, for the next reset; owned */
	struct container_ns ns;	     /* constant once it is in the list */
	struct container_mark *mark; /* of its processes; counted; constant */
	struct mutex pausing;	     /* one pause, resume, reset, execute or access to files at
				      * a time; before loader->lock */
	uint64_t memory_max;	     /* the most that Event has seen; atomic */
	struct process *init;	     /* constant likewise */
	LIST_HEAD(, process) processes;
	void *seccomp; /* of all its processes; owned; constant */
	size_t seccomp_len;
	int lifeline; /* the loop's */
};

struct loader {
	struct loader_args args;
	struct mutex lock;
	pthread_cond_t changed; /* a process has ended */
	LIST_HEAD(, container) containers;
	struct container *root;			 /* constant after loader_run() */
	struct mutex mounts_lock;		 /* before everything of the kernel's */
	LIST_HEAD(, shared_mount) shared_mounts; /* mounts_lock; they stay as long as the sandbox */
	struct control_server *server;
	int exit_fd; /* the kernel writes to it when a process has ended */
	bool start_signal, root_exited;
	int root_status;
};

/* loader.c: the sandbox ends, as one that has failed. */
void loader_give_up(struct loader *l);
/* What guests get of a limit. */
uint64_t loader_guest_memory(const struct loader *l, uint64_t limit);
/* "net.NAME=VALUE" of a network namespace; NULL: none. What the stack has not, it does without. */
void loader_apply_sysctls(struct net_ns *ns, char *const *v);

/* container.c */
struct container_fds {
	int stdio[3];	  /* owned; -1: taken */
	int *extra;	  /* owned; likewise */
	const int *gofer; /* the lifeline, then the mounts'; owned, consumed */
	unsigned ngofer;
};
/* Makes mounts and first process; the container is in the list with state CONTAINER_CREATED. On
 * error what was in fds is closed. *program: see loader_run(). */
int container_create(struct loader *l, const char *id, const struct container_spec *spec,
		     struct container_fds *fds, struct control_error *err, bool *program);
/* A reference, or NULL with *err. Takes the lock. */
struct container *container_find(struct loader *l, const char *id, struct control_error *err);
void container_put(struct container *c);
int container_start(struct container *c, struct control_error *err);
/* Kills it, waits for its end, takes it out of the list. */
int container_destroy(struct container *c, struct control_error *err);
int container_pause(struct container *c, bool pause, struct control_error *err);
int container_signal(struct container *c, const struct control_target *to, int sig,
		     struct control_error *err);

/* container_reset.c: ends all that runs and makes a fresh tree, first process and namespaces. */
int container_reset(struct container *c, struct control_error *err);

/* container_files.c: see control/backend.h. */
int container_file_read(struct container *c, const Moat__FileRead *what, unsigned char **data,
			size_t *size, uint64_t *total, struct control_error *err);
int container_file_write(struct container *c, const Moat__FileWrite *what,
			 struct control_error *err);
int container_file_delete(struct container *c, const Moat__FileDelete *what,
			  struct control_error *err);
int container_file_list(struct container *c, const Moat__FileName *what, Moat__FileList *list,
			struct control_error *err);

/* container_stats.c */
/* What Event answers; allocated as protobuf-c frees it. 0 or -errno. */
int container_stats(struct container *c, Moat__Stats *stats);

/* container_mounts.c: builds the namespace; consumes the sockets (one for each MOUNT_HOST mount).
 * With c->lowers, which has room for each of these, the host's trees are taken from there, or put
 * there if sockets is not NULL. */
int container_build_mounts(struct container *c, const struct container_spec *spec,
			   const int *sockets, struct mnt_ns **out, struct control_error *err);

/* Drops the references that c->lowers has. */
void container_forget_lowers(struct container *c);

/* container_share.c: references to the namespaces of others that the first process is to live in,
 * for container_ns_put(), also on error; NULL: its own. */
int container_share_ns(struct container *c, const struct container_spec *spec,
		       struct container_ns *out, struct control_error *err);

/* process.c */
/* Makes the first process of a container, not started. Consumes mnt_ns; takes descriptors out of
 * the arrays as it uses them. *program: see loader_run(). */
int process_create_first(struct container *c, const struct container_spec *spec,
			 struct mnt_ns *mnt_ns, int *stdio, int *extra, struct process **out,
			 struct control_error *err, bool *program);
void process_free(struct process *p);
/* The credentials that a specification asks for; a reference. NULL: no memory. */
struct cred *process_cred(const struct process_spec *spec);
/* Loads the program of an exec'ed process and starts it, unless it is held; it is in the list then.
 * `extra` has the program's descriptor at its end if how->executable. */
int process_execute(struct container *c, const struct process_spec *spec, const Moat__Execute *how,
		    uint64_t connection, int *stdio, int *extra, int *pid,
		    struct control_error *err);
/* For process_held.c: one that has been claimed runs. */
int process_start(struct process *p, struct control_error *err);
/* Answers the call when the process ends, or now. Lock not held. pid 0: the first process. */
int process_wait(struct container *c, int pid, bool bound, struct control_call *call,
		 struct control_error *err);
/* Those that are bound to this connection are killed. */
void process_connection_ended(struct loader *l, uint64_t connection);
/* The process with this pid that the loader made; lock held. NULL: none. */
struct process *process_find(struct container *c, int pid);
/* Looks for processes that have ended, and tells who waits. Loop only; for control_server_watch. */
bool process_reap(void *loader);

/* process_held.c */
/* A held process runs, or never does. Takes c->pausing. */
int process_proceed(struct container *c, int pid, bool veto, struct control_error *err);
/* None of them will run; c->pausing is held. */
void process_discard_held(struct container *c);
/* Lock held. */
bool process_any_held(struct container *c);
/* Its connection has ended; lock held. */
void process_discard_later(struct process *p);
/* init_params.make_program: a copy of the regular file that a descriptor (const int *) is of. */
int process_copy_program(void *fd, struct file **out);

/* control_backend.c */
extern const struct control_backend loader_backend;

#endif
