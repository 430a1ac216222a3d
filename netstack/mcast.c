/*
 * Multicast groups of links, and the reports that tell routers of them: IGMPv2 (RFC 2236),
 * IGMPv3 (RFC 3376) and MLDv2 (RFC 3810), in exclude mode with an empty source list (sources are
 * filtered per endpoint). The version follows the querier's.
 */
#include "netstack/ip.h"

#define GROUPS_MAX 512
#define UNSOLICITED_NS (1 * NSEC_PER_SEC)
#define OLD_QUERIER_NS (400 * NSEC_PER_SEC)
#define REPORTS 2

#define IGMP_QUERY 0x11
#define IGMP_V2_REPORT 0x16
#define IGMP_V2_LEAVE 0x17
#define IGMP_V3_REPORT 0x22
#define REC_IS_EXCLUDE 2
#define REC_TO_INCLUDE 3
#define REC_TO_EXCLUDE 4
#define MLD2_REPORT 143

struct igmp_state {
	int64_t v2_until; /* an IGMPv2 querier was heard: speak version 2 until then */
};

static bool reported(const struct mcast_group *g)
{
	const struct net_link *l = g->link;

	if (l->kind == NET_LINK_LOOPBACK || !link_has_ether(l))
		return false;
	if (addr_is4(&g->addr)) /* RFC 2236 §6: all-systems is never reported */
		return addr_get4(&g->addr) != htonl(0xe0000001);
	return (g->addr.s6_addr[1] & 0xf) > 1 &&
	       !(g->addr.s6_addr32[3] == htonl(1) && g->addr.s6_addr32[1] == 0);
}

static bool speaks_v2(struct net_link *l)
{
	return l->igmp && l->igmp->v2_until > net_now(l->stack);
}

static void send_igmp(struct net_link *l, const struct in6_addr *dst, struct nbuf *b)
{
	struct ip_tx tx = {.protocol = IPPROTO_IGMP, .tos = 0xc0, .ttl = 1, .router_alert = true};
	struct in6_addr src;
	uint16_t sum = csum_fold(nbuf_csum(b, 0, b->len, 0));

	memcpy(b->data + 2, &sum, 2);
	if (!addr_of_link(l, false, true, &src))
		addr_set4(&src, 0);
	ip_send_link(l, dst, &src, b, &tx);
}

static void report4(struct net_link *l, const struct in6_addr *group, uint8_t record)
{
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, 16);
	struct in6_addr dst = *group;
	uint8_t *p;

	if (!b)
		return;
	if (speaks_v2(l)) {
		p = nbuf_append(b, 8);
		memset(p, 0, 8);
		p[0] = record == REC_TO_INCLUDE ? IGMP_V2_LEAVE : IGMP_V2_REPORT;
		memcpy(p + 4, &group->s6_addr[12], 4);
		if (record == REC_TO_INCLUDE)
			addr_set4(&dst, htonl(0xe0000002));
	} else {
		p = nbuf_append(b, 16);
		memset(p, 0, 16);
		p[0] = IGMP_V3_REPORT;
		p[7] = 1; /* one group record */
		p[8] = record;
		memcpy(p + 12, &group->s6_addr[12], 4);
		addr_set4(&dst, htonl(0xe0000016));
	}
	send_igmp(l, &dst, b);
}

static void report6(struct net_link *l, const struct in6_addr *group, uint8_t record)
{
	static const struct in6_addr all_mld2 = {{{0xff, 2, [15] = 0x16}}};
	struct ip_tx tx = {.protocol = IPPROTO_ICMPV6, .ttl = 1, .router_alert = true};
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, 28);
	struct in6_addr src;
	uint8_t *p;

	if (!b)
		return;
	p = nbuf_append(b, 28);
	memset(p, 0, 28);
	p[0] = MLD2_REPORT;
	p[7] = 1;
	p[8] = record;
	memcpy(p + 12, group, 16);
	src = in6addr_any;
	addr_of_link(l, true, false, &src);
	icmp6_fill_csum(b, &src, &all_mld2);
	ip_send_link(l, &all_mld2, &src, b, &tx);
}

static void report(struct net_link *l, const struct in6_addr *group, uint8_t record)
{
	if (addr_is4(group))
		report4(l, group, record);
	else
		report6(l, group, record);
}

static void group_put(struct mcast_group *g)
{
	struct netstack *s = g->link->stack;

	if (!refcount_dec(&g->refs))
		return;
	net_link_put(g->link);
	net_free(s, g);
}

/* config_lock held. */
static void arm(struct mcast_group *g, int64_t max_delay)
{
	struct netstack *s = g->link->stack;
	int64_t us = max_delay / NSEC_PER_USEC;

	if (!net_timer_cancel(s, &g->timer))
		refcount_inc(&g->refs);
	net_timer_arm(s, &g->timer,
		      net_now(s) + net_random_below(s, MIN(us, 0x7fffffffLL)) * NSEC_PER_USEC);
}

static void group_timer(struct net_timer *t)
{
	struct mcast_group *g = container_of(t, struct mcast_group, timer);
	struct netstack *s = g->link->stack;
	bool send;

	NET_CONTEXT();
	write_lock(&s->config_lock);
	send = !g->gone && link_is_up(g->link);
	if (send && g->reports_left && --g->reports_left)
		arm(g, UNSOLICITED_NS);
	write_unlock(&s->config_lock);
	if (send)
		report(g->link, &g->addr, REC_IS_EXCLUDE);
	group_put(g);
}

static struct mcast_group *find(struct net_link *l, const struct in6_addr *a)
{
	struct mcast_group *g;

