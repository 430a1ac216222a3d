/* What names open under a policy, and connections that outlive it. */
#include "egress_world.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

/* --- names ------------------------------------------------------------------------------------ */

/* A message about name, of type A. */
static size_t message(uint8_t *m, unsigned id, bool answer, const char *name, unsigned ttl,
		      const uint8_t *addr)
{
	uint8_t *p = m + 12;

	memset(m, 0, 12);
	m[0] = (uint8_t)(id >> 8);
	m[1] = (uint8_t)id;
	m[2] = answer ? 0x81 : 1;
	m[3] = answer ? 0x80 : 0;
	m[5] = 1;
	m[7] = answer;
	while (*name) {
		size_t n = strcspn(name, ".");

		*p++ = (uint8_t)n;
		memcpy(p, name, n);
		p += n;
		name += n + (name[n] == '.');
	}
	memcpy(p, "\0\0\1\0\1", 5);
	p += 5;
	if (answer) {
		memcpy(p, "\300\014\0\1\0\1\0\0\0\0\0\4", 12);
		p[8] = (uint8_t)(ttl >> 8);
		p[9] = (uint8_t)ttl;
		memcpy(p + 12, addr, 4);
		p += 16;
	}
	return (size_t)(p - m);
}

static const uint8_t there[4] = {192, 0, 2, 80};
#define THERE "192.0.2.80"

struct exchange {
	struct world w;
	struct net_ep *guest, *server;
	uint8_t got[512]; /* what the guest received last */
	ssize_t n;
};

static void open_exchange(struct exchange *x)
{
	struct sockaddr_storage as;
	socklen_t n = world_addr(AF_INET, 0, 5353, &as);

	start(&x->w);
	x->guest = world_udp(&x->w, 0, AF_INET, 0);
	x->server = world_udp(&x->w, 1, AF_INET, 0);
	assert_int_equal(net_ep_bind(x->guest, (struct sockaddr *)&as, n), 0);
	n = world_addr(AF_INET, 1, 53, &as);
	assert_int_equal(net_ep_bind(x->server, (struct sockaddr *)&as, n), 0);
}

static void close_exchange(struct exchange *x)
{
	net_ep_close(x->guest);
	net_ep_close(x->server);
	world_fini(&x->w);
}

/* True if the question reached the server. */
static bool ask(struct exchange *x, unsigned id, const char *name)
{
	uint8_t m[512];
	size_t n = message(m, id, false, name, 0, NULL);

	assert_int_equal(ep_send_to(x->guest, AF_INET, 1, 53, m, n), n);
	world_run(&x->w, SEC);
	x->n = ep_recv(x->guest, x->got, sizeof(x->got));
	return ep_recv(x->server, m, sizeof(m)) == (ssize_t)n;
}

static void reply(struct exchange *x, struct net_ep *from, unsigned id, const char *name,
		  unsigned ttl, uint16_t port)
{
	uint8_t m[512];
	size_t n = message(m, id, true, name, ttl, there);

	assert_int_equal(ep_send_to(from, AF_INET, 0, port, m, n), n);
	world_run(&x->w, SEC);
}

static void a_name_opens_its_addresses_for_its_time(void **st)
{
	struct net_egress_stats stats;
	struct exchange x;

	open_exchange(&x);
	set_one(&x.w, false, by_name(true, "www.example.org", 443));
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	assert_true(ask(&x, 7, "www.example.org"));
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	reply(&x, x.server, 7, "www.example.org", 300, 5353);
	assert_true(ep_recv(x.guest, x.got, sizeof(x.got)) > 0);
	nrefused = 0;
	assert_int_equal(connect_to(&x.w, THERE, 443), -EINPROGRESS);
	assert_int_equal(connect_to(&x.w, THERE, 80), -EPERM);
	assert_refused(NET_EGRESS_DEFAULT);
	assert_string_equal(last.name, "www.example.org");
	assert_int_equal(connect_to(&x.w, "192.0.2.81", 443), -EPERM);
	world_run(&x.w, 290 * SEC);
	assert_int_equal(connect_to(&x.w, THERE, 443), -EINPROGRESS);
	net_egress_stats(x.w.stack[0], &stats);
	assert_int_equal(stats.names, 1);
	world_run(&x.w, 10 * SEC);
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	net_egress_stats(x.w.stack[0], &stats);
	assert_int_equal(stats.names, 0);
	close_exchange(&x);
}

