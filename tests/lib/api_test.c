/* libmoat as a program uses it: each function, its errors, and hostile programs. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <libmoat.h>

static struct moat *master;
static struct moat_error err;

#define SECOND 1000000000ULL
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

/* Runs a script, which must print exactly this and end with 0. */
static void expect(const char *script, const char *output)
{
	struct moat_result r = run(RUN(SHELL(script)));

	assert_string_equal(r.out, output);
	assert_int_equal(r.status, MOAT_EXITED);
	assert_int_equal(r.exit_code, 0);
	moat_result_free(&r);
}

static void put(const char *path, const char *text)
{
	assert_int_equal(moat_write(master, path, text, strlen(text), 0644, &err), 0);
}

/* --- running ---------------------------------------------------------------------------------- */

static void output_and_exit_code_are_told(void **state)
{
	struct moat_result r = run(RUN(SHELL("echo out; echo err >&2; exit 7")));

	assert_int_equal(r.status, MOAT_EXITED);
	assert_int_equal(r.exit_code, 7);
	assert_string_equal(r.out, "out\n");
	assert_string_equal(r.err, "err\n");
	assert_true(r.wall_ns > 0);
	moat_result_free(&r);
}

static void input_is_given_and_a_program_may_leave_it(void **state)
{
	static char much[1 << 20];
	struct moat_result r;

	memset(much, 'x', sizeof(much));
	r = run(RUN(ARGS("wc", "-c"), .input = much, .input_size = sizeof(much)));
	assert_string_equal(r.out, "1048576\n");
	moat_result_free(&r);
	r = run(RUN(ARGS("true"), .input = much, .input_size = sizeof(much)));
	assert_int_equal(r.status, MOAT_EXITED);
	moat_result_free(&r);
}

static void descriptors_are_passed(void **state)
{
	struct moat_result r;
	char buf[8] = "";
	int p[2], n;

	assert_int_equal(pipe(p), 0);
	r = run(RUN(SHELL("echo hi >&3"), .extra_fds = &p[1], .nextra_fds = 1));
	close(p[1]);
	n = (int)read(p[0], buf, sizeof(buf));
	close(p[0]);
	assert_int_equal(n, 3);
	assert_string_equal(buf, "hi\n");
	moat_result_free(&r);
}

static void a_signal_is_told(void **state)
{
	struct moat_result r = run(RUN(SHELL("kill -SEGV $$")));

	assert_int_equal(r.status, MOAT_SIGNALLED);
	assert_int_equal(r.signal, SIGSEGV);
	moat_result_free(&r);
}

