/* Relative timeouts of guests as absolute deadlines. */
#ifndef MOAT_SENTRY_KERNEL_CORE_TIMEOUT_H
#define MOAT_SENTRY_KERNEL_CORE_TIMEOUT_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/wait.h"

/* The deadline (monotonic ns) that is ts from now: 0 for a zero timeout, NO_DEADLINE for one too
 * far to matter, -EINVAL if ts is not a valid time. */
static inline int64_t deadline_from_timespec(const struct timespec *ts)
{
	int64_t ns;

	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	if (ts->tv_sec == 0 && ts->tv_nsec == 0)
		return 0;
	if (__builtin_mul_overflow((int64_t)ts->tv_sec, NSEC_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts->tv_nsec + monotonic_ns(), &ns))
		return NO_DEADLINE;
	return ns;
}

/* The same for the time that a call waits at most. */
static inline int64_t deadline_of_call(const struct timespec *ts)
{
	int64_t deadline = deadline_from_timespec(ts);

	return deadline > 0 ? current_kept_deadline(deadline) : deadline;
}

#endif
