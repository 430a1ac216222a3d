/*
 * What is kept on disk of a container: ROOT/ID/ with
 *
 *	state.json	this structure; written to a temporary, synced, renamed
 *	lock		flock()ed by every command that changes the container
 *	control.sock	of its sandbox, if it is the root container of one
 *	sandbox.log	what gofer and sandbox have to say
 *
 * Whether a container lives is told by its process (number and start time), never by the file: so
 * it can be listed and deleted whatever was killed.
 */
#ifndef MOAT_BOOT_STATE_H
#define MOAT_BOOT_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STATE_DEFAULT_ROOT "/run/moat"

enum state_status {
	STATUS_CREATING,
	STATUS_CREATED,
	STATUS_RUNNING,
	STATUS_PAUSED,
	STATUS_STOPPED,
};

struct state {
	char *id, *sandbox; /* the sandbox is named by its root container */
	char *bundle, *rootfs, *oci_version;
	json_t *annotations; /* object or NULL */
	json_t *cgroups;     /* directories: boot/host/cgroup.h; NULL: none */
	bool links;	     /* start gives the sandbox the links of its network namespace, ... */
	char *netns;	     /* ... which this is a path of; NULL: the sandbox's own */
	json_t *hooks;	     /* config.json's, for poststart and poststop; NULL: none */
	/* Its end is the container's: the sandbox, or who stands for a further container. */
	pid_t pid;
	uint64_t pid_start;
	pid_t gofer_pid;
	uint64_t gofer_start;
	pid_t resolver_pid; /* boot/net/resolver.h; 0: there is none */
	uint64_t resolver_start;
	enum state_status status; /* what was said last; see state_status() */
	int64_t created_ns;	  /* CLOCK_REALTIME */
	uid_t owner;
	unsigned char token[32];
};

void state_free(struct state *s);
/* runc's rule for names. */
bool state_id_is_valid(const char *id);

/* Makes ROOT and ROOT/ID, and takes the lock: *lock is to be closed. -EEXIST. */
int state_create(const char *root, const char *id, int *lock);
/* Takes the lock of a container that exists; waits for it. -ENOENT. */
int state_lock(const char *root, const char *id, int *lock);
/* -ENOENT: no such container; -EINVAL: the file is not what we write. */
int state_load(const char *root, const char *id, struct state *out);
int state_save(const char *root, const struct state *s);
/* Removes the directory and what is ours in it. */
int state_remove(const char *root, const char *id);
/* Opens ROOT/ID as a directory, for names below it. */
int state_dir(const char *root, const char *id);
/* The names of all containers, sorted, NULL-terminated; NULL: no memory. None if there is no ROOT.
 */
char **state_list(const char *root);

/* Now. */
enum state_status state_status(const struct state *s);
const char *state_status_name(enum state_status status);
/* As `state` prints it, and hooks get it. with_rootfs: runc's additions. A reference; NULL: no
 * memory. */
json_t *state_to_oci(const struct state *s, enum state_status status, bool with_rootfs);
/* When a process was started, in the kernel's ticks; 0 if it is gone, or a zombie. */
uint64_t process_start_time(pid_t pid);
/* RFC 3339 with nanoseconds, in UTC, as Go prints it; n >= 40. */
void format_time(int64_t ns, char *buf, size_t n);

#endif
