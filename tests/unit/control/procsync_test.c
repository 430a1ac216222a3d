/* Process sync: both sides, what is not allowed, ends that come early; PID files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/procsync.h"

static struct procsync parent, child;
static struct procsync_message m;

static int make(void **state)
{
	return procsync_pair("exec", &parent, &child);
}

static int unmake(void **state)
{
	procsync_close(&parent);
	procsync_close(&child);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(write(child.fd, text, strlen(text)), strlen(text));
}

static void messages_arrive_as_they_were_sent(void **state)
{
	const struct procsync_message pid = {.type = PROCSYNC_PID, .pid = 42};
	const struct procsync_message status = {
		.type = PROCSYNC_STATUS, .exited = true, .exited_status = 7};
	const struct procsync_message done = {.type = PROCSYNC_PID_DONE};

	assert_string_equal(parent.name, "exec-p");
	assert_string_equal(child.name, "exec-c");
	assert_int_equal(procsync_write(&child, &pid), 0);
	assert_int_equal(procsync_write(&child, &status), 0);
	assert_int_equal(procsync_expect(&parent, PROCSYNC_PID, &m), 0);
	assert_int_equal(m.pid, 42);
	assert_int_equal(procsync_expect(&parent, PROCSYNC_STATUS, &m), 0);
	assert_true(m.exited);
	assert_int_equal(m.exited_status, 7);
	assert_int_equal(procsync_write(&parent, &done), 0);
	assert_int_equal(procsync_expect(&child, PROCSYNC_PID_DONE, &m), 0);
}

static void text_on_the_wire_is_what_is_documented(void **state)
{
	const struct procsync_message pid = {.type = PROCSYNC_PID, .pid = 42};
	char text[128];
	ssize_t n;

	assert_int_equal(procsync_write(&child, &pid), 0);
	n = read(parent.fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = 0;
	assert_string_equal(text, "{\"type\":\"execPid\",\"pid\":42}");
}

static void objects_may_come_in_pieces_and_together(void **state)
{
	say(" {\"type\":\"exec");
	say("PidDone\"}\n{\"type\":\"error\",\"message\":\"a } \\\" "
	    "b\"}{\"type\":\"execStatusDone\"}");
	assert_int_equal(procsync_expect(&parent, PROCSYNC_PID_DONE, &m), 0);
	assert_int_equal(procsync_read(&parent, &m), 0);
	assert_int_equal(m.type, PROCSYNC_ERROR);
	assert_string_equal(m.message, "a } \" b");
	assert_int_equal(procsync_expect(&parent, PROCSYNC_STATUS_DONE, &m), 0);
}

static void another_type_than_expected_is_an_error(void **state)
{
	say("{\"type\":\"execPid\",\"pid\":1}{\"type\":\"error\",\"message\":\"no\\n\"}");
	assert_int_equal(procsync_expect(&parent, PROCSYNC_STATUS, &m), -EPROTO);
	assert_int_equal(procsync_expect(&parent, PROCSYNC_STATUS, &m), -EREMOTEIO);
	assert_string_equal(m.message, "no?");
}

static void what_is_no_message_is_refused(void **state)
{
	static const char *const texts[] = {
		"x",
		"[]",
		"{}",
		"{]",
		"{\"type\":\"nonsense\"}",
		"{\"type\":1}",
		"{\"type\":\"execPid\"}",
		"{\"type\":\"execPid\",\"pid\":0}",
		"{\"type\":\"execPid\",\"pid\":4294967297}",
		"{\"type\":\"execPid\",\"pid\":\"1\"}",
		"{\"type\":\"execStatus\",\"exited\":1,\"exited_status\":0}",
		"{\"type\":\"execStatus\",\"exited\":true,\"exited_status\":256}",
		"{\"type\":\"error\"}",
		"{\"type\":\"execPidDone\",\"type\":\"execPid\"}",
	};
	size_t used;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (procsync_parse(texts[i], strlen(texts[i]), &m, &used) != -EPROTO)
			fail_msg("%s", texts[i]);
	assert_int_equal(procsync_parse("{\"type\":", 8, &m, &used), 0);
	assert_int_equal(procsync_parse("  ", 2, &m, &used), 0);
}

static void endless_object_is_refused(void **state)
{
	char text[4096];

	memset(text, '[', sizeof(text));
	text[0] = '{';
	if (fork() == 0) {
		close(parent.fd);
		for (int i = 0; i < 100; i++)
			if (send(child.fd, text, sizeof(text), MSG_NOSIGNAL) < 0)
				break;
		_exit(0);
	}
	assert_int_equal(procsync_read(&parent, &m), -EPROTO);
	procsync_close(&parent);
	wait(NULL);
}

static void end_of_the_other_side_is_seen(void **state)
{
	procsync_close(&child);
	assert_int_equal(procsync_read(&parent, &m), -EPIPE);
	m.type = PROCSYNC_PID_DONE;
	assert_int_equal(procsync_write(&parent, &m), -EPIPE);
}

static void end_within_an_object_is_seen(void **state)
{
	say("{\"type\":");
	procsync_close(&child);
	assert_int_equal(procsync_read(&parent, &m), -EPROTO);
}

static int count(void *arg, const struct procsync_message *got)
{
	int *n = arg;

	(*n)++;
	return got->type == PROCSYNC_ERROR ? -ECANCELED : 0;
}

static void loop_calls_for_each_until_told(void **state)
{
	int n = 0;

	say("{\"type\":\"execPidDone\"}{\"type\":\"error\",\"message\":\"\"}{\"type\":"
	    "\"execPidDone\"}");
	assert_int_equal(procsync_loop(&parent, count, &n), -ECANCELED);
	assert_int_equal(n, 2);
	procsync_close(&child);
	assert_int_equal(procsync_loop(&parent, count, &n), 0);
	assert_int_equal(n, 3);
}

static void environment_names_a_socket(void **state)
{
	struct procsync p;
	char nr[16];

	unsetenv(PROCSYNC_ENV);
	assert_int_equal(procsync_from_env(&p), -ENOENT);
	snprintf(nr, sizeof(nr), "%d", child.fd);
	fcntl(child.fd, F_SETFD, 0);
	setenv(PROCSYNC_ENV, nr, 1);
	assert_int_equal(procsync_from_env(&p), 0);
	assert_int_equal(p.fd, child.fd);
	assert_int_equal(fcntl(p.fd, F_GETFD), FD_CLOEXEC);
	assert_null(getenv(PROCSYNC_ENV));
	for (unsigned i = 0; i < 5; i++) {
		static const char *const bad[] = {"", "x", "-1", "1", "99999"};

		setenv(PROCSYNC_ENV, bad[i], 1);
		assert_int_equal(procsync_from_env(&p), -EBADF);
	}
}

/* --- PID files -------------------------------------------------------------------------------- */

