/* For the rooms of sentry/kernel: making, publishing and ending tasks, pids and groups. */
#ifndef MOAT_SENTRY_KERNEL_TASK_LIFECYCLE_H
#define MOAT_SENTRY_KERNEL_TASK_LIFECYCLE_H

#include "sentry/kernel/core/ucount.h"
#include "sentry/kernel/task/task.h"

/* --- pid.c ----------------------------------------------------------------------------------- */
#define GUEST_PID_MAX 32768
struct pid_ns *pid_ns_create(struct user_ns *owner,
			     struct pid_ns *parent); /* NULL: no memory, too deep */
/* A new id in ns and its ancestors. set_tid: wanted numbers, innermost first. -EAGAIN: none free,
 * -ENOMEM, -EEXIST, -EINVAL. The table's reference is the caller's until pid_release_number(). */
int pid_alloc(struct pid_ns *ns, const int32_t *set_tid, unsigned set_tid_size, struct pid **out);
/* Takes the numbers out of the tables, and drops the reference, when no task, group, process group
 * or session has the id any more. tasklist_lock held for writing (new ids: not needed). */
void pid_release_unused(struct pid *p);

/* How many ids there are in ns. */
unsigned pid_ns_population(struct pid_ns *ns);

/* --- task.c ---------------------------------------------------------------------------------- */
struct task *task_alloc(void); /* zeroed, one reference, queues ready; NULL: no memory */
struct thread_group *group_alloc(void);
/* Publishes `fresh` (consumed) as t's credentials, and does what a change entails: counts for
 * RLIMIT_NPROC, not dumpable any more, no parent-death signal, the stub's identity page. t is
 * current. */
void task_set_cred(struct task *t, struct cred *fresh);
/* Credentials like t's, in a new user namespace below t's (CLONE_NEWUSER). -EPERM also where t's
 * root is not that of its mount namespace: a chroot is not left that way. t is current. */
int cred_in_new_user_ns(struct task *t, struct cred **out);
/* ns has a map now: the stubs of its tasks are told what their ids are called. Takes
 * tasklist_lock. */
void tasks_show_user_ns(const struct user_ns *ns);
void task_account(struct task *t, struct ucount *u); /* consumes u, which is charged */
/* Links the thread into its group, and (leader) the group into its parent, process group and
 * session. tasklist_lock (write), group->lock and sighand->lock held. */
void task_link(struct task *t);
void group_link(struct thread_group *g, struct thread_group *parent, struct pid *pgrp,
		struct pid *session);
/* Moves the group to another process group or session; tasklist_lock (write). */
void group_set_pgrp(struct thread_group *g, struct pid *pgrp);
void group_set_session(struct thread_group *g, struct pid *session);
/* Takes a zombie out of every list and frees its numbers; drops the lists' references.
 * tasklist_lock (write). */
void group_release(struct thread_group *g);
/* The same for one thread that is not the leader. */
void task_release(struct task *t);

/* --- exit.c, vfork -----------------------------------------------------------------------------
 */
/* Ends the current task with this wait status. On return it has no context; t is one reference
 * poorer and may be gone. */
void do_exit(struct task *t, int status);
/* An id of ns is free again: if its init has exited and only waited for the others to go, it is a
 * zombie now (or released). tasklist_lock held for writing. */
void pid_ns_shrank(struct pid_ns *ns);
/* The thread that runs do_exit for tasks whose stub died in the guest. 0 or -errno. */
int dead_context_thread_start(void);
/* What a context that is about to go has used: measured before, added to the group (account_cpu,
 * tasklist_lock held for writing) at the moment when t->ctx goes, so that sums never shrink. */
struct cpu_usage {
	uint64_t utime, stime; /* ns */
};
void account_thread(struct task *t, struct cpu_usage *cpu);
void account_cpu(struct thread_group *g, const struct cpu_usage *cpu, const struct task *t);
/* Lets the parent of a vfork child go on; at exec and exit. */
void vfork_release(struct task *t);
struct vfork {
	struct refcount refs;
	struct mutex lock;
	bool done;
	struct wait_queue wait;
};
void vfork_put(struct vfork *v);
/* g is a zombie that its parent has not heard of, because it was traced by another process: tells
 * it, or buries g if nobody will wait for it. tasklist_lock held for writing. */
void zombie_to_parent(struct thread_group *g);
/* Tells the parent of a stop (CLD_STOPPED) or continue (CLD_CONTINUED). tasklist_lock held. */
void notify_parent_jobctl(struct thread_group *g, int why);
/* SIGHUP and SIGCONT to process groups that become orphaned with stopped members because `g` goes
 * or changes group. tasklist_lock held (write). */
bool pgrp_is_orphaned_locked(struct pid *pgrp); /* tasklist_lock held */
void check_orphaned_pgrps(struct thread_group *g);

#endif
