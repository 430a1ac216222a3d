/*
 * A hostile peer, driven by a source of bytes: the fuzzer's input or a random generator. It knows
 * the stack's addresses and watches what the stack sends, so that much of what it makes gets past
 * checksums and sequence checks; the rest is noise. Shared by random_test.c and the fuzz targets.
 */
#ifndef MOAT_TEST_NETSTACK_CHAOS_H
#define MOAT_TEST_NETSTACK_CHAOS_H

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/buffer/checksum.h"
#include "netstack/buffer/nbuf.h"
#include "netstack/netstack.h"

#define CHAOS_EPS 8

struct chaos {
	/* The source: next byte; 0 when it is exhausted. */
	uint8_t (*byte)(struct chaos *c);
	const uint8_t *data;
	size_t left;
	uint64_t seed;
	struct net_env env;
	struct net_vclock *clock;
	struct netstack *stack;
	struct net_link *link;
	struct net_ep *listener4, *listener6, *udp4, *udp6, *raw, *packet, *ping;
	struct net_ep *conn[CHAOS_EPS];
	/* What the stack's last TCP segments said. */
	uint32_t seq, ack;
	uint16_t sport, dport;
	bool v6;
	unsigned sent;
};

static inline uint32_t chaos_u16(struct chaos *c)
{
	uint32_t hi = c->byte(c);

	return hi << 8 | c->byte(c);
}

static inline void chaos_fill(struct chaos *c, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = c->byte(c);
}

static int chaos_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct chaos *c = priv;
	uint8_t f[128] = {0};
	size_t n = b->len < sizeof(f) ? b->len : sizeof(f);
	const uint8_t *t = NULL;

	nbuf_read(b, 0, f, n);
	nbuf_put(b);
	c->sent++;
	if (f[12] == 8 && f[13] == 0 && f[23] == 6)
		t = f + 34;
	else if (f[12] == 0x86 && f[20] == 6)
		t = f + 54;
	if (t) {
		c->v6 = f[12] == 0x86;
		c->sport = t[0] << 8 | t[1];
		c->dport = t[2] << 8 | t[3];
		memcpy(&c->seq, t + 4, 4);
		memcpy(&c->ack, t + 8, 4);
		c->seq = ntohl(c->seq) + ((t[13] & 3) ? 1 : 0);
		c->ack = ntohl(c->ack);
	}
	return 0;
}

static const struct net_link_ops chaos_ops = {.xmit = chaos_xmit};

