/* UDP, ICMP errors, multicast, ping, raw and packet endpoints between two stacks. */
#include "world.h"

#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>

static struct net_ep *udp(struct world *w, int side, int family, uint16_t port)
{
	struct net_ep *ep;
	struct sockaddr_storage a;
	socklen_t n = world_addr(family, -2, port, &a);

	assert_int_equal(net_ep_create(w->stack[side], family, SOCK_DGRAM, 0, NULL, NULL, &ep), 0);
	if (port)
		assert_int_equal(net_ep_bind(ep, (struct sockaddr *)&a, n), 0);
	return ep;
}

static ssize_t send_to(struct net_ep *ep, int family, int side, uint16_t port, const void *p,
		       size_t n)
{
	struct sockaddr_storage a;
	struct iovec iov = {(void *)p, n};
	struct net_msg m = {.name = (struct sockaddr *)&a, .iov = &iov, .iovcnt = 1};

	m.namelen = world_addr(family, side, port, &a);
	return net_ep_sendmsg(ep, &m, 0);
}

static void datagrams_keep_their_boundaries(int family)
{
	struct world w;
	struct net_ep *a, *b;
	char buf[100];

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, family, 1000);
	b = udp(&w, 1, family, 2000);
	assert_int_equal(send_to(a, family, 1, 2000, "one", 3), 3);
	assert_int_equal(send_to(a, family, 1, 2000, "", 0), 0);
	assert_int_equal(send_to(a, family, 1, 2000, "three", 5), 5);
	world_run(&w, 3 * SEC);
	assert_int_equal(ep_recv(b, buf, 100), 3);
	assert_int_equal(ep_recv(b, buf, 100), 0);
	assert_int_equal(ep_recv(b, buf, 2), 2); /* the rest is cut off */
	assert_int_equal(ep_recv(b, buf, 100), -EAGAIN);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&w);
}
static void datagrams_over_ipv4(void **st)
{
	datagrams_keep_their_boundaries(AF_INET);
}
static void datagrams_over_ipv6(void **st)
{
	datagrams_keep_their_boundaries(AF_INET6);
}

static void large_datagram_is_fragmented(int family)
{
	static char big[40000], back[40001];
	struct world w;
	struct net_ep *a, *b;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i * 31;
	world_init(&w, 1, 1500, 0);
	w.jitter = 5 * MS; /* fragments arrive in any order */
	w.duplicate = 100;
	a = udp(&w, 0, family, 1000);
	b = udp(&w, 1, family, 2000);
	assert_int_equal(send_to(a, family, 1, 2000, "x", 1), 1); /* resolves the neighbour */
	world_run(&w, 3 * SEC);
	assert_int_equal(ep_recv(b, back, sizeof(back)), 1);
	while (ep_recv(b, back, sizeof(back)) > 0)
		;
	assert_int_equal(send_to(a, family, 1, 2000, big, sizeof(big)), sizeof(big));
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, back, sizeof(back)), sizeof(big));
	assert_memory_equal(big, back, sizeof(big));
	net_ep_close(a);
	net_ep_close(b);
	world_run(&w, 100 * SEC);
	world_fini(&w);
}
static void fragments_over_ipv4(void **st)
{
	large_datagram_is_fragmented(AF_INET);
}
static void fragments_over_ipv6(void **st)
{
	large_datagram_is_fragmented(AF_INET6);
}

static void closed_port_is_reported_to_the_connected(void **st)
{
	struct world w;
	struct net_ep *a;
	struct sockaddr_storage to;
	socklen_t n = world_addr(AF_INET, 1, 9, &to);
	char buf[8];

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 0);
	assert_int_equal(net_ep_connect(a, (struct sockaddr *)&to, n), 0);
	assert_int_equal(ep_send(a, "x", 1), 1);
	world_run(&w, SEC);
	assert_true(net_ep_readiness(a) & EPOLLERR);
	assert_int_equal(ep_recv(a, buf, 8), -ECONNREFUSED);
	assert_int_equal(ep_recv(a, buf, 8), -EAGAIN);
	net_ep_close(a);
	world_fini(&w);
}

