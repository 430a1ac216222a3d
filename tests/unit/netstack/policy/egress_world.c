#include "egress_world.h"

#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <stdio.h>

/* --- the policy ------------------------------------------------------------------------------- */

struct net_egress_refusal last;
unsigned nrefused;

static void refused(void *ctx, const struct net_egress_refusal *r)
{
	last = *r;
	nrefused++;
}

struct in6_addr address(const char *text)
{
	struct in6_addr a = {0};
	unsigned v[4];

	if (sscanf(text, "%u.%u.%u.%u", &v[0], &v[1], &v[2], &v[3]) == 4) {
		a.s6_addr[10] = a.s6_addr[11] = 0xff;
		for (int i = 0; i < 4; i++)
			a.s6_addr[12 + i] = (uint8_t)v[i];
		return a;
	}
	memset(&a, 0, sizeof(a));
	for (int i = 0; i < 16; i++) {
		unsigned byte = 0;

		assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
		a.s6_addr[i] = (uint8_t)byte;
	}
	return a;
}

struct net_egress_rule by_address(bool allow, const char *text, unsigned prefix, uint8_t protocol,
				  uint16_t port)
{
	struct net_egress_rule r = {.allow = allow,
				    .family = strchr(text, '.') ? AF_INET : AF_INET6,
				    .addr = address(text),
				    .prefix = (uint8_t)prefix,
				    .protocol = protocol};

	if (port) {
		r.nports = 1;
		r.ports[0] = (struct net_port_range){port, port};
	}
	return r;
}

struct net_egress_rule by_name(bool allow, const char *name, uint16_t port)
{
	struct net_egress_rule r = {.allow = allow};

	snprintf(r.name, sizeof(r.name), "%s", name);
	if (port) {
		r.nports = 1;
		r.ports[0] = (struct net_port_range){port, port};
	}
	return r;
}

void set(struct world *w, bool allow, const struct net_egress_rule *rules, unsigned n)
{
	struct in6_addr resolvers[] = {address("10.0.0.2"),
				       address("fd000000000000000000000000000002")};
	struct net_egress_config c = {.allow = allow,
				      .nrules = n,
				      .rules = (struct net_egress_rule *)rules,
				      .nresolvers = 2,
				      .resolvers = resolvers};

	assert_int_equal(net_egress_set(w->stack[0], &c), 0);
}

void set_one(struct world *w, bool allow, struct net_egress_rule rule)
{
	set(w, allow, &rule, 1);
}

/* --- the world -------------------------------------------------------------------------------- */

/* IP packets that side 0 has put on the wire, without what keeps the link going. */
unsigned on_wire;

static bool count_packets(void *arg, int side, const uint8_t *frame, size_t len)
{
	unsigned type = (unsigned)frame[12] << 8 | frame[13];

	if (side || type == ETHERTYPE_ARP)
		return false;
	if (type == ETHERTYPE_IPV6 && len > 54 &&
	    (frame[20] == 0 || (frame[20] == 58 && frame[54] >= 133)))
		return false;
	on_wire++;
	return false;
}

void start(struct world *w)
{
	struct net_route_info r4 = {.family = AF_INET, .type = RTN_UNICAST, .has_gateway = 1};
	struct net_route_info r6 = {.family = AF_INET6, .type = RTN_UNICAST, .has_gateway = 1};

	world_init(w, 1, 1500, 0);
	memcpy(&r4.gateway, "\012\0\0\2", 4);
	r6.gateway = address("fd000000000000000000000000000002");
	assert_int_equal(net_route_add(w->stack[0], &r4), 0);
	assert_int_equal(net_route_add(w->stack[0], &r6), 0);
	/* Let the link settle: group reports, router solicitations. */
	world_run(w, 30 * SEC);
	w->hook = count_packets;
	net_egress_report(w->stack[0], refused, NULL);
	memset(&last, 0, sizeof(last));
	nrefused = on_wire = 0;
}

int connect_to(struct world *w, const char *to, uint16_t port)
{
	struct in6_addr a = address(to);
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = a};
	struct net_ep *ep = world_tcp(w, 0, AF_INET6);
	int err = net_ep_connect(ep, (struct sockaddr *)&in6, sizeof(in6));

	net_ep_close(ep);
	return err;
}

int send_datagram(struct world *w, const char *to, uint16_t port)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = address(to)};
	struct iovec iov = {(void *)(uintptr_t) "data", 4};
	struct net_msg m = {
		.name = (struct sockaddr *)&in6, .namelen = sizeof(in6), .iov = &iov, .iovcnt = 1};
	struct net_ep *ep = world_udp(w, 0, AF_INET6, 0);
	ssize_t n = net_ep_sendmsg(ep, &m, 0);

	net_ep_close(ep);
	return n < 0 ? (int)n : 0;
}

void assert_refused(enum net_egress_reason reason)
{
	assert_int_equal(nrefused, 1);
	assert_int_equal(last.reason, reason);
	nrefused = 0;
}

/* Side 1 connects to side 0. */
void connect_from_outside(struct world *w, struct net_ep **client, struct net_ep **server)
{
	struct net_ep *l = world_listen(w, 0, AF_INET, 80, 8);
	struct sockaddr_storage to;
	socklen_t n = world_addr(AF_INET, 0, 80, &to);

	*client = world_tcp(w, 1, AF_INET);
	net_ep_connect(*client, (struct sockaddr *)&to, n);
	world_run(w, SEC);
	assert_int_equal(net_ep_accept(l, server), 0);
	net_ep_close(l);
}
