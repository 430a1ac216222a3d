/*
 * Timers on CPU time, and RLIMIT_CPU. The host does not tell when a process has used so much CPU
 * time; but it cannot use it faster than all CPUs together run, so each look at a process also
 * says when the next one is worth while.
 */
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/time/timers.h"

/* Never look more often than this. */
#define MIN_PERIOD_NS 1000000LL

struct watched {
	TAILQ_ENTRY(watched) link;
	struct thread_group *group; /* counted */
	int64_t next_xcpu;	    /* ns of CPU time at which SIGXCPU comes again */
	int without_threads;	    /* looks at which nothing lived in it */
};

static struct mutex watch_lock = MUTEX_INIT;
static TAILQ_HEAD(, watched) watched_groups = TAILQ_HEAD_INITIALIZER(watched_groups);
static struct ktimer tick;

static struct watched *find_watched(struct thread_group *g)
{
	struct watched *w;

	TAILQ_FOREACH (w, &watched_groups, link)
		if (w->group == g)
			return w;
	return NULL;
}

/* RLIMIT_CPU: SIGXCPU every second from the soft limit on, SIGKILL at the hard one. */
static int64_t check_rlimit(struct watched *w)
{
	struct rlimit lim;
	int64_t used, soft;

	mutex_lock(&w->group->lock);
	lim = w->group->rlim[RLIMIT_CPU];
	mutex_unlock(&w->group->lock);
	if (lim.rlim_cur >= INT64_MAX / NSEC_PER_SEC)
		return INT64_MAX;
	used = (int64_t)group_cpu_ns(w->group);
	if (lim.rlim_max < INT64_MAX / NSEC_PER_SEC &&
	    used >= (int64_t)lim.rlim_max * NSEC_PER_SEC) {
		group_send_signal(w->group, SIGKILL, NULL);
		return INT64_MAX;
	}
	soft = MAX((int64_t)lim.rlim_cur * NSEC_PER_SEC, w->next_xcpu);
	if (used >= soft) {
		group_send_signal(w->group, SIGXCPU, NULL);
		soft = w->next_xcpu = used + NSEC_PER_SEC;
	}
	return soft - used;
}

static int64_t check_timers(struct watched *w)
{
	int64_t a = check_rlimit(w), b = itimer_check_cpu(w->group);
	int64_t c = posix_timers_check_cpu(w->group);

	a = MIN(a, b);
	return MIN(a, c);
}

static int64_t check(struct watched *w)
{
	/* A process that never started (its fork failed) says good-bye to nobody. */
	if (w->group->num_live)
		w->without_threads = 0;
	else if (++w->without_threads > 3)
		return INT64_MAX;

	return check_timers(w);
}
static void drop(struct watched *w)
{
	TAILQ_REMOVE(&watched_groups, w, link);
	group_put(w->group);
	free(w);
}

static void tick_fn(struct ktimer *timer)
{
	struct watched *w, *next;
	int64_t least = INT64_MAX;

	MUTEX_GUARD(&watch_lock);
	TAILQ_FOREACH_SAFE (w, &watched_groups, link, next) {
		int64_t left = check(w);

		if (left == INT64_MAX)
			drop(w);
		else
			least = MIN(least, left);
	}
	if (least == INT64_MAX)
		return;
	least /= MAX(machine.num_cpus, 1);
	ktimer_arm(timer, deadline_after(MAX(least, MIN_PERIOD_NS)));
}

void cpu_timer_watch(struct thread_group *g)
{
	struct watched *w;

	MUTEX_GUARD(&watch_lock);
	if (!tick.fn)
		ktimer_init(&tick, tick_fn);
	if (!find_watched(g)) {
		w = calloc(1, sizeof(*w));
		if (!w)
			return;
		w->group = group_get(g);
		TAILQ_INSERT_TAIL(&watched_groups, w, link);
	}
	ktimer_arm(&tick, monotonic_ns());
}

void cpu_timer_unwatch(struct thread_group *g)
{
	struct watched *w;

	MUTEX_GUARD(&watch_lock);
	w = find_watched(g);
	if (w)
		drop(w);
}
