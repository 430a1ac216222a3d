/* What IP asks of the rooms above it, which include this and define these. */
#ifndef MOAT_NETSTACK_IP_IP_UPCALLS_H
#define MOAT_NETSTACK_IP_IP_UPCALLS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct nbuf;
struct net_link;
struct netstack;

/*
 * Transport input. b->data is at the transport header, b->src, dst, l4proto, tos, ttl, mcast, net
 * are set. Consume b.
 */
void tcp_input(struct netstack *s, struct nbuf *b);   /* tcp/tcp_input.c */
void udp_input(struct netstack *s, struct nbuf *b);   /* udp/udp.c */
void icmp4_input(struct netstack *s, struct nbuf *b); /* icmp/icmp4.c */
void icmp6_input(struct netstack *s, struct nbuf *b); /* icmp/icmp6.c */
void igmp_input(struct netstack *s, struct nbuf *b);  /* mcast/mcast_input.c */
/* True if a raw endpoint took (a clone of) the packet. (raw/raw.c) */
bool raw_input(struct netstack *s, struct nbuf *b);

/* Is the link a member of the group? (mcast/mcast.c) */
bool mcast_member(struct net_link *l, const struct in6_addr *group);

/*
 * ICMP errors. b is the offending packet with b->net at its IP header. Not sent for errors,
 * fragments, multicasts and broadcasts (RFC 1122 §3.2.2, RFC 4443 §2.4e), and rate-limited.
 * (icmp/icmp4.c, icmp/icmp6.c)
 */
void icmp4_error(struct netstack *s, struct nbuf *b, uint8_t type, uint8_t code, uint32_t info);
void icmp6_error(struct netstack *s, struct nbuf *b, uint8_t type, uint8_t code, uint32_t info);

#endif
