/*
 * What a link asks of the rooms above it. They include this and define these; links know no more of
 * them.
 */
#ifndef MOAT_NETSTACK_LINK_LINK_UPCALLS_H
#define MOAT_NETSTACK_LINK_LINK_UPCALLS_H

#include <stdbool.h>

struct nbuf;
struct net_link;
struct net_link_info;

/* A frame that came in, without its link header. Consume b. */
void arp_input(struct net_link *l, struct nbuf *b); /* discovery/arp.c */
void ip4_input(struct net_link *l, struct nbuf *b); /* ip/ip4_input.c */
void ip6_input(struct net_link *l, struct nbuf *b); /* ip/ip6_input.c */
/* A frame that comes or goes, for packet endpoints; b stays the caller's. (raw/packet.c) */
void packet_tap(struct net_link *l, struct nbuf *b, bool outgoing);

/* Bridge: input of a port. True when the frame was consumed. (device/bridge.c) */
bool bridge_input(struct net_link *bridge, struct net_link *port, struct nbuf *b);
void bridge_port_gone(struct net_link *bridge, struct net_link *port);
/* One end of a pair was removed: removes the other. (device/link_virtual.c) */
void veth_detach(struct net_link *l);
/* Fills in where the other end is. Is it up? A leaf as to locks. */
bool veth_describe_peer(struct net_link *l, struct net_link_info *i);
/* The end came up or went down: the other has a carrier, or none. */
void veth_carrier_changed(struct net_link *l);
/* Lets go of the fds: called once, by net_link_remove. (device/link_fd.c) */
void link_fd_detach(struct net_link *l);

/* Link came up: link-local address, DAD for waiting addresses. (route/addr.c) */
void addr_link_up(struct net_link *l);
/* Its groups are reported anew. (mcast/mcast.c) */
void mcast_link_up(struct net_link *l);

/* The link is down, or goes. With config_lock held for writing: (route/addr.c, route/route.c) */
void addr_flush_locked(struct net_link *l, bool v6_only_dynamic);
void route_flush_link_locked(struct net_link *l, bool only_v6_dynamic);
/* Without it: (neigh/neigh.c, mcast/mcast.c, discovery/slaac.c) */
void neigh_flush_link(struct net_link *l);
void mcast_flush_link(struct net_link *l);
void slaac_link_down(struct net_link *l);

#endif
