/* Data over fd links with Linux as the peer: every kind of device, every way of moving frames. */
#include "device.h"

#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
#define CHUNK 100003
#define LIMIT (60 * SEC)

/* The byte at a place of the stream that test and peer agree on. */
static uint8_t pattern(uint64_t at)
{
	return (at * 0x9e3779b97f4a7c15u) >> 56;
}

static void fill(uint8_t *p, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = pattern(at + i);
}

static bool matches(const uint8_t *p, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != pattern(at + i))
			return false;
	return true;
}

/* ------------------------------------------------------------------------------ TCP */

/* Linux's end: takes one connection, then sends or receives and checks `total` bytes. */
struct peer {
	pthread_t thread;
	int listener;
	bool sends;
	uint64_t total, done;
	bool wrong;
	int mss;
};

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	int fd = accept(p->listener, NULL, NULL);
	uint8_t *buf = malloc(CHUNK);
	socklen_t len = sizeof(p->mss);
	ssize_t n;

	if (fd < 0)
		goto out;
	while (p->done < p->total) {
		size_t want = p->total - p->done < CHUNK ? p->total - p->done : CHUNK;

		if (p->sends) {
			fill(buf, p->done, want);
			n = send(fd, buf, want, MSG_NOSIGNAL);
		} else {
			n = recv(fd, buf, want, 0);
			p->wrong |= n > 0 && !matches(buf, p->done, n);
		}
		if (n <= 0)
			break;
		p->done += n;
	}
	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &p->mss, &len);
	/* The end of the stream, both ways. */
	shutdown(fd, SHUT_WR);
	if (recv(fd, buf, 1, 0) > 0)
		p->wrong = true;
	close(fd);
out:
	free(buf);
	return NULL;
}

static struct net_ep *connect_ours(struct device *d, int family, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len = device_addr(family, 1, port, &a);
	int64_t end = monotonic_ns() + LIMIT;
	struct net_ep *ep;
	int err;

	assert_int_equal(net_ep_create(d->stack, family, SOCK_STREAM, 0, NULL, NULL, &ep), 0);
	do {
		err = net_ep_connect(ep, (struct sockaddr *)&a, len);
		usleep(100);
	} while ((err == -EINPROGRESS || err == -EALREADY) && monotonic_ns() < end);
	assert_int_equal(err, 0);
	return ep;
}

/* Our end of the same: 0, or -ETIMEDOUT, -EIO and what the endpoint says. */
static int move_ours(struct net_ep *ep, bool send, uint64_t total)
{
	int64_t end = monotonic_ns() + LIMIT;
	uint8_t *buf = malloc(CHUNK);
	uint64_t done = 0;
	int err = 0;

	while (done < total && !err) {
		size_t want = total - done < CHUNK ? total - done : CHUNK;
		ssize_t n;

		if (send)
			fill(buf, done, want);
		n = send ? ep_send(ep, buf, want) : ep_recv(ep, buf, want);
		if (n == -EAGAIN) {
			usleep(200);
			err = monotonic_ns() < end ? 0 : -ETIMEDOUT;
			continue;
		}
		if (n <= 0)
			err = n ? (int)n : -EPIPE;
		else if (!send && !matches(buf, done, n))
			err = -EIO;
		else
			done += n;
	}
	free(buf);
	return err;
}

static int transfer(struct device *d, int family, bool send, uint64_t total, int *mss)
{
	struct peer p = {.sends = !send, .total = total};
	uint16_t port = 7000 + send + (family == AF_INET6 ? 2 : 0);
	struct net_ep *ep;
	int err;

	p.listener = linux_socket(family, SOCK_STREAM, port);
	pthread_create(&p.thread, NULL, peer_main, &p);
	ep = connect_ours(d, family, port);
	err = move_ours(ep, send, total);
	net_ep_shutdown(ep, SHUT_WR);
	pthread_join(p.thread, NULL);
	net_ep_close(ep);
	close(p.listener);
	assert_int_equal(err, 0);
	assert_false(p.wrong);
	assert_int_equal(p.done, total);
	if (mss)
		*mss = p.mss;
	return 0;
}

static void tcp_carries_every_byte_both_ways(void **state)
{
	struct device *d;

	d = device_open(*state);
	for (int i = 0; i < 4; i++)
		transfer(d, i & 1 ? AF_INET6 : AF_INET, i & 2, 4 << 20, NULL);
	device_close(d);
}

