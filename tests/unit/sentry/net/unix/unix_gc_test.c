/* Descriptors in flight: cycles of unix sockets are collected, and nothing that is in use is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sentry/fs/eventfd/eventfd.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"
#include "sentry/vfs/vfs_init.h"
#include "vfs_fixture.h"

static struct task *main_task;

static void pair(struct file *f[2])
{
	struct socket *a, *b;

	assert_int_equal(socket_create(AF_UNIX, SOCK_DGRAM, 0, O_NONBLOCK, &f[0]), 0);
	assert_int_equal(socket_create(AF_UNIX, SOCK_DGRAM, 0, O_NONBLOCK, &f[1]), 0);
	a = file_socket(f[0]);
	b = file_socket(f[1]);
	assert_int_equal(a->ops->socketpair(a, b), 0);
}

/* Sends one byte with a descriptor of `what`. */
static int send_file(struct file *over, struct file *what)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'x';
	struct cmsghdr *c = (struct cmsghdr *)(void *)control;
	struct socket *sock = file_socket(over);
	struct socket_msg msg = {.control_in = control, .control_in_len = sizeof(control)};
	struct iov_iter it;
	ssize_t ret;
	int fd = fd_install(file_get(what), false);

	assert_true(fd >= 0);
	c->cmsg_len = CMSG_LEN(sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	iov_iter_kernel(&it, &byte, 1);
	msg.iter = &it;
	ret = sock->ops->sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	fd_close(current->files, fd);
	return ret == 1 ? 0 : (int)ret;
}

/* Receives one byte; the descriptor that comes with it is dropped (no control buffer). */
static int recv_byte(struct file *from)
{
	struct socket *sock = file_socket(from);
	struct socket_msg msg = {0};
	struct iov_iter it;
	char byte;
	ssize_t ret;

	iov_iter_kernel(&it, &byte, 1);
	msg.iter = &it;
	ret = sock->ops->recvmsg(sock, &msg, MSG_DONTWAIT);
	return ret == 1 ? 0 : (int)ret;
}

/* A file whose end can be seen: nobody else holds it when the count is 1. */
static struct file *token(void)
{
	struct file *f;

	assert_int_equal(eventfd_create(0, false, 0, &f), 0);
	return f;
}

/* Runs the collector until nothing is in flight. A run that took long delays the next. */
static void collect_all(void)
{
	for (int i = 0; i < 1000 && unix_total_inflight(); i++) {
		unix_gc();
		usleep(2000);
	}
}

/* The same where something stays: long enough for a few runs. */
static void collect(void)
{
	for (int i = 0; i < 20; i++) {
		unix_gc();
		usleep(2000);
	}
}

static void socket_in_its_own_queue_is_collected(void **state)
{
	struct file *f[2], *t = token();

	(void)state;
	pair(f);
	assert_int_equal(send_file(f[0], f[1]), 0);
	assert_int_equal(send_file(f[0], t), 0);
	assert_int_equal(unix_total_inflight(), 1);
	assert_int_equal(refcount_read(&t->refs), 2);
	file_put(f[0]);
	file_put(f[1]);
	collect_all();
	assert_int_equal(unix_total_inflight(), 0);
	assert_int_equal(refcount_read(&t->refs), 1);
	file_put(t);
}

static void long_cycle_is_collected(void **state)
{
	enum { N = 40 };
	struct file *f[N][2], *t = token();

	(void)state;
	for (int i = 0; i < N; i++)
		pair(f[i]);
	for (int i = 0; i < N; i++)
		assert_int_equal(send_file(f[i][0], f[(i + 1) % N][1]), 0);
	assert_int_equal(send_file(f[7][0], t), 0);
	for (int i = 0; i < N; i++) {
		file_put(f[i][0]);
		file_put(f[i][1]);
	}
	collect_all();
	assert_int_equal(unix_total_inflight(), 0);
	assert_int_equal(refcount_read(&t->refs), 1);
	file_put(t);
}

static void what_is_reachable_stays(void **state)
{
	struct file *root[2], *a[2], *b[2], *t = token();

	(void)state;
	pair(root);
	pair(a);
	pair(b);
	/* root's queue -> a -> b -> a, and b's queue has the token. */
	assert_int_equal(send_file(root[0], a[1]), 0);
	assert_int_equal(send_file(a[0], b[1]), 0);
	assert_int_equal(send_file(b[0], a[1]), 0);
	assert_int_equal(send_file(b[0], t), 0);
	file_put(a[0]);
	file_put(a[1]);
	file_put(b[0]);
	file_put(b[1]);
	collect();
	assert_int_equal(unix_total_inflight(), 3);
	assert_int_equal(refcount_read(&t->refs), 2);
	/* Dropping what root holds leaves a cycle. */
	assert_int_equal(recv_byte(root[1]), 0);
	collect_all();
	assert_int_equal(unix_total_inflight(), 0);
	assert_int_equal(refcount_read(&t->refs), 1);
	file_put(root[0]);
	file_put(root[1]);
	file_put(t);
}

