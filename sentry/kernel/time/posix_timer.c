/*
 * POSIX timers of a process. A timer's signal entry is its own: while it is queued, further
 * expirations only count as overruns. posix_timers->lock guards the table and every timer but the
 * overrun counts, which delivery (under sighand->lock alone) takes.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sentry/kernel/signal/signal.h"
#include "sentry/kernel/signal/signal_upcalls.h"
#include "sentry/kernel/time/time.h"
#include "sentry/kernel/time/timers.h"

#define MIN_INTERVAL_NS 50000
#define TIMERS_MAX 65536

struct k_itimer {
	int id;
	clockid_t clock;
	int notify;
	struct thread_group *group; /* whose it is; not counted: the group deletes its timers */
	struct task *target;	    /* SIGEV_THREAD_ID; counted */
	struct ktimer timer;
	int64_t expires, interval; /* monotonic ns, or ns of CPU time; expires 0: disarmed */
	bool cpu, dead;
	atomic_int overrun, overrun_last;
	struct sigqueue queue;
};

struct posix_timers {
	struct mutex lock;
	struct k_itimer **table; /* by id */
	int size, next;
	unsigned count;
};

/* --- the table -------------------------------------------------------------------------------- */

static struct posix_timers *timers_of(struct thread_group *g, bool create)
{
	struct posix_timers *timers;

	MUTEX_GUARD(&g->lock);
	timers = g->posix_timers;
	if (!timers && create) {
		timers = calloc(1, sizeof(*timers));
		if (!timers)
			return NULL;
		mutex_init(&timers->lock);
		g->posix_timers = timers;
	}
	return timers;
}

static struct k_itimer *find_timer(struct posix_timers *timers, int id)
{
	if (!timers || id < 0 || id >= timers->size)
		return NULL;
	return timers->table[id];
}

/* Gives it the next id; ids are not reused at once. */
static int add_timer(struct posix_timers *timers, struct k_itimer *timer, uint64_t limit)
{
	if (timers->count >= MIN(limit, (uint64_t)TIMERS_MAX))
		return -EAGAIN;
	if ((int)timers->count == timers->size) {
		int size = timers->size ? timers->size * 2 : 16;
		struct k_itimer **table = reallocarray(timers->table, size, sizeof(*table));

		if (!table)
			return -EAGAIN;
		memset(table + timers->size, 0, (size - timers->size) * sizeof(*table));
		timers->table = table;
		timers->size = size;
	}
	for (int i = 0; i < timers->size; i++) {
		int id = (timers->next + i) % timers->size;

		if (timers->table[id])
			continue;
		timers->table[id] = timer;
		timers->next = id + 1;
		timers->count++;
		timer->id = id;
		return 0;
	}
	return -EAGAIN;
}

/* --- expiry ----------------------------------------------------------------------------------- */

/* Moves expires past now; how many periods went by (at least 1). */
static int64_t forward(struct k_itimer *timer, int64_t now)
{
	int64_t periods = 1;

	if (!timer->interval) {
		timer->expires = 0;
		return 1;
	}
	periods += (now - timer->expires) / timer->interval;
	timer->expires = ns_add(timer->expires, periods * timer->interval);
	return periods;
}

static void add_overrun(struct k_itimer *timer, int64_t n)
{
	int old = atomic_load(&timer->overrun);
	int new;

	do {
		new = n > INT32_MAX - old ? INT32_MAX : old + (int)n;
	} while (!atomic_compare_exchange_weak(&timer->overrun, &old, new));
}

/* The timer is due: signal, and on to the next period. Table lock held. */
static void expire(struct k_itimer *timer, int64_t now)
{
	int64_t periods = forward(timer, now);
	int ret;

	if (timer->notify == SIGEV_NONE)
		return;
	ret = timer_signal_send(timer->group, timer->target, &timer->queue);
	if (ret == 1)
		add_overrun(timer, periods);
	else if (!ret && periods > 1)
		add_overrun(timer, periods - 1);
}

static void timer_fired(struct ktimer *kt)
{
	struct k_itimer *timer = container_of(kt, struct k_itimer, timer);
	struct posix_timers *timers = timer->group->posix_timers;
	int64_t now = monotonic_ns();

	MUTEX_GUARD(&timers->lock);
	if (timer->dead || kt->armed || !timer->expires || timer->expires > now)
		return;
	expire(timer, now);
	if (timer->expires)
		ktimer_arm(kt, MAX(timer->expires, now + MIN_INTERVAL_NS));
}

