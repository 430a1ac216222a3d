/* epoll under threads: no wake-up is lost, and nothing is touched after it is freed, whatever
 * happens at the same time. Meant for the tsan preset, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sentry/fs/epoll/epoll_internal.h"
#include "sentry/fs/eventfd/eventfd.h"
#include "sentry/kernel/task/task.h"
#include "sentry/vfs/vfs_init.h"
#include "vfs_fixture.h"

static struct task *main_task;

/* Every thread is a task of the one process. */
static void become_task(struct task *t)
{
	t->group = main_task->group;
	t->cred = main_task->cred;
	t->files = main_task->files;
	current = t;
}

static int wait_one(struct file *ep, int64_t deadline, uint64_t *data)
{
	struct epoll_event_k ev;
	struct iov_iter it;
	int n;

	iov_iter_kernel(&it, &ev, sizeof(ev));
	n = epoll_wait_events(ep, &it, 1, deadline);
	if (n == 1)
		*data = ev.data;
	return n;
}

static void add(struct file *ep, struct file *f, uint32_t events, uint64_t data)
{
	struct epoll_event_k ev = {events, data};

	assert_int_equal(epoll_control(ep, EPOLL_CTL_ADD, (int)data, f, &ev), 0);
}

static bool take(struct file *f)
{
	struct iov_iter it;
	uint64_t v;

	iov_iter_kernel(&it, &v, sizeof(v));
	return f->ops->read(f, &it, NULL, 0) == sizeof(v);
}

static void post(struct file *f)
{
	struct iov_iter it;
	uint64_t v = 1;

	iov_iter_kernel(&it, &v, sizeof(v));
	assert_int_equal(f->ops->write(f, &it, NULL, 0), sizeof(v));
}

static struct file *event(uint32_t flags, bool semaphore)
{
	struct file *f;

	assert_int_equal(eventfd_create(0, semaphore, flags, &f), 0);
	return f;
}

static struct file *epoll_file(void)
{
	struct file *f;

	assert_int_equal(epoll_create_file(0, &f), 0);
	return f;
}

/* --- posts are all taken ---------------------------------------------------------------------- */

#define POSTS 3000
static struct file *shared_ep, *work, *stop;
static _Atomic int taken;

static void *consumer(void *arg)
{
	struct task task = {0};
	uint64_t data = 0;

	(void)arg;
	become_task(&task);
	while (data != 2)
		if (wait_one(shared_ep, NO_DEADLINE, &data) == 1 && data == 1 && take(work))
			taken++;
	current = NULL;
	return NULL;
}

static void check_all_taken(uint32_t events)
{
	pthread_t threads[4];

	taken = 0;
	shared_ep = epoll_file();
	work = event(O_NONBLOCK, true);
	stop = event(O_NONBLOCK, false);
	add(shared_ep, work, events, 1);
	add(shared_ep, stop, EPOLLIN, 2);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, consumer, NULL);
	for (int i = 0; i < POSTS; i++)
		post(work);
	for (int i = 0; i < 1000 && taken < POSTS; i++)
		usleep(10000);
	assert_int_equal(taken, POSTS);
	post(stop);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	file_put(work);
	file_put(stop);
	file_put(shared_ep);
}

static void level_triggered_waiters_take_every_post(void **state)
{
	(void)state;
	check_all_taken(EPOLLIN);
}

static void nested_epoll_passes_every_post_on(void **state)
{
	struct file *inner = epoll_file();
	struct file *outer = epoll_file();
	struct file *ev = event(O_NONBLOCK, true);
	uint64_t data;

	(void)state;
	add(inner, ev, EPOLLIN, 7);
	add(outer, inner, EPOLLIN, 8);
	assert_int_equal(wait_one(outer, 0, &data), 0);
	for (int i = 0; i < 100; i++) {
		post(ev);
		assert_int_equal(wait_one(outer, NO_DEADLINE, &data), 1);
		assert_int_equal(data, 8);
		assert_int_equal(wait_one(inner, 0, &data), 1);
		assert_true(take(ev));
		assert_int_equal(wait_one(outer, 0, &data), 0);
	}
	file_put(inner); /* outer forgets it */
	post(ev);
	assert_int_equal(wait_one(outer, 0, &data), 0);
	file_put(outer);
	file_put(ev);
}

