/* UDP between two stacks: datagrams, ICMP errors, ports, multicast. */
#include "world.h"

#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>

static void datagrams_keep_their_boundaries(int family)
{
	struct world w;
	struct net_ep *a, *b;
	char buf[100];

	world_init(&w, 1, 1500, 0);
	a = world_udp(&w, 0, family, 1000);
	b = world_udp(&w, 1, family, 2000);
	assert_int_equal(ep_send_to(a, family, 1, 2000, "one", 3), 3);
	assert_int_equal(ep_send_to(a, family, 1, 2000, "", 0), 0);
	assert_int_equal(ep_send_to(a, family, 1, 2000, "three", 5), 5);
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
	a = world_udp(&w, 0, family, 1000);
	b = world_udp(&w, 1, family, 2000);
	assert_int_equal(ep_send_to(a, family, 1, 2000, "x", 1), 1); /* resolves the neighbour */
	world_run(&w, 3 * SEC);
	assert_int_equal(ep_recv(b, back, sizeof(back)), 1);
	while (ep_recv(b, back, sizeof(back)) > 0)
		;
	assert_int_equal(ep_send_to(a, family, 1, 2000, big, sizeof(big)), sizeof(big));
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
	a = world_udp(&w, 0, AF_INET, 0);
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
	a = world_udp(&w, 0, AF_INET, 1000);
	assert_int_equal(ep_option(a, IPPROTO_IP, IP_RECVERR, 1), 0);
	assert_int_equal(ep_send_to(a, AF_INET, 1, 9, "payload", 7), 7);
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
	a = world_udp(&w, 0, AF_INET, 500);
	b = world_udp(&w, 0, AF_INET, 0);
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
	a = world_udp(&w, 0, AF_INET, 1000);
	b = world_udp(&w, 1, AF_INET6, 2000);
	ep_send_to(a, AF_INET, 1, 2000, "v4", 2);
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
	c = world_udp(&w, 1, AF_INET, 2000);
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
	a = world_udp(&w, 0, AF_INET, 1000);
	b = world_udp(&w, 1, AF_INET, 3000);
	c = world_udp(&w, 0, AF_INET, 3000);
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
	a = world_udp(&w, 0, AF_INET, 1000);
	b = world_udp(&w, 1, AF_INET, 3000);
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
	a = world_udp(&w, 0, AF_INET, 1000);
	b = world_udp(&w, 1, AF_INET, 2000);
	assert_int_equal(ep_option(a, IPPROTO_UDP, 103, 1000), 0);
	assert_int_equal(ep_send_to(a, AF_INET, 1, 2000, data, 2500), 2500);
	world_run(&w, SEC);
	assert_int_equal(ep_recv(b, buf, 4000), 1000);
	assert_int_equal(ep_recv(b, buf, 4000), 1000);
	assert_int_equal(ep_recv(b, buf, 4000), 500);
	net_ep_close(b);
	/* Over loopback the train stays whole for those who want it so. */
	b = world_udp(&w, 0, AF_INET, 2001);
	assert_int_equal(ep_option(b, IPPROTO_UDP, 104, 1), 0);
	assert_int_equal(ep_send_to(a, AF_INET, -1, 2001, data, 2500), 2500);
	assert_int_equal(net_ep_recvmsg(b, &m, 0), 2500);
	assert_int_equal(((struct cmsghdr *)control)->cmsg_type, 104);
	net_ep_close(a);
	net_ep_close(b);
	world_fini(&w);
}

static void flood_is_bounded_by_the_buffer(void **st)
{
	static char data[1000];
	struct world w;
	struct net_ep *a, *b;
	size_t used;

	world_init(&w, 1, 1500, 0);
	a = world_udp(&w, 0, AF_INET, 1000);
	b = world_udp(&w, 1, AF_INET, 2000);
	for (int i = 0; i < 20000; i++) {
		ep_send_to(a, AF_INET, 1, 2000, data, sizeof(data));
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
		cmocka_unit_test(flood_is_bounded_by_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
