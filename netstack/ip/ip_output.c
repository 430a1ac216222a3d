/* IP output: headers, fragmentation, loops of multicast. RFC 791, RFC 6864, RFC 8200. */

#include "netstack/core/hash.h"
#include "netstack/ip/ip.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/neigh/neigh.h"
#include "netstack/policy/policy.h"

static uint16_t next_id(struct netstack *s, const struct in6_addr *dst)
{
	/* Unpredictable per destination (RFC 7739 applies to IPv4 alike), counting within it. */
	return siphash(s->port_key, dst, 16) +
	       atomic_fetch_add_explicit(&s->ip_id, 1, memory_order_relaxed);
}

static void push_header4(struct netstack *s, struct net_path *p, struct nbuf *b,
			 const struct ip_tx *tx)
{
	unsigned hlen = sizeof(struct ip) + (tx->router_alert ? 4 : 0);
	struct ip *ip = nbuf_push(b, hlen);

	memset(ip, 0, sizeof(*ip));
	ip->ip_v = 4;
	ip->ip_hl = hlen / 4;
	ip->ip_tos = tx->tos;
	ip->ip_len = htons(b->len);
	ip->ip_off = htons(tx->df ? IP_DF : 0);
	if (tx->df && b->len <= p->mtu)
		ip->ip_id = htons(tx->id);
	else
		ip->ip_id = htons(next_id(s, &p->dst));
	ip->ip_ttl = tx->ttl >= 0 ? tx->ttl : s->sysctl.ip_default_ttl;
	ip->ip_p = tx->protocol;
	ip->ip_src.s_addr = addr_get4(&p->src);
	ip->ip_dst.s_addr = addr_get4(&p->dst);
	if (tx->router_alert)
		memcpy(ip + 1, "\x94\x04\x00\x00", 4); /* RFC 2113 */
	ip->ip_sum = csum_fold(csum_add_bytes(ip, hlen, 0));
}

/* RFC 6437: the packets of a flow have one label, which others can neither guess nor relate. b at
 * the transport header. What has no ports has no label, as in Linux. */
static uint32_t flow_label(struct netstack *s, const struct net_path *p, const struct nbuf *b,
			   uint8_t protocol)
{
	struct {
		struct in6_addr src, dst;
		uint8_t ports[4];
		uint32_t protocol;
	} k = {p->src, p->dst, {0}, protocol};
	uint32_t label;

	if (p->no_flowlabel || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) ||
	    b->lin < sizeof(k.ports))
		return 0;
	memcpy(k.ports, b->data, sizeof(k.ports));
	label = siphash(s->hash_key, &k, sizeof(k)) & 0xfffff;
	return label ? label : 1;
}

static void push_header6(struct netstack *s, struct net_path *p, struct nbuf *b,
			 const struct ip_tx *tx)
{
	uint32_t label = flow_label(s, p, b, tx->protocol);
	uint8_t next = tx->protocol;
	struct ip6_hdr *ip;
	uint16_t plen;

	if (tx->router_alert) { /* RFC 2711, in a hop-by-hop header */
		uint8_t hbh[8] = {tx->protocol, 0, 5, 2, 0, 0, 1, 0};

		memcpy(nbuf_push(b, 8), hbh, 8);
		next = IPPROTO_HOPOPTS;
	}
	plen = b->len;
	ip = nbuf_push(b, sizeof(*ip));
	ip->ip6_flow = htonl(6u << 28 | (uint32_t)tx->tos << 20 | label);
	ip->ip6_plen = htons(plen);
	ip->ip6_nxt = next;
	ip->ip6_hlim = tx->ttl >= 0 ? tx->ttl : s->sysctl.hop_limit;
	ip->ip6_src = p->src;
	ip->ip6_dst = p->dst;
}

static struct nbuf *fragment_buf(struct nbuf *b, size_t hdr, size_t off, size_t len)
{
	struct nbuf *f = nbuf_alloc(b->pool, NET_HEADROOM, hdr);

	if (f && nbuf_add_range(f, b, off, len) < 0) {
		nbuf_put(f);
		f = NULL;
	}
	return f;
}

