/* What UDP, ping, raw and packet endpoints share: receive queue, error queue, control messages. */
#ifndef MOAT_NETSTACK_DGRAM_DGRAM_H
#define MOAT_NETSTACK_DGRAM_DGRAM_H

#include <linux/if_packet.h>

#include "netstack/ip/ip.h"
#include "netstack/socket/socket.h"

struct dgram_ep {
	struct net_ep ep;
	uint16_t gso_size; /* UDP_SEGMENT */
	atomic_bool gro;   /* read without the lock */
	bool no_check6_tx, no_check6_rx;
	bool listed;	      /* in the stack's list of its kind */
	uint32_t icmp_filter; /* raw IPv4: bit set = dropped */
	uint32_t icmp6_filter[8];
	int checksum_off; /* raw IPv6: IPV6_CHECKSUM, -1 off */
	bool auxdata;
	uint32_t stat_packets, stat_drops; /* PACKET_STATISTICS */
	struct net_link *promisc_link;
};

static inline struct dgram_ep *dgram(struct net_ep *ep)
{
	return (struct dgram_ep *)ep;
}

/*
 * Queues b for reading; b->data at what the reader gets. Takes the lock; consumes b. False when
 * the filter or the full queue dropped it.
 */
bool dgram_queue(struct net_ep *ep, struct nbuf *b);
ssize_t dgram_recvmsg(struct net_ep *ep, struct net_msg *m, int flags);
ssize_t dgram_recv_nbuf(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
			struct sockaddr *from, socklen_t *fromlen);
uint32_t dgram_readiness(struct net_ep *ep);
int dgram_ioctl(struct net_ep *ep, unsigned long request, int *value);
int dgram_shutdown(struct net_ep *ep, int how);
/* Destination, control messages, flags: fills tx. -EDESTADDRREQ, -EINVAL ... */
int dgram_prepare(struct net_ep *ep, const struct net_msg *m, int flags, struct dgram_tx *tx);
/* Total length of an iovec; -EMSGSIZE. */
ssize_t iov_total(const struct net_msg *m);
/* A buffer with `headroom` and the iovec's n bytes. */
struct nbuf *dgram_build(struct net_ep *ep, const struct net_msg *m, size_t n);
/* The path for tx, and what the IP header gets. */
int dgram_route(struct net_ep *ep, const struct dgram_tx *tx, struct net_path *p, struct ip_tx *ip);
/* Parses a connect address and sets the peer. */
int dgram_connect(struct net_ep *ep, const struct sockaddr *a, socklen_t len, bool ports);
/*
 * Puts an error onto the IP_RECVERR queue (man 7 ip); b at the payload of the offending packet, or
 * NULL. ep->lock held.
 */
void errq_add(struct net_ep *ep, int err, uint8_t origin, uint8_t type, uint8_t code, uint32_t info,
	      const struct in6_addr *offender, const struct in6_addr *dst, uint16_t port,
	      struct nbuf *b);
/* What an ICMP error means for a datagram endpoint: error queue, SO_ERROR. */
void dgram_icmp(struct net_ep *ep, int err, uint8_t type, uint8_t code, uint32_t info, bool hard,
		const struct in6_addr *dst, uint16_t port, size_t hdr, struct nbuf *b);

#endif
