/*
 * What a sandbox is to run: the neutral form that `moat do` fills from its flags and `moat run`
 * from an OCI config.json. Built by the caller, inherited by gofer and sandbox through fork.
 */
#ifndef MOAT_BOOT_SPEC_H
#define MOAT_BOOT_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Exit statuses of the CLI itself, as Docker uses them. */
#define EXIT_MOAT_FAILED 125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_TIMED_OUT 124

enum spec_mount_kind {
	MOUNT_HOST,	/* a directory or file of the host, through the gofer */
	MOUNT_INTERNAL, /* a file system of the sentry: fstype names it */
};

struct net_egress_config;

struct spec_mount {
	enum spec_mount_kind kind;
	char *source;	     /* MOUNT_HOST: absolute host path; else what /proc/mounts shows */
	char *target;	     /* absolute, in the container */
	char *fstype;	     /* MOUNT_INTERNAL */
	char *options;	     /* file system's own options, comma-separated; NULL: none */
	unsigned long flags; /* MS_* */
	bool overlay;	     /* MOUNT_HOST: an upper layer in memory; the host stays untouched */
	char *shared; /* MOUNT_INTERNAL: all of the sandbox with this name are one; NULL: its own */
	bool cached;  /* MOUNT_HOST: nobody else changes it, so that what was seen stays so */
	bool copy_up; /* a tmpfs with what is there in the root: until oci_resolve() */
	bool optional; /* done without if it cannot be had: no such type, or gone on the host */
};

/* What of the host the sandbox is cut off from; each level lacks more than the one before. */
enum isolation {
	ISOLATION_FULL,	      /* namespaces of its own, all kinds */
	ISOLATION_NO_USER_NS, /* all but a user namespace: root started it, the host has none */
	ISOLATION_NONE,	      /* none: filters, Landlock, the uid */
};

/* What network the guests see. */
enum spec_network {
	NETWORK_NONE,	 /* a loopback */
	NETWORK_SANDBOX, /* the container's namespace: links over packet sockets */
	NETWORK_HOST,	 /* the caller's namespace: sockets of the host's */
};

