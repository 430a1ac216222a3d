/* TCP between two stacks: connections, data, ends, on the virtual clock. */
#include "world.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>

static int state_of(struct net_ep *ep)
{
	struct tcp_info i;
	socklen_t n = sizeof(i);

	assert_int_equal(net_ep_getsockopt(ep, IPPROTO_TCP, TCP_INFO, &i, &n), 0);
	return i.tcpi_state;
}

static void three_way_handshake_and_orderly_close(void **st)
{
	struct net_ep *c, *s;
	struct world w;
	char buf[16];

	world_init(&w, 1, 1500, 0);
	w.delay = 10 * MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	assert_int_equal(state_of(c), TCP_ESTABLISHED);
	assert_int_equal(state_of(s), TCP_ESTABLISHED);
	assert_int_equal(ep_send(c, "hello", 5), 5);
	world_run(&w, 20 * MS);
	assert_int_equal(ep_recv(s, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(ep_recv(s, buf, sizeof(buf)), -EAGAIN);
	assert_int_equal(net_ep_shutdown(c, SHUT_WR), 0);
	assert_int_equal(state_of(c), TCP_FIN_WAIT1);
	world_run(&w, 60 * MS);
	assert_int_equal(state_of(c), TCP_FIN_WAIT2);
	assert_int_equal(state_of(s), TCP_CLOSE_WAIT);
	assert_int_equal(ep_recv(s, buf, sizeof(buf)), 0);
	assert_true(net_ep_readiness(s) & EPOLLRDHUP);
	/* Half-closed: the other direction still works. */
	assert_int_equal(ep_send(s, "bye", 3), 3);
	world_run(&w, 60 * MS);
	assert_int_equal(ep_recv(c, buf, sizeof(buf)), 3);
	assert_int_equal(net_ep_shutdown(s, SHUT_WR), 0);
	assert_int_equal(state_of(s), TCP_LAST_ACK);
	world_run(&w, 60 * MS);
	assert_int_equal(state_of(c), TCP_TIME_WAIT);
	assert_int_equal(state_of(s), TCP_CLOSE);
	world_run(&w, 61 * SEC);
	assert_int_equal(state_of(c), TCP_CLOSE);
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static void bulk_transfer(int family, unsigned mtu, unsigned features, unsigned loss)
{
	struct net_ep *c, *s;
	struct world w;

	world_init(&w, 42 + loss, mtu, features);
	w.delay = 5 * MS;
	world_connect(&w, family, 80, &c, &s);
	w.loss = loss;
	world_transfer(&w, c, s, 3000000);
	world_transfer(&w, s, c, 500000);
	if (!loss)
		assert_int_equal(stack_counter(w.stack[0], "Tcp.RetransSegs"), 0);
	w.loss = 0;
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static void bulk_over_ipv4(void **st)
{
	bulk_transfer(AF_INET, 1500, 0, 0);
}
static void bulk_over_ipv6(void **st)
{
	bulk_transfer(AF_INET6, 1500, 0, 0);
}
static void bulk_with_offloads(void **st)
{
	bulk_transfer(AF_INET, 1500,
		      NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_TRUSTED | NET_F_RXCSUM, 0);
}
static void bulk_with_loss(void **st)
{
	bulk_transfer(AF_INET, 1500, 0, 20);
	bulk_transfer(AF_INET6, 1500, 0, 50);
}

static void bulk_over_a_bad_wire(void **st)
{
	struct net_ep *c, *s;
	struct world w;

	for (int seed = 0; seed < 6; seed++) {
		world_init(&w, seed, 1500, 0);
		w.delay = 5 * MS;
		world_connect(&w, AF_INET, 80, &c, &s);
		w.loss = 20;
		w.duplicate = 20;
		w.corrupt = 10;
		w.reorder = 20;
		w.jitter = MS;
		world_transfer(&w, c, s, 400000);
		w.loss = w.duplicate = w.corrupt = w.reorder = 0;
		net_ep_close(c);
		net_ep_close(s);
		world_fini(&w);
	}
}

/* Counts data frames of a full 1500-byte MTU, and shorter ones. */
static bool count_sizes(void *arg, int side, const uint8_t *frame, size_t len)
{
	unsigned *n = arg;

	if (side == 0 && frame[12] == 8 && !frame[13] && len > 14 + 20 + 32)
		n[len < 1514]++;
	return false;
}

static void large_write_has_one_short_segment(void **st)
{
	static char data[256 << 10];
	unsigned sizes[2] = {0, 0};
	struct net_ep *c, *s;
	struct world w;

	world_init(&w, 3, 1500, 0);
	w.delay = MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	assert_int_equal(ep_option(c, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	assert_int_equal(ep_option(c, SOL_SOCKET, SO_SNDBUF, 2 << 20), 0);
	world_transfer(&w, c, s, 6000000); /* opens the windows */
	w.hook = count_sizes;
	w.hook_arg = sizes;
	assert_int_equal(ep_send(c, data, sizeof(data)), sizeof(data));
	world_run(&w, SEC);
	assert_int_equal(sizes[0], sizeof(data) / 1448);
	assert_int_equal(sizes[1], 1);
	w.hook = NULL;
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static void connect_to_closed_port_is_refused(void **st)
{
	struct sockaddr_storage a;
	struct world w;
	struct net_ep *c;
	socklen_t n = world_addr(AF_INET, 1, 81, &a);

	world_init(&w, 1, 1500, 0);
	c = world_tcp(&w, 0, AF_INET);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&a, n), -EINPROGRESS);
	world_run(&w, 100 * MS);
	assert_true(net_ep_readiness(c) & EPOLLERR);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&a, n), -ECONNREFUSED);
	net_ep_close(c);
	world_fini(&w);
}

static void loopback_transfer(void **st)
{
	struct sockaddr_storage a;
	struct world w;
	struct net_ep *c, *s, *l;
	socklen_t n = world_addr(AF_INET, -1, 80, &a);

	world_init(&w, 1, 1500, 0);
	l = world_listen(&w, 0, AF_INET, 80, 4);
	c = world_tcp(&w, 0, AF_INET);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&a, n), -EINPROGRESS);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&a, n), 0);
	assert_int_equal(net_ep_accept(l, &s), 0);
	world_transfer(&w, c, s, 5000000);
	assert_int_equal(stack_counter(w.stack[0], "Tcp.RetransSegs"), 0);
	net_ep_close(c);
	net_ep_close(s);
	net_ep_close(l);
	world_fini(&w);
}

