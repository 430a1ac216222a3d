/* IPv4 input: RFC 791, RFC 1122 §3.2.1, martian filters of RFC 1812 §5.3.7. */
#include <linux/if_packet.h>

#include "netstack/ip/ip_internal.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/link/link_upcalls.h"

static void discard(struct netstack *s, struct nbuf *b, enum net_counter c)
{
	net_count(s, c);
	nbuf_put(b);
}

/*
 * Walks the options. False: malformed, or a source route, which hosts must not follow here
 * (as Linux's default accept_source_route=0).
 */
static bool options_ok(const uint8_t *opt, size_t len)
{
	size_t i = 0;

	while (i < len) {
		uint8_t l;

		if (opt[i] == IPOPT_EOL)
			return true;
		if (opt[i] == IPOPT_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= len)
			return false;
		l = opt[i + 1];
		if (l < 2 || i + l > len)
			return false;
		if (opt[i] == IPOPT_LSRR || opt[i] == IPOPT_SSRR)
			return false;
		i += l;
	}
	return true;
}

/* Sources that no packet from a link may have. */
static bool source_martian(struct netstack *s, struct net_link *l, const struct in6_addr *src,
			   bool looped)
{
	int type;

	if (addr_multicast(src) || addr_get4(src) == INADDR_NONE || src->s6_addr[12] >= 240)
		return true;
	if (l->kind == NET_LINK_LOOPBACK)
		return false;
	if (addr_loopback(src))
		return true;
	type = addr_type(s, l, src);
	if (type == RTN_BROADCAST)
		return true;
	return type == RTN_LOCAL && !s->sysctl.accept_local && !looped;
}

/* Reverse path filter (RFC 3704): 1 strict, 2 loose. */
static bool rp_filter_ok(struct netstack *s, struct net_link *l, const struct in6_addr *src)
{
	struct path_key k = {.dst = *src, .any_src = true};
	struct net_path p;
	bool ok;

	if (!s->sysctl.rp_filter || addr_any(src) || l->kind == NET_LINK_LOOPBACK)
		return true;
	if (path_lookup(s, &k, &p) < 0)
		return false;
	ok = s->sysctl.rp_filter == 2 || p.link == l;
	path_release(&p);
	return ok;
}

/* Is it for this host? Sets b->mcast: 0 unicast, 1 multicast, 2 broadcast. */
static bool destination_ok(struct netstack *s, struct net_link *l, struct nbuf *b)
{
	int type;

	/* A host that listens on 0.0.0.0 takes the limited broadcast only. */
	if (addr_any(&b->dst))
		return false;
	if (addr_loopback(&b->dst) && l->kind != NET_LINK_LOOPBACK)
		return false;
	type = addr_type(s, l, &b->dst);
	b->mcast = type == RTN_MULTICAST ? 1 : type == RTN_BROADCAST ? 2 : 0;
	if (type == RTN_MULTICAST)
		return mcast_member(l, &b->dst) || addr_get4(&b->dst) == htonl(0xe0000001);
	/* RFC 1122 §3.3.6: a unicast address in a link broadcast is dropped. */
	if (type == RTN_LOCAL)
		return b->pkt_type == PACKET_HOST || l->kind == NET_LINK_LOOPBACK;
	return type == RTN_BROADCAST;
}

static struct nbuf *defragment(struct netstack *s, struct net_link *l, struct nbuf *b,
			       const struct ip *ip, unsigned hlen)
{
	uint16_t off = ntohs(ip->ip_off);
	struct reass_key k;

	memset(&k, 0, sizeof(k));
	k.src = b->src;
	k.dst = b->dst;
	k.id = ip->ip_id;
	k.protocol = ip->ip_p;
	k.ifindex = b->mcast ? l->index : 0;
	nbuf_pull(b, hlen);
	b = reass_add(s, &k, b, (off & IP_OFFMASK) * 8u, off & IP_MF, hlen, ip->ip_tos);
	if (!b)
		return NULL;
	/* Make the header that stayed in front tell of the whole datagram. */
	((struct ip *)b->net)->ip_off = 0;
	((struct ip *)b->net)->ip_len = htons(b->len + hlen);
	((struct ip *)b->net)->ip_sum = 0;
	((struct ip *)b->net)->ip_sum = csum_fold(csum_add_bytes(b->net, hlen, 0));
	return b;
}