/* --- changes at the same time ------------------------------------------------------------------
 */

static _Atomic bool finish;

static void *poster(void *arg)
{
	struct task task = {0};

	become_task(&task);
	while (!finish) {
		post(arg);
		take(arg);
	}
	current = NULL;
	return NULL;
}

static void *changer(void *arg)
{
	struct task task = {0};
	unsigned n = 0;

	become_task(&task);
	while (!finish) {
		struct epoll_event_k ev = {EPOLLIN | EPOLLOUT, 50};
		struct file *f = event(O_NONBLOCK, false);

		epoll_control(shared_ep, EPOLL_CTL_ADD, (int)(uintptr_t)arg, f, &ev);
		ev.events = EPOLLOUT | EPOLLONESHOT;
		epoll_control(shared_ep, EPOLL_CTL_MOD, (int)(uintptr_t)arg, f, &ev);
		post(f);
		if (n++ & 1)
			epoll_control(shared_ep, EPOLL_CTL_DEL, (int)(uintptr_t)arg, f, NULL);
		file_put(f); /* with the item still there, every other time */
	}
	current = NULL;
	return NULL;
}

static void *waiter(void *arg)
{
	struct task task = {0};

	(void)arg;
	become_task(&task);
	while (!finish) {
		uint64_t data;

		wait_one(shared_ep, monotonic_ns() + 1000000, &data);
	}
	current = NULL;
	return NULL;
}

static void *opener(void *arg)
{
	struct task task = {0};

	become_task(&task);
	while (!finish) {
		struct file *ep = epoll_file();
		uint64_t data;

		add(ep, arg, EPOLLIN | EPOLLET, 1);
		wait_one(ep, 0, &data);
		file_put(ep); /* while arg is being posted */
	}
	current = NULL;
	return NULL;
}

static void ctl_wait_wake_and_close_may_race(void **state)
{
	pthread_t t[6];
	struct file *busy = event(O_NONBLOCK, false);
	uint64_t data;

	(void)state;
	finish = false;
	shared_ep = epoll_file();
	add(shared_ep, busy, EPOLLIN | EPOLLET, 60);
	pthread_create(&t[0], NULL, poster, busy);
	pthread_create(&t[1], NULL, changer, (void *)1);
	pthread_create(&t[2], NULL, changer, (void *)2);
	pthread_create(&t[3], NULL, waiter, NULL);
	pthread_create(&t[4], NULL, waiter, NULL);
	pthread_create(&t[5], NULL, opener, busy);
	usleep(400000);
	finish = true;
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	file_put(busy);
	assert_int_equal(wait_one(shared_ep, 0, &data), 0);
	file_put(shared_ep);
}

static void loops_are_refused_and_wide_graphs_are_cheap(void **state)
{
	enum { WIDTH = 30, LEVELS = 4 };
	struct epoll_event_k ev = {EPOLLIN, 0};
	struct file *level[LEVELS][WIDTH], *top = epoll_file();
	int64_t start = monotonic_ns();

	(void)state;
	for (int l = 0; l < LEVELS; l++)
		for (int i = 0; i < WIDTH; i++)
			level[l][i] = epoll_file();
	for (int l = 0; l + 1 < LEVELS; l++)
		for (int i = 0; i < WIDTH; i++)
			for (int j = 0; j < WIDTH; j++)
				epoll_control(level[l][i], EPOLL_CTL_ADD, j, level[l + 1][j], &ev);
	assert_int_equal(epoll_control(level[LEVELS - 1][0], EPOLL_CTL_ADD, 0, level[0][0], &ev),
			 -ELOOP);
	assert_true(monotonic_ns() - start < 20 * NSEC_PER_SEC);
	for (int l = 0; l < LEVELS; l++)
		for (int i = 0; i < WIDTH; i++)
			file_put(level[l][i]);
	file_put(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(level_triggered_waiters_take_every_post),
		cmocka_unit_test(nested_epoll_passes_every_post_on),
		cmocka_unit_test(ctl_wait_wake_and_close_may_race),
		cmocka_unit_test(loops_are_refused_and_wide_graphs_are_cheap),
	};
	struct mnt_ns *ns;
	int ret;

	vfs_init();
	ns = vfs_fixture_start();
	main_task = current;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	vfs_fixture_stop(ns);
	return ret;
}
