/* IPv6 input: RFC 8200, extension headers in order, fragments, RFC 4291 address rules. */
#include <linux/if_packet.h>

#include "netstack/ip/ip_internal.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/link/link_upcalls.h"

/* More extension headers than this in one packet are an attack. */
#define HEADERS_MAX 8

static void discard(struct netstack *s, struct nbuf *b, enum net_counter c)
{
	net_count(s, c);
	nbuf_put(b);
}

int ip6_skip_headers(const uint8_t *p, size_t len, size_t *off, bool *frag)
{
	uint8_t next;
	size_t at = sizeof(struct ip6_hdr);

	*frag = false;
	if (len < at)
		return -1;
	next = p[6];
	for (int i = 0; i < HEADERS_MAX; i++) {
		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (at + 8 > len)
				return -1;
			next = p[at];
			at += (p[at + 1] + 1u) * 8;
			break;
		case IPPROTO_FRAGMENT:
			if (at + 8 > len)
				return -1;
			if ((p[at + 2] << 8 | p[at + 3]) & 0xfff8)
				*frag = true;
			next = p[at];
			at += 8;
			break;
		default:
			if (at > len)
				return -1;
			*off = at;
			return next;
		}
	}
	return -1;
}

/*
 * Options of a hop-by-hop or destination header (RFC 8200 §4.2). True: go on. An unknown option
 * whose type says so is answered with a parameter problem.
 */
static bool options_ok(struct netstack *s, struct nbuf *b, const uint8_t *opt, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint8_t type = opt[i];

		if (type == 0) { /* Pad1 */
			i++;
			continue;
		}
		if (i + 2 > len || i + 2 + opt[i + 1] > len)
			return false;
		if (type != 1 && type != 5) { /* PadN, router alert */
			uint32_t pointer = opt + i - b->net;

			switch (type >> 6) {
			case 0:
				break;
			case 1:
				return false;
			default:
				if (type >> 6 == 2 || !b->mcast)
					icmp6_error(s, b, ICMP6_PARAM_PROB, ICMP6_PARAMPROB_OPTION,
						    pointer);
				return false;
			}
		}
		i += 2 + opt[i + 1];
	}
	return true;
}

/* Makes sure that the extension header at b->data is linear and gives its length; 0: malformed. */
static size_t extension_len(struct nbuf *b)
{
	size_t n;

	if (!nbuf_linear(b, 8))
		return 0;
	n = (b->data[1] + 1u) * 8;
	return nbuf_linear(b, n) ? n : 0;
}

static struct nbuf *fragment(struct netstack *s, struct nbuf *b, uint8_t *next)
{
	struct ip6_frag fh;
	struct reass_key k;
	size_t hdr;
	bool atomic;

	if (!nbuf_linear(b, sizeof(fh))) {
		discard(s, b, NET_Ip6_InHdrErrors);
		return NULL;
	}
	memcpy(&fh, b->data, sizeof(fh));
	hdr = b->data - b->net;
	nbuf_pull(b, sizeof(fh));
	*next = fh.ip6f_nxt;
	/* RFC 6946: an atomic fragment is processed by itself. */
	atomic = !(ntohs(fh.ip6f_offlg) & 0xfff9);
	if (atomic)
		return b;
	memset(&k, 0, sizeof(k));
	k.src = b->src;
	k.dst = b->dst;
	k.id = fh.ip6f_ident;
	k.ifindex = b->mcast || addr_linklocal6(&b->src) ? b->link->index : 0;
	b->l4proto = fh.ip6f_nxt;
	b = reass_add(s, &k, b, ntohs(fh.ip6f_offlg) & 0xfff8, fh.ip6f_offlg & htons(1), hdr,
		      b->tos);
	if (b)
		((struct ip6_hdr *)b->net)->ip6_plen = htons(MIN(b->len, 65535u));
	return b;
}

