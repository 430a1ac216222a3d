/*
 * A parker: puts one thread to sleep until another wakes it. Made from a pipe and not from a futex,
 * since writing to a pipe wakes the reader "synchronously", on the waker's own CPU. On a machine
 * with an idle CPU a futex wake-up goes there and costs 25 to 60 us; this one costs about 3.
 *
 * The users keep a state word of their own and agree on who owes a wake-up: every parker_wake()
 * must be matched by exactly one parker_sleep() that returns true.
 */
#ifndef MOAT_BASE_PARKER_H
#define MOAT_BASE_PARKER_H

#include <stdbool.h>
#include <stdint.h>

struct parker {
	int rd, wr; /* the pipe; -1: no descriptors were left, a futex does it, only slower */
	_Atomic uint32_t wakes; /* without a pipe: wake-ups not taken yet */
};

/* The calling thread's, made at the first call; lives as long as the thread. */
struct parker *parker_self(void);
/* Sleeps until a wake-up (true) or the deadline, absolute CLOCK_MONOTONIC ns, INT64_MAX: none
 * (false). Interrupted by nothing else. */
bool parker_sleep(struct parker *p, int64_t deadline);
/* Any thread. The sleeper, or one about to sleep, takes it. */
void parker_wake(struct parker *p);

#endif
