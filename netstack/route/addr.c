/*
 * Addresses of links: adding and removing with the routes that belong to them, lifetimes,
 * duplicate address detection (RFC 4862 §5.4), classification of destinations.
 */
#include <linux/if_addr.h>

#include "netstack/link/link.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/neigh/neigh_upcalls.h"
#include "netstack/route/route_internal.h"
#include "netstack/route/route_upcalls.h"

bool prefix_match(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (bytes && memcmp(a, b, bytes))
		return false;
	return !rest || !((a->s6_addr[bytes] ^ b->s6_addr[bytes]) >> (8 - rest));
}

void ip6_solicited_node(const struct in6_addr *a, struct in6_addr *g)
{
	memset(g, 0, sizeof(*g));
	g->s6_addr[0] = 0xff;
	g->s6_addr[1] = 2;
	g->s6_addr[11] = 1;
	g->s6_addr[12] = 0xff;
	memcpy(&g->s6_addr[13], &a->s6_addr[13], 3);
}

struct link_addr *addr_find_locked(struct net_link *l, const struct in6_addr *a)
{
	struct link_addr *ifa;

	LIST_FOREACH (ifa, &l->addrs, next)
		if (addr_eq(&ifa->addr, a))
			return ifa;
	return NULL;
}

static uint32_t seconds_left(int64_t until, int64_t now)
{
	return until == INT64_MAX ? NET_FOREVER
	       : until <= now	  ? 0
				  : (uint32_t)MIN((until - now) / NSEC_PER_SEC, 0x7fffffffLL);
}

static void describe(const struct link_addr *ifa, struct net_addr_info *i)
{
	int64_t now = net_now(ifa->link->stack);

	memset(i, 0, sizeof(*i));
	i->ifindex = ifa->link->index;
	i->prefix = ifa->prefix;
	i->scope = ifa->scope;
	i->flags = ifa->flags;
	if (addr_is4(&ifa->addr)) {
		i->family = AF_INET;
		memcpy(&i->addr, &ifa->addr.s6_addr[12], 4);
		memcpy(&i->broadcast, &ifa->broadcast.s6_addr[12], 4);
	} else {
		i->family = AF_INET6;
		i->addr = ifa->addr;
	}
	i->valid = seconds_left(ifa->valid_until, now);
	i->preferred = seconds_left(ifa->preferred_until, now);
	if (i->preferred == 0)
		i->flags |= IFA_F_DEPRECATED;
}

static void event(struct link_addr *ifa, enum net_event_kind kind)
{
	struct net_event ev = {.kind = kind};

	if (!ifa->link->stack->event)
		return;
	describe(ifa, &ev.addr);
	net_defer_event(ifa->link->stack, &ev);
}

static void ifaddr_put(struct link_addr *ifa)
{
	struct netstack *s = ifa->link->stack;

	if (!refcount_dec(&ifa->refs))
		return;
	net_link_put(ifa->link);
	net_free(s, ifa);
}

/* ---------------------------------------------------------------------- timers: DAD, lifetimes */

/* Arms the timer for what comes next; the armed timer holds a reference. config_lock held. */
static void arm(struct link_addr *ifa, int64_t at)
{
	struct netstack *s = ifa->link->stack;

	if (at == INT64_MAX)
		return;
	if (!net_timer_cancel(s, &ifa->timer))
		refcount_inc(&ifa->refs);
	net_timer_arm(s, &ifa->timer, at);
}

static void remove_locked(struct link_addr *ifa);

static void send_dad_probe(struct net_link *l, const struct in6_addr *a)
{
	ndp_solicit(l, a, NULL);
}