static char path[] = "/tmp/moat-pid-test.XXXXXX";

static int put(const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static void pid_file_is_read_when_it_is_whole(void **state)
{
	pid_t pid = 0;
	int fd = mkstemp(path);

	close(fd);
	assert_int_equal(procsync_read_pid_file(path, &pid), -EAGAIN); /* empty */
	fd = put("123");
	/* Whoever writes may have more to come. */
	assert_int_equal(procsync_read_pid_file(path, &pid), -EAGAIN);
	close(fd);
	assert_int_equal(procsync_read_pid_file(path, &pid), 0);
	assert_int_equal(pid, 123);
	close(put("4711\n"));
	assert_int_equal(procsync_read_pid_file(path, &pid), 0);
	assert_int_equal(pid, 4711);
	for (unsigned i = 0; i < 6; i++) {
		static const char *const bad[] = {"x", "-1", "0", "1 2", "99999999999", " 1"};

		close(put(bad[i]));
		assert_int_equal(procsync_read_pid_file(path, &pid), -EINVAL);
	}
	unlink(path);
	assert_int_equal(procsync_read_pid_file(path, &pid), -ENOENT);
	assert_int_equal(procsync_read_pid_file("/", &pid), -EINVAL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, make, unmake)
	const struct CMUnitTest tests[] = {
		TEST(messages_arrive_as_they_were_sent),
		TEST(text_on_the_wire_is_what_is_documented),
		TEST(objects_may_come_in_pieces_and_together),
		TEST(another_type_than_expected_is_an_error),
		TEST(what_is_no_message_is_refused),
		TEST(endless_object_is_refused),
		TEST(end_of_the_other_side_is_seen),
		TEST(end_within_an_object_is_seen),
		TEST(loop_calls_for_each_until_told),
		TEST(environment_names_a_socket),
		cmocka_unit_test(pid_file_is_read_when_it_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