struct spec_caps {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* A process that is to run: a container's first, or one that exec adds. */
struct process_spec {
	char **argv, **envp;
	char *cwd;
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	unsigned ngroups;
	int umask;
	struct spec_caps caps;
	struct rlimit rlim[RLIM_NLIMITS];
	bool no_new_privs;
	bool terminal;
	int oom_score_adj;
	unsigned extra_files; /* descriptors from 3 on that it gets, besides its stdio */
	void *seccomp;	      /* struct sock_filter[]; NULL: none */
	size_t seccomp_len;   /* bytes */
	char *label;	      /* of AppArmor or SELinux, shown only; NULL: none */
	int sched_policy, sched_priority, nice; /* man 2 sched_setattr */
	bool sched_reset_on_fork;
	int ioprio;		/* man 2 ioprio_set */
	uint16_t rows, columns; /* of a terminal that is made for it; 0: not said */
};

/* Namespaces that a container may share with another one of its sandbox. */
enum spec_ns { SPEC_NS_PID, SPEC_NS_IPC, SPEC_NS_UTS, SPEC_NS_NET, SPEC_NS_KINDS };

struct container_spec {
	struct process_spec process;
	/* root file system and mounts, in order; mounts[0] is the root, target "/" */
	struct spec_mount *mounts;
	unsigned nmounts;
	bool share_pids; /* those of the root container */
	/* One that is put into another's sandbox shares what it names here, and nothing else: false
	 * is a pod's, which has network, ipc and uts of the root container. */
	bool joins;
	char *ns_of[SPEC_NS_KINDS];	       /* with `joins`: the container's id; NULL: its own */
	uint64_t pids_max;		       /* threads that it may have; 0: no limit */
	bool root_readonly;		       /* applied after the mounts are made */
	char **masked_paths, **readonly_paths; /* NULL-terminated, or NULL */
	char *hostname, *domainname;
	char **sysctls; /* "net.NAME=VALUE", of a network namespace of its own; NULL: none */
	/* The first process ignores signals that it has no handler for, as PID 1 does. */
	bool init_unkillable;
	/* The first process is loaded, never run: others are executed beside it, files are read and
	 * written with its credentials, and the container can be reset. Of a root container only.
	 */
	bool driven;
};

/* Who else changes the files of a root without an overlay. */
enum file_access {
	ACCESS_SHARED,	  /* anybody: what the host has is looked at again and again */
	ACCESS_EXCLUSIVE, /* nobody: what has been seen stays so */
};

/* How a root container has ended. */
struct sandbox_report {
	bool ended;	      /* false: text says why not */
	uint32_t wait_status; /* as of wait(2) */
	bool timed_out, out_of_memory;
	uint64_t user_ns, kernel_ns, wall_ns, memory_peak; /* bytes; 0 if it timed out */
	char text[600];
};

/* A sandbox and its root container. */
struct sandbox_spec {
	struct container_spec container;
	char *id; /* NULL: nobody will ask for it by name */
	/* how */
	const char *platform;	   /* platform_config.name */
	uint32_t platform_without; /* PLATFORM_WITHOUT_*: for tests */
	bool strace, stats, rootless;
	enum file_access file_access; /* of the root */
	bool through_gofer; /* the sentry gets no root of a mount: the gofer opens every file */
	bool require_namespaces;  /* rather none than a sandbox of ISOLATION_NONE */
	enum isolation isolation; /* not better than this; sandbox_start says what it is */
	int num_cpus;
	int log_fd; /* -1: stderr */
	bool debug;
	enum spec_network network;
	/* What may leave by links (netstack/egress.h), owned; NULL: as in a new stack. */
	struct net_egress_config *egress;
	bool egress_given; /* by a flag: an annotation does not change it */
	int egress_log_fd; /* owned; -1: the log */
	char **publish;	   /* ports of the host's; NULL: none (boot/net/passt.h) */
	char *netns;	   /* path of the network namespace; NULL: the sandbox's own */
	/* config.json's paths of namespaces of other kinds, NULL: none (tools/moat/join.c). */
	char *ns_path[SPEC_NS_KINDS];
	/* config.json: a network namespace of its own, or else that of whoever starts it. */
	bool has_netns;
	uint64_t memory; /* bytes the guest may use; 0: the host's */
	/* Of a sandbox that is in a group with a limit of its own, the host's OOM killer is to take
	 * the guest's processes only: whoever starts it has seen to that. */
	bool oom_spared;
	int64_t timeout_ns; /* 0: none */
	int stdio[3];
	int *extra_fds;	  /* container.process.extra_files of them; not owned */
	bool detached;	  /* it and its gofer outlive the caller */
	bool own_console; /* stdio[0] is a terminal made for it, to be its controlling one */
	/* Listening sockets for others to drive it by, -1: none; and who may (control/server.h). */
	int path_listener, abstract_listener;
	unsigned char token[32];
	uid_t owner; /* set by sandbox_start(): the caller */
	/* Filled in by sandbox_wait(), which says nothing on stderr then; NULL: not wanted. */
	struct sandbox_report *report;
	/* A connected socket whose peer drives the sandbox, and owns it, instead of who starts it;
	 * -1: none. The caller's. */
	int controller;
	/* Where its processes are to be from their birth on; NULL: the caller's groups. */
	const struct cgroup_door *cgroup;
	bool cgroup_required; /* rather none than a sandbox elsewhere */
	/* Called when the sandbox process and its namespaces exist, before the host's files are
	 * opened: hooks. NULL: nothing. 0 or -errno with a message. */
	int (*before_files)(void *arg, pid_t sandbox, char *err, size_t errlen);
	void *before_files_arg;
	/* Called by sandbox_wait() once the root container has started: hooks. NULL: nothing. 0, or
	 * the status for the CLI to exit with, and the container ends. */
	int (*started)(void *arg);
	void *started_arg;
};

void spec_init(struct sandbox_spec *spec);
void spec_free(struct sandbox_spec *spec);
/* The parts of it. */
void process_spec_init(struct process_spec *p);
void process_spec_free(struct process_spec *p);
void container_spec_init(struct container_spec *c);
void container_spec_free(struct container_spec *c);
/* "pid", "ipc", "uts", "net": as /proc/PID/ns has them. */
const char *spec_ns_name(enum spec_ns kind);
/* Appends; strings are copied (NULL allowed). -ENOMEM. The entry is returned through *out if not
 * NULL, valid until the next append. */
int spec_add_mount(struct container_spec *spec, enum spec_mount_kind kind, const char *source,
		   const char *target, const char *fstype, unsigned long flags, const char *options,
		   struct spec_mount **out);
/* What every container has unless its spec says otherwise: /proc, /sys, /dev, /dev/pts, /dev/shm,
 * /dev/mqueue. */
int spec_add_default_mounts(struct container_spec *spec);
/* The host's mounts with real files (not proc, sysfs and their kind) below `root`, each with an
 * overlay at the same place, since the gofer's clone of a mount does not bring its submounts. */
int spec_add_host_submounts(struct container_spec *spec, const char *root);

/* Resolves "user", "uid", "user:group", "uid:gid" against etc/passwd and etc/group below rootfs.
 * Fills uid, gid, groups, and *home (malloc'd) if home is not NULL. On error a message in err. */
int spec_set_user(struct process_spec *spec, const char *rootfs, const char *user, char **home,
		  char *err, size_t errlen);
/* Adds HOME to the environment if it is not in it: what etc/passwd below rootfs says of spec->uid,
 * or "/". 0 or -ENOMEM. */
int spec_default_home(struct process_spec *spec, const char *rootfs);
/* Full capabilities for uid 0, none for others: what `docker run --privileged` would not give
 * matters little here, for they are capabilities over the sentry's kernel, not the host's. */
void spec_set_default_caps(struct process_spec *spec);

#endif
