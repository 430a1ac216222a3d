/*
 * Neighbours: one table for ARP (RFC 826, RFC 1122 §2.3.2) and NDP (RFC 4861 §7.3). Bounded in
 * entries and in packets that wait. A message that nobody asked for never replaces a link address
 * that works: it makes us ask the old one first (RFC 4861 would take an override at its word).
 */
#include "netstack/neigh/neigh.h"

#include <linux/neighbour.h>

#include "netstack/core/hash.h"
#include "netstack/link/link.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/neigh/neigh_upcalls.h"

#define BUCKETS 128

struct neigh {
	LIST_ENTRY(neigh) next; /* bucket */
	struct refcount refs;	/* table, paths, armed timer */
	struct net_link *link;	/* counted */
	struct in6_addr addr;
	struct mutex lock; /* what follows */
	uint8_t lladdr[6];
	uint16_t state;
	bool router, dead;
	unsigned probes;
	int64_t confirmed;
	struct nbuf_queue pending;
	unsigned npending;
	struct net_timer timer;
};

struct neigh_table {
	atomic_uint count;
	struct {
		struct mutex lock;
		LIST_HEAD(, neigh) list;
	} bucket[BUCKETS];
};

int neigh_table_create(struct netstack *s)
{
	s->neigh = net_alloc(s, sizeof(*s->neigh));
	if (!s->neigh)
		return -ENOMEM;
	for (int i = 0; i < BUCKETS; i++)
		mutex_init(&s->neigh->bucket[i].lock);
	return 0;
}

void neigh_table_destroy(struct netstack *s)
{
	for (int i = 0; i < BUCKETS; i++) {
		BUG_ON(!LIST_EMPTY(&s->neigh->bucket[i].list));
		mutex_destroy(&s->neigh->bucket[i].lock);
	}
	net_free(s, s->neigh);
}

void neigh_put(struct neigh *n)
{
	struct netstack *s = n->link->stack;

	if (!refcount_dec(&n->refs))
		return;
	nbuf_queue_purge(&n->pending);
	mutex_destroy(&n->lock);
	net_link_put(n->link);
	net_free(s, n);
}

struct neigh *neigh_ref(struct neigh *n)
{
	refcount_inc(&n->refs);
	return n;
}

static void describe(const struct neigh *n, struct net_neigh_info *i)
{
	memset(i, 0, sizeof(*i));
	i->ifindex = n->link->index;
	i->family = addr_is4(&n->addr) ? AF_INET : AF_INET6;
	if (i->family == AF_INET)
		i->addr.s6_addr32[0] = addr_get4(&n->addr);
	else
		i->addr = n->addr;
	memcpy(i->lladdr, n->lladdr, 6);
	i->state = n->state;
	i->flags = n->router ? NTF_ROUTER : 0;
}

static void event(struct neigh *n, enum net_event_kind kind)
{
	struct net_event ev = {.kind = kind};

	if (!n->link->stack->event)
		return;
	describe(n, &ev.neigh);
	net_defer_event(n->link->stack, &ev);
}

static void arm(struct neigh *n, int64_t delay)
{
	struct netstack *s = n->link->stack;

	if (!net_timer_cancel(s, &n->timer))
		refcount_inc(&n->refs);
	net_timer_arm(s, &n->timer, net_now(s) + delay);
}

static void disarm(struct neigh *n)
{
	if (net_timer_cancel(n->link->stack, &n->timer))
		BUG_ON(refcount_dec(&n->refs));
}

static void solicit(struct neigh *n, bool unicast)
{
	uint8_t lladdr[6];

	memcpy(lladdr, n->lladdr, 6);
	if (addr_is4(&n->addr))
		arp_solicit(n->link, &n->addr, unicast ? lladdr : NULL);
	else
		ndp_solicit(n->link, &n->addr, unicast ? lladdr : NULL);
}

static void unreachable(struct netstack *s, struct nbuf_queue *q)
{
	struct nbuf *b;

	while ((b = STAILQ_FIRST(q))) {
		STAILQ_REMOVE_HEAD(q, next);
		ip_unreachable_host(s, b);
	}
}