static void addr_timer(struct net_timer *t)
{
	struct link_addr *ifa = container_of(t, struct link_addr, timer);
	struct net_link *l = ifa->link;
	struct netstack *s = l->stack;
	bool probe = false;
	int64_t now = net_now(s);

	NET_CONTEXT();
	write_lock(&s->config_lock);
	if (ifa->gone) {
		/* removed meanwhile */
	} else if (ifa->valid_until <= now) {
		remove_locked(ifa);
	} else if (ifa->flags & IFA_F_TENTATIVE) {
		if (ifa->dad_left) {
			ifa->dad_left--;
			probe = true;
			arm(ifa, now + NSEC_PER_SEC);
		} else {
			ifa->flags &= ~IFA_F_TENTATIVE;
			path_invalidate(s);
			event(ifa, NET_EVENT_ADDR_NEW);
			arm(ifa, ifa->valid_until);
		}
	} else {
		arm(ifa, ifa->valid_until);
	}
	write_unlock(&s->config_lock);
	if (probe)
		send_dad_probe(l, &ifa->addr);
	ifaddr_put(ifa);
}

static void start_dad(struct link_addr *ifa)
{
	struct netstack *s = ifa->link->stack;

	if (!(ifa->flags & IFA_F_TENTATIVE)) {
		arm(ifa, ifa->valid_until);
		return;
	}
	ifa->dad_left = s->sysctl.dad_transmits;
	/* A random delay of up to a second before the first probe: RFC 4862 §5.4.2. */
	arm(ifa, net_now(s) + 1 + net_random_below(s, NSEC_PER_SEC));
}

void addr_dad_conflict(struct net_link *l, const struct in6_addr *a)
{
	struct link_addr *ifa;
	WRITE_GUARD(&l->stack->config_lock);

	ifa = addr_find_locked(l, a);
	if (!ifa || !(ifa->flags & IFA_F_TENTATIVE))
		return;
	log_warn("netstack: %s: duplicate IPv6 address", l->name);
	ifa->flags |= IFA_F_DADFAILED;
	ifa->dad_left = 0;
	if (net_timer_cancel(l->stack, &ifa->timer))
		refcount_dec(&ifa->refs);
	event(ifa, NET_EVENT_ADDR_NEW);
}

/* ---------------------------------------------------------------------------- add and remove */

static void subnet_of(const struct in6_addr *a, unsigned bits, struct in6_addr *out)
{
	*out = *a;
	for (unsigned i = bits; i < 128; i++)
		out->s6_addr[i / 8] &= ~(0x80 >> (i % 8));
}

/* The prefix route of an address, as ip addr add makes it. */
static void add_prefix_route(struct link_addr *ifa)
{
	struct net_link *l = ifa->link;
	bool v4 = addr_is4(&ifa->addr);
	unsigned bits = ifa->prefix + (v4 ? 96 : 0);
	struct in6_addr net;
	struct route *r;

	if (ifa->prefix == (v4 ? 32 : 128) || ifa->prefix == 0 ||
	    (ifa->flags & IFA_F_NOPREFIXROUTE) || !link_is_up(l))
		return;
	subnet_of(&ifa->addr, bits, &net);
	r = route_new(l->stack, v4, &net, ifa->prefix, RTN_UNICAST,
		      v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE, RTPROT_KERNEL, l);
	if (!r)
		return;
	if (v4)
		r->src = ifa->addr;
	else
		r->metric = 256;
	if (route_insert_locked(l->stack, r) < 0)
		route_free(l->stack, r);
}

static void remove_prefix_route(struct link_addr *ifa)
{
	bool v4 = addr_is4(&ifa->addr);
	unsigned bits = ifa->prefix + (v4 ? 96 : 0);
	struct route match = {.v4 = v4,
			      .prefix = ifa->prefix,
			      .type = RTN_UNICAST,
			      .protocol = RTPROT_KERNEL,
			      .link = ifa->link,
			      .metric = v4 ? 0 : 256};
	struct link_addr *o;

	LIST_FOREACH (o, &ifa->link->addrs, next)
		if (o != ifa && o->prefix == ifa->prefix &&
		    prefix_match(&o->addr, &ifa->addr, bits))
			return; /* another address still needs it */
	subnet_of(&ifa->addr, bits, &match.dst);
	route_remove_locked(ifa->link->stack, &match);
}

