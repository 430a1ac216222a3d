/* What leaves a stack under a policy by address, and packets that are made by hand. */
#include "egress_world.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

/* --- addresses -------------------------------------------------------------------------------- */

static void a_new_stack_refuses_metadata_services_only(void **st)
{
	static const char *const services[] = {
		"169.254.169.254",
		"169.254.170.2",
		"100.100.100.200",
		"168.63.129.16",
		"fd000ec2000000000000000000000254",
		"0064ff9b0000000000000000a9fea9fe", /* through a translator */
		"2002a9fea9fe00000000000000000001",
	};
	struct world w;

	start(&w);
	for (unsigned i = 0; i < sizeof(services) / sizeof(*services); i++) {
		assert_int_equal(connect_to(&w, services[i], 80), -EPERM);
		assert_refused(NET_EGRESS_METADATA);
		assert_int_equal(last.port, 80);
		assert_int_equal(last.protocol, IPPROTO_TCP);
		assert_int_equal(send_datagram(&w, services[i], 80), -EPERM);
		assert_refused(NET_EGRESS_METADATA);
	}
	/* Name servers are there, too. */
	assert_int_equal(send_datagram(&w, "169.254.169.253", 53), 0);
	assert_int_equal(send_datagram(&w, "192.0.2.1", 80), 0);
	assert_int_equal(connect_to(&w, "192.0.2.1", 80), -EINPROGRESS);
	world_run(&w, SEC);
	assert_true(on_wire >= 2);
	assert_int_equal(nrefused, 0);
	world_fini(&w);
}

static void metadata_services_can_be_allowed(void **st)
{
	struct net_egress_rule rule = by_address(true, "169.254.169.254", 32, 0, 0);
	struct net_egress_config c = {.nrules = 1, .rules = &rule};
	struct world w;

	start(&w);
	assert_int_equal(net_egress_set(w.stack[0], &c), 0);
	assert_int_equal(send_datagram(&w, "169.254.169.254", 80), -EPERM);
	c.allow_metadata = true;
	assert_int_equal(net_egress_set(w.stack[0], &c), 0);
	assert_int_equal(send_datagram(&w, "169.254.169.254", 80), 0);
	world_fini(&w);
}

static void deny_refuses_everything_at_once(void **st)
{
	uint8_t echo[8] = {8}, echo6[8] = {128};
	struct net_ep *ep;
	struct world w;

	start(&w);
	set(&w, false, NULL, 0);
	for (int family = 0; family < 2; family++) {
		const char *to = family ? "fd000000000000000000000000000002" : "10.0.0.2";

		assert_int_equal(connect_to(&w, to, 80), -EPERM);
		assert_refused(NET_EGRESS_DEFAULT);
		assert_int_equal(send_datagram(&w, to, 80), -EPERM);
		assert_refused(NET_EGRESS_DEFAULT);
		assert_int_equal(last.port, 80);
		assert_int_equal(last.protocol, IPPROTO_UDP);
		assert_memory_equal(last.addr.s6_addr, address(to).s6_addr, 16);
	}
	assert_int_equal(
		net_ep_create(w.stack[0], AF_INET, SOCK_DGRAM, IPPROTO_ICMP, NULL, NULL, &ep), 0);
	ep_send_to(ep, AF_INET, 1, 0, echo, sizeof(echo));
	net_ep_close(ep);
	assert_int_equal(
		net_ep_create(w.stack[0], AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, NULL, NULL, &ep),
		0);
	ep_send_to(ep, AF_INET6, 1, 0, echo6, sizeof(echo6));
	net_ep_close(ep);
	assert_int_equal(net_ep_create(w.stack[0], AF_INET, SOCK_RAW, 200, NULL, NULL, &ep), 0);
	ep_send_to(ep, AF_INET, 1, 0, "abcd", 4);
	net_ep_close(ep);
	world_run(&w, 10 * SEC);
	assert_int_equal(nrefused, 3);
	assert_int_equal(on_wire, 0);
	world_fini(&w);
}

