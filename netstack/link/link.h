/*
 * Links inside the stack: attachment, transmit and receive of frames. What the rooms above do for
 * a link is in link_upcalls.h.
 */
#ifndef MOAT_NETSTACK_LINK_LINK_H
#define MOAT_NETSTACK_LINK_LINK_H

#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>

#include "netstack/core/core.h"

#define ETH_ALEN_ 6
/* Headroom that every packet made here leaves for link, VLAN and network headers. */
#define NET_HEADROOM 128
#define NET_MIN_MTU 68
#define NET_MAX_MTU 65535

struct link_addr;
struct mcast_group;
struct qdisc;
struct bridge;
LIST_HEAD(link_addr_list, link_addr);
LIST_HEAD(mcast_list, mcast_group);

struct link_stats {
	atomic_ullong rx_packets, tx_packets, rx_bytes, tx_bytes;
	atomic_ullong rx_errors, tx_errors, rx_dropped, tx_dropped, multicast;
};

struct net_link {
	struct refcount refs;
	struct netstack *stack;	   /* counted */
	LIST_ENTRY(net_link) link; /* netstack.links, under config_lock */
	int index;
	char name[16];
	enum net_link_kind kind;
	unsigned short type; /* ARPHRD_* */
	atomic_uint flags;
	atomic_bool removed; /* set under config_lock */
	unsigned mtu;
	unsigned features;
	unsigned gso_max;
	unsigned txqlen;
	uint8_t addr[6];
	const struct net_link_ops *ops;
	void *priv;
	struct link_stats stats;
	struct link_addr_list addrs; /* under config_lock */
	struct mcast_list groups;    /* under config_lock */
	struct slaac *slaac;	     /* router discovery, under config_lock */
	struct igmp_state *igmp;     /* querier version, under config_lock */
	struct mutex tx_lock;	     /* capture, qdisc */
	struct qdisc *qdisc;	     /* NULL: none */
	int capture_fd;		     /* -1: none */
	unsigned capture_snap;
	atomic_bool capturing;
	struct net_link
		*_Atomic master; /* bridge; counted; written under config_lock, and followed */
};

/* Allocates and registers a link; the reference in *out is the caller's. */
int link_register(struct netstack *s, enum net_link_kind kind, const struct net_link_config *c,
		  const char *pattern, const struct net_link_ops *ops, void *priv,
		  struct net_link **out);
static inline bool link_is_up(struct net_link *l)
{
	return atomic_load_explicit(&l->flags, memory_order_relaxed) & IFF_UP;
}
static inline bool link_has_ether(const struct net_link *l)
{
	return l->type != ARPHRD_NONE;
}
/* What the egress policy guards: links to somewhere outside of the stack's own devices. */
static inline bool link_leads_out(const struct net_link *l)
{
	return l->kind == NET_LINK_FD || l->kind == NET_LINK_CUSTOM;
}
/* The bridge that it is a port of, counted, or NULL. Without config_lock. */
struct net_link *link_master_get(struct net_link *l);
/* Under config_lock: the link with this index, not counted. */
struct net_link *link_find_locked(struct netstack *s, int index);
void link_event(struct net_link *l, enum net_event_kind kind);

/*
 * Sends a frame that has its link header: taps, capture, software GSO and checksum, queueing
 * discipline, the link. Consumes b. -ENETDOWN, -ENOBUFS.
 */
int link_xmit(struct net_link *l, struct nbuf *b);
/* Puts an Ethernet header in front and sends. */
int link_xmit_ether(struct net_link *l, struct nbuf *b, const uint8_t dst[6], uint16_t protocol);

/*
 * Makes the checksum of a packet to be cut partial, if it is one that was received whole, merged
 * and verified, and is now sent on. -EINVAL when the headers are not TCP's or UDP's, -ENOBUFS; b
 * stays the caller's. (gso.c)
 */
int gso_complete(struct nbuf *b);
/* Software segmentation: cuts b into packets of b->gso_size. Consumes b. (gso.c) */
int gso_segment(struct nbuf *b, struct nbuf_queue *out);
/* Software receive merging: takes a batch, leaves the merged packets in it. (gro.c) */
void gro_batch(struct net_link *l, struct nbuf_queue *q);

/*
 * Sends what the queueing discipline holds, unless another call is about to. A device that refused
 * a frame calls it when it may take more. (qdisc.c)
 */
void qdisc_run(struct net_link *l);

#endif
