/* Neighbours, reassembly, routes, addresses, autoconfiguration, links. */
#include "world.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>

#include "netstack/checksum.h"
#include "netstack/nbuf.h"

static const uint8_t attacker[6] = {2, 0, 0, 0, 0, 0x66};

struct find {
	struct in6_addr addr;
	int family;
	struct net_neigh_info found;
	bool hit;
};

static int find_neigh(void *arg, const struct net_neigh_info *i)
{
	struct find *f = arg;

	if (i->family == f->family && !memcmp(&i->addr, &f->addr, 16)) {
		f->found = *i;
		f->hit = true;
	}
	return 0;
}

static bool neighbour(struct netstack *s, int family, int host, struct net_neigh_info *out)
{
	struct find f = {.family = family};

	if (family == AF_INET) {
		uint8_t v4[4] = {10, 0, 0, host};

		memcpy(&f.addr, v4, 4);
	} else {
		f.addr.s6_addr[0] = 0xfd;
		f.addr.s6_addr[15] = host;
	}
	net_neigh_each(s, find_neigh, &f);
	*out = f.found;
	return f.hit;
}

static struct net_ep *udp(struct world *w, int side, int family, uint16_t port)
{
	struct net_ep *ep;
	struct sockaddr_storage a;
	socklen_t n = world_addr(family, -2, port, &a);

	assert_int_equal(net_ep_create(w->stack[side], family, SOCK_DGRAM, 0, NULL, NULL, &ep), 0);
	assert_int_equal(net_ep_bind(ep, (struct sockaddr *)&a, n), 0);
	return ep;
}

static ssize_t send_to(struct net_ep *ep, int family, int side, uint16_t port)
{
	struct sockaddr_storage a;
	struct iovec iov = {"x", 1};
	struct net_msg m = {.name = (struct sockaddr *)&a, .iov = &iov, .iovcnt = 1};

	m.namelen = world_addr(family, side, port, &a);
	return net_ep_sendmsg(ep, &m, 0);
}

static void arp_frame(uint8_t *f, int op, const uint8_t *mac, int host, int target)
{
	memset(f, 0, 42);
	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	f[12] = 8;
	f[13] = 6;
	f[15] = 1;
	f[16] = 8;
	f[18] = 6;
	f[19] = 4;
	f[21] = op;
	memcpy(f + 22, mac, 6);
	f[28] = f[38] = 10;
	f[31] = host;
	f[41] = target;
}

static void arp_poisoning_is_refused(void **st)
{
	struct net_neigh_info n;
	struct world w;
	struct net_ep *a;
	uint8_t f[42], real[6] = {2, 0, 0, 0, 0, 2};

	world_init(&w, 1, 1500, 0);
	world_run(&w, SEC);
	a = udp(&w, 0, AF_INET, 1000);
	/* An answer that nobody asked for makes no entry. */
	arp_frame(f, 2, attacker, 2, 1);
	net_link_input_mem(w.end[0].link, f, 42);
	assert_false(neighbour(w.stack[0], AF_INET, 2, &n));
	send_to(a, AF_INET, 1, 9);
	world_run(&w, SEC);
	assert_true(neighbour(w.stack[0], AF_INET, 2, &n));
	assert_memory_equal(n.lladdr, real, 6);
	assert_int_equal(n.state, NUD_REACHABLE);
	/* Nor does one, a request or a gratuitous one replace an address that works. */
	for (int op = 1; op <= 2; op++)
		for (int target = 1; target <= 2; target++) {
			arp_frame(f, op, attacker, 2, target);
			net_link_input_mem(w.end[0].link, f, 42);
			neighbour(w.stack[0], AF_INET, 2, &n);
			assert_memory_equal(n.lladdr, real, 6);
			world_run(&w, 3 * SEC);
			neighbour(w.stack[0], AF_INET, 2, &n);
			assert_memory_equal(n.lladdr, real, 6);
		}
	/* A sender that claims our own address is not believed. */
	arp_frame(f, 1, attacker, 1, 1);
	net_link_input_mem(w.end[0].link, f, 42);
	assert_false(neighbour(w.stack[0], AF_INET, 1, &n));
	net_ep_close(a);
	world_fini(&w);
}

