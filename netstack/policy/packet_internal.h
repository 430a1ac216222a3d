/* Reading the heads of packets that a guest may have made by hand. */
#ifndef MOAT_NETSTACK_POLICY_PACKET_INTERNAL_H
#define MOAT_NETSTACK_POLICY_PACKET_INTERNAL_H

#include "netstack/policy/policy.h"

#define PACKET_HEAD 192

struct packet {
	struct in6_addr src, dst; /* IPv4 as ::ffff:a.b.c.d */
	uint8_t protocol, ttl;	  /* of the transport */
	bool fragment, first;
	uint32_t id;	  /* of a fragment */
	size_t transport; /* where its header begins, from the network header */
	size_t len;	  /* bytes from there on, as IP says; all there */
	bool has_ports;	  /* sport and dport are read */
	uint16_t sport, dport;
	uint8_t flags;		   /* TCP's */
	uint8_t type;		   /* ICMP's */
	uint8_t head[PACKET_HEAD]; /* the first bytes from the network header on */
	size_t have;		   /* of them */
};

/*
 * False: it is not what its headers say; source routes are there, which would lead it elsewhere;
 * or its first fragment does not hold what rules are about. The addresses are read if they are
 * there.
 */
bool packet_read(const struct egress_frame *f, struct packet *p);

#endif