static void chaos_bind(struct net_ep *ep, int family, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int one = 1;

	if (family == AF_INET6)
		net_ep_setsockopt(ep, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (family == AF_INET)
		net_ep_bind(ep, (struct sockaddr *)&in, sizeof(in));
	else
		net_ep_bind(ep, (struct sockaddr *)&in6, sizeof(in6));
}

static void chaos_open(struct chaos *c, uint64_t seed)
{
	struct net_config cfg = {.hash_buckets = 64, .memory_limit = 8 << 20};
	struct net_link_config lc = {.name = "eth0", .mtu = 1500, .addr = {2, 0, 0, 0, 0, 1}};
	struct net_addr_info a = {.ifindex = 2, .family = AF_INET, .prefix = 24};
	uint8_t ours[4] = {10, 0, 0, 1};
	struct net_link *lo;

	net_vclock_create(&c->env, seed, &c->clock);
	cfg.env = c->env;
	if (netstack_create(&cfg, &c->stack) < 0)
		abort();
	lo = net_link_by_name(c->stack, "lo");
	net_link_set_flags(lo, IFF_UP, IFF_UP);
	net_link_put(lo);
	net_link_add_custom(c->stack, &lc, &chaos_ops, c, &c->link);
	net_link_set_flags(c->link, IFF_UP, IFF_UP);
	memcpy(&a.addr, ours, 4);
	net_addr_add(c->stack, &a);
	a.family = AF_INET6;
	memset(&a.addr, 0, 16);
	a.addr.s6_addr[0] = 0xfd;
	a.addr.s6_addr[15] = 1;
	a.prefix = 64;
	a.flags = 2;
	net_addr_add(c->stack, &a);
	net_ep_create(c->stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &c->listener4);
	chaos_bind(c->listener4, AF_INET, 80);
	net_ep_listen(c->listener4, 4);
	net_ep_create(c->stack, AF_INET6, SOCK_STREAM, 0, NULL, NULL, &c->listener6);
	chaos_bind(c->listener6, AF_INET6, 80);
	net_ep_listen(c->listener6, 4);
	net_ep_create(c->stack, AF_INET, SOCK_DGRAM, 0, NULL, NULL, &c->udp4);
	chaos_bind(c->udp4, AF_INET, 53);
	net_ep_create(c->stack, AF_INET6, SOCK_DGRAM, 0, NULL, NULL, &c->udp6);
	chaos_bind(c->udp6, AF_INET6, 53);
	net_ep_create(c->stack, AF_INET, SOCK_RAW, IPPROTO_ICMP, NULL, NULL, &c->raw);
	net_ep_create(c->stack, AF_PACKET, SOCK_RAW, htons(3), NULL, NULL, &c->packet);
	net_ep_create(c->stack, AF_INET, SOCK_DGRAM, IPPROTO_ICMP, NULL, NULL, &c->ping);
}

static void chaos_close(struct chaos *c)
{
	struct net_ep *all[] = {c->listener4, c->listener6, c->udp4, c->udp6,
				c->raw,	      c->packet,    c->ping};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		net_ep_close(all[i]);
	for (int i = 0; i < CHAOS_EPS; i++)
		if (c->conn[i])
			net_ep_close(c->conn[i]);
	netstack_destroy(c->stack);
	net_link_put(c->link);
	if (net_vclock_next(c->clock) != INT64_MAX)
		abort(); /* a timer outlived its stack */
	net_vclock_destroy(c->clock);
}

/* ------------------------------------------------------------------------------ frames */

static size_t chaos_ip(struct chaos *c, uint8_t *f, uint8_t proto, size_t payload, bool v6)
{
	static const uint8_t eth[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	uint16_t sum;

	memcpy(f, eth, 12);
	if (v6) {
		f[12] = 0x86;
		f[13] = 0xdd;
		memset(f + 14, 0, 40);
		f[14] = 0x60;
		f[18] = payload >> 8;
		f[19] = payload;
		f[20] = proto;
		f[21] = proto == 58 ? 255 : 64;
		f[22] = f[38] = 0xfd;
		f[37] = 2;
		f[53] = 1;
		return 54;
	}
	f[12] = 8;
	f[13] = 0;
	memset(f + 14, 0, 20);
	f[14] = 0x45;
	f[16] = (payload + 20) >> 8;
	f[17] = payload + 20;
	f[22] = 64;
	f[23] = proto;
	f[26] = f[30] = 10;
	f[29] = 2;
	f[33] = 1;
	sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
	memcpy(f + 24, &sum, 2);
	(void)c;
	return 34;
}

/* Fills in a transport checksum at field, over p[0..n). */
static void chaos_sum(uint8_t *f, size_t at, size_t n, size_t field, uint8_t proto, bool v6)
{
	struct in6_addr src = {0}, dst = {0};
	uint32_t sum = 0;
	uint16_t v = 0;

	if (v6) {
		memcpy(&src, f + 22, 16);
		memcpy(&dst, f + 38, 16);
	} else {
		src.s6_addr[10] = src.s6_addr[11] = dst.s6_addr[10] = dst.s6_addr[11] = 0xff;
		memcpy(&src.s6_addr[12], f + 26, 4);
		memcpy(&dst.s6_addr[12], f + 30, 4);
	}
	if (proto != 1 && proto != 2)
		sum = csum_pseudo(&src, &dst, proto, n);
	memcpy(f + at + field, &v, 2);
	v = csum_fold(csum_add_bytes(f + at, n, sum));
	memcpy(f + at + field, &v, 2);
}

static void chaos_put32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, 4);
}

