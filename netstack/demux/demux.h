/* Finding the endpoint of a packet: connections by 4-tuple, others by port. */
#ifndef MOAT_NETSTACK_DEMUX_DEMUX_H
#define MOAT_NETSTACK_DEMUX_DEMUX_H

#include "netstack/socket/socket.h"

struct tcp_req;
LIST_HEAD(ep_hash_list, net_ep);
LIST_HEAD(tcp_req_list, tcp_req);

struct demux_bucket {
	struct mutex lock;
	struct ep_hash_list eps;
	struct tcp_req_list reqs; /* connections in SYN-RECEIVED */
};

struct demux {
	unsigned mask;
	struct demux_bucket bucket[];
};

struct tuple {
	struct in6_addr laddr, raddr;
	uint16_t lport, rport;
};

int demux_create(struct netstack *s, unsigned buckets, struct demux **out);
void demux_destroy(struct netstack *s, struct demux *d);
struct demux_bucket *demux_bucket_of(struct netstack *s, struct demux *d, const struct tuple *t);
/* Counted; NULL. */
struct net_ep *demux_find(struct netstack *s, struct demux *d, const struct tuple *t);
/* -EADDRNOTAVAIL: the tuple is taken; *other (may be NULL) is then its owner, counted. */
int demux_insert(struct netstack *s, struct demux *d, struct net_ep *ep, struct net_ep **other);
void demux_remove(struct netstack *s, struct demux *d, struct net_ep *ep);

/* Ports. An entry exists while somebody uses the port. */
struct port_entry {
	LIST_ENTRY(port_entry) next;
	uint16_t port;
	struct ep_hash_list bound;  /* by bind, or by UDP's automatic choice */
	struct ep_hash_list others; /* TCP: accepted, and connected without bind */
};
struct port_bucket {
	struct mutex lock;
	LIST_HEAD(, port_entry) entries;
};
#define PORT_BUCKETS 512
struct port_table {
	struct port_bucket bucket[PORT_BUCKETS];
};

int port_table_create(struct netstack *s, struct port_table **out);
void port_table_destroy(struct netstack *s, struct port_table *t);
/*
 * Binds ep to addr and port (0: chosen in the range, RFC 6056 §3.3.1). -EADDRINUSE. ep->lock held;
 * sets ep->lport, laddr, port.
 */
int port_bind(struct netstack *s, struct port_table *t, struct net_ep *ep,
	      const struct in6_addr *addr, uint16_t port);
void port_unbind(struct netstack *s, struct port_table *t, struct net_ep *ep);
/* Puts ep (accepted; lport set) under its port without a conflict check. -ENOMEM. */
int port_adopt(struct netstack *s, struct port_table *t, struct net_ep *ep);
/*
 * Chooses a local port for a connection (RFC 6056 §3.3.3) and enters it into the connection table.
 * laddr, raddr, rport are set. -EADDRNOTAVAIL. ep->lock held.
 */
int port_connect(struct netstack *s, struct port_table *t, struct demux *d, struct net_ep *ep);
/* Rechecks that a bound ep may listen. -EADDRINUSE. */
int port_listen_check(struct netstack *s, struct port_table *t, struct net_ep *ep);
/* Calls fn for the endpoints bound to a port, with the bucket locked. Non-zero ends the walk. */
int port_each(struct netstack *s, struct port_table *t, uint16_t port,
	      int (*fn)(void *arg, struct net_ep *ep), void *arg);
/*
 * The endpoint that a packet is for, best match first: remote, local address, link (as Linux's
 * compute_score); among equal ones with SO_REUSEPORT by hash. Counted; NULL. `listeners`: TCP.
 */
struct net_ep *port_lookup(struct netstack *s, struct port_table *t, const struct tuple *tp,
			   int ifindex, bool listeners);

#endif
