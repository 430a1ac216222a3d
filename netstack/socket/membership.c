/*
 * Multicast memberships of endpoints, with source filters (RFC 3376 §2, RFC 3678). net_ep.groups
 * and what is in it changes with the endpoint's lock and config_lock held: input, which looks
 * whom a packet is for with a port bucket locked, has the latter only.
 */
#include "netstack/link/link.h"
#include "netstack/mcast/mcast.h"
#include "netstack/socket/socket_internal.h"

#define SOURCES_MAX MCAST_SOURCES_MAX

struct ep_group {
	LIST_ENTRY(ep_group) next;
	struct in6_addr group;
	struct net_link *link;	     /* counted */
	struct mcast_filter *filter; /* the link's copy of what follows */
	bool include;		     /* only the sources listed; else all but those */
	unsigned nsources;
	struct in6_addr sources[];
};

/* The link meant by an index or an interface address, or the one that routes the group. */
static struct net_link *choose_link(struct net_ep *ep, const struct in6_addr *group, int ifindex,
				    const struct in_addr *ifa)
{
	struct netstack *s = ep->stack;
	struct net_link *l, *found = NULL;
	struct link_addr *a;
	struct in6_addr want;
	struct path_key k = {.dst = *group, .any_src = true};
	struct net_path p;

	if (ifindex)
		return net_link_by_index(s, ifindex);
	if (ifa && ifa->s_addr) {
		addr_set4(&want, ifa->s_addr);
		READ_GUARD(&s->config_lock);
		LIST_FOREACH (l, &s->links, link)
			LIST_FOREACH (a, &l->addrs, next)
				if (!found && addr_eq(&a->addr, &want))
					found = net_link_get(l);
		return found;
	}
	if (path_lookup(s, &k, &p) < 0)
		return NULL;
	found = net_link_get(p.link);
	path_release(&p);
	return found;
}

static struct ep_group *find(struct net_ep *ep, const struct in6_addr *group, struct net_link *l)
{
	struct ep_group *g;

	LIST_FOREACH (g, &ep->groups, next)
		if (addr_eq(&g->group, group) && (!l || g->link == l))
			return g;
	return NULL;
}

static int add(struct net_ep *ep, const struct in6_addr *group, struct net_link *l, bool include,
	       const struct in6_addr *source)
{
	struct netstack *s = ep->stack;
	struct ep_group *g, *o;
	long n = 0;
	int err;

	mutex_lock(&ep->lock);
	LIST_FOREACH (o, &ep->groups, next)
		n++;
	g = find(ep, group, l);
	mutex_unlock(&ep->lock);
	if (g)
		return -EADDRINUSE;
	if (n >= s->sysctl.igmp_max_memberships)
		return -ENOBUFS;
	g = net_alloc(s, sizeof(*g) + SOURCES_MAX * sizeof(g->sources[0]) * (source != NULL));
	if (!g)
		return -ENOBUFS;
	err = mcast_filter_add(l, group, include, source, source ? 1 : 0, &g->filter);
	if (err) {
		net_free(s, g);
		return err;
	}
	g->group = *group;
	g->link = net_link_get(l);
	g->include = include;
	if (source)
		g->sources[g->nsources++] = *source;
	mutex_lock(&ep->lock);
	write_lock(&s->config_lock);
	LIST_INSERT_HEAD(&ep->groups, g, next);
	write_unlock(&s->config_lock);
	mutex_unlock(&ep->lock);
	return 0;
}

int ep_join(struct net_ep *ep, const struct in6_addr *group, int ifindex, const struct in_addr *ifa)
{
	struct net_link *l;
	int err;

	if (!addr_multicast(group))
		return -EINVAL;
	l = choose_link(ep, group, ifindex, ifa);
	if (!l)
		return -ENODEV;
	err = add(ep, group, l, false, NULL);
	net_link_put(l);
	return err;
}

static void unlist(struct net_ep *ep, struct ep_group *g)
{
	WRITE_GUARD(&ep->stack->config_lock);

	LIST_REMOVE(g, next);
}

static void drop(struct net_ep *ep, struct ep_group *g)
{
	mcast_filter_drop(g->link, &g->group, g->filter);
	net_link_put(g->link);
	net_free(ep->stack, g);
}

