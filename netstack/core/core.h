/*
 * One stack, and what every room above uses: its environment, randomness, counters, rate limits,
 * addresses (address.h), work put off (context.h).
 *
 * Lock order, outermost first. No function takes an earlier one while it holds a later one:
 *
 *	net_ep.rd_lock, net_ep.wr_lock	one reader, one writer per endpoint while bytes are copied
 *	listener's net_ep.lock		accept queue, request queue
 *	net_ep.lock			state of one endpoint
 *	port bucket lock		who is bound to a port
 *	demux bucket lock		established connections and requests
 *	netstack.config_lock		links, addresses, routes, groups (read-write)
 *	neigh table bucket lock, neigh.lock
 *	reassembly lock, path MTU lock
 *	net_link.tx_lock, qdisc lock
 *	egress policy lock
 *	pool locks, timer locks (the embedder's)
 *
 * Two endpoint locks are never held at once, except a listener's and that of a child which no
 * other thread can reach yet, one that takes over a TIME-WAIT tuple and the old one's, and a
 * sender's and that of a packet endpoint which taps the link. Work that would need it (loopback
 * input, callbacks) is put on the thread's own list and done by net_leave() when all locks are
 * gone.
 */
#ifndef MOAT_NETSTACK_CORE_CORE_H
#define MOAT_NETSTACK_CORE_CORE_H

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/refcount.h"
#include "netstack/buffer/nbuf.h"
#include "netstack/core/address.h"
#include "netstack/core/context.h"
#include "netstack/core/counter.h"
#include "netstack/core/sysctl.h"
#include "netstack/netstack.h"

#define NSEC_PER_MSEC 1000000LL
#define NSEC_PER_USEC 1000LL

struct route;
struct neigh_table;
struct reass_table;
struct pmtu_table;
struct demux;
struct egress;
struct port_table;
LIST_HEAD(link_list, net_link);
TAILQ_HEAD(route_list, route);
TAILQ_HEAD(ep_list, net_ep);

/* Token bucket for what a peer can make the stack send or log. */
struct rate_limit {
	struct mutex lock;
	int64_t last;
	int64_t tokens; /* in nanoseconds */
};

struct netstack {
	struct refcount refs; /* creator, endpoints, links, timers in flight */
	struct net_env env;
	void (*event)(void *ctx, struct netstack *s, const struct net_event *ev);
	void *event_ctx;
	void *user;
	void (*released)(void *user);
	uint64_t id;
	struct net_budget *budget; /* or NULL */
	struct npool *pool;
	atomic_bool dead;
	uint64_t hash_key[2]; /* demux tables */
	uint64_t isn_key[2];  /* RFC 6528 */
	uint64_t port_key[2]; /* RFC 6056 */
	uint64_t cookie_key[2];
	struct rwlock config_lock;
	struct link_list links;
	unsigned nlinks;
	int next_index;
	struct net_link *loopback; /* the first one; not counted */
	struct route_list routes;  /* most specific first, then metric */
	atomic_uint path_gen;	   /* changes whenever a cached path may be stale */
	struct neigh_table *neigh;
	struct reass_table *reass;
	struct pmtu_table *pmtu;
	struct egress *egress; /* what may leave (policy/) */
	struct demux *tcp;     /* established connections */
	struct port_table *tcp_ports, *udp_ports, *ping_ports;
	struct mutex ep_lock; /* lists of all endpoints by kind, for net_ep_each and raw input */
	struct ep_list eps;
	struct rwlock raw_lock;
	struct ep_list raws;	/* raw endpoints */
	struct ep_list packets; /* packet endpoints */
	atomic_uint n_packets, n_raws;
	struct rate_limit icmp_limit, challenge_limit, arp_limit;
	atomic_uint ip_id;
	atomic_uint n_timewait, n_orphans;
	atomic_long tcp_mem; /* bytes in TCP queues */
	struct net_sysctl sysctl;
	atomic_ullong counters[NET_COUNTERS];
};

static inline int64_t net_now(struct netstack *s)
{
	return s->env.now(s->env.ctx);
}
static inline void net_timer_arm(struct netstack *s, struct net_timer *t, int64_t expires)
{
	s->env.arm(s->env.ctx, t, expires);
}
static inline bool net_timer_cancel(struct netstack *s, struct net_timer *t)
{
	return s->env.cancel(s->env.ctx, t);
}
static inline void *net_alloc(struct netstack *s, size_t size)
{
	void *p = s->env.alloc(s->env.ctx, size);

	if (p)
		memset(p, 0, size);
	return p;
}
static inline void net_free(struct netstack *s, void *p)
{
	if (p)
		s->env.free(s->env.ctx, p);
}
static inline void net_random(struct netstack *s, void *p, size_t n)
{
	s->env.random(s->env.ctx, p, n);
}
uint32_t net_random32(struct netstack *s);
/* Uniform in [0, n). */
uint32_t net_random_below(struct netstack *s, uint32_t n);

static inline void net_count_n(struct netstack *s, enum net_counter c, uint64_t n)
{
	atomic_fetch_add_explicit(&s->counters[c], n, memory_order_relaxed);
}
static inline void net_count(struct netstack *s, enum net_counter c)
{
	net_count_n(s, c, 1);
}

static inline struct netstack *netstack_get(struct netstack *s)
{
	refcount_inc(&s->refs);
	return s;
}
/* The last reference takes the tables of all rooms down. (stack/stack.c) */
void netstack_put(struct netstack *s);

static inline void path_invalidate(struct netstack *s)
{
	atomic_fetch_add_explicit(&s->path_gen, 1, memory_order_release);
}

/* True if one more action at `per_second`, with bursts up to `burst`, is within the limit. */
bool rate_limit_ok(struct netstack *s, struct rate_limit *r, unsigned per_second, unsigned burst);

#endif
