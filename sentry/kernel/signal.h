/*
 * Signals: pending queues, actions, delivery (man 7 signal).
 * Locks: sighand->lock guards the handlers, every pending queue of the group, the blocked masks
 * and job-control state of its threads.
 */
#ifndef MOAT_SENTRY_KERNEL_SIGNAL_H
#define MOAT_SENTRY_KERNEL_SIGNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/refcount.h"
#include "sentry/kernel/wait.h"

struct task;
struct thread_group;
struct cred;

#define GUEST_NSIG 64
typedef uint64_t sigset64_t; /* bit n-1 is signal n: the kernel's layout */
#define SIG_BIT(sig) (1ULL << ((sig)-1))

/* struct siginfo as the guest sees it: 128 bytes, the kernel's layout. */
typedef siginfo_t guest_siginfo_t;

/* struct sigaction of the kernel's ABI (x86-64). */
struct ksigaction {
	uint64_t handler; /* 0 SIG_DFL, 1 SIG_IGN */
	uint64_t flags;	  /* SA_* , SA_RESTORER 0x04000000 */
	uint64_t restorer;
	sigset64_t mask;
};

struct sigqueue {
	TAILQ_ENTRY(sigqueue) link;
	guest_siginfo_t info;
	void *posix_timer; /* the k_itimer whose signal this is, or NULL: then owned by the queue */
	bool queued;	   /* of a posix_timer: already in a queue */
	void *ucount;	   /* whose RLIMIT_SIGPENDING it counts for */
};

struct sigpending {
	sigset64_t set;
	TAILQ_HEAD(, sigqueue) queue;
};

struct sighand {
	struct refcount refs;
	struct mutex lock;
	struct ksigaction action[GUEST_NSIG];
	struct wait_queue signalfd_wait; /* EPOLLIN whenever a signal is queued */
	struct sighand *next_free;	 /* memory is never returned: see thread_group->sighand */
};

/* Locks the group's sighand, which execve may replace meanwhile. Unlock with mutex_unlock. */
struct sighand *lock_sighand(struct thread_group *tg);
/* Takes the lowest signal of `set` out of the thread's, then the group's queue: its number, 0 if
 * there is none. For signalfd and sigtimedwait. sighand->lock held; recalculates pending. */
int dequeue_signal(struct task *t, sigset64_t set, guest_siginfo_t *info);
/* Signals in `set` that are pending for t (its own and its group's). Takes sighand->lock. */
sigset64_t signals_pending(struct task *t, sigset64_t set);
/* POSIX timers: a signal whose queue entry is the timer's own (posix_timer set, info filled).
 * t: to that thread; otherwise to tg. 0 queued; 1 it was still queued from last time (an overrun);
 * -errno. Before a timer is freed, timer_signal_cancel() takes the entry out of its queue. The
 * delivery calls posix_timer_delivered(). */
int timer_signal_send(struct thread_group *tg, struct task *t, struct sigqueue *q);
void timer_signal_cancel(struct thread_group *tg, struct task *t, struct sigqueue *q);
/* kernel/posix_timer.c: fills si_overrun, re-arms. sighand->lock held: takes no lock that comes
 * before it. */
void posix_timer_delivered(void *timer, guest_siginfo_t *info) __attribute__((weak));

/* Sending. `info` may be NULL: filled as SI_KERNEL. They queue, pick a thread, wake it out of
 * wait_block() and kick it out of the guest. Callers have checked permission. 0 or -errno
 * (-EAGAIN: RLIMIT_SIGPENDING for real-time signals). */
int task_send_signal(struct task *t, int sig, const guest_siginfo_t *info);	      /* tgkill */
int group_send_signal(struct thread_group *tg, int sig, const guest_siginfo_t *info); /* kill */
/* All processes of a process group; -ESRCH if there is none. */
int pgrp_send_signal(struct task *from_ns, pid_t pgid, int sig, const guest_siginfo_t *info);
/* A fault of the current task: delivered even if blocked or ignored (then with SIG_DFL). */
void force_signal(struct task *t, int sig, const guest_siginfo_t *info);
/* SIGKILL to the whole group, from anywhere. exit_code is the wait status. */
void group_kill(struct thread_group *tg, int status);

/* True if the task should leave a sleep: deliverable signal, kill, or stop pending. Cheap: reads
 * one flag word. */
bool signal_pending(struct task *t);
bool fatal_signal_pending(struct task *t);
/* Delivers what is pending before going back to the guest; sets up frames; may stop or end the task
 * (then returns false and the task must exit). Handles syscall restart. Owner: run loop. */
bool deliver_signals(struct task *t);

/* Replaces the blocked mask of the current task (SIGKILL, SIGSTOP removed), re-evaluates pending.
 */
void set_blocked(struct task *t, sigset64_t mask);
/* For ppoll, pselect, epoll_pwait, sigsuspend: temporary mask, restored by signal delivery or by
 * restore_saved_mask() when the call ends without a signal. */
void set_temporary_mask(struct task *t, sigset64_t mask);
void restore_saved_mask(struct task *t);
/* Reads a user sigset argument of `size` bytes (must be 8): 0 or -errno. */
int sigset_from_user(sigset64_t *set, uint64_t uaddr, uint64_t size);

/* SIGIO/SIGURG for a file's owner (fcntl F_SETOWN), see file->owner. */

#endif