static void remove_locked(struct link_addr *ifa)
{
	struct netstack *s = ifa->link->stack;

	ifa->gone = true;
	remove_prefix_route(ifa);
	LIST_REMOVE(ifa, next);
	route_flush_src_locked(s, &ifa->addr);
	path_invalidate(s);
	event(ifa, NET_EVENT_ADDR_DEL);
	if (net_timer_cancel(s, &ifa->timer))
		refcount_dec(&ifa->refs);
	ifaddr_put(ifa);
}

/* For each address: IPv6 needs its solicited-node group. Called without config_lock. */
static void join_solicited(struct net_link *l, const struct in6_addr *a, bool join)
{
	struct in6_addr group;

	if (addr_is4(a))
		return;
	ip6_solicited_node(a, &group);
	if (join)
		mcast_join(l, &group);
	else
		mcast_leave(l, &group);
}

static struct link_addr *make(struct net_link *l, const struct in6_addr *a,
			      const struct in6_addr *brd, uint8_t prefix, uint8_t scope,
			      uint32_t flags, uint32_t valid, uint32_t preferred)
{
	struct netstack *s = l->stack;
	struct link_addr *ifa = net_alloc(s, sizeof(*ifa));
	int64_t now = net_now(s);

	if (!ifa)
		return NULL;
	refcount_init(&ifa->refs);
	ifa->link = net_link_get(l);
	ifa->addr = *a;
	ifa->broadcast = *brd;
	ifa->prefix = prefix;
	ifa->scope = scope;
	ifa->flags = flags & ~(IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED);
	if (valid == NET_FOREVER)
		ifa->flags |= IFA_F_PERMANENT;
	ifa->valid_until = valid == NET_FOREVER ? INT64_MAX : now + valid * NSEC_PER_SEC;
	ifa->preferred_until =
		preferred == NET_FOREVER ? INT64_MAX : now + preferred * NSEC_PER_SEC;
	ifa->timer.fn = addr_timer;
	if (!addr_is4(a) && !(flags & IFA_F_NODAD) && l->kind != NET_LINK_LOOPBACK &&
	    s->sysctl.dad_transmits > 0 && !(atomic_load(&l->flags) & IFF_NOARP))
		ifa->flags |= IFA_F_TENTATIVE;
	return ifa;
}

int addr_insert(struct net_link *l, const struct in6_addr *a, const struct in6_addr *brd,
		uint8_t prefix, uint8_t scope, uint32_t flags, uint32_t valid, uint32_t preferred)
{
	struct netstack *s = l->stack;
	struct link_addr *ifa, *last = NULL, *o;
	int err = 0;

	if (l->removed)
		return -ENODEV;
	ifa = make(l, a, brd, prefix, scope, flags, valid, preferred);
	if (!ifa)
		return -ENOMEM;
	NET_CONTEXT();
	write_lock(&s->config_lock);
	if (addr_find_locked(l, a)) {
		err = -EEXIST;
	} else {
		LIST_FOREACH (o, &l->addrs, next)
			last = o;
		if (last)
			LIST_INSERT_AFTER(last, ifa, next);
		else
			LIST_INSERT_HEAD(&l->addrs, ifa, next);
		add_prefix_route(ifa);
		path_invalidate(s);
		event(ifa, NET_EVENT_ADDR_NEW);
		if (link_is_up(l))
			start_dad(ifa);
		else
			arm(ifa, ifa->valid_until);
	}
	write_unlock(&s->config_lock);
	if (err) {
		ifaddr_put(ifa);
		return err;
	}
	join_solicited(l, a, true);
	if (addr_is4(a) && link_is_up(l))
		arp_announce(l, a);
	return 0;
}

static int from_info(const struct net_addr_info *a, struct in6_addr *addr)
{
	if (a->family == AF_INET) {
		addr_set4(addr, a->addr.s6_addr32[0]);
		if (a->prefix > 32 || (addr->s6_addr[12] & 0xf0) >= 0xe0 || addr_any(addr))
			return -EINVAL;
	} else if (a->family == AF_INET6) {
		*addr = a->addr;
		if (a->prefix > 128 || addr_multicast(addr) || addr_any(addr) || addr_is4(addr))
			return -EADDRNOTAVAIL;
	} else {
		return -EAFNOSUPPORT;
	}
	return 0;
}

