/* Congestion control, loss recovery and limits on the simulated wire. */
#include "world.h"

#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include "netstack/tcp/tcp_internal.h"

/* RFC 9438 §4.2: W(t) = C (t - K)^3 + W_max, with the window that the loss left behind. */
static void cubic_follows_its_formula(void **st)
{
	struct net_ep *c, *s;
	struct world w;
	struct tcp_ep *tp;
	static uint8_t buf[65536];
	double w_max, k;
	int64_t start = 0;
	int checked = 0;

	world_init(&w, 3, 1500, 0);
	w.delay = 100 * MS;
	stack_sysctl(w.stack[0], "ipv4.tcp_ecn", 0);
	world_connect(&w, AF_INET, 80, &c, &s);
	ep_option(c, SOL_SOCKET, SO_SNDBUF, 4 << 20);
	ep_option(s, SOL_SOCKET, SO_RCVBUF, 4 << 20);
	tp = tcp(c);
	/* In congestion avoidance 30 % below the window of the last loss. */
	tp->cwnd = 200 * tp->mss;
	tp->ssthresh = tp->cc->ssthresh(tp);
	tp->cwnd = tp->ssthresh;
	w_max = 200;
	k = cbrt(w_max * 0.3 / 0.4);
	for (int i = 0; i < 1200; i++) {
		double t, want, got;

		while (ep_send(c, buf, sizeof(buf)) > 0)
			;
		while (ep_recv(s, buf, sizeof(buf)) > 0)
			;
		world_run(&w, 10 * MS);
		if (!start)
			start = tp->cubic.epoch;
		assert_true(tp->cubic.epoch == start);
		t = (world_now(&w) - start) / 1e9;
		want = 0.4 * pow(t - k, 3) + w_max;
		got = (double)tp->cwnd / tp->mss;
		/* Once the curve is above what Reno would have (§4.3), it alone decides. */
		if (start && t > 1 && want > tp->cubic.w_est * 1.02) {
			if (got < want * 0.9 || got > want * 1.1)
				fail_msg("at %.2f s: %.1f segments, the formula says %.1f", t, got,
					 want);
			checked++;
		}
	}
	assert_true(checked > 500);
	assert_int_equal(stack_counter(w.stack[0], "Tcp.RetransSegs"), 0);
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static void loss_multiplies_the_window_by_seven_tenths(void **st)
{
	struct net_ep *c, *s;
	struct world w;
	uint64_t before;

	world_init(&w, 3, 1500, 0);
	w.delay = 20 * MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	world_transfer(&w, c, s, 300000);
	before = tcp(c)->cwnd;
	tcp_enter_cwr(tcp(c));
	assert_true(tcp(c)->ssthresh >= before * 69 / 100 && tcp(c)->ssthresh <= before * 71 / 100);
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static void two_flows_share_a_bottleneck(void **st)
{
	static uint8_t buf[65536];
	struct net_ep *c[2], *s[2];
	struct world w;
	uint64_t got[2] = {0, 0};

	world_init(&w, 5, 1500, 0);
	w.delay = 10 * MS;
	w.rate = 20000000;
	w.queue_limit = 60;
	for (int i = 0; i < 2; i++)
		world_connect(&w, AF_INET, 80 + i, &c[i], &s[i]);
	for (int step = 0; step < 60000; step++) {
		for (int i = 0; i < 2; i++) {
			ssize_t k;

			while (ep_send(c[i], buf, sizeof(buf)) > 0)
				;
			while ((k = ep_recv(s[i], buf, sizeof(buf))) > 0)
				got[i] += step > 10000 ? k : 0;
		}
		world_run(&w, MS);
	}
	/* Most of the link is used, and neither has less than half of the other's. */
	assert_true((got[0] + got[1]) * 8 > 50 * 20000000ull * 8 / 10);
	assert_true(got[0] * 2 > got[1] && got[1] * 2 > got[0]);
	for (int i = 0; i < 2; i++) {
		net_ep_close(c[i]);
		net_ep_close(s[i]);
	}
	world_fini(&w);
}

/* With 1 % loss Mathis' law for CUBIC's Reno-friendly region gives about 1.2 MSS / (RTT sqrt p)
 * as a lower bound; anything far below means that recovery stalls. */
static void one_percent_loss_keeps_going(void **st)
{
	struct net_ep *c, *s;
	struct world w;
	double seconds, rate, bound;

	world_init(&w, 9, 1500, 0);
	w.delay = 10 * MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	w.loss = 10;
	seconds = world_transfer(&w, c, s, 20000000) / 1e9;
	rate = 20000000 / seconds;
	bound = 1.2 * 1448 / (0.020 * sqrt(0.01));
	assert_true(rate > bound * 0.8);
	assert_true(stack_counter(w.stack[0], "TcpExt.TCPTimeouts") < 20);
	w.loss = 0;
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static bool drop_large(void *arg, int side, const uint8_t *f, size_t len)
{
	return len > *(size_t *)arg;
}

/* Bytes that a flow delivers in ten seconds; what they are is looked at elsewhere. */
static double flow(unsigned seed, unsigned per_mille, int64_t rtt_us, uint64_t *dropped)
{
	static char buf[65536];
	struct net_ep *c, *s;
	double bytes = 0;
	struct world w;
	int64_t end;
	ssize_t n;

	world_init(&w, seed, 1500, 0);
	w.delay = rtt_us * 1000 / 2;
	w.rate = 100000000;
	w.queue_limit = 512 * 1024 / 1514 + rtt_us / 2 * 100 / 8 / 1514;
	world_connect(&w, AF_INET, 80, &c, &s);
	w.loss = per_mille;
	end = world_now(&w) + 10 * SEC;
	while (world_now(&w) < end) {
		while (ep_send(c, buf, sizeof(buf)) > 0)
			;
		while ((n = ep_recv(s, buf, sizeof(buf))) > 0)
			bytes += n;
		net_vclock_run(w.clock, net_vclock_next(w.clock));
	}
	*dropped = w.dropped[0];
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
	return bytes;
}

/*
 * What Linux 6.18's CUBIC got, sending to Linux, through netstack_loss_bench's link of 100 Mbit/s:
 * medians of nine flows of ten seconds, and the round trip times that it measured itself. Ours
 * must be within a fifth of it.
 */
static void goodput_under_loss_is_linuxs(void **st)
{
	static const struct {
		unsigned per_mille;
		int64_t rtt_us;
		double mbit;
	} linuxs[] = {{10, 42000, 3.6}, {30, 42000, 1.86}, {10, 10700, 11.2}, {30, 10700, 5.7}};
	enum { FLOWS = 12 };

	for (unsigned i = 0; i < sizeof(linuxs) / sizeof(linuxs[0]); i++) {
		double mbit = 0;
		uint64_t dropped;

		for (int k = 0; k < FLOWS; k++)
			mbit += flow(100 + k, linuxs[i].per_mille, linuxs[i].rtt_us, &dropped) * 8 /
				1e7 / FLOWS;
		print_message("%u per mille, %.1f ms: %.2f Mbit/s, Linux %.2f\n",
			      linuxs[i].per_mille, linuxs[i].rtt_us / 1e3, mbit, linuxs[i].mbit);
		assert_true(mbit > 0.8 * linuxs[i].mbit && mbit < 1.2 * linuxs[i].mbit);
	}
}

/*
 * A path of 330 segments and a queue of 346: slow start without HyStart would lose that many. Linux
 * loses about 37.
 */
static void slow_start_ends_before_the_queue_does(void **st)
{
	for (int seed = 0; seed < 8; seed++) {
		uint64_t dropped;
		double bytes = flow(seed, 0, 40000, &dropped);

		assert_true(dropped < 60);
		assert_true(bytes * 8 / 10 > 90e6);
	}
}

static void black_hole_shows_as_timeouts_not_as_corruption(void **st)
{
	struct net_ep *c, *s;
	struct world w;
	size_t limit = 1000;
	char buf[16];

	world_init(&w, 9, 1500, 0);
	w.delay = MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	w.hook = drop_large;
	w.hook_arg = &limit;
	assert_int_equal(ep_send(c, (char[1400]){0}, 1400), 1400);
	world_run(&w, 5 * SEC);
	assert_int_equal(ep_recv(s, buf, sizeof(buf)), -EAGAIN);
	assert_true(stack_counter(w.stack[0], "Tcp.RetransSegs") >= 3);
	w.hook = NULL;
	world_run(&w, 20 * SEC);
	assert_int_equal(ep_recv(s, buf, sizeof(buf)), sizeof(buf));
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

/* A SYN from 10.0.0.1 that nobody will follow up. */
static void raw_syn(struct world *w, uint16_t port)
{
	uint8_t f[54] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40};
	struct in6_addr src = {0}, dst = {0};
	uint16_t sum;

	f[22] = 64;
	f[23] = 6;
	f[26] = f[30] = 10;
	f[29] = 1;
	f[33] = 2;
	sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
	memcpy(f + 24, &sum, 2);
	f[34] = port >> 8;
	f[35] = port;
	f[37] = 80;
	f[46] = 0x50;
	f[47] = 2;
	f[48] = 0xff;
	src.s6_addr32[2] = dst.s6_addr32[2] = htonl(0xffff);
	memcpy(&src.s6_addr32[3], f + 26, 4);
	memcpy(&dst.s6_addr32[3], f + 30, 4);
	sum = csum_fold(csum_add_bytes(f + 34, 20, csum_pseudo(&src, &dst, 6, 20)));
	memcpy(f + 50, &sum, 2);
	net_link_input_mem(w->end[1].link, f, 54);
}

static void syn_flood_meets_cookies_and_real_clients_get_in(void **st)
{
	struct net_ep *l, *c, *s;
	struct sockaddr_storage a;
	struct world w;
	socklen_t n = world_addr(AF_INET, 1, 80, &a);

	world_init(&w, 9, 1500, 0);
	l = world_listen(&w, 1, AF_INET, 80, 8);
	for (int i = 0; i < 5000; i++)
		raw_syn(&w, 20000 + i);
	assert_true(stack_counter(w.stack[1], "TcpExt.SyncookiesSent") > 4900);
	assert_true(netstack_memory(w.stack[1], NULL) < 4 << 20);
	c = world_tcp(&w, 0, AF_INET);
	net_ep_connect(c, (struct sockaddr *)&a, n);
	world_run(&w, 100 * MS);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&a, n), 0);
	assert_int_equal(net_ep_accept(l, &s), 0);
	assert_int_equal(stack_counter(w.stack[1], "TcpExt.SyncookiesRecv"), 1);
	world_transfer(&w, c, s, 200000);
	net_ep_close(c);
	net_ep_close(s);
	net_ep_close(l);
	world_fini(&w);
}

static void backlog_is_linuxs_plus_one(void **st)
{
	struct net_ep *l, *c[6], *s;
	struct sockaddr_storage a;
	struct world w;
	socklen_t n = world_addr(AF_INET, 1, 80, &a);
	int accepted = 0;

	world_init(&w, 9, 1500, 0);
	l = world_listen(&w, 1, AF_INET, 80, 2);
	for (int i = 0; i < 6; i++) {
		c[i] = world_tcp(&w, 0, AF_INET);
		net_ep_connect(c[i], (struct sockaddr *)&a, n);
		world_run(&w, 10 * MS);
	}
	assert_true(stack_counter(w.stack[1], "TcpExt.ListenOverflows") > 0);
	while (net_ep_accept(l, &s) == 0) {
		net_ep_close(s);
		accepted++;
	}
	assert_int_equal(accepted, 3);
	for (int i = 0; i < 6; i++)
		net_ep_close(c[i]);
	net_ep_close(l);
	world_fini(&w);
}

static void receive_window_grows_with_the_path(void **st)
{
	struct net_ep *c, *s;
	struct world w;

	world_init(&w, 9, 1500, 0);
	w.delay = 50 * MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	assert_int_equal(ep_get_option(s, SOL_SOCKET, SO_RCVBUF), 131072);
	world_transfer(&w, c, s, 10000000);
	assert_true(ep_get_option(s, SOL_SOCKET, SO_RCVBUF) > 500000);
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

static void unread_data_closes_the_window_and_reading_opens_it(void **st)
{
	static char buf[65536];
	struct net_ep *c, *s;
	struct world w;
	size_t sent = 0, got = 0;
	ssize_t k;

	world_init(&w, 9, 1500, 0);
	w.delay = MS;
	world_connect(&w, AF_INET, 80, &c, &s);
	ep_option(s, SOL_SOCKET, SO_RCVBUF, 32768);
	for (int i = 0; i < 200; i++) {
		while ((k = ep_send(c, buf, sizeof(buf))) > 0)
			sent += k;
		world_run(&w, 50 * MS);
	}
	assert_true(netstack_memory(w.stack[1], NULL) < 400000);
	while (got < sent) {
		while ((k = ep_recv(s, buf, sizeof(buf))) > 0)
			got += k;
		world_run(&w, 200 * MS);
	}
	assert_int_equal(stack_counter(w.stack[0], "TcpExt.TCPTimeouts"), 0);
	net_ep_close(c);
	net_ep_close(s);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cubic_follows_its_formula),
		cmocka_unit_test(loss_multiplies_the_window_by_seven_tenths),
		cmocka_unit_test(two_flows_share_a_bottleneck),
		cmocka_unit_test(one_percent_loss_keeps_going),
		cmocka_unit_test(goodput_under_loss_is_linuxs),
		cmocka_unit_test(slow_start_ends_before_the_queue_does),
		cmocka_unit_test(black_hole_shows_as_timeouts_not_as_corruption),
		cmocka_unit_test(syn_flood_meets_cookies_and_real_clients_get_in),
		cmocka_unit_test(backlog_is_linuxs_plus_one),
		cmocka_unit_test(receive_window_grows_with_the_path),
		cmocka_unit_test(unread_data_closes_the_window_and_reading_opens_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