/* A buffer smaller than the segment size: each piece waits for the ACK of the one before. */
static void small_buffers_do_not_wait_for_delayed_acks(void **st)
{
	struct sockaddr_storage a;
	struct world w;
	struct net_ep *c, *s, *l;
	socklen_t n = world_addr(AF_INET, -1, 80, &a);

	world_init(&w, 1, 1500, 0);
	l = world_listen(&w, 0, AF_INET, 80, 4);
	c = world_tcp(&w, 0, AF_INET);
	assert_int_equal(ep_option(c, SOL_SOCKET, SO_SNDBUF, 4096), 0);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&a, n), -EINPROGRESS);
	assert_int_equal(net_ep_accept(l, &s), 0);
	assert_true(world_transfer(&w, c, s, 1000000) < 100 * MS);
	/* Something large in between must not spoil it. */
	assert_int_equal(ep_option(c, SOL_SOCKET, SO_SNDBUF, 1000000), 0);
	world_transfer(&w, c, s, 1000000);
	assert_int_equal(ep_option(c, SOL_SOCKET, SO_SNDBUF, 4096), 0);
	assert_true(world_transfer(&w, c, s, 1000000) < 100 * MS);
	net_ep_close(c);
	net_ep_close(s);
	net_ep_close(l);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_way_handshake_and_orderly_close),
		cmocka_unit_test(bulk_over_ipv4),
		cmocka_unit_test(bulk_over_ipv6),
		cmocka_unit_test(bulk_with_offloads),
		cmocka_unit_test(bulk_with_loss),
		cmocka_unit_test(bulk_over_a_bad_wire),
		cmocka_unit_test(large_write_has_one_short_segment),
		cmocka_unit_test(connect_to_closed_port_is_refused),
		cmocka_unit_test(loopback_transfer),
		cmocka_unit_test(small_buffers_do_not_wait_for_delayed_acks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
