/* POSIX timers: arguments; the work is in kernel/time/posix_timer.c. */
#include <errno.h>
#include <time.h>

#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/time/timers.h"
#include "sentry/uaccess/uaccess.h"

static int put_itimerspec(uaddr_t uaddr, int64_t value, int64_t interval)
{
	struct itimerspec it = {
		.it_interval = ns_to_timespec(interval),
		.it_value = ns_to_timespec(value),
	};

	return put_user(uaddr, it);
}

SYSCALL_DEFINE3(timer_create, int, clock, uaddr_t, uevent, uaddr_t, uid)
{
	struct sigevent event;
	int id, ret;

	if (uevent && get_user(&event, uevent))
		return -EFAULT;
	ret = posix_timer_create(t, clock, uevent ? &event : NULL, &id);
	if (ret)
		return ret;
	if (put_user(uid, id)) {
		posix_timer_delete(t, id);
		return -EFAULT;
	}
	return 0;
}

SYSCALL_DEFINE4(timer_settime, int, id, int, flags, uaddr_t, unew, uaddr_t, uold)
{
	int64_t value, interval, old_value, old_interval;
	struct itimerspec it;
	int ret;

	if (!unew)
		return -EINVAL;
	if (get_user(&it, unew))
		return -EFAULT;
	ret = timespec_to_ns(&it.it_value, &value);
	if (!ret)
		ret = timespec_to_ns(&it.it_interval, &interval);
	if (!ret)
		ret = posix_timer_settime(t, id, flags & TIMER_ABSTIME, value, interval, &old_value,
					  &old_interval);
	if (ret || !uold)
		return ret;
	return put_itimerspec(uold, old_value, old_interval);
}

SYSCALL_DEFINE2(timer_gettime, int, id, uaddr_t, uvalue)
{
	int64_t value, interval;
	int ret = posix_timer_gettime(t, id, &value, &interval);

	return ret ? ret : put_itimerspec(uvalue, value, interval);
}

SYSCALL_DEFINE1(timer_getoverrun, int, id)
{
	return posix_timer_getoverrun(t, id);
}

SYSCALL_DEFINE1(timer_delete, int, id)
{
	return posix_timer_delete(t, id);
}