	LIST_FOREACH (g, &l->groups, next)
		if (addr_eq(&g->addr, a))
			return g;
	return NULL;
}

bool mcast_member(struct net_link *l, const struct in6_addr *group)
{
	READ_GUARD(&l->stack->config_lock);

	return (atomic_load(&l->flags) & IFF_ALLMULTI) || find(l, group);
}

static unsigned count_groups(struct net_link *l)
{
	struct mcast_group *g;
	unsigned n = 0;

	LIST_FOREACH (g, &l->groups, next)
		n++;
	return n;
}

int mcast_join(struct net_link *l, const struct in6_addr *group)
{
	struct netstack *s = l->stack;
	struct mcast_group *g;
	bool send = false;
	int err = 0;

	NET_CONTEXT();
	write_lock(&s->config_lock);
	g = find(l, group);
	if (g) {
		g->users++;
	} else if (count_groups(l) >= GROUPS_MAX || !(g = net_alloc(s, sizeof(*g)))) {
		err = -ENOBUFS;
	} else {
		refcount_init(&g->refs);
		g->link = net_link_get(l);
		g->addr = *group;
		g->users = 1;
		g->timer.fn = group_timer;
		LIST_INSERT_HEAD(&l->groups, g, next);
		send = reported(g) && link_is_up(l);
		if (send) {
			g->reports_left = REPORTS - 1;
			arm(g, UNSOLICITED_NS);
		}
	}
	write_unlock(&s->config_lock);
	if (send)
		report(l, group, REC_TO_EXCLUDE);
	return err;
}

static void remove_locked(struct mcast_group *g)
{
	g->gone = true;
	LIST_REMOVE(g, next);
	if (net_timer_cancel(g->link->stack, &g->timer))
		refcount_dec(&g->refs);
}

int mcast_leave(struct net_link *l, const struct in6_addr *group)
{
	struct netstack *s = l->stack;
	struct mcast_group *g;
	bool send = false;

	NET_CONTEXT();
	write_lock(&s->config_lock);
	g = find(l, group);
	if (g && --g->users == 0) {
		send = reported(g) && link_is_up(l);
		remove_locked(g);
	} else if (g) {
		refcount_inc(&g->refs);
	}
	write_unlock(&s->config_lock);
	if (!g)
		return -EADDRNOTAVAIL;
	if (send)
		report(l, group, REC_TO_INCLUDE);
	group_put(g);
	return 0;
}

void mcast_flush_link(struct net_link *l)
{
	WRITE_GUARD(&l->stack->config_lock);

	while (!LIST_EMPTY(&l->groups)) {
		struct mcast_group *g = LIST_FIRST(&l->groups);

		remove_locked(g);
		group_put(g);
	}
}

void mcast_link_up(struct net_link *l)
{
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	LIST_FOREACH (g, &l->groups, next)
		if (reported(g)) {
			g->reports_left = REPORTS;
			arm(g, UNSOLICITED_NS);
		}
}

/* A query about `group` (any: about all): answer within max_delay. */
static void query(struct net_link *l, const struct in6_addr *group, bool v4, int64_t max_delay)
{
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	LIST_FOREACH (g, &l->groups, next) {
		if (addr_is4(&g->addr) != v4 || !reported(g) ||
		    (!addr_any(group) && !addr_eq(group, &g->addr)))
			continue;
		if (!g->reports_left) {
			g->reports_left = 1;
			arm(g, MAX(max_delay, NSEC_PER_MSEC));
		}
	}
}

static void heard_v2_querier(struct net_link *l)
{
	WRITE_GUARD(&l->stack->config_lock);

	if (!l->igmp)
		l->igmp = net_alloc(l->stack, sizeof(*l->igmp));
	if (l->igmp)
		l->igmp->v2_until = net_now(l->stack) + OLD_QUERIER_NS;
}

/* RFC 3376 §4.1.1, RFC 3810 §5.1.3: times above the linear range are floating point. */
static uint32_t decode_time(uint32_t code, unsigned mant_bits)
{
	uint32_t top = 1u << (mant_bits + 3);

	if (code < top)
		return code;
	return ((code & ((1u << mant_bits) - 1)) | 1u << mant_bits)
	       << (((code >> mant_bits) & 7) + 3);
}

void igmp_input(struct netstack *s, struct nbuf *b)
{
	struct in6_addr group;
	uint32_t be;

	/* RFC 2236 §2, RFC 3376 §4: TTL 1, a group as destination. */
	if (nbuf_linear(b, 8) && b->ttl == 1 && b->link && b->data[0] == IGMP_QUERY &&
	    b->mcast == 1 && csum_fold(nbuf_csum(b, 0, b->len, 0)) == 0) {
		memcpy(&be, b->data + 4, 4);
		addr_set4(&group, be);
		if (b->len < 12)
			heard_v2_querier(b->link);
		query(b->link, &group, true,
		      (b->data[1] ? decode_time(b->data[1], 4) : 100) * (NSEC_PER_SEC / 10));
	}
	nbuf_put(b);
}

void mld_input(struct netstack *s, struct nbuf *b)
{
	struct in6_addr group;
	uint16_t code;

	if (b->data[0] != MLD_LISTENER_QUERY || !b->link || !nbuf_linear(b, 24) || b->ttl != 1 ||
	    !addr_linklocal6(&b->src))
		return;
	memcpy(&code, b->data + 4, 2);
	memcpy(&group, b->data + 8, 16);
	query(b->link, &group, false, decode_time(ntohs(code), 12) * NSEC_PER_MSEC);
}