static void deep_chain_does_not_recurse(void **state)
{
	enum { DEPTH = 5000 };
	struct file *carry[2], *next[2];

	(void)state;
	current->group->rlim[RLIMIT_NOFILE].rlim_cur = 100000;
	pair(carry);
	for (int i = 0; i < DEPTH; i++) {
		pair(next);
		assert_int_equal(send_file(next[0], carry[1]), 0);
		file_put(carry[0]);
		file_put(carry[1]);
		carry[0] = next[0];
		carry[1] = next[1];
	}
	assert_int_equal(unix_total_inflight(), DEPTH);
	file_put(carry[0]);
	file_put(carry[1]);
	collect_all();
	assert_int_equal(unix_total_inflight(), 0);
	current->group->rlim[RLIMIT_NOFILE].rlim_cur = 1024;
}

static void limit_of_descriptors_in_flight(void **state)
{
	struct file *f[2], *t = token();
	uint64_t caps = current->cred->cap_effective;
	int ret = 0, n = 0;

	(void)state;
	current->cred->cap_effective = 0;
	current->group->rlim[RLIMIT_NOFILE].rlim_cur = 8;
	pair(f);
	while (n < 100 && (ret = send_file(f[0], t)) == 0)
		n++;
	assert_int_equal(ret, -ETOOMANYREFS);
	assert_int_equal(n, 8);
	assert_int_equal(recv_byte(f[1]), 0);
	assert_int_equal(send_file(f[0], t), 0);
	current->group->rlim[RLIMIT_NOFILE].rlim_cur = 1024;
	current->cred->cap_effective = caps;
	file_put(f[0]);
	file_put(f[1]);
	assert_int_equal(refcount_read(&t->refs), 1);
	file_put(t);
}

/* Threads that send, receive and close while the collector runs: a live token is never lost. */
static _Atomic bool finish;
static struct file *live[2];
static _Atomic int lost;

static void *churn(void *arg)
{
	struct task task = {
		.group = main_task->group, .cred = main_task->cred, .files = main_task->files};

	(void)arg;
	current = &task;
	while (!finish) {
		struct file *f[2], *g[2];

		pair(f);
		pair(g);
		send_file(f[0], g[1]);
		send_file(g[0], f[1]);
		file_put(f[0]);
		file_put(f[1]);
		file_put(g[0]);
		file_put(g[1]);
		unix_gc();
	}
	current = NULL;
	return NULL;
}

static void *live_traffic(void *arg)
{
	struct task task = {
		.group = main_task->group, .cred = main_task->cred, .files = main_task->files};

	(void)arg;
	current = &task;
	while (!finish) {
		struct file *inner[2];
		int sent = 0;

		/* inner is only in live's queue for a while, with a message of its own. */
		pair(inner);
		if (send_file(inner[0], inner[1]) == -ETOOMANYREFS ||
		    (sent = send_file(live[0], inner[1])) == -ETOOMANYREFS)
			sent = -1; /* the other threads' garbage, not dropped yet */
		else
			lost += sent != 0;
		file_put(inner[0]);
		file_put(inner[1]);
		if (!sent)
			lost += recv_byte(live[1]) != 0;
	}
	current = NULL;
	return NULL;
}

static void collector_races_with_traffic(void **state)
{
	pthread_t t[3];

	(void)state;
	pair(live);
	pthread_create(&t[0], NULL, churn, NULL);
	pthread_create(&t[1], NULL, churn, NULL);
	pthread_create(&t[2], NULL, live_traffic, NULL);
	usleep(400000);
	finish = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(lost, 0);
	file_put(live[0]);
	file_put(live[1]);
	collect_all();
	assert_int_equal(unix_total_inflight(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(socket_in_its_own_queue_is_collected),
		cmocka_unit_test(long_cycle_is_collected),
		cmocka_unit_test(what_is_reachable_stays),
		cmocka_unit_test(deep_chain_does_not_recurse),
		cmocka_unit_test(limit_of_descriptors_in_flight),
		cmocka_unit_test(collector_races_with_traffic),
	};
	static struct pid pid;
	struct mnt_ns *ns;
	int ret;

	vfs_init();
	ns = vfs_fixture_start();
	main_task = current;
	refcount_init(&pid.refs);
	current->group->tgid = &pid;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	vfs_fixture_stop(ns);
	return ret;
}