static void what_cannot_be_executed_is_an_error(void **state)
{
	struct moat_result r;

	put("/w/text", "no program");
	put("/w/dir/file", "");
	assert_int_equal(moat_execve(master, RUN(ARGS("/no/such")), &r, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/no/such"));
	assert_int_equal(moat_execve(master, RUN(ARGS("no-such")), &r, &err), -ENOENT);
	assert_int_equal(moat_execve(master, RUN(ARGS("/w/text")), &r, &err), -EACCES);
	assert_int_equal(moat_execve(master, RUN(ARGS("/w/dir")), &r, &err), -EACCES);
	assert_int_equal(moat_execve(master, RUN(ARGS("true"), .cwd = "/nowhere"), &r, &err),
			 -ENOENT);
	assert_int_equal(moat_execve(master, RUN(ARGS("true"), .input_fd = 2), &r, &err), -EBADF);
	assert_int_equal(moat_execve(master, &(struct moat_command){.size = 1}, &r, &err), -EINVAL);
}

static void a_huge_argument_is_an_error(void **state)
{
	char *huge = malloc((8 << 20) + 1);
	struct moat_result r;

	memset(huge, 'a', 8 << 20);
	huge[8 << 20] = 0;
	assert_int_equal(moat_execve(master, RUN(ARGS("true", huge)), &r, &err), -E2BIG);
	huge[200000] = 0; /* more than one argument may have: MAX_ARG_STRLEN */
	assert_int_equal(moat_execve(master, RUN(ARGS("true", huge)), &r, &err), -E2BIG);
	free(huge);
	expect("echo fine", "fine\n");
}

/* --- limits ----------------------------------------------------------------------------------- */

static void wall_time_ends_a_sleeper_that_ignores_signals(void **state)
{
	struct moat_result r =
		run(RUN(SHELL("trap '' TERM HUP INT; sleep 1000 & while :; do wait; done"),
			.wall_ns = SECOND / 5));

	assert_int_equal(r.status, MOAT_WALL_LIMIT);
	assert_true(r.wall_ns >= SECOND / 5);
	moat_result_free(&r);
}

static void processor_time_is_that_of_all_processes(void **state)
{
	struct moat_result r = run(
		RUN(SHELL("(while :; do :; done) & while :; do :; done"), .cpu_ns = SECOND / 4));

	assert_int_equal(r.status, MOAT_CPU_LIMIT);
	assert_true(r.user_ns + r.kernel_ns >= SECOND / 4);
	moat_result_free(&r);
}

static void memory_is_limited(void **state)
{
	struct moat_result r =
		run(RUN(ARGS("python3", "-c", "a = []\nwhile 1: a.append('x' * 100000)"),
			.memory = 64 << 20));

	assert_int_equal(r.status, MOAT_MEMORY_LIMIT);
	assert_true(r.memory_peak > 64 << 20);
	moat_result_free(&r);
}

static void a_fork_bomb_gets_no_more_processes(void **state)
{
	struct moat_result r =
		run(RUN(ARGS("python3", "-c",
			     "import os\nn = 0\ntry:\n  while os.fork(): n += 1\n"
			     "  os.kill(os.getpid(), 9)\n"
			     "except OSError: print('no more after', n > 0 and n < 20)\n"),
			.processes = 20));

	assert_true(!strncmp(r.out, "no more after True", 18) || r.status == MOAT_SIGNALLED);
	moat_result_free(&r);
	r = run(RUN(ARGS("python3", "-c",
			 "import os\nwhile 1:\n  try: os.fork()\n  except OSError: pass"),
		    .processes = 20, .wall_ns = SECOND / 2));
	assert_int_equal(r.status, MOAT_WALL_LIMIT);
	moat_result_free(&r);
	expect("echo fine", "fine\n");
}

static void output_beyond_the_limit_ends_it(void **state)
{
	struct moat_result r = run(RUN(ARGS("yes"), .output_limit = 1 << 20));

	assert_int_equal(r.status, MOAT_OUTPUT_LIMIT);
	assert_int_equal(r.out_size, 1 << 20);
	assert_true(r.out_truncated);
	moat_result_free(&r);
	r = run(RUN(SHELL("head -c 300000 /dev/zero"), .output_max = 1000));
	assert_int_equal(r.status, MOAT_EXITED);
	assert_int_equal(r.out_size, 1000);
	assert_true(r.out_truncated);
	moat_result_free(&r);
}

static void a_full_disk_is_no_more_than_that(void **state)
{
	expect("head -c 100000000 /dev/zero >/w/big 2>/dev/null || echo full; rm /w/big; echo y "
	       ">/w/y "
	       "&& cat /w/y",
	       "full\ny\n");
}

static void *cancel_soon(void *arg)
{
	usleep(100000);
	assert_int_equal(moat_cancel(arg), 0);
	return NULL;
}

static void it_can_be_cancelled_at_any_time(void **state)
{
	struct moat_result r;
	struct moat_run *one;
	pthread_t thread;

	for (int when = 0; when < 2; when++) {
		assert_int_equal(moat_start(master, RUN(ARGS("sleep", "1000")), &one, &err), 0);
		assert_true(moat_run_pid(one) > 1);
		if (when)
			assert_int_equal(pthread_create(&thread, NULL, cancel_soon, one), 0);
		else
			assert_int_equal(moat_cancel(one), 0);
		assert_int_equal(moat_wait(one, &r, &err), 0);
		if (when)
			pthread_join(thread, NULL);
		moat_run_free(one);
		assert_int_equal(r.status, MOAT_CANCELLED);
		moat_result_free(&r);
	}
}

static void several_run_at_once(void **state)
{
	struct moat_run *runs[8];
	struct moat_result r;

	/* Each waits for what the next one makes. */
	for (int i = 0; i < 8; i++) {
		char script[100];

		snprintf(script, sizeof(script),
			 "touch /tmp/%d; until [ -e /tmp/%d ]; do sleep 0.01; done; echo %d", i,
			 (i + 1) % 8, i);
		assert_int_equal(moat_start(master, RUN(SHELL(script)), &runs[i], &err), 0);
	}
	for (int i = 0; i < 8; i++) {
		assert_int_equal(moat_wait(runs[i], &r, &err), 0);
		assert_int_equal(r.status, MOAT_EXITED);
		assert_int_equal(r.out[0], '0' + i);
		moat_run_free(runs[i]);
		moat_result_free(&r);
	}
}

/* --- files ------------------------------------------------------------------------------------ */

static void files_go_in_and_out(void **state)
{
	int fd = memfd_create("in", MFD_CLOEXEC), got;
	char buf[16] = "";

	assert_int_equal(ftruncate(fd, 3 << 20), 0);
	assert_int_equal(pwrite(fd, "end", 3, (3 << 20) - 3), 3);
	assert_int_equal(moat_copy_in(master, fd, "/w/a/b/c", 0755, &err), 0);
	close(fd);
	expect("stat -c '%s %a %U' /w/a/b/c", "3145728 755 nobody\n");
	got = moat_open(master, "/w/a/b/c", 0, &err);
	assert_true(got >= 0);
	assert_int_equal(lseek(got, 0, SEEK_END), 3 << 20);
	assert_int_equal(pread(got, buf, 16, (3 << 20) - 3), 3);
	assert_string_equal(buf, "end");
	close(got);
	assert_int_equal(moat_open(master, "/w/a/b/c", 1000, &err), -EFBIG);
	put("/w/a/b/c", "short");
	expect("cat /w/a/b/c", "short");
	put("/w/empty", "");
	expect("stat -c %s /w/empty", "0\n");
	assert_int_equal(moat_delete(master, "/w/a", 0, &err), -ENOTEMPTY);
	assert_int_equal(moat_delete(master, "/w/a", 1, &err), 0);
	assert_int_equal(moat_open(master, "/w/a/b/c", 0, &err), -ENOENT);
}

static int count_entry(void *arg, const struct moat_entry *e)
{
	int *n = arg;

	++*n;
	return !strcmp(e->name, "stop");
}

static void directories_are_listed(void **state)
{
	int n = 0;

	expect("mkdir /w/list; cd /w/list; for i in $(seq 300); do : >$i; done", "");
	assert_int_equal(moat_list(master, "/w/list", count_entry, &n, &err), 0);
	assert_int_equal(n, 300);
	assert_int_equal(moat_list(master, "/w/list/1", count_entry, &n, &err), -ENOTDIR);
	assert_int_equal(moat_list(master, "/w/none", count_entry, &n, &err), -ENOENT);
	assert_int_equal(moat_delete(master, "/w/list", 1, &err), 0);
}

static void bad_paths_have_their_own_errors(void **state)
{
	static const struct {
		const char *path;
		int error;
	} reads[] = {
		{"w/relative", EINVAL},
		{"/w/../etc/passwd", EINVAL},
		{"/..", EINVAL},
		{"", EINVAL},
		{"/w/none", ENOENT},
		{"/w/link", ELOOP},
		{"/w/dangling", ELOOP},
		{"/w/fifo", EINVAL},
		{"/w/dir", EISDIR},
		{"/w/socket", EINVAL},
		{"/w/loop/x", ELOOP},
		{"/proc/1/status", EINVAL},
		{"/dev/zero", EINVAL},
		{"/w/proc/self/environ", EINVAL},
		{"/w/root/etc/none", ELOOP},
	};

	expect("cd /w; rm -rf *; mkdir dir; ln -s /etc/passwd link; ln -s nowhere dangling; mkfifo "
	       "fifo;"
	       "ln -s loop loop; ln -s /proc proc; ln -s /proc/self/root root; ln -s "
	       "../../../../etc up;"
	       "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'",
	       "");
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		int fd = moat_open(master, reads[i].path, 0, &err);

		if (fd != -reads[i].error)
			fail_msg("open %s: %d, not %d", reads[i].path, fd, -reads[i].error);
		assert_true(err.text[0]);
	}
	assert_int_equal(moat_write(master, "/w/fifo", "x", 1, 0644, &err), -EINVAL);
	assert_int_equal(moat_write(master, "/w/link", "x", 1, 0644, &err), -ELOOP);
	assert_int_equal(moat_write(master, "/w/dangling", "x", 1, 0644, &err), -ELOOP);
	assert_int_equal(moat_write(master, "/w/dir", "x", 1, 0644, &err), -EISDIR);
	assert_int_equal(moat_write(master, "/w/up/moat-was-here", "x", 1, 0644, &err), -EROFS);
	assert_int_equal(access("/etc/moat-was-here", F_OK), -1);
	/* The links go, not what they lead to. */
	assert_int_equal(moat_delete(master, "/w/up", 1, &err), 0);
	assert_int_equal(moat_delete(master, "/w/link", 0, &err), 0);
	expect("test -s /etc/passwd && ls /w", "dangling\ndir\nfifo\nloop\nproc\nroot\nsocket\n");
}

static void a_tree_that_is_deep_can_be_deleted(void **state)
{
	expect("cd /w; i=0; while [ $i -lt 200 ]; do mkdir d; cd d; ln -s /etc l; i=$((i+1)); done",
	       "");
	assert_int_equal(moat_delete(master, "/w/d", 1, &err), 0);
}

/* Whatever the guest makes of a name between two looks at it, nothing but an error comes of it. */
static void a_guest_that_changes_names_meanwhile_harms_nobody(void **state)
{
	struct moat_run *rogue;
	struct moat_result r;

	assert_int_equal(
		moat_start(master,
			   RUN(SHELL("cd /w; while :; do"
				     " mkdir n; echo x >n/f; rm -r n; ln -s /usr n; rm n;"
				     " mkfifo n; rm -f n; echo x >n; rm -f n; ln -s n n; rm n;"
				     " done 2>/dev/null")),
			   &rogue, &err),
		0);
	for (int i = 0; i < 200; i++) {
		int fd = moat_open(master, "/w/n", 0, &err), n = 0;

		if (fd >= 0)
			close(fd);
		moat_write(master, "/w/n/f", "y", 1, 0644, &err);
		moat_list(master, "/w/n", count_entry, &n, &err);
		moat_delete(master, "/w/n", 1, &err);
	}
	assert_int_equal(moat_cancel(rogue), 0);
	assert_int_equal(moat_wait(rogue, &r, &err), 0);
	assert_int_equal(r.status, MOAT_CANCELLED);
	moat_result_free(&r);
	moat_run_free(rogue);
	expect("test -x /usr/bin/env && echo there", "there\n");
}

/* --- a fresh world ---------------------------------------------------------------------------- */

static void nothing_is_left_after_a_reset(void **state)
{
	expect("cd /w; echo secret >f; echo secret >/tmp/f; echo secret >/dev/shm/f; mkdir -m 0 "
	       "locked;"
	       "mkfifo fifo; chmod 0 f; (trap '' TERM HUP; setsid sleep 1000) >/dev/null 2>&1 &"
	       "python3 - <<'P'\n"
	       "import socket, os, ctypes\n"
	       "c = ctypes.CDLL(None)\n"
	       "assert c.shmget(77, 4096, 0o1666) >= 0\n"
	       "assert c.semget(77, 1, 0o1666) >= 0\n"
	       "assert c.msgget(77, 0o1666) >= 0\n"
	       "if os.fork() == 0:\n"
	       "  os.setsid()\n"
	       "  s = socket.socket(socket.AF_UNIX); s.bind('\\0name'); s.listen()\n"
	       "  t = socket.socket(); t.bind(('127.0.0.1', 7777)); t.listen()\n"
	       "  os.close(0); os.close(1); os.close(2)\n"
	       "  os.pause() if hasattr(os, 'pause') else __import__('signal').pause()\n"
	       "P\n",
	       "");
	assert_int_equal(moat_reset(master, &err), 0);
	expect("ls -A /w /tmp /dev/shm /dev/mqueue; set -- /proc/[0-9]*; echo $#; tail -n +2 "
	       "/proc/sysvipc/shm;"
	       "tail -n +2 /proc/sysvipc/sem; tail -n +2 /proc/sysvipc/msg; grep -c name "
	       "/proc/net/unix;"
	       "tail -n +2 /proc/net/tcp | wc -l",
	       "/dev/mqueue:\n\n/dev/shm:\n\n/tmp:\n\n/w:\n2\n0\n0\n");
}

static void a_reset_ends_what_runs_and_that_is_told(void **state)
{
	struct moat_run *runs[4];
	struct moat_result r;

	for (int i = 0; i < 4; i++)
		assert_int_equal(moat_start(master,
					    RUN(SHELL("while :; do sleep 1000 & wait; done")),
					    &runs[i], &err),
				 0);
	assert_int_equal(moat_reset(master, &err), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(moat_wait(runs[i], &r, &err), 0);
		assert_int_equal(r.status, MOAT_SIGNALLED);
		assert_int_equal(r.signal, SIGKILL);
		moat_result_free(&r);
		moat_run_free(runs[i]);
	}
	expect("ps -C sleep -o pid=; echo none", "none\n");
}

static void *run_and_reset(void *arg)
{
	struct moat_error e;
	struct moat_result r;

	for (int i = 0; i < 10; i++) {
		/* It may be killed by another's reset, or come into one. */
		if (!moat_execve(master, RUN(SHELL("echo x >/w/f; sleep 0.01")), &r, &e))
			moat_result_free(&r);
		moat_write(master, "/w/g", "x", 1, 0644, &e);
		assert_int_equal(moat_reset(master, &e), 0);
	}
	return NULL;
}

static void resets_and_programs_of_several_threads_get_along(void **state)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_and_reset, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(moat_reset(master, &err), 0);
	expect("ls /w; echo fine", "fine\n");
}

