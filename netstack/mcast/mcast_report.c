/* Reports of multicast groups on the wire: IGMP (RFC 1112, 2236, 3376), MLD (RFC 2710, 3810). */
#include "netstack/icmp/icmp.h"
#include "netstack/ip/ip.h"
#include "netstack/mcast/mcast_internal.h"
#include "netstack/route/route.h"

#define IGMP_V1_REPORT 0x12
#define IGMP_V2_REPORT 0x16
#define IGMP_V2_LEAVE 0x17
#define IGMP_V3_REPORT 0x22
#define MLD1_REPORT 131
#define MLD1_DONE 132
#define MLD2_REPORT 143

enum mcast_version mcast_version(const struct net_link *l, bool v4)
{
	int64_t now = net_now(l->stack);

	if (!l->igmp)
		return MCAST_CURRENT;
	if (!v4)
		return l->igmp->until[OLD_MLD1] > now ? MCAST_V2 : MCAST_CURRENT;
	if (l->igmp->until[OLD_IGMP1] > now)
		return MCAST_V1;
	return l->igmp->until[OLD_IGMP2] > now ? MCAST_V2 : MCAST_CURRENT;
}

static void send_igmp(struct net_link *l, const struct in6_addr *dst, struct nbuf *b)
{
	/* RFC 3376 §4: precedence Internetwork Control, Router Alert. */
	struct ip_tx tx = {.protocol = IPPROTO_IGMP, .tos = 0xc0, .ttl = 1, .router_alert = true};
	struct in6_addr src;
	uint16_t sum = csum_fold(nbuf_csum(b, 0, b->len, 0));

	memcpy(b->data + 2, &sum, 2);
	if (!addr_of_link(l, false, true, &src))
		addr_set4(&src, 0);
	ip_send_link(l, dst, &src, b, &tx);
}

/* RFC 3810 §5.2.13: from a link-local address, or from :: before there is one. */
static void send_mld(struct net_link *l, const struct in6_addr *dst, struct nbuf *b)
{
	struct ip_tx tx = {.protocol = IPPROTO_ICMPV6, .ttl = 1, .router_alert = true};
	struct in6_addr src = in6addr_any;

	addr_of_link(l, true, false, &src);
	icmp6_fill_csum(b, &src, dst);
	ip_send_link(l, dst, &src, b, &tx);
}

void mcast_send_record(struct net_link *l, const struct in6_addr *group,
		       enum mcast_record_type type, const struct in6_addr *sources, unsigned n)
{
	static const struct in6_addr all_mld2 = {{{0xff, 2, [15] = 0x16}}};
	bool v4 = addr_is4(group);
	size_t size = v4 ? 4 : 16, len = 8 + 4 + size + n * size;
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, len);
	struct in6_addr dst = all_mld2;
	uint8_t *p;

	if (!b)
		return;
	p = nbuf_append(b, len);
	memset(p, 0, len);
	p[0] = v4 ? IGMP_V3_REPORT : MLD2_REPORT;
	p[7] = 1; /* one group record */
	p[8] = type;
	p[11] = n;
	memcpy(p + 12, &group->s6_addr[16 - size], size);
	for (unsigned i = 0; i < n; i++)
		memcpy(p + 12 + size + i * size, &sources[i].s6_addr[16 - size], size);
	if (v4) {
		addr_set4(&dst, htonl(0xe0000016));
		send_igmp(l, &dst, b);
	} else {
		send_mld(l, &dst, b);
	}
}

void mcast_send_old(struct net_link *l, const struct in6_addr *group, enum mcast_version v,
		    bool leave)
{
	static const struct in6_addr all_routers = {{{0xff, 2, [15] = 2}}};
	bool v4 = addr_is4(group);
	size_t len = v4 ? 8 : 24;
	struct in6_addr dst = *group;
	struct nbuf *b;
	uint8_t *p;

	if (leave && v == MCAST_V1)
		return; /* which has no such message */
	b = nbuf_alloc(l->stack->pool, NET_HEADROOM, len);
	if (!b)
		return;
	p = nbuf_append(b, len);
	memset(p, 0, len);
	if (v4) {
		p[0] = leave ? IGMP_V2_LEAVE : v == MCAST_V1 ? IGMP_V1_REPORT : IGMP_V2_REPORT;
		memcpy(p + 4, &group->s6_addr[12], 4);
		if (leave)
			addr_set4(&dst, htonl(0xe0000002));
		send_igmp(l, &dst, b);
	} else {
		p[0] = leave ? MLD1_DONE : MLD1_REPORT;
		memcpy(p + 8, group, 16);
		send_mld(l, leave ? &all_routers : &dst, b);
	}
}
