/*
 * Signals: queues, sending, delivery (man 7 signal). What a task has of them is task/sighand.h.
 * Lock: sighand->lock, see there.
 */
#ifndef MOAT_SENTRY_KERNEL_SIGNAL_SIGNAL_H
#define MOAT_SENTRY_KERNEL_SIGNAL_SIGNAL_H

#include "sentry/kernel/task/sighand.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/task/task_upcalls.h"

/* --- sending; task_send_signal() is in core/signals.h, group_send_signal() in task_upcalls.h ---
 */

/* All processes of a process group; -ESRCH if there is none. */
int pgrp_send_signal(struct task *from_ns, pid_t pgid, int sig, const guest_siginfo_t *info);
/* Ends the current task's process as by a signal with the default action of leaving a core file,
 * and writes that if there is to be one. No locks held. */
void group_exit_dumping(struct task *t, int sig, const guest_siginfo_t *info);
/* A fault of the current task: delivered even if blocked or ignored (then with SIG_DFL). */
void force_signal(struct task *t, int sig, const guest_siginfo_t *info);
/* POSIX timers: a signal whose queue entry is the timer's own (posix_timer set, info filled).
 * t: to that thread; otherwise to tg. 0 queued; 1 it was still queued from last time (an overrun);
 * -errno. Before a timer is freed, timer_signal_cancel() takes the entry out of its queue. The
 * delivery calls posix_timer_delivered(). */
int timer_signal_send(struct thread_group *tg, struct task *t, struct sigqueue *q);
void timer_signal_cancel(struct thread_group *tg, struct task *t, struct sigqueue *q);

/* --- queues ----------------------------------------------------------------------------------- */

/* Takes the lowest signal of `set` out of the thread's, then the group's queue: its number, 0 if
 * there is none. For signalfd and sigtimedwait. sighand->lock held; recalculates pending. */
int dequeue_signal(struct task *t, sigset64_t set, guest_siginfo_t *info);
/* Signals in `set` that are pending for t (its own and its group's). Takes sighand->lock. */
sigset64_t signals_pending(struct task *t, sigset64_t set);
/* Sets or clears TF_SIGPENDING of t from the queues; sighand->lock held. */
void recalc_sigpending(struct task *t);

/* --- waking ----------------------------------------------------------------------------------- */

/* Makes t look at its flags: out of wait_block(), out of the guest. sighand->lock held. */
void signal_wake(struct task *t);
void signal_kill_thread(struct task *t); /* TF_KILLED, and wakes; sighand->lock held */

/* --- the blocked mask, while the guest may change it --------------------------------------------
 */

/* Before t goes back to the guest, and when it has come. Owner: run loop. */
void signal_mask_lend(struct task *t);
void signal_mask_return(struct task *t);
/* From now on t->blocked is the latest. sighand->lock held. */
void signal_mask_take(struct task *t);

/* --- delivery --------------------------------------------------------------------------------- */

/* Delivers what is pending before going back to the guest; sets up frames; may stop or end the task
 * (then returns false and the task must exit). Handles syscall restart. Owner: run loop. */
bool deliver_signals(struct task *t);

#endif
