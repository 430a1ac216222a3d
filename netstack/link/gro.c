/* Software receive merging: consecutive TCP segments of a flow in one batch become one packet. */
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include "netstack/buffer/checksum.h"
#include "netstack/link/link.h"

#define GRO_FLOWS 8
#define GRO_MAX 65535

struct candidate {
	struct nbuf *b;
	size_t ip, tcp, payload; /* offsets of IP header, TCP header, data */
	uint32_t seq, len;
	bool v4, closed;
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return ntohl(v);
}

/* Is it a plain TCP data segment with a good checksum? */
static bool parse(struct nbuf *b, struct candidate *c)
{
	size_t total, eth = sizeof(struct ether_header);
	const uint8_t *p;
	uint16_t type;

	if (b->gso || b->csum == NBUF_CSUM_PARTIAL || !nbuf_linear(b, MIN(b->len, 134u)) ||
	    b->lin < eth + 40)
		return false;
	type = b->data[12] << 8 | b->data[13];
	p = b->data + eth;
	c->ip = eth;
	if (type == ETHERTYPE_IP) {
		c->v4 = true;
		if (p[0] != 0x45 || p[9] != IPPROTO_TCP || ((p[6] << 8 | p[7]) & 0x3fff))
			return false;
		if (csum_fold(csum_add_bytes(p, 20, 0)))
			return false;
		total = p[2] << 8 | p[3];
		c->tcp = eth + 20;
	} else if (type == ETHERTYPE_IPV6) {
		c->v4 = false;
		if (p[6] != IPPROTO_TCP)
			return false;
		total = (p[4] << 8 | p[5]) + 40;
		c->tcp = eth + 40;
	} else {
		return false;
	}
	if (total + eth > b->len || c->tcp + 20 > b->lin)
		return false;
	p = b->data + c->tcp;
	c->payload = c->tcp + (p[12] >> 4) * 4;
	if (c->payload < c->tcp + 20 || c->payload > b->lin || c->payload >= total + eth)
		return false;
	if ((p[13] & ~0x08) != 0x10) /* ACK, perhaps with PSH */
		return false;
	nbuf_trim(b, total + eth);
	c->b = b;
	c->seq = get32(p + 4);
	c->len = b->len - c->payload;
	c->closed = p[13] & 8;
	return true;
}

static bool checksum_ok(struct candidate *c)
{
	struct in6_addr src = {0}, dst = {0};
	struct nbuf *b = c->b;
	const uint8_t *p = b->data + c->ip;

	if (b->csum == NBUF_CSUM_OK)
		return true;
	if (c->v4) {
		src.s6_addr32[2] = dst.s6_addr32[2] = htonl(0xffff);
		memcpy(&src.s6_addr32[3], p + 12, 4);
		memcpy(&dst.s6_addr32[3], p + 16, 4);
	} else {
		memcpy(&src, p + 8, 16);
		memcpy(&dst, p + 24, 16);
	}
	if (csum_fold(nbuf_csum(b, c->tcp, b->len - c->tcp,
				csum_pseudo(&src, &dst, IPPROTO_TCP, b->len - c->tcp))))
		return false;
	b->csum = NBUF_CSUM_OK;
	return true;
}

static bool same_flow(const struct candidate *a, const struct candidate *c)
{
	const uint8_t *p = a->b->data, *q = c->b->data;
	size_t hdr = a->payload - a->tcp;

	if (a->v4 != c->v4 || a->payload != c->payload)
		return false;
	/* Link addresses, and the VLAN tag where the device has taken it out of the frame. */
	if (memcmp(p, q, 12) || a->b->has_vlan != c->b->has_vlan ||
	    (a->b->has_vlan && a->b->vlan_tci != c->b->vlan_tci))
		return false;
	/* TOS, TTL, addresses. */
	if (a->v4 ? p[15] != q[15] || p[22] != q[22] || memcmp(p + 26, q + 26, 8)
		  : memcmp(p + 14, q + 14, 4) || p[21] != q[21] || memcmp(p + 22, q + 22, 32))
		return false;
	/* Ports, ACK and window, options. */
	return !memcmp(p + a->tcp, q + c->tcp, 4) && !memcmp(p + a->tcp + 8, q + c->tcp + 8, 4) &&
	       !memcmp(p + a->tcp + 14, q + c->tcp + 14, 2) &&
	       !memcmp(p + a->tcp + 20, q + c->tcp + 20, hdr - 20);
}

/* Appends c's data to a. */
static bool merge(struct candidate *a, struct candidate *c)
{
	struct nbuf *b = a->b;
	uint32_t mss = b->gso_size ? b->gso_size : a->len;

	if (a->closed || a->seq + (b->len - a->payload) != c->seq || c->len > mss ||
	    b->len + c->len > GRO_MAX)
		return false;
	if (nbuf_add_range(b, c->b, c->payload, c->len) < 0)
		return false;
	b->gso_size = mss;
	b->gso = a->v4 ? NBUF_GSO_TCP4 : NBUF_GSO_TCP6;
	b->csum = NBUF_CSUM_OK;
	a->closed = c->len < mss || c->closed;
	b->data[a->tcp + 13] |= c->b->data[c->tcp + 13];
	return true;
}

/* The IP length of what has been merged. */
static void finish(struct candidate *a)
{
	uint8_t *p = a->b->data + a->ip;
	size_t n = a->b->len - a->ip;
	uint16_t sum = 0;

	if (!a->b->gso)
		return;
	if (!a->v4) {
		n -= 40;
		p[4] = n >> 8;
		p[5] = n & 0xff;
		return;
	}
	p[2] = n >> 8;
	p[3] = n & 0xff;
	memcpy(p + 10, &sum, 2);
	sum = csum_fold(csum_add_bytes(p, 20, 0));
	memcpy(p + 10, &sum, 2);
}

void gro_batch(struct net_link *l, struct nbuf_queue *q)
{
	struct candidate flows[GRO_FLOWS];
	struct nbuf_queue out = STAILQ_HEAD_INITIALIZER(out);
	unsigned n = 0;
	struct nbuf *b;

	while ((b = STAILQ_FIRST(q))) {
		struct candidate c;
		bool merged = false, ok;

		STAILQ_REMOVE_HEAD(q, next);
		ok = parse(b, &c) && checksum_ok(&c);
		for (unsigned i = 0; ok && i < n && !merged; i++) {
			if (!same_flow(&flows[i], &c))
				continue;
			merged = merge(&flows[i], &c);
			if (!merged) { /* this packet now is the flow's end */
				finish(&flows[i]);
				flows[i] = c;
				STAILQ_INSERT_TAIL(&out, b, next);
				ok = false;
				break;
			}
		}
		if (merged) {
			nbuf_put(b);
			continue;
		}
		if (ok && n < GRO_FLOWS)
			flows[n++] = c;
		if (ok || STAILQ_LAST(&out, nbuf, next) != b)
			STAILQ_INSERT_TAIL(&out, b, next);
	}
	for (unsigned i = 0; i < n; i++)
		finish(&flows[i]);
	STAILQ_CONCAT(q, &out);
}