static void what_a_program_leaves_running_ends_with_it(void **state)
{
	struct moat_result r;

	expect("(setsid sleep 1001 >/dev/null 2>&1 &) ; (setsid sleep 1001 >/dev/null 2>&1 &)", "");
	/* They are being killed: that takes a moment. */
	expect("while ps -C sleep -o args= | grep -q 1001; do sleep 0.01; done", "");
	r = run(RUN(SHELL("setsid sleep 1002 >/dev/null 2>&1 &"), .keep = 1));
	moat_result_free(&r);
	/* It may be a moment before it is what it executes. */
	expect("until ps -C sleep -o args= | grep 1002; do sleep 0.01; done", "sleep 1002\n");
	assert_int_equal(moat_reset(master, &err), 0);
}

static void a_run_that_is_given_up_ends(void **state)
{
	struct moat_result r;
	struct moat *other;
	struct moat_run *one;

	assert_int_equal(moat_new(NULL, &other, &err), 0);
	assert_int_equal(moat_ping(other, &err), 0);
	assert_int_equal(moat_start(other, RUN(ARGS("sleep", "1000")), &one, &err), 0);
	moat_run_free(one);
	moat_run_free(NULL);
	/* A program may kill all that it sees, and the sandbox is there. */
	assert_int_equal(moat_start(other, RUN(ARGS("sleep", "1000")), &one, &err), 0);
	assert_int_equal(moat_execve(other, RUN(SHELL("kill -9 -1; kill -9 1; exit 0")), &r, &err),
			 0);
	moat_result_free(&r);
	moat_run_free(one);
	assert_int_equal(moat_ping(other, &err), 0);
	assert_int_equal(
		moat_execve(other, RUN(SHELL("prlimit --pid 1 --fsize=0 && echo could")), &r, &err),
		0);
	assert_string_equal(r.out, "");
	moat_result_free(&r);
	assert_int_equal(moat_write(other, "/w/f", "x", 1, 0644, &err), 0);
	moat_destroy(other);
	moat_destroy(NULL);
}

