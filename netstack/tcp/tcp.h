/*
 * TCP, for who makes endpoints, counts them and takes stacks down. Segments and errors come in by
 * the upcalls of ip/ and icmp/.
 */
#ifndef MOAT_NETSTACK_TCP_TCP_H
#define MOAT_NETSTACK_TCP_TCP_H

#include "netstack/socket/socket.h"

extern const struct ep_proto tcp_proto;

/* Is data or the FIN of a connection that was shut down not acknowledged yet? */
bool tcp_lingering(struct net_ep *ep);
/* The connection ends with the error, and its peer is told, if it can be; a listener stays.
 * (tcp_open.c) */
void tcp_abort(struct net_ep *ep, int err);
/*
 * Sends the ACK of received data that was put off by net_defer_ack, unless data has carried it
 * since. (tcp_recv.c)
 */
void tcp_deferred_ack(struct net_ep *ep);
/* net_ep_each for connections in SYN-RECEIVED, which have no endpoint yet. (tcp_listen.c) */
int tcp_each_request(struct netstack *s, int (*fn)(void *arg, const struct net_ep_info *i),
		     void *arg);
/* Drops those connections. */
void tcp_requests_purge(struct netstack *s);

#endif
