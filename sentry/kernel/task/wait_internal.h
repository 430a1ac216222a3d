/* Between the files of kernel/task that answer wait4(2) and waitid(2). */
#ifndef MOAT_SENTRY_KERNEL_TASK_WAIT_INTERNAL_H
#define MOAT_SENTRY_KERNEL_TASK_WAIT_INTERNAL_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct pid;
struct task;
struct thread_group;

struct wait_request {
	idtype_t type;
	struct pid *pid; /* P_PID, P_PIDFD: the process; P_PGID: the group; referenced */
	unsigned options;
};

struct wait_result {
	pid_t pid;
	uid_t uid;
	int status; /* as wait4 stores it */
	int code;   /* CLD_* */
	struct rusage usage;
	struct thread_group *live; /* it goes on: what its threads use comes to that; counted */
};

/* What is told of t, a leader or a thread that is traced. tasklist_lock held. */
void wait_fill_result(struct task *t, int code, int status, struct wait_result *r);
/* What a reaped child has used is its parent's. */
void wait_inherit_usage(struct thread_group *parent, struct thread_group *child);

/* The tracees of the current process. 1: *r is filled. 0: there are some, but nothing to tell yet.
 * -ECHILD: there is none that is meant. tasklist_lock held for writing. */
int wait_look_traced(const struct wait_request *w, struct wait_result *r);

#endif