static void mtu_change_is_obeyed(void **state)
{
	struct net_link_info before, after;
	struct device *d;
	int mss;

	d = device_open(*state);
	transfer(d, AF_INET, true, 1 << 20, &mss);
	assert_in_range(mss, 1400, 1460);
	device_set_mtu(d, 1280);
	net_link_info(d->link, &before);
	transfer(d, AF_INET, true, 1 << 20, &mss);
	assert_in_range(mss, 1200, 1240);
	transfer(d, AF_INET6, false, 1 << 20, &mss);
	assert_in_range(mss, 1180, 1220);
	net_link_info(d->link, &after);
	/* Without segmentation by the device each frame fits. */
	if (!(d->c->features & NET_F_TSO4))
		assert_true((after.stats.tx_bytes - before.stats.tx_bytes) /
				    (after.stats.tx_packets - before.stats.tx_packets) <=
			    1280 + 14);
	device_set_mtu(d, 1500);
	transfer(d, AF_INET6, true, 1 << 20, &mss);
	assert_in_range(mss, 1380, 1440);
	device_close(d);
}

/* ------------------------------------------------------------------------------ UDP */

#define DATAGRAM 1000
#define TRAIN (20 * DATAGRAM + 500)

static struct net_ep *udp_ours(struct device *d, int family, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len = device_addr(family, 0, port, &a);
	struct net_ep *ep;

	assert_int_equal(net_ep_create(d->stack, family, SOCK_DGRAM, 0, NULL, NULL, &ep), 0);
	assert_int_equal(net_ep_bind(ep, (struct sockaddr *)&a, len), 0);
	return ep;
}

static ssize_t receive_ours(struct net_ep *ep, void *p, size_t n)
{
	int64_t end = monotonic_ns() + LIMIT;
	ssize_t k;

	while ((k = ep_recv(ep, p, n)) == -EAGAIN && monotonic_ns() < end)
		usleep(200);
	return k;
}

static void segment_out(struct device *d, int family)
{
	int fd = linux_socket(family, SOCK_DGRAM, 7100), size = DATAGRAM;
	struct net_ep *ep = udp_ours(d, family, 7101);
	struct sockaddr_storage a;
	static uint8_t buf[TRAIN];

	fill(buf, 0, TRAIN);
	assert_int_equal(
		net_ep_connect(ep, (struct sockaddr *)&a, device_addr(family, 1, 7100, &a)), 0);
	assert_int_equal(net_ep_setsockopt(ep, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	assert_int_equal(ep_send(ep, buf, TRAIN), TRAIN);
	for (int at = 0; at < TRAIN; at += DATAGRAM) {
		uint8_t one[2 * DATAGRAM];

		assert_int_equal(recv(fd, one, sizeof(one), 0), MIN(DATAGRAM, TRAIN - at));
		assert_true(matches(one, at, MIN(DATAGRAM, TRAIN - at)));
	}
	net_ep_close(ep);
	close(fd);
}

static void segment_in(struct device *d, int family)
{
	int fd = linux_socket(family, SOCK_DGRAM, 7102), size = DATAGRAM, one = 1;
	struct net_ep *ep = udp_ours(d, family, 7103);
	struct sockaddr_storage a;
	socklen_t len = device_addr(family, 0, 7103, &a);
	static uint8_t buf[TRAIN], in[65536];
	int at = 0;

	fill(buf, 0, TRAIN);
	assert_return_code(connect(fd, (struct sockaddr *)&a, len), errno);
	assert_return_code(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), errno);
	assert_int_equal(send(fd, buf, TRAIN, 0), TRAIN);
	for (; at < TRAIN; at += DATAGRAM) {
		assert_int_equal(receive_ours(ep, in, sizeof(in)), MIN(DATAGRAM, TRAIN - at));
		assert_true(matches(in, at, MIN(DATAGRAM, TRAIN - at)));
	}
	/* With UDP_GRO trains may stay together, whatever their length. */
	assert_int_equal(net_ep_setsockopt(ep, SOL_UDP, UDP_GRO, &one, sizeof(one)), 0);
	assert_int_equal(send(fd, buf, TRAIN, 0), TRAIN);
	for (at = 0; at < TRAIN;) {
		ssize_t n = receive_ours(ep, in, sizeof(in));

		assert_true(n > 0 && (n % DATAGRAM == 0 || at + n == TRAIN));
		assert_true(matches(in, at, n));
		at += n;
	}
	net_ep_close(ep);
	close(fd);
}

static void udp_segment_works_both_ways(void **state)
{
	struct device *d;

	d = device_open(*state);
	segment_out(d, AF_INET);
	segment_out(d, AF_INET6);
	segment_in(d, AF_INET);
	segment_in(d, AF_INET6);
	device_close(d);
}

/* ------------------------------------------------------------------------------ the list */

#define OFFLOADS (NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_USO)

#define EACH_MODE(...)                                                                             \
	{__VA_ARGS__, .mode = NET_FD_MMSG},                                                        \
	{                                                                                          \
		__VA_ARGS__, .mode = NET_FD_URING                                                  \
	}

/* ------------------------------------------------------------------------------ spinning */

static void spinning_finds_frames_and_gives_up(void **state)
{
	struct device *d = device_open(*state);
	int fd = linux_socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_storage a;
	socklen_t n = device_addr(AF_INET, 0, 7, &a);
	int64_t limit = monotonic_ns() + LIMIT;
	bool found = true;

	device_pause(d);
	/* Neighbour discovery may be chatting: some time there is nothing. */
	while (found && monotonic_ns() < limit) {
		while (net_link_fd_poll(d->link, 0, 256) > 0)
			;
		found = net_link_fd_spin(d->link, 0, 100000);
	}
	assert_false(found);
	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, n), 1);
	/* It has just given up, and may sleep over some calls. */
	for (int i = 0; i < 1000 && !found; i++)
		found = net_link_fd_spin(d->link, 0, 1000000);
	assert_true(found);
	assert_true(net_link_fd_poll(d->link, 0, 256) > 0);
	assert_false(net_link_fd_spin(d->link, 1, 1000000));
	device_resume(d);
	close(fd);
	device_close(d);
}

