/*
 * What a sandbox is to run: the neutral form that `moat do` fills from its flags and `moat run`
 * from an OCI config.json. Built by the caller, inherited by gofer and sandbox through fork.
 */
#ifndef MOAT_BOOT_SPEC_H
#define MOAT_BOOT_SPEC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum spec_mount_kind {
	MOUNT_HOST,	/* a directory or file of the host, through the gofer */
	MOUNT_INTERNAL, /* a file system of the sentry: fstype names it */
};

struct spec_mount {
	enum spec_mount_kind kind;
	char *source;	     /* MOUNT_HOST: absolute host path; else what /proc/mounts shows */
	char *target;	     /* absolute, in the container */
	char *fstype;	     /* MOUNT_INTERNAL */
	char *options;	     /* file system's own options, comma-separated; NULL: none */
	unsigned long flags; /* MS_* */
	bool overlay;	     /* MOUNT_HOST: an upper layer in memory; the host stays untouched */
	bool optional;	     /* MOUNT_INTERNAL: done without if the sentry has no such type */
	int gofer;	     /* MOUNT_HOST: index of its gofer connection, set by sandbox_start */
};

struct spec_caps {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct sandbox_spec {
	/* process */
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
	/* root file system and mounts, in order; mounts[0] is the root, target "/" */
	struct spec_mount *mounts;
	unsigned nmounts;
	bool root_readonly;		       /* applied after the mounts are made */
	char **masked_paths, **readonly_paths; /* NULL-terminated, or NULL */
	char *hostname, *domainname;
	/* how */
	const char *platform;
	bool direct_mm, strace, rootless;
	int num_cpus;
	int log_fd; /* -1: stderr */
	bool debug;
	uint64_t memory;    /* bytes the guest may use; 0: the host's */
	int64_t timeout_ns; /* 0: none */
	int stdio[3];
};

void spec_init(struct sandbox_spec *spec);
void spec_free(struct sandbox_spec *spec);
/* Appends; strings are copied (NULL allowed). -ENOMEM. The entry is returned through *out if not
 * NULL, valid until the next append. */
int spec_add_mount(struct sandbox_spec *spec, enum spec_mount_kind kind, const char *source,
		   const char *target, const char *fstype, unsigned long flags, const char *options,
		   struct spec_mount **out);
/* What every container has unless its spec says otherwise: /proc, /sys, /dev, /dev/pts, /dev/shm,
 * /dev/mqueue. */
int spec_add_default_mounts(struct sandbox_spec *spec);
/* The host's mounts with real files (not proc, sysfs and their kind) below `root`, each with an
 * overlay at the same place, since the gofer's clone of a mount does not bring its submounts. */
int spec_add_host_submounts(struct sandbox_spec *spec, const char *root);

/* Resolves "user", "uid", "user:group", "uid:gid" against etc/passwd and etc/group below rootfs.
 * Fills uid, gid, groups, and *home (malloc'd) if home is not NULL. On error a message in err. */
int spec_set_user(struct sandbox_spec *spec, const char *rootfs, const char *user, char **home,
		  char *err, size_t errlen);
/* Full capabilities for uid 0, none for others: what `docker run --privileged` would not give
 * matters little here, for they are capabilities over the sentry's kernel, not the host's. */
void spec_set_default_caps(struct sandbox_spec *spec);

#endif
