/* Neighbour discovery: RFC 4861 §7. Redirects (§8) are refused. */
#include <linux/if_addr.h>

#include "netstack/discovery/discovery_internal.h"
#include "netstack/icmp/icmp.h"
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip.h"
#include "netstack/neigh/neigh.h"
#include "netstack/neigh/neigh_upcalls.h"

#define HOP_LIMIT 255

static void send_nd(struct net_link *l, const struct in6_addr *dst, const struct in6_addr *src,
		    struct nbuf *b)
{
	struct ip_tx tx = {.protocol = IPPROTO_ICMPV6, .ttl = HOP_LIMIT};

	icmp6_fill_csum(b, src, dst);
	net_count(l->stack, NET_Icmp6_OutMsgs);
	ip_send_link(l, dst, src, b, &tx);
}

static void put_lladdr(struct nbuf *b, uint8_t type, const uint8_t mac[6])
{
	uint8_t *o = nbuf_append(b, 8);

	o[0] = type;
	o[1] = 1;
	memcpy(o + 2, mac, 6);
}

static bool is_tentative(struct net_link *l, const struct in6_addr *a)
{
	struct link_addr *ifa;
	READ_GUARD(&l->stack->config_lock);

	ifa = addr_find_locked(l, a);
	return ifa && (ifa->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED));
}

void ndp_solicit(struct net_link *l, const struct in6_addr *target, const uint8_t *lladdr)
{
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, 32);
	struct nd_neighbor_solicit *ns;
	struct in6_addr dst, src;
	bool dad = is_tentative(l, target);

	if (!b)
		return;
	ip6_solicited_node(target, &dst);
	if (lladdr && !dad)
		dst = *target;
	src = in6addr_any;
	if (!dad && !addr_of_link(l, true, false, &src) && !addr_of_link(l, false, false, &src)) {
		nbuf_put(b);
		return;
	}
	ns = nbuf_append(b, sizeof(*ns));
	memset(ns, 0, sizeof(*ns));
	ns->nd_ns_hdr.icmp6_type = ND_NEIGHBOR_SOLICIT;
	ns->nd_ns_target = *target;
	if (!dad)
		put_lladdr(b, ND_OPT_SOURCE_LINKADDR, l->addr);
	send_nd(l, &dst, &src, b);
}

static void advertise(struct net_link *l, const struct in6_addr *to, const struct in6_addr *target,
		      bool solicited)
{
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, 32);
	struct nd_neighbor_advert *na;

	if (!b)
		return;
	na = nbuf_append(b, sizeof(*na));
	memset(na, 0, sizeof(*na));
	na->nd_na_hdr.icmp6_type = ND_NEIGHBOR_ADVERT;
	na->nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE | (solicited ? ND_NA_FLAG_SOLICITED : 0);
	na->nd_na_target = *target;
	put_lladdr(b, ND_OPT_TARGET_LINKADDR, l->addr);
	send_nd(l, to, target, b);
}

/* Finds an option by type; false when the options are malformed (the packet is dropped). */
static bool find_option(const uint8_t *p, size_t len, uint8_t type, const uint8_t **found)
{
	*found = NULL;
	while (len) {
		size_t n;

		if (len < 8 || p[1] == 0)
			return false;
		n = p[1] * 8u;
		if (n > len)
			return false;
		if (p[0] == type && !*found)
			*found = p;
		p += n;
		len -= n;
	}
	return true;
}

static void solicit_input(struct net_link *l, struct nbuf *b)
{
	static const struct in6_addr all_nodes = {{{0xff, 2, [15] = 1}}};
	struct netstack *s = l->stack;
	const struct nd_neighbor_solicit *ns = (const void *)b->data;
	struct in6_addr target;
	const uint8_t *opt;
	int type;

	if (b->len < sizeof(*ns))
		return;
	target = ns->nd_ns_target;
	if (addr_multicast(&target) ||
	    !find_option(b->data + sizeof(*ns), b->len - sizeof(*ns), ND_OPT_SOURCE_LINKADDR, &opt))
		return;
	type = addr_type(s, l, &target);
	if (addr_any(&b->src)) {
		/* Somebody else tests the address: RFC 4862 §5.4.3. */
		if (opt || !addr_multicast(&b->dst))
			return;
		if (type == RTN_BLACKHOLE)
			addr_dad_conflict(l, &target);
		else if (type == RTN_LOCAL)
			advertise(l, &all_nodes, &target, false);
		return;
	}
	if (type != RTN_LOCAL || !addr_of_link(l, addr_linklocal6(&target), false, &target))
		return;
	target = ns->nd_ns_target;
	if (addr_type(s, l, &b->src) != RTN_UNICAST)
		return;
	if (opt)
		neigh_update(l, &b->src, opt + 2, NEIGH_REQUEST | NEIGH_CREATE);
	if (rate_limit_ok(s, &s->arp_limit, 1000, 1000))
		advertise(l, &b->src, &target, true);
}

static void advert_input(struct net_link *l, struct nbuf *b)
{
	const struct nd_neighbor_advert *na = (const void *)b->data;
	unsigned evidence = NEIGH_UNSOLICITED | NEIGH_ROUTER_KNOWN;
	struct in6_addr target;
	const uint8_t *opt;
	uint32_t flags;
	int type;

	if (b->len < sizeof(*na))
		return;
	target = na->nd_na_target;
	flags = na->nd_na_flags_reserved;
	if (addr_multicast(&target) || (b->mcast && (flags & ND_NA_FLAG_SOLICITED)) ||
	    !find_option(b->data + sizeof(*na), b->len - sizeof(*na), ND_OPT_TARGET_LINKADDR, &opt))
		return;
	type = addr_type(l->stack, l, &target);
	if (type == RTN_BLACKHOLE && !b->looped) {
		addr_dad_conflict(l, &target);
		return;
	}
	if (type != RTN_UNICAST || !opt) {
		net_count(l->stack, NET_Nd_Ignored);
		return;
	}
	if (flags & ND_NA_FLAG_SOLICITED)
		evidence = NEIGH_REPLY | NEIGH_ROUTER_KNOWN;
	if (flags & ND_NA_FLAG_OVERRIDE)
		evidence |= NEIGH_OVERRIDE;
	if (flags & ND_NA_FLAG_ROUTER)
		evidence |= NEIGH_ROUTER;
	neigh_update(l, &target, opt + 2, evidence);
}

void ndp_input(struct netstack *s, struct nbuf *b)
{
	struct net_link *l = b->link;
	uint8_t type = b->data[0];

	/* RFC 4861 §6.1, §7.1: from this link only, code 0, unfragmented (RFC 6980). */
	if (!l || b->ttl != HOP_LIMIT || b->data[1] != 0 || b->is_frag || !nbuf_linear(b, b->len) ||
	    l->kind == NET_LINK_LOOPBACK || b->looped) {
		net_count(s, NET_Nd_Ignored);
		return;
	}
	if (type == ND_NEIGHBOR_SOLICIT)
		solicit_input(l, b);
	else if (type == ND_NEIGHBOR_ADVERT)
		advert_input(l, b);
	else if (type == ND_ROUTER_ADVERT)
		slaac_router_advert(l, b);
	else
		net_count(s, NET_Nd_Ignored);
}
