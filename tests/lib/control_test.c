/* libmoat: what a caller may do to a program beyond running it: its terminal, a veto, a profile,
 * the program as a descriptor, its system calls. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include <libmoat.h>

static struct moat *master;
static struct moat_error err;

#define RUN(...) (&(struct moat_command){.size = sizeof(struct moat_command), __VA_ARGS__})
#define ARGS(...)                                                                                  \
	.argv = (const char *const[])                                                              \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}
#define SHELL(script) ARGS("sh", "-c", script)

static struct moat_result run(const struct moat_command *c)
{
	struct moat_result r;
	int ret = moat_execve(master, c, &r, &err);

	if (ret)
		fail_msg("%s: %s", c->argv[0], err.text);
	return r;
}

static struct moat_run *start(const struct moat_command *c)
{
	struct moat_run *started;

	if (moat_start(master, c, &started, &err))
		fail_msg("%s: %s", c->argv[0], err.text);
	return started;
}

static void expect(struct moat_result r, const char *out, int code)
{
	assert_string_equal(r.out, out);
	assert_int_equal(r.status, MOAT_EXITED);
	assert_int_equal(r.exit_code, code);
	moat_result_free(&r);
}

/* --- the terminal ----------------------------------------------------------------------------- */

static void a_terminal_is_one_and_has_a_size(void **state)
{
	expect(run(RUN(SHELL("test -t 0 -a -t 1 -a -t 2 && stty size"), .terminal = 1)),
	       "24 80\r\n", 0);
	expect(run(RUN(SHELL("stty size <&1"), .terminal = 1, .rows = 7, .columns = 11)),
	       "7 11\r\n", 0);
}

static void input_is_typed_and_echoed(void **state)
{
	expect(run(RUN(SHELL("read line; echo \"got $line\""), .terminal = 1, .input = "hi\n",
		       .input_size = 3)),
	       "hi\r\ngot hi\r\n", 0);
}

/* Reads from a terminal until text comes. */
static void wait_for_text(int fd, const char *text)
{
	char seen[4096] = "";
	size_t n = 0;

	while (!strstr(seen, text)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;

		assert_int_equal(poll(&p, 1, 60000), 1);
		got = read(fd, seen + n, sizeof(seen) - 1 - n);
		assert_true(got > 0);
		n += (size_t)got;
		seen[n] = 0;
	}
}

