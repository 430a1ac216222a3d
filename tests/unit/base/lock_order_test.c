/* The check of lock order: what it must report ends a child process. Debug builds have it only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/lock.h"

#ifdef MOAT_DEBUG

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static struct mutex a = MUTEX_INIT;
static struct mutex b = MUTEX_INIT;
static struct mutex c = MUTEX_INIT;
static struct mutex over_commands = MUTEX_INIT_AS(LOCK_OVER_COMMANDS);
static struct rwlock rw = RWLOCK_INIT;
static struct lock_tag lead = {.name = "a lead", .flags = LOCK_IS_LEAD};

static void take_both(struct mutex *first, struct mutex *second)
{
	mutex_lock(first);
	mutex_lock(second);
	mutex_unlock(second);
	mutex_unlock(first);
}

/* Runs fn in a process of its own, and returns what it has logged if it ended by panic(), or "". */
static const char *report_of(void (*fn)(void))
{
	static char text[16384];
	size_t n = 0;
	ssize_t got;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGABRT, SIG_DFL);
		log_set_fd(fds[1]);
		fn();
		_exit(0);
	}
	close(fds[1]);
	while ((got = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	close(fds[0]);
	text[n] = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return "";
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	return text;
}

static void assert_reports(void (*fn)(void), const char *what)
{
	const char *text = report_of(fn);

	if (!strstr(text, what))
		fail_msg("wanted \"%s\", got: %s", what, text);
}

static void assert_silent(void (*fn)(void))
{
	assert_string_equal(report_of(fn), "");
}

static void same_order(void)
{
	take_both(&a, &b);
	take_both(&b, &c);
	take_both(&a, &c);
}

static void other_order(void)
{
	take_both(&a, &b);
	take_both(&b, &a);
}

static void circle_of_three(void)
{
	take_both(&a, &b);
	take_both(&b, &c);
	take_both(&c, &a);
}

static void circle_with_rwlock(void)
{
	read_lock(&rw);
	mutex_lock(&a);
	mutex_unlock(&a);
	read_unlock(&rw);
	mutex_lock(&a);
	write_lock(&rw);
}

static void other_order_is_reported_with_both_stacks(void **state)
{
	assert_silent(same_order);
	assert_reports(other_order, "second at ");
	assert_reports(other_order, "its stack: addr2line");
	assert_reports(other_order, "lock order: a circle");
	assert_reports(circle_of_three, "lock order: a circle");
	assert_reports(circle_with_rwlock, "lock order: a circle");
}

static void try_other_order(void)
{
	take_both(&a, &b);
	mutex_lock(&b);
	if (mutex_trylock(&a))
		mutex_unlock(&a);
	mutex_unlock(&b);
}

static void lock_twice(void)
{
	mutex_lock(&a);
	mutex_lock(&a);
}

static void read_twice(void)
{
	read_lock(&rw);
	read_lock(&rw);
}

static void unlock_not_held(void)
{
	mutex_unlock(&a);
}

static void lock_without_init(void)
{
	struct mutex m;

	memset(&m, 0, sizeof(m));
	mutex_lock(&m);
}

static void misuse_is_reported(void **state)
{
	assert_silent(try_other_order);
	assert_reports(lock_twice, "taken twice");
	assert_reports(read_twice, "taken twice");
	assert_reports(unlock_not_held, "not held by this thread");
	assert_reports(lock_without_init, "nobody has initialised");
}

static void take_pair(uint32_t flags, bool lower_first)
{
	struct mutex m[2];

	for (int i = 0; i < 2; i++)
		mutex_init_as(&m[i], flags);
	take_both(&m[!lower_first], &m[lower_first]);
}

static void two_of_a_class(void)
{
	struct mutex m[2];

	for (int i = 0; i < 2; i++)
		mutex_init(&m[i]);
	take_both(&m[0], &m[1]);
}
static void lower_first(void)
{
	take_pair(LOCK_BY_ADDRESS, true);
}
static void higher_first(void)
{
	take_pair(LOCK_BY_ADDRESS, false);
}
static void nested(void)
{
	take_pair(LOCK_NESTS, false);
}

static void two_of_a_class_need_an_order(void **state)
{
	assert_reports(two_of_a_class, "two of one class");
	assert_silent(lower_first);
	assert_reports(higher_first, "not the lower address first");
	assert_silent(nested);
}

static void command_with_lock(void)
{
	mutex_lock(&a);
	lock_check_command();
}
static void command_with_lock_for_it(void)
{
	mutex_lock(&over_commands);
	lock_check_command();
}
static void sleep_with_lock(void)
{
	mutex_lock(&a);
	lock_check_sleeps(NULL);
}
static void wait_unlocks_its_own(void)
{
	mutex_lock(&a);
	lock_check_sleeps(&a);
}
static void sleep_while_leading(void)
{
	lock_order_taken(&lead, &lead, "lead");
	lock_check_sleeps(NULL);
}
static void spin_while_leading(void)
{
	lock_order_taken(&lead, &lead, "lead");
	lock_check_no_lead();
}

/* One waits for a command's end with the lock held, the leader waits for the lock. */
static void leader_waits_for_waiter(void)
{
	mutex_lock(&over_commands);
	lock_order_waits(&lead, "command");
	mutex_unlock(&over_commands);
	lock_order_taken(&lead, &lead, "lead");
	mutex_lock(&over_commands);
}
/* Likewise, with a lock between them. */
static void leader_waits_for_one_who_waits(void)
{
	mutex_lock(&over_commands);
	lock_order_waits(&lead, "command");
	mutex_unlock(&over_commands);
	take_both(&a, &over_commands);
	lock_order_taken(&lead, &lead, "lead");
	mutex_lock(&a);
}
static void leader_gives_up_the_lead_first(void)
{
	mutex_lock(&over_commands);
	lock_order_waits(&lead, "command");
	mutex_unlock(&over_commands);
	lock_order_taken(&lead, &lead, "lead");
	lock_wants(&over_commands, "command_lock", LOCK_WAITS_WITHOUT_LEAD);
}

static void waits_of_leaders_and_for_guests_are_checked(void **state)
{
	assert_reports(command_with_lock, "a lock held that may not be");
	assert_silent(command_with_lock_for_it);
	assert_reports(sleep_with_lock, "asleep with a lock held");
	assert_silent(wait_unlocks_its_own);
	assert_reports(sleep_while_leading, "while leading");
	assert_reports(spin_while_leading, "while leading");
	assert_reports(leader_waits_for_waiter, "a circle");
	assert_reports(leader_waits_for_one_who_waits, "a circle");
	assert_silent(leader_gives_up_the_lead_first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_order_is_reported_with_both_stacks),
		cmocka_unit_test(misuse_is_reported),
		cmocka_unit_test(two_of_a_class_need_an_order),
		cmocka_unit_test(waits_of_leaders_and_for_guests_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* A release build has locks of the size that the C library gives them. */
static void release_builds_check_nothing(void **state)
{
	assert_int_equal(sizeof(struct mutex), sizeof(pthread_mutex_t));
	assert_int_equal(sizeof(struct rwlock), sizeof(pthread_rwlock_t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(release_builds_check_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