static int fragment4(struct netstack *s, struct net_path *p, struct nbuf *b, uint32_t mtu)
{
	struct ip *ip = (struct ip *)b->data;
	size_t hlen = ip->ip_hl * 4u, step = (mtu - hlen) & ~7u, off = 0;
	size_t total = b->len - hlen;
	uint16_t base = ntohs(ip->ip_off);
	int err = 0;

	while (off < total && !err) {
		size_t len = MIN(step, total - off);
		struct nbuf *f = fragment_buf(b, 0, hlen + off, len);
		struct ip *fip;

		if (!f) {
			err = -ENOBUFS;
			break;
		}
		fip = nbuf_push(f, hlen);
		memcpy(fip, ip, hlen);
		fip->ip_len = htons(hlen + len);
		fip->ip_off = htons((base & ~IP_DF) + off / 8);
		if (off + len < total)
			fip->ip_off |= htons(IP_MF);
		fip->ip_sum = 0;
		fip->ip_sum = csum_fold(csum_add_bytes(fip, hlen, 0));
		net_count(s, NET_Ip_FragCreates);
		err = path_output(p, f);
		off += len;
	}
	net_count(s, err ? NET_Ip_FragFails : NET_Ip_FragOKs);
	nbuf_put(b);
	return err;
}

/* RFC 8200 §4.5: everything after the fixed header is fragmentable (we send no routing header). */
static int fragment6(struct netstack *s, struct net_path *p, struct nbuf *b, uint32_t mtu)
{
	struct ip6_hdr *ip = (struct ip6_hdr *)b->data;
	size_t per = sizeof(*ip) + sizeof(struct ip6_frag);
	size_t step = (mtu - per) & ~7u, off = 0, total = b->len - sizeof(*ip);
	uint32_t id = net_random32(s);
	int err = 0;

	while (off < total && !err) {
		size_t len = MIN(step, total - off);
		struct nbuf *f = fragment_buf(b, 0, sizeof(*ip) + off, len);
		struct ip6_frag *fh;
		struct ip6_hdr *fip;

		if (!f) {
			err = -ENOBUFS;
			break;
		}
		fh = nbuf_push(f, sizeof(*fh));
		fh->ip6f_nxt = ip->ip6_nxt;
		fh->ip6f_reserved = 0;
		fh->ip6f_offlg = htons(off | (off + len < total));
		fh->ip6f_ident = id;
		fip = nbuf_push(f, sizeof(*fip));
		*fip = *ip;
		fip->ip6_nxt = IPPROTO_FRAGMENT;
		fip->ip6_plen = htons(len + sizeof(*fh));
		net_count(s, NET_Ip6_FragCreates);
		err = path_output(p, f);
		off += len;
	}
	net_count(s, err ? NET_Ip6_FragFails : NET_Ip6_FragOKs);
	nbuf_put(b);
	return err;
}

/* Fragments want the whole checksum in the first one: finish it before cutting. */
static int finish_before_cut(struct nbuf *b)
{
	if (b->csum != NBUF_CSUM_PARTIAL)
		return 0;
	return nbuf_unshare(b, 0) < 0 ? -ENOBUFS : nbuf_finish_csum(b);
}

/*
 * What the link would refuse, before the packet waits for a neighbour, so that the caller learns of
 * it. Of TCP and UDP endpoints have asked before.
 */
static int check_egress(struct netstack *s, struct net_path *p, struct nbuf *b)
{
	bool v4 = addr_is4(&p->dst);
	struct egress_frame f = {.b = b, .protocol = v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6};
	uint8_t protocol = b->data[v4 ? 9 : 6];
	struct nbuf *answer;
	uint16_t ignored;
	int err;

	if (!link_leads_out(p->link) || protocol == IPPROTO_TCP || protocol == IPPROTO_UDP)
		return 0;
	err = egress_output(s, &f, &answer, &ignored);
	nbuf_put(answer);
	return err;
}

static int output(struct netstack *s, struct net_path *p, struct nbuf *b, bool df, bool no_check,
		  uint32_t mtu)
{
	bool v4 = addr_is4(&p->dst);
	int err;

	err = check_egress(s, p, b);
	if (err) {
		nbuf_put(b);
		return err;
	}
	if (!mtu)
		mtu = p->mtu;
	if (no_check || b->len <= mtu)
		return path_output(p, b);
	if (df || b->gso) {
		net_count(s, v4 ? NET_Ip_FragFails : NET_Ip6_FragFails);
		nbuf_put(b);
		return -EMSGSIZE;
	}
	err = finish_before_cut(b);
	if (err) {
		nbuf_put(b);
		return err;
	}
	return v4 ? fragment4(s, p, b, mtu) : fragment6(s, p, b, mtu);
}

