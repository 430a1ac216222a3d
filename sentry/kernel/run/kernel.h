/* The kernel as the loader and the control server see it. */
#ifndef MOAT_SENTRY_KERNEL_RUN_KERNEL_H
#define MOAT_SENTRY_KERNEL_RUN_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

struct container_mark;
struct container_ns;
struct cred;
struct file;
struct mnt_ns;
struct sock_filter;
struct thread_group;
struct tty;

struct init_params {
	/* The first process of a container; everything is copied. */
	const char *path; /* executable, absolute or searched in PATH of envp */
	char *const *argv, *const *envp;
	/* The program itself, made while the process is the current task; path is but a name then.
	 * NULL: it is found by path. */
	int (*make_program)(void *arg, struct file **program);
	void *make_program_arg;
	const char *cwd;
	const char *hostname, *domainname;
	struct cred *cred;	   /* consumed */
	const struct rlimit *rlim; /* RLIM_NLIMITS entries */
	int umask;
	bool no_new_privs;
	const struct sock_filter *seccomp; /* judges the program from its first call on */
	unsigned nseccomp;		   /* instructions; 0: none */
	struct file *stdio[3];		   /* descriptors 0 to 2; consumed */
	struct file **extra; /* descriptors from 3 on; consumed, the vector excepted */
	unsigned nextra;
	struct tty *console;   /* becomes the controlling terminal of the new session, or NULL */
	struct mnt_ns *mnt_ns; /* with its root mounted; consumed; NULL with `join` */
	/* The namespaces to run in (kernel/container.h); NULL: new ones, as their first process. */
	const struct container_ns *join;
	/* Without `join`: those of these that are not NULL are not new but shared; or NULL. */
	const struct container_ns *share;
	struct container_mark *container; /* of the process and its children */
	int oom_score_adj;
	int sched_policy, sched_priority, nice, ioprio; /* of valid values */
	bool sched_reset_on_fork;
	/* As Linux treats PID 1 of a namespace: signals without a handler are ignored. False: they
	 * kill, as they kill any process (what `moat do` wants). */
	bool unkillable;
	/* It never runs: what is left of others' children is reaped at once. */
	bool ignore_children;
};
int kernel_init(int num_cpus, uint64_t total_memory);
/* From now on total_memory is a limit: what goes beyond is killed (kernel/run/memory_limit.c). */
int kernel_limit_memory(void);
/* Another limit; only after kernel_limit_memory(). */
void kernel_change_memory_limit(uint64_t bytes);
/* Bytes of memory that guests and the sentry have. exact: see platform_as_anon(). */
uint64_t kernel_memory_used(bool exact);
/* Starts worker threads and returns. */
int kernel_start(void);
/* Creates a process without a parent, a container's init for one: its program is loaded, but does
 * not run before kernel_start_process(). On error *what (static or from params) says what failed.
 * The group is referenced for the caller. */
int kernel_create_process(const struct init_params *params, struct thread_group **group,
			  const char **what);
/* Once; 0 or -errno, then the process is gone. */
int kernel_start_process(struct thread_group *group);
/* Instead of starting it: it ends as if by SIGKILL. */
void kernel_discard_process(struct thread_group *group);
/* Blocks (host thread, not a task) until the group is a zombie; returns its wait status. */
int kernel_wait_group(struct thread_group *group);
/* Has it ended, and how? Does not wait. */
bool kernel_group_ended(struct thread_group *group, int *status);
/* A signal from outside (the CLI, the control server). */
int kernel_signal_group(struct thread_group *group, int sig);

#endif
