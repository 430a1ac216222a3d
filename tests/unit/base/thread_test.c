/* Which signals the threads that base/thread.h starts have blocked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <signal.h>

#include "base/thread.h"

static sem_t done;
static sigset_t seen;

static void *looks(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, &seen);
	sem_post(&done);
	return NULL;
}

static void *starts_another(void *arg)
{
	if (thread_start(looks, NULL, 0))
		sem_post(&done);
	return NULL;
}

static void a_quiet_thread_has_all_signals_blocked(void **state)
{
	sigemptyset(&seen);
	assert_int_equal(thread_start_quiet(looks, NULL, 0), 0);
	sem_wait(&done);
	assert_int_equal(sigismember(&seen, SIGBUS), 1);
	assert_int_equal(sigismember(&seen, SIGUSR1), 1);
}

static void a_thread_that_a_quiet_one_starts_is_not_quiet(void **state)
{
	sigset_t mine, old;

	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &mine, &old);
	sigfillset(&seen);
	assert_int_equal(thread_start_quiet(starts_another, NULL, 0), 0);
	sem_wait(&done);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(sigismember(&seen, SIGBUS), 0);
	assert_int_equal(sigismember(&seen, SIGUSR1), 0);
	assert_int_equal(sigismember(&seen, SIGUSR2), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quiet_thread_has_all_signals_blocked),
		cmocka_unit_test(a_thread_that_a_quiet_one_starts_is_not_quiet),
	};

	sem_init(&done, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
