/* Interval timers (man 2 getitimer, setitimer, alarm). */
#include <errno.h>
#include <sys/time.h>

#include "base/clock.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/time/timers.h"
#include "sentry/uaccess/uaccess.h"

static int put_itimerval(uaddr_t uaddr, int64_t value, int64_t interval)
{
	/* A time that is left is not shown as none. */
	struct itimerval it = {
		.it_interval = ns_to_timeval(interval),
		.it_value = ns_to_timeval(value && value < 1000 ? 1000 : value),
	};

	return put_user(uaddr, it);
}

SYSCALL_DEFINE2(getitimer, int, which, uaddr_t, uvalue)
{
	int64_t value, interval;
	int ret = itimer_get(t->group, which, &value, &interval);

	return ret ? ret : put_itimerval(uvalue, value, interval);
}

SYSCALL_DEFINE3(setitimer, int, which, uaddr_t, unew, uaddr_t, uold)
{
	int64_t value = 0, interval = 0, old_value, old_interval;
	int ret;

	if (unew) {
		ret = timeval_from_user(&interval, unew + offsetof(struct itimerval, it_interval));
		if (!ret)
			ret = timeval_from_user(&value,
						unew + offsetof(struct itimerval, it_value));
		if (ret)
			return ret;
	}
	ret = itimer_set(t->group, which, value, interval, &old_value, &old_interval);
	if (ret || !uold)
		return ret;
	return put_itimerval(uold, old_value, old_interval);
}

SYSCALL_DEFINE1(alarm, unsigned, seconds)
{
	int64_t old_value, old_interval;

	itimer_set(t->group, ITIMER_REAL, (int64_t)seconds * NSEC_PER_SEC, 0, &old_value,
		   &old_interval);
	if (!old_value)
		return 0;
	/* Rounded, but never to none (Linux: alarm_setitimer). */
	return MAX((old_value + NSEC_PER_SEC / 2) / NSEC_PER_SEC, 1L);
}
