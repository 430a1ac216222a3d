/* The routing table: most specific prefix first, then lowest metric (RFC 1812 §5.2.4.3). */
#include "netstack/link/link.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/neigh/neigh.h"
#include "netstack/route/route_internal.h"

struct route *route_new(struct netstack *s, bool v4, const struct in6_addr *dst, uint8_t prefix,
			uint8_t type, uint8_t scope, uint8_t protocol, struct net_link *l)
{
	struct route *r = net_alloc(s, sizeof(*r));

	if (!r)
		return NULL;
	r->v4 = v4;
	r->dst = *dst;
	r->prefix = prefix;
	r->type = type;
	r->scope = scope;
	r->protocol = protocol;
	r->table = RT_TABLE_MAIN;
	r->expires = INT64_MAX;
	r->link = l ? net_link_get(l) : NULL;
	return r;
}

void route_free(struct netstack *s, struct route *r)
{
	net_link_put(r->link);
	net_free(s, r);
}

static void describe(struct netstack *s, const struct route *r, struct net_route_info *i)
{
	memset(i, 0, sizeof(*i));
	i->family = r->v4 ? AF_INET : AF_INET6;
	i->prefix = r->prefix;
	i->type = r->type;
	i->scope = r->scope;
	i->protocol = r->protocol;
	i->has_gateway = r->has_gateway;
	i->table = r->table;
	i->metric = r->metric;
	i->mtu = r->mtu;
	i->ifindex = r->link ? r->link->index : 0;
	if (r->v4) {
		i->dst.s6_addr32[0] = addr_get4(&r->dst);
		i->gateway.s6_addr32[0] = r->has_gateway ? addr_get4(&r->gateway) : 0;
		i->src.s6_addr32[0] = addr_get4(&r->src);
	} else {
		i->dst = r->dst;
		i->gateway = r->gateway;
		i->src = r->src;
	}
	if (r->expires != INT64_MAX)
		i->expires = MAX((r->expires - net_now(s)) / NSEC_PER_SEC, 1LL);
}

static void event(struct netstack *s, const struct route *r, enum net_event_kind kind)
{
	struct net_event ev = {.kind = kind};

	if (!s->event)
		return;
	describe(s, r, &ev.route);
	net_defer_event(s, &ev);
}

static bool same_key(const struct route *a, const struct route *b)
{
	return a->v4 == b->v4 && a->prefix == b->prefix && addr_eq(&a->dst, &b->dst) &&
	       a->metric == b->metric;
}

int route_insert_locked(struct netstack *s, struct route *r)
{
	struct route *o, *before = NULL;

	TAILQ_FOREACH (o, &s->routes, next) {
		if (same_key(o, r)) {
			/* IPv6 has several routers of the same prefix and metric, IPv4 has not. */
			if (r->v4 || (o->link == r->link && o->has_gateway == r->has_gateway &&
				      addr_eq(&o->gateway, &r->gateway)))
				return -EEXIST;
		}
		if (!before &&
		    (o->prefix < r->prefix || (o->prefix == r->prefix && o->metric > r->metric)))
			before = o;
	}
	if (before)
		TAILQ_INSERT_BEFORE(before, r, next);
	else
		TAILQ_INSERT_TAIL(&s->routes, r, next);
	path_invalidate(s);
	event(s, r, NET_EVENT_ROUTE_NEW);
	return 0;
}

static void remove_one(struct netstack *s, struct route *r)
{
	TAILQ_REMOVE(&s->routes, r, next);
	path_invalidate(s);
	event(s, r, NET_EVENT_ROUTE_DEL);
	route_free(s, r);
}

int route_remove_locked(struct netstack *s, const struct route *m)
{
	struct route *r;

	TAILQ_FOREACH (r, &s->routes, next) {
		if (r->v4 != m->v4 || r->prefix != m->prefix || !addr_eq(&r->dst, &m->dst))
			continue;
		if ((m->metric && r->metric != m->metric) || (m->link && r->link != m->link) ||
		    (m->type && r->type != m->type) ||
		    (m->protocol && r->protocol != m->protocol) ||
		    (m->has_gateway && (!r->has_gateway || !addr_eq(&r->gateway, &m->gateway))))
			continue;
		remove_one(s, r);
		return 0;
	}
	return -ESRCH;
}

