/* What ICMP asks of the rooms above it, which include this and define these. */
#ifndef MOAT_NETSTACK_ICMP_ICMP_UPCALLS_H
#define MOAT_NETSTACK_ICMP_ICMP_UPCALLS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct nbuf;
struct netstack;

/* Echo replies to ping endpoints; does not consume. (raw/ping.c) */
bool ping_input(struct netstack *s, struct nbuf *b);
/*
 * NDP (RFC 4861) and MLD: b at the ICMPv6 header, checksum right; stays the caller's.
 * (discovery/ndp.c, mcast/mcast_input.c)
 */
void ndp_input(struct netstack *s, struct nbuf *b);
void mld_input(struct netstack *s, struct nbuf *b);

/*
 * An ICMP error about a packet from src to dst that an endpoint here may have sent: err is the
 * errno, `hard` that Linux reports it on unconnected or established sockets too, `info` the new MTU
 * or 0. b is at the offending packet's transport header and stays the caller's.
 * (tcp/tcp_input.c, udp/udp.c, raw/raw.c, raw/ping.c)
 */
void tcp_icmp(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst, int err,
	      uint8_t type, uint8_t code, uint32_t info, bool hard, struct nbuf *b);
void udp_icmp(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst, int err,
	      uint8_t type, uint8_t code, uint32_t info, bool hard, struct nbuf *b);
void raw_icmp(struct netstack *s, uint8_t protocol, const struct in6_addr *src,
	      const struct in6_addr *dst, int err, uint8_t type, uint8_t code, uint32_t info,
	      bool hard, struct nbuf *b);
void ping_icmp_error(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst,
		     uint16_t id, int err, uint8_t type, uint8_t code, uint32_t info, bool hard,
		     struct nbuf *b);

#endif
