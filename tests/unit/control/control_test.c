/* The control server against clients that keep the rules, and against others. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "control/frame.h"
#include "fake_backend.h"

#define WAIT_MS 10000

static Moat__Request request_for(char *id, Moat__ContainerName *name)
{
	Moat__Request r = MOAT__REQUEST__INIT;

	moat__container_name__init(name);
	name->id = id;
	r.call_case = MOAT__REQUEST__CALL_STATUS;
	r.status = name;
	return r;
}

/* The server serves: a new client gets an answer. */
static void assert_alive(struct fake *f)
{
	struct control_client *c = fake_client(f);
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	Moat__Response *response;
	struct control_error err;

	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, &response, &err), 0);
	assert_int_equal(response->result_case, MOAT__RESPONSE__RESULT_STATUS);
	assert_int_equal(response->status->state, MOAT__STATUS__STATE__RUNNING);
	control_response_free(response);
	control_client_free(c);
}

static int raw_connect(struct fake *f)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void raw_frame(int fd, Moat__Frame *frame)
{
	size_t size;
	unsigned char *data = frame_pack(frame, &size);

	assert_int_equal(write(fd, data, size), (ssize_t)size);
	free(data);
}

static void raw_hello(int fd, unsigned version)
{
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__Hello hello = MOAT__HELLO__INIT;

	hello.version = version;
	frame.kind_case = MOAT__FRAME__KIND_HELLO;
	frame.hello = &hello;
	raw_frame(fd, &frame);
}

/* The server closes the connection, whatever it says before. */
static void assert_hung_up(int fd)
{
	char buf[4096];
	ssize_t n;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			break;
	}
	assert_true(n == 0 || errno == ECONNRESET);
	close(fd);
}

static void calls_are_answered(void **state)
{
	struct fake f;
	struct control_client *c;
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	Moat__Response *response;
	struct control_error err;

	fake_start(&f);
	c = fake_client(&f);
	r.call_case = MOAT__REQUEST__CALL_PROCESSES;
	r.processes = &name;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, &response, &err), 0);
	assert_int_equal(response->process_list->n_processes, 1);
	assert_string_equal(response->process_list->processes[0]->command, "sleep");
	control_response_free(response);
	r.call_case = MOAT__REQUEST__CALL_DESTROY;
	r.destroy = &name;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -ENOENT);
	assert_string_equal(err.text, "no container 'x'");
	r.call_case = MOAT__REQUEST__CALL_PROFILE;
	Moat__Profile profile = MOAT__PROFILE__INIT;
	r.profile = &profile;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EOPNOTSUPP);
	r.call_case = MOAT__REQUEST__CALL__NOT_SET;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -ENOSYS);
	control_client_free(c);
	fake_stop(&f);
}

static void wait_does_not_hold_up_others(void **state)
{
	struct fake f;
	struct control_client *c;
	Moat__Request r = MOAT__REQUEST__INIT;
	Moat__Wait wait = MOAT__WAIT__INIT;
	Moat__Start start = MOAT__START__INIT;
	Moat__Signal sig = MOAT__SIGNAL__INIT;
	Moat__Response *response;
	struct control_error err;
	uint64_t waiting, starting;

	fake_start(&f);
	c = fake_client(&f);
	f.block_start = true;
	wait.id = start.id = sig.id = "x";
	r.call_case = MOAT__REQUEST__CALL_WAIT;
	r.wait = &wait;
	assert_int_equal(control_client_send(c, &r, NULL, 0, &waiting), 0);
	r.call_case = MOAT__REQUEST__CALL_START;
	r.start = &start;
	assert_int_equal(control_client_send(c, &r, NULL, 0, &starting), 0);
	sig.signal = 15;
	r.call_case = MOAT__REQUEST__CALL_SIGNAL;
	r.signal = &sig;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), 0);
	assert_int_equal(f.last_signal, 15);
	assert_alive(&f);
	f.block_start = false;
	assert_int_equal(control_client_receive(c, WAIT_MS, &response), 0);
	assert_int_equal(response->id, starting);
	control_response_free(response);
	fake_exit(&f, 3 << 8);
	assert_int_equal(control_client_receive(c, WAIT_MS, &response), 0);
	assert_int_equal(response->id, waiting);
	assert_int_equal(response->exit_status->wait_status, 3 << 8);
	control_response_free(response);
	control_client_free(c);
	fake_stop(&f);
}