/* Gives members on this host their copy of what goes out to a group or to everybody. */
static void loop_back(struct net_path *p, struct nbuf *b)
{
	struct nbuf *c = nbuf_copy(b, NET_HEADROOM);
	struct ether_header *eh;

	if (!c)
		return;
	c->gso = 0;
	if (c->csum == NBUF_CSUM_PARTIAL && nbuf_finish_csum(c) < 0) {
		nbuf_put(c);
		return;
	}
	c->csum = NBUF_CSUM_OK;
	c->tstamp = 0;
	if (link_has_ether(p->link)) {
		eh = nbuf_push(c, sizeof(*eh));
		memset(eh->ether_dhost, 0xff, 6);
		memcpy(eh->ether_shost, p->link->addr, 6);
		eh->ether_type = htons(addr_is4(&p->dst) ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	}
	/* As if it had come in on the sending link. */
	c->looped = 1;
	net_defer_input(p->link, c);
}

int ip_output(struct netstack *s, struct net_path *p, struct nbuf *b, const struct ip_tx *tx)
{
	bool v4 = addr_is4(&p->dst);

	if (nbuf_unshare(b, v4 ? 24 + 18 : 48 + 18) < 0) {
		nbuf_put(b);
		return -ENOBUFS;
	}
	if (b->len > 65535u - (v4 ? 24 : 0)) {
		nbuf_put(b);
		return -EMSGSIZE;
	}
	net_count(s, v4 ? NET_Ip_OutRequests : NET_Ip6_OutRequests);
	if (v4)
		push_header4(s, p, b, tx);
	else
		push_header6(s, p, b, tx);
	if (p->link->kind != NET_LINK_LOOPBACK &&
	    ((p->type == RTN_MULTICAST && tx->is_mcast_loop && mcast_member(p->link, &p->dst)) ||
	     p->type == RTN_BROADCAST))
		loop_back(p, b);
	if (p->type == RTN_MULTICAST && tx->ttl == 0) {
		nbuf_put(b); /* RFC 1112 §6.1: stays on this host */
		return 0;
	}
	return output(s, p, b, tx->df, tx->no_frag_check, tx->mtu);
}

int ip_output_raw(struct netstack *s, struct net_path *p, struct nbuf *b)
{
	bool v4 = addr_is4(&p->dst);

	if (!nbuf_linear(b, v4 ? sizeof(struct ip) : sizeof(struct ip6_hdr))) {
		nbuf_put(b);
		return -EINVAL;
	}
	net_count(s, v4 ? NET_Ip_OutRequests : NET_Ip6_OutRequests);
	return output(s, p, b, v4 ? (((struct ip *)b->data)->ip_off & htons(IP_DF)) != 0 : true,
		      false, 0);
}

int ip_send(struct netstack *s, const struct in6_addr *dst, const struct in6_addr *src, int oif,
	    struct nbuf *b, const struct ip_tx *tx)
{
	struct path_key k = {.dst = *dst, .src = src, .oif = oif};
	struct net_path p;
	int err = path_lookup(s, &k, &p);

	if (err) {
		nbuf_put(b);
		return err;
	}
	err = ip_output(s, &p, b, tx);
	path_release(&p);
	return err;
}

int ip_send_link(struct net_link *l, const struct in6_addr *dst, const struct in6_addr *src,
		 struct nbuf *b, const struct ip_tx *tx)
{
	struct net_path p = {.link = l,
			     .dst = *dst,
			     .src = *src,
			     .nexthop = *dst,
			     .mtu = l->mtu,
			     .link_mtu = l->mtu,
			     .type = addr_multicast(dst) ? RTN_MULTICAST : RTN_UNICAST};
	int err;

	if (p.type == RTN_UNICAST) {
		p.neigh = neigh_get(l, dst, true);
		if (!p.neigh) {
			nbuf_put(b);
			return -ENOBUFS;
		}
	}
	err = ip_output(l->stack, &p, b, tx);
	if (p.neigh)
		neigh_put(p.neigh);
	return err;
}
