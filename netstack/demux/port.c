/* Ports: who is bound to what, conflicts as in Linux, choice of ephemeral ports (RFC 6056). */
#include "netstack/core/hash.h"
#include "netstack/demux/demux.h"
#include "netstack/demux/demux_upcalls.h"

int port_table_create(struct netstack *s, struct port_table **out)
{
	struct port_table *t = net_alloc(s, sizeof(*t));

	if (!t)
		return -ENOMEM;
	for (int i = 0; i < PORT_BUCKETS; i++)
		mutex_init(&t->bucket[i].lock);
	*out = t;
	return 0;
}

void port_table_destroy(struct netstack *s, struct port_table *t)
{
	if (!t)
		return;
	for (int i = 0; i < PORT_BUCKETS; i++) {
		BUG_ON(!LIST_EMPTY(&t->bucket[i].entries));
		mutex_destroy(&t->bucket[i].lock);
	}
	net_free(s, t);
}

static struct port_bucket *bucket_of(struct port_table *t, uint16_t port)
{
	return &t->bucket[port % PORT_BUCKETS];
}

static struct port_entry *find(struct port_bucket *b, uint16_t port)
{
	struct port_entry *e;

	LIST_FOREACH (e, &b->entries, next)
		if (e->port == port)
			return e;
	return NULL;
}

static struct port_entry *find_or_make(struct netstack *s, struct port_bucket *b, uint16_t port)
{
	struct port_entry *e = find(b, port);

	if (e)
		return e;
	e = net_alloc(s, sizeof(*e));
	if (!e)
		return NULL;
	e->port = port;
	LIST_INSERT_HEAD(&b->entries, e, next);
	return e;
}

static void drop_if_empty(struct netstack *s, struct port_entry *e)
{
	if (LIST_EMPTY(&e->bound) && LIST_EMPTY(&e->others)) {
		LIST_REMOVE(e, next);
		net_free(s, e);
	}
}

/* Can a packet be for both? */
static bool overlap(const struct in6_addr *a, bool a6only, const struct in6_addr *b, bool b6only)
{
	bool any_a = addr_any(a), any_b = addr_any(b), a4 = addr_is4(a), b4 = addr_is4(b);

	if (any_a && !a4) /* :: */
		return !b4 || !a6only;
	if (any_b && !b4)
		return !a4 || !b6only;
	if (a4 != b4)
		return false;
	return any_a || any_b || addr_eq(a, b);
}

static bool is_listener(const struct net_ep *ep)
{
	return ep->type == SOCK_STREAM && tcp_is_listener(ep);
}

static bool conflicts(const struct net_ep *ep, const struct in6_addr *addr, bool listening,
		      const struct net_ep *o)
{
	if (o == ep || (ep->bound_if && o->bound_if && ep->bound_if != o->bound_if))
		return false;
	if (!overlap(addr, ep->opt.v6only, &o->laddr, o->opt.v6only))
		return false;
	if (ep->opt.reuseport && o->opt.reuseport)
		return false;
	if (ep->opt.reuseaddr && o->opt.reuseaddr)
		return ep->type == SOCK_STREAM && (listening || is_listener(o));
	return true;
}

static bool entry_conflicts(const struct port_entry *e, const struct net_ep *ep,
			    const struct in6_addr *addr, bool listening)
{
	const struct net_ep *o;

	LIST_FOREACH (o, &e->bound, port_link)
		if (conflicts(ep, addr, listening && is_listener(o), o))
			return true;
	if (listening)
		return false;
	LIST_FOREACH (o, &e->others, port_link)
		if (conflicts(ep, addr, false, o))
			return true;
	return false;
}

/* Binds to one port if nobody minds. */
static int try_bind(struct netstack *s, struct port_table *t, struct net_ep *ep,
		    const struct in6_addr *addr, uint16_t port)
{
	struct port_bucket *b = bucket_of(t, port);
	struct port_entry *e;
	MUTEX_GUARD(&b->lock);

	e = find_or_make(s, b, port);
	if (!e)
		return -ENOMEM;
	if (entry_conflicts(e, ep, addr, false)) {
		drop_if_empty(s, e);
		return -EADDRINUSE;
	}
	ep->laddr = *addr;
	ep->lport = port;
	ep->port = e;
	LIST_INSERT_HEAD(&e->bound, ep, port_link);
	return 0;
}

int port_bind(struct netstack *s, struct port_table *t, struct net_ep *ep,
	      const struct in6_addr *addr, uint16_t port)
{
	uint32_t low = s->sysctl.ip_local_port_range[0];
	uint32_t n = s->sysctl.ip_local_port_range[1] - low + 1, start;

	if (port)
		return try_bind(s, t, ep, addr, port);
	start = net_random_below(s, n);
	for (uint32_t i = 0; i < n; i++) {
		/* With SO_REUSEADDR a shared port is allowed, but an unused one is better. */
		uint16_t p = low + (start + i) % n;
		struct port_bucket *b = bucket_of(t, p);
		bool used;

		mutex_lock(&b->lock);
		used = find(b, p);
		mutex_unlock(&b->lock);
		if (!used && try_bind(s, t, ep, addr, p) == 0)
			return 0;
	}
	return -EADDRINUSE;
}

void port_unbind(struct netstack *s, struct port_table *t, struct net_ep *ep)
{
	struct port_bucket *b = bucket_of(t, ep->lport);
	MUTEX_GUARD(&b->lock);

	if (!ep->port)
		return;
	LIST_REMOVE(ep, port_link);
	drop_if_empty(s, ep->port);
	ep->port = NULL;
}

