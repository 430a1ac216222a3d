/* TCP headers: parsing (hostile bytes), building, segments without an endpoint. */
#include "netstack/core/hash.h"
#include "netstack/tcp/tcp_internal.h"

#define OPT_EOL 0
#define OPT_NOP 1
#define OPT_MSS 2
#define OPT_WSCALE 3
#define OPT_SACK_OK 4
#define OPT_SACK 5
#define OPT_TS 8

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return ntohl(v);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, 4);
}

/* RFC 9293 §3.2; malformed options end the list, as in Linux. */
static void parse_options(const uint8_t *p, size_t len, struct tcp_header *h)
{
	bool syn = h->flags & TF_SYN;

	while (len) {
		size_t n;

		if (*p == OPT_EOL)
			return;
		if (*p == OPT_NOP) {
			p++;
			len--;
			continue;
		}
		if (len < 2 || p[1] < 2 || p[1] > len)
			return;
		n = p[1];
		switch (*p) {
		case OPT_MSS:
			if (n == 4 && syn)
				h->mss = p[2] << 8 | p[3];
			break;
		case OPT_WSCALE:
			if (n == 3 && syn)
				h->wscale = MIN(p[2], TCP_MAX_WSCALE);
			break;
		case OPT_SACK_OK:
			if (n == 2 && syn)
				h->sack_ok = true;
			break;
		case OPT_SACK:
			if (n >= 10 && (n - 2) % 8 == 0) {
				h->nsack = MIN((n - 2) / 8, (size_t)4);
				for (unsigned i = 0; i < h->nsack; i++) {
					h->sack[i][0] = get32(p + 2 + 8 * i);
					h->sack[i][1] = get32(p + 6 + 8 * i);
				}
			}
			break;
		case OPT_TS:
			if (n == 10) {
				h->has_ts = true;
				h->tsval = get32(p + 2);
				h->tsecr = get32(p + 6);
			}
			break;
		}
		p += n;
		len -= n;
	}
}

bool tcp_parse_header(const uint8_t *p, size_t len, struct tcp_header *h)
{
	memset(h, 0, sizeof(*h));
	h->wscale = -1;
	if (len < 20)
		return false;
	h->hlen = (p[12] >> 4) * 4;
	if (h->hlen < 20 || h->hlen > len)
		return false;
	h->seq = get32(p + 4);
	h->ack = get32(p + 8);
	h->flags = p[13];
	h->wnd = p[14] << 8 | p[15];
	h->urg = p[18] << 8 | p[19];
	if (h->hlen > 20)
		parse_options(p + 20, h->hlen - 20, h);
	return true;
}

size_t tcp_build_options(uint8_t *p, const struct tcp_options *o)
{
	uint8_t *at = p;

	if (o->mss) {
		*at++ = OPT_MSS;
		*at++ = 4;
		*at++ = o->mss >> 8;
		*at++ = o->mss & 0xff;
	}
	if (o->has_ts) {
		if (o->sack_ok) {
			*at++ = OPT_SACK_OK;
			*at++ = 2;
		} else {
			*at++ = OPT_NOP;
			*at++ = OPT_NOP;
		}
		*at++ = OPT_TS;
		*at++ = 10;
		put32(at, o->tsval);
		put32(at + 4, o->tsecr);
		at += 8;
	} else if (o->sack_ok) {
		*at++ = OPT_NOP;
		*at++ = OPT_NOP;
		*at++ = OPT_SACK_OK;
		*at++ = 2;
	}
	if (o->wscale >= 0) {
		*at++ = OPT_NOP;
		*at++ = OPT_WSCALE;
		*at++ = 3;
		*at++ = o->wscale;
	}
	if (o->nsack) {
		*at++ = OPT_NOP;
		*at++ = OPT_NOP;
		*at++ = OPT_SACK;
		*at++ = 2 + 8 * o->nsack;
		for (unsigned i = 0; i < o->nsack; i++) {
			put32(at, o->sack[i][0]);
			put32(at + 4, o->sack[i][1]);
			at += 8;
		}
	}
	return at - p;
}

