#include "egress_oracle.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netstack/buffer/nbuf.h"
#include "netstack/egress.h"

#define FRAME_MAX 400
#define ANSWERS 1024

struct play {
	struct netstack *s;
	struct net_link *link;
	struct net_ep *packet;
	/* What the judge knows: addresses of IPv4 that the name was said to have. */
	uint8_t answered[ANSWERS][4];
	unsigned nanswered;
};

static void fail_frame(const char *why, const uint8_t *f, size_t n)
{
	fprintf(stderr, "%s:", why);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, " %02x", f[i]);
	fprintf(stderr, "\n");
	abort();
}

static void judge4(const struct play *p, const uint8_t *f, size_t n)
{
	const uint8_t *ip = f + 14, *l4;
	size_t hlen = (ip[0] & 15) * 4u, off;
	uint8_t protocol;

	if (n < 14 + 20 || ip[0] >> 4 != 4 || hlen < 20 || n < 14 + hlen)
		fail_frame("no IPv4", f, n);
	protocol = ip[9];
	off = (size_t)(ip[6] & 0x1f) << 8 | ip[7];
	l4 = ip + hlen;
	if (protocol == IPPROTO_IGMP && ip[16] >> 4 == 14 && ip[8] == 1)
		return;
	if (protocol == IPPROTO_UDP && !memcmp(ip + 16, "\300\0\2\1", 4)) {
		if (!off && (n < 14 + hlen + 8 || l4[2] || l4[3] != 9))
			fail_frame("another port", f, n);
		return;
	}
	/* A question, whole, for the one name. */
	if (protocol == IPPROTO_UDP && !memcmp(ip + 16, "\12\0\0\2", 4) && !off &&
	    !(ip[6] & 0x20) && n >= 14 + hlen + 8 + 33 && !l4[2] && l4[3] == 53 &&
	    !strncasecmp((const char *)l4 + 8 + 12, "\3www\7example\3org", 16))
		return;
	if (protocol == IPPROTO_TCP && n >= 14 + hlen + 20 && l4[2] == 1 && l4[3] == 187)
		for (unsigned i = 0; i < p->nanswered; i++)
			if (!memcmp(ip + 16, p->answered[i], 4))
				return;
	fail_frame("it has left", f, n);
}

static void judge6(const struct play *p, const uint8_t *f, size_t n)
{
	uint8_t next = f[14 + 6];
	size_t at = 14 + 40;

	if (n < at || f[14] >> 4 != 6)
		fail_frame("no IPv6", f, n);
	while (next == 0 || next == 60) {
		if (n < at + 8)
			fail_frame("cut short", f, n);
		next = f[at];
		at += (f[at + 1] + 1u) * 8;
	}
	if (next == 58 && n > at && (f[at] == 131 || f[at] == 132 || f[at] == 143) && f[21] == 1)
		return;
	if (next == 58 && n > at && f[at] >= 133 && f[at] <= 136 && f[21] == 255)
		return;
	fail_frame("it has left", f, n);
}

static int leave(struct net_link *l, void *priv, struct nbuf *b)
{
	const struct play *p = priv;
	uint8_t f[2048];
	size_t n = b->len < sizeof(f) ? b->len : sizeof(f);
	unsigned type;

	nbuf_read(b, 0, f, n);
	type = (unsigned)f[12] << 8 | f[13];
	if (type == ETHERTYPE_IP)
		judge4(p, f, n);
	else if (type == ETHERTYPE_IPV6)
		judge6(p, f, n);
	else if (type != ETHERTYPE_ARP || n > 14 + 64)
		fail_frame("another protocol", f, n);
	nbuf_put(b);
	return 0;
}

static int name_is_right(void *arg, const char *name, const struct in6_addr *addr, unsigned seconds)
{
	struct play *p = arg;

	if (strcmp(name, "www.example.org"))
		abort();
	if (IN6_IS_ADDR_V4MAPPED(addr) && p->nanswered < ANSWERS)
		memcpy(p->answered[p->nanswered++], addr->s6_addr + 12, 4);
	return 0;
}

