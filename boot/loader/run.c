#include "boot/loader/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "base/thread.h"
#include "sentry/kernel/core/container_mark.h"
#include "sentry/kernel/run/container.h"

#define LOOK_MIN_NS 2000000LL
#define LOOK_MAX_NS 20000000LL
#define LOOK_SHARE 20 /* looking takes at most 1/20 of a CPU */
#define FILL_RATE 8   /* bytes a nanosecond that a run can take: as in memory_limit.c */

struct run {
	TAILQ_ENTRY(run) link; /* watched; lock */
	bool watched;
	struct refcount refs;
	struct container_mark *mark; /* counted; constant */
	uint64_t cpu_ns, memory;     /* limits; 0: none; constant */
	int64_t deadline, start;     /* monotonic; 0: none */
	uint64_t wall_ns;
	bool keep;		     /* constant */
	_Atomic uint64_t peak;	     /* bytes */
	_Atomic int reason, killing; /* killing: until none of its processes is left */
	bool over;		     /* its first process has ended; lock */
};

/* The runs that the watching thread looks at. `lock` is a leaf. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t some;
	TAILQ_HEAD(, run) runs;
	bool started;
} watch = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.some = PTHREAD_COND_INITIALIZER,
	.runs = TAILQ_HEAD_INITIALIZER(watch.runs),
};

void run_put(struct run *r)
{
	if (!refcount_dec(&r->refs))
		return;
	container_mark_put(r->mark);
	free(r);
}

struct container_mark *run_mark(struct run *r)
{
	return r->mark;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void kill_all(struct run *r)
{
	/* No more threads: whoever forks while it is being killed gets none. */
	atomic_store(&r->mark->tasks_max, 1);
	kernel_signal_container(r->mark, SIGKILL);
}

static void raise_peak(struct run *r, uint64_t bytes)
{
	uint64_t peak = atomic_load(&r->peak);

	while (peak < bytes && !atomic_compare_exchange_weak(&r->peak, &peak, bytes))
		;
}

/* Looks at one; when to look again, in nanoseconds from now. */
static int64_t look(struct run *r)
{
	struct container_usage usage;
	int64_t now = monotonic_ns(), pause = LOOK_MAX_NS;
	uint64_t cpu;

	if (atomic_load(&r->killing)) {
		kill_all(r);
		return LOOK_MIN_NS;
	}
	if (r->deadline) {
		if (now >= r->deadline) {
			run_kill(r, MOAT__EXIT_STATUS__REASON__WALL_LIMIT);
			return LOOK_MIN_NS;
		}
		pause = MIN(pause, r->deadline - now);
	}
	if (kernel_container_usage(r->mark, &usage))
		return LOOK_MIN_NS;
	cpu = usage.user_ns + usage.kernel_ns;
	raise_peak(r, usage.memory);
	if (r->memory && usage.memory > r->memory)
		run_kill(r, MOAT__EXIT_STATUS__REASON__MEMORY_LIMIT);
	else if (r->cpu_ns && cpu > r->cpu_ns)
		run_kill(r, MOAT__EXIT_STATUS__REASON__CPU_LIMIT);
	if (r->memory > usage.memory)
		pause = MIN(pause, (int64_t)((r->memory - usage.memory) / FILL_RATE));
	if (r->cpu_ns > cpu)
		pause = MIN(pause, (int64_t)(r->cpu_ns - cpu));
	return MAX(pause, LOOK_MIN_NS);
}

/* Lock held. False: there is nothing to look at any more. */
static bool is_done(const struct run *r)
{
	return r->over && (!atomic_load(&r->killing) || !atomic_load(&r->mark->tasks));
}

/* Looks at all of them; the lock is held, but for the looks. */
static int64_t look_at_all(void)
{
	int64_t pause = LOOK_MAX_NS;
	struct run *r, *next;

	for (r = TAILQ_FIRST(&watch.runs); r; r = next) {
		if (!is_done(r)) {
			refcount_inc(&r->refs);
			pthread_mutex_unlock(&watch.lock);
			pause = MIN(pause, look(r));
			pthread_mutex_lock(&watch.lock);
			/* Only this thread takes runs out. */
			next = TAILQ_NEXT(r, link);
			run_put(r);
			continue;
		}
		next = TAILQ_NEXT(r, link);
		TAILQ_REMOVE(&watch.runs, r, link);
		run_put(r);
	}
	return pause;
}

