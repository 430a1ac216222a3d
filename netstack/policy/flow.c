/*
 * Flows that pass without rules being asked: a cache with FLOW_WAYS places for each hash, whose
 * oldest makes room. One that has lost its place is judged by the rules again, as a new one.
 */
#include "netstack/core/hash.h"
#include "netstack/policy/policy_internal.h"

#define IDLE_TCP (24 * 3600 * NSEC_PER_SEC)
#define IDLE (180 * NSEC_PER_SEC)
#define FRAGMENTED_FOR (30 * NSEC_PER_SEC)

static bool same(const struct net_egress_flow *a, const struct net_egress_flow *b)
{
	return a->protocol == b->protocol && a->lport == b->lport && a->rport == b->rport &&
	       addr_eq(&a->raddr, &b->raddr);
}

static struct flow *set_of(struct netstack *s, const struct net_egress_flow *key)
{
	struct {
		struct in6_addr raddr;
		uint16_t lport, rport;
		uint32_t protocol;
	} k = {key->raddr, key->lport, key->rport, key->protocol};

	return s->egress->flows + siphash(s->hash_key, &k, sizeof(k)) % FLOW_SETS * FLOW_WAYS;
}

static bool idle(const struct flow *f, int64_t now)
{
	return now - f->last > (f->key.protocol == IPPROTO_TCP ? IDLE_TCP : IDLE);
}

struct flow *flow_find(struct netstack *s, const struct net_egress_flow *key)
{
	struct flow *f;

	if (!s->egress->flows)
		return NULL;
	f = set_of(s, key);
	for (int i = 0; i < FLOW_WAYS; i++, f++) {
		if (!f->used || !same(&f->key, key))
			continue;
		if (!idle(f, net_now(s)))
			return f;
		flow_remove(s, f);
		return NULL;
	}
	return NULL;
}

void flow_remove(struct netstack *s, struct flow *f)
{
	net_free(s, f->name);
	memset(f, 0, sizeof(*f));
}

static char *copy_name(struct netstack *s, const char *name)
{
	size_t n = strlen(name) + 1;
	char *copy = net_alloc(s, n);

	if (copy)
		memcpy(copy, name, n);
	return copy;
}

void flow_put(struct netstack *s, const struct net_egress_flow *key, bool inbound, const char *name)
{
	struct egress *e = s->egress;
	struct flow *f, *place = NULL;
	char *copy;

	if (!e->flows)
		e->flows = net_alloc(s, sizeof(*e->flows) * FLOW_SETS * FLOW_WAYS);
	if (!e->flows)
		return;
	f = set_of(s, key);
	for (int i = 0; i < FLOW_WAYS; i++, f++) {
		if (f->used && same(&f->key, key)) {
			place = f;
			break;
		}
		if (!place || (place->used && (!f->used || f->last < place->last)))
			place = f;
	}
	/* The name may be the flow's own. */
	copy = name ? copy_name(s, name) : NULL;
	flow_remove(s, place);
	place->key = *key;
	place->used = true;
	place->inbound = inbound;
	place->policy = e->policy;
	place->last = net_now(s);
	place->name = copy;
}

void flow_remove_all(struct netstack *s)
{
	struct egress *e = s->egress;

	if (!e->flows)
		return;
	for (unsigned i = 0; i < FLOW_SETS * FLOW_WAYS; i++)
		if (e->flows[i].used)
			flow_remove(s, &e->flows[i]);
	net_free(s, e->flows);
	e->flows = NULL;
}

static bool same_datagram(const struct fragmented *a, const struct fragmented *b)
{
	return a->id == b->id && a->protocol == b->protocol && addr_eq(&a->src, &b->src) &&
	       addr_eq(&a->dst, &b->dst);
}

void fragmented_put(struct netstack *s, const struct fragmented *key)
{
	struct fragmented *list = s->egress->fragmented, *place = list;

	for (int i = 0; i < FRAGMENTED_MAX; i++) {
		if (same_datagram(&list[i], key)) {
			place = &list[i];
			break;
		}
		if (list[i].until < place->until)
			place = &list[i];
	}
	*place = *key;
	place->until = net_now(s) + FRAGMENTED_FOR;
}

bool fragmented_find(struct netstack *s, const struct fragmented *key)
{
	const struct fragmented *list = s->egress->fragmented;

	for (int i = 0; i < FRAGMENTED_MAX; i++)
		if (list[i].until > net_now(s) && same_datagram(&list[i], key))
			return true;
	return false;
}