static void what_does_not_start_says_why(void **state)
{
	struct moat_config c = {.size = sizeof(c), .program = "/no/such/moat"};
	struct moat *m;

	assert_int_equal(moat_new(&c, &m, &err), -ENOENT);
	assert_null(m);
	c = (struct moat_config){.size = sizeof(c), .rootfs = "/no/such/root"};
	assert_true(moat_new(&c, &m, &err) < 0);
	assert_non_null(strstr(err.text, "/no/such/root"));
	c = (struct moat_config){.size = sizeof(c), .pool = "/no/such/pool"};
	assert_int_equal(moat_new(&c, &m, &err), -ENOENT);
}

static int set_up(void **state)
{
	struct moat_config c = {
		.size = sizeof(c),
		.memory = 512 << 20,
		.disk = 32 << 20,
		.pool = getenv("MOAT_POOL"),
	};

	if (moat_new(&c, &master, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
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
		cmocka_unit_test(output_and_exit_code_are_told),
		cmocka_unit_test(input_is_given_and_a_program_may_leave_it),
		cmocka_unit_test(descriptors_are_passed),
		cmocka_unit_test(a_signal_is_told),
		cmocka_unit_test(what_cannot_be_executed_is_an_error),
		cmocka_unit_test(a_huge_argument_is_an_error),
		cmocka_unit_test(wall_time_ends_a_sleeper_that_ignores_signals),
		cmocka_unit_test(processor_time_is_that_of_all_processes),
		cmocka_unit_test(memory_is_limited),
		cmocka_unit_test(a_fork_bomb_gets_no_more_processes),
		cmocka_unit_test(output_beyond_the_limit_ends_it),
		cmocka_unit_test(a_full_disk_is_no_more_than_that),
		cmocka_unit_test(it_can_be_cancelled_at_any_time),
		cmocka_unit_test(several_run_at_once),
		cmocka_unit_test(files_go_in_and_out),
		cmocka_unit_test(directories_are_listed),
		cmocka_unit_test(bad_paths_have_their_own_errors),
		cmocka_unit_test(a_tree_that_is_deep_can_be_deleted),
		cmocka_unit_test(a_guest_that_changes_names_meanwhile_harms_nobody),
		cmocka_unit_test(nothing_is_left_after_a_reset),
		cmocka_unit_test(a_reset_ends_what_runs_and_that_is_told),
		cmocka_unit_test(resets_and_programs_of_several_threads_get_along),
		cmocka_unit_test(what_a_program_leaves_running_ends_with_it),
		cmocka_unit_test(a_run_that_is_given_up_ends),
		cmocka_unit_test(what_does_not_start_says_why),
	};

	return cmocka_run_group_tests_name("libmoat", tests, set_up, tear_down);
}
