/* Kernel timers: order, re-arming from the function, cancellation while the function runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "sentry/kernel/core/ktimer.h"

#define MS 1000000LL

static void sleep_ms(int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * MS};

	nanosleep(&ts, NULL);
}

static int setup(void **state)
{
	return ktimer_start_thread();
}

static atomic_int fired;
static struct ktimer *order[8];

static void record(struct ktimer *t)
{
	order[fired] = t;
	fired++;
}

static void wait_for(int n)
{
	for (int i = 0; i < 3000 && fired < n; i++)
		sleep_ms(1);
	assert_int_equal(fired, n);
}

static void timers_fire_in_order_of_deadline(void **state)
{
	struct ktimer t[3];
	int64_t now = monotonic_ns();

	fired = 0;
	for (int i = 0; i < 3; i++)
		ktimer_init(&t[i], record);
	ktimer_arm(&t[0], now + 60 * MS);
	ktimer_arm(&t[1], now + 20 * MS);
	ktimer_arm(&t[2], now + 40 * MS);
	wait_for(3);
	assert_true(monotonic_ns() >= now + 60 * MS);
	assert_ptr_equal(order[0], &t[1]);
	assert_ptr_equal(order[1], &t[2]);
	assert_ptr_equal(order[2], &t[0]);
	for (int i = 0; i < 3; i++)
		ktimer_cancel_sync(&t[i]);
}

static void cancelled_timers_do_not_fire(void **state)
{
	struct ktimer t;

	fired = 0;
	ktimer_init(&t, record);
	ktimer_arm(&t, monotonic_ns() + 20 * MS);
	assert_true(ktimer_cancel(&t));
	assert_false(ktimer_cancel(&t));
	sleep_ms(40);
	assert_int_equal(fired, 0);
	/* Moved earlier, and to the past. */
	ktimer_arm(&t, monotonic_ns() + 10000 * MS);
	ktimer_arm(&t, 1);
	wait_for(1);
	ktimer_cancel_sync(&t);
}

static void rearm(struct ktimer *t)
{
	if (++fired < 5)
		ktimer_arm(t, monotonic_ns() + MS);
}

static void functions_may_arm_their_timer(void **state)
{
	struct ktimer t;

	fired = 0;
	ktimer_init(&t, rearm);
	ktimer_arm(&t, monotonic_ns());
	wait_for(5);
	ktimer_cancel_sync(&t);
}

static atomic_bool inside, done;

static void slow(struct ktimer *t)
{
	inside = true;
	sleep_ms(30);
	done = true;
	ktimer_arm(t, monotonic_ns() + 5 * MS);
}

static void cancel_sync_waits_for_the_function(void **state)
{
	struct ktimer t;

	ktimer_init(&t, slow);
	ktimer_arm(&t, monotonic_ns());
	while (!inside)
		sleep_ms(1);
	ktimer_cancel_sync(&t);
	assert_true(done);
	assert_false(t.armed);
	done = false;
	sleep_ms(30);
	assert_false(done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order_of_deadline),
		cmocka_unit_test(cancelled_timers_do_not_fire),
		cmocka_unit_test(functions_may_arm_their_timer),
		cmocka_unit_test(cancel_sync_waits_for_the_function),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