/* RFC 4861 §7.3.3: what the timer of each state does. */
static void neigh_timer(struct net_timer *t)
{
	struct neigh *n = container_of(t, struct neigh, timer);
	struct netstack *s = n->link->stack;
	struct nbuf_queue failed = STAILQ_HEAD_INITIALIZER(failed);
	int64_t retrans = s->sysctl.neigh_retrans_ms * NSEC_PER_MSEC;
	bool ask = false, unicast = false;

	NET_CONTEXT();
	mutex_lock(&n->lock);
	if (n->dead) {
		/* flushed */
	} else if (n->state == NUD_REACHABLE) {
		n->state = NUD_STALE;
	} else if (n->state == NUD_DELAY) {
		n->state = NUD_PROBE;
		n->probes = 0;
		ask = unicast = true;
	} else if (n->state == NUD_PROBE && n->probes < (unsigned)s->sysctl.neigh_ucast_solicit) {
		ask = unicast = true;
	} else if (n->state == NUD_PROBE) {
		n->state = NUD_INCOMPLETE;
		n->probes = 0;
		ask = true;
	} else if (n->state == NUD_INCOMPLETE) {
		if (n->probes < (unsigned)s->sysctl.neigh_mcast_solicit) {
			ask = true;
		} else {
			n->state = NUD_FAILED;
			STAILQ_CONCAT(&failed, &n->pending);
			n->npending = 0;
			event(n, NET_EVENT_NEIGH_NEW);
		}
	}
	if (ask) {
		n->probes++;
		arm(n, retrans);
	}
	mutex_unlock(&n->lock);
	if (ask)
		solicit(n, unicast);
	unreachable(s, &failed);
	neigh_put(n);
}

static unsigned bucket_of(struct net_link *l, const struct in6_addr *a)
{
	struct {
		struct in6_addr a;
		uint32_t i;
	} k = {*a, l->index};

	return siphash(l->stack->hash_key, &k, 20) % BUCKETS;
}

static void unlink_entry(struct netstack *s, struct neigh *n)
{
	LIST_REMOVE(n, next);
	atomic_fetch_sub(&s->neigh->count, 1);
	mutex_lock(&n->lock);
	n->dead = true;
	disarm(n);
	event(n, NET_EVENT_NEIGH_DEL);
	mutex_unlock(&n->lock);
	neigh_put(n);
}

/* Makes room: drops entries that nobody uses. The walk is bounded by the table's size. */
static void collect(struct netstack *s)
{
	for (int i = 0; i < BUCKETS; i++) {
		struct neigh *n, *next;
		MUTEX_GUARD(&s->neigh->bucket[i].lock);

		for (n = LIST_FIRST(&s->neigh->bucket[i].list); n; n = next) {
			next = LIST_NEXT(n, next);
			if (refcount_read(&n->refs) == 1 &&
			    (n->state & (NUD_STALE | NUD_FAILED | NUD_NONE)))
				unlink_entry(s, n);
		}
	}
}

static struct neigh *create_entry(struct net_link *l, const struct in6_addr *addr)
{
	struct neigh *n = net_alloc(l->stack, sizeof(*n));

	if (!n)
		return NULL;
	refcount_init(&n->refs);
	n->link = net_link_get(l);
	n->addr = *addr;
	mutex_init(&n->lock);
	n->state = NUD_NONE;
	n->timer.fn = neigh_timer;
	STAILQ_INIT(&n->pending);
	return n;
}

static struct neigh *find(struct net_link *l, const struct in6_addr *addr, unsigned i)
{
	struct neigh *n;

	LIST_FOREACH (n, &l->stack->neigh->bucket[i].list, next)
		if (n->link == l && addr_eq(&n->addr, addr))
			return n;
	return NULL;
}

struct neigh *neigh_get(struct net_link *l, const struct in6_addr *addr, bool create)
{
	struct netstack *s = l->stack;
	unsigned i = bucket_of(l, addr);
	struct neigh *n;

	mutex_lock(&s->neigh->bucket[i].lock);
	n = find(l, addr, i);
	if (n)
		refcount_inc(&n->refs);
	mutex_unlock(&s->neigh->bucket[i].lock);
	if (n || !create || l->removed)
		return n;
	if (atomic_load(&s->neigh->count) >= (unsigned)s->sysctl.neigh_max)
		collect(s);
	if (atomic_load(&s->neigh->count) >= (unsigned)s->sysctl.neigh_max)
		return NULL;
	mutex_lock(&s->neigh->bucket[i].lock);
	n = find(l, addr, i);
	if (!n && (n = create_entry(l, addr))) {
		LIST_INSERT_HEAD(&s->neigh->bucket[i].list, n, next);
		atomic_fetch_add(&s->neigh->count, 1);
	}
	if (n)
		refcount_inc(&n->refs);
	mutex_unlock(&s->neigh->bucket[i].lock);
	return n;
}

