#include "sentry/counters/counters.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"

__thread struct counters *counters_mine;

static struct {
	struct mutex lock;
	struct counters *all;
	struct counters *spare; /* of threads that have ended: the next thread counts on in them */
	pthread_once_t once;
	pthread_key_t key;
	bool has_key;
	uint64_t start_ticks;
	int64_t start_ns;
} counters = {.lock = MUTEX_INIT, .once = PTHREAD_ONCE_INIT};

/* For a thread when there is no memory. Its numbers may be wrong: it is not one thread's alone. */
static struct counters shared;

static const char *const names[COUNTERS] = {
#define COUNTER(id, name, what) [COUNT_##id] = (name),
#include "sentry/counters/counters.def"
#undef COUNTER
};

static void thread_ends(void *mine)
{
	MUTEX_GUARD(&counters.lock);

	counters_mine = &shared;
	((struct counters *)mine)->spare = counters.spare;
	counters.spare = mine;
}

static void make_key(void)
{
	counters.has_key = !pthread_key_create(&counters.key, thread_ends);
}

struct counters *counters_begin(void)
{
	struct counters *mine;

	pthread_once(&counters.once, make_key);
	mutex_lock(&counters.lock);
	mine = counters.spare;
	if (mine)
		counters.spare = mine->spare;
	mutex_unlock(&counters.lock);
	if (!mine) {
		mine = calloc(1, sizeof(*mine));
		if (!mine)
			return counters_mine = &shared;
		mutex_lock(&counters.lock);
		mine->next = counters.all;
		counters.all = mine;
		mutex_unlock(&counters.lock);
	}
	if (counters.has_key)
		pthread_setspecific(counters.key, mine);
	return counters_mine = mine;
}

void counters_init(void)
{
	counters.start_ticks = count_time();
	counters.start_ns = monotonic_ns();
}

static uint64_t word(const uint64_t *w)
{
	return __atomic_load_n(w, __ATOMIC_RELAXED);
}

uint64_t counters_sum(enum counter c)
{
	uint64_t sum = word(&shared.n[c]);
	MUTEX_GUARD(&counters.lock);

	for (struct counters *t = counters.all; t; t = t->next)
		sum += word(&t->n[c]);
	return sum;
}

static void sum_syscall(unsigned nr, uint64_t *calls, uint64_t *ticks)
{
	MUTEX_GUARD(&counters.lock);

	*calls = word(&shared.syscall[nr].calls);
	*ticks = word(&shared.syscall[nr].ticks);
	for (struct counters *t = counters.all; t; t = t->next) {
		*calls += word(&t->syscall[nr].calls);
		*ticks += word(&t->syscall[nr].ticks);
	}
}

static double ns_per_tick(void)
{
	uint64_t ticks = count_time() - counters.start_ticks;
	int64_t ns = monotonic_ns() - counters.start_ns;

	return counters.start_ticks && (int64_t)ticks > 0 && ns > 0 ? (double)ns / (double)ticks
								    : 1.0;
}

/* Lines are written many at a time, but none in two parts. */
struct output {
	int fd;
	size_t n;
	char text[4096];
};

static void flush(struct output *o)
{
	for (size_t done = 0; done < o->n;) {
		ssize_t n = write(o->fd, o->text + done, o->n - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	o->n = 0;
}

static void line(struct output *o, const char *fmt, ...) __printf(2, 3);
static void line(struct output *o, const char *fmt, ...)
{
	va_list args;
	int n;

	if (sizeof(o->text) - o->n < 200)
		flush(o);
	va_start(args, fmt);
	n = vsnprintf(o->text + o->n, 200, fmt, args);
	va_end(args);
	if (n > 0 && n < 200)
		o->n += (size_t)n;
}

void counters_print(int fd, const char *(*syscall_name)(unsigned nr))
{
	struct output o = {.fd = fd};
	double scale = ns_per_tick();

	line(&o, "stats: time.wall %lld\n", (long long)(monotonic_ns() - counters.start_ns));
	line(&o, "stats: time.sentry-cpu %lld\n", (long long)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
	for (unsigned c = 0; c < COUNTERS; c++) {
		uint64_t n = counters_sum(c);

		if (n)
			line(&o, "stats: %s %llu\n", names[c], (unsigned long long)n);
	}
	for (unsigned nr = 0; nr < COUNTED_CALLS; nr++) {
		const char *name = syscall_name(nr);
		uint64_t calls, ticks;

		sum_syscall(nr, &calls, &ticks);
		if (!calls)
			continue;
		if (name)
			line(&o, "stats: call.%s %llu %.0f\n", name, (unsigned long long)calls,
			     (double)ticks * scale);
		else
			line(&o, "stats: call.%u %llu %.0f\n", nr, (unsigned long long)calls,
			     (double)ticks * scale);
	}
	flush(&o);
}