static void ndp_poisoning_is_refused(void **st)
{
	struct net_neigh_info n;
	struct world w;
	struct net_ep *a;
	uint8_t f[86] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x66, 0x86, 0xdd, 0x60};
	uint8_t real[6] = {2, 0, 0, 0, 0, 2};
	struct in6_addr src, dst;
	uint16_t sum;

	world_init(&w, 1, 1500, 0);
	world_run(&w, 5 * SEC);
	a = udp(&w, 0, AF_INET6, 1000);
	send_to(a, AF_INET6, 1, 9);
	world_run(&w, SEC);
	assert_true(neighbour(w.stack[0], AF_INET6, 2, &n));
	assert_memory_equal(n.lladdr, real, 6);
	/* Neighbour advertisement for fd00::2 with Override and Solicited. */
	f[19] = 32;
	f[20] = 58;
	f[21] = 255;
	f[22] = f[38] = 0xfd;
	f[37] = 2;
	f[53] = 1;
	f[54] = 136;
	f[58] = 0x60;
	memcpy(f + 62, f + 22, 16);
	f[78] = 2;
	f[79] = 1;
	memcpy(f + 80, attacker, 6);
	memcpy(&src, f + 22, 16);
	memcpy(&dst, f + 38, 16);
	sum = csum_fold(csum_add_bytes(f + 54, 32, csum_pseudo(&src, &dst, 58, 32)));
	memcpy(f + 56, &sum, 2);
	net_link_input_mem(w.end[0].link, f, 86);
	world_run(&w, 3 * SEC);
	neighbour(w.stack[0], AF_INET6, 2, &n);
	assert_memory_equal(n.lladdr, real, 6);
	/* And from off the link (hop limit below 255) it is not looked at. */
	f[21] = 254;
	net_link_input_mem(w.end[0].link, f, 86);
	assert_true(stack_counter(w.stack[0], "Nd.Ignored") > 0);
	net_ep_close(a);
	world_fini(&w);
}

static void unresolved_neighbour_fails_with_ehostunreach(void **st)
{
	struct world w;
	struct net_ep *a;
	struct sockaddr_storage to;
	socklen_t n = world_addr(AF_INET, 1, 9, &to);
	char c;

	world_init(&w, 1, 1500, 0);
	((struct sockaddr_in *)&to)->sin_addr.s_addr = htonl(0x0a000063);
	a = udp(&w, 0, AF_INET, 1000);
	ep_option(a, IPPROTO_IP, IP_RECVERR, 1);
	assert_int_equal(net_ep_connect(a, (struct sockaddr *)&to, n), 0);
	assert_int_equal(ep_send(a, "x", 1), 1);
	world_run(&w, 5 * SEC);
	assert_int_equal(ep_recv(a, &c, 1), -EHOSTUNREACH);
	net_ep_close(a);
	world_fini(&w);
}

/* A UDP fragment: offset and length in bytes. */
static void fragment(struct world *w, int off, int len, bool more, int id)
{
	uint8_t f[1600] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45};
	uint16_t sum;

	f[16] = (20 + len) >> 8;
	f[17] = 20 + len;
	f[19] = id;
	f[20] = (off / 8) >> 8 | (more ? 0x20 : 0);
	f[21] = off / 8;
	f[22] = 64;
	f[23] = 17;
	f[26] = f[30] = 10;
	f[29] = 1;
	f[33] = 2;
	sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
	memcpy(f + 24, &sum, 2);
	if (off == 0) {
		f[34] = 0x10;
		f[36] = 7;
		f[37] = 0xd0; /* 2000 */
		f[38] = 0;
		f[39] = 64;
	}
	net_link_input_mem(w->end[1].link, f, 34 + len);
}

static void overlapping_fragments_are_dropped(void **st)
{
	struct world w;
	struct net_ep *b;
	char buf[100];

	world_init(&w, 1, 1500, 0);
	b = udp(&w, 1, AF_INET, 2000);
	fragment(&w, 0, 32, true, 1);
	fragment(&w, 32, 32, false, 1);
	assert_int_equal(ep_recv(b, buf, 100), 56);
	/* An exact duplicate does no harm. */
	fragment(&w, 0, 32, true, 2);
	fragment(&w, 0, 32, true, 2);
	fragment(&w, 32, 32, false, 2);
	assert_int_equal(ep_recv(b, buf, 100), 56);
	/* Teardrop: the second lies inside the first. */
	fragment(&w, 0, 40, true, 3);
	fragment(&w, 24, 8, false, 3);
	assert_int_equal(ep_recv(b, buf, 100), -EAGAIN);
	/* Overlap of one block. */
	fragment(&w, 0, 40, true, 4);
	fragment(&w, 32, 32, false, 4);
	assert_int_equal(ep_recv(b, buf, 100), -EAGAIN);
	/* Rose: only the last fragments of many datagrams, and ones beyond 64 KiB. */
	for (int i = 0; i < 3000; i++)
		fragment(&w, 65000, 1000, false, i);
	assert_true(netstack_memory(w.stack[1], NULL) < 8 << 20);
	world_run(&w, 61 * SEC);
	assert_true(netstack_memory(w.stack[1], NULL) < 1 << 16);
	net_ep_close(b);
	world_fini(&w);
}

