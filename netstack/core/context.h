/*
 * What a thread puts off until it holds no lock. Declared here, where everybody finds it; done at
 * the top (stack/context.c), by what knows links, endpoints and TCP.
 */
#ifndef MOAT_NETSTACK_CORE_CONTEXT_H
#define MOAT_NETSTACK_CORE_CONTEXT_H

#include <stdint.h>

#include "base/compiler.h"

struct nbuf;
struct net_ep;
struct net_egress_refusal;
struct net_event;
struct net_link;
struct netstack;

/*
 * Every entry into the stack (public call that can send, input, timer) runs between net_enter and
 * net_leave. The outermost net_leave, holding no lock, delivers what was queued meanwhile:
 * loopback packets, link flushes, readiness callbacks, events.
 */
void net_enter(void);
void net_leave(void);
static inline void net_leave_guard(int *unused)
{
	net_leave();
}
#define NET_CONTEXT()                                                                              \
	int __cleanup(net_leave_guard)                                                             \
	__maybe_unused net_context_ = 0;                                                           \
	net_enter()
/* Queues a packet to be given to net_link_input of `l` by this thread's net_leave; drops it when
 * there have been too many since net_enter. */
void net_defer_input(struct net_link *l, struct nbuf *b);
/* Has l's flush called by net_leave. */
void net_defer_flush(struct net_link *l);
/* Has the endpoint's callback called by net_leave with these events added. */
void net_defer_ready(struct net_ep *ep, uint32_t events);
/* Has tcp_deferred_ack called for the endpoint, once per batch of input. ep->lock held. */
void net_defer_ack(struct net_ep *ep);
/* Has the configuration event reported by net_leave. Copies ev. */
void net_defer_event(struct netstack *s, const struct net_event *ev);
/* Has the refusal reported likewise. Copies r. */
void net_defer_refusal(struct netstack *s, const struct net_egress_refusal *r);

#endif
