#include "netstack/demux/demux.h"

#include "netstack/core/hash.h"

int demux_create(struct netstack *s, unsigned buckets, struct demux **out)
{
	struct demux *d = net_alloc(s, sizeof(*d) + buckets * sizeof(d->bucket[0]));

	if (!d)
		return -ENOMEM;
	d->mask = buckets - 1;
	for (unsigned i = 0; i < buckets; i++)
		mutex_init(&d->bucket[i].lock);
	*out = d;
	return 0;
}

void demux_destroy(struct netstack *s, struct demux *d)
{
	for (unsigned i = 0; i <= d->mask; i++) {
		BUG_ON(!LIST_EMPTY(&d->bucket[i].eps) || !LIST_EMPTY(&d->bucket[i].reqs));
		mutex_destroy(&d->bucket[i].lock);
	}
	net_free(s, d);
}

struct demux_bucket *demux_bucket_of(struct netstack *s, struct demux *d, const struct tuple *t)
{
	struct {
		uint32_t a[8];
		uint16_t p[2];
	} k;

	memcpy(k.a, &t->laddr, 16);
	memcpy(k.a + 4, &t->raddr, 16);
	k.p[0] = t->lport;
	k.p[1] = t->rport;
	return &d->bucket[siphash(s->hash_key, &k, sizeof(k)) & d->mask];
}

static bool matches(const struct net_ep *ep, const struct tuple *t)
{
	return ep->lport == t->lport && ep->rport == t->rport && addr_eq(&ep->raddr, &t->raddr) &&
	       addr_eq(&ep->laddr, &t->laddr);
}

struct net_ep *demux_find(struct netstack *s, struct demux *d, const struct tuple *t)
{
	struct demux_bucket *b = demux_bucket_of(s, d, t);
	struct net_ep *ep;
	MUTEX_GUARD(&b->lock);

	LIST_FOREACH (ep, &b->eps, hash_link)
		if (matches(ep, t) && refcount_inc_not_zero(&ep->refs))
			return ep;
	return NULL;
}

static struct tuple tuple_of(const struct net_ep *ep)
{
	return (struct tuple){ep->laddr, ep->raddr, ep->lport, ep->rport};
}

int demux_insert(struct netstack *s, struct demux *d, struct net_ep *ep, struct net_ep **other)
{
	struct tuple t = tuple_of(ep);
	struct demux_bucket *b = demux_bucket_of(s, d, &t);
	struct net_ep *o;
	MUTEX_GUARD(&b->lock);

	LIST_FOREACH (o, &b->eps, hash_link)
		if (matches(o, &t)) {
			if (other)
				*other = refcount_inc_not_zero(&o->refs) ? o : NULL;
			return -EADDRNOTAVAIL;
		}
	LIST_INSERT_HEAD(&b->eps, ep, hash_link);
	ep->hashed = true;
	return 0;
}

void demux_remove(struct netstack *s, struct demux *d, struct net_ep *ep)
{
	struct tuple t = tuple_of(ep);
	struct demux_bucket *b = demux_bucket_of(s, d, &t);
	MUTEX_GUARD(&b->lock);

	if (!ep->hashed)
		return;
	LIST_REMOVE(ep, hash_link);
	ep->hashed = false;
}