static void incomplete_datagram_times_out_with_icmp(void **st)
{
	struct world w;
	struct net_ep *b;

	world_init(&w, 1, 1500, 0);
	b = udp(&w, 1, AF_INET, 2000);
	fragment(&w, 0, 32, true, 1);
	world_run(&w, 29 * SEC);
	assert_int_equal(stack_counter(w.stack[1], "Ip.ReasmTimeout"), 0);
	world_run(&w, 2 * SEC);
	assert_int_equal(stack_counter(w.stack[1], "Ip.ReasmTimeout"), 1);
	assert_int_equal(stack_counter(w.stack[0], "Icmp.InMsgs"), 1);
	net_ep_close(b);
	world_fini(&w);
}

static struct net_route_info route4(uint32_t dst, int prefix, uint32_t gw, int ifindex, int type)
{
	struct net_route_info r = {.family = AF_INET,
				   .prefix = prefix,
				   .ifindex = ifindex,
				   .type = type,
				   .has_gateway = gw != 0};

	r.dst.s6_addr32[0] = htonl(dst);
	r.gateway.s6_addr32[0] = htonl(gw);
	return r;
}

static int lookup(struct world *w, uint32_t dst, struct net_route_info *out)
{
	struct in6_addr a = {0};

	a.s6_addr32[0] = htonl(dst);
	return net_route_get(w->stack[0], AF_INET, &a, NULL, 0, out);
}

static void longest_prefix_and_metric_decide(void **st)
{
	struct net_route_info r, got;
	struct world w;

	world_init(&w, 1, 1500, 0);
	assert_int_equal(lookup(&w, 0x08080808, &got), -ENETUNREACH);
	r = route4(0, 0, 0x0a000002, 0, RTN_UNICAST);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(net_route_add(w.stack[0], &r), -EEXIST);
	assert_int_equal(lookup(&w, 0x08080808, &got), 0);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000002);
	assert_int_equal(ntohl(got.src.s6_addr32[0]), 0x0a000001);
	r = route4(0x08000000, 8, 0x0a000003, 0, RTN_UNICAST);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	lookup(&w, 0x08080808, &got);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000003);
	r.gateway.s6_addr32[0] = htonl(0x0a000004);
	r.metric = 5;
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	lookup(&w, 0x08080808, &got);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000003);
	r.metric = 0;
	r.gateway.s6_addr32[0] = htonl(0x0a000003);
	assert_int_equal(net_route_del(w.stack[0], &r), 0);
	lookup(&w, 0x08080808, &got);
	assert_int_equal(ntohl(got.gateway.s6_addr32[0]), 0x0a000004);
	r = route4(0x08080800, 24, 0, 0, RTN_UNREACHABLE);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(lookup(&w, 0x08080808, &got), -EHOSTUNREACH);
	r = route4(0x08080808, 32, 0, 0, RTN_PROHIBIT);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(lookup(&w, 0x08080808, &got), -EACCES);
	r = route4(0x09000000, 8, 0, 0, RTN_BLACKHOLE);
	assert_int_equal(net_route_add(w.stack[0], &r), 0);
	assert_int_equal(lookup(&w, 0x09080808, &got), -EINVAL);
	r = route4(0x0b000000, 8, 0x0c000001, 0, RTN_UNICAST);
	r.ifindex = 2;
	assert_int_equal(net_route_del(w.stack[0], &r), -ESRCH);
	world_fini(&w);
}

static void duplicate_address_is_detected(void **st)
{
	struct net_addr_info a = {.ifindex = 2, .family = AF_INET6, .prefix = 64};
	struct world w;
	struct net_route_info got;
	struct in6_addr dst = {{{0xfd, [15] = 9}}};

	world_init(&w, 1, 1500, 0);
	a.addr.s6_addr[0] = 0xfd;
	a.addr.s6_addr[15] = 2; /* the peer's */
	assert_int_equal(net_addr_add(w.stack[0], &a), 0);
	a.addr.s6_addr[15] = 9;
	assert_int_equal(net_addr_add(w.stack[0], &a), 0);
	world_run(&w, 5 * SEC);
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &dst, NULL, 0, &got), 0);
	assert_int_equal(got.type, RTN_LOCAL);
	dst.s6_addr[15] = 2; /* still the peer's, not ours */
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &dst, NULL, 0, &got), 0);
	assert_int_equal(got.type, RTN_UNICAST);
	world_fini(&w);
}

