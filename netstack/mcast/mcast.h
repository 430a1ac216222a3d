/*
 * Multicast groups of links, for endpoints: who listens to what. Endpoints' memberships are in
 * socket/membership.c.
 */
#ifndef MOAT_NETSTACK_MCAST_MCAST_H
#define MOAT_NETSTACK_MCAST_MCAST_H

#include <netinet/in.h>
#include <stdbool.h>

struct mcast_filter; /* one listener's wish */
struct net_link;

/* Sources of one filter, and of a link's state of a group. */
#define MCAST_SOURCES_MAX 64

/*
 * Adds a wish, replaces or removes it. The reports leave from a timer. Any lock up to the
 * endpoint's may be held. -ENOBUFS; a replacement that fails leaves the old one.
 */
int mcast_filter_add(struct net_link *l, const struct in6_addr *group, bool include,
		     const struct in6_addr *sources, unsigned n, struct mcast_filter **out);
int mcast_filter_set(struct net_link *l, const struct in6_addr *group, struct mcast_filter **f,
		     bool include, const struct in6_addr *sources, unsigned n);
void mcast_filter_drop(struct net_link *l, const struct in6_addr *group, struct mcast_filter *f);

#endif