/* A TCP segment near what the stack expects. */
static void chaos_tcp(struct chaos *c)
{
	uint8_t f[1600] = {0}, kind = c->byte(c), *t;
	bool fresh = !(kind & 0x0f), v6 = fresh ? kind & 0x80 : c->v6;
	size_t optlen = (c->byte(c) % 11) * 4, len = kind & 0x10 ? chaos_u16(c) % 1400 : 0, at;
	int8_t dseq = kind & 0x20 ? (int8_t)c->byte(c) : 0;
	int8_t dack = kind & 0x40 ? (int8_t)c->byte(c) : 0;

	at = chaos_ip(c, f, 6, 20 + optlen + len, v6);
	t = f + at;
	if (fresh) {
		t[0] = 0x90 + c->byte(c) % 4;
		t[2] = 0;
		t[3] = 80;
		t[13] = 2;
	} else {
		t[0] = c->dport >> 8;
		t[1] = c->dport;
		t[2] = c->sport >> 8;
		t[3] = c->sport;
		t[13] = c->byte(c);
		if (!(kind & 8))
			t[13] = (t[13] & 0x09) | 0x10;
	}
	chaos_put32(t + 4, c->ack + dseq * (kind & 1 ? 500 : 1));
	chaos_put32(t + 8, c->seq + dack * (kind & 1 ? 500 : 1));
	t[12] = (20 + optlen) / 4 << 4;
	t[14] = c->byte(c);
	t[15] = 0xff;
	t[19] = c->byte(c) % 64;
	for (size_t i = 0; i < optlen;) {
		uint8_t o = c->byte(c) % 10;
		size_t room = optlen - i;

		if (o == 8 && room >= 10) {
			t[20 + i] = 8;
			t[21 + i] = 10;
			chaos_fill(c, t + 22 + i, 8);
			i += 10;
		} else if (o == 5 && room >= 10) {
			t[20 + i] = 5;
			t[21 + i] = 10;
			chaos_put32(t + 22 + i, c->seq + c->byte(c) * 100u);
			chaos_put32(t + 26 + i, c->seq + c->byte(c) * 200u);
			i += 10;
		} else {
			t[20 + i] = o < 2 ? 1 : c->byte(c);
			i++;
		}
	}
	for (size_t i = 0; i < len; i++)
		t[20 + optlen + i] = i;
	chaos_sum(f, at, 20 + optlen + len, 16, 6, v6);
	net_link_input_mem(c->link, f, at + 20 + optlen + len);
}

/* An IGMP message's IPv4 header: to 224.0.0.1 with a TTL of 1. */
static void chaos_to_all_systems(uint8_t *f)
{
	static const uint8_t mac[6] = {1, 0, 0x5e, 0, 0, 1};
	uint16_t sum = 0;

	memcpy(f, mac, 6);
	f[22] = 1;
	memcpy(f + 30, "\xe0\0\0\1", 4);
	memcpy(f + 24, &sum, 2);
	sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
	memcpy(f + 24, &sum, 2);
}

/* ICMP, ICMPv6, UDP, IGMP and others with a good checksum and arbitrary bytes. */
static void chaos_other(struct chaos *c)
{
	static const uint8_t protos[] = {1, 58, 17, 17, 58, 2, 0, 43, 44, 60, 255};
	static const uint8_t fields[] = {2, 2, 6, 6, 2, 2, 2, 2, 2, 2, 2};
	uint8_t f[1600] = {0}, which = c->byte(c) % sizeof(protos);
	bool v6 = protos[which] == 58 || protos[which] == 0 || protos[which] >= 43 || which == 3;
	size_t len = 8 + c->byte(c) % 120, at = chaos_ip(c, f, protos[which], len, v6);

	chaos_fill(c, f + at, len);
	if (protos[which] == 17) {
		f[at + 2] = 0;
		f[at + 3] = 53;
		f[at + 4] = len >> 8;
		f[at + 5] = len;
	} else if (protos[which] == 58) {
		f[at] = 128 + f[at] % 24;
		f[at + 1] = 0;
		if (f[at + 2] & 1) { /* to all nodes, from a link-local address */
			memset(f + 22, 0, 32);
			f[22] = 0xfe;
			f[23] = 0x80;
			f[37] = 9;
			f[38] = 0xff;
			f[39] = 2;
			f[53] = 1;
			f[0] = f[1] = 0x33;
			f[2] = f[3] = f[4] = 0;
			f[5] = 1;
			if (f[at] < 132) /* multicast listener messages */
				f[21] = 1;
		}
	} else if (which == 0) {
		f[at] %= 20;
	} else if (protos[which] == 2 && (f[at + 2] & 1)) {
		chaos_to_all_systems(f);
		f[at] = f[at] & 1 ? 0x11 : 0x12 + (f[at] & 4);
	}
	chaos_sum(f, at, len, fields[which], protos[which], v6);
	net_link_input_mem(c->link, f, at + len);
}

