/*
 * Multicast groups of links: joining, leaving, and when to report: RFC 3376 §5, RFC 3810 §6. All
 * reports leave from the group's timer. Without a querier's word the current versions are spoken;
 * an older querier's is followed until it has been silent for long enough.
 */
#include <net/if.h>

#include "netstack/ip/ip_upcalls.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/mcast/mcast_internal.h"
#include "netstack/route/route_upcalls.h"

#define GROUPS_MAX 512
#define ROBUSTNESS 2
#define QUERY_SOURCES_MAX 366
#define UNSOLICITED_NS (1 * NSEC_PER_SEC)
#define UNSOLICITED_OLD_NS (10 * NSEC_PER_SEC)

static void group_timer(struct net_timer *t);

/* ------------------------------------------------------------------------------ groups */

static bool reported(const struct mcast_group *g)
{
	const struct net_link *l = g->link;

	if (l->kind == NET_LINK_LOOPBACK || !link_has_ether(l))
		return false;
	if (addr_is4(&g->addr)) /* RFC 2236 §6: all-systems is never reported */
		return addr_get4(&g->addr) != htonl(0xe0000001);
	return (g->addr.s6_addr[1] & 0xf) > 1 &&
	       !(g->addr.s6_addr32[3] == htonl(1) && g->addr.s6_addr32[1] == 0);
}

static bool in_use(const struct mcast_group *g)
{
	return g->users || !LIST_EMPTY(&g->filters);
}

static void forget_changes(struct mcast_group *g)
{
	for (int i = 0; i < 2; i++) {
		net_free(g->link->stack, g->changes[i]);
		g->changes[i] = NULL;
	}
	g->changes_left = 0;
	g->joined_or_left = false;
}

static void group_put(struct mcast_group *g)
{
	struct netstack *s = g->link->stack;

	if (!refcount_dec(&g->refs))
		return;
	forget_changes(g);
	net_link_put(g->link);
	net_free(s, g);
}

/* config_lock held. The timer fires within `max`, at once for 0; not later than it would have. */
static void arm(struct mcast_group *g, int64_t max)
{
	struct netstack *s = g->link->stack;
	int64_t us = MIN(max / NSEC_PER_USEC, 0x7fffffffLL), at = net_now(s);

	if (us)
		at += net_random_below(s, us) * NSEC_PER_USEC;
	if (at >= g->timer_at)
		return;
	if (!net_timer_cancel(s, &g->timer))
		refcount_inc(&g->refs);
	g->timer_at = at;
	net_timer_arm(s, &g->timer, at);
}

/* A filter whose link has gone is in no list. */
static void detach(struct mcast_filter *f)
{
	if (f->next.le_prev)
		LIST_REMOVE(f, next);
	f->next.le_prev = NULL;
}

/* Takes the group off the link's list, and the list's reference with it. */
static void unlist(struct mcast_group *g)
{
	g->gone = true;
	LIST_REMOVE(g, next);
	if (net_timer_cancel(g->link->stack, &g->timer))
		refcount_dec(&g->refs); /* not the last: the list's is there */
	group_put(g);
}

static struct mcast_group *find(struct net_link *l, const struct in6_addr *a)
{
	struct mcast_group *g;

	LIST_FOREACH (g, &l->groups, next)
		if (addr_eq(&g->addr, a))
			return g;
	return NULL;
}

bool mcast_member(struct net_link *l, const struct in6_addr *group)
{
	struct mcast_group *g;
	READ_GUARD(&l->stack->config_lock);

	if (atomic_load(&l->flags) & IFF_ALLMULTI)
		return true;
	g = find(l, group);
	return g && in_use(g);
}

static struct mcast_group *find_or_make(struct net_link *l, const struct in6_addr *addr)
{
	struct mcast_group *g = find(l, addr), *o;
	struct netstack *s = l->stack;
	unsigned n = 0;

	if (g)
		return g;
	LIST_FOREACH (o, &l->groups, next)
		n++;
	if (n >= GROUPS_MAX || !(g = net_alloc(s, sizeof(*g))))
		return NULL;
	refcount_init(&g->refs);
	g->link = net_link_get(l);
	g->addr = *addr;
	g->timer.fn = group_timer;
	g->timer_at = INT64_MAX;
	LIST_INIT(&g->filters);
	LIST_INSERT_HEAD(&l->groups, g, next);
	return g;
}