int tcp_transmit(struct netstack *s, struct net_path *p, struct nbuf *b, const struct tuple *t,
		 uint32_t seq, uint32_t ack, uint8_t flags, uint16_t wnd, uint16_t urg,
		 const struct tcp_options *o, uint8_t tos, int ttl, bool df, uint32_t gso_size)
{
	bool v4 = addr_is4(&p->dst);
	struct ip_tx ip = {.protocol = IPPROTO_TCP, .tos = tos, .ttl = ttl, .df = df};
	uint8_t opt[40];
	size_t n = tcp_build_options(opt, o), payload = b->len;
	uint8_t *h = nbuf_push(b, 20 + n);
	uint16_t sum;

	h[0] = t->lport >> 8;
	h[1] = t->lport & 0xff;
	h[2] = t->rport >> 8;
	h[3] = t->rport & 0xff;
	put32(h + 4, seq);
	put32(h + 8, flags & TF_ACK ? ack : 0);
	h[12] = (20 + n) / 4 << 4;
	h[13] = flags;
	h[14] = wnd >> 8;
	h[15] = wnd & 0xff;
	h[16] = h[17] = 0;
	h[18] = urg >> 8;
	h[19] = urg & 0xff;
	memcpy(h + 20, opt, n);
	sum = ~csum_fold(csum_pseudo(&p->src, &p->dst, IPPROTO_TCP, b->len));
	memcpy(h + 16, &sum, 2);
	b->csum = NBUF_CSUM_PARTIAL;
	b->csum_start = 0;
	b->csum_offset = 16;
	if (gso_size && payload > gso_size) {
		b->gso = v4 ? NBUF_GSO_TCP4 : NBUF_GSO_TCP6;
		b->gso_size = gso_size;
		ip.no_frag_check = true;
	}
	net_count_n(s, NET_Tcp_OutSegs, b->gso ? (payload + gso_size - 1) / gso_size : 1);
	return ip_output(s, p, b, &ip);
}

void tcp_send_bare(struct netstack *s, const struct tuple *t, uint32_t seq, uint32_t ack,
		   uint8_t flags, uint16_t wnd, const struct tcp_options *o, int ifindex,
		   uint8_t tos)
{
	static const struct tcp_options none = {.wscale = -1};
	struct path_key k = {.dst = t->raddr, .src = &t->laddr, .any_src = true};
	struct net_path p;
	struct nbuf *b;

	if (!addr_is4(&t->raddr) && addr_linklocal6(&t->raddr))
		k.oif = ifindex;
	if (path_lookup(s, &k, &p) < 0)
		return;
	b = nbuf_alloc(s->pool, NET_HEADROOM, 0);
	if (b)
		tcp_transmit(s, &p, b, t, seq, ack, flags, wnd, 0, o ? o : &none, tos, -1, true, 0);
	path_release(&p);
}

void tcp_send_reset_for(struct netstack *s, struct nbuf *b, const struct tcp_header *h)
{
	struct tuple t = {b->dst, b->src, b->dport, b->sport};

	if ((h->flags & TF_RST) || b->mcast || addr_any(&b->src) || addr_multicast(&b->src))
		return;
	net_count(s, NET_Tcp_OutRsts);
	if (h->flags & TF_ACK)
		tcp_send_bare(s, &t, h->ack, 0, TF_RST, 0, NULL, b->link ? b->link->index : 0, 0);
	else
		tcp_send_bare(s, &t, 0, h->end_seq, TF_RST | TF_ACK, 0, NULL,
			      b->link ? b->link->index : 0, 0);
}

static uint64_t tuple_hash(const uint64_t key[2], const struct tuple *t, size_t len)
{
	struct {
		struct in6_addr l, r;
		uint16_t p[2];
	} k = {t->laddr, t->raddr, {t->lport, t->rport}};

	return siphash(key, &k, len);
}

/* RFC 6528 §3: a 4 µs clock plus a keyed hash of the connection. */
uint32_t tcp_initial_seq(struct netstack *s, const struct tuple *t)
{
	return (uint32_t)tuple_hash(s->isn_key, t, 36) + (uint32_t)(net_now(s) / 4000);
}

/* Per pair of hosts, so that timestamps grow over successive connections (RFC 7323 §5.8). */
uint32_t tcp_timestamp_offset(struct netstack *s, const struct tuple *t)
{
	return tuple_hash(s->isn_key, t, 32) >> 32;
}