static uint8_t default_scope(const struct in6_addr *a)
{
	if (addr_loopback(a))
		return RT_SCOPE_HOST;
	return !addr_is4(a) && addr_linklocal6(a) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}

int net_addr_add(struct netstack *s, const struct net_addr_info *a)
{
	struct net_link *l = net_link_by_index(s, a->ifindex);
	struct in6_addr addr, brd;
	uint32_t valid = a->valid ? a->valid : NET_FOREVER;
	uint32_t preferred = a->preferred ? a->preferred : valid;
	int err;

	if (!l)
		return -ENODEV;
	err = from_info(a, &addr);
	addr_set4(&brd, a->broadcast.s6_addr32[0]);
	if (!err && a->family == AF_INET6 && s->sysctl.disable_ipv6)
		err = -EACCES;
	if (!err && preferred > valid)
		err = -EINVAL;
	if (!err)
		err = addr_insert(l, &addr, &brd, a->prefix,
				  a->scope ? a->scope : default_scope(&addr), a->flags, valid,
				  preferred);
	net_link_put(l);
	return err;
}

int net_addr_del(struct netstack *s, const struct net_addr_info *a)
{
	struct net_link *l = net_link_by_index(s, a->ifindex);
	struct link_addr *ifa;
	struct in6_addr addr;
	int err;

	if (!l)
		return -ENODEV;
	NET_CONTEXT();
	err = from_info(a, &addr);
	if (!err) {
		write_lock(&s->config_lock);
		ifa = addr_find_locked(l, &addr);
		if (ifa && ifa->prefix == a->prefix)
			remove_locked(ifa);
		else
			err = -EADDRNOTAVAIL;
		write_unlock(&s->config_lock);
	}
	if (!err)
		join_solicited(l, &addr, false);
	net_link_put(l);
	return err;
}

void addr_flush_locked(struct net_link *l, bool v6_only_dynamic)
{
	struct link_addr *ifa = LIST_FIRST(&l->addrs), *n;

	for (; ifa; ifa = n) {
		n = LIST_NEXT(ifa, next);
		if (v6_only_dynamic && (addr_is4(&ifa->addr) || (ifa->flags & IFA_F_PERMANENT)))
			continue;
		remove_locked(ifa);
	}
}

/* EUI-64 interface identifier: RFC 2464 §4. */
static void linklocal_address(const struct net_link *l, struct in6_addr *a)
{
	memset(a, 0, sizeof(*a));
	a->s6_addr[0] = 0xfe;
	a->s6_addr[1] = 0x80;
	memcpy(&a->s6_addr[8], l->addr, 3);
	a->s6_addr[8] ^= 2;
	a->s6_addr[11] = 0xff;
	a->s6_addr[12] = 0xfe;
	memcpy(&a->s6_addr[13], l->addr + 3, 3);
}

static void add_loopback_addresses(struct net_link *l)
{
	struct in6_addr a4, a6 = IN6ADDR_LOOPBACK_INIT, none;

	addr_set4(&a4, htonl(INADDR_LOOPBACK));
	addr_set4(&none, 0);
	addr_insert(l, &a4, &none, 8, RT_SCOPE_HOST, 0, NET_FOREVER, NET_FOREVER);
	if (!l->stack->sysctl.disable_ipv6)
		addr_insert(l, &a6, &none, 128, RT_SCOPE_HOST, 0, NET_FOREVER, NET_FOREVER);
}

