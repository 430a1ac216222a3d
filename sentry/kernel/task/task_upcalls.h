/*
 * What making and ending tasks asks of rooms that stand above this one; those that answer include
 * this header.
 */
#ifndef MOAT_SENTRY_KERNEL_TASK_TASK_UPCALLS_H
#define MOAT_SENTRY_KERNEL_TASK_TASK_UPCALLS_H

#include <stdint.h>

#include "sentry/kernel/task/sighand.h"

struct pid;
struct task;
struct thread_group;
struct trace;
struct tty;

/* --- kernel/signal ---------------------------------------------------------------------------- */
struct sighand *sighand_alloc(void); /* all default; NULL: no memory */
struct sighand *sighand_get(struct sighand *sh);
void sighand_put(struct sighand *sh);
void sigpending_init(struct sigpending *p);
void sigpending_flush(struct sigpending *p, sigset64_t set);
/* Locks the group's sighand, which execve may replace meanwhile. Unlock with mutex_unlock. */
struct sighand *lock_sighand(struct thread_group *tg);
/* Threads that do not block them are woken for the group's pending signals in `set`, because t will
 * not take them. sighand->lock held. */
void retarget_pending(struct task *t, sigset64_t set);
/* kill: as task_send_signal(), to any thread of the group. */
int group_send_signal(struct thread_group *tg, int sig, const guest_siginfo_t *info);
/* Sends with sighand->lock held. `group`: to any thread. `forced`: reaches an unkillable init. */
int send_signal_locked(struct thread_group *g, struct task *t, int sig, const guest_siginfo_t *info,
		       bool group, bool forced);
/* SIGKILL to the whole group, from anywhere. status is the wait status. */
void group_kill(struct thread_group *tg, int status);
/* Starts the end of all threads with this wait status, unless it has begun; sighand->lock held.
 * `except` is not woken. */
void group_exit_locked(struct thread_group *g, int status, struct task *except);

/* --- kernel/seccomp --------------------------------------------------------------------------- */
/* What the child gets from its parent; the parent's group->lock held. */
void seccomp_inherit(struct task *child, const struct task *parent);
/* Not _release: libseccomp has a function of that name. */
void seccomp_forget(struct task *t);

/* --- kernel/ptrace ---------------------------------------------------------------------------- */
/* NULL is fine. */
void trace_free(struct trace *tr);
/* t, which is traced, is not any more. tasklist_lock held for writing; may drop a reference to t.
 */
void trace_unlink(struct task *t);
/* Likewise, of a tracee that its tracer lets go: a zombie is then its parent's to wait for. */
void trace_let_go(struct task *t);
/* t will trace nobody any more. tasklist_lock held for writing. */
void trace_tracer_exits(struct task *t);
/* t, traced and not a leader, has ended: its number stays until it has been waited for.
 * tasklist_lock held for writing, after task_release(). */
void trace_thread_died(struct task *t);
/* The tracer, if there is one, looks for what it can wait for; SIGCHLD with this code (CLD_*).
 * tasklist_lock held. */
void trace_notify(struct task *t, int why, int status);
/* Before a child is published: what it takes for it to be traced from its beginning. -ENOMEM. */
int trace_prepare_child(struct task *child, struct task *parent, uint64_t clone_flags);
/* While it is published: tasklist_lock (write) held. */
void trace_start_child(struct task *child, struct task *parent, uint64_t clone_flags);
/* Stops the current task, if its tracer wants to know that it has made this child, or that it has
 * let go of the memory lent to it. */
void trace_event_clone(struct task *parent, uint64_t clone_flags, struct pid *child);
void trace_event_vfork_done(struct task *parent, struct pid *child);
/* The current task runs a new program; its thread had this number before. */
void trace_exec(struct task *t, struct pid *old);
/* The tracer of the current task is asked about a call (SECCOMP_RET_TRACE). False: nobody to ask.
 */
bool trace_seccomp(struct task *t, uint32_t data);
/* May t get the powers of a set-id program, or is there a tracer who may not have them? */
bool trace_bears_set_id(struct task *t);

/* --- kernel/futex ----------------------------------------------------------------------------- */
/* The current task exits or execs, t->mm still being its old one: marks the robust futexes that it
 * holds as left by a dead owner, hands its PI futexes on, clears and wakes clear_child_tid. */
void futex_task_exit(struct task *t);

/* --- kernel/time ------------------------------------------------------------------------------ */
/* A new process: no timers; watches RLIMIT_CPU if it is set. */
void group_timers_init(struct thread_group *g);
/* CPU time of all threads, living and dead, in ns; time.h. No locks held. */
void group_cpu_split(struct thread_group *g, uint64_t *utime, uint64_t *stime);
/* The last thread is exiting; no locks held. */
void group_timers_exit(struct thread_group *g);

/* --- kernel/ipc ------------------------------------------------------------------------------- */
/* The last thread of a process exits: SEM_UNDO. No locks held; the current task. */
void ipc_group_exit(struct task *t);

/* --- kernel/run ------------------------------------------------------------------------------- */
/* Host threads in kernel_wait_group() look again; tasklist_lock may be held. */
void kernel_group_exited(void);

/* --- terminals: fs/tty, if there are any ------------------------------------------------------ */
struct task_tty_operations {
	struct tty *(*get)(struct tty *tty);
	void (*put)(struct tty *tty);
	/* What becomes of the controlling terminal of a process that exits: see fs/tty/tty.h. No
	 * locks held. */
	void (*disassociate)(struct thread_group *g, bool on_exit);
	/* tty becomes the controlling terminal of the session that g leads. */
	void (*set_controlling)(struct tty *tty, struct thread_group *g);
	/* A signal to its foreground process group; its device number. */
	void (*signal_foreground)(struct tty *tty, int sig);
	uint64_t (*device)(const struct tty *tty);
};
/* At start; ops are static. */
void task_set_tty_operations(const struct task_tty_operations *ops);
extern const struct task_tty_operations *task_tty_ops; /* without terminals: NULL */

#endif