/* The header alone, from its own bytes. Trims link padding. */
static bool header_ok(struct nbuf *b, unsigned *hlen)
{
	const struct ip *ip;
	uint16_t len;

	if (!nbuf_linear(b, sizeof(*ip)))
		return false;
	ip = (const struct ip *)b->data;
	*hlen = ip->ip_hl * 4u;
	if (ip->ip_v != 4 || *hlen < sizeof(*ip) || !nbuf_linear(b, *hlen))
		return false;
	ip = (const struct ip *)b->data;
	len = ntohs(ip->ip_len);
	if (len < *hlen || len > b->len)
		return false;
	if (csum_fold(csum_add_bytes(ip, *hlen, 0)) != 0)
		return false;
	nbuf_trim(b, len);
	return *hlen == sizeof(*ip) || options_ok((const uint8_t *)(ip + 1), *hlen - sizeof(*ip));
}

void ip4_input(struct net_link *l, struct nbuf *b)
{
	struct netstack *s = l->stack;
	const struct ip *ip;
	unsigned hlen;

	net_count(s, NET_Ip_InReceives);
	if (!header_ok(b, &hlen)) {
		discard(s, b, NET_Ip_InHdrErrors);
		return;
	}
	ip = (const struct ip *)b->data;
	b->net = b->data;
	addr_set4(&b->src, ip->ip_src.s_addr);
	addr_set4(&b->dst, ip->ip_dst.s_addr);
	b->tos = ip->ip_tos;
	b->ttl = ip->ip_ttl;
	if (source_martian(s, l, &b->src, b->looped) || !destination_ok(s, l, b) ||
	    !rp_filter_ok(s, l, &b->src)) {
		discard(s, b, NET_Ip_InAddrErrors);
		return;
	}
	if (ip->ip_off & htons(IP_MF | IP_OFFMASK)) {
		b = defragment(s, l, b, ip, hlen);
		if (!b)
			return;
		ip = (const struct ip *)b->net;
	} else {
		nbuf_pull(b, hlen);
	}
	b->l4proto = ip->ip_p;
	net_count(s, NET_Ip_InDelivers);
	ip_deliver(s, b);
}

void ip_deliver(struct netstack *s, struct nbuf *b)
{
	bool v4 = addr_is4(&b->dst);
	bool raw = false;

	if (atomic_load_explicit(&s->n_raws, memory_order_relaxed))
		raw = raw_input(s, b);
	switch (b->l4proto) {
	case IPPROTO_TCP:
		tcp_input(s, b);
		return;
	case IPPROTO_UDP:
		udp_input(s, b);
		return;
	case IPPROTO_ICMP:
		if (v4) {
			icmp4_input(s, b);
			return;
		}
		break;
	case IPPROTO_ICMPV6:
		if (!v4) {
			icmp6_input(s, b);
			return;
		}
		break;
	case IPPROTO_IGMP:
		if (v4) {
			igmp_input(s, b);
			return;
		}
		break;
	}
	if (!raw) {
		net_count(s, v4 ? NET_Ip_InUnknownProtos : NET_Ip6_InUnknownProtos);
		if (v4)
			icmp4_error(s, b, ICMP4_UNREACH, ICMP4_UNREACH_PROTO, 0);
		else if (b->l4proto != IPPROTO_NONE)
			icmp6_error(s, b, ICMP6_PARAM_PROB, ICMP6_PARAMPROB_NEXTHEADER,
				    offsetof(struct ip6_hdr, ip6_nxt));
	}
	nbuf_put(b);
}

bool ip_l4_csum_ok(struct nbuf *b)
{
	uint32_t sum;

	if (b->csum == NBUF_CSUM_OK || b->csum == NBUF_CSUM_PARTIAL)
		return true;
	sum = csum_pseudo(&b->src, &b->dst, b->l4proto, b->len);
	return csum_fold(nbuf_csum(b, 0, b->len, sum)) == 0;
}