void route_flush_link_locked(struct net_link *l, bool only_v6_dynamic)
{
	struct route *r = TAILQ_FIRST(&l->stack->routes), *n;

	for (; r; r = n) {
		n = TAILQ_NEXT(r, next);
		if (r->link == l && (!only_v6_dynamic || (!r->v4 && r->protocol == RTPROT_RA)))
			remove_one(l->stack, r);
	}
}

void route_flush_all_locked(struct netstack *s)
{
	while (!TAILQ_EMPTY(&s->routes))
		remove_one(s, TAILQ_FIRST(&s->routes));
}

void route_flush_src_locked(struct netstack *s, const struct in6_addr *src)
{
	struct route *r = TAILQ_FIRST(&s->routes), *n;

	for (; r; r = n) {
		n = TAILQ_NEXT(r, next);
		if (!addr_any(&r->src) && addr_eq(&r->src, src))
			remove_one(s, r);
	}
}

/* The best usable route; config_lock held. */
static struct route *lookup_locked(struct netstack *s, const struct in6_addr *dst, int oif,
				   bool onlink)
{
	bool v4 = addr_is4(dst);
	int64_t now = net_now(s);
	struct route *r;

	TAILQ_FOREACH (r, &s->routes, next) {
		if (r->v4 != v4 || !prefix_match(dst, &r->dst, r->prefix + (v4 ? 96 : 0)))
			continue;
		if (r->expires <= now || (onlink && r->has_gateway))
			continue;
		if (r->link && (!link_is_up(r->link) || (oif && r->link->index != oif)))
			continue;
		return r;
	}
	return NULL;
}

static int type_error(uint8_t type)
{
	switch (type) {
	case RTN_BLACKHOLE:
		return -EINVAL;
	case RTN_PROHIBIT:
		return -EACCES;
	case RTN_UNREACHABLE:
		return -EHOSTUNREACH;
	default:
		return 0;
	}
}

static int local_path(struct netstack *s, const struct path_key *k, struct net_path *p)
{
	READ_GUARD(&s->config_lock);

	if (!s->loopback || !link_is_up(s->loopback))
		return -ENETUNREACH;
	p->link = net_link_get(s->loopback);
	p->nexthop = k->dst;
	if (addr_any(&p->src))
		p->src = k->dst;
	p->type = RTN_LOCAL;
	p->mtu = p->link_mtu = MIN(p->link->mtu, 65535u);
	return 0;
}

/* With config_lock held: fills link, nexthop, src, type from the table. */
static int table_path(struct netstack *s, const struct path_key *k, struct net_path *p)
{
	struct route *r = lookup_locked(s, &k->dst, k->oif, k->onlink);
	struct net_link *l;
	uint32_t mtu = 0;

	if (r && type_error(r->type))
		return type_error(r->type);
	if (r) {
		l = r->link;
		p->nexthop = r->has_gateway ? r->gateway : k->dst;
		if (addr_any(&p->src) && !addr_any(&r->src))
			p->src = r->src;
		mtu = r->mtu;
	} else {
		/* An explicit link makes any destination on-link, as in Linux. */
		l = k->oif ? link_find_locked(s, k->oif) : NULL;
		if (!l && p->type == RTN_MULTICAST) {
			LIST_FOREACH (l, &s->links, link)
				if (link_is_up(l) && l->kind != NET_LINK_LOOPBACK &&
				    (atomic_load(&l->flags) & IFF_MULTICAST))
					break;
		}
		if (!l)
			return -ENETUNREACH;
		if (!link_is_up(l))
			return -ENETDOWN;
		p->nexthop = k->dst;
	}
	if (p->type != RTN_UNICAST)
		p->nexthop = k->dst;
	if (addr_any(&p->src) && !k->any_src && !addr_select(s, l, &k->dst, &p->nexthop, &p->src) &&
	    p->type == RTN_UNICAST)
		return -EADDRNOTAVAIL;
	p->link = net_link_get(l);
	p->link_mtu = mtu && mtu < l->mtu ? mtu : MIN(l->mtu, 65535u);
	return 0;
}

