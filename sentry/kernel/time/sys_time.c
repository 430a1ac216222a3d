/* Clocks and sleeping. The clocks are the host's; a guest cannot set them. */
#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timex.h>

#include "base/clock.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/core/syscall.h"
#include "sentry/kernel/task/task.h"
#include "sentry/kernel/time/time.h"
#include "sentry/mm/mm.h"
#include "sentry/uaccess/uaccess.h"

/* What times(2) and the coarse clocks count in: USER_HZ. */
#define NSEC_PER_TICK (NSEC_PER_SEC / 100)
#define NSEC_PER_JIFFY 4000000LL

/* --- reading ---------------------------------------------------------------------------------- */

SYSCALL_DEFINE2(clock_gettime, clockid_t, clock, uaddr_t, uts)
{
	int64_t ns;
	int ret = guest_clock_ns(clock, &ns);

	return ret ? ret : timespec_to_user(uts, ns);
}

SYSCALL_DEFINE2(clock_getres, clockid_t, clock, uaddr_t, uts)
{
	int64_t ns;
	int ret = guest_clock_ns(clock, &ns);

	if (ret || !uts)
		return ret;
	ns = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE ? NSEC_PER_JIFFY : 1;
	return timespec_to_user(uts, ns);
}

SYSCALL_DEFINE2(gettimeofday, uaddr_t, utv, uaddr_t, utz)
{
	struct timezone tz = {0};

	if (utv && put_user(utv, ns_to_timeval(clock_ns(CLOCK_REALTIME))))
		return -EFAULT;
	return utz ? put_user(utz, tz) : 0;
}

SYSCALL_DEFINE1(time, uaddr_t, utime)
{
	int64_t now = clock_ns(CLOCK_REALTIME) / NSEC_PER_SEC;

	if (utime && put_user(utime, now))
		return -EFAULT;
	return now;
}

SYSCALL_DEFINE1(times, uaddr_t, ubuf)
{
	uint64_t utime, stime;
	int64_t buf[4];

	if (ubuf) {
		group_cpu_split(t->group, &utime, &stime);
		buf[0] = (int64_t)utime / NSEC_PER_TICK;
		buf[1] = (int64_t)stime / NSEC_PER_TICK;
		buf[2] = (int64_t)t->group->children_usage.utime / NSEC_PER_TICK;
		buf[3] = (int64_t)t->group->children_usage.stime / NSEC_PER_TICK;
		if (copy_to_user(ubuf, buf, sizeof(buf)))
			return -EFAULT;
	}
	return monotonic_ns() / NSEC_PER_TICK;
}

/* --- setting ---------------------------------------------------------------------------------- */

SYSCALL_DEFINE2(clock_settime, clockid_t, clock, uaddr_t, uts)
{
	int64_t ns;
	int ret;

	if (clock != CLOCK_REALTIME)
		return -EINVAL;
	ret = timespec_from_user(&ns, uts);
	return ret ? ret : -EPERM;
}

SYSCALL_DEFINE2(settimeofday, uaddr_t, utv, uaddr_t, utz)
{
	int64_t ns;
	int ret = utv ? timeval_from_user(&ns, utv) : 0;

	return ret ? ret : -EPERM;
}

/* Reading the state of the clock's discipline: nobody disciplines it from in here. */
static long read_timex(uaddr_t utx)
{
	struct timex tx;
	int64_t now = clock_ns(CLOCK_REALTIME);

	if (get_user(&tx, utx))
		return -EFAULT;
	if (tx.modes)
		return -EPERM;
	memset(&tx, 0, sizeof(tx));
	tx.status = STA_UNSYNC;
	tx.tick = 10000;
	tx.precision = 1;
	tx.tolerance = 32768000;
	tx.maxerror = tx.esterror = 16000000;
	tx.time = ns_to_timeval(now);
	return put_user(utx, tx) ? -EFAULT : TIME_ERROR;
}

SYSCALL_DEFINE1(adjtimex, uaddr_t, utx)
{
	return read_timex(utx);
}

SYSCALL_DEFINE2(clock_adjtime, clockid_t, clock, uaddr_t, utx)
{
	if (clock != CLOCK_REALTIME)
		return clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ? -EOPNOTSUPP : -EINVAL;
	return read_timex(utx);
}