static void questions_for_other_names_are_refused_here(void **st)
{
	struct net_egress_rule rules[] = {
		by_name(false, "bad.example.org", 0),
		by_name(true, "*.example.org", 0),
	};
	struct exchange x;

	open_exchange(&x);
	set(&x.w, false, rules, 2);
	assert_true(ask(&x, 1, "www.example.org"));
	assert_true(ask(&x, 1, "a.b.example.org"));
	assert_int_equal(nrefused, 0);
	assert_false(ask(&x, 2, "secret-data.attacker.net"));
	assert_refused(NET_EGRESS_NAME);
	assert_string_equal(last.name, "secret-data.attacker.net");
	/* There is no such name, says an answer to this question. */
	assert_true(x.n > 12);
	assert_int_equal(x.got[1], 2);
	assert_int_equal(x.got[2], 0x81);
	assert_int_equal(x.got[3], 0x83);
	assert_false(ask(&x, 3, "example.org"));
	assert_refused(NET_EGRESS_NAME);
	assert_false(ask(&x, 3, "xexample.org"));
	assert_false(ask(&x, 4, "bad.example.org"));
	assert_int_equal(last.rule, 0);
	/* Nor anything else that goes to the server's port. */
	ep_send_to(x.guest, AF_INET, 1, 53, "not a question", 14);
	world_run(&x.w, SEC);
	assert_int_equal(ep_recv(x.server, x.got, sizeof(x.got)), -EAGAIN);
	close_exchange(&x);
}

static void where_all_is_allowed_questions_are_too(void **st)
{
	struct exchange x;

	open_exchange(&x);
	assert_true(ask(&x, 1, "anything.example.net"));
	set_one(&x.w, true, by_name(false, "ads.example.net", 0));
	assert_true(ask(&x, 2, "anything.example.net"));
	assert_false(ask(&x, 3, "ads.example.net"));
	ep_send_to(x.guest, AF_INET, 1, 53, "not a question", 14);
	world_run(&x.w, SEC);
	assert_int_equal(ep_recv(x.server, x.got, sizeof(x.got)), 14);
	close_exchange(&x);
}

static void answers_that_nobody_asked_for_open_nothing(void **st)
{
	struct net_addr_info second = {.ifindex = 2, .family = AF_INET, .prefix = 24};
	struct sockaddr_in as = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct net_ep *other, *port;
	struct exchange x;

	open_exchange(&x);
	set_one(&x.w, false, by_name(true, "*.example.org", 0));
	memcpy(&second.addr, "\012\0\0\3", 4);
	assert_int_equal(net_addr_add(x.w.stack[1], &second), 0);
	as.sin_addr.s_addr = htonl(0x0a000003);
	other = world_udp(&x.w, 1, AF_INET, 0);
	assert_int_equal(net_ep_bind(other, (struct sockaddr *)&as, sizeof(as)), 0);
	port = world_udp(&x.w, 1, AF_INET, 54);

	reply(&x, x.server, 7, "www.example.org", 300, 5353); /* before the question */
	assert_true(ask(&x, 7, "www.example.org"));
	reply(&x, x.server, 8, "www.example.org", 300, 5353); /* another id */
	reply(&x, x.server, 7, "ftp.example.org", 300, 5353); /* another name */
	reply(&x, x.server, 7, "www.example.org", 300, 5354); /* to another port */
	reply(&x, other, 7, "www.example.org", 300, 5353);    /* from another address */
	reply(&x, port, 7, "www.example.org", 300, 5353);     /* from another port */
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	world_run(&x.w, 30 * SEC);
	reply(&x, x.server, 7, "www.example.org", 300, 5353); /* too late */
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	assert_true(ask(&x, 9, "www.example.org"));
	reply(&x, x.server, 9, "www.example.org", 1, 5353);
	assert_int_equal(connect_to(&x.w, THERE, 443), -EINPROGRESS);
	world_run(&x.w, 60 * SEC);
	reply(&x, x.server, 9, "www.example.org", 300, 5353); /* a second one */
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	net_ep_close(other);
	net_ep_close(port);
	close_exchange(&x);
}

static void a_name_does_not_open_metadata_services(void **st)
{
	static const uint8_t metadata[4] = {169, 254, 169, 254};
	struct exchange x;
	uint8_t m[512];
	size_t n;

	open_exchange(&x);
	set_one(&x.w, false, by_name(true, "rebind.example.org", 0));
	assert_true(ask(&x, 7, "rebind.example.org"));
	n = message(m, 7, true, "rebind.example.org", 300, metadata);
	assert_int_equal(ep_send_to(x.server, AF_INET, 0, 5353, m, n), n);
	world_run(&x.w, SEC);
	nrefused = 0;
	assert_int_equal(connect_to(&x.w, "169.254.169.254", 80), -EPERM);
	assert_refused(NET_EGRESS_METADATA);
	close_exchange(&x);
}

