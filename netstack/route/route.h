/*
 * Where a packet goes: paths, path MTUs, the links' addresses, routes.
 *
 * A path is the result of routing a destination, as endpoints cache it. It stays good until
 * netstack.path_gen moves on (configuration, path MTU or redirect changed).
 */
#ifndef MOAT_NETSTACK_ROUTE_ROUTE_H
#define MOAT_NETSTACK_ROUTE_ROUTE_H

#include <linux/rtnetlink.h>

#include "netstack/core/core.h"

struct neigh;

struct net_path {
	struct net_link *link; /* counted; NULL: no path */
	struct neigh *neigh;   /* counted; NULL: loopback, multicast, broadcast */
	struct in6_addr dst, src, nexthop;
	uint32_t mtu;	   /* path MTU */
	uint32_t link_mtu; /* MTU of the first hop */
	unsigned gen;
	bool no_flowlabel; /* IPV6_AUTOFLOWLABEL is off */
	uint8_t type;	   /* RTN_UNICAST, RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST */
};

struct path_key {
	struct in6_addr dst;
	const struct in6_addr *src; /* NULL or unspecified: choose one */
	int oif;		    /* 0: any */
	bool any_src;		    /* src need not be a local address */
	bool onlink;		    /* MSG_DONTROUTE, SO_DONTROUTE */
};

/*
 * Routes. -ENETUNREACH, -EHOSTUNREACH, -EACCES, -EINVAL (by the route's type, as Linux),
 * -EADDRNOTAVAIL (no source address). p is written whole; release it. (route.c)
 */
int path_lookup(struct netstack *s, const struct path_key *k, struct net_path *p);
void path_release(struct net_path *p);
static inline bool path_valid(struct netstack *s, const struct net_path *p)
{
	return p->link && p->gen == atomic_load_explicit(&s->path_gen, memory_order_acquire);
}
/* Sends an IP packet (data at the IP header) to the path's next hop. Consumes b. */
int path_output(struct net_path *p, struct nbuf *b);

/* Path MTU cache, RFC 1191 and RFC 8201. (pmtu.c) */
int pmtu_create(struct netstack *s);
void pmtu_destroy(struct netstack *s);
/* True when the MTU towards dst got smaller. */
bool pmtu_update(struct netstack *s, const struct in6_addr *dst, uint32_t mtu);

/* Addresses. (addr.c) */
struct link_addr {
	LIST_ENTRY(link_addr) next; /* net_link.addrs */
	struct refcount refs;	    /* list, timer */
	struct net_link *link;	    /* counted */
	struct in6_addr addr;
	struct in6_addr broadcast; /* v4-mapped, any: none */
	uint8_t prefix;		   /* of the family */
	uint8_t scope;
	uint32_t flags;			      /* IFA_F_* */
	int64_t valid_until, preferred_until; /* INT64_MAX: forever */
	struct net_timer timer;		      /* DAD, lifetimes */
	unsigned dad_left;
	bool gone;
};
/* RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST, RTN_UNICAST (not ours), RTN_BLACKHOLE (unusable:
 * tentative). link NULL: on any link. */
int addr_type(struct netstack *s, struct net_link *link, const struct in6_addr *a);
bool addr_is_local(struct netstack *s, const struct in6_addr *a);
/* Best source for dst out of link; RFC 6724 §5 for IPv6. False: none. Under config_lock. */
bool addr_select(struct netstack *s, struct net_link *link, const struct in6_addr *dst,
		 const struct in6_addr *nexthop, struct in6_addr *src);
/* The first usable address of the link with the family (4 or 6 link-local when ll). */
bool addr_of_link(struct net_link *l, bool v6_linklocal, bool v4, struct in6_addr *out);
/* Somebody else uses this address (RFC 4862 §5.4.5): the tentative address fails. */
void addr_dad_conflict(struct net_link *l, const struct in6_addr *a);
/* With config_lock held: tests whether addr is assigned to l; returns flags in *flags. */
struct link_addr *addr_find_locked(struct net_link *l, const struct in6_addr *a);
/* Adds with v4-mapped or IPv6 form; used by netlink calls and SLAAC. */
int addr_insert(struct net_link *l, const struct in6_addr *a, const struct in6_addr *brd,
		uint8_t prefix, uint8_t scope, uint32_t flags, uint32_t valid, uint32_t preferred);
/* The multicast group that solicits for an address: RFC 4291 §2.7.1. */
void ip6_solicited_node(const struct in6_addr *a, struct in6_addr *group);

/* Routes. (route.c) */
struct route {
	TAILQ_ENTRY(route) next;
	bool v4;
	struct in6_addr dst; /* v4-mapped for IPv4 */
	uint8_t prefix;	     /* of the family */
	uint8_t type, scope, protocol;
	bool has_gateway;
	uint32_t table, metric, mtu;
	struct net_link *link; /* counted; NULL for blackhole and the like */
	struct in6_addr gateway, src;
	int64_t expires; /* INT64_MAX: never */
};
/* With config_lock held for writing. route_insert takes over r on success. */
int route_insert_locked(struct netstack *s, struct route *r);
int route_remove_locked(struct netstack *s, const struct route *match);
void route_flush_all_locked(struct netstack *s);
struct route *route_new(struct netstack *s, bool v4, const struct in6_addr *dst, uint8_t prefix,
			uint8_t type, uint8_t scope, uint8_t protocol, struct net_link *l);
void route_free(struct netstack *s, struct route *r);

#endif
