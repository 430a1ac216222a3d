/*
 * Control groups of the host: the processes of a sandbox are put into the group that config.json
 * names, in every hierarchy that is mounted (v1, v2, or both side by side), with its limits.
 *
 * Not applied: pids (it would count the sandbox's own threads), devices, blkio, hugetlb, network,
 * which say nothing to processes that open no device.
 */
#ifndef MOAT_BOOT_CGROUP_H
#define MOAT_BOOT_CGROUP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The directories that cgroup_create() will make, in *dirs; nothing is made. */
int cgroup_name(const char *path, const char *id, json_t **dirs, char *err, size_t errlen);
/* Makes the groups for `path` (config.json's cgroupsPath; NULL: `id` below the caller's own) and
 * sets `resources` (config.json's, NULL: none). *dirs becomes the array of their directories, to be
 * kept in the state; also on error, then of what was made. No hierarchy at all is no error. 0, or
 * -errno with a message. */
int cgroup_create(const char *path, const char *id, json_t *resources, json_t **dirs, char *err,
		  size_t errlen);
/* Sets what `resources` has, and leaves the rest. */
int cgroup_set(json_t *dirs, json_t *resources, char *err, size_t errlen);
/*
 * The groups, opened for a process that is to be in them from its birth on: it is born into v2's
 * (CLONE_INTO_CGROUP), and puts its only thread into v1's by itself. Whoever is moved by others
 * stops every fork on the host for it, and waits until all CPUs have seen that: 5 to 20 ms.
 */
#define CGROUP_HIERARCHIES 16
struct cgroup_door {
	int tasks[CGROUP_HIERARCHIES];
	unsigned n;
	int unified; /* v2's directory; -1: there is none */
	int procs;   /* and its cgroup.procs, for kernels before 5.7 */
};
/* 0 or -errno; cgroup_close() is for the caller in either case. */
int cgroup_open(json_t *dirs, struct cgroup_door *door);
void cgroup_close(struct cgroup_door *door);
/* In the new process, before it makes a thread. born_in: it was born into v2's. 0 or -errno. */
int cgroup_enter(const struct cgroup_door *door, bool born_in);
/* Sets a process's oom_score_adj (proc_pid_oom_score_adj(5)). 0 or -errno. */
int oom_score_set(pid_t pid, int score);
/* Moves any process into all of them. 0 or -errno. */
int cgroup_join(json_t *dirs, pid_t pid);
/* The text of a file of the first of them that has it. */
bool cgroup_read_text(json_t *dirs, const char *file, char *text, size_t size);
/* Removes the groups; what is still in them is given some time to go. */
void cgroup_remove(json_t *dirs);
/* A number out of a file of one of them that has it; false: none has. */
bool cgroup_read(json_t *dirs, const char *file, unsigned long long *value);

#endif
