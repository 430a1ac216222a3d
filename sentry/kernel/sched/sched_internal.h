/* Permission to change another task's scheduling, for sched.c and priority.c. */
#ifndef MOAT_SENTRY_KERNEL_SCHED_SCHED_INTERNAL_H
#define MOAT_SENTRY_KERNEL_SCHED_SCHED_INTERNAL_H

#include <stdbool.h>

struct task;

/* The current task's effective uid is t's real or effective one. */
bool task_same_owner(struct task *t);
/* RLIMIT_NICE or CAP_SYS_NICE allow that value. */
bool task_can_nice(struct task *t, int nice);

#endif