/* Starts resolution; n->lock held. True: send a request after unlocking. */
static bool start_resolution(struct neigh *n)
{
	if (n->state == NUD_INCOMPLETE)
		return false;
	n->state = NUD_INCOMPLETE;
	n->probes = 1;
	arm(n, n->link->stack->sysctl.neigh_retrans_ms * NSEC_PER_MSEC);
	return true;
}

int neigh_output(struct neigh *n, struct nbuf *b)
{
	struct netstack *s = n->link->stack;
	bool ask = false;
	uint8_t mac[6];

	mutex_lock(&n->lock);
	if (n->state &
	    (NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP | NUD_DELAY | NUD_PROBE | NUD_STALE)) {
		memcpy(mac, n->lladdr, 6);
		if (n->state == NUD_STALE) {
			n->state = NUD_DELAY;
			arm(n, s->sysctl.neigh_delay_s * NSEC_PER_SEC);
		}
		mutex_unlock(&n->lock);
		return link_xmit_ether(n->link, b, mac,
				       addr_is4(&n->addr) ? ETHERTYPE_IP : ETHERTYPE_IPV6);
	}
	if (n->dead) {
		mutex_unlock(&n->lock);
		nbuf_put(b);
		return -EHOSTUNREACH;
	}
	ask = start_resolution(n);
	if (n->npending >= (unsigned)s->sysctl.neigh_unres_qlen) {
		struct nbuf *old = STAILQ_FIRST(&n->pending);

		STAILQ_REMOVE_HEAD(&n->pending, next);
		nbuf_put(old);
	} else {
		n->npending++;
	}
	STAILQ_INSERT_TAIL(&n->pending, b, next);
	mutex_unlock(&n->lock);
	if (ask)
		solicit(n, false);
	return 0;
}

/* n->lock held: the neighbour is proved reachable. */
static void set_reachable(struct neigh *n)
{
	struct netstack *s = n->link->stack;
	int64_t base = s->sysctl.neigh_reachable_ms * NSEC_PER_MSEC;

	if (n->state == NUD_PERMANENT)
		return;
	n->state = NUD_REACHABLE;
	n->probes = 0;
	/* RFC 4861 §6.3.2: uniformly between 0.5 and 1.5 times the base. */
	arm(n, base / 2 + net_random_below(s, MIN(base / NSEC_PER_USEC, 0x7fffffffLL)) *
				  NSEC_PER_USEC);
}

/* n->lock held: applies evidence; packets that can go now are moved to `out`. */
static void apply(struct neigh *n, const uint8_t *lladdr, unsigned evidence, struct nbuf_queue *out)
{
	bool known = n->state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE);
	bool same = known && !memcmp(n->lladdr, lladdr, 6);
	bool reply = (evidence & 15) == NEIGH_REPLY;

	if (n->state & (NUD_PERMANENT | NUD_NOARP))
		return;
	if (!known) {
		/* Nothing is known: any claim to an entry that we want is better than none. */
		if (n->state != NUD_INCOMPLETE && !(evidence & NEIGH_CREATE))
			return;
		memcpy(n->lladdr, lladdr, 6);
		if (reply && n->state == NUD_INCOMPLETE) {
			set_reachable(n);
		} else {
			disarm(n);
			n->state = NUD_STALE;
		}
		STAILQ_CONCAT(out, &n->pending);
		n->npending = 0;
		event(n, NET_EVENT_NEIGH_NEW);
	} else if (same) {
		if (reply && (n->state & (NUD_PROBE | NUD_DELAY)))
			set_reachable(n);
	} else if (n->state != NUD_PROBE) {
		/* Another link address: ask the one that we have whether it is still there. */
		n->state = NUD_PROBE;
		n->probes = 0;
		arm(n, 0);
	}
	if (evidence & NEIGH_ROUTER_KNOWN)
		n->router = evidence & NEIGH_ROUTER;
}

