/* What addresses ask of the rooms above them, which include this and define these. */
#ifndef MOAT_NETSTACK_ROUTE_ROUTE_UPCALLS_H
#define MOAT_NETSTACK_ROUTE_ROUTE_UPCALLS_H

#include <netinet/in.h>

struct net_link;

/* Tells the others on the link of a new IPv4 address: RFC 5227. (discovery/arp.c) */
void arp_announce(struct net_link *l, const struct in6_addr *addr);
/* The link has a link-local address: looks for routers. (discovery/slaac.c) */
void slaac_link_up(struct net_link *l);
/*
 * Joins a link to a group with all sources, from which there must be as many leaves. -ENOBUFS,
 * -EADDRNOTAVAIL. (mcast/mcast.c)
 */
int mcast_join(struct net_link *l, const struct in6_addr *group);
int mcast_leave(struct net_link *l, const struct in6_addr *group);

#endif
