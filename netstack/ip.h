/* The IP layer: input dispatch, output, fragments, ICMP. IPv4 and IPv6. */
#ifndef MOAT_NETSTACK_IP_H
#define MOAT_NETSTACK_IP_H

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>

#include "netstack/checksum.h"
#include "netstack/link.h"
#include "netstack/path.h"

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

/*
 * Transport input. b->data is at the transport header, b->src, dst, l4proto, tos, ttl, mcast, net
 * are set. Consume b. ip_deliver returns false for an unknown protocol (b is then still there).
 */
void ip_deliver(struct netstack *s, struct nbuf *b);
void tcp_input(struct netstack *s, struct nbuf *b);
void udp_input(struct netstack *s, struct nbuf *b);
void icmp4_input(struct netstack *s, struct nbuf *b);
void icmp6_input(struct netstack *s, struct nbuf *b);
void igmp_input(struct netstack *s, struct nbuf *b);
/* True if a raw endpoint took (a clone of) the packet. */
bool raw_input(struct netstack *s, struct nbuf *b);
/* Echo replies to ping endpoints; does not consume. */
bool ping_input(struct netstack *s, struct nbuf *b);
void ping_icmp_error(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst,
		     uint16_t id, int err, uint8_t type, uint8_t code, uint32_t info, bool hard,
		     struct nbuf *b);

/* TCP or UDP checksum of b (at the transport header); true when right or trusted. */
bool ip_l4_csum_ok(struct nbuf *b);

/*
 * ICMP errors. b is the offending packet with b->net at its IP header. Not sent for errors,
 * fragments, multicasts and broadcasts (RFC 1122 §3.2.2, RFC 4443 §2.4e), and rate-limited.
 */
void icmp4_error(struct netstack *s, struct nbuf *b, uint8_t type, uint8_t code, uint32_t info);
void icmp6_error(struct netstack *s, struct nbuf *b, uint8_t type, uint8_t code, uint32_t info);
/* Destination unreachable, port: the one that transports send. */
void icmp_port_unreachable(struct netstack *s, struct nbuf *b);
/* Hands an ICMP error to the endpoint that sent the packet in b (at its transport header). */
void icmp_notify(struct netstack *s, uint8_t l4proto, const struct in6_addr *src,
		 const struct in6_addr *dst, int err, uint8_t type, uint8_t code, uint32_t info,
		 bool hard, struct nbuf *b);
void tcp_icmp(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst, int err,
	      uint8_t type, uint8_t code, uint32_t info, bool hard, struct nbuf *b);
void udp_icmp(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst, int err,
	      uint8_t type, uint8_t code, uint32_t info, bool hard, struct nbuf *b);
void raw_icmp(struct netstack *s, uint8_t protocol, const struct in6_addr *src,
	      const struct in6_addr *dst, int err, uint8_t type, uint8_t code, uint32_t info,
	      bool hard, struct nbuf *b);
/* A neighbour did not answer: tells the sender of b with the ICMP error that Linux fakes. */
void ip_unreachable_host(struct netstack *s, struct nbuf *b);

/* Reassembly. (reass.c) */
struct reass_key {
	struct in6_addr src, dst;
	uint32_t id;
	uint8_t protocol;
	int ifindex;
};
int reass_create(struct netstack *s);
void reass_destroy(struct netstack *s);
void reass_purge(struct netstack *s);
/*
 * Adds a fragment: b->data at the fragment's payload, `offset` in bytes, b->net at the IP header,
 * which the first fragment's headers (hdr_len bytes from b->net) lend to the result. Consumes b.
 * Returns the whole packet (data after the headers), or NULL.
 */
struct nbuf *reass_add(struct netstack *s, const struct reass_key *k, struct nbuf *b,
		       uint32_t offset, bool more, uint16_t hdr_len, uint8_t ecn);

/* NDP, RFC 4861. b at the ICMPv6 header, checked: hop limit 255, checksum. (ndp.c, slaac.c) */
void ndp_input(struct netstack *s, struct nbuf *b);
void slaac_router_advert(struct net_link *l, struct nbuf *b);
void slaac_link_up(struct net_link *l);
void slaac_link_down(struct net_link *l);
void mld_input(struct netstack *s, struct nbuf *b);
/* Skips hop-by-hop, routing and destination options of a packet whose IPv6 header is at p.
 * Returns the transport protocol and its offset, or -1. Sets *frag when a fragment header with a
 * non-zero offset was met. */
int ip6_skip_headers(const uint8_t *p, size_t len, size_t *off, bool *frag);
/* The multicast group that solicits for an address: RFC 4291 §2.7.1. */
void ip6_solicited_node(const struct in6_addr *a, struct in6_addr *group);
/* ICMPv6 message with pseudo-header checksum (RFC 4443 §2.3) from b at the ICMPv6 header. */
void icmp6_fill_csum(struct nbuf *b, const struct in6_addr *src, const struct in6_addr *dst);

void tcp_requests_purge(struct netstack *s);

#endif