static void the_first_rule_that_matches_decides(void **st)
{
	struct net_egress_rule rules[] = {
		by_address(false, "192.0.2.7", 32, 0, 0),
		by_address(true, "192.0.2.0", 29, IPPROTO_TCP, 443),
		by_address(true, "192.0.2.0", 24, IPPROTO_UDP, 0),
		by_address(true, "20010db8000000000000000000000000", 33, 0, 0),
		{.allow = true,
		 .protocol = IPPROTO_TCP,
		 .nports = 2,
		 .ports = {{22, 22}, {8000, 8002}}},
	};
	struct world w;

	start(&w);
	set(&w, false, rules, 5);
	assert_int_equal(connect_to(&w, "192.0.2.7", 443), -EPERM);
	assert_refused(NET_EGRESS_RULE);
	assert_int_equal(last.rule, 0);
	assert_int_equal(connect_to(&w, "192.0.2.6", 443), -EINPROGRESS);
	assert_int_equal(connect_to(&w, "192.0.2.8", 443), -EPERM);
	assert_int_equal(connect_to(&w, "192.0.2.6", 80), -EPERM);
	assert_int_equal(send_datagram(&w, "192.0.2.6", 9), 0);
	assert_int_equal(send_datagram(&w, "192.0.3.6", 9), -EPERM);
	assert_int_equal(connect_to(&w, "20010db87fff00000000000000000001", 9), -EINPROGRESS);
	assert_int_equal(connect_to(&w, "20010db88000000000000000000000001", 9), -EPERM);
	assert_int_equal(connect_to(&w, "198.51.100.1", 22), -EINPROGRESS);
	assert_int_equal(connect_to(&w, "198.51.100.1", 8002), -EINPROGRESS);
	assert_int_equal(connect_to(&w, "198.51.100.1", 8003), -EPERM);
	assert_int_equal(send_datagram(&w, "198.51.100.1", 22), -EPERM);
	world_fini(&w);
}

static void a_rule_that_makes_no_sense_changes_nothing(void **st)
{
	struct net_egress_rule bad[] = {
		by_address(true, "10.0.0.2", 33, 0, 0),
		by_name(true, "UPPER.example.org", 0),
		by_name(true, "a..b", 0),
		by_name(true, "*.", 0),
		by_name(true, "a.*.b", 0),
		{.allow = true, .nports = 1, .ports = {{2, 1}}},
		{.allow = true, .nports = NET_EGRESS_PORTS_MAX + 1},
		{.allow = true, .family = 7},
		{.allow = true, .prefix = 8},
	};
	struct net_egress_config c = {.nrules = 1}, got;
	struct world w;

	start(&w);
	set(&w, false, NULL, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		c.rules = &bad[i];
		assert_int_equal(net_egress_set(w.stack[0], &c), -EINVAL);
	}
	c.nrules = NET_EGRESS_RULES_MAX + 1;
	assert_int_equal(net_egress_set(w.stack[0], &c), -EINVAL);
	assert_int_equal(net_egress_get(w.stack[0], &got), 0);
	assert_false(got.allow);
	assert_int_equal(got.nrules, 0);
	assert_int_equal(got.nresolvers, 2);
	net_egress_free(&got);
	world_fini(&w);
}

static void links_inside_are_not_bound(void **st)
{
	struct net_ep *l, *c, *a;
	struct sockaddr_storage to;
	socklen_t n = world_addr(AF_INET, -1, 80, &to);
	struct world w;

	start(&w);
	set(&w, false, NULL, 0);
	l = world_listen(&w, 0, AF_INET, 80, 8);
	c = world_tcp(&w, 0, AF_INET);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&to, n), -EINPROGRESS);
	world_run(&w, SEC);
	assert_int_equal(net_ep_accept(l, &a), 0);
	/* Its own address on the link is inside, too. */
	n = world_addr(AF_INET, 0, 80, &to);
	net_ep_close(c);
	c = world_tcp(&w, 0, AF_INET);
	assert_int_equal(net_ep_connect(c, (struct sockaddr *)&to, n), -EINPROGRESS);
	assert_int_equal(nrefused, 0);
	net_ep_close(l);
	net_ep_close(c);
	net_ep_close(a);
	world_fini(&w);
}

/* --- from outside ----------------------------------------------------------------------------- */

