/* Ping, raw and packet endpoints between two stacks. */
#include "world.h"

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <netinet/in.h>

static void ping_endpoint_gets_its_reply(int family)
{
	struct world w;
	struct net_ep *p;
	uint8_t echo[16] = {family == AF_INET ? 8 : 128, 0, 0, 0, 0, 0, 0, 1}, buf[64];
	int proto = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	world_init(&w, 1, 1500, 0);
	assert_int_equal(net_ep_create(w.stack[0], family, SOCK_DGRAM, proto, NULL, NULL, &p), 0);
	assert_int_equal(ep_send_to(p, family, 1, 0, echo, sizeof(echo)), sizeof(echo));
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
	assert_int_equal(ep_send_to(a, AF_INET, 1, 0, "abcd", 4), 4);
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
	a = world_udp(&w, 0, AF_INET, 1000);
	ep_send_to(a, AF_INET, 1, 2000, "x", 1);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ping_over_ipv4),
		cmocka_unit_test(ping_over_ipv6),
		cmocka_unit_test(raw_endpoint_sees_header_and_protocol),
		cmocka_unit_test(packet_endpoint_with_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