static void router_advertisement_configures(void **st)
{
	uint8_t f[14 + 40 + 16 + 32] = {0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60};
	struct in6_addr src, dst, far = {{{0x20, 1, 0x0d, 0xb8, 0xff}}};
	struct net_route_info got;
	struct world w;
	uint16_t sum;

	world_init(&w, 1, 1500, 0);
	world_run(&w, 5 * SEC);
	f[19] = 48;
	f[20] = 58;
	f[21] = 255;
	f[22] = 0xfe;
	f[23] = 0x80;
	f[37] = 9;
	f[38] = 0xff;
	f[39] = 2;
	f[53] = 1;
	f[54] = 134;
	f[60] = 7; /* router lifetime 1800 */
	f[61] = 8;
	f[70] = 3; /* prefix information */
	f[71] = 4;
	f[72] = 64;
	f[73] = 0xc0;
	f[76] = f[80] = 1; /* lifetimes 65536 s */
	f[75] = f[79] = 0;
	f[86] = 0x20;
	f[87] = 1;
	f[88] = 0x0d;
	f[89] = 0xb8;
	memcpy(&src, f + 22, 16);
	memcpy(&dst, f + 38, 16);
	sum = csum_fold(csum_add_bytes(f + 54, 48, csum_pseudo(&src, &dst, 58, 48)));
	memcpy(f + 56, &sum, 2);
	net_link_input_mem(w.end[0].link, f, sizeof(f));
	world_run(&w, 5 * SEC);
	far.s6_addr[0] = 0x2a;
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &far, NULL, 0, &got), 0);
	assert_true(got.has_gateway);
	assert_int_equal(got.gateway.s6_addr[15], 9);
	/* The source is the address made of the prefix and the link's address. */
	assert_int_equal(got.src.s6_addr[0], 0x20);
	assert_int_equal(got.src.s6_addr[11], 0xff);
	assert_int_equal(got.src.s6_addr[12], 0xfe);
	/* It does not outlive the router's lifetime. */
	world_run(&w, 1900 * SEC);
	assert_int_equal(net_route_get(w.stack[0], AF_INET6, &far, NULL, 0, &got), -ENETUNREACH);
	world_fini(&w);
}

static void martians_are_dropped(void **st)
{
	uint8_t f[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 28};
	static const uint8_t bad[][4] = {{127, 0, 0, 1},
					 {224, 0, 0, 1},
					 {255, 255, 255, 255},
					 {10, 0, 0, 1},
					 {10, 0, 0, 255}};
	struct world w;
	uint16_t sum;

	world_init(&w, 1, 1500, 0);
	for (size_t i = 0; i < sizeof(bad) / 4; i++) {
		f[22] = 64;
		f[23] = 17;
		f[24] = f[25] = 0;
		memcpy(f + 26, bad[i], 4);
		memcpy(f + 30, "\x0a\0\0\1", 4);
		sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
		memcpy(f + 24, &sum, 2);
		net_link_input_mem(w.end[0].link, f, 42);
		assert_int_equal(stack_counter(w.stack[0], "Ip.InAddrErrors"), i + 1);
	}
	world_fini(&w);
}

static void icmp_errors_are_rate_limited(void **st)
{
	struct world w;
	struct net_ep *a;

	world_init(&w, 1, 1500, 0);
	a = udp(&w, 0, AF_INET, 1000);
	send_to(a, AF_INET, 1, 9);
	world_run(&w, SEC);
	for (int i = 0; i < 500; i++)
		send_to(a, AF_INET, 1, 9);
	world_run(&w, 10 * MS);
	assert_true(stack_counter(w.stack[1], "Icmp.OutMsgs") < 80);
	assert_true(stack_counter(w.stack[1], "Icmp.OutRateLimited") > 400);
	net_ep_close(a);
	world_fini(&w);
}

