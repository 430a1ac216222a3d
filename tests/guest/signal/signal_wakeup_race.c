/*
 * A signal that is sent at the very moment in which a thread leaves a system call must reach it,
 * also when the thread makes no further one.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define ROUNDS 1500

static _Atomic int signalled, in_compute;
static int wake[2];

static void handler(int sig)
{
	signalled = 1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Leaves a read, then computes until the signal has come. */
static void *computes(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		double end;
		char c;

		CHECK(read(wake[0], &c, 1) == 1);
		end = now() + 40;
		while (!signalled)
			REQUIRE(now() < end);
		signalled = 0;
		in_compute = 0;
	}
	return NULL;
}

static void signal_at_the_end_of_a_call_is_delivered_while_computing(void)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	pthread_t thread;

	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	CHECK(!pipe(wake));
	CHECK(!pthread_create(&thread, NULL, computes, NULL));
	for (int i = 0; i < ROUNDS; i++) {
		in_compute = 1;
		CHECK(write(wake[1], "x", 1) == 1);
		for (volatile int n = 0; n < (i % 64) * 100; n++)
			;
		CHECK(!pthread_kill(thread, SIGUSR1));
		while (in_compute)
			sched_yield();
	}
	CHECK(!pthread_join(thread, NULL));
}

int main(void)
{
	signal_at_the_end_of_a_call_is_delivered_while_computing();
	CHECK_DONE();
}