static void invalid_arguments_are_errors(void **state)
{
	struct fake f;
	struct control_client *c;
	Moat__Request r = MOAT__REQUEST__INIT;
	Moat__Signal sig = MOAT__SIGNAL__INIT;
	Moat__Execute execute = MOAT__EXECUTE__INIT;
	Moat__WaitPid wait = MOAT__WAIT_PID__INIT;
	struct control_error err;

	fake_start(&f);
	c = fake_client(&f);
	r.call_case = MOAT__REQUEST__CALL_SIGNAL;
	r.signal = &sig;
	sig.id = "";
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EINVAL);
	sig.id = "x";
	sig.signal = 65;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EINVAL);
	sig.signal = -1;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EINVAL);
	sig.signal = 1;
	sig.delivery = 77;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EINVAL);
	assert_int_equal(f.signals, 0);
	r.call_case = MOAT__REQUEST__CALL_EXECUTE;
	r.execute = &execute;
	execute.id = "x";
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EINVAL);
	r.call_case = MOAT__REQUEST__CALL_WAIT_PID;
	r.wait_pid = &wait;
	wait.id = "x";
	wait.pid = -3;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EINVAL);
	control_client_free(c);
	fake_stop(&f);
}

static void descriptors_nobody_asked_for_are_closed(void **state)
{
	struct fake f;
	struct control_client *c;
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	struct control_error err;
	int fds[CONTROL_FDS_MAX], before;

	fake_start(&f);
	assert_alive(&f);
	while (f.disconnects < 1)
		usleep(1000);
	before = count_fds();
	c = fake_client(&f);
	for (int i = 0; i < CONTROL_FDS_MAX; i++)
		fds[i] = STDIN_FILENO;
	assert_int_equal(control_client_call(c, &r, fds, CONTROL_FDS_MAX, WAIT_MS, NULL, &err),
			 -EINVAL);
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), 0);
	control_client_free(c);
	/* In the middle of a frame, where none may be: the connection ends. */
	int raw = raw_connect(&f);
	raw_hello(raw, CONTROL_VERSION);
	assert_int_equal(write(raw, "\x10\0\0\0abc", 7), 7);
	usleep(20000);
	assert_int_equal(frame_send(raw, "def", 3, fds, 3), 3);
	assert_hung_up(raw);
	while (f.disconnects < 3)
		usleep(1000);
	assert_int_equal(count_fds(), before);
	fake_stop(&f);
}

static void oversized_and_broken_frames_end_the_connection(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} bad[] = {
		{"\xff\xff\xff\xff", 4},	 {"\x01\x00\x40\x00", 4}, /* 4 MiB and one */
		{"\x02\x00\x00\x00\xff\xff", 6},			  /* no protobuf */
		{"\x00\x00\x00\x00", 4},				  /* a frame of nothing */
		{"\x02\x00\x00\x00\x12\x00", 6}, /* a request without an id */
		{"\x02\x00\x00\x00\x1a\x00", 6}, /* a response */
	};
	struct fake f;

	fake_start(&f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = raw_connect(&f);

		raw_hello(fd, CONTROL_VERSION);
		assert_int_equal(write(fd, bad[i].bytes, bad[i].n), (ssize_t)bad[i].n);
		assert_hung_up(fd);
	}
	/* Before Hello nothing else is heard. */
	int fd = raw_connect(&f);
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	r.id = 1;
	frame.kind_case = MOAT__FRAME__KIND_REQUEST;
	frame.request = &r;
	raw_frame(fd, &frame);
	assert_hung_up(fd);
	fd = raw_connect(&f);
	raw_hello(fd, CONTROL_VERSION + 1);
	assert_hung_up(fd);
	assert_alive(&f);
	fake_stop(&f);
}

