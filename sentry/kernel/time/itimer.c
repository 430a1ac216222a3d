/* Interval timers (man 2 setitimer). */
#include <errno.h>
#include <signal.h>
#include <sys/time.h>

#include "base/clock.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/task/task_upcalls.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/time/timers.h"

/* A real-time timer that is due again at once must not keep the timer thread busy. */
#define MIN_INTERVAL_NS 50000

static void real_fired(struct ktimer *timer)
{
	struct thread_group *g = container_of(timer, struct thread_group, itimer_real);

	mutex_lock(&g->lock);
	/* Not if it was set anew meanwhile. */
	if (g->itimer_real_interval && !timer->armed) {
		int64_t now = monotonic_ns(), next = timer->deadline;

		next += ((now - next) / g->itimer_real_interval + 1) * g->itimer_real_interval;
		ktimer_arm(timer, MAX(next, now + MIN_INTERVAL_NS));
	}
	mutex_unlock(&g->lock);
	group_send_signal(g, SIGALRM, NULL);
}

static bool uses_cpu_time(struct thread_group *g)
{
	return g->itimer_cpu[0].expires || g->itimer_cpu[1].expires ||
	       g->rlim[RLIMIT_CPU].rlim_cur != RLIM_INFINITY;
}

void group_timers_init(struct thread_group *g)
{
	ktimer_init(&g->itimer_real, real_fired);
	g->itimer_real_interval = 0;
	g->itimer_cpu[0].expires = g->itimer_cpu[0].interval = 0;
	g->itimer_cpu[1].expires = g->itimer_cpu[1].interval = 0;
	g->posix_timers = NULL;
	if (uses_cpu_time(g))
		cpu_timer_watch(g);
}

void group_timers_exec(struct thread_group *g)
{
	posix_timers_exit(g);
	/* That ended all looking at CPU time. */
	if (uses_cpu_time(g))
		cpu_timer_watch(g);
}

void group_timers_exit(struct thread_group *g)
{
	mutex_lock(&g->lock);
	g->itimer_real_interval = 0;
	mutex_unlock(&g->lock);
	if (g->itimer_real.fn)
		ktimer_cancel_sync(&g->itimer_real);
	cpu_timer_unwatch(g);
	posix_timers_exit(g);
}

/* --- CPU time --------------------------------------------------------------------------------- */

static int64_t cpu_used(struct thread_group *g, int which)
{
	uint64_t utime, stime;

	if (which == ITIMER_PROF)
		return (int64_t)group_cpu_ns(g);
	group_cpu_split(g, &utime, &stime);
	return (int64_t)utime;
}

int64_t itimer_check_cpu(struct thread_group *g)
{
	static const int signals[] = {SIGVTALRM, SIGPROF};
	int64_t least = INT64_MAX;

	for (int i = 0; i < 2; i++) {
		int64_t used, left;
		bool fire = false;

		if (!g->itimer_cpu[i].expires)
			continue;
		used = cpu_used(g, i ? ITIMER_PROF : ITIMER_VIRTUAL);
		mutex_lock(&g->lock);
		left = g->itimer_cpu[i].expires - used;
		if (g->itimer_cpu[i].expires && left <= 0) {
			int64_t interval = g->itimer_cpu[i].interval;

			fire = true;
			left = INT64_MAX;
			g->itimer_cpu[i].expires = interval ? ns_add(used, interval) : 0;
			if (interval)
				left = interval;
		} else if (!g->itimer_cpu[i].expires) {
			left = INT64_MAX;
		}
		mutex_unlock(&g->lock);
		if (fire)
			group_send_signal(g, signals[i], NULL);
		least = MIN(least, left);
	}
	return least;
}

static void get_cpu(struct thread_group *g, int which, int64_t used, int64_t *value,
		    int64_t *interval)
{
	int i = which == ITIMER_PROF;

	*interval = g->itimer_cpu[i].interval;
	*value = g->itimer_cpu[i].expires;
	if (*value)
		*value = MAX(*value - used, (int64_t)1);
}

/* --- get and set ------------------------------------------------------------------------------ */

static void get_real(struct thread_group *g, int64_t *value, int64_t *interval)
{
	*interval = g->itimer_real_interval;
	*value = 0;
	if (g->itimer_real.armed)
		*value = MAX(g->itimer_real.deadline - monotonic_ns(), (int64_t)1000);
}

int itimer_get(struct thread_group *g, int which, int64_t *value, int64_t *interval)
{
	int64_t used = which == ITIMER_REAL ? 0 : cpu_used(g, which);

	if (which < ITIMER_REAL || which > ITIMER_PROF)
		return -EINVAL;
	MUTEX_GUARD(&g->lock);
	if (which == ITIMER_REAL)
		get_real(g, value, interval);
	else
		get_cpu(g, which, used, value, interval);
	return 0;
}

int itimer_set(struct thread_group *g, int which, int64_t value, int64_t interval,
	       int64_t *old_value, int64_t *old_interval)
{
	int i = which == ITIMER_PROF;
	int64_t used;

	if (which < ITIMER_REAL || which > ITIMER_PROF)
		return -EINVAL;
	if (which == ITIMER_REAL) {
		MUTEX_GUARD(&g->lock);
		if (!g->itimer_real.fn)
			ktimer_init(&g->itimer_real, real_fired);
		get_real(g, old_value, old_interval);
		g->itimer_real_interval = value ? interval : 0;
		if (value)
			ktimer_arm(&g->itimer_real, deadline_after(value));
		else
			ktimer_cancel(&g->itimer_real);
		return 0;
	}
	used = cpu_used(g, which);
	mutex_lock(&g->lock);
	get_cpu(g, which, used, old_value, old_interval);
	g->itimer_cpu[i].interval = interval;
	g->itimer_cpu[i].expires = value ? ns_add(used, value) : 0;
	mutex_unlock(&g->lock);
	if (value)
		cpu_timer_watch(g);
	return 0;
}
