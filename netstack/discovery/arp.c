/* ARP: RFC 826, RFC 5227 (announcements), RFC 1122 §2.3.2. */
#include <linux/if_packet.h>
#include <netinet/if_ether.h>

#include "netstack/link/link.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/neigh/neigh.h"
#include "netstack/neigh/neigh_upcalls.h"
#include "netstack/route/route.h"
#include "netstack/route/route_upcalls.h"

static const uint8_t broadcast_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void send_arp(struct net_link *l, uint16_t op, const uint8_t *dst_mac, uint32_t spa,
		     const uint8_t *tha, uint32_t tpa)
{
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, sizeof(struct ether_arp));
	struct ether_arp *a;

	if (!b)
		return;
	a = nbuf_append(b, sizeof(*a));
	a->arp_hrd = htons(ARPHRD_ETHER);
	a->arp_pro = htons(ETHERTYPE_IP);
	a->arp_hln = 6;
	a->arp_pln = 4;
	a->arp_op = htons(op);
	memcpy(a->arp_sha, l->addr, 6);
	memcpy(a->arp_spa, &spa, 4);
	memcpy(a->arp_tha, tha, 6);
	memcpy(a->arp_tpa, &tpa, 4);
	link_xmit_ether(l, b, dst_mac, ETHERTYPE_ARP);
}

/* The address to ask with: one in the target's subnet, else the link's first. */
static bool source_for(struct net_link *l, const struct in6_addr *target, struct in6_addr *src)
{
	READ_GUARD(&l->stack->config_lock);

	return addr_select(l->stack, l, target, target, src);
}

void arp_solicit(struct net_link *l, const struct in6_addr *target, const uint8_t *lladdr)
{
	static const uint8_t zero[6];
	struct in6_addr src;

	if (!source_for(l, target, &src))
		return;
	send_arp(l, ARPOP_REQUEST, lladdr ? lladdr : broadcast_mac, addr_get4(&src), zero,
		 addr_get4(target));
}

void arp_announce(struct net_link *l, const struct in6_addr *addr)
{
	if (!link_has_ether(l) || l->kind == NET_LINK_LOOPBACK ||
	    (atomic_load(&l->flags) & IFF_NOARP))
		return;
	send_arp(l, ARPOP_REQUEST, broadcast_mac, addr_get4(addr), broadcast_mac, addr_get4(addr));
}

static void handle(struct net_link *l, const struct ether_arp *a)
{
	struct netstack *s = l->stack;
	struct in6_addr sender, target;
	uint32_t spa, tpa;
	bool for_us;

	memcpy(&spa, a->arp_spa, 4);
	memcpy(&tpa, a->arp_tpa, 4);
	addr_set4(&sender, spa);
	addr_set4(&target, tpa);
	/* A sender that is a group, this host or ourselves is a lie or our own echo. */
	if ((a->arp_sha[0] & 1) || !memcmp(a->arp_sha, l->addr, 6) || addr_multicast(&sender) ||
	    addr_loopback(&sender) || (spa && addr_type(s, l, &sender) != RTN_UNICAST)) {
		net_count(s, NET_Arp_Ignored);
		return;
	}
	for_us = addr_type(s, l, &target) == RTN_LOCAL && !addr_loopback(&target);
	if (a->arp_op == htons(ARPOP_REQUEST)) {
		net_count(s, NET_Arp_InRequests);
		if (for_us) {
			if (spa)
				neigh_update(l, &sender, a->arp_sha, NEIGH_REQUEST | NEIGH_CREATE);
			if (rate_limit_ok(s, &s->arp_limit, 1000, 1000))
				send_arp(l, ARPOP_REPLY, a->arp_sha, tpa, a->arp_sha, spa);
		} else if (spa) {
			/* Gratuitous, or to another: news about an entry that we have. */
			neigh_update(
				l, &sender, a->arp_sha,
				NEIGH_UNSOLICITED |
					(s->sysctl.arp_accept && spa == tpa ? NEIGH_CREATE : 0));
		}
	} else if (a->arp_op == htons(ARPOP_REPLY)) {
		net_count(s, NET_Arp_InReplies);
		if (spa)
			neigh_update(l, &sender, a->arp_sha,
				     for_us ? NEIGH_REPLY : NEIGH_UNSOLICITED);
	}
}

void arp_input(struct net_link *l, struct nbuf *b)
{
	const struct ether_arp *a;

	if (!nbuf_linear(b, sizeof(*a)) || (atomic_load(&l->flags) & IFF_NOARP) ||
	    l->kind == NET_LINK_LOOPBACK) {
		nbuf_put(b);
		return;
	}
	a = (const struct ether_arp *)b->data;
	if (a->arp_hrd == htons(ARPHRD_ETHER) && a->arp_pro == htons(ETHERTYPE_IP) &&
	    a->arp_hln == 6 && a->arp_pln == 4)
		handle(l, a);
	nbuf_put(b);
}
