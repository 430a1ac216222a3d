/* Inside of the datagram room: the error queue and control messages of a receive. */
#ifndef MOAT_NETSTACK_DGRAM_DGRAM_INTERNAL_H
#define MOAT_NETSTACK_DGRAM_DGRAM_INTERNAL_H

#include "netstack/dgram/dgram.h"

/* MSG_ERRQUEUE: takes the first error off. -EAGAIN. (errqueue.c) */
ssize_t errq_recv(struct net_ep *ep, struct net_msg *m, int flags);
/* Appends a cmsg to m, whose `used` bytes are taken. */
void cmsg_put(struct net_msg *m, size_t *used, int level, int type, const void *data, size_t n);
/* The cmsgs that every IP packet brings along, as the options ask. */
void cmsg_put_ip(struct net_ep *ep, struct net_msg *m, size_t *used, const struct nbuf *b);

#endif