static void recverr_queues_the_icmp_error(void **st)
{
	struct world w;
	struct net_ep *a;
	char buf[64], control[256];
	struct iovec iov = {buf, sizeof(buf)};
	struct net_msg m = {
		.iov = &iov, .iovcnt = 1, .control = control, .controllen = sizeof(control)};
	struct sock_extended_err *ee;
	struct cmsghdr *c = (struct cmsghdr *)control;

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	assert_int_equal(ep_option(a, IPPROTO_IP, IP_RECVERR, 1), 0);
	assert_int_equal(send_to(a, AF_INET, 1, 9, "payload", 7), 7);
	world_run(&w, SEC);
	assert_int_equal(net_ep_recvmsg(a, &m, MSG_ERRQUEUE), 7);
	assert_memory_equal(buf, "payload", 7);
	assert_true(m.flags & MSG_ERRQUEUE);
	assert_int_equal(c->cmsg_type, IP_RECVERR);
	ee = (struct sock_extended_err *)CMSG_DATA(c);
	assert_int_equal(ee->ee_errno, ECONNREFUSED);
	assert_int_equal(ee->ee_origin, SO_EE_ORIGIN_ICMP);
	assert_int_equal(net_ep_recvmsg(a, &m, MSG_ERRQUEUE), -EAGAIN);
	net_ep_close(a);
	world_fini(&w);
}

static void port_conflicts_are_linuxs(void **st)
{
	struct world w;
	struct net_ep *a, *b, *c;
	struct sockaddr_storage any, lo;
	socklen_t n = world_addr(AF_INET, -2, 500, &any);

	world_addr(AF_INET, -1, 500, &lo);
	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 500);
	b = udp(&w, 0, AF_INET, 0);
	assert_int_equal(net_ep_bind(b, (struct sockaddr *)&any, n), -EADDRINUSE);
	assert_int_equal(net_ep_bind(b, (struct sockaddr *)&lo, n), -EADDRINUSE);
	ep_option(b, SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(net_ep_bind(b, (struct sockaddr *)&any, n), -EADDRINUSE);
	ep_option(a, SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(net_ep_bind(b, (struct sockaddr *)&any, n), 0);
	/* TCP: SO_REUSEADDR does not let two listen. */
	c = world_listen(&w, 0, AF_INET, 500, 1);
	net_ep_close(b);
	b = world_tcp(&w, 0, AF_INET);
	ep_option(b, SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(net_ep_bind(b, (struct sockaddr *)&any, n), -EADDRINUSE);
	net_ep_close(a);
	net_ep_close(b);
	net_ep_close(c);
	world_fini(&w);
}

static void dual_stack_takes_ipv4(void **st)
{
	struct world w;
	struct net_ep *a, *b, *c;
	struct sockaddr_in6 from;
	char buf[8];
	struct iovec iov = {buf, 8};
	struct net_msg m = {.name = (struct sockaddr *)&from,
			    .namelen = sizeof(from),
			    .iov = &iov,
			    .iovcnt = 1};

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	b = udp(&w, 1, AF_INET6, 2000);
	send_to(a, AF_INET, 1, 2000, "v4", 2);
	world_run(&w, SEC);
	assert_int_equal(net_ep_recvmsg(b, &m, 0), 2);
	assert_int_equal(from.sin6_family, AF_INET6);
	assert_true(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
	/* With V6ONLY the same port is free for IPv4. */
	net_ep_close(b);
	net_ep_create(w.stack[1], AF_INET6, SOCK_DGRAM, 0, NULL, NULL, &b);
	assert_int_equal(ep_option(b, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
	{
		struct sockaddr_storage any;
		socklen_t n = world_addr(AF_INET6, -2, 2000, &any);

		assert_int_equal(net_ep_bind(b, (struct sockaddr *)&any, n), 0);
	}
	c = udp(&w, 1, AF_INET, 2000);
	net_ep_close(a);
	net_ep_close(b);
	net_ep_close(c);
	world_fini(&w);
}

static void multicast_reaches_members_only(void **st)
{
	struct world w;
	struct net_ep *a, *b, *c;
	struct sockaddr_in group = {.sin_family = AF_INET, .sin_port = htons(3000)};
	struct iovec iov = {"hi", 2};
	struct net_msg m = {.name = (struct sockaddr *)&group,
			    .namelen = sizeof(group),
			    .iov = &iov,
			    .iovcnt = 1};
	struct ip_mreqn mr = {.imr_ifindex = 2};
	char buf[8];

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	b = udp(&w, 1, AF_INET, 3000);
	c = udp(&w, 0, AF_INET, 3000);
	group.sin_addr.s_addr = mr.imr_multiaddr.s_addr = htonl(0xef010203);
	assert_int_equal(ep_option(a, IPPROTO_IP, IP_MULTICAST_IF, 0), 0);
	assert_int_equal(net_ep_setsockopt(a, IPPROTO_IP, IP_MULTICAST_IF, &mr, sizeof(mr)), 0);
	assert_int_equal(net_ep_sendmsg(a, &m, 0), 2);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, 8), -EAGAIN);
	assert_int_equal(net_ep_setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mr, sizeof(mr)), 0);
	assert_int_equal(net_ep_setsockopt(b, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mr, sizeof(mr)),
			 -EADDRINUSE);
	assert_int_equal(net_ep_setsockopt(c, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mr, sizeof(mr)), 0);
	assert_int_equal(net_ep_sendmsg(a, &m, 0), 2);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, 8), 2);
	assert_int_equal(ep_recv(c, buf, 8), 2); /* IP_MULTICAST_LOOP */
	assert_int_equal(net_ep_setsockopt(b, IPPROTO_IP, IP_DROP_MEMBERSHIP, &mr, sizeof(mr)), 0);
	assert_int_equal(net_ep_sendmsg(a, &m, 0), 2);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, 8), -EAGAIN);
	net_ep_close(a);
	net_ep_close(b);
	net_ep_close(c);
	world_fini(&w);
}