/* A fragment of a datagram. */
static void chaos_fragment(struct chaos *c)
{
	uint8_t f[1600] = {0};
	size_t len = 8 + c->byte(c), at;
	uint16_t off = chaos_u16(c) & 0x201f, sum = 0;

	at = chaos_ip(c, f, 17, len, false);
	f[19] = c->byte(c) % 4;
	f[20] = off >> 8;
	f[21] = off;
	memcpy(f + 24, &sum, 2);
	sum = csum_fold(csum_add_bytes(f + 14, 20, 0));
	memcpy(f + 24, &sum, 2);
	chaos_fill(c, f + at, len < 16 ? len : 16);
	net_link_input_mem(c->link, f, at + len);
}

static void chaos_arp(struct chaos *c)
{
	uint8_t f[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,
			 2,    8,    6,	   0,	 1,    8,    0, 6, 4, 0};

	f[21] = c->byte(c) % 3;
	chaos_fill(c, f + 22, 20);
	if (c->byte(c) & 1) {
		f[28] = f[38] = 10;
		f[29] = f[30] = f[39] = f[40] = 0;
		f[41] = 1;
	}
	net_link_input_mem(c->link, f, 42);
}

static void chaos_noise(struct chaos *c)
{
	uint8_t f[256];
	size_t n = c->byte(c);

	chaos_fill(c, f, n);
	if (n > 14 && (c->byte(c) & 3)) {
		memcpy(f, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
		f[12] = f[12] & 1 ? 8 : 0x86;
		f[13] = f[12] == 8 ? 0 : 0xdd;
	}
	net_link_input_mem(c->link, f, n);
}

/* ------------------------------------------------------------------------------ the application */

/* Joins, leaves and filters sources of one of four groups. */
static void chaos_group(struct chaos *c)
{
	uint8_t v = c->byte(c), source = c->byte(c) % 80;
	struct group_source_req r = {.gsr_interface = 2};
	struct sockaddr_in6 *g6 = (struct sockaddr_in6 *)&r.gsr_group;
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)&r.gsr_source;
	struct sockaddr_in *g = (struct sockaddr_in *)&r.gsr_group;
	struct sockaddr_in *s = (struct sockaddr_in *)&r.gsr_source;
	bool v6 = v & 0x80;

	r.gsr_group.ss_family = r.gsr_source.ss_family = v6 ? AF_INET6 : AF_INET;
	if (v6) {
		g6->sin6_addr.s6_addr[0] = 0xff;
		g6->sin6_addr.s6_addr[1] = 0x3e;
		g6->sin6_addr.s6_addr[15] = v >> 3 & 3;
		s6->sin6_addr.s6_addr[0] = 0xfd;
		s6->sin6_addr.s6_addr[15] = source;
	} else {
		g->sin_addr.s_addr = htonl(0xe8010100 | (v >> 3 & 3));
		s->sin_addr.s_addr = htonl(0x0a000000 | source);
	}
	/* struct group_req is the first part of it. */
	net_ep_setsockopt(v6 ? c->udp6 : c->udp4, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
			  MCAST_JOIN_GROUP + v % 6, &r, sizeof(r));
}

