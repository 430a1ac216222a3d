/* Inside of the IP room: reassembly, and where IPv4 and IPv6 input meet. */
#ifndef MOAT_NETSTACK_IP_IP_INTERNAL_H
#define MOAT_NETSTACK_IP_IP_INTERNAL_H

#include "netstack/ip/ip.h"

/* Hands b, at the transport header, to the transport; consumes it. (ip4_input.c) */
void ip_deliver(struct netstack *s, struct nbuf *b);

/* Reassembly. (reass.c) */
struct reass_key {
	struct in6_addr src, dst;
	uint32_t id;
	uint8_t protocol;
	int ifindex;
};
/*
 * Adds a fragment: b->data at the fragment's payload, `offset` in bytes, b->net at the IP header,
 * which the first fragment's headers (hdr_len bytes from b->net) lend to the result. Consumes b.
 * Returns the whole packet (data after the headers), or NULL.
 */
struct nbuf *reass_add(struct netstack *s, const struct reass_key *k, struct nbuf *b,
		       uint32_t offset, bool more, uint16_t hdr_len, uint8_t ecn);

#endif
