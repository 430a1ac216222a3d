/* Changing the current task's credentials. */
#ifndef MOAT_SENTRY_KERNEL_CRED_CHANGE_H
#define MOAT_SENTRY_KERNEL_CRED_CHANGE_H

struct task;
struct cred;

/* Publishes `fresh` (consumed) as t's credentials, and does what a change entails: counts for
 * RLIMIT_NPROC, not dumpable any more, no parent-death signal, the stub's identity page. t is
 * current. */
void task_set_cred(struct task *t, struct cred *fresh);

#endif