void posix_timer_delivered(void *arg, guest_siginfo_t *info)
{
	struct k_itimer *timer = arg;
	int overrun = atomic_exchange(&timer->overrun, 0);

	atomic_store(&timer->overrun_last, overrun);
	info->si_overrun = overrun;
}

int64_t posix_timers_check_cpu(struct thread_group *g)
{
	struct posix_timers *timers = timers_of(g, false);
	int64_t least = INT64_MAX, now;

	if (!timers)
		return INT64_MAX;
	MUTEX_GUARD(&timers->lock);
	for (int i = 0; i < timers->size; i++) {
		struct k_itimer *timer = timers->table[i];

		if (!timer || !timer->cpu || !timer->expires)
			continue;
		now = timer->target && timer->clock == CLOCK_THREAD_CPUTIME_ID
			      ? (int64_t)task_cpu_ns(timer->target)
			      : (int64_t)group_cpu_ns(g);
		if (timer->expires <= now)
			expire(timer, now);
		if (timer->expires)
			least = MIN(least, MAX(timer->expires - now, (int64_t)1));
	}
	return least;
}

/* --- create and delete ------------------------------------------------------------------------ */

static int check_clock(clockid_t clock, bool *cpu)
{
	int64_t now;

	*cpu = clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
	switch (clock) {
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC_COARSE:
		return -ENOTSUP;
	case CLOCK_REALTIME_ALARM:
	case CLOCK_BOOTTIME_ALARM:
		return capable(CAP_WAKE_ALARM) ? -ENOTSUP : -EPERM;
	default:
		return guest_clock_ns(clock, &now);
	}
}

/* Whom to signal, referenced, or NULL: the process. */
static int check_event(struct task *t, const struct sigevent *event, struct task **target)
{
	*target = NULL;
	switch (event->sigev_notify) {
	case SIGEV_THREAD_ID:
		*target = task_find(event->_sigev_un._tid);
		if (!*target || (*target)->group != t->group) {
			if (*target)
				task_put(*target);
			*target = NULL;
			return -EINVAL;
		}
		break;
	case SIGEV_NONE:
		return 0;
	case SIGEV_SIGNAL:
	case SIGEV_THREAD:
		break;
	default:
		return -EINVAL;
	}
	if (event->sigev_signo > 0 && event->sigev_signo <= GUEST_NSIG)
		return 0;
	if (*target)
		task_put(*target);
	*target = NULL;
	return -EINVAL;
}

int posix_timer_create(struct task *t, clockid_t clock, const struct sigevent *event, int *id)
{
	struct posix_timers *timers = timers_of(t->group, true);
	struct k_itimer *timer;
	bool cpu;
	int ret = check_clock(clock, &cpu);

	if (ret)
		return ret;
	timer = calloc(1, sizeof(*timer));
	if (!timer || !timers) {
		free(timer);
		return -EAGAIN;
	}
	timer->clock = clock;
	timer->cpu = cpu;
	timer->group = t->group;
	timer->notify = event ? event->sigev_notify : SIGEV_SIGNAL;
	ktimer_init(&timer->timer, timer_fired);
	ret = event ? check_event(t, event, &timer->target) : 0;
	if (ret) {
		free(timer);
		return ret;
	}
	/* A thread's CPU timer needs its thread, too. */
	if (clock == CLOCK_THREAD_CPUTIME_ID && !timer->target)
		timer->clock = CLOCK_PROCESS_CPUTIME_ID;
	mutex_lock(&timers->lock);
	ret = add_timer(timers, timer, t->group->rlim[RLIMIT_SIGPENDING].rlim_cur);
	if (!ret) {
		*id = timer->id;
		timer->queue.posix_timer = timer;
		timer->queue.info.si_signo = event ? event->sigev_signo : SIGALRM;
		timer->queue.info.si_code = SI_TIMER;
		timer->queue.info.si_timerid = timer->id;
		if (event)
			timer->queue.info.si_value = event->sigev_value;
		else
			timer->queue.info.si_value.sival_int = timer->id;
	}
	mutex_unlock(&timers->lock);
	if (ret) {
		if (timer->target)
			task_put(timer->target);
		free(timer);
	}
	return ret;
}

/* It is out of the table and dead. */
static void free_timer(struct k_itimer *timer)
{
	ktimer_cancel_sync(&timer->timer);
	timer_signal_cancel(timer->group, timer->target, &timer->queue);
	if (timer->target)
		task_put(timer->target);
	free(timer);
}