int ep_leave(struct net_ep *ep, const struct in6_addr *group, int ifindex,
	     const struct in_addr *ifa)
{
	struct net_link *l = NULL;
	struct ep_group *g;

	if (!addr_multicast(group))
		return -EINVAL;
	if (ifindex || (ifa && ifa->s_addr)) {
		l = choose_link(ep, group, ifindex, ifa);
		if (!l)
			return -ENODEV;
	}
	mutex_lock(&ep->lock);
	g = find(ep, group, l);
	if (g)
		unlist(ep, g);
	mutex_unlock(&ep->lock);
	net_link_put(l);
	if (!g)
		return -EADDRNOTAVAIL;
	drop(ep, g);
	return 0;
}

/* Makes room for sources in a group that had none. ep->lock held. */
static struct ep_group *with_room(struct net_ep *ep, struct ep_group *g)
{
	struct ep_group *n = net_alloc(ep->stack, sizeof(*n) + SOURCES_MAX * sizeof(n->sources[0]));

	if (!n)
		return NULL;
	*n = *g;
	write_lock(&ep->stack->config_lock);
	LIST_REMOVE(g, next);
	LIST_INSERT_HEAD(&ep->groups, n, next);
	write_unlock(&ep->stack->config_lock);
	net_free(ep->stack, g);
	return n;
}

/*
 * Adds or removes a source of a group, which is of the mode `include` then; `i` is where it is, or
 * nsources. ep->lock held.
 */
static int change_source(struct net_ep *ep, struct ep_group *g, unsigned i, bool include,
			 bool add_it, const struct in6_addr *source)
{
	struct in6_addr list[SOURCES_MAX];
	unsigned n = g->nsources;
	int err;

	if (add_it != (i == n))
		return -EADDRNOTAVAIL;
	if (add_it && n >= SOURCES_MAX)
		return -ENOBUFS;
	if (!n) {
		g = with_room(ep, g);
		if (!g)
			return -ENOBUFS;
	}
	memcpy(list, g->sources, n * sizeof(list[0]));
	if (add_it)
		list[n++] = *source;
	else
		list[i] = list[--n];
	err = mcast_filter_set(g->link, &g->group, &g->filter, include, list, n);
	if (err)
		return err;
	WRITE_GUARD(&ep->stack->config_lock);
	memcpy(g->sources, list, n * sizeof(list[0]));
	g->include = include;
	g->nsources = n;
	return 0;
}

int ep_group_source(struct net_ep *ep, const struct in6_addr *group, int ifindex,
		    const struct in_addr *ifa, const struct in6_addr *source, bool include,
		    bool add_it)
{
	struct net_link *l;
	struct ep_group *g, *gone = NULL;
	unsigned i;
	int err = 0;

	if (!addr_multicast(group))
		return -EINVAL;
	l = choose_link(ep, group, ifindex, ifa);
	if (!l)
		return -ENODEV;
	mutex_lock(&ep->lock);
	g = find(ep, group, l);
	if (!g) {
		mutex_unlock(&ep->lock);
		err = include && add_it ? add(ep, group, l, true, source) : -EINVAL;
		net_link_put(l);
		return err;
	}
	for (i = 0; i < g->nsources && !addr_eq(&g->sources[i], source); i++)
		;
	if (g->include != include && (g->nsources || !add_it)) {
		err = -EINVAL; /* the mode changes only while no source is listed */
	} else if (include && !add_it && i == 0 && g->nsources == 1) {
		unlist(ep, g); /* to include nothing is to leave */
		gone = g;
	} else {
		err = change_source(ep, g, i, include, add_it, source);
	}
	mutex_unlock(&ep->lock);
	if (gone)
		drop(ep, gone);
	net_link_put(l);
	return err;
}

void ep_leave_all(struct net_ep *ep)
{
	struct ep_group *g;

	for (;;) {
		mutex_lock(&ep->lock);
		g = LIST_FIRST(&ep->groups);
		if (g)
			unlist(ep, g);
		mutex_unlock(&ep->lock);
		if (!g)
			return;
		drop(ep, g);
	}
}

bool ep_group_match(struct net_ep *ep, const struct in6_addr *group, const struct in6_addr *src,
		    int ifindex)
{
	struct ep_group *g;
	READ_GUARD(&ep->stack->config_lock);

	LIST_FOREACH (g, &ep->groups, next) {
		bool listed = false;

		if (!addr_eq(&g->group, group) || (ifindex && g->link->index != ifindex))
			continue;
		for (unsigned i = 0; i < g->nsources; i++)
			listed |= addr_eq(&g->sources[i], src);
		return listed == g->include;
	}
	/* IP_MULTICAST_ALL: groups that anybody on this host has joined. */
	return addr_is4(group) ? ep->opt.mcast_all : true;
}
