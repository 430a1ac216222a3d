/* IP: output, fragments, and what others need of the format. IPv4 and IPv6. */
#ifndef MOAT_NETSTACK_IP_IP_H
#define MOAT_NETSTACK_IP_IP_H

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include "netstack/buffer/checksum.h"
#include "netstack/link/link.h"
#include "netstack/route/route.h"

/* ICMP for IPv4, RFC 792. The system's headers for it clash with one another. */
struct icmp4_hdr {
	uint8_t type, code;
	uint16_t checksum;
	uint16_t id, seq; /* echo; unreachable: seq is the MTU of the next hop */
};
#define ICMP4_ECHO_REPLY 0
#define ICMP4_UNREACH 3
#define ICMP4_ECHO 8
#define ICMP4_TIME_EXCEEDED 11
#define ICMP4_PARAM_PROBLEM 12
#define ICMP4_TIMESTAMP 13
#define ICMP4_UNREACH_HOST 1
#define ICMP4_UNREACH_PROTO 2
#define ICMP4_UNREACH_PORT 3
#define ICMP4_UNREACH_FRAG 4
#define ICMP4_TIME_REASS 1

/* What a transport wants of a packet that it sends. */
struct ip_tx {
	uint8_t protocol;
	uint8_t tos;	    /* IPv4 TOS or IPv6 traffic class */
	int ttl;	    /* -1: default */
	bool df;	    /* IPv4: don't fragment; IPv6: never fragment here */
	bool no_frag_check; /* TSO packets: the link cuts them */
	bool is_mcast_loop; /* copy to ourselves if we are members */
	bool router_alert;  /* IGMP, MLD */
	uint32_t mtu;	    /* 0: path's */
	uint16_t id;	    /* IPv4 identification to use with df; 0: chosen */
};

/*
 * Puts the IP header on b (data at the transport header) and sends it along p. Fragments when
 * needed and allowed, else -EMSGSIZE. Consumes b. RFC 791, RFC 6864 (identification), RFC 8200.
 */
int ip_output(struct netstack *s, struct net_path *p, struct nbuf *b, const struct ip_tx *tx);
/* Sends what has an IP header already (IP_HDRINCL, fragments). Consumes b. */
int ip_output_raw(struct netstack *s, struct net_path *p, struct nbuf *b);
/* Routes and sends a packet of the stack itself. src may be unspecified. Consumes b. */
int ip_send(struct netstack *s, const struct in6_addr *dst, const struct in6_addr *src, int oif,
	    struct nbuf *b, const struct ip_tx *tx);
/* Sends on a link without routing: IGMP, MLD, NDP, with the link-layer address known if not NULL.
 */
int ip_send_link(struct net_link *l, const struct in6_addr *dst, const struct in6_addr *src,
		 struct nbuf *b, const struct ip_tx *tx);

/* TCP or UDP checksum of b (at the transport header); true when right or trusted. */
bool ip_l4_csum_ok(struct nbuf *b);

/* Reassembly. (reass.c) */
int reass_create(struct netstack *s);
void reass_destroy(struct netstack *s);
/* Drops what is incomplete. */
void reass_purge(struct netstack *s);

/* Skips hop-by-hop, routing and destination options of a packet whose IPv6 header is at p.
 * Returns the transport protocol and its offset, or -1. Sets *frag when a fragment header with a
 * non-zero offset was met. */
int ip6_skip_headers(const uint8_t *p, size_t len, size_t *off, bool *frag);

#endif
