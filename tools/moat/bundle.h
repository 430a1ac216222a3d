/* Reading OCI bundles, and running what they describe as a container with state. */
#ifndef MOAT_TOOLS_BUNDLE_H
#define MOAT_TOOLS_BUNDLE_H

#include "boot/host/cgroup.h"
#include "boot/oci/oci_host.h"
#include "boot/sandbox/sandbox.h"
#include "boot/oci/state.h"
#include "control/client.h"
#include "tools/moat/cli.h"

/* A file of at most 10 MiB, malloc'd; NULL after a message that begins with `command`. */
char *read_text(const char *command, const char *path, size_t *len);

/* What create and run are told. */
struct container_flags {
	const char *command;
	const char *bundle, *pid_file, *console_socket, *pidfd_socket;
	int preserve_fds;
	bool detach, keep;
	const char *overlay; /* --overlay2 */
};

/* A container that is being made: what its parts need, until it is released or has ended. */
struct new_container {
	const struct cli_options *options;
	const struct container_flags *flags;
	struct sandbox_spec spec;
	struct oci_host host;
	struct state state;
	struct sandbox sandbox;
	int lock;
	char *pod;     /* the sandbox of others that it lives in, owned; NULL: one of its own */
	pid_t pod_pid; /* that sandbox's process */
	struct cgroup_door cgroup; /* spec.cgroup, if that is set */
};

/* Reads the bundle, makes the state, starts the sandbox; the root container is created then and its
 * state saved. 0, or the CLI's exit status after a message; nothing is left then. */
int container_new(struct new_container *c, const char *id);
/* Lets it live on without us. 0 or the exit status likewise. */
int container_detach(struct new_container *c);
/* Starts it and waits for its end; removes it unless flags->keep. The exit status. */
int container_run(struct new_container *c);
void container_free(struct new_container *c);
/* Parts of it that a pod's containers need, too. 0 or -errno; 0 or the exit status. */
int container_fill_state(struct new_container *c, const char *id);
int container_open_console(struct new_container *c);
/* Makes the groups of config.json, for spec.cgroup. Before, the state is saved: should we be
 * killed, it is known what there is to be removed. */
int container_make_cgroup(struct new_container *c);
/* What the host's OOM killer thinks of a process of c's sandbox. */
void container_set_oom_score(const struct new_container *c, pid_t pid);
/* The hooks that have their place before the container's files are looked at; pid is what stands
 * for the container. The state is saved before. 0 or -errno with a message. */
int container_run_create_hooks(struct new_container *c, pid_t pid, char *err, size_t errlen);
/* join.c: finds the sandbox of others that the container is to live in, c->pod, and whose
 * namespaces it has there: by annotations of CRI, or by paths of namespaces that are those of
 * containers of moat. 0, or the exit status after a message. */
int join_find(struct new_container *c);
/* pod.c: the same for a container in the sandbox c->pod. */
int pod_build(struct new_container *c, const char *id);
/* Starts what pod_build() has made, and waits for its end, as container_run(). */
int pod_run(struct new_container *c);

/* The saved state, with a message and 1 if there is none. */
int load_container(const struct cli_options *options, const char *id, struct state *s);
/* A connection to the sandbox of s. 0 or -errno. */
int connect_container(const struct cli_options *options, const struct state *s,
		      struct control_client **out);
/* Takes the lock of a container and reads its state then. 0, or 1 after a message. */
int lock_container(const struct cli_options *options, const char *id, int *lock, struct state *s);
/* Gives the sandbox of a container its links, if it is to have some. 0, or 1 after a message. */
int container_set_up_network(const struct cli_options *options, struct state *s,
			     struct control_client *client);
/* Sees to it that the process that asks the name server is gone. 0 or -errno. */
int container_end_resolver(const struct state *s);
/* Starts a created container: StartRoot or Start, the state, poststart hooks. Lock held. */
int start_container(const struct cli_options *options, struct state *s);
/* start_hooks.c: the startContainer hooks; the container ends if one of them fails. 0, or 1 after a
 * message. */
int run_start_hooks(const struct cli_options *options, struct state *s);
/* The poststart hooks. 0, or -errno after a message. */
int run_poststart_hooks(const struct state *s);
/* Kills its process and waits for that. 0 or -errno. */
int stop_container(const struct state *s);
/* Kills what lives of it and removes its state, poststop hooks included. Lock held. */
int destroy_container(const struct cli_options *options, struct state *s);

/* Opens a terminal and sends its master over the socket at path, as runc does. The slave, in raw
 * mode, or -errno with a message. */
int console_open(const char *command, const char *path, unsigned rows, unsigned columns);
/* Sends a pidfd of the process over the socket at path, beside the word `what`, as runc does. 0, or
 * -errno with a message. */
int pidfd_send(const char *command, const char *path, pid_t pid, const char *what);
/* Writes a number to a file, which appears with it or not at all. 0 or -errno. */
int write_pid_file(const char *path, pid_t pid);
/* "KILL", "SIGKILL", "9", "RTMIN+1": the number, or -1. */
int parse_signal(const char *name);

#endif
