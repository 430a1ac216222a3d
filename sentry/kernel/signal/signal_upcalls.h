/* What signals ask of rooms that stand above this one. */
#ifndef MOAT_SENTRY_KERNEL_SIGNAL_SIGNAL_UPCALLS_H
#define MOAT_SENTRY_KERNEL_SIGNAL_SIGNAL_UPCALLS_H

#include "sentry/kernel/task/sighand.h"

/* kernel/time: a timer's signal is delivered: fills si_overrun, re-arms. sighand->lock held: takes
 * no lock that comes before it. */
void posix_timer_delivered(void *timer, guest_siginfo_t *info);

/* kernel/ptrace, for the current task, which is traced; no locks held. */
struct task;
/* It is to get this signal: its tracer says which it gets, *info then is of that one. 0: none. */
int trace_signal(struct task *t, int sig, guest_siginfo_t *info);
/* A stop that the tracer has asked for, or of the group that it takes part in. */
void trace_trap(struct task *t);
/* A handler's frame has been made. */
void trace_handler_begins(struct task *t);
/* Of any task, seized by its tracer: the stop of its group has begun or ended. sighand->lock held.
 */
void trace_changed_group_stop(struct task *t);

/* kernel/coredump, for the current task: the signal, by default, ends its process and leaves a core
 * file. Writes it if there is to be one; then the end has begun. No locks held. */
void coredump(struct task *t, int sig, const guest_siginfo_t *info);

#endif
