/* Inside of the link room: the common part, the queueing discipline and the capture. */
#ifndef MOAT_NETSTACK_LINK_LINK_INTERNAL_H
#define MOAT_NETSTACK_LINK_LINK_INTERNAL_H

#include "netstack/link/link.h"

/* Hands the frame to the device: after the queueing discipline. */
int link_xmit_now(struct net_link *l, struct nbuf *b);

/* Queueing discipline: fifo. (qdisc.c) */
struct qdisc *qdisc_create(struct netstack *s, unsigned limit);
void qdisc_destroy(struct netstack *s, struct qdisc *q);
int qdisc_enqueue(struct net_link *l, struct nbuf *b);

/* pcap. (capture.c) */
void link_capture_frame(struct net_link *l, struct nbuf *b);

#endif
