/*
 * Timers of a process: interval timers (itimer.c), POSIX timers (posix_timer.c), and what counts
 * CPU time (cpu_timer.c).
 *
 * Locks: watch_lock (the list of processes with CPU timers) -> tasklist_lock ...; group->lock
 * guards the interval timers; posix_timers->lock the POSIX timers, before sighand->lock.
 */
#ifndef MOAT_SENTRY_KERNEL_TIME_TIMERS_H
#define MOAT_SENTRY_KERNEL_TIME_TIMERS_H

#include <signal.h>
#include <time.h>

#include "sentry/kernel/task/task.h"

/* group_timers_init() and group_timers_exit() are declared in task/task_upcalls.h. */

/* Exec: POSIX timers go, interval timers stay. No locks held. */
void group_timers_exec(struct thread_group *g);

/* --- interval timers: which is ITIMER_REAL, ITIMER_VIRTUAL or ITIMER_PROF; ns --------------------
 */
int itimer_get(struct thread_group *g, int which, int64_t *value, int64_t *interval);
int itimer_set(struct thread_group *g, int which, int64_t value, int64_t interval,
	       int64_t *old_value, int64_t *old_interval);
/* Sends what is due of ITIMER_VIRTUAL and ITIMER_PROF; the CPU time until the next, or INT64_MAX.
 */
int64_t itimer_check_cpu(struct thread_group *g);

/* --- CPU time -----------------------------------------------------------------------------------
 */
/* Something of g now depends on its CPU time (a timer was armed, RLIMIT_CPU set): look at it from
 * now on, for as long as that is so. No locks held. */
void cpu_timer_watch(struct thread_group *g);
void cpu_timer_unwatch(struct thread_group *g);
/* The same two for posix_timer.c. */
int64_t posix_timers_check_cpu(struct thread_group *g);

/* --- POSIX timers (man 2 timer_create, timer_settime); results as the system calls' --------------
 */
int posix_timer_create(struct task *t, clockid_t clock, const struct sigevent *event, int *id);
int posix_timer_settime(struct task *t, int id, bool absolute, int64_t value, int64_t interval,
			int64_t *old_value, int64_t *old_interval);
int posix_timer_gettime(struct task *t, int id, int64_t *value, int64_t *interval);
int posix_timer_getoverrun(struct task *t, int id);
int posix_timer_delete(struct task *t, int id);
void posix_timers_exit(struct thread_group *g);

#endif
