/* What ppoll, pselect6 and select leave in the guest's timeout (man 2 select: "Linux modifies"). */
#ifndef MOAT_SENTRY_VFS_POLL_WRITE_BACK_INTERNAL_H
#define MOAT_SENTRY_VFS_POLL_WRITE_BACK_INTERNAL_H

#include <sys/personality.h>
#include <sys/time.h>

#include "sentry/kernel/core/timeout.h"
#include "sentry/kernel/core/current.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/uaccess/uaccess.h"

/* False if the timeout stays as it is. */
static inline bool time_remaining(uaddr_t utimeout, int64_t deadline, int64_t *left)
{
	if (!utimeout || deadline == 0 || deadline == NO_DEADLINE ||
	    (current_personality() & STICKY_TIMEOUTS))
		return false;
	*left = deadline - monotonic_ns();
	if (*left < 0)
		*left = 0;
	return true;
}

/* Both return `ret`; but a call that is to be restarted with a timeout that could not be written
 * back must not be, for it would wait for the whole time again. */
static inline long write_back_timespec(uaddr_t utimeout, int64_t deadline, long ret)
{
	struct timespec ts;
	int64_t left;

	if (!utimeout)
		return ret;
	if (time_remaining(utimeout, deadline, &left)) {
		ts.tv_sec = left / NSEC_PER_SEC;
		ts.tv_nsec = left % NSEC_PER_SEC;
		if (put_user(utimeout, ts) == 0)
			return ret;
	} else if (deadline == 0 || deadline == NO_DEADLINE) {
		return ret;
	}
	return ret == -ERESTARTNOHAND ? -EINTR : ret;
}

static inline long write_back_timeval(uaddr_t utimeout, int64_t deadline, long ret)
{
	struct timeval tv;
	int64_t left;

	if (!utimeout)
		return ret;
	if (time_remaining(utimeout, deadline, &left)) {
		tv.tv_sec = left / NSEC_PER_SEC;
		tv.tv_usec = left % NSEC_PER_SEC / 1000;
		if (put_user(utimeout, tv) == 0)
			return ret;
	} else if (deadline == 0 || deadline == NO_DEADLINE) {
		return ret;
	}
	return ret == -ERESTARTNOHAND ? -EINTR : ret;
}

#endif
