/* Many threads on one stack over loopback, timers on a thread of their own: for TSan and ASan. */
#include "world.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 20
#define BYTES 200000

static struct net_env env;
static struct net_wheel *wheel;
static struct netstack *stack;
static atomic_bool stop;

static void *timers(void *arg)
{
	while (!atomic_load(&stop)) {
		net_wheel_run(wheel);
		usleep(1000);
	}
	return NULL;
}

static void connect_pair(uint16_t port, struct net_ep **c, struct net_ep **s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct net_ep *l;
	int one = 1;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &l), 0);
	net_ep_setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(net_ep_bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(net_ep_listen(l, 4), 0);
	assert_int_equal(net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, c), 0);
	assert_int_equal(net_ep_connect(*c, (struct sockaddr *)&a, sizeof(a)), -EINPROGRESS);
	while (net_ep_accept(l, s) == -EAGAIN)
		usleep(100);
	net_ep_close(l);
}

struct flow {
	struct net_ep *ep;
	size_t got;
};

static void *reader(void *arg)
{
	struct flow *f = arg;
	char buf[8192];
	ssize_t n;

	while ((n = ep_recv(f->ep, buf, sizeof(buf))) != 0) {
		if (n == -EAGAIN)
			usleep(50);
		else if (n < 0)
			break;
		else
			f->got += n;
	}
	return NULL;
}

static void *worker(void *arg)
{
	static char data[16384];
	uint16_t port = 5000 + (intptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		struct net_ep *c;
		struct flow f = {0};
		pthread_t t;
		size_t sent = 0;

		connect_pair(port, &c, &f.ep);
		pthread_create(&t, NULL, reader, &f);
		while (sent < BYTES) {
			ssize_t n = ep_send(c, data, sizeof(data));

			if (n == -EAGAIN)
				usleep(50);
			else
				sent += n;
		}
		net_ep_shutdown(c, SHUT_WR);
		pthread_join(t, NULL);
		assert_int_equal(f.got, sent);
		net_ep_close(c);
		net_ep_close(f.ep);
	}
	return NULL;
}

/* Changes of configuration while data flows. */
static void *meddler(void *arg)
{
	struct net_addr_info a = {.ifindex = 1, .family = AF_INET, .prefix = 32};

	a.addr.s6_addr[0] = 127;
	a.addr.s6_addr[3] = 77;
	while (!atomic_load(&stop)) {
		net_addr_add(stack, &a);
		net_addr_del(stack, &a);
		usleep(500);
	}
	return NULL;
}

static int count_ep(void *arg, const struct net_ep_info *i)
{
	(*(int *)arg)++;
	return 0;
}

static void open_stack(void)
{
	struct net_config c;
	struct net_link *lo;

	atomic_store(&stop, false);
	assert_int_equal(net_wheel_create(&env, NULL, NULL, &wheel), 0);
	c = (struct net_config){.env = env, .hash_buckets = 64};
	assert_int_equal(netstack_create(&c, &stack), 0);
	lo = net_link_by_name(stack, "lo");
	net_link_set_flags(lo, IFF_UP, IFF_UP);
	net_link_put(lo);
}

static void close_stack(void)
{
	netstack_destroy(stack);
	assert_true(net_wheel_next(wheel) == INT64_MAX);
	net_wheel_destroy(wheel);
}

static void threads_share_a_stack(void **st)
{
	pthread_t t[THREADS], tt, tm;
	int seen = 0;

	open_stack();
	pthread_create(&tt, NULL, timers, NULL);
	pthread_create(&tm, NULL, meddler, NULL);
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, worker, (void *)i);
	for (int i = 0; i < 50; i++) {
		net_ep_each(stack, 0, count_ep, &seen);
		usleep(1000);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_true(seen > 0);
	atomic_store(&stop, true);
	pthread_join(tt, NULL);
	pthread_join(tm, NULL);
	close_stack();
}

static void *caller(void *arg)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(6000)};
	struct linger lg = {1, 0};
	struct net_ep *ep;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &ep), 0);
		assert_int_equal(net_ep_connect(ep, (struct sockaddr *)&a, sizeof(a)),
				 -EINPROGRESS);
		net_ep_setsockopt(ep, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
		net_ep_close(ep);
	}
	return NULL;
}

/* However many finish their handshakes at once: as many as man 2 listen says, and one. */
static void accept_queue_never_passes_its_backlog(void **st)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(6000)};
	struct net_ep *l, *ep;
	pthread_t t[THREADS];
	int n = 0;

	open_stack();
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &l), 0);
	assert_int_equal(net_ep_bind(l, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(net_ep_listen(l, 2), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, caller, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (; net_ep_accept(l, &ep) == 0; n++)
		net_ep_close(ep);
	assert_int_equal(n, 3);
	/* The places are free again. */
	caller(NULL);
	for (n = 0; net_ep_accept(l, &ep) == 0; n++)
		net_ep_close(ep);
	assert_int_equal(n, 3);
	net_ep_close(l);
	close_stack();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_stack),
		cmocka_unit_test(accept_queue_never_passes_its_backlog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
