/* Neighbours: the link addresses of what is on the same link, for IPv4 and IPv6. */
#ifndef MOAT_NETSTACK_NEIGH_NEIGH_H
#define MOAT_NETSTACK_NEIGH_NEIGH_H

#include "netstack/core/core.h"

struct neigh;

int neigh_table_create(struct netstack *s);
void neigh_table_destroy(struct netstack *s);
/* The entry for addr on l, made if absent; counted. NULL when the table is full. */
struct neigh *neigh_get(struct net_link *l, const struct in6_addr *addr, bool create);
void neigh_put(struct neigh *n);
struct neigh *neigh_ref(struct neigh *n);
/* Sends to the neighbour, resolving first. Consumes b. */
int neigh_output(struct neigh *n, struct nbuf *b);
/* What an ARP or ND message proved. */
enum neigh_evidence {
	NEIGH_REQUEST,		 /* a request from it: link address learned, reachability not */
	NEIGH_REPLY,		 /* solicited answer: reachable */
	NEIGH_UNSOLICITED,	 /* announcement */
	NEIGH_OVERRIDE = 16,	 /* flag: may replace another link address */
	NEIGH_ROUTER = 32,	 /* flag: it is a router */
	NEIGH_ROUTER_KNOWN = 64, /* flag: NEIGH_ROUTER is meaningful */
	NEIGH_CREATE = 128,	 /* flag: make an entry if there is none */
};
void neigh_update(struct net_link *l, const struct in6_addr *addr, const uint8_t lladdr[6],
		  unsigned evidence);
/* The transport got proof that packets arrive (RFC 4861 §7.3.1). */
void neigh_confirm(struct neigh *n);

#endif
