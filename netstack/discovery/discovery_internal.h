/* Inside of the discovery room. */
#ifndef MOAT_NETSTACK_DISCOVERY_DISCOVERY_INTERNAL_H
#define MOAT_NETSTACK_DISCOVERY_DISCOVERY_INTERNAL_H

struct nbuf;
struct net_link;

/* A router advertisement, at its ICMPv6 header and linear. (slaac.c) */
void slaac_router_advert(struct net_link *l, struct nbuf *b);

#endif