static int unicast_finish(struct netstack *s, struct net_path *p)
{
	struct net_link *l = p->link;

	p->mtu = p->link_mtu;
	if (p->type != RTN_UNICAST)
		return 0;
	p->mtu = pmtu_lookup(s, &p->dst, p->link_mtu);
	if (!link_has_ether(l) || (atomic_load(&l->flags) & IFF_NOARP) ||
	    l->kind == NET_LINK_LOOPBACK)
		return 0;
	p->neigh = neigh_get(l, &p->nexthop, true);
	return p->neigh ? 0 : -ENOBUFS;
}

int path_lookup(struct netstack *s, const struct path_key *k, struct net_path *p)
{
	int type, err;

	memset(p, 0, sizeof(*p));
	p->gen = atomic_load_explicit(&s->path_gen, memory_order_acquire);
	p->dst = k->dst;
	if (k->src)
		p->src = *k->src;
	if (addr_any(&p->src)) {
		if (addr_is4(&k->dst))
			addr_set4(&p->src, 0);
		else
			p->src = in6addr_any;
	}
	type = addr_type(s, NULL, &k->dst);
	if (type == RTN_LOCAL)
		return local_path(s, k, p);
	p->type = type == RTN_BLACKHOLE ? RTN_UNICAST : type;
	read_lock(&s->config_lock);
	err = table_path(s, k, p);
	read_unlock(&s->config_lock);
	if (!err)
		err = unicast_finish(s, p);
	if (err)
		path_release(p);
	return err;
}

void path_release(struct net_path *p)
{
	if (p->neigh)
		neigh_put(p->neigh);
	if (p->link)
		net_link_put(p->link);
	p->neigh = NULL;
	p->link = NULL;
}

/* RFC 1112 §6.4 and RFC 2464 §7: link addresses of multicast groups. */
static void multicast_mac(const struct in6_addr *a, uint8_t mac[6])
{
	if (addr_is4(a)) {
		mac[0] = 1;
		mac[1] = 0;
		mac[2] = 0x5e;
		mac[3] = a->s6_addr[13] & 0x7f;
		mac[4] = a->s6_addr[14];
		mac[5] = a->s6_addr[15];
	} else {
		mac[0] = mac[1] = 0x33;
		memcpy(mac + 2, &a->s6_addr[12], 4);
	}
}

int path_output(struct net_path *p, struct nbuf *b)
{
	uint16_t protocol = addr_is4(&p->dst) ? ETHERTYPE_IP : ETHERTYPE_IPV6;
	uint8_t mac[6];

	if (p->neigh)
		return neigh_output(p->neigh, b);
	if (p->type == RTN_MULTICAST)
		multicast_mac(&p->dst, mac);
	else if (p->type == RTN_BROADCAST)
		memset(mac, 0xff, 6);
	else
		memcpy(mac, p->link->addr, 6);
	return link_xmit_ether(p->link, b, mac, protocol);
}

/* ------------------------------------------------------------------------------ netlink's view */

static int from_info(struct netstack *s, const struct net_route_info *i, struct route *r)
{
	r->v4 = i->family == AF_INET;
	if (!r->v4 && i->family != AF_INET6)
		return -EAFNOSUPPORT;
	if (i->prefix > (r->v4 ? 32 : 128))
		return -EINVAL;
	if (r->v4) {
		addr_set4(&r->dst, i->dst.s6_addr32[0]);
		addr_set4(&r->gateway, i->gateway.s6_addr32[0]);
		addr_set4(&r->src, i->src.s6_addr32[0]);
	} else {
		r->dst = i->dst;
		r->gateway = i->gateway;
		r->src = i->src;
	}
	for (unsigned b = i->prefix + (r->v4 ? 96 : 0); b < 128; b++)
		if (r->dst.s6_addr[b / 8] & (0x80 >> (b % 8)))
			return -EINVAL;
	r->prefix = i->prefix;
	r->type = i->type ? i->type : RTN_UNICAST;
	r->scope = i->scope;
	r->protocol = i->protocol;
	r->has_gateway = i->has_gateway;
	r->table = i->table ? i->table : RT_TABLE_MAIN;
	r->metric = i->metric;
	r->mtu = i->mtu;
	r->expires = i->expires ? net_now(s) + i->expires * NSEC_PER_SEC : INT64_MAX;
	return 0;
}

