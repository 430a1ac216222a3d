/*
 * timerfd. As in Linux a timer with an interval is not re-armed when it fires, but when it is read:
 * a guest with a short interval costs nothing until then.
 *
 * Locks: t->lock -> t->wait.lock, and the timer thread's own. The timer function takes t->lock.
 */
#include "sentry/fs/timerfd/timerfd_internal.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "sentry/kernel/core/ktimer.h"
#include "sentry/kernel/task/task.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif
/* How much realtime minus monotonic may seem to move between two readings without a clock set. */
#define CLOCK_STEP_NS 50000000LL

struct timerfd {
	struct mutex lock;
	struct ktimer timer;
	struct wait_queue wait;
	int clockid; /* the guest's, alarm clocks included */
	clockid_t base;
	int settime_flags;
	bool armed;   /* expires counts */
	bool expired; /* fired, not read since */
	bool cancel_on_set;
	int64_t realtime_offset; /* realtime - monotonic when armed */
	int64_t expires;	 /* ns of `base` */
	int64_t interval;	 /* ns; 0: once */
	uint64_t ticks;
};

static const struct file_operations timerfd_fops;

static void arm(struct timerfd *t)
{
	int64_t delta = t->expires - clock_ns(t->base), deadline;

	if (__builtin_add_overflow(monotonic_ns(), MAX(delta, (int64_t)0), &deadline))
		deadline = NO_DEADLINE - 1;
	ktimer_arm(&t->timer, deadline);
}

static void timer_fired(struct ktimer *timer)
{
	struct timerfd *t = container_of(timer, struct timerfd, timer);

	MUTEX_GUARD(&t->lock);
	if (!t->armed || t->expired)
		return;
	/* Set anew meanwhile, or the clock went back. */
	if (clock_ns(t->base) < t->expires) {
		arm(t);
		return;
	}
	t->expired = true;
	t->ticks++;
	wake_up(&t->wait, EPOLLIN);
}

/* After an expiry of a periodic timer: counts the periods that went by, and starts the next. */
static void forward(struct timerfd *t)
{
	int64_t late, periods, step;

	if (!t->expired || !t->interval)
		return;
	late = clock_ns(t->base) - t->expires;
	periods = late > 0 ? late / t->interval : 0;
	t->ticks += (uint64_t)periods;
	if (__builtin_mul_overflow(periods + 1, t->interval, &step) ||
	    __builtin_add_overflow(t->expires, step, &t->expires))
		t->expires = INT64_MAX;
	t->expired = false;
	arm(t);
}

/* Has CLOCK_REALTIME been set since? Then the read fails, once. */
static bool clock_was_set(struct timerfd *t)
{
	int64_t offset, moved;

	if (!t->cancel_on_set || !t->armed)
		return false;
	offset = clock_ns(CLOCK_REALTIME) - monotonic_ns();
	moved = offset - t->realtime_offset;
	if (moved < CLOCK_STEP_NS && moved > -CLOCK_STEP_NS)
		return false;
	t->realtime_offset = offset;
	return true;
}

static bool readable(struct timerfd *t)
{
	MUTEX_GUARD(&t->lock);
	return t->ticks > 0;
}

static ssize_t timerfd_read(struct file *file, struct iov_iter *to, int64_t *pos, int rwf)
{
	bool nonblock = (file->flags & O_NONBLOCK) || (rwf & RWF_NOWAIT);
	struct timerfd *t = file->private;
	uint64_t ticks;
	int ret;

	(void)pos;
	if (iov_iter_count(to) < sizeof(ticks))
		return -EINVAL;
	mutex_lock(&t->lock);
	for (;;) {
		if (clock_was_set(t)) {
			t->ticks = 0;
			mutex_unlock(&t->lock);
			return -ECANCELED;
		}
		if (t->ticks)
			break;
		mutex_unlock(&t->lock);
		if (nonblock)
			return -EAGAIN;
		ret = wait_event_interruptible(&t->wait, readable(t), NO_DEADLINE);
		if (ret)
			return ret;
		mutex_lock(&t->lock);
	}
	forward(t);
	t->expired = false;
	if (!t->interval)
		t->armed = false;
	ticks = t->ticks;
	t->ticks = 0;
	mutex_unlock(&t->lock);
	return copy_to_iter(to, &ticks, sizeof(ticks)) == sizeof(ticks) ? (ssize_t)sizeof(ticks)
									: -EFAULT;
}

static uint32_t timerfd_poll(struct file *file, struct poll_table *pt)
{
	struct timerfd *t = file->private;

	poll_wait(pt, &t->wait);
	MUTEX_GUARD(&t->lock);
	return t->ticks ? EPOLLIN : 0;
}

