/* Between the files of sentry/kernel: making, publishing and ending tasks, pids and groups. */
#ifndef MOAT_SENTRY_KERNEL_LIFECYCLE_H
#define MOAT_SENTRY_KERNEL_LIFECYCLE_H

#include "sentry/kernel/task.h"

/* In the kernel's asm/signal.h, which cannot be included together with signal.h. */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

/* task->jobctl; sighand->lock */
#define JOBCTL_STOP_PENDING 0x1	 /* is to take part in the group stop */
#define JOBCTL_STOP_COUNTED 0x2	 /* group_stop_count counts on it */
#define JOBCTL_STOPPED 0x4	 /* takes part; cleared by SIGCONT */
#define JOBCTL_STOP_DEQUEUED 0x8 /* about to stop; cleared by SIGCONT */

/* --- ucount.c: what RLIMIT_NPROC and RLIMIT_SIGPENDING count, per real uid ------------------- */
struct ucount;
struct ucount *ucount_get(uid_t uid); /* NULL: no memory */
void ucount_hold(struct ucount *u);   /* one more reference */
void ucount_put(struct ucount *u);
/* Adds one unless that would pass `limit`: 0 or -EAGAIN. */
int ucount_charge_task(struct ucount *u, uint64_t limit);
void ucount_uncharge_task(struct ucount *u);
int ucount_charge_signal(struct ucount *u, uint64_t limit);
void ucount_uncharge_signal(struct ucount *u);
uint64_t ucount_tasks(struct ucount *u);
uint64_t ucount_signals(struct ucount *u);

/* --- pid.c ----------------------------------------------------------------------------------- */
#define GUEST_PID_MAX 32768
struct pid_ns *pid_ns_create(struct pid_ns *parent); /* NULL: no memory, too deep */
struct pid_ns *pid_ns_get(struct pid_ns *ns);
void pid_ns_put(struct pid_ns *ns);
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

/* --- sighand.c / signal_send.c --------------------------------------------------------------- */
struct sighand *sighand_alloc(void); /* all default; NULL: no memory */
struct sighand *sighand_get(struct sighand *sh);
void sighand_put(struct sighand *sh);
void sigpending_init(struct sigpending *p);
void sigpending_flush(struct sigpending *p, sigset64_t set);
/* Sets or clears TF_SIGPENDING of t from the queues; sighand->lock held. */
void recalc_sigpending(struct task *t);
/* Makes t look at its flags: out of wait_block(), out of the guest. sighand->lock held. */
void signal_wake(struct task *t);
void signal_kill_thread(struct task *t); /* TF_KILLED, and wakes; sighand->lock held */
/* Threads that do not block them are woken for the group's pending signals in `set`, because t will
 * not take them. sighand->lock held. */
void retarget_pending(struct task *t, sigset64_t set);
bool sig_default_ignores(int sig);
bool sig_default_stops(int sig);
/* Sends with sighand->lock held. `group`: to any thread. `forced`: reaches an unkillable init. */
int send_signal_locked(struct thread_group *g, struct task *t, int sig, const guest_siginfo_t *info,
		       bool group, bool forced);
/* Starts the end of all threads with this wait status, unless it has begun; sighand->lock held.
 * `except` is not woken. */
void group_exit_locked(struct thread_group *g, int status, struct task *except);
/* Tells the parent of a stop (CLD_STOPPED) or continue (CLD_CONTINUED). tasklist_lock held. */
void notify_parent_jobctl(struct thread_group *g, int why);

/* Puts a handler's frame on the stack of the current task (arch/sigframe.c): registers, mask and
 * alternate stack are then those of the handler. -EFAULT when the stack is bad. */
int setup_signal_frame(struct task *t, int sig, const struct ksigaction *ka,
		       const guest_siginfo_t *info, sigset64_t oldmask);
/* SS_DISABLE, SS_ONSTACK or 0, for a stack pointer. */
uint32_t altstack_state(const struct task *t, uint64_t sp);
/* rt_sigreturn(2): 0, or -EFAULT for a bad frame. */
int restore_signal_frame(struct task *t);

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
/* Host threads in kernel_wait_group() look again; tasklist_lock may be held. */
void kernel_group_exited(void);
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
/* SIGHUP and SIGCONT to process groups that become orphaned with stopped members because `g` goes
 * or changes group. tasklist_lock held (write). */
bool pgrp_is_orphaned_locked(struct pid *pgrp); /* tasklist_lock held */
void check_orphaned_pgrps(struct thread_group *g);

/* --- exec.c ------------------------------------------------------------------------------------
 */
/* Runs the first program of a container, searched in PATH. t is current. 0 or -errno. */
int init_program(struct task *t, const struct init_params *p);

/* --- what other parts may provide (weak: a build without them links) ---------------------------
 */
/* mm: robust list, PI futexes, clear_child_tid; t is current and its mm still there. */
void futex_task_exit(struct task *t) __attribute__((weak));
void group_timers_init(struct thread_group *g) __attribute__((weak));
void group_timers_exit(struct thread_group *g) __attribute__((weak));
void group_timers_exec(struct thread_group *g) __attribute__((weak));
/* vfs: a copy of the namespace; root and cwd of fs move over to the copy's mounts. */
int mnt_ns_copy(struct mnt_ns *from, struct fs *fs, struct mnt_ns **out) __attribute__((weak));
int ktimer_start_thread(void) __attribute__((weak));
struct tty *tty_get(struct tty *tty) __attribute__((weak));
void tty_put(struct tty *tty) __attribute__((weak));
void tty_disassociate(struct thread_group *g, bool on_exit) __attribute__((weak));
void tty_set_controlling(struct tty *tty, struct thread_group *g) __attribute__((weak));

/* --- run.c -------------------------------------------------------------------------------------
 */
void worker_main(void);

#endif