static const struct device_config transfers[] = {
	EACH_MODE(.name = "packet, offloads", .vnet_hdr = true, .features = OFFLOADS),
	EACH_MODE(.name = "packet, header but no offloads", .vnet_hdr = true),
	EACH_MODE(.name = "packet, no header", .features = OFFLOADS),
	EACH_MODE(.name = "packet, two queues", .vnet_hdr = true, .queues = 2,
		  .features = OFFLOADS),
	EACH_MODE(.name = "packet, fifo, small send buffer", .vnet_hdr = true, .txqlen = 100,
		  .sndbuf = 20000),
	EACH_MODE(.name = "packet, little memory", .vnet_hdr = true, .features = OFFLOADS,
		  .memory_limit = 5 << 20),
	EACH_MODE(.name = "tap, offloads", .tap = true, .vnet_hdr = true, .features = OFFLOADS),
	{.name = "packet, offloads", .vnet_hdr = true, .features = OFFLOADS},
	{.name = "tap, offloads", .tap = true, .vnet_hdr = true, .features = OFFLOADS},
	EACH_MODE(.name = "tap, no header", .tap = true, .features = OFFLOADS),
	EACH_MODE(.name = "tap, software GRO", .tap = true, .features = NET_F_GRO),
	EACH_MODE(.name = "tap, four queues", .tap = true, .vnet_hdr = true, .queues = 4,
		  .features = OFFLOADS),
	EACH_MODE(.name = "tap, fifo", .tap = true, .txqlen = 100, .sndbuf = 20000),
	EACH_MODE(.name = "tap, jumbo frames", .tap = true, .vnet_hdr = true, .mtu = 9000,
		  .features = OFFLOADS),
};

static const struct device_config others[] = {
	EACH_MODE(.name = "packet, offloads", .vnet_hdr = true, .features = OFFLOADS),
	EACH_MODE(.name = "packet, no header", .no_gso = true),
	EACH_MODE(.name = "tap, offloads", .tap = true, .vnet_hdr = true, .features = OFFLOADS),
	EACH_MODE(.name = "tap, no header", .tap = true),
};

static struct CMUnitTest tests[64];
static size_t ntests;

static void add(const char *what, CMUnitTestFunction fn, const struct device_config *c)
{
	char *name;

	if (asprintf(&name, "%s: %s, %s", what, c->name, device_mode_name(c->mode)) < 0)
		abort();
	tests[ntests++] = (struct CMUnitTest){name, fn, NULL, NULL, (void *)(uintptr_t)c};
}

int main(int argc, char **argv)
{
	if (!device_namespace())
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(transfers); i++)
		add("tcp", tcp_carries_every_byte_both_ways, &transfers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		add("udp_segment", udp_segment_works_both_ways, &others[i]);
		add("mtu", mtu_change_is_obeyed, &others[i]);
		add("spin", spinning_finds_frames_and_gives_up, &others[i]);
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("fd links, transfer", tests, ntests, NULL, NULL);
}