static void broadcast_needs_the_option(void **st)
{
	struct world w;
	struct net_ep *a, *b;
	struct sockaddr_in all = {.sin_family = AF_INET, .sin_port = htons(3000)};
	struct iovec iov = {"hi", 2};
	struct net_msg m = {
		.name = (struct sockaddr *)&all, .namelen = sizeof(all), .iov = &iov, .iovcnt = 1};
	char buf[8];

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	b = udp(&w, 1, AF_INET, 3000);
	all.sin_addr.s_addr = htonl(0x0a0000ff);
	assert_int_equal(net_ep_sendmsg(a, &m, 0), -EACCES);
	ep_option(a, SOL_SOCKET, SO_BROADCAST, 1);
	assert_int_equal(net_ep_sendmsg(a, &m, 0), 2);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, 8), 2);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&w);
}

static void udp_segment_cuts_and_gro_joins(void **st)
{
	struct world w;
	struct net_ep *a, *b;
	char data[2500] = {0}, buf[4000], control[64];
	struct iovec iov = {buf, sizeof(buf)};
	struct net_msg m = {
		.iov = &iov, .iovcnt = 1, .control = control, .controllen = sizeof(control)};

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	b = udp(&w, 1, AF_INET, 2000);
	assert_int_equal(ep_option(a, IPPROTO_UDP, 103, 1000), 0);
	assert_int_equal(send_to(a, AF_INET, 1, 2000, data, 2500), 2500);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, 4000), 1000);
	assert_int_equal(ep_recv(b, buf, 4000), 1000);
	assert_int_equal(ep_recv(b, buf, 4000), 500);
	net_ep_close(b);
	/* Over loopback the train stays whole for those who want it so. */
	b = udp(&w, 0, AF_INET, 2001);
	assert_int_equal(ep_option(b, IPPROTO_UDP, 104, 1), 0);
	assert_int_equal(send_to(a, AF_INET, -1, 2001, data, 2500), 2500);
	assert_int_equal(net_ep_recvmsg(b, &m, 0), 2500);
	assert_int_equal(((struct cmsghdr *)control)->cmsg_type, 104);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&w);
}

static void ping_endpoint_gets_its_reply(int family)
{
	struct world w;
	struct net_ep *p;
	uint8_t echo[16] = {family == AF_INET ? 8 : 128, 0, 0, 0, 0, 0, 0, 1}, buf[64];
	int proto = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	world_init(&w, 1, 1500, 0);
	assert_int_equal(net_ep_create(w.stack[0], family, SOCK_DGRAM, proto, NULL, NULL, &p), 0);
	assert_int_equal(send_to(p, family, 1, 0, echo, sizeof(echo)), sizeof(echo));
	world_run(&w, 3 * SEC);
	assert_int_equal(ep_recv(p, buf, sizeof(buf)), sizeof(echo));
	assert_int_equal(buf[0], family == AF_INET ? 0 : 129);
	assert_int_equal(buf[7], 1);
	net_ep_close(p);
	world_fini(&w);
}
static void ping_over_ipv4(void **st)
{
	ping_endpoint_gets_its_reply(AF_INET);
}
static void ping_over_ipv6(void **st)
{
	ping_endpoint_gets_its_reply(AF_INET6);
}

