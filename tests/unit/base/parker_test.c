/* Sleeping and waking of threads, with a pipe and, when descriptors are short, without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/parker.h"

static struct parker *_Atomic other;

static void *answer(void *arg)
{
	struct parker *main_thread = arg;

	other = parker_self();
	for (int i = 0; i < 2000; i++) {
		if (!parker_sleep(other, INT64_MAX))
			return (void *)1;
		parker_wake(main_thread);
	}
	return NULL;
}

static void ping_pong(void)
{
	struct parker *self = parker_self();
	pthread_t th;
	void *result;

	other = NULL;
	assert_int_equal(pthread_create(&th, NULL, answer, self), 0);
	while (!other)
		;
	for (int i = 0; i < 2000; i++) {
		parker_wake(other);
		assert_true(parker_sleep(self, INT64_MAX));
	}
	pthread_join(th, &result);
	assert_null(result);
	assert_false(parker_sleep(self, monotonic_ns() + 2000000));
}

static void *ping_pong_thread(void *arg)
{
	ping_pong();
	return NULL;
}

static void wakes_are_neither_lost_nor_doubled(void **state)
{
	ping_pong();
}

static void works_without_descriptors(void **state)
{
	struct rlimit old, none = {0, 0};
	pthread_t th;

	getrlimit(RLIMIT_NOFILE, &old);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	pthread_create(&th, NULL, ping_pong_thread, NULL);
	pthread_join(th, NULL);
	setrlimit(RLIMIT_NOFILE, &old);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wakes_are_neither_lost_nor_doubled),
		cmocka_unit_test(works_without_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