static void frame_that_would_take_much_memory_is_refused(void **state)
{
	/* Millions of empty messages in one repeated field: 2 bytes each in the frame. */
	size_t n = CONTROL_FRAME_MAX;
	unsigned char *bytes = malloc(n);
	Moat__Frame *frame;

	for (size_t i = 0; i + 1 < n; i += 2) {
		bytes[i] = 0x0a;
		bytes[i + 1] = 0;
	}
	/* As Frame it is one field merged again and again; in a ProcessList each is a structure. */
	frame = frame_unpack(bytes, n);
	frame_free(frame);
	/* Frame{response{process_list{processes: n empty}}} */
	size_t list = n - 32, at = 0;
	unsigned char *out = malloc(n);
	const unsigned char tags[] = {0x1a, 0x6a};

	for (int i = 0; i < 2; i++) {
		size_t len = i == 0 ? list + 5 : list;

		out[at++] = tags[i];
		for (; len >= 128; len >>= 7)
			out[at++] = (unsigned char)(len | 0x80);
		out[at++] = (unsigned char)len;
	}
	memcpy(out + at, bytes, list);
	assert_null(frame_unpack(out, at + list));
	free(out);
	free(bytes);
}

static void half_frames_do_not_hold_up_others(void **state)
{
	struct fake f;
	int fds[50];

	fake_start(&f);
	for (int i = 0; i < 50; i++) {
		fds[i] = raw_connect(&f);
		raw_hello(fds[i], CONTROL_VERSION);
		assert_int_equal(write(fds[i], "\x00\x10\x00\x00half", 8), 8);
	}
	assert_alive(&f);
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	while (f.disconnects < 51)
		usleep(1000);
	fake_stop(&f);
}

static void client_that_reads_nothing_is_cut_off(void **state)
{
	struct fake f;
	struct control_client *c;
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	int ret = 0, i;

	fake_start(&f);
	c = fake_client(&f);
	r.call_case = MOAT__REQUEST__CALL_PROCESSES;
	r.processes = &name;
	for (i = 0; i < 2000000 && !ret; i++)
		ret = control_client_send(c, &r, NULL, 0, NULL);
	assert_true(ret == -EPIPE || ret == -ECONNRESET);
	control_client_free(c);
	assert_alive(&f);
	fake_stop(&f);
}

static void request_id_under_way_ends_the_connection(void **state)
{
	struct fake f;
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__Request r = MOAT__REQUEST__INIT;
	Moat__Wait wait = MOAT__WAIT__INIT;
	int fd;

	fake_start(&f);
	fd = raw_connect(&f);
	raw_hello(fd, CONTROL_VERSION);
	wait.id = "x";
	r.id = 5;
	r.call_case = MOAT__REQUEST__CALL_WAIT;
	r.wait = &wait;
	frame.kind_case = MOAT__FRAME__KIND_REQUEST;
	frame.request = &r;
	raw_frame(fd, &frame);
	raw_frame(fd, &frame);
	assert_hung_up(fd);
	/* The wait that is still there is answered into the void. */
	fake_exit(&f, 0);
	assert_alive(&f);
	fake_stop(&f);
}

static void thousand_connections_are_served(void **state)
{
	struct control_client *c[CONTROL_CONNECTIONS_MAX - 1];
	struct rlimit old, limit = {4096, 4096};
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	struct control_error err;
	struct fake f;
	int fd;

	getrlimit(RLIMIT_NOFILE, &old);
	if (old.rlim_max < limit.rlim_cur)
		skip();
	limit.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	fake_start(&f);
	/* One is the owner's. */
	for (int i = 0; i < CONTROL_CONNECTIONS_MAX - 1; i++)
		c[i] = fake_client(&f);
	for (int i = 0; i < CONTROL_CONNECTIONS_MAX - 1; i++)
		assert_int_equal(control_client_call(c[i], &r, NULL, 0, WAIT_MS, NULL, &err), 0);
	fd = raw_connect(&f);
	assert_hung_up(fd);
	for (int i = 0; i < CONTROL_CONNECTIONS_MAX - 1; i++)
		control_client_free(c[i]);
	while (f.disconnects < CONTROL_CONNECTIONS_MAX - 1)
		usleep(1000);
	assert_alive(&f);
	fake_stop(&f);
	setrlimit(RLIMIT_NOFILE, &old);
}