static void who_comes_from_outside_is_answered(void **st)
{
	struct net_ep *client, *server, *in, *out;
	struct sockaddr_storage from;
	uint8_t buf[16], echo[8] = {8};
	struct iovec iov = {buf, sizeof(buf)};
	struct net_msg m = {.name = (struct sockaddr *)&from,
			    .namelen = sizeof(from),
			    .iov = &iov,
			    .iovcnt = 1};
	struct world w;

	start(&w);
	set(&w, false, NULL, 0);
	connect_from_outside(&w, &client, &server);
	world_transfer(&w, server, client, 300000);
	world_transfer(&w, client, server, 300000);
	in = world_udp(&w, 0, AF_INET, 53000);
	out = world_udp(&w, 1, AF_INET, 4000);
	assert_int_equal(ep_send_to(in, AF_INET, 1, 4000, "x", 1), -EPERM);
	assert_int_equal(ep_send_to(out, AF_INET, 0, 53000, "x", 1), 1);
	world_run(&w, SEC);
	assert_int_equal(net_ep_recvmsg(in, &m, 0), 1);
	assert_int_equal(ep_send_to(in, AF_INET, 1, 4000, "x", 1), 1);
	assert_int_equal(ep_send_to(in, AF_INET, 1, 4001, "x", 1), -EPERM);
	/* Not for ever, if nothing more comes. */
	for (int i = 0; i < 4; i++) {
		world_run(&w, 60 * SEC);
		ep_send_to(in, AF_INET, 1, 4000, "x", 1);
	}
	assert_int_equal(ep_send_to(in, AF_INET, 1, 4000, "x", 1), -EPERM);
	net_ep_close(in);
	net_ep_close(out);
	assert_int_equal(
		net_ep_create(w.stack[1], AF_INET, SOCK_DGRAM, IPPROTO_ICMP, NULL, NULL, &out), 0);
	assert_int_equal(ep_send_to(out, AF_INET, 0, 0, echo, sizeof(echo)), sizeof(echo));
	world_run(&w, SEC);
	assert_int_equal(ep_recv(out, buf, sizeof(buf)), 8);
	net_ep_close(out);
	net_ep_close(client);
	net_ep_close(server);
	world_fini(&w);
}

static void an_own_broadcast_that_loops_back_opens_nothing(void **st)
{
	struct net_egress_rule rule = by_address(true, "10.0.0.255", 32, 0, 0);
	struct sockaddr_in as = {.sin_family = AF_INET, .sin_port = htons(7)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct iovec iov = {(void *)(uintptr_t) "x", 1};
	struct net_msg m = {
		.name = (struct sockaddr *)&to, .namelen = sizeof(to), .iov = &iov, .iovcnt = 1};
	struct net_ep *forger, *in;
	struct world w;

	start(&w);
	set_one(&w, false, rule);
	in = world_udp(&w, 0, AF_INET, 9);
	forger = world_udp(&w, 0, AF_INET, 0);
	as.sin_addr.s_addr = htonl(0xc0000201);
	to.sin_addr.s_addr = htonl(0x0a0000ff);
	assert_int_equal(ep_option(forger, IPPROTO_IP, IP_TRANSPARENT, 1), 0);
	assert_int_equal(ep_option(forger, SOL_SOCKET, SO_BROADCAST, 1), 0);
	assert_int_equal(net_ep_bind(forger, (struct sockaddr *)&as, sizeof(as)), 0);
	assert_int_equal(net_ep_sendmsg(forger, &m, 0), 1);
	world_run(&w, SEC);
	to.sin_addr.s_addr = htonl(0xc0000201);
	to.sin_port = htons(7);
	assert_int_equal(net_ep_sendmsg(in, &m, 0), -EPERM);
	net_ep_close(forger);
	net_ep_close(in);
	world_fini(&w);
}

/* --- packets made by hand --------------------------------------------------------------------- */

/* Puts a frame on the link as a packet socket would. */
static int send_frame(struct world *w, unsigned type, const void *body, size_t n)
{
	uint8_t frame[1514] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = 2, .sll_halen = 6};
	struct iovec iov = {frame, n + 14};
	struct net_msg m = {
		.name = (struct sockaddr *)&ll, .namelen = sizeof(ll), .iov = &iov, .iovcnt = 1};
	struct net_ep *ep;
	ssize_t ret;

	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	memcpy(frame + 14, body, n);
	assert_int_equal(net_ep_create(w->stack[0], AF_PACKET, SOCK_RAW, 0, NULL, NULL, &ep), 0);
	ret = net_ep_sendmsg(ep, &m, 0);
	net_ep_close(ep);
	return ret < 0 ? (int)ret : 0;
}

/* A datagram to 10.0.0.2 port 9 as a fragment: 8 bytes of header and 8 of data. */
static const uint8_t datagram[36] = {0x45, 0, 0,  36, 0, 1, 0, 0, 64, 17, 0, 0,	 10, 0,
				     0,	   1, 10, 0,  0, 2, 1, 1, 0,  9,  0, 16, 0,  0};

