/* Inside of the ICMP room: where errors of ICMP and ICMPv6 meet. */
#ifndef MOAT_NETSTACK_ICMP_ICMP_INTERNAL_H
#define MOAT_NETSTACK_ICMP_ICMP_INTERNAL_H

#include "netstack/icmp/icmp.h"

/* Hands an ICMP error to the endpoint that sent the packet in b (at its transport header).
 * (icmp4.c) */
void icmp_notify(struct netstack *s, uint8_t l4proto, const struct in6_addr *src,
		 const struct in6_addr *dst, int err, uint8_t type, uint8_t code, uint32_t info,
		 bool hard, struct nbuf *b);

#endif