/* config_lock held. The listeners have changed: what is to be told, from now on? */
static void changed(struct mcast_group *g, const struct mcast_state *before)
{
	struct mcast_state after;
	struct mcast_record *r[2];
	bool was_told = !g->changes_left;

	mcast_state_of(g, &after);
	if (!reported(g) || !link_is_up(g->link)) {
		if (!in_use(g))
			unlist(g);
		return;
	}
	mcast_changes(g->link->stack, before, &after, r);
	if (r[0] || r[1]) {
		bool step = mcast_listens(before) != mcast_listens(&after);

		step |= !was_told && g->joined_or_left;
		forget_changes(g);
		g->changes[0] = r[0];
		g->changes[1] = r[1];
		g->changes_left = ROBUSTNESS;
		g->joined_or_left = step;
		arm(g, 0);
	}
	if (!in_use(g) && !g->changes_left)
		unlist(g);
}

int mcast_join(struct net_link *l, const struct in6_addr *group)
{
	struct mcast_state before;
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	g = find_or_make(l, group);
	if (!g)
		return -ENOBUFS;
	mcast_state_of(g, &before);
	g->users++;
	changed(g, &before);
	return 0;
}

int mcast_leave(struct net_link *l, const struct in6_addr *group)
{
	struct mcast_state before;
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	g = find(l, group);
	if (!g || !g->users)
		return -EADDRNOTAVAIL;
	mcast_state_of(g, &before);
	g->users--;
	changed(g, &before);
	return 0;
}

static struct mcast_filter *filter_new(struct netstack *s, bool include,
				       const struct in6_addr *sources, unsigned n)
{
	struct mcast_filter *f;

	if (n > MCAST_SOURCES_MAX)
		return NULL;
	f = net_alloc(s, sizeof(*f) + n * sizeof(f->sources[0]));
	if (!f)
		return NULL;
	f->next.le_prev = NULL;
	f->include = include;
	f->n = n;
	if (n)
		memcpy(f->sources, sources, n * sizeof(*sources));
	return f;
}

int mcast_filter_add(struct net_link *l, const struct in6_addr *group, bool include,
		     const struct in6_addr *sources, unsigned n, struct mcast_filter **out)
{
	struct mcast_filter *f = filter_new(l->stack, include, sources, n);
	struct mcast_state before;
	struct mcast_group *g;

	if (!f)
		return -ENOBUFS;
	WRITE_GUARD(&l->stack->config_lock);
	g = find_or_make(l, group);
	if (!g) {
		net_free(l->stack, f);
		return -ENOBUFS;
	}
	mcast_state_of(g, &before);
	LIST_INSERT_HEAD(&g->filters, f, next);
	changed(g, &before);
	*out = f;
	return 0;
}

int mcast_filter_set(struct net_link *l, const struct in6_addr *group, struct mcast_filter **fp,
		     bool include, const struct in6_addr *sources, unsigned n)
{
	struct mcast_filter *f = filter_new(l->stack, include, sources, n);
	struct mcast_state before;
	struct mcast_group *g;

	if (!f)
		return -ENOBUFS;
	WRITE_GUARD(&l->stack->config_lock);
	g = find(l, group);
	if (g && (*fp)->next.le_prev) { /* else the link has gone meanwhile */
		mcast_state_of(g, &before);
		detach(*fp);
		LIST_INSERT_HEAD(&g->filters, f, next);
		changed(g, &before);
	}
	net_free(l->stack, *fp);
	*fp = f;
	return 0;
}

void mcast_filter_drop(struct net_link *l, const struct in6_addr *group, struct mcast_filter *f)
{
	struct mcast_state before;
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	g = find(l, group);
	if (g && f->next.le_prev) {
		mcast_state_of(g, &before);
		detach(f);
		changed(g, &before);
	}
	net_free(l->stack, f);
}

void mcast_flush_link(struct net_link *l)
{
	WRITE_GUARD(&l->stack->config_lock);

	while (!LIST_EMPTY(&l->groups)) {
		struct mcast_group *g = LIST_FIRST(&l->groups);

		while (!LIST_EMPTY(&g->filters))
			detach(LIST_FIRST(&g->filters));
		unlist(g);
	}
}