void addr_link_up(struct net_link *l)
{
	struct in6_addr ll, none;
	struct link_addr *ifa;

	write_lock(&l->stack->config_lock);
	LIST_FOREACH (ifa, &l->addrs, next) {
		add_prefix_route(ifa);
		if (!addr_is4(&ifa->addr))
			start_dad(ifa);
	}
	write_unlock(&l->stack->config_lock);
	if (l->kind == NET_LINK_LOOPBACK) {
		add_loopback_addresses(l);
		return;
	}
	if (l->stack->sysctl.disable_ipv6 || !link_has_ether(l) || atomic_load(&l->master))
		return;
	linklocal_address(l, &ll);
	addr_set4(&none, 0);
	addr_insert(l, &ll, &none, 64, RT_SCOPE_LINK, 0, NET_FOREVER, NET_FOREVER);
	slaac_link_up(l);
}

/* ------------------------------------------------------------------------------ classification */

static int classify_in(struct net_link *l, const struct in6_addr *a)
{
	struct link_addr *ifa;

	LIST_FOREACH (ifa, &l->addrs, next) {
		if (addr_eq(&ifa->addr, a))
			return ifa->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) ? RTN_BLACKHOLE
										: RTN_LOCAL;
		if (!addr_is4(a) || !addr_is4(&ifa->addr))
			continue;
		if (!addr_any(&ifa->broadcast) && addr_eq(&ifa->broadcast, a))
			return RTN_BROADCAST;
		if (ifa->prefix < 31) {
			uint32_t mask = ifa->prefix ? htonl(~0u << (32 - ifa->prefix)) : 0;
			uint32_t net = addr_get4(&ifa->addr) & mask;

			if (l->kind == NET_LINK_LOOPBACK) {
				/* All of 127/8 is this host. */
				if ((addr_get4(a) & mask) == net)
					return RTN_LOCAL;
			} else if (addr_get4(a) == (net | ~mask)) {
				return RTN_BROADCAST;
			}
		}
	}
	return RTN_UNICAST;
}

int addr_type(struct netstack *s, struct net_link *link, const struct in6_addr *a)
{
	int type = RTN_UNICAST;
	struct net_link *l;

	if (addr_multicast(a))
		return RTN_MULTICAST;
	if (addr_is4(a) && addr_get4(a) == INADDR_NONE)
		return RTN_BROADCAST;
	READ_GUARD(&s->config_lock);
	if (link) {
		type = classify_in(link, a);
		if (type != RTN_UNICAST)
			return type;
	}
	/* Weak host model (RFC 1122 §3.3.4.2), as Linux: any link's address will do. */
	LIST_FOREACH (l, &s->links, link) {
		if (l == link || !link_is_up(l))
			continue;
		type = classify_in(l, a);
		if (type != RTN_UNICAST)
			return type;
	}
	return type;
}

bool addr_is_local(struct netstack *s, const struct in6_addr *a)
{
	return addr_type(s, NULL, a) == RTN_LOCAL;
}

bool addr_of_link(struct net_link *l, bool v6_linklocal, bool v4, struct in6_addr *out)
{
	struct link_addr *ifa;
	READ_GUARD(&l->stack->config_lock);

	LIST_FOREACH (ifa, &l->addrs, next) {
		if (addr_is4(&ifa->addr) != v4 ||
		    (ifa->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
			continue;
		if (!v4 && v6_linklocal != addr_linklocal6(&ifa->addr))
			continue;
		*out = ifa->addr;
		return true;
	}
	return false;
}

int net_addr_each(struct netstack *s, int (*fn)(void *arg, const struct net_addr_info *i),
		  void *arg)
{
	struct net_addr_info *list = NULL;
	size_t n = 0, room = 0;
	struct net_link *l;
	struct link_addr *ifa;
	int r = 0;

	read_lock(&s->config_lock);
	LIST_FOREACH (l, &s->links, link)
		LIST_FOREACH (ifa, &l->addrs, next)
			room++;
	if (room)
		list = net_alloc(s, room * sizeof(*list));
	if (list)
		LIST_FOREACH (l, &s->links, link)
			LIST_FOREACH (ifa, &l->addrs, next)
				describe(ifa, &list[n++]);
	read_unlock(&s->config_lock);
	if (room && !list)
		return -ENOMEM;
	for (size_t i = 0; i < n && !r; i++)
		r = fn(arg, &list[i]);
	net_free(s, list);
	return r;
}