/* Walks the extension headers to the transport. Consumes b. */
static void walk(struct netstack *s, struct nbuf *b, uint8_t next)
{
	for (int i = 0; i < HEADERS_MAX; i++) {
		size_t n;

		switch (next) {
		case IPPROTO_HOPOPTS:
			if (i) { /* only the first place is allowed: RFC 8200 §4.1 */
				discard(s, b, NET_Ip6_InHdrErrors);
				return;
			}
			/* fall through */
		case IPPROTO_DSTOPTS:
			n = extension_len(b);
			if (!n || !options_ok(s, b, b->data + 2, n - 2)) {
				discard(s, b, NET_Ip6_InHdrErrors);
				return;
			}
			next = b->data[0];
			nbuf_pull(b, n);
			break;
		case IPPROTO_ROUTING:
			n = extension_len(b);
			/* Type 0 is forbidden (RFC 5095); others only with nothing left to do. */
			if (!n || b->data[3] != 0) {
				if (n)
					icmp6_error(s, b, ICMP6_PARAM_PROB, ICMP6_PARAMPROB_HEADER,
						    b->data + 2 - b->net);
				discard(s, b, NET_Ip6_InHdrErrors);
				return;
			}
			next = b->data[0];
			nbuf_pull(b, n);
			break;
		case IPPROTO_FRAGMENT:
			b = fragment(s, b, &next);
			if (!b)
				return;
			break;
		default:
			b->l4proto = next;
			net_count(s, NET_Ip6_InDelivers);
			ip_deliver(s, b);
			return;
		}
	}
	discard(s, b, NET_Ip6_InHdrErrors);
}

static bool addresses_ok(struct netstack *s, struct net_link *l, struct nbuf *b)
{
	bool lo = l->kind == NET_LINK_LOOPBACK;
	int type;

	if (addr_multicast(&b->src) || addr_is4(&b->src) || addr_is4(&b->dst) || addr_any(&b->dst))
		return false;
	if (!lo && (IN6_IS_ADDR_LOOPBACK(&b->src) || IN6_IS_ADDR_LOOPBACK(&b->dst)))
		return false;
	if (!lo && !b->looped && !s->sysctl.accept_local && !addr_any(&b->src) &&
	    addr_type(s, l, &b->src) == RTN_LOCAL)
		return false;
	if (addr_multicast(&b->dst)) {
		b->mcast = 1;
		/* Interface-local and reserved scopes do not travel: RFC 4291 §2.7. */
		if (!lo && (b->dst.s6_addr[1] & 0xf) <= 1)
			return false;
		return mcast_member(l, &b->dst) ||
		       (b->dst.s6_addr32[1] == 0 && b->dst.s6_addr32[2] == 0 &&
			b->dst.s6_addr32[3] == htonl(1));
	}
	type = addr_type(s, l, &b->dst);
	/* Neighbour discovery must see what concerns tentative addresses, nobody else. */
	if (type == RTN_BLACKHOLE)
		return ((const struct ip6_hdr *)b->net)->ip6_nxt == IPPROTO_ICMPV6;
	return type == RTN_LOCAL && (b->pkt_type == PACKET_HOST || lo);
}

void ip6_input(struct net_link *l, struct nbuf *b)
{
	struct netstack *s = l->stack;
	const struct ip6_hdr *ip;
	uint32_t flow;
	uint8_t next;
	size_t plen;

	net_count(s, NET_Ip6_InReceives);
	if (!nbuf_linear(b, sizeof(*ip))) {
		discard(s, b, NET_Ip6_InHdrErrors);
		return;
	}
	ip = (const struct ip6_hdr *)b->data;
	plen = ntohs(ip->ip6_plen);
	/* No jumbograms, except what a GSO link hands over with length 0. */
	if (plen == 0 && b->gso)
		plen = b->len - sizeof(*ip);
	if (ip->ip6_vfc >> 4 != 6 || plen + sizeof(*ip) > b->len || s->sysctl.disable_ipv6) {
		discard(s, b, NET_Ip6_InHdrErrors);
		return;
	}
	nbuf_trim(b, plen + sizeof(*ip));
	b->net = b->data;
	b->src = ip->ip6_src;
	b->dst = ip->ip6_dst;
	flow = ntohl(ip->ip6_flow);
	b->flow = flow & 0xfffff;
	b->tos = flow >> 20;
	b->ttl = ip->ip6_hlim;
	next = ip->ip6_nxt;
	if (!addresses_ok(s, l, b)) {
		discard(s, b, NET_Ip6_InAddrErrors);
		return;
	}
	nbuf_pull(b, sizeof(*ip));
	walk(s, b, next);
}
