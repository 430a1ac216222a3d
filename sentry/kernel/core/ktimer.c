/*
 * Kernel timers: one thread, a tree ordered by deadline.
 *
 * timer_lock guards the tree and every timer's state. A function runs without it; `running` stays
 * set meanwhile, so that ktimer_cancel_sync() can wait for it.
 */
#include "sentry/kernel/core/ktimer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "base/command_lock.h"
#include "base/lock.h"
#include "base/log.h"

static struct mutex timer_lock = MUTEX_INIT;
static pthread_cond_t tree_changed; /* an earlier deadline came in */
static pthread_cond_t fn_done = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_t timer_thread;
static int64_t sleeps_until; /* the timer thread; timer_lock */
static RB_HEAD(ktimer_tree, ktimer) timers = RB_INITIALIZER(&timers);

static int ktimer_compare(const struct ktimer *a, const struct ktimer *b)
{
	if (a->deadline != b->deadline)
		return a->deadline < b->deadline ? -1 : 1;
	return a < b ? -1 : a > b;
}
RB_PROTOTYPE_INTERNAL(ktimer_tree, ktimer, node, ktimer_compare, __maybe_unused static)
RB_GENERATE_INTERNAL(ktimer_tree, ktimer, node, ktimer_compare, __maybe_unused static)

static void init_once(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&tree_changed, &attr);
	pthread_condattr_destroy(&attr);
}

/* Sleeps until the first deadline; timer_lock held. */
static void wait_for_first(void)
{
	struct ktimer *first = RB_MIN(ktimer_tree, &timers);
	struct timespec until;

	sleeps_until = first ? first->deadline : INT64_MAX;
	if (!first) {
		mutex_wait(&timer_lock, &tree_changed);
		return;
	}
	if (first->deadline <= 0)
		return;
	until.tv_sec = first->deadline / NSEC_PER_SEC;
	until.tv_nsec = first->deadline % NSEC_PER_SEC;
	mutex_wait_until(&timer_lock, &tree_changed, &until);
}

static void *timer_main(void *arg)
{
	mutex_lock(&timer_lock);
	for (;;) {
		struct ktimer *t = RB_MIN(ktimer_tree, &timers);

		if (!t || t->deadline > monotonic_ns()) {
			wait_for_first();
			continue;
		}
		RB_REMOVE(ktimer_tree, &timers, t);
		t->armed = false;
		t->running = true;
		mutex_unlock(&timer_lock);
		t->fn(t);
		mutex_lock(&timer_lock);
		/* Freed or not: nobody frees a timer without ktimer_cancel_sync(). */
		t->running = false;
		pthread_cond_broadcast(&fn_done);
	}
	return NULL;
}

int ktimer_start_thread(void)
{
	sigset_t all, old;
	int err;

	pthread_once(&once, init_once);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&timer_thread, NULL, timer_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

void ktimer_init(struct ktimer *t, void (*fn)(struct ktimer *))
{
	*t = (struct ktimer){.fn = fn};
}

void ktimer_arm(struct ktimer *t, int64_t deadline)
{
	pthread_once(&once, init_once);
	MUTEX_GUARD(&timer_lock);
	if (t->armed)
		RB_REMOVE(ktimer_tree, &timers, t);
	t->deadline = deadline;
	t->armed = true;
	RB_INSERT(ktimer_tree, &timers, t);
	/* Most are cancelled before their time: it wakes up for some of those, and is spared a
	 * wake-up for most others. */
	if (deadline < sleeps_until) {
		sleeps_until = deadline;
		pthread_cond_signal(&tree_changed);
	}
}

static bool cancel_locked(struct ktimer *t)
{
	bool armed = t->armed;

	if (armed)
		RB_REMOVE(ktimer_tree, &timers, t);
	t->armed = false;
	return armed;
}

bool ktimer_cancel(struct ktimer *t)
{
	MUTEX_GUARD(&timer_lock);
	return cancel_locked(t);
}

/* timer_lock held. */
static bool runs_elsewhere(const struct ktimer *t)
{
	return t->running && !pthread_equal(pthread_self(), timer_thread);
}

/* True: it had armed itself again, and is cancelled. */
static bool wait_for_fn(struct ktimer *t)
{
	bool armed;

	command_wait_begin();
	mutex_lock(&timer_lock);
	armed = cancel_locked(t);
	while (runs_elsewhere(t)) {
		mutex_wait(&timer_lock, &fn_done);
		armed |= cancel_locked(t);
	}
	mutex_unlock(&timer_lock);
	command_wait_end();
	return armed;
}

bool ktimer_cancel_sync(struct ktimer *t)
{
	bool armed, runs;

	mutex_lock(&timer_lock);
	armed = cancel_locked(t);
	runs = runs_elsewhere(t);
	mutex_unlock(&timer_lock);
	if (runs)
		armed |= wait_for_fn(t);
	return armed;
}