int posix_timer_delete(struct task *t, int id)
{
	struct posix_timers *timers = timers_of(t->group, false);
	struct k_itimer *timer;

	if (!timers)
		return -EINVAL;
	mutex_lock(&timers->lock);
	timer = find_timer(timers, id);
	if (timer) {
		timers->table[id] = NULL;
		timers->count--;
		timer->dead = true;
	}
	mutex_unlock(&timers->lock);
	if (!timer)
		return -EINVAL;
	free_timer(timer);
	return 0;
}

/* The process has one thread left. cpu_timer.c may still look: the table goes with the process's
 * exit only, after cpu_timer_unwatch(). */
void posix_timers_exit(struct thread_group *g)
{
	struct posix_timers *timers = timers_of(g, false);

	if (!timers)
		return;
	for (int id = 0; id < timers->size; id++) {
		struct k_itimer *timer;

		mutex_lock(&timers->lock);
		timer = timers->table[id];
		timers->table[id] = NULL;
		if (timer)
			timer->dead = true;
		mutex_unlock(&timers->lock);
		if (timer)
			free_timer(timer);
	}
	mutex_lock(&g->lock);
	g->posix_timers = NULL;
	mutex_unlock(&g->lock);
	/* Waits for a look that is under way; another process's prlimit may bring the next. */
	cpu_timer_unwatch(g);
	mutex_destroy(&timers->lock);
	free(timers->table);
	free(timers);
}

/* --- set and get ------------------------------------------------------------------------------ */

static int64_t timer_now(const struct k_itimer *timer)
{
	if (!timer->cpu)
		return monotonic_ns();
	return timer->target && timer->clock == CLOCK_THREAD_CPUTIME_ID
		       ? (int64_t)task_cpu_ns(timer->target)
		       : (int64_t)group_cpu_ns(timer->group);
}

/* Table lock held. */
static void get_locked(struct k_itimer *timer, int64_t *value, int64_t *interval)
{
	int64_t now = timer_now(timer);

	*interval = timer->interval;
	*value = 0;
	if (!timer->expires)
		return;
	if (timer->notify == SIGEV_NONE && timer->expires <= now) {
		forward(timer, now);
		if (!timer->expires)
			return;
	}
	*value = MAX(timer->expires - now, (int64_t)1);
}

static int64_t first_expiry(const struct k_itimer *timer, bool absolute, int64_t value)
{
	clockid_t clock = timer->clock;

	if (!absolute)
		return ns_add(timer_now(timer), value);
	if (timer->cpu)
		return value;
	/* A time that has passed still fires. */
	return MAX(deadline_at(clock, value), (int64_t)1);
}

int posix_timer_settime(struct task *t, int id, bool absolute, int64_t value, int64_t interval,
			int64_t *old_value, int64_t *old_interval)
{
	struct posix_timers *timers = timers_of(t->group, false);
	struct k_itimer *timer;
	bool watch = false;

	if (!timers)
		return -EINVAL;
	mutex_lock(&timers->lock);
	timer = find_timer(timers, id);
	if (timer) {
		get_locked(timer, old_value, old_interval);
		ktimer_cancel(&timer->timer);
		timer->interval = interval;
		timer->expires = value ? first_expiry(timer, absolute, value) : 0;
		atomic_store(&timer->overrun, 0);
		atomic_store(&timer->overrun_last, 0);
		if (timer->expires && timer->cpu)
			watch = true;
		else if (timer->expires && timer->notify != SIGEV_NONE)
			ktimer_arm(&timer->timer, timer->expires);
	}
	mutex_unlock(&timers->lock);
	if (watch)
		cpu_timer_watch(t->group);
	return timer ? 0 : -EINVAL;
}

int posix_timer_gettime(struct task *t, int id, int64_t *value, int64_t *interval)
{
	struct posix_timers *timers = timers_of(t->group, false);
	struct k_itimer *timer;

	if (!timers)
		return -EINVAL;
	MUTEX_GUARD(&timers->lock);
	timer = find_timer(timers, id);
	if (!timer)
		return -EINVAL;
	get_locked(timer, value, interval);
	return 0;
}

int posix_timer_getoverrun(struct task *t, int id)
{
	struct posix_timers *timers = timers_of(t->group, false);
	struct k_itimer *timer;

	if (!timers)
		return -EINVAL;
	MUTEX_GUARD(&timers->lock);
	timer = find_timer(timers, id);
	return timer ? atomic_load(&timer->overrun_last) : -EINVAL;
}