static void type(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void control_c_interrupts(void **state)
{
	struct moat_run *r = start(RUN(SHELL("trap 'echo caught; exit 4' INT; echo ready;"
					     "while :; do sleep 0.02; done"),
				       .terminal = 1));
	struct moat_result result;
	int fd = moat_attach(r, &err);

	wait_for_text(fd, "ready");
	type(fd, "\003");
	wait_for_text(fd, "^Ccaught");
	assert_int_equal(moat_wait(r, &result, &err), 0);
	expect(result, "", 4);
	close(fd);
	moat_run_free(r);
}

static void a_terminal_can_be_attached_to_and_resized(void **state)
{
	struct moat_run *r = start(RUN(SHELL("stty -echo; trap 'stty size' WINCH; echo ready;"
					     "while :; do read line && eval \"$line\"; done"),
				       .terminal = 1));
	struct moat_result result;
	int fd = moat_attach(r, &err);

	assert_true(fd >= 0);
	wait_for_text(fd, "ready");
	type(fd, "echo 1$((1))1\n");
	wait_for_text(fd, "111");
	assert_int_equal(moat_resize(r, 33, 44, &err), 0);
	/* dash runs the trap when the read is over. */
	type(fd, "\n");
	wait_for_text(fd, "33 44");
	type(fd, "exit 5\n");
	assert_int_equal(moat_wait(r, &result, &err), 0);
	expect(result, "", 5);
	close(fd);
	moat_run_free(r);
}

static void what_has_no_terminal_says_so(void **state)
{
	struct moat_run *r = start(RUN(SHELL("true")));
	struct moat_result result;

	assert_int_equal(moat_resize(r, 1, 1, &err), -ENOTTY);
	assert_int_equal(moat_attach(r, &err), -ENOTTY);
	assert_int_equal(moat_wait(r, &result, &err), 0);
	moat_result_free(&result);
	moat_run_free(r);
	assert_int_equal(moat_execve(master,
				     RUN(SHELL("true"), .terminal = 1, .output_fd = MOAT_NULL),
				     &result, &err),
			 -EINVAL);
}

static void a_terminal_does_not_hinder_limits(void **state)
{
	struct moat_result r = run(RUN(SHELL("trap '' INT HUP TERM; echo on; sleep 1000"),
				       .terminal = 1, .wall_ns = 300000000));

	assert_int_equal(r.status, MOAT_WALL_LIMIT);
	moat_result_free(&r);
	r = run(RUN(ARGS("yes"), .terminal = 1, .output_limit = 10000));
	assert_int_equal(r.status, MOAT_OUTPUT_LIMIT);
	assert_int_equal(r.out_size, 10000);
	moat_result_free(&r);
}

/* --- before it runs --------------------------------------------------------------------------- */

struct seen {
	int pid, answer;
	bool ran;
};

/* What the program would write is not there: it has not run. */
static int look(void *arg, int pid)
{
	struct seen *seen = arg;
	int fd = moat_open(master, "/w/ran", 0, NULL);

	seen->pid = pid;
	seen->ran = fd >= 0;
	if (fd >= 0)
		close(fd);
	return seen->answer;
}

static void a_caller_sees_the_number_before_it_runs(void **state)
{
	struct seen seen = {0};
	struct moat_run *r = start(RUN(SHELL("touch ran; echo $$"), .before = look, .arg = &seen));
	struct moat_result result;
	char wanted[16];

	assert_true(seen.pid > 0 && !seen.ran);
	assert_int_equal(moat_run_pid(r), seen.pid);
	assert_int_equal(moat_wait(r, &result, &err), 0);
	snprintf(wanted, sizeof(wanted), "%d\n", seen.pid);
	expect(result, wanted, 0);
	moat_run_free(r);
	assert_int_equal(moat_delete(master, "/w/ran", 0, &err), 0);
}

static void a_veto_is_heeded(void **state)
{
	struct seen seen = {.answer = 1};
	struct moat_result r;

	for (int i = 0; i < 20; i++)
		assert_int_equal(moat_execve(master,
					     RUN(SHELL("touch ran"), .before = look, .arg = &seen),
					     &r, &err),
				 -ECANCELED);
	assert_true(seen.pid > 0);
	/* Nor is there anything of it. */
	expect(run(RUN(SHELL("ls; set -- /proc/[0-9]*; echo $#"))), "2\n", 0);
}

/* A sandbox that is reset, or gone, while a program waits for the answer. */
static int reset(void *arg, int pid)
{
	return moat_reset(master, &err);
}

static void a_reset_ends_what_has_not_run_yet(void **state)
{
	struct moat_result r;

	assert_int_equal(moat_execve(master, RUN(SHELL("touch ran"), .before = reset), &r, &err),
			 -ESRCH);
	expect(run(RUN(SHELL("ls"))), "", 0);
}

/* --- profiles --------------------------------------------------------------------------------- */

static void a_profile_judges_it_and_its_children(void **state)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mkdir, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct moat_result r = run(RUN(SHELL("mkdir d; echo $?"), .filter = filter, .nfilter = 4));

	assert_string_equal(r.out, "1\n");
	assert_non_null(strstr(r.err, "out of domain"));
	moat_result_free(&r);
	/* The next one has none. */
	expect(run(RUN(SHELL("mkdir d && rmdir d"))), "", 0);
	filter[2].k = SECCOMP_RET_KILL_PROCESS;
	r = run(RUN(ARGS("mkdir", "d"), .filter = filter, .nfilter = 4));
	assert_int_equal(r.status, MOAT_SIGNALLED);
	assert_int_equal(r.signal, SIGSYS);
	moat_result_free(&r);
}