void neigh_update(struct net_link *l, const struct in6_addr *addr, const uint8_t lladdr[6],
		  unsigned evidence)
{
	struct nbuf_queue out = STAILQ_HEAD_INITIALIZER(out);
	struct neigh *n;
	struct nbuf *b;

	if (lladdr[0] & 1) /* a group cannot be a neighbour */
		return;
	n = neigh_get(l, addr, evidence & NEIGH_CREATE);
	if (!n)
		return;
	mutex_lock(&n->lock);
	if (!n->dead)
		apply(n, lladdr, evidence, &out);
	mutex_unlock(&n->lock);
	while ((b = STAILQ_FIRST(&out))) {
		STAILQ_REMOVE_HEAD(&out, next);
		neigh_output(n, b);
	}
	neigh_put(n);
}

void neigh_confirm(struct neigh *n)
{
	int64_t now;

	/* Often called on the data path: look before locking. */
	if (n->state == NUD_REACHABLE &&
	    (now = net_now(n->link->stack)) - n->confirmed < NSEC_PER_SEC)
		return;
	MUTEX_GUARD(&n->lock);
	if (n->dead || !(n->state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY)))
		return;
	n->confirmed = net_now(n->link->stack);
	set_reachable(n);
}

void neigh_flush_link(struct net_link *l)
{
	struct netstack *s = l->stack;

	for (int i = 0; i < BUCKETS; i++) {
		struct neigh *n, *next;
		MUTEX_GUARD(&s->neigh->bucket[i].lock);

		for (n = LIST_FIRST(&s->neigh->bucket[i].list); n; n = next) {
			next = LIST_NEXT(n, next);
			if (n->link == l)
				unlink_entry(s, n);
		}
	}
	path_invalidate(s);
}

/* ----------------------------------------------------------------------------- netlink's view */

static struct net_link *from_info(struct netstack *s, const struct net_neigh_info *i,
				  struct in6_addr *a)
{
	if (i->family == AF_INET)
		addr_set4(a, i->addr.s6_addr32[0]);
	else
		*a = i->addr;
	return net_link_by_index(s, i->ifindex);
}

int net_neigh_add(struct netstack *s, const struct net_neigh_info *i)
{
	struct nbuf_queue out = STAILQ_HEAD_INITIALIZER(out);
	struct in6_addr a;
	struct net_link *l = from_info(s, i, &a);
	struct neigh *n;
	struct nbuf *b;

	if (!l)
		return -ENODEV;
	NET_CONTEXT();
	n = neigh_get(l, &a, true);
	net_link_put(l);
	if (!n)
		return -ENOBUFS;
	mutex_lock(&n->lock);
	disarm(n);
	memcpy(n->lladdr, i->lladdr, 6);
	n->router = i->flags & NTF_ROUTER;
	n->state = i->state & (NUD_REACHABLE | NUD_STALE | NUD_NOARP) ? i->state : NUD_PERMANENT;
	if (n->state == NUD_REACHABLE)
		set_reachable(n);
	STAILQ_CONCAT(&out, &n->pending);
	n->npending = 0;
	event(n, NET_EVENT_NEIGH_NEW);
	mutex_unlock(&n->lock);
	while ((b = STAILQ_FIRST(&out))) {
		STAILQ_REMOVE_HEAD(&out, next);
		neigh_output(n, b);
	}
	neigh_put(n);
	return 0;
}

int net_neigh_del(struct netstack *s, const struct net_neigh_info *i)
{
	struct in6_addr a;
	struct net_link *l = from_info(s, i, &a);
	struct neigh *n;
	unsigned k;

	if (!l)
		return -ENODEV;
	NET_CONTEXT();
	k = bucket_of(l, &a);
	mutex_lock(&s->neigh->bucket[k].lock);
	n = find(l, &a, k);
	if (n)
		unlink_entry(s, n);
	mutex_unlock(&s->neigh->bucket[k].lock);
	net_link_put(l);
	if (!n)
		return -ENOENT;
	path_invalidate(s);
	return 0;
}

int net_neigh_each(struct netstack *s, int (*fn)(void *arg, const struct net_neigh_info *i),
		   void *arg)
{
	for (int i = 0; i < BUCKETS; i++) {
		struct net_neigh_info list[64];
		unsigned n = 0;
		struct neigh *e;

		mutex_lock(&s->neigh->bucket[i].lock);
		LIST_FOREACH (e, &s->neigh->bucket[i].list, next)
			if (n < ARRAY_SIZE(list))
				describe(e, &list[n++]);
		mutex_unlock(&s->neigh->bucket[i].lock);
		for (unsigned j = 0; j < n; j++) {
			int r = fn(arg, &list[j]);

			if (r)
				return r;
		}
	}
	return 0;
}
