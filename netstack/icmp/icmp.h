/* ICMP and ICMPv6 for the rooms above. What IP asks of ICMP is in ip/ip_upcalls.h. */
#ifndef MOAT_NETSTACK_ICMP_ICMP_H
#define MOAT_NETSTACK_ICMP_ICMP_H

#include "netstack/ip/ip.h"

/* Destination unreachable, port: the one that transports send. */
void icmp_port_unreachable(struct netstack *s, struct nbuf *b);
/* ICMPv6 message with pseudo-header checksum (RFC 4443 §2.3) from b at the ICMPv6 header. */
void icmp6_fill_csum(struct nbuf *b, const struct in6_addr *src, const struct in6_addr *dst);

#endif
