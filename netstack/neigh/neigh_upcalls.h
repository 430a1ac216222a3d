/* What the table of neighbours asks of the rooms above it, which include this and define these. */
#ifndef MOAT_NETSTACK_NEIGH_NEIGH_UPCALLS_H
#define MOAT_NETSTACK_NEIGH_NEIGH_UPCALLS_H

#include <netinet/in.h>
#include <stdint.h>

struct nbuf;
struct net_link;
struct netstack;

/* Send a request: ARP or neighbour solicitation; lladdr NULL: multicast. (discovery/) */
void arp_solicit(struct net_link *l, const struct in6_addr *target, const uint8_t *lladdr);
void ndp_solicit(struct net_link *l, const struct in6_addr *target, const uint8_t *lladdr);
/*
 * A neighbour did not answer: tells the sender of b, a packet of ours at its IP header, with the
 * ICMP error that Linux fakes. Consumes b. (icmp/icmp4.c)
 */
void ip_unreachable_host(struct netstack *s, struct nbuf *b);

#endif