static int connect_abstract(struct fake *f, const unsigned char *token)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct control_client *c;
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	struct control_error err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	strcpy(addr.sun_path + 1, f->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr,
				 (socklen_t)(sizeof(sa_family_t) + 1 + strlen(f->path))),
			 0);
	assert_int_equal(control_client_new(fd, token, &c), 0);
	ret = control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err);
	control_client_free(c);
	return ret;
}

static void abstract_name_needs_the_token(void **state)
{
	unsigned char right[CONTROL_TOKEN_SIZE], wrong[CONTROL_TOKEN_SIZE];
	struct fake f;

	memset(right, 7, sizeof(right));
	memset(wrong, 7, sizeof(wrong));
	wrong[31] = 8;
	fake_start(&f);
	assert_int_equal(connect_abstract(&f, right), 0);
	assert_true(connect_abstract(&f, wrong) < 0);
	assert_true(connect_abstract(&f, NULL) < 0);
	fake_stop(&f);
}

static void other_users_are_refused(void **state)
{
	struct fake f;
	int fd;

	if (geteuid())
		skip();
	fake_start(&f);
	assert_int_equal(chmod(f.path, 0666), 0);
	assert_int_equal(seteuid(65534), 0);
	fd = raw_connect(&f);
	assert_int_equal(seteuid(0), 0);
	assert_hung_up(fd);
	assert_alive(&f);
	fake_stop(&f);
}

static void owner_that_leaves_abandons_unless_it_released(void **state)
{
	struct fake f;
	struct control_client *c;
	Moat__Request r = MOAT__REQUEST__INIT;
	Moat__Empty empty = MOAT__EMPTY__INIT;
	struct control_error err;

	fake_start(&f);
	close(f.owner);
	f.owner = -1;
	while (!f.abandoned)
		usleep(1000);
	fake_stop(&f);

	fake_start(&f);
	r.call_case = MOAT__REQUEST__CALL_RELEASE;
	r.release = &empty;
	c = fake_client(&f);
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), -EPERM);
	control_client_free(c);
	assert_int_equal(control_client_new(f.owner, NULL, &c), 0);
	f.owner = -1;
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), 0);
	control_client_free(c);
	while (f.disconnects < 2)
		usleep(1000);
	assert_int_equal(f.abandoned, 0);
	fake_stop(&f);
}

/* The client takes a server for hostile. */
static void hostile_server_gets_errors_only(void **state)
{
	int sv[2];
	struct control_client *c;
	Moat__Response *response = NULL;
	Moat__Frame frame = MOAT__FRAME__INIT;
	Moat__Response answer = MOAT__RESPONSE__INIT;
	Moat__Error error = MOAT__ERROR__INIT;
	int before = count_fds(), fd = STDIN_FILENO;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(control_client_new(sv[0], NULL, &c), 0);
	raw_hello(sv[1], CONTROL_VERSION);
	error.number = 2;
	error.message = "bad\033[2Jnews";
	answer.id = 1;
	answer.error = &error;
	frame.kind_case = MOAT__FRAME__KIND_RESPONSE;
	frame.response = &answer;
	raw_frame(sv[1], &frame);
	assert_int_equal(control_client_receive(c, WAIT_MS, &response), 0);
	assert_string_equal(response->error->message, "bad?[2Jnews");
	control_response_free(response);
	assert_int_equal(control_client_receive(c, 0, &response), -EAGAIN);
	assert_int_equal(control_client_receive(c, 10, &response), -ETIMEDOUT);
	error.number = -7;
	raw_frame(sv[1], &frame);
	assert_int_equal(control_client_receive(c, WAIT_MS, &response), -EPROTO);
	assert_int_equal(frame_send(sv[1], "\x02\0\0\0\x1a\0", 6, &fd, 1), 6);
	assert_int_equal(control_client_receive(c, WAIT_MS, &response), -EPROTO);
	control_client_free(c);
	close(sv[1]);
	assert_int_equal(count_fds(), before);
}

static int attach(struct control_client *c, const int *fds, unsigned n)
{
	Moat__Request r = MOAT__REQUEST__INIT;
	Moat__Empty empty = MOAT__EMPTY__INIT;
	struct control_error err;

	r.call_case = MOAT__REQUEST__CALL_ATTACH;
	r.attach = &empty;
	return control_client_call(c, &r, fds, n, WAIT_MS, NULL, &err);
}

