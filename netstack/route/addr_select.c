/* Source address selection: primary address of the subnet for IPv4, RFC 6724 §5 for IPv6. */
#include <linux/if_addr.h>

#include "netstack/link/link.h"
#include "netstack/route/route_internal.h"

/* RFC 6724 §2.1: the default policy table, most specific first. */
static const struct {
	struct in6_addr prefix;
	uint8_t bits, label;
} policy[] = {
	{{{{[15] = 1}}}, 128, 0},
	{{{{[10] = 0xff, [11] = 0xff}}}, 96, 4},
	{{{{0}}}, 96, 3},
	{{{{0x20, 0x01}}}, 32, 5},
	{{{{0x20, 0x02}}}, 16, 2},
	{{{{0x3f, 0xfe}}}, 16, 12},
	{{{{0xfe, 0xc0}}}, 10, 11},
	{{{{0xfc}}}, 7, 13},
	{{{{0}}}, 0, 1},
};

static int label_of(const struct in6_addr *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(policy); i++)
		if (prefix_match(a, &policy[i].prefix, policy[i].bits))
			return policy[i].label;
	return 1;
}

/* RFC 6724 §3.1, RFC 4007: scopes as the multicast scope values. */
static int scope_of(const struct in6_addr *a)
{
	if (a->s6_addr[0] == 0xff)
		return a->s6_addr[1] & 0xf;
	if (IN6_IS_ADDR_LOOPBACK(a) || addr_linklocal6(a))
		return 2;
	if (a->s6_addr[0] == 0xfe && (a->s6_addr[1] & 0xc0) == 0xc0)
		return 5;
	return 14;
}

static int common_prefix(const struct in6_addr *a, const struct in6_addr *b, int max)
{
	int n = 0;

	while (n < max && n < 128 && !((a->s6_addr[n / 8] ^ b->s6_addr[n / 8]) & (0x80 >> (n % 8))))
		n++;
	return n;
}

/* True if candidate a is better than b for dst, out of link. */
static bool better6(const struct link_addr *a, const struct link_addr *b,
		    const struct in6_addr *dst, const struct net_link *out, int64_t now)
{
	int sa = scope_of(&a->addr), sb = scope_of(&b->addr), sd = scope_of(dst);
	bool da = a->preferred_until <= now, db = b->preferred_until <= now;
	bool la, lb;

	if (addr_eq(&a->addr, dst) != addr_eq(&b->addr, dst))
		return addr_eq(&a->addr, dst); /* rule 1 */
	if (sa != sb)			       /* rule 2 */
		return sa < sb ? sa >= sd : sb < sd;
	if (da != db) /* rule 3 */
		return db;
	if ((a->link == out) != (b->link == out)) /* rule 5 */
		return a->link == out;
	la = label_of(&a->addr) == label_of(dst);
	lb = label_of(&b->addr) == label_of(dst);
	if (la != lb) /* rule 6 */
		return la;
	return common_prefix(&a->addr, dst, a->prefix) > common_prefix(&b->addr, dst, b->prefix);
}

static bool select6(struct netstack *s, struct net_link *out, const struct in6_addr *dst,
		    struct in6_addr *src)
{
	bool link_scope = scope_of(dst) <= 2 && !IN6_IS_ADDR_LOOPBACK(dst);
	struct link_addr *best = NULL, *ifa;
	int64_t now = net_now(s);
	struct net_link *l;

	LIST_FOREACH (l, &s->links, link) {
		/* Candidates for link-local and multicast destinations are the link's only: §4. */
		if ((link_scope || addr_multicast(dst)) && l != out)
			continue;
		LIST_FOREACH (ifa, &l->addrs, next) {
			if (addr_is4(&ifa->addr) ||
			    (ifa->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
				continue;
			if (l != out && addr_linklocal6(&ifa->addr))
				continue;
			if (IN6_IS_ADDR_LOOPBACK(&ifa->addr) && out->kind != NET_LINK_LOOPBACK)
				continue;
			if (!best || better6(ifa, best, dst, out, now))
				best = ifa;
		}
	}
	if (best)
		*src = best->addr;
	return best;
}

static bool select4(struct netstack *s, struct net_link *out, const struct in6_addr *nexthop,
		    struct in6_addr *src)
{
	struct link_addr *first = NULL, *ifa;
	struct net_link *l;

	LIST_FOREACH (ifa, &out->addrs, next) {
		if (!addr_is4(&ifa->addr))
			continue;
		if (prefix_match(&ifa->addr, nexthop, ifa->prefix + 96)) {
			*src = ifa->addr;
			return true;
		}
		if (!first)
			first = ifa;
	}
	if (!first) /* an unnumbered link borrows a global address */
		LIST_FOREACH (l, &s->links, link)
			LIST_FOREACH (ifa, &l->addrs, next)
				if (!first && addr_is4(&ifa->addr) && ifa->scope < RT_SCOPE_LINK)
					first = ifa;
	if (first)
		*src = first->addr;
	return first;
}

bool addr_select(struct netstack *s, struct net_link *link, const struct in6_addr *dst,
		 const struct in6_addr *nexthop, struct in6_addr *src)
{
	if (addr_is4(dst))
		return select4(s, link, nexthop, src);
	return select6(s, link, dst, src);
}
