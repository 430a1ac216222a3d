/*
 * Process ids, for rooms that keep them and need not know whose they are (man 7 pid_namespaces).
 * kernel/task/pid.c answers.
 */
#ifndef MOAT_SENTRY_KERNEL_CORE_PID_H
#define MOAT_SENTRY_KERNEL_CORE_PID_H

#include <sys/types.h>

struct pid;
struct pid_ns;
struct task;

struct pid *pid_get(struct pid *p);
void pid_put(struct pid *p);
/* The number of a pid object as seen from a namespace; 0 if it is not in it. */
pid_t pid_nr_ns(const struct pid *pid, const struct pid_ns *ns);
/* Looks a number up in a namespace; returns a reference or NULL. */
struct pid *pid_find(struct pid_ns *ns, pid_t nr);
struct pid_ns *pid_ns_get(struct pid_ns *ns);
void pid_ns_put(struct pid_ns *ns);
struct pid_ns *task_pid_ns(const struct task *t); /* the namespace its own pid lives in */

#endif