static void a_profile_that_is_none_is_an_error(void **state)
{
	const struct sock_filter no_end[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
	const struct sock_filter jump[] = {BPF_STMT(BPF_JMP | BPF_JA, 1000000),
					   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct moat_result r;

	assert_int_equal(
		moat_execve(master, RUN(ARGS("true"), .filter = no_end, .nfilter = 1), &r, &err),
		-EINVAL);
	assert_int_equal(
		moat_execve(master, RUN(ARGS("true"), .filter = jump, .nfilter = 2), &r, &err),
		-EINVAL);
	assert_int_equal(
		moat_execve(master, RUN(ARGS("true"), .filter = jump, .nfilter = 5000), &r, &err),
		-EINVAL);
	expect(run(RUN(ARGS("true"))), "", 0);
}

/* --- the program as a descriptor ----------------------------------------------------------------
 */

static int memfd_of(const char *path)
{
	int from = open(path, O_RDONLY), to = memfd_create("copy", 0);
	char buf[65536];
	ssize_t n;

	assert_true(from >= 0 && to >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		assert_int_equal(write(to, buf, (size_t)n), n);
	close(from);
	return to;
}

static void a_descriptor_is_executed(void **state)
{
	int fd = memfd_of("/bin/echo"), p[2];
	struct moat_result r;

	/* argv[0] is but a name; other descriptors are as ever. */
	for (int i = 0; i < 3; i++)
		expect(run(RUN(ARGS("/no/such", "said"), .exec_fd = fd)), "said\n", 0);
	close(fd);
	fd = open("/bin/sh", O_RDONLY);
	assert_int_equal(pipe(p), 0);
	type(p[1], "through 3");
	close(p[1]);
	expect(run(RUN(SHELL("cat <&3"), .exec_fd = fd, .extra_fds = &p[0], .nextra_fds = 1)),
	       "through 3", 0);
	close(fd);
	/* A pipe is no program, nor is text. */
	assert_int_equal(moat_execve(master, RUN(ARGS("x"), .exec_fd = p[0]), &r, &err), -EACCES);
	close(p[0]);
	fd = memfd_of("/proc/self/status");
	assert_int_equal(moat_execve(master, RUN(ARGS("x"), .exec_fd = fd), &r, &err), -ENOEXEC);
	close(fd);
}

/* --- system calls ----------------------------------------------------------------------------- */

static void calls_are_counted_by_number(void **state)
{
	static uint64_t calls[512];
	struct moat_run *r;
	struct moat_result result;
	uint64_t sum = 0;

	r = start(RUN(SHELL("for i in 1 2 3 4 5 6 7; do mkdir d$i; done; rmdir d*"),
		      .count_calls = 1));
	assert_int_equal(moat_wait(r, &result, &err), 0);
	expect(result, "", 0);
	assert_true(moat_run_calls(r, calls, 512) > 100);
	for (int i = 0; i < 512; i++)
		sum += calls[i];
	assert_int_equal(sum, moat_run_calls(r, NULL, 0));
	assert_int_equal(calls[SYS_mkdir], 7);
	assert_int_equal(calls[SYS_rmdir], 7);
	/* Seven mkdir and rmdir; the shell itself is loaded by the sandbox. */
	assert_true(calls[SYS_execve] >= 7 && calls[SYS_execve] <= 8);
	moat_run_free(r);
	r = start(RUN(ARGS("true")));
	assert_int_equal(moat_wait(r, &result, &err), 0);
	moat_result_free(&result);
	assert_int_equal(moat_run_calls(r, calls, 512), 0);
	assert_int_equal(calls[SYS_mkdir], 0);
	moat_run_free(r);
}

static int set_up(void **state)
{
	if (moat_new(NULL, &master, &err))
		fail_msg("%s", err.text);
	return 0;
}

static int tear_down(void **state)
{
	moat_destroy(master);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_terminal_is_one_and_has_a_size),
		cmocka_unit_test(input_is_typed_and_echoed),
		cmocka_unit_test(control_c_interrupts),
		cmocka_unit_test(a_terminal_can_be_attached_to_and_resized),
		cmocka_unit_test(what_has_no_terminal_says_so),
		cmocka_unit_test(a_terminal_does_not_hinder_limits),
		cmocka_unit_test(a_caller_sees_the_number_before_it_runs),
		cmocka_unit_test(a_veto_is_heeded),
		cmocka_unit_test(a_reset_ends_what_has_not_run_yet),
		cmocka_unit_test(a_profile_judges_it_and_its_children),
		cmocka_unit_test(a_profile_that_is_none_is_an_error),
		cmocka_unit_test(a_descriptor_is_executed),
		cmocka_unit_test(calls_are_counted_by_number),
	};

	return cmocka_run_group_tests_name("libmoat, control", tests, set_up, tear_down);
}
