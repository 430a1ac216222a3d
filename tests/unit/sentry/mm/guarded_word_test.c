/* Words of mapped files that may have been truncated. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "sentry/mm/guarded_word.h"

static int faults;

static void on_sigbus(int sig, siginfo_t *si, void *context)
{
	faults++;
	if (!guarded_word_fixup(context))
		_exit(3);
}

static void word_of_a_truncated_file_is_a_fault(void **state)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	int fd = memfd_create("word", 0);
	uint32_t expected = 1, *word;

	assert_int_equal(sigaction(SIGBUS, &sa, NULL), 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(word != MAP_FAILED);
	assert_int_equal(guarded_cmpxchg(&word[5], &expected, 7), -EAGAIN);
	assert_int_equal(expected, 0);
	assert_int_equal(guarded_cmpxchg(&word[5], &expected, 7), 0);
	assert_int_equal(word[5], 7);
	assert_int_equal(faults, 0);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(guarded_cmpxchg(&word[5], &expected, 7), -EFAULT);
		assert_int_equal(faults, i);
		assert_int_equal(ftruncate(fd, 4096), 0);
		expected = 0;
		assert_int_equal(guarded_cmpxchg(&word[5], &expected, 9), 0);
		assert_int_equal(word[5], 9);
	}
	munmap(word, 4096);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(word_of_a_truncated_file_is_a_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