static void *watch_main(void *arg)
{
	pthread_mutex_lock(&watch.lock);
	for (;;) {
		int64_t start, pause;
		struct timespec ts;

		while (TAILQ_EMPTY(&watch.runs))
			pthread_cond_wait(&watch.some, &watch.lock);
		start = monotonic_ns();
		pause = look_at_all();
		pause = MAX(pause, (monotonic_ns() - start) * LOOK_SHARE);
		/* One that begins meanwhile is not to wait for the others' time. */
		start = clock_ns(CLOCK_REALTIME) + pause;
		ts.tv_sec = start / NSEC_PER_SEC;
		ts.tv_nsec = start % NSEC_PER_SEC;
		pthread_cond_timedwait(&watch.some, &watch.lock, &ts);
	}
	return NULL;
}

/* Lock held. */
static int watch_begin(void)
{
	int ret = watch.started ? 0 : thread_start_quiet(watch_main, NULL, 0);

	watch.started = watch.started || !ret;
	return ret;
}

/* --- life ------------------------------------------------------------------------------------- */

struct run *run_new(struct container_mark *container, const Moat__RunLimits *limits)
{
	struct run *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return NULL;
	refcount_init(&r->refs);
	r->mark = container_mark_new_part(container);
	if (!r->mark) {
		free(r);
		return NULL;
	}
	if (limits->count_calls) {
		r->mark->calls = calloc(MARK_CALLS, sizeof(*r->mark->calls));
		if (!r->mark->calls) {
			run_put(r);
			return NULL;
		}
	}
	atomic_store(&r->mark->tasks_max, limits->processes);
	r->cpu_ns = limits->cpu_ns;
	r->memory = limits->memory;
	r->wall_ns = MIN(limits->wall_ns, (uint64_t)INT64_MAX / 2);
	r->keep = limits->keep;
	pthread_mutex_lock(&watch.lock);
	ret = watch_begin();
	pthread_mutex_unlock(&watch.lock);
	if (!ret)
		return r;
	run_put(r);
	return NULL;
}

/* Lock held. */
static void begin_to_watch(struct run *r)
{
	if (r->watched)
		return;
	r->watched = true;
	refcount_inc(&r->refs);
	TAILQ_INSERT_TAIL(&watch.runs, r, link);
	pthread_cond_signal(&watch.some);
}

void run_start(struct run *r)
{
	r->start = monotonic_ns();
	if (r->wall_ns)
		r->deadline = r->start + (int64_t)r->wall_ns;
	pthread_mutex_lock(&watch.lock);
	begin_to_watch(r);
	pthread_mutex_unlock(&watch.lock);
}

void run_kill(struct run *r, Moat__ExitStatus__Reason reason)
{
	int none = MOAT__EXIT_STATUS__REASON__BY_ITSELF;

	atomic_compare_exchange_strong(&r->reason, &none, (int)reason);
	atomic_store(&r->killing, 1);
	kill_all(r);
}

void run_ended(struct run *r, struct thread_group *group, struct control_exit *how)
{
	struct container_usage usage;
	uint64_t own;

	if (!kernel_container_usage(r->mark, &usage)) {
		how->user_ns = usage.user_ns;
		how->kernel_ns = usage.kernel_ns;
		raise_peak(r, usage.memory);
	}
	own = kernel_group_peak(group);
	raise_peak(r, own);
	how->memory_peak = atomic_load(&r->peak);
	how->wall_ns = (uint64_t)(monotonic_ns() - r->start);
	how->reason = (Moat__ExitStatus__Reason)atomic_load(&r->reason);
	/* The sandbox's own limit has been reached, and this one was chosen. */
	if (how->reason == MOAT__EXIT_STATUS__REASON__BY_ITSELF && atomic_load(&r->mark->oom))
		how->reason = MOAT__EXIT_STATUS__REASON__MEMORY_LIMIT;
	if (!r->keep && atomic_load(&r->mark->tasks)) {
		atomic_store(&r->killing, 1);
		kill_all(r);
	}
	pthread_mutex_lock(&watch.lock);
	r->over = true;
	pthread_mutex_unlock(&watch.lock);
}