static void an_answer_that_the_guest_forges_opens_nothing(void **st)
{
	struct net_egress_rule rules[] = {by_name(true, "www.example.org", 0),
					  by_address(true, "10.0.0.255", 32, 0, 0)};
	struct sockaddr_in as = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(5353)};
	uint8_t m[512];
	struct iovec iov = {m, 0};
	struct net_msg msg = {
		.name = (struct sockaddr *)&to, .namelen = sizeof(to), .iov = &iov, .iovcnt = 1};
	struct net_ep *forger;
	struct exchange x;

	open_exchange(&x);
	set(&x.w, false, rules, 2);
	assert_true(ask(&x, 7, "www.example.org"));
	as.sin_addr.s_addr = htonl(0x0a000002);
	forger = world_udp(&x.w, 0, AF_INET, 0);
	assert_int_equal(ep_option(forger, IPPROTO_IP, IP_TRANSPARENT, 1), 0);
	assert_int_equal(ep_option(forger, SOL_SOCKET, SO_BROADCAST, 1), 0);
	assert_int_equal(net_ep_bind(forger, (struct sockaddr *)&as, sizeof(as)), 0);
	iov.iov_len = message(m, 7, true, "www.example.org", 300, there);
	/* To its own address, and as a broadcast that loops back. */
	to.sin_addr.s_addr = htonl(0x0a000001);
	net_ep_sendmsg(forger, &msg, 0);
	to.sin_addr.s_addr = htonl(0x0a0000ff);
	net_ep_sendmsg(forger, &msg, 0);
	world_run(&x.w, SEC);
	assert_int_equal(connect_to(&x.w, THERE, 443), -EPERM);
	net_ep_close(forger);
	close_exchange(&x);
}

/* --- connections ------------------------------------------------------------------------------ */

static void a_connection_outlives_the_name_that_opened_it(void **st)
{
	static const uint8_t peer[4] = {10, 0, 0, 2};
	struct net_ep *client, *server;
	struct exchange x;
	uint8_t m[512];
	size_t n;

	open_exchange(&x);
	set_one(&x.w, false, by_name(true, "www.example.org", 80));
	assert_true(ask(&x, 7, "www.example.org"));
	n = message(m, 7, true, "www.example.org", 60, peer);
	assert_int_equal(ep_send_to(x.server, AF_INET, 0, 5353, m, n), n);
	world_run(&x.w, SEC);
	world_connect(&x.w, AF_INET, 80, &client, &server);
	world_run(&x.w, 100 * SEC);
	assert_int_equal(connect_to(&x.w, "10.0.0.2", 80), -EPERM);
	world_transfer(&x.w, client, server, 100000);
	world_transfer(&x.w, server, client, 100000);
	/* Another policy that has the name lets it go on, one that has not ends it. */
	set_one(&x.w, false, by_name(true, "*.example.org", 80));
	world_transfer(&x.w, client, server, 1000);
	set_one(&x.w, false, by_name(true, "www.example.net", 80));
	assert_int_equal(ep_send(client, "x", 1), -ECONNABORTED);
	net_ep_close(client);
	net_ep_close(server);
	close_exchange(&x);
}

static void a_stricter_policy_leaves_who_came_from_outside(void **st)
{
	struct net_ep *client, *server, *out, *far;
	struct world w;

	start(&w);
	connect_from_outside(&w, &client, &server);
	world_connect(&w, AF_INET, 80, &out, &far);
	set(&w, false, NULL, 0);
	world_transfer(&w, server, client, 10000);
	assert_int_equal(ep_send(out, "x", 1), -ECONNABORTED);
	world_run(&w, 10 * SEC);
	net_ep_close(client);
	net_ep_close(server);
	net_ep_close(out);
	net_ep_close(far);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_opens_its_addresses_for_its_time),
		cmocka_unit_test(questions_for_other_names_are_refused_here),
		cmocka_unit_test(where_all_is_allowed_questions_are_too),
		cmocka_unit_test(answers_that_nobody_asked_for_open_nothing),
		cmocka_unit_test(a_name_does_not_open_metadata_services),
		cmocka_unit_test(an_answer_that_the_guest_forges_opens_nothing),
		cmocka_unit_test(a_connection_outlives_the_name_that_opened_it),
		cmocka_unit_test(a_stricter_policy_leaves_who_came_from_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