static void raw_endpoint_sees_header_and_protocol(void **st)
{
	struct world w;
	struct net_ep *a, *b;
	uint8_t buf[64];

	world_init(&w, 1, 1500, 0);
	assert_int_equal(net_ep_create(w.stack[0], AF_INET, SOCK_RAW, 200, NULL, NULL, &a), 0);
	assert_int_equal(net_ep_create(w.stack[1], AF_INET, SOCK_RAW, 200, NULL, NULL, &b), 0);
	assert_int_equal(send_to(a, AF_INET, 1, 0, "abcd", 4), 4);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, sizeof(buf)), 24);
	assert_int_equal(buf[0], 0x45);
	assert_int_equal(buf[9], 200);
	assert_memory_equal(buf + 20, "abcd", 4);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&w);
}

static void packet_endpoint_with_filter(void **st)
{
	/* Only ARP: ldh [12]; jeq #0x806. */
	struct sock_filter f[] = {
		{0x28, 0, 0, 12}, {0x15, 0, 1, 0x806}, {0x06, 0, 0, 0xffff}, {0x06, 0, 0, 0}};
	struct sock_fprog prog = {4, f};
	struct sockaddr_ll from;
	struct world w;
	struct net_ep *p, *a;
	uint8_t buf[128];
	struct iovec iov = {buf, sizeof(buf)};
	struct net_msg m = {.name = (struct sockaddr *)&from,
			    .namelen = sizeof(from),
			    .iov = &iov,
			    .iovcnt = 1};

	world_init(&w, 1, 1500, 0);
	world_run(&w, SEC); /* the announcements of the addresses are over */
	assert_int_equal(net_ep_create(w.stack[1], AF_PACKET, SOCK_RAW, htons(3), NULL, NULL, &p),
			 0);
	assert_int_equal(net_ep_setsockopt(p, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)),
			 0);
	a = udp(&w, 0, AF_INET, 1000);
	send_to(a, AF_INET, 1, 2000, "x", 1);
	world_run(&w, SEC);
	assert_int_equal(net_ep_recvmsg(p, &m, 0), 42);
	assert_int_equal(from.sll_pkttype, PACKET_BROADCAST);
	assert_int_equal(buf[12] << 8 | buf[13], 0x806);
	m.namelen = sizeof(from);
	assert_int_equal(net_ep_recvmsg(p, &m, 0), 42); /* our answer, going out */
	assert_int_equal(from.sll_pkttype, PACKET_OUTGOING);
	assert_int_equal(net_ep_recvmsg(p, &m, 0), -EAGAIN);
	f[1].k = 5;
	f[2].code = 0xffff;
	assert_int_equal(net_ep_setsockopt(p, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)),
			 -EINVAL);
	net_ep_close(p);
	net_ep_close(a);
	world_fini(&w);
}

static void flood_is_bounded_by_the_buffer(void **st)
{
	static char data[1000];
	struct world w;
	struct net_ep *a, *b;
	size_t used;

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	b = udp(&w, 1, AF_INET, 2000);
	for (int i = 0; i < 20000; i++) {
		send_to(a, AF_INET, 1, 2000, data, sizeof(data));
		if (i % 100 == 0)
			world_run(&w, MS);
	}
	world_run(&w, SEC);
	used = netstack_memory(w.stack[1], NULL);
	assert_true(used < 1 << 20);
	assert_true(stack_counter(w.stack[1], "Udp.RcvbufErrors") > 15000);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_over_ipv4),
		cmocka_unit_test(datagrams_over_ipv6),
		cmocka_unit_test(fragments_over_ipv4),
		cmocka_unit_test(fragments_over_ipv6),
		cmocka_unit_test(closed_port_is_reported_to_the_connected),
		cmocka_unit_test(recverr_queues_the_icmp_error),
		cmocka_unit_test(port_conflicts_are_linuxs),
		cmocka_unit_test(dual_stack_takes_ipv4),
		cmocka_unit_test(multicast_reaches_members_only),
		cmocka_unit_test(broadcast_needs_the_option),
		cmocka_unit_test(udp_segment_cuts_and_gro_joins),
		cmocka_unit_test(ping_over_ipv4),
		cmocka_unit_test(ping_over_ipv6),
		cmocka_unit_test(raw_endpoint_sees_header_and_protocol),
		cmocka_unit_test(packet_endpoint_with_filter),
		cmocka_unit_test(flood_is_bounded_by_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
