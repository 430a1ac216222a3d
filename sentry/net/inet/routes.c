/* The tables of routes in the order in which Linux shows them. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/show.h"

struct list {
	struct net_route_info *at;
	size_t n, room;
};

static int append(struct list *l, const struct net_route_info *r)
{
	struct net_route_info *grown;

	if (l->n == l->room) {
		grown = reallocarray(l->at, l->room ? l->room * 2 : 16, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		l->at = grown;
		l->room = l->room ? l->room * 2 : 16;
	}
	l->at[l->n++] = *r;
	return 0;
}

static int take_route(void *arg, const struct net_route_info *r)
{
	struct net_route_info copy = *r;

	if (!copy.table)
		copy.table = RT_TABLE_MAIN;
	/* Linux has what leads to the loopback among the local ones. */
	if (r->family == AF_INET && r->dst.s6_addr[0] == IN_LOOPBACKNET && r->prefix)
		return 0;
	return append(arg, &copy);
}

static int append_local(struct list *l, const struct net_addr_info *a, uint8_t type, uint8_t scope,
			const struct in6_addr *dst, uint8_t prefix)
{
	struct net_route_info r = {
		.family = a->family,
		.dst = *dst,
		.prefix = prefix,
		.type = type,
		.scope = a->family == AF_INET ? scope : RT_SCOPE_UNIVERSE,
		.protocol = RTPROT_KERNEL,
		.table = RT_TABLE_LOCAL,
		.ifindex = a->ifindex,
	};

	if (a->family == AF_INET)
		r.src = a->addr;
	return append(l, &r);
}

/* The stack finds its own addresses without routes. */
static int take_address(void *arg, const struct net_addr_info *a)
{
	struct list *l = arg;
	struct in6_addr net = a->addr;
	static const struct in6_addr none;
	int ret = append_local(l, a, RTN_LOCAL, RT_SCOPE_HOST, &a->addr,
			       a->family == AF_INET ? 32 : 128);

	if (ret || a->family != AF_INET)
		return ret;
	if (a->addr.s6_addr[0] == IN_LOOPBACKNET && a->prefix == 8) {
		memset(net.s6_addr + 1, 0, 3);
		ret = append_local(l, a, RTN_LOCAL, RT_SCOPE_HOST, &net, 8);
		memset(net.s6_addr + 1, 255, 3);
		if (!ret)
			ret = append_local(l, a, RTN_BROADCAST, RT_SCOPE_LINK, &net, 32);
	}
	if (!ret && memcmp(&a->broadcast, &none, sizeof(none)) != 0)
		ret = append_local(l, a, RTN_BROADCAST, RT_SCOPE_LINK, &a->broadcast, 32);
	return ret;
}

/* IPv4: by destination, the more particular first. IPv6: the default route last. */
static int compare(const void *x, const void *y)
{
	const struct net_route_info *a = x, *b = y;
	int order;

	if (a->family != b->family)
		return a->family == AF_INET ? -1 : 1;
	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	if (a->family == AF_INET6 && !a->prefix != !b->prefix)
		return a->prefix ? -1 : 1;
	order = memcmp(&a->dst, &b->dst, sizeof(a->dst));
	if (order)
		return order;
	if (a->prefix != b->prefix)
		return a->prefix > b->prefix ? -1 : 1;
	return a->metric < b->metric ? -1 : a->metric > b->metric;
}

int inet_routes(struct netstack *s, struct net_route_info **out, size_t *n)
{
	struct list l = {0};
	int ret = net_route_each(s, take_route, &l);

	if (!ret)
		ret = net_addr_each(s, take_address, &l);
	if (ret) {
		free(l.at);
		return ret;
	}
	if (l.n)
		qsort(l.at, l.n, sizeof(*l.at), compare);
	*out = l.at;
	*n = l.n;
	return 0;
}