static long timerfd_ioctl(struct file *file, unsigned cmd, uint64_t arg)
{
	struct timerfd *t = file->private;
	uint64_t ticks;

	if (cmd != TFD_IOC_SET_TICKS)
		return -ENOIOCTLCMD;
	if (get_user(&ticks, arg))
		return -EFAULT;
	if (!ticks)
		return -EINVAL;
	MUTEX_GUARD(&t->lock);
	t->ticks = ticks;
	wake_up(&t->wait, EPOLLIN);
	return 0;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){ns / NSEC_PER_SEC, ns % NSEC_PER_SEC};
}

/* Valid ones only; what is too far saturates. */
static int64_t from_timespec(const struct timespec *ts)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)ts->tv_sec, NSEC_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)ts->tv_nsec, &ns))
		return INT64_MAX;
	return ns;
}

static bool timespec_valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC_PER_SEC;
}

static void get_locked(struct timerfd *t, struct itimerspec *now)
{
	int64_t left = 0;

	forward(t);
	if (t->armed && !t->expired) {
		left = t->expires - clock_ns(t->base);
		if (left <= 0)
			left = 1; /* due, the timer thread is on its way */
	}
	now->it_value = to_timespec(left);
	now->it_interval = to_timespec(t->interval);
}

int timerfd_get(struct file *file, struct itimerspec *now)
{
	struct timerfd *t = file->private;

	if (file->ops != &timerfd_fops)
		return -EINVAL;
	MUTEX_GUARD(&t->lock);
	get_locked(t, now);
	return 0;
}

int timerfd_set(struct file *file, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	struct timerfd *t = file->private;
	int64_t value;

	if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
		return -EINVAL;
	if (!timespec_valid(&new->it_value) || !timespec_valid(&new->it_interval))
		return -EINVAL;
	if (file->ops != &timerfd_fops)
		return -EINVAL;
	value = from_timespec(&new->it_value);
	MUTEX_GUARD(&t->lock);
	if (old)
		get_locked(t, old);
	t->settime_flags = flags;
	t->cancel_on_set = t->base == CLOCK_REALTIME && (flags & TFD_TIMER_ABSTIME) &&
			   (flags & TFD_TIMER_CANCEL_ON_SET);
	t->realtime_offset = clock_ns(CLOCK_REALTIME) - monotonic_ns();
	t->interval = from_timespec(&new->it_interval);
	t->ticks = 0;
	t->expired = false;
	t->armed = value != 0;
	if (!value) {
		ktimer_cancel(&t->timer);
		return 0;
	}
	if (!(flags & TFD_TIMER_ABSTIME) &&
	    __builtin_add_overflow(value, clock_ns(t->base), &value))
		value = INT64_MAX;
	t->expires = value;
	arm(t);
	return 0;
}

static int timerfd_fdinfo(struct file *file, char *buf, size_t size)
{
	struct timerfd *t = file->private;
	struct itimerspec now;

	MUTEX_GUARD(&t->lock);
	get_locked(t, &now);
	return snprintf(buf, size,
			"clockid: %d\nticks: %llu\nsettime flags: 0%o\n"
			"it_value: (%lld, %lld)\nit_interval: (%lld, %lld)\n",
			t->clockid, (unsigned long long)t->ticks, (unsigned)t->settime_flags,
			(long long)now.it_value.tv_sec, (long long)now.it_value.tv_nsec,
			(long long)now.it_interval.tv_sec, (long long)now.it_interval.tv_nsec);
}

static void timerfd_release(struct file *file)
{
	struct timerfd *t = file->private;

	mutex_lock(&t->lock);
	t->armed = false;
	mutex_unlock(&t->lock);
	ktimer_cancel_sync(&t->timer);
	mutex_destroy(&t->lock);
	free(t);
}

static const struct file_operations timerfd_fops = {
	.llseek = file_noop_llseek,
	.no_splice = true,
	.release = timerfd_release,
	.read = timerfd_read,
	.poll = timerfd_poll,
	.ioctl = timerfd_ioctl,
	.show_fdinfo = timerfd_fdinfo,
};

int timerfd_create_file(int clockid, uint32_t flags, struct file **out)
{
	struct timerfd *t;
	clockid_t base;
	int ret;

	switch (clockid) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_ALARM:
		base = CLOCK_REALTIME;
		break;
	case CLOCK_MONOTONIC:
		base = CLOCK_MONOTONIC;
		break;
	case CLOCK_BOOTTIME:
	case CLOCK_BOOTTIME_ALARM:
		base = CLOCK_BOOTTIME;
		break;
	default:
		return -EINVAL;
	}
	if ((clockid == CLOCK_REALTIME_ALARM || clockid == CLOCK_BOOTTIME_ALARM) &&
	    !capable(CAP_WAKE_ALARM))
		return -EPERM;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	mutex_init(&t->lock);
	wait_queue_init(&t->wait);
	ktimer_init(&t->timer, timer_fired);
	t->clockid = clockid;
	t->base = base;
	ret = anon_file_create("anon_inode:[timerfd]", 0600, &timerfd_fops, t, O_RDWR | flags, out);
	if (ret) {
		mutex_destroy(&t->lock);
		free(t);
	}
	return ret;
}