static void packets_that_rules_cannot_be_applied_to_do_not_leave(void **st)
{
	uint8_t p[96];
	struct world w;

	start(&w);
	set_one(&w, false, by_address(true, "10.0.0.2", 32, IPPROTO_UDP, 9));
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, datagram, 36), 0);
	assert_int_equal(on_wire, 1);
	nrefused = 0;
	assert_int_equal(send_frame(&w, 0x8100, "\0\1\10\0", 4), -EPERM); /* a tag */
	assert_refused(NET_EGRESS_MALFORMED);
	assert_int_equal(send_frame(&w, 0x88b5, "data", 4), -EPERM);	      /* something else */
	assert_int_equal(send_frame(&w, ETHERTYPE_ARP, p, 90), -EPERM);	      /* a long story */
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, datagram, 35), -EPERM); /* cut short */
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, datagram, 19), -EPERM);
	memcpy(p, datagram, 36); /* a header longer than it is */
	p[0] = 0x4f;
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, p, 36), -EPERM);
	memcpy(p, datagram, 20); /* a source route */
	p[0] = 0x47;
	p[3] = 44;
	memcpy(p + 20, "\203\7\4\300\0\2\1\0", 8);
	memcpy(p + 28, datagram + 20, 16);
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, p, 44), -EPERM);
	memcpy(p, datagram, 36); /* a first fragment without ports */
	p[3] = 24;
	p[6] = 0x20;
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, p, 24), -EPERM);
	memcpy(p, datagram, 36); /* a later one without the first */
	p[5] = 9;
	p[7] = 2;
	assert_int_equal(send_frame(&w, ETHERTYPE_IP, p, 36), -EPERM);
	memset(p, 0, sizeof(p)); /* a routing header */
	p[0] = 0x60;
	p[5] = 32;
	p[6] = 43;
	memcpy(p + 8, address("fd000000000000000000000000000001").s6_addr, 16);
	memcpy(p + 24, address("fd000000000000000000000000000002").s6_addr, 16);
	p[40] = 17;
	assert_int_equal(send_frame(&w, ETHERTYPE_IPV6, p, 72), -EPERM);
	assert_int_equal(on_wire, 1);
	world_fini(&w);
}

static void fragments_follow_their_first_one(void **st)
{
	static uint8_t large[5000], got[6000];
	struct net_ep *from, *to;
	struct world w;

	start(&w);
	set_one(&w, false, by_address(true, "10.0.0.2", 32, IPPROTO_UDP, 9));
	from = world_udp(&w, 0, AF_INET, 0);
	to = world_udp(&w, 1, AF_INET, 9);
	assert_int_equal(ep_send_to(from, AF_INET, 1, 9, large, sizeof(large)), sizeof(large));
	world_run(&w, SEC);
	assert_int_equal(ep_recv(to, got, sizeof(got)), sizeof(large));
	net_ep_close(from);
	net_ep_close(to);
	world_fini(&w);
}

static void neighbour_discovery_carries_nothing_far_away(void **st)
{
	uint8_t p[72] = {0x60, 0, 0, 0, 0, 24, 58, 255};
	struct world w;

	start(&w);
	set(&w, false, NULL, 0);
	memcpy(p + 8, address("fd000000000000000000000000000001").s6_addr, 16);
	memcpy(p + 24, address("20010db8000000000000000000000001").s6_addr, 16);
	p[40] = 135;
	memcpy(p + 48, "data of a secret", 16);
	assert_int_equal(send_frame(&w, ETHERTYPE_IPV6, p, 64), -EPERM);
	/* A probe of a neighbour names the neighbour. */
	memcpy(p + 48, p + 24, 16);
	assert_int_equal(send_frame(&w, ETHERTYPE_IPV6, p, 64), 0);
	p[7] = 64;
	assert_int_equal(send_frame(&w, ETHERTYPE_IPV6, p, 64), -EPERM);
	world_fini(&w);
}

static void many_refusals_are_counted_not_reported(void **st)
{
	struct net_egress_stats stats;
	struct world w;

	start(&w);
	set(&w, false, NULL, 0);
	for (int i = 0; i < 1000; i++)
		send_datagram(&w, "192.0.2.1", 9);
	assert_true(nrefused < 300);
	net_egress_stats(w.stack[0], &stats);
	assert_int_equal(stats.refused, 1000);
	world_run(&w, 10 * SEC);
	nrefused = 0;
	send_datagram(&w, "192.0.2.1", 9);
	assert_int_equal(nrefused, 1);
	assert_true(last.missed > 700);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_stack_refuses_metadata_services_only),
		cmocka_unit_test(metadata_services_can_be_allowed),
		cmocka_unit_test(deny_refuses_everything_at_once),
		cmocka_unit_test(the_first_rule_that_matches_decides),
		cmocka_unit_test(a_rule_that_makes_no_sense_changes_nothing),
		cmocka_unit_test(links_inside_are_not_bound),
		cmocka_unit_test(who_comes_from_outside_is_answered),
		cmocka_unit_test(an_own_broadcast_that_loops_back_opens_nothing),
		cmocka_unit_test(packets_that_rules_cannot_be_applied_to_do_not_leave),
		cmocka_unit_test(fragments_follow_their_first_one),
		cmocka_unit_test(neighbour_discovery_carries_nothing_far_away),
		cmocka_unit_test(many_refusals_are_counted_not_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