static void bridge_learns_and_veth_carries(void **st)
{
	struct world w;
	struct netstack *third;
	struct net_config c;
	struct net_link_config none = {0};
	struct net_link *br, *p[2], *far[2];
	struct net_addr_info a = {.family = AF_INET, .prefix = 24};
	struct net_ep *x, *y;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7)};
	struct iovec iov = {"x", 1};
	struct net_msg m = {
		.name = (struct sockaddr *)&to, .namelen = sizeof(to), .iov = &iov, .iovcnt = 1};
	uint8_t v4[4] = {10, 9, 0, 1};
	char buf[4];

	world_init(&w, 1, 1500, 0);
	c = (struct net_config){.env = w.env, .hash_buckets = 64};
	assert_int_equal(netstack_create(&c, &third), 0);
	/* stack0 --veth-- bridge in `third` --veth-- stack1 */
	assert_int_equal(net_link_add_bridge(third, &none, &br), 0);
	net_link_set_flags(br, IFF_UP, IFF_UP);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(net_link_add_veth(third, &none, &p[i], w.stack[i], &none, &far[i]),
				 0);
		assert_int_equal(net_link_set_master(p[i], br), 0);
		net_link_set_flags(p[i], IFF_UP, IFF_UP);
		net_link_set_flags(far[i], IFF_UP, IFF_UP);
		v4[3] = i + 1;
		memcpy(&a.addr, v4, 4);
		a.ifindex = 3;
		assert_int_equal(net_addr_add(w.stack[i], &a), 0);
	}
	x = udp(&w, 0, AF_INET, 5);
	y = udp(&w, 1, AF_INET, 7);
	to.sin_addr.s_addr = htonl(0x0a090002);
	assert_int_equal(net_ep_sendmsg(x, &m, 0), 1);
	assert_int_equal(ep_recv(y, buf, 4), 1);
	net_ep_close(x);
	net_ep_close(y);
	for (int i = 0; i < 2; i++) {
		net_link_put(p[i]);
		net_link_put(far[i]);
	}
	net_link_put(br);
	netstack_destroy(third);
	world_fini(&w);
}

struct labels {
	uint8_t protocol;
	unsigned frames;
	uint32_t label;
	bool differ;
};

static bool note_label(void *arg, int side, const uint8_t *frame, size_t len)
{
	struct labels *l = arg;
	uint32_t label;

	if (side || len < 54 || frame[12] != 0x86 || frame[13] != 0xdd || frame[20] != l->protocol)
		return false;
	memcpy(&label, frame + 14, 4);
	label = ntohl(label) & 0xfffff;
	l->differ |= l->frames && label != l->label;
	l->label = label;
	l->frames++;
	return false;
}

/* RFC 6437: one label for a flow, another for another, none if the application says so. */
static void ip6_flows_have_labels(void **state)
{
	struct labels l[3] = {
		{.protocol = IPPROTO_TCP}, {.protocol = IPPROTO_TCP}, {.protocol = IPPROTO_UDP}};
	struct net_ep *client, *server, *u, *sink;
	struct world w;

	world_init(&w, 1, 1500, 0);
	w.hook = note_label;
	for (int i = 0; i < 2; i++) {
		w.hook_arg = &l[i];
		world_connect(&w, AF_INET6, 700 + i, &client, &server);
		world_transfer(&w, client, server, 20000);
		assert_true(l[i].frames > 10);
		assert_false(l[i].differ);
		assert_int_not_equal(l[i].label, 0);
		net_ep_close(server);
		net_ep_close(client);
		world_run(&w, 2 * SEC);
	}
	assert_int_not_equal(l[0].label, l[1].label);
	w.hook_arg = &l[2];
	u = udp(&w, 0, AF_INET6, 800);
	sink = udp(&w, 1, AF_INET6, 801);
	assert_true(send_to(u, AF_INET6, 1, 801) > 0);
	world_run(&w, SEC);
	assert_int_equal(l[2].frames, 1);
	assert_int_not_equal(l[2].label, 0);
	assert_int_equal(ep_option(u, IPPROTO_IPV6, 70 /* IPV6_AUTOFLOWLABEL */, 0), 0);
	assert_true(send_to(u, AF_INET6, 1, 801) > 0);
	world_run(&w, SEC);
	assert_int_equal(l[2].frames, 2);
	assert_int_equal(l[2].label, 0);
	net_ep_close(u);
	net_ep_close(sink);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_poisoning_is_refused),
		cmocka_unit_test(ndp_poisoning_is_refused),
		cmocka_unit_test(unresolved_neighbour_fails_with_ehostunreach),
		cmocka_unit_test(overlapping_fragments_are_dropped),
		cmocka_unit_test(incomplete_datagram_times_out_with_icmp),
		cmocka_unit_test(longest_prefix_and_metric_decide),
		cmocka_unit_test(duplicate_address_is_detected),
		cmocka_unit_test(router_advertisement_configures),
		cmocka_unit_test(martians_are_dropped),
		cmocka_unit_test(icmp_errors_are_rate_limited),
		cmocka_unit_test(bridge_learns_and_veth_carries),
		cmocka_unit_test(ip6_flows_have_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
