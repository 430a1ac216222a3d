/* What a bridge sends on, and where: merged packets, VLAN tags, addresses learned. */
#include "world.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "netstack/buffer/nbuf.h"

#define MSS 1000
#define PAYLOAD (2 * MSS + 500)
#define FRAMES 16

struct port {
	struct net_link *link;
	unsigned n;
	size_t len[FRAMES];
	uint8_t frame[FRAMES][2048];
	unsigned gso_size[FRAMES];
};

struct bridged {
	struct net_env env;
	struct net_vclock *clock;
	struct netstack *stack;
	struct net_link *bridge;
	struct port port[2];
};

static int port_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct port *p = priv;

	/* The bridge says hello itself (IPv6): of that nothing is kept. */
	if (b->len > 100 && p->n < FRAMES) {
		p->len[p->n] = b->len;
		p->gso_size[p->n] = b->gso ? b->gso_size : 0;
		nbuf_read(b, 0, p->frame[p->n], b->len < 2048 ? b->len : 2048);
		p->n++;
	}
	nbuf_put(b);
	return 0;
}

static const struct net_link_ops port_ops = {.xmit = port_xmit};

static void up(struct net_link *l)
{
	assert_int_equal(net_link_set_flags(l, IFF_UP, IFF_UP), 0);
}

static void bridged_init(struct bridged *g, unsigned features)
{
	struct net_link_config c = {.mtu = 1500, .features = features};
	struct net_config nc;

	memset(g, 0, sizeof(*g));
	assert_int_equal(net_vclock_create(&g->env, 1, &g->clock), 0);
	nc = (struct net_config){.env = g->env};
	assert_int_equal(netstack_create(&nc, &g->stack), 0);
	assert_int_equal(net_link_add_bridge(g->stack, &(struct net_link_config){0}, &g->bridge),
			 0);
	up(g->bridge);
	for (int i = 0; i < 2; i++) {
		struct port *p = &g->port[i];

		assert_int_equal(net_link_add_custom(g->stack, &c, &port_ops, p, &p->link), 0);
		assert_int_equal(net_link_set_master(p->link, g->bridge), 0);
		up(p->link);
	}
}

static void bridged_fini(struct bridged *g)
{
	for (int i = 0; i < 2; i++)
		net_link_put(g->port[i].link);
	net_link_put(g->bridge);
	assert_int_equal(netstack_memory(g->stack, NULL), 0);
	netstack_destroy(g->stack);
	net_vclock_destroy(g->clock);
}

/* A TCP packet of PAYLOAD bytes that has been merged from segments, checked, as receivers do. */
static struct nbuf *merged(struct netstack *s)
{
	static const uint8_t ether[14] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 8, 0};
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = IPPROTO_TCP,
			   .id = htons(100),
			   .tot_len = htons(40 + PAYLOAD),
			   .saddr = htonl(0x0a000001),
			   .daddr = htonl(0x0a000002)};
	struct tcphdr th = {.th_sport = htons(1000),
			    .th_dport = htons(2000),
			    .th_seq = htonl(5000),
			    .th_off = 5,
			    .th_flags = TH_ACK | TH_PUSH};
	struct nbuf *b = nbuf_alloc_stack(s, 2, 54 + PAYLOAD);
	uint8_t *p;

	assert_non_null(b);
	memcpy(nbuf_append(b, 14), ether, 14);
	memcpy(nbuf_append(b, 20), &ip, 20);
	memcpy(nbuf_append(b, 20), &th, 20);
	p = nbuf_append(b, PAYLOAD);
	for (int i = 0; i < PAYLOAD; i++)
		p[i] = i * 3 + (i >> 7);
	b->gso = NBUF_GSO_TCP4;
	b->gso_size = MSS;
	b->csum = NBUF_CSUM_OK;
	return b;
}

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* One of the segments that came out, whose IP header is at `net`. */
static void check_segment(const struct port *p, unsigned i, size_t net)
{
	const uint8_t *ip = p->frame[i] + net, *th = ip + 20;
	size_t want = i < 2 ? MSS : PAYLOAD - 2 * MSS, tcp = 20 + want;

	assert_int_equal(p->len[i], net + 20 + tcp);
	assert_int_equal(ip[2] << 8 | ip[3], 20 + tcp);
	assert_int_equal(ip[4] << 8 | ip[5], 100 + i);
	assert_int_equal(sum16(ip, 20, 0), 0xffff);
	assert_int_equal(sum16(th, tcp, sum16(ip + 12, 8, IPPROTO_TCP + tcp)), 0xffff);
	assert_int_equal((uint32_t)th[4] << 24 | th[5] << 16 | th[6] << 8 | th[7], 5000 + i * MSS);
	assert_int_equal(th[13], i == 2 ? TH_ACK | TH_PUSH : TH_ACK);
	for (size_t k = 0; k < want; k++)
		assert_int_equal(th[20 + k], (uint8_t)((i * MSS + k) * 3 + ((i * MSS + k) >> 7)));
}