static void attached_sockets_are_connections(void **state)
{
	struct control_client *c, *more;
	Moat__ContainerName name;
	Moat__Request r = request_for("x", &name);
	struct control_error err;
	struct fake f;
	int sv[2], p[2];

	fake_start(&f);
	c = fake_client(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(attach(c, &sv[1], 1), 0);
	close(sv[1]);
	assert_int_equal(control_client_new(sv[0], NULL, &more), 0);
	assert_int_equal(control_client_call(more, &r, NULL, 0, WAIT_MS, NULL, &err), 0);
	/* It owns nothing, and goes alone. */
	control_client_free(more);
	while (f.disconnects < 1)
		usleep(1000);
	assert_int_equal(f.abandoned, 0);
	assert_int_equal(attach(c, NULL, 0), -EINVAL);
	/* What is no socket ends when something comes by it. */
	assert_int_equal(pipe(p), 0);
	assert_int_equal(attach(c, &p[0], 1), 0);
	close(p[0]);
	assert_int_equal(write(p[1], "x", 1), 1);
	while (f.disconnects < 2)
		usleep(1000);
	close(p[1]);
	assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), 0);
	control_client_free(c);
	fake_stop(&f);
}

static void bad_paths_do_not_reach_the_backend(void **state)
{
	static const char *const bad[] = {"",	   "/",	    "//",      "relative", "/..",
					  "/a/..", "/../a", "/a/../b", "..",	   "/a/b/../"};
	static const char *const good[] = {"/a", "/a..", "/..a/b", "/a/...", "//a//b/"};
	struct control_client *c;
	struct control_error err;
	struct fake f;
	char *huge = malloc(5001);

	memset(huge, 'a', 5000);
	*huge = '/';
	huge[5000] = 0;
	fake_start(&f);
	c = fake_client(&f);
	for (size_t i = 0; i <= ARRAY_SIZE(bad) + ARRAY_SIZE(good); i++) {
		bool is_good = i >= ARRAY_SIZE(bad) && i < ARRAY_SIZE(bad) + ARRAY_SIZE(good);
		const char *path = is_good		 ? good[i - ARRAY_SIZE(bad)]
				   : i < ARRAY_SIZE(bad) ? bad[i]
							 : huge;
		Moat__Request r = MOAT__REQUEST__INIT;
		Moat__FileRead read = MOAT__FILE_READ__INIT;
		Moat__FileDelete delete = MOAT__FILE_DELETE__INIT;
		int wanted = is_good ? 0 : path == huge ? -ENAMETOOLONG : -EINVAL;

		read.path = delete.path = (char *)(uintptr_t)path;
		r.call_case = MOAT__REQUEST__CALL_FILE_READ;
		r.file_read = &read;
		assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), wanted);
		r.call_case = MOAT__REQUEST__CALL_FILE_DELETE;
		r.file_delete = &delete;
		assert_int_equal(control_client_call(c, &r, NULL, 0, WAIT_MS, NULL, &err), wanted);
	}
	assert_int_equal(f.files, 2 * (int)ARRAY_SIZE(good));
	control_client_free(c);
	fake_stop(&f);
	free(huge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_answered),
		cmocka_unit_test(wait_does_not_hold_up_others),
		cmocka_unit_test(invalid_arguments_are_errors),
		cmocka_unit_test(descriptors_nobody_asked_for_are_closed),
		cmocka_unit_test(oversized_and_broken_frames_end_the_connection),
		cmocka_unit_test(frame_that_would_take_much_memory_is_refused),
		cmocka_unit_test(half_frames_do_not_hold_up_others),
		cmocka_unit_test(client_that_reads_nothing_is_cut_off),
		cmocka_unit_test(request_id_under_way_ends_the_connection),
		cmocka_unit_test(thousand_connections_are_served),
		cmocka_unit_test(abstract_name_needs_the_token),
		cmocka_unit_test(other_users_are_refused),
		cmocka_unit_test(owner_that_leaves_abandons_unless_it_released),
		cmocka_unit_test(hostile_server_gets_errors_only),
		cmocka_unit_test(attached_sockets_are_connections),
		cmocka_unit_test(bad_paths_do_not_reach_the_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
