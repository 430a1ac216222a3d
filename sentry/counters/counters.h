/*
 * What the sentry counts of its own work, always: how events come in and guests go on, what stubs
 * are told to do, each system call's number and time. A thread counts for itself, without atomic
 * operations; counters_print() adds up.
 */
#ifndef MOAT_SENTRY_COUNTERS_H
#define MOAT_SENTRY_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <x86intrin.h>

#include "base/compiler.h"

enum counter {
#define COUNTER(id, name, what) COUNT_##id,
#include "sentry/counters/counters.def"
#undef COUNTER
	COUNTERS
};

#define COUNTED_CALLS 512 /* system call numbers below this */

/* Written by one thread; others only read. */
struct counters {
	uint64_t n[COUNTERS];
	struct {
		uint64_t calls, ticks;
	} syscall[COUNTED_CALLS];
	struct counters *next; /* of all */
	struct counters *spare;
};

extern __thread struct counters *counters_mine;
/* The calling thread's, made or taken over from one that has ended; never NULL. */
struct counters *counters_begin(void);

static inline struct counters *counters_self(void)
{
	return likely(counters_mine != NULL) ? counters_mine : counters_begin();
}

/* A load and a store: nobody else writes there. */
static inline void count_word(uint64_t *word, uint64_t n)
{
	__atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void count_n(enum counter c, uint64_t n)
{
	count_word(&counters_self()->n[c], n);
}

static inline void count(enum counter c)
{
	count_n(c, 1);
}

static inline uint64_t count_time(void)
{
	return __rdtsc();
}

/* A system call that was entered at count_time() `start` is over, or waits without a thread. */
static inline void count_syscall(uint32_t nr, uint64_t start)
{
	struct counters *mine = counters_self();

	if (nr >= COUNTED_CALLS)
		return;
	count_word(&mine->syscall[nr].calls, 1);
	count_word(&mine->syscall[nr].ticks, count_time() - start);
}

/* The sum over all threads, ended ones too. */
uint64_t counters_sum(enum counter c);
/* Writes everything that is not 0 to fd, a line each: "stats: NAME N", or for a system call
 * "stats: call.NAME N NANOSECONDS". syscall_name(nr) may answer NULL. */
void counters_print(int fd, const char *(*syscall_name)(unsigned nr));
/* From here on ticks are measured against the clock. Once, early. */
void counters_init(void);

#endif
