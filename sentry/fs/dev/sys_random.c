/* getrandom(2): the host's generator. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>

#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/uaccess/uaccess.h"

#ifndef GRND_INSECURE
#define GRND_INSECURE 4
#endif

SYSCALL_DEFINE3(getrandom, uaddr_t, ubuf, size_t, count, unsigned, flags)
{
	char buf[4096];
	size_t done = 0;

	if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	if ((flags & (GRND_INSECURE | GRND_RANDOM)) == (GRND_INSECURE | GRND_RANDOM))
		return -EINVAL;
	count = MIN(count, (size_t)INT_MAX);
	while (done < count) {
		ssize_t n = getrandom(buf, MIN(count - done, sizeof(buf)), GRND_NONBLOCK);
		ssize_t copied;

		if (n <= 0)
			return done ? (long)done : -EAGAIN;
		copied = copy_to_user_partial(ubuf + done, buf, n);
		if (copied > 0)
			done += copied;
		if (copied != n)
			break;
		/* Large reads can be interrupted, small ones not. */
		if (done < count && signal_pending(t))
			break;
	}
	explicit_bzero(buf, sizeof(buf));
	return done || !count ? (long)done : -EFAULT;
}