void mcast_link_up(struct net_link *l)
{
	static const struct mcast_state nothing = {.include = true};
	struct mcast_group *g, *next;
	WRITE_GUARD(&l->stack->config_lock);

	for (g = LIST_FIRST(&l->groups); g; g = next) {
		next = LIST_NEXT(g, next);
		changed(g, &nothing);
	}
}

/* ------------------------------------------------------------------------------ reports */

/* What the timer sends when it has let go of the lock. */
struct report {
	enum mcast_record_type type;
	struct mcast_state state; /* only the sources matter */
};

static void take_record(struct report *r, const struct mcast_record *rec)
{
	r->type = rec->type;
	r->state.n = rec->n;
	memcpy(r->state.sources, rec->sources, rec->n * sizeof(rec->sources[0]));
}

/* One more time told of the changes: the records of it, and the timer for the next time. */
static unsigned take_changes(struct mcast_group *g, struct report *r)
{
	unsigned n = 0;

	for (int i = 0; i < 2; i++)
		if (g->changes[i])
			take_record(&r[n++], g->changes[i]);
	if (--g->changes_left)
		arm(g, UNSOLICITED_NS);
	else
		forget_changes(g);
	return n;
}

static unsigned take_records(struct mcast_group *g, struct report r[3])
{
	unsigned n = g->changes_left ? take_changes(g, r) : 0;

	if (g->answer) {
		mcast_state_of(g, &r[n].state);
		r[n].type = r[n].state.include ? MCAST_IS_INCLUDE : MCAST_IS_EXCLUDE;
		if (mcast_listens(&r[n].state))
			n++;
	}
	return n;
}

/*
 * RFC 2236 §3, RFC 2710 §4: a report when joining, repeated; a leave only if nobody else has
 * reported since; nothing about sources. True: there is something to send.
 */
static bool take_old(struct mcast_group *g, bool *leave)
{
	bool told = g->changes_left && g->joined_or_left;

	*leave = !in_use(g);
	if (*leave) {
		forget_changes(g);
		return told && g->last_reporter;
	}
	if (told && --g->changes_left)
		arm(g, UNSOLICITED_OLD_NS);
	else
		forget_changes(g);
	g->last_reporter |= told || g->answer;
	return told || g->answer;
}

static void group_timer(struct net_timer *t)
{
	struct mcast_group *g = container_of(t, struct mcast_group, timer);
	struct netstack *s = g->link->stack;
	enum mcast_version v = MCAST_CURRENT;
	struct report r[3];
	unsigned n = 0;
	bool old = false, leave;

	NET_CONTEXT();
	write_lock(&s->config_lock);
	g->timer_at = INT64_MAX;
	if (!g->gone && link_is_up(g->link)) {
		v = mcast_version(g->link, addr_is4(&g->addr));
		if (v == MCAST_CURRENT)
			n = take_records(g, r);
		else
			old = take_old(g, &leave);
	}
	g->answer = false;
	if (!g->gone && !in_use(g) && !g->changes_left)
		unlist(g);
	write_unlock(&s->config_lock);
	for (unsigned i = 0; i < n; i++)
		mcast_send_record(g->link, &g->addr, r[i].type, r[i].state.sources, r[i].state.n);
	if (old)
		mcast_send_old(g->link, &g->addr, v, leave);
	group_put(g);
}

void mcast_answer(struct net_link *l, const struct in6_addr *group, bool v4, int64_t max_delay,
		  const uint8_t *sources, unsigned n)
{
	struct mcast_state st;
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	/* Sources belong to one group, and to a query that an Ethernet frame can hold. */
	if (addr_any(group) || n > QUERY_SOURCES_MAX)
		n = 0;
	LIST_FOREACH (g, &l->groups, next) {
		if (addr_is4(&g->addr) != v4 || !in_use(g) || !reported(g) ||
		    (!addr_any(group) && !addr_eq(group, &g->addr)))
			continue;
		mcast_state_of(g, &st);
		if (!mcast_state_wants(&st, v4, sources, n))
			continue;
		g->answer = true;
		arm(g, MAX(max_delay, NSEC_PER_MSEC));
	}
}

void mcast_heard_report(struct net_link *l, const struct in6_addr *group)
{
	struct mcast_group *g;
	WRITE_GUARD(&l->stack->config_lock);

	g = find(l, group);
	if (!g || !in_use(g) || mcast_version(l, addr_is4(group)) == MCAST_CURRENT)
		return;
	g->last_reporter = g->answer = false;
	forget_changes(g);
}