static void merged_packet_is_cut_for_a_port_without_offloads(void **state)
{
	struct bridged g;

	bridged_init(&g, 0);
	net_link_input(g.port[0].link, merged(g.stack));
	assert_int_equal(g.port[0].n, 0);
	assert_int_equal(g.port[1].n, 3);
	for (unsigned i = 0; i < 3; i++)
		check_segment(&g.port[1], i, 14);
	bridged_fini(&g);
}

static void merged_packet_goes_whole_to_a_port_that_cuts(void **state)
{
	const uint8_t *f;
	struct bridged g;

	bridged_init(&g, NET_F_CSUM | NET_F_TSO4);
	net_link_input(g.port[0].link, merged(g.stack));
	assert_int_equal(g.port[1].n, 1);
	assert_int_equal(g.port[1].gso_size[0], MSS);
	assert_int_equal(g.port[1].len[0], 54 + PAYLOAD);
	/* The device is left a checksum that counts the addresses and the length. */
	f = g.port[1].frame[0];
	assert_int_equal(f[50] << 8 | f[51], sum16(f + 26, 8, IPPROTO_TCP + 20 + PAYLOAD));
	bridged_fini(&g);
}

static void tag_beside_the_frame_is_put_back(void **state)
{
	struct bridged g;
	struct nbuf *b;

	bridged_init(&g, 0);
	b = merged(g.stack);
	b->has_vlan = 1;
	b->vlan_tci = 0x2005;
	net_link_input(g.port[0].link, b);
	assert_int_equal(g.port[1].n, 3);
	for (unsigned i = 0; i < 3; i++) {
		static const uint8_t tag[4] = {0x81, 0x00, 0x20, 0x05};

		assert_memory_equal(g.port[1].frame[i] + 12, tag, 4);
		check_segment(&g.port[1], i, 18);
	}
	bridged_fini(&g);
}

static void merged_packet_with_wrong_headers_is_dropped(void **state)
{
	struct bridged g;
	struct nbuf *b;

	bridged_init(&g, 0);
	b = merged(g.stack);
	b->data[14 + 9] = IPPROTO_ICMP;
	net_link_input(g.port[0].link, b);
	b = merged(g.stack);
	b->data[14] = 0x4f; /* 60 bytes of IP header: the TCP header is data */
	nbuf_trim(b, 14 + 64);
	net_link_input(g.port[0].link, b);
	b = merged(g.stack);
	b->data[46] = 0x10; /* a TCP header of 4 bytes */
	net_link_input(g.port[0].link, b);
	assert_int_equal(g.port[1].n, 0);
	bridged_fini(&g);
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
	x = world_udp(&w, 0, AF_INET, 5);
	y = world_udp(&w, 1, AF_INET, 7);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merged_packet_is_cut_for_a_port_without_offloads),
		cmocka_unit_test(merged_packet_goes_whole_to_a_port_that_cuts),
		cmocka_unit_test(tag_beside_the_frame_is_put_back),
		cmocka_unit_test(merged_packet_with_wrong_headers_is_dropped),
		cmocka_unit_test(bridge_learns_and_veth_carries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
