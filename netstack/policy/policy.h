/* The egress policy (netstack/egress.h), for the rooms that it stands in the way of. */
#ifndef MOAT_NETSTACK_POLICY_POLICY_H
#define MOAT_NETSTACK_POLICY_POLICY_H

#include "netstack/core/core.h"
#include "netstack/egress.h"

/* Has reports put off by net_leave delivered. (policy.c) */
void egress_tell(struct netstack *s, const struct net_egress_refusal *r);
/* net_egress_set() without its effect on connections. */
int egress_set(struct netstack *s, const struct net_egress_config *c);

int egress_create(struct netstack *s);
void egress_destroy(struct netstack *s);

/* Where a packet's headers are. */
struct egress_frame {
	struct nbuf *b;
	size_t off;	   /* of the network header from b->data */
	uint16_t protocol; /* ETH_P_*, host order */
};

/*
 * May this leave? Locks of endpoints, neighbours and links may be held. 0, or -EPERM, which has
 * been reported; b stays the caller's. *answer: NULL, or an IP packet of *answer_protocol that is
 * to come in instead: what a resolver would say to the question that was refused.
 */
int egress_output(struct netstack *s, const struct egress_frame *f, struct nbuf **answer,
		  uint16_t *answer_protocol);
/* A packet has come in by a link that leads out. Of its bytes nothing has been checked. */
void egress_input(struct netstack *s, const struct egress_frame *f);

/*
 * Would a first packet of it leave? So that the caller of connect and send learns at once what
 * egress_output would do. 0, or -EPERM, which has been reported. The endpoint's lock may be held.
 */
int egress_may_begin(struct netstack *s, const struct net_egress_flow *f);
/* Would its packets still leave? Nothing is reported. */
bool egress_may_go_on(struct netstack *s, const struct net_egress_flow *f);

#endif