/* The link that a new route uses; config_lock held. */
static int resolve_link(struct netstack *s, const struct net_route_info *i, struct route *r)
{
	struct route *via;

	if (r->type != RTN_UNICAST && r->type != RTN_LOCAL && r->type != RTN_BROADCAST &&
	    r->type != RTN_MULTICAST)
		return type_error(r->type) ? 0 : -EINVAL;
	if (r->has_gateway) {
		via = lookup_locked(s, &r->gateway, i->ifindex, true);
		if (!via && !(i->ifindex && !r->v4 && addr_linklocal6(&r->gateway)))
			return -ENETUNREACH;
		r->link = via ? via->link : link_find_locked(s, i->ifindex);
	} else {
		r->link = link_find_locked(s, i->ifindex);
	}
	if (!r->link)
		return -ENODEV;
	if (!link_is_up(r->link)) {
		r->link = NULL;
		return -ENETDOWN;
	}
	net_link_get(r->link);
	return 0;
}

int net_route_add(struct netstack *s, const struct net_route_info *i)
{
	struct route *r;
	bool local_src;
	int err;

	r = net_alloc(s, sizeof(*r));
	if (!r)
		return -ENOMEM;
	NET_CONTEXT();
	err = from_info(s, i, r);
	local_src = !err && (addr_any(&r->src) || addr_is_local(s, &r->src));
	if (!err && !local_src)
		err = -EINVAL;
	if (!err && r->has_gateway && addr_is_local(s, &r->gateway))
		err = -EINVAL;
	if (!err) {
		write_lock(&s->config_lock);
		err = resolve_link(s, i, r);
		if (!err)
			err = route_insert_locked(s, r);
		write_unlock(&s->config_lock);
	}
	if (err)
		route_free(s, r);
	return err;
}

int net_route_del(struct netstack *s, const struct net_route_info *i)
{
	struct route m = {0};
	int err = from_info(s, i, &m);

	if (err)
		return err;
	NET_CONTEXT();
	write_lock(&s->config_lock);
	m.type = i->type;
	if (i->ifindex) {
		m.link = link_find_locked(s, i->ifindex);
		if (!m.link)
			err = -ENODEV;
	}
	if (!err)
		err = route_remove_locked(s, &m);
	write_unlock(&s->config_lock);
	return err;
}

int net_route_get(struct netstack *s, int family, const struct in6_addr *dst,
		  const struct in6_addr *src, int oif, struct net_route_info *out)
{
	struct path_key k = {.oif = oif};
	struct in6_addr from;
	struct net_path p;
	int err;

	if (family == AF_INET)
		addr_set4(&k.dst, dst->s6_addr32[0]);
	else
		k.dst = *dst;
	if (src && family == AF_INET)
		addr_set4(&from, src->s6_addr32[0]);
	else if (src)
		from = *src;
	k.src = src ? &from : NULL;
	err = path_lookup(s, &k, &p);
	if (err)
		return err;
	memset(out, 0, sizeof(*out));
	out->family = family;
	out->type = p.type;
	out->prefix = family == AF_INET ? 32 : 128;
	out->ifindex = p.link->index;
	out->has_gateway = !addr_eq(&p.nexthop, &p.dst);
	out->mtu = p.mtu;
	out->table = p.type == RTN_LOCAL ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
	if (family == AF_INET) {
		out->dst.s6_addr32[0] = addr_get4(&p.dst);
		out->src.s6_addr32[0] = addr_get4(&p.src);
		out->gateway.s6_addr32[0] = addr_get4(&p.nexthop);
	} else {
		out->dst = p.dst;
		out->src = p.src;
		out->gateway = p.nexthop;
	}
	path_release(&p);
	return 0;
}

int net_route_each(struct netstack *s, int (*fn)(void *arg, const struct net_route_info *i),
		   void *arg)
{
	struct net_route_info *list = NULL;
	size_t n = 0, room = 0;
	struct route *r;
	int err = 0;

	read_lock(&s->config_lock);
	TAILQ_FOREACH (r, &s->routes, next)
		room++;
	if (room)
		list = net_alloc(s, room * sizeof(*list));
	if (list)
		TAILQ_FOREACH (r, &s->routes, next)
			describe(s, r, &list[n++]);
	read_unlock(&s->config_lock);
	if (room && !list)
		return -ENOMEM;
	for (size_t i = 0; i < n && !err; i++)
		err = fn(arg, &list[i]);
	net_free(s, list);
	return err;
}
