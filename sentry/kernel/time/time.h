/*
 * Times in nanoseconds: between the guest's structures, clocks and the deadlines of wait_block()
 * (absolute CLOCK_MONOTONIC). Sums saturate at INT64_MAX, which is NO_DEADLINE.
 */
#ifndef MOAT_SENTRY_KERNEL_TIME_TIME_H
#define MOAT_SENTRY_KERNEL_TIME_TIME_H

#include <stdint.h>
#include <time.h>

#include "sentry/kernel/task/task.h"
#include "sentry/uaccess/uaccess.h"

/* A struct timespec at uaddr: 0, -EFAULT, or -EINVAL if it is not a valid time. */
int timespec_from_user(int64_t *ns, uaddr_t uaddr);
int timespec_to_user(uaddr_t uaddr, int64_t ns);
/* The same for a struct timeval. */
int timeval_from_user(int64_t *ns, uaddr_t uaddr);
struct timespec ns_to_timespec(int64_t ns);
struct timeval ns_to_timeval(int64_t ns);
/* -EINVAL unless the fields are in range. */
int timespec_to_ns(const struct timespec *ts, int64_t *ns);

static inline int64_t ns_add(int64_t a, int64_t b)
{
	int64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}
/* The deadline of "after ns". */
int64_t deadline_after(int64_t ns);
/* The deadline of "when `clock` shows ns": clocks that run on with CLOCK_MONOTONIC; a later jump
 * of CLOCK_REALTIME is not followed. */
int64_t deadline_at(clockid_t clock, int64_t ns);

/* CPU time, ns: of a live thread, and of a process with its threads that are gone. */
uint64_t task_cpu_ns(struct task *t);
uint64_t group_cpu_ns(struct thread_group *g);
/* The same split into user and system time as the host splits the stub's. */
void group_cpu_split(struct thread_group *g, uint64_t *utime, uint64_t *stime);

/* A clock of the guest (man 2 clock_gettime), CPU clocks included: ns, or -EINVAL. */
int guest_clock_ns(clockid_t clock, int64_t *ns);

#endif
