/*
 * What tests of the egress policy share. Side 0 of the world has it; side 1 is what is outside, and
 * the name server, at 10.0.0.2 and fd00::2, by which everything else is reached.
 */
#ifndef MOAT_TEST_NETSTACK_EGRESS_WORLD_H
#define MOAT_TEST_NETSTACK_EGRESS_WORLD_H

#include "world.h"

#include "netstack/egress.h"

/* What was reported last, and how often. */
extern struct net_egress_refusal last;
extern unsigned nrefused;
/* IP packets that side 0 has put on the wire, without what keeps the link going. */
extern unsigned on_wire;

/* "192.0.2.1", or all 32 digits of an address of IPv6. */
struct in6_addr address(const char *text);
/* port 0: any. */
struct net_egress_rule by_address(bool allow, const char *text, unsigned prefix, uint8_t protocol,
				  uint16_t port);
struct net_egress_rule by_name(bool allow, const char *name, uint16_t port);
void set(struct world *w, bool allow, const struct net_egress_rule *rules, unsigned n);
void set_one(struct world *w, bool allow, struct net_egress_rule rule);

void start(struct world *w);
/* From side 0, by sockets that are closed again: 0 or -errno. */
int connect_to(struct world *w, const char *to, uint16_t port);
int send_datagram(struct world *w, const char *to, uint16_t port);
/* Side 1 connects to side 0. */
void connect_from_outside(struct world *w, struct net_ep **client, struct net_ep **server);
/* One refusal has been reported, for that reason. */
void assert_refused(enum net_egress_reason reason);

#endif