static void set_policy(struct play *p)
{
	static const uint8_t allowed[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
	struct in6_addr server = {.s6_addr = {[10] = 0xff, 0xff, 10, 0, 0, 2}};
	struct net_egress_rule rules[2] = {
		{.allow = true,
		 .family = AF_INET,
		 .prefix = 32,
		 .protocol = IPPROTO_UDP,
		 .nports = 1,
		 .ports = {{9, 9}}},
		{.allow = true,
		 .name = "www.example.org",
		 .protocol = IPPROTO_TCP,
		 .nports = 1,
		 .ports = {{443, 443}}},
	};
	struct net_egress_config c = {
		.nrules = 2, .rules = rules, .nresolvers = 1, .resolvers = &server};

	memcpy(&rules[0].addr, allowed, 16);
	if (net_egress_set(p->s, &c))
		abort();
}

static void add_address(struct play *p)
{
	struct net_addr_info a = {.ifindex = 2, .family = AF_INET, .prefix = 24};

	memcpy(&a.addr, "\12\0\0\1", 4);
	if (net_addr_add(p->s, &a))
		abort();
}

static void send_frame(struct play *p, const uint8_t *f, size_t n)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = 2, .sll_halen = 6};
	struct iovec iov = {(void *)(uintptr_t)f, n};
	struct net_msg m = {
		.name = (struct sockaddr *)&ll, .namelen = sizeof(ll), .iov = &iov, .iovcnt = 1};

	net_ep_sendmsg(p->packet, &m, 0);
}

/* A datagram between the stack and its name server around the bytes; the frame's length. */
static size_t around(uint8_t *f, bool question, const uint8_t *data, size_t n)
{
	static const uint8_t head[42] = {2,  0,	   0, 0, 0,  2, 2, 0, 0, 0,  0,	 1, 8,
					 0,  0x45, 0, 0, 0,  0, 1, 0, 0, 64, 17, 0, 0,
					 10, 0,	   0, 1, 10, 0, 0, 2, 4, 87, 0,	 53};
	uint32_t sum = 0;

	memcpy(f, head, sizeof(head));
	if (!question) {
		memcpy(f + 26, "\12\0\0\2\12\0\0\1\0\065\4\127", 12);
		memcpy(f, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	}
	f[17] = (uint8_t)(28 + n);
	f[16] = (uint8_t)((28 + n) >> 8);
	f[39] = (uint8_t)(8 + n);
	f[38] = (uint8_t)((8 + n) >> 8);
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)f[i] << 8 | f[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	f[24] = (uint8_t)(~sum >> 8);
	f[25] = (uint8_t)~sum;
	memcpy(f + 42, data, n);
	return 42 + n;
}

static void step(struct play *p, uint8_t what, const uint8_t *data, size_t n, struct net_vclock *v)
{
	static const uint8_t mac[14] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0};
	uint8_t f[FRAME_MAX + 64];

	switch (what % 6) {
	case 0: /* any frame */
		send_frame(p, data, n);
		break;
	case 1: /* IPv4, IPv6 */
	case 2:
		memcpy(f, mac, 14);
		if (what % 6 == 2) {
			f[12] = 0x86;
			f[13] = 0xdd;
		}
		memcpy(f + 14, data, n);
		send_frame(p, f, n + 14);
		break;
	case 3: /* a question */
		send_frame(p, f, around(f, true, data, n));
		break;
	case 4: /* an answer */
		net_link_input_mem(p->link, f, around(f, false, data, n));
		net_egress_each_name(p->s, name_is_right, p);
		break;
	case 5: /* time passes */
		net_vclock_run(v, net_vclock_now(v) + (int64_t)n * 100000000);
		break;
	}
}

void egress_play(const uint8_t *data, size_t size)
{
	static const struct net_link_ops ops = {.xmit = leave};
	struct net_link_config lc = {.name = "eth0", .addr = {2, 0, 0, 0, 0, 1}};
	struct net_config c = {.hash_buckets = 64};
	struct play p = {0};
	struct net_vclock *v;

	if (net_vclock_create(&c.env, 1, &v) || netstack_create(&c, &p.s))
		abort();
	set_policy(&p);
	if (net_link_add_custom(p.s, &lc, &ops, &p, &p.link) ||
	    net_link_set_flags(p.link, IFF_UP, IFF_UP) ||
	    net_ep_create(p.s, AF_PACKET, SOCK_RAW, 0, NULL, NULL, &p.packet))
		abort();
	add_address(&p);
	while (size >= 2) {
		size_t n = data[1] < size - 2 ? data[1] : size - 2;

		step(&p, data[0], data + 2, n, v);
		data += 2 + n;
		size -= 2 + n;
	}
	net_ep_close(p.packet);
	netstack_destroy(p.s);
	net_link_put(p.link);
	net_vclock_run(v, net_vclock_now(v) + 1000000000000);
	net_vclock_destroy(v);
}
