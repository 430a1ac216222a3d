/* 2,000 threads alive at once, each doing its part. */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"

#define N 2000

static pthread_barrier_t all_alive;
static atomic_long sum;

static void *thread_main(void *arg)
{
	pthread_barrier_wait(&all_alive);
	sum += (long)arg;
	return arg;
}

int main(void)
{
	static pthread_t threads[N];
	pthread_attr_t attr;
	int started = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN > 65536 ? PTHREAD_STACK_MIN : 65536);
	REQUIRE(!pthread_barrier_init(&all_alive, NULL, N + 1));
	for (long i = 0; i < N; i++, started++)
		REQUIRE((errno = pthread_create(&threads[i], &attr, thread_main, (void *)i)) == 0);
	pthread_barrier_wait(&all_alive);
	for (long i = 0; i < N; i++) {
		void *value;

		CHECK_EQ(pthread_join(threads[i], &value), 0);
		CHECK_EQ((long)value, i);
	}
	CHECK_EQ(sum, (long)N * (N - 1) / 2);
	CHECK_DONE();
}
