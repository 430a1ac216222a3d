/*
 * What a thread has put off until it holds no lock: packets for loopback-like links, flushes of
 * links, readiness callbacks, configuration events and reports of what was refused.
 */
#include "netstack/link/link.h"
#include "netstack/policy/policy.h"
#include "netstack/socket/socket.h"
#include "netstack/tcp/tcp.h"

#define DIRTY_MAX 8
/* Frames that go from link to link before the one who has sent the first is let go: bridges can be
 * connected in circles. */
#define PASSED_MAX 16384

struct event_node {
	STAILQ_ENTRY(event_node) next;
	struct netstack *stack;
	struct net_event ev;
};

struct refusal_node {
	STAILQ_ENTRY(refusal_node) next;
	struct netstack *stack;
	struct net_egress_refusal refusal;
};

struct net_context {
	int depth;
	unsigned passed;
	struct nbuf_queue input;
	STAILQ_HEAD(, net_ep) ready;
	STAILQ_HEAD(, net_ep) acks;
	STAILQ_HEAD(, event_node) events;
	STAILQ_HEAD(, refusal_node) refusals;
	struct net_link *dirty[DIRTY_MAX];
	unsigned ndirty;
};

static _Thread_local struct net_context context;

void net_enter(void)
{
	struct net_context *c = &context;

	if (c->depth++)
		return;
	c->passed = 0;
	if (!c->ready.stqh_last) {
		STAILQ_INIT(&c->input);
		STAILQ_INIT(&c->ready);
		STAILQ_INIT(&c->acks);
		STAILQ_INIT(&c->events);
		STAILQ_INIT(&c->refusals);
	}
}

static void run_ready(struct net_context *c)
{
	struct net_ep *ep = STAILQ_FIRST(&c->ready);
	const struct net_ep_ops *ops;
	uint32_t events;
	void *user;

	STAILQ_REMOVE_HEAD(&c->ready, ready_link);
	events = atomic_exchange(&ep->ready_events, 0);
	mutex_lock(&ep->ops_lock);
	ops = ep->ops;
	user = ep->user;
	mutex_unlock(&ep->ops_lock);
	if (ops && ops->ready)
		ops->ready(ep, user, events);
	net_ep_put(ep);
}

static void run_events(struct net_context *c)
{
	struct event_node *n = STAILQ_FIRST(&c->events);
	struct netstack *s = n->stack;

	STAILQ_REMOVE_HEAD(&c->events, next);
	s->event(s->event_ctx, s, &n->ev);
	net_free(s, n);
	netstack_put(s);
}

static void run_refusals(struct net_context *c)
{
	struct refusal_node *n = STAILQ_FIRST(&c->refusals);
	struct netstack *s = n->stack;

	STAILQ_REMOVE_HEAD(&c->refusals, next);
	egress_tell(s, &n->refusal);
	net_free(s, n);
	netstack_put(s);
}

static void flush_dirty(struct net_context *c)
{
	while (c->ndirty) {
		struct net_link *l = c->dirty[--c->ndirty];

		if (l->ops->flush)
			l->ops->flush(l, l->priv);
		net_link_put(l);
	}
}

void net_leave(void)
{
	struct net_context *c = &context;
	struct nbuf *b;

	if (c->depth > 1) {
		c->depth--;
		return;
	}
	for (;;) {
		b = STAILQ_FIRST(&c->input);
		if (b) {
			struct net_link *l = net_link_get(b->link);

			STAILQ_REMOVE_HEAD(&c->input, next);
			net_link_input(l, b);
			net_link_put(l);
		} else if (!STAILQ_EMPTY(&c->acks)) {
			struct net_ep *ep = STAILQ_FIRST(&c->acks);

			STAILQ_REMOVE_HEAD(&c->acks, ack_link);
			tcp_deferred_ack(ep);
			net_ep_put(ep);
		} else if (c->ndirty) {
			flush_dirty(c);
		} else if (!STAILQ_EMPTY(&c->ready)) {
			run_ready(c);
		} else if (!STAILQ_EMPTY(&c->events)) {
			run_events(c);
		} else if (!STAILQ_EMPTY(&c->refusals)) {
			run_refusals(c);
		} else {
			break;
		}
	}
	c->depth--;
}

void net_defer_input(struct net_link *l, struct nbuf *b)
{
	if (context.passed++ >= PASSED_MAX) {
		atomic_fetch_add_explicit(&l->stats.rx_dropped, 1, memory_order_relaxed);
		nbuf_put(b);
		return;
	}
	nbuf_set_link(b, l);
	STAILQ_INSERT_TAIL(&context.input, b, next);
}

void net_defer_flush(struct net_link *l)
{
	struct net_context *c = &context;

	if (!l->ops->flush)
		return;
	for (unsigned i = 0; i < c->ndirty; i++)
		if (c->dirty[i] == l)
			return;
	if (c->ndirty == DIRTY_MAX) {
		l->ops->flush(l, l->priv);
		return;
	}
	c->dirty[c->ndirty++] = net_link_get(l);
}

void net_defer_ready(struct net_ep *ep, uint32_t events)
{
	if (!ep->ops || !events)
		return;
	if (atomic_fetch_or(&ep->ready_events, events))
		return;
	net_ep_get(ep);
	STAILQ_INSERT_TAIL(&context.ready, ep, ready_link);
}

void net_defer_ack(struct net_ep *ep)
{
	net_ep_get(ep);
	STAILQ_INSERT_TAIL(&context.acks, ep, ack_link);
}

void net_defer_event(struct netstack *s, const struct net_event *ev)
{
	struct event_node *n;

	if (!s->event || atomic_load(&s->dead))
		return;
	n = net_alloc(s, sizeof(*n));
	if (!n)
		return;
	n->stack = netstack_get(s);
	n->ev = *ev;
	STAILQ_INSERT_TAIL(&context.events, n, next);
}

void net_defer_refusal(struct netstack *s, const struct net_egress_refusal *r)
{
	struct refusal_node *n = atomic_load(&s->dead) ? NULL : net_alloc(s, sizeof(*n));

	if (!n)
		return;
	n->stack = netstack_get(s);
	n->refusal = *r;
	STAILQ_INSERT_TAIL(&context.refusals, n, next);
}