/* Sends with control messages of the source's making. */
static void chaos_control(struct chaos *c, struct net_msg *m)
{
	uint8_t control[256] __attribute__((aligned(8))) = {0};
	static const int levels[4] = {IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, SOL_SOCKET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(99)};
	size_t at = 0;
	bool v6;

	while (at + 48 <= sizeof(control) && c->byte(c) & 3) {
		struct cmsghdr h = {.cmsg_level = levels[c->byte(c) & 3]};

		h.cmsg_type = c->byte(c);
		h.cmsg_len = sizeof(h) + c->byte(c) % 40 - !(c->byte(c) & 31);
		memcpy(control + at, &h, sizeof(h));
		chaos_fill(c, control + at + sizeof(h), 4);
		at += CMSG_ALIGN(h.cmsg_len);
	}
	m->control = control;
	m->controllen = at;
	v6 = c->byte(c) & 1;
	if (v6) {
		in6.sin6_addr.s6_addr[0] = 0xfd;
		in6.sin6_addr.s6_addr[15] = 2;
		m->name = (struct sockaddr *)&in6;
		m->namelen = sizeof(in6);
	}
	net_ep_sendmsg(v6 ? c->udp6 : c->udp4, m, 0);
}

static void chaos_app(struct chaos *c)
{
	static uint8_t buf[65536];
	uint8_t what = c->byte(c), i = c->byte(c) % CHAOS_EPS;
	struct iovec iov = {buf, 1 + chaos_u16(c) % 20000};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(99)};
	struct net_ep *ep;

	in.sin_addr.s_addr = htonl(0x0a000002);
	switch (what % 10) {
	case 0:
		if (!c->conn[i] && net_ep_accept(c->listener4, &ep) == 0)
			c->conn[i] = ep;
		break;
	case 1:
		if (!c->conn[i] && net_ep_accept(c->listener6, &ep) == 0)
			c->conn[i] = ep;
		break;
	case 2:
		if (!c->conn[i] &&
		    net_ep_create(c->stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &ep) == 0) {
			c->conn[i] = ep;
			net_ep_connect(ep, (struct sockaddr *)&in, sizeof(in));
		}
		break;
	case 3:
	case 4:
		if (c->conn[i])
			net_ep_sendmsg(c->conn[i], &m, what & 0x80 ? MSG_OOB : 0);
		break;
	case 5:
	case 6:
		if (c->conn[i])
			net_ep_recvmsg(c->conn[i], &m, what & 0x80 ? MSG_PEEK : 0);
		break;
	case 7:
		if (c->conn[i] && what & 0x40) {
			net_ep_close(c->conn[i]);
			c->conn[i] = NULL;
		} else if (c->conn[i]) {
			net_ep_shutdown(c->conn[i], what >> 4 & 1);
		}
		break;
	case 8:
		m.name = (struct sockaddr *)&in;
		m.namelen = sizeof(in);
		if (what & 0x80)
			chaos_control(c, &m);
		else
			net_ep_sendmsg(c->udp4, &m, 0);
		break;
	case 9:
		if (what & 0x80) {
			chaos_group(c);
			break;
		}
		net_ep_recvmsg(c->udp4, &m, 0);
		net_ep_recvmsg(c->raw, &m, 0);
		net_ep_recvmsg(c->packet, &m, 0);
		break;
	}
}

/* One step of whatever the source says. */
static inline void chaos_step(struct chaos *c)
{
	uint8_t op = c->byte(c);

	switch (op % 16) {
	case 0:
		chaos_noise(c);
		break;
	case 1:
	case 2:
		chaos_other(c);
		break;
	case 3:
		chaos_fragment(c);
		break;
	case 4:
		chaos_arp(c);
		break;
	case 5:
		net_vclock_run(c->clock, net_vclock_now(c->clock) + (1LL << (c->byte(c) % 36)));
		break;
	case 6:
	case 7:
	case 8:
		chaos_app(c);
		break;
	default:
		chaos_tcp(c);
	}
}

#endif
