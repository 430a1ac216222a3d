/*
 * Software segmentation: cuts a large TCP packet, or a train of UDP datagrams, into packets of
 * gso_size payload bytes. Payload is shared, headers are copied and fixed.
 */
#include <netinet/tcp.h>

#include "netstack/buffer/checksum.h"
#include "netstack/link/link.h"

struct gso_layout {
	size_t net;	  /* offset of the IP header */
	size_t transport; /* offset of the TCP or UDP header */
	size_t payload;
	bool v4, tcp;
};

/* Finds the IP header, behind Ethernet and perhaps a VLAN tag. */
static bool find_net(struct nbuf *b, struct gso_layout *g)
{
	g->net = b->has_mac ? sizeof(struct ether_header) : 0;
	if (!nbuf_linear(b, MIN((size_t)b->len, g->net + 120)) || b->lin < g->net + 24)
		return false;
	if (g->net && b->data[12] == 0x81 && b->data[13] == 0x00)
		g->net += 4;
	g->v4 = b->data[g->net] >> 4 == 4;
	return true;
}

/* Finds the headers. They were written by this stack or come from a device: check anyway. */
static bool find_layout(struct nbuf *b, struct gso_layout *g)
{
	size_t hlen;

	if (!find_net(b, g))
		return false;
	g->transport = b->csum_start;
	hlen = g->v4 ? (b->data[g->net] & 15) * 4u : 40;
	if (b->csum != NBUF_CSUM_PARTIAL || hlen < 20 || g->transport < g->net + hlen)
		return false;
	g->tcp = b->gso != NBUF_GSO_UDP;
	if (g->transport + (g->tcp ? 20u : 8u) > b->lin)
		return false;
	hlen = g->tcp ? (b->data[g->transport + 12] >> 4) * 4u : 8;
	if (hlen < (g->tcp ? 20u : 8u))
		return false;
	g->payload = g->transport + hlen;
	return g->payload <= b->lin && b->gso_size;
}

/* Where headers lie in what a device gave us is the device's choice: no structures, bytes. */
static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v & 0xff;
}

static void fix_ip(struct nbuf *n, const struct gso_layout *g, unsigned i)
{
	uint8_t *ip = n->data + g->net;
	uint16_t sum;

	if (!g->v4) {
		put16(ip + 4, n->len - g->net - 40);
		return;
	}
	put16(ip + 2, n->len - g->net);
	put16(ip + 4, (ip[4] << 8 | ip[5]) + i);
	put16(ip + 10, 0);
	sum = csum_fold(csum_add_bytes(ip, (ip[0] & 15) * 4, 0));
	memcpy(ip + 10, &sum, 2);
}

/* The checksum field holds the folded pseudo-header sum with the old length: replace the length. */
static void fix_pseudo(uint8_t *field, uint32_t old_len, uint32_t new_len)
{
	uint32_t sum;
	uint16_t v;

	memcpy(&v, field, 2);
	sum = csum_add(v, (uint16_t)~htons(old_len & 0xffff));
	if (old_len >> 16)
		sum = csum_add(sum, (uint16_t)~htons(old_len >> 16));
	sum = csum_add(sum, htons(new_len));
	v = (uint16_t)~csum_fold(sum);
	memcpy(field, &v, 2);
}

static void fix_tcp(struct nbuf *n, const struct gso_layout *g, size_t done, bool first, bool last)
{
	uint8_t *th = n->data + g->transport;
	uint32_t seq;

	memcpy(&seq, th + 4, 4);
	seq = htonl(ntohl(seq) + done);
	memcpy(th + 4, &seq, 4);
	if (!last)
		th[13] &= ~(TH_FIN | TH_PUSH);
	if (!first)
		th[13] &= ~0x80; /* CWR goes with the first segment only, RFC 3168 */
}

static struct nbuf *cut(struct nbuf *b, const struct gso_layout *g, size_t off, size_t len)
{
	size_t room = ROUND_UP(g->payload, (size_t)2);
	struct nbuf *n = nbuf_alloc(b->pool, 2, room);

	if (!n)
		return NULL;
	memcpy(nbuf_append(n, g->payload), b->data, g->payload);
	if (nbuf_add_range(n, b, off, len) < 0) {
		nbuf_put(n);
		return NULL;
	}
	n->has_mac = b->has_mac;
	n->mac = b->has_mac ? n->data : NULL;
	n->protocol = b->protocol;
	n->pkt_type = b->pkt_type;
	n->csum = b->csum;
	n->csum_start = b->csum_start;
	n->csum_offset = b->csum_offset;
	return n;
}

int gso_complete(struct nbuf *b)
{
	bool tcp = b->gso != NBUF_GSO_UDP;
	uint8_t proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
	struct in6_addr src = {0}, dst = {0};
	struct gso_layout g;
	const uint8_t *ip;
	uint16_t field;

	if (b->csum == NBUF_CSUM_PARTIAL)
		return 0;
	if (!find_net(b, &g))
		return -EINVAL;
	ip = b->data + g.net;
	g.transport = g.net + (g.v4 ? (ip[0] & 15) * 4u : 40);
	if (g.transport + (tcp ? 20u : 8u) > b->lin || ip[g.v4 ? 9 : 6] != proto)
		return -EINVAL;
	if (nbuf_unshare(b, 0) < 0)
		return -ENOBUFS;
	ip = b->data + g.net;
	if (g.v4) {
		uint32_t v[2];

		memcpy(v, ip + 12, 8);
		addr_set4(&src, v[0]);
		addr_set4(&dst, v[1]);
	} else {
		memcpy(&src, ip + 8, 16);
		memcpy(&dst, ip + 24, 16);
	}
	b->csum = NBUF_CSUM_PARTIAL;
	b->csum_start = g.transport;
	b->csum_offset = tcp ? 16 : 6;
	field = ~csum_fold(csum_pseudo(&src, &dst, proto, b->len - g.transport));
	memcpy(b->data + g.transport + b->csum_offset, &field, 2);
	return 0;
}

int gso_segment(struct nbuf *b, struct nbuf_queue *out)
{
	struct gso_layout g;
	size_t total, done = 0;
	unsigned i = 0;

	if (!find_layout(b, &g)) {
		nbuf_put(b);
		return -EINVAL;
	}
	total = b->len - g.payload;
	do {
		size_t len = MIN(total - done, (size_t)b->gso_size);
		struct nbuf *n = cut(b, &g, g.payload + done, len);

		if (!n) {
			nbuf_put(b);
			return -ENOBUFS;
		}
		fix_ip(n, &g, i);
		fix_pseudo(n->data + g.transport + n->csum_offset, b->len - g.transport,
			   n->len - g.transport);
		if (g.tcp)
			fix_tcp(n, &g, done, i == 0, done + len == total);
		else
			put16(n->data + g.transport + 4, n->len - g.transport);
		STAILQ_INSERT_TAIL(out, n, next);
		done += len;
		i++;
	} while (done < total);
	nbuf_put(b);
	return 0;
}
