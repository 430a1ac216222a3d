/* What the port table asks of TCP, which includes this and defines these. (tcp/tcp_state.c) */
#ifndef MOAT_NETSTACK_DEMUX_DEMUX_UPCALLS_H
#define MOAT_NETSTACK_DEMUX_DEMUX_UPCALLS_H

#include <stdbool.h>

struct net_ep;

/* Does the TCP endpoint listen? */
bool tcp_is_listener(const struct net_ep *ep);
/*
 * `by` wants the 4-tuple of the TCP connection `old`, which may be in TIME-WAIT. True: it is free
 * now. The lock of `by` is held; takes that of `old`.
 */
bool tcp_timewait_reuse(struct net_ep *old, struct net_ep *by);

#endif
