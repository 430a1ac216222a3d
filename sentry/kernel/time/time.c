#include "sentry/kernel/time/time.h"

#include <errno.h>
#include <sys/time.h>

#include "base/clock.h"
#include "sentry/mm/mm.h"

int timespec_to_ns(const struct timespec *ts, int64_t *ns)
{
	int64_t total;

	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	if (__builtin_mul_overflow((int64_t)ts->tv_sec, NSEC_PER_SEC, &total) ||
	    __builtin_add_overflow(total, (int64_t)ts->tv_nsec, &total))
		total = INT64_MAX;
	*ns = total;
	return 0;
}

int timespec_from_user(int64_t *ns, uaddr_t uaddr)
{
	struct timespec ts;

	if (get_user(&ts, uaddr))
		return -EFAULT;
	return timespec_to_ns(&ts, ns);
}

struct timespec ns_to_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};
}

struct timeval ns_to_timeval(int64_t ns)
{
	return (struct timeval){.tv_sec = ns / NSEC_PER_SEC, .tv_usec = ns % NSEC_PER_SEC / 1000};
}

int timespec_to_user(uaddr_t uaddr, int64_t ns)
{
	return put_user(uaddr, ns_to_timespec(ns));
}

int timeval_from_user(int64_t *ns, uaddr_t uaddr)
{
	struct timeval tv;
	struct timespec ts;

	if (get_user(&tv, uaddr))
		return -EFAULT;
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EINVAL;
	ts = (struct timespec){.tv_sec = tv.tv_sec, .tv_nsec = tv.tv_usec * 1000};
	return timespec_to_ns(&ts, ns);
}

int64_t deadline_after(int64_t ns)
{
	return ns_add(monotonic_ns(), ns);
}

int64_t deadline_at(clockid_t clock, int64_t ns)
{
	int64_t now;

	if (clock == CLOCK_MONOTONIC || ns == INT64_MAX)
		return ns;
	now = clock_ns(clock);
	return ns <= now ? 0 : deadline_after(ns - now);
}

/* --- CPU time ----------------------------------------------------------------------------------
 */

/* A thread's context is freed after the thread has left the list of its group, which takes
 * tasklist_lock for writing: under it as reader, contexts of listed threads stay. */
static uint64_t ctx_ns(struct task *t)
{
	uint64_t ns = 0;

	if (t->ctx && platform_ctx_cpu_ns(t->ctx, &ns))
		ns = 0;
	return ns;
}

uint64_t task_cpu_ns(struct task *t)
{
	if (t == current)
		return ctx_ns(t);
	READ_GUARD(&kernel.tasklist_lock);
	return ctx_ns(t);
}

uint64_t group_cpu_ns(struct thread_group *g)
{
	uint64_t ns = 0;
	struct task *t;

	READ_GUARD(&kernel.tasklist_lock);
	for_each_thread (g, t)
		ns += ctx_ns(t);
	return ns + g->dead.utime + g->dead.stime;
}

void group_cpu_split(struct thread_group *g, uint64_t *utime, uint64_t *stime)
{
	struct platform_usage usage = {0};
	struct task *t;
	struct mm *mm = NULL;
	uint64_t live = 0, host;

	read_lock(&kernel.tasklist_lock);
	for_each_thread (g, t) {
		live += ctx_ns(t);
		if (!mm)
			mm = task_mm_get(t);
	}
	*utime = g->dead.utime;
	*stime = g->dead.stime;
	read_unlock(&kernel.tasklist_lock);
	if (mm) {
		if (platform_as_usage(mm->as, &usage))
			usage = (struct platform_usage){0};
		mm_put(mm);
	}
	host = usage.utime_ns + usage.stime_ns;
	if (host) {
		uint64_t sys = (uint64_t)((double)live * ((double)usage.stime_ns / (double)host));

		*stime += sys;
		live -= sys;
	}
	*utime += live;
}

/* --- clocks ------------------------------------------------------------------------------------
 */

/* The encoding of clocks of other processes and threads (Linux: posix-timers.h). */
#define CPUCLOCK_PERTHREAD 4
#define CPUCLOCK_KIND 3
#define CPUCLOCK_PROF 0
#define CPUCLOCK_VIRT 1
#define CPUCLOCK_SCHED 2

static int process_cpu_clock(pid_t pid, unsigned kind, int64_t *ns)
{
	struct thread_group *g = pid ? group_find(pid) : group_get(current->group);
	uint64_t utime, stime;

	if (!g)
		return -EINVAL;
	if (kind == CPUCLOCK_SCHED) {
		*ns = (int64_t)group_cpu_ns(g);
	} else {
		group_cpu_split(g, &utime, &stime);
		*ns = (int64_t)(kind == CPUCLOCK_VIRT ? utime : utime + stime);
	}
	group_put(g);
	return 0;
}

static int thread_cpu_clock(pid_t tid, int64_t *ns)
{
	struct task *t = tid ? task_find(tid) : task_get(current);
	int ret = t && t->group == current->group ? 0 : -EINVAL;

	if (!ret)
		*ns = (int64_t)task_cpu_ns(t);
	if (t)
		task_put(t);
	return ret;
}

int guest_clock_ns(clockid_t clock, int64_t *ns)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		*ns = clock_ns(clock);
		return 0;
	case CLOCK_REALTIME_ALARM:
		*ns = clock_ns(CLOCK_REALTIME);
		return 0;
	case CLOCK_BOOTTIME_ALARM:
		*ns = clock_ns(CLOCK_BOOTTIME);
		return 0;
	case CLOCK_PROCESS_CPUTIME_ID:
		return process_cpu_clock(0, CPUCLOCK_SCHED, ns);
	case CLOCK_THREAD_CPUTIME_ID:
		return thread_cpu_clock(0, ns);
	default:
		break;
	}
	if (clock >= 0 || (clock & CPUCLOCK_KIND) > CPUCLOCK_SCHED)
		return -EINVAL;
	if (clock & CPUCLOCK_PERTHREAD)
		return thread_cpu_clock(~(clock >> 3), ns);
	return process_cpu_clock(~(clock >> 3), clock & CPUCLOCK_KIND, ns);
}