int port_adopt(struct netstack *s, struct port_table *t, struct net_ep *ep)
{
	struct port_bucket *b = bucket_of(t, ep->lport);
	struct port_entry *e;
	MUTEX_GUARD(&b->lock);

	e = find_or_make(s, b, ep->lport);
	if (!e)
		return -ENOMEM;
	ep->port = e;
	LIST_INSERT_HEAD(&e->others, ep, port_link);
	return 0;
}

/* Takes the port for a connection if no bound endpoint has it and the 4-tuple is free. */
static int try_connect(struct netstack *s, struct port_table *t, struct demux *d, struct net_ep *ep,
		       uint16_t port, struct net_ep **other)
{
	struct port_bucket *b = bucket_of(t, port);
	struct port_entry *e;
	int err;
	MUTEX_GUARD(&b->lock);

	e = find_or_make(s, b, port);
	if (!e)
		return -ENOMEM;
	if (!LIST_EMPTY(&e->bound))
		return -EADDRINUSE;
	ep->lport = port;
	err = demux_insert(s, d, ep, other);
	if (err) {
		ep->lport = 0;
		drop_if_empty(s, e);
		return err;
	}
	ep->port = e;
	LIST_INSERT_HEAD(&e->others, ep, port_link);
	return 0;
}

int port_connect(struct netstack *s, struct port_table *t, struct demux *d, struct net_ep *ep)
{
	static atomic_uint counter[256];
	uint32_t low = s->sysctl.ip_local_port_range[0];
	uint32_t n = s->sysctl.ip_local_port_range[1] - low + 1, offset;
	struct {
		struct in6_addr l, r;
		uint32_t port;
	} k = {ep->laddr, ep->raddr, ep->rport};
	atomic_uint *c;

	/* RFC 6056 §3.3.4: double hash; the counter is shared by destinations that collide. */
	offset = siphash(s->port_key, &k, sizeof(k));
	c = &counter[siphash(s->isn_key, &k, sizeof(k)) & 255];
	for (uint32_t i = 0; i < n; i++) {
		uint32_t step = atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
		uint16_t port = low + (offset + step) % n;
		struct net_ep *other = NULL;
		int err = try_connect(s, t, d, ep, port, &other);

		if (err == -EADDRNOTAVAIL && other && tcp_timewait_reuse(other, ep))
			err = try_connect(s, t, d, ep, port, NULL);
		if (other)
			net_ep_put(other);
		if (err == 0 || err == -ENOMEM)
			return err;
	}
	return -EADDRNOTAVAIL;
}

int port_listen_check(struct netstack *s, struct port_table *t, struct net_ep *ep)
{
	struct port_bucket *b = bucket_of(t, ep->lport);
	MUTEX_GUARD(&b->lock);

	return entry_conflicts(ep->port, ep, &ep->laddr, true) ? -EADDRINUSE : 0;
}

int port_each(struct netstack *s, struct port_table *t, uint16_t port,
	      int (*fn)(void *arg, struct net_ep *ep), void *arg)
{
	struct port_bucket *b = bucket_of(t, port);
	struct port_entry *e;
	struct net_ep *ep;
	int r = 0;
	MUTEX_GUARD(&b->lock);

	e = find(b, port);
	if (e)
		LIST_FOREACH (ep, &e->bound, port_link) {
			r = fn(arg, ep);
			if (r)
				break;
		}
	return r;
}

/* -1: not for ep; else the better the higher. */
static int score(const struct net_ep *ep, const struct tuple *t, int ifindex)
{
	bool v4 = addr_is4(&t->laddr);
	int n = 0;

	if (ep->bound_if) {
		if (ep->bound_if != ifindex)
			return -1;
		n += 4;
	}
	if (v4 && ep->family == AF_INET6 && ep->opt.v6only)
		return -1;
	if (!v4 && ep->family == AF_INET)
		return -1;
	if (!addr_any(&ep->laddr)) {
		if (!addr_eq(&ep->laddr, &t->laddr))
			return -1;
		n += 4;
	} else if (addr_is4(&ep->laddr) && !v4) {
		return -1;
	}
	if (ep->connected) {
		if (ep->rport != t->rport || !addr_eq(&ep->raddr, &t->raddr))
			return -1;
		n += 8;
	}
	return n * 2 + ((ep->family == AF_INET) == v4);
}

struct net_ep *port_lookup(struct netstack *s, struct port_table *t, const struct tuple *tp,
			   int ifindex, bool listeners)
{
	struct port_bucket *b = bucket_of(t, tp->lport);
	struct net_ep *ep, *best = NULL;
	int best_score = -1;
	uint32_t equal = 0, hash = 0;
	struct port_entry *e;
	MUTEX_GUARD(&b->lock);

	e = find(b, tp->lport);
	if (!e)
		return NULL;
	LIST_FOREACH (ep, &e->bound, port_link) {
		int n;

		if (listeners && !is_listener(ep))
			continue;
		n = score(ep, tp, ifindex);
		if (n < 0 || n < best_score)
			continue;
		if (n > best_score) {
			best = ep;
			best_score = n;
			equal = 1;
		} else if (ep->opt.reuseport && best->opt.reuseport) {
			/* Reservoir choice by the flow's hash: stable while the group is. */
			if (!hash)
				hash = siphash(s->hash_key, tp, sizeof(*tp));
			equal++;
			if (((uint64_t)(hash * 2654435761u * equal) * equal) >> 32 == 0)
				best = ep;
		}
	}
	return best && refcount_inc_not_zero(&best->refs) ? best : NULL;
}