/* --- sleeping --------------------------------------------------------------------------------- */

/* 0 when the deadline has passed, -ERESTARTSYS. */
static int sleep_until(int64_t deadline)
{
	for (;;) {
		int ret;

		wait_prepare();
		if (monotonic_ns() >= deadline)
			return 0;
		ret = wait_block(deadline, true);
		if (ret == -ETIMEDOUT)
			return 0;
		if (ret)
			return ret;
	}
}

static long sleep_rest(struct task *t, int64_t deadline, uaddr_t urem);

static long sleep_restart(struct task *t, struct restart_block *rb)
{
	return sleep_rest(t, rb->deadline, rb->arg[0]);
}

static long sleep_rest(struct task *t, int64_t deadline, uaddr_t urem)
{
	int64_t left;

	if (!sleep_until(deadline))
		return 0;
	left = MAX(deadline - monotonic_ns(), (int64_t)0);
	if (urem && timespec_to_user(urem, left))
		return -EFAULT;
	t->restart = (struct restart_block){
		.fn = sleep_restart,
		.deadline = deadline,
		.arg = {urem},
	};
	return -ERESTART_RESTARTBLOCK;
}

SYSCALL_DEFINE2(nanosleep, uaddr_t, uts, uaddr_t, urem)
{
	int64_t ns;
	int ret = timespec_from_user(&ns, uts);

	return ret ? ret : sleep_rest(t, deadline_after(ns), urem);
}

/* Sleeping on CPU time: the clock runs at most as fast as all CPUs together. */
static long cpu_sleep(clockid_t clock, int64_t until)
{
	int64_t now, left;

	for (;;) {
		int ret = guest_clock_ns(clock, &now);

		if (ret)
			return ret;
		if (now >= until)
			return 0;
		left = (until - now) / MAX(machine.num_cpus, 1);
		ret = sleep_until(deadline_after(MAX(left, (int64_t)1000000)));
		if (ret)
			return ret;
	}
}

static long cpu_sleep_restart(struct task *t, struct restart_block *rb)
{
	long ret = cpu_sleep((clockid_t)rb->arg[1], rb->deadline);

	return ret == -ERESTARTSYS ? -ERESTART_RESTARTBLOCK : ret;
}

static long clock_sleep_cpu(struct task *t, clockid_t clock, bool absolute, int64_t ns,
			    uaddr_t urem)
{
	int64_t now;
	long ret = guest_clock_ns(clock, &now);

	if (ret)
		return ret;
	if (!absolute)
		ns = ns_add(now, ns);
	ret = cpu_sleep(clock, ns);
	if (ret != -ERESTARTSYS)
		return ret;
	if (absolute)
		return -ERESTARTNOHAND;
	guest_clock_ns(clock, &now);
	if (urem && timespec_to_user(urem, MAX(ns - now, (int64_t)0)))
		return -EFAULT;
	t->restart = (struct restart_block){
		.fn = cpu_sleep_restart,
		.deadline = ns,
		.arg = {urem, (uint64_t)clock},
	};
	return -ERESTART_RESTARTBLOCK;
}

SYSCALL_DEFINE4(clock_nanosleep, clockid_t, clock, int, flags, uaddr_t, uts, uaddr_t, urem)
{
	bool absolute = flags & TIMER_ABSTIME;
	int64_t ns;
	int ret = timespec_from_user(&ns, uts);

	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		break;
	case CLOCK_THREAD_CPUTIME_ID:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC_COARSE:
		return -EOPNOTSUPP;
	case CLOCK_REALTIME_ALARM:
	case CLOCK_BOOTTIME_ALARM:
		return capable(CAP_WAKE_ALARM) ? -EOPNOTSUPP : -EPERM;
	default:
		if (clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID)
			return -EINVAL;
		return ret ? ret : clock_sleep_cpu(t, clock, absolute, ns, urem);
	}
	if (ret)
		return ret;
	if (!absolute)
		return sleep_rest(t, deadline_after(ns), urem);
	return sleep_until(deadline_at(clock, ns)) ? -ERESTARTNOHAND : 0;
}
