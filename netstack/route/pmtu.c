/* Path MTU cache: RFC 1191, RFC 8201. Entries live 10 minutes; the cache is bounded. */
#include "netstack/core/hash.h"
#include "netstack/route/route_internal.h"

#define BUCKETS 256
#define ENTRIES 1024
#define LIFE_NS (600 * NSEC_PER_SEC)
#define MIN_PMTU4 552 /* as Linux: smaller reports are not believed further than this */
#define MIN_PMTU6 1280

struct pmtu {
	LIST_ENTRY(pmtu) next;
	struct in6_addr dst;
	uint32_t mtu;
	int64_t expires;
};

struct pmtu_table {
	struct mutex lock;
	unsigned count;
	LIST_HEAD(, pmtu) bucket[BUCKETS];
};

int pmtu_create(struct netstack *s)
{
	s->pmtu = net_alloc(s, sizeof(*s->pmtu));
	if (!s->pmtu)
		return -ENOMEM;
	mutex_init(&s->pmtu->lock);
	return 0;
}

static void drop(struct netstack *s, struct pmtu *e)
{
	LIST_REMOVE(e, next);
	s->pmtu->count--;
	net_free(s, e);
}

void pmtu_destroy(struct netstack *s)
{
	for (int i = 0; i < BUCKETS; i++)
		while (!LIST_EMPTY(&s->pmtu->bucket[i]))
			drop(s, LIST_FIRST(&s->pmtu->bucket[i]));
	mutex_destroy(&s->pmtu->lock);
	net_free(s, s->pmtu);
}

static unsigned bucket_of(struct netstack *s, const struct in6_addr *a)
{
	return siphash(s->hash_key, a, sizeof(*a)) % BUCKETS;
}

static struct pmtu *find(struct netstack *s, const struct in6_addr *dst)
{
	struct pmtu *e, *n;
	int64_t now = net_now(s);

	for (e = LIST_FIRST(&s->pmtu->bucket[bucket_of(s, dst)]); e; e = n) {
		n = LIST_NEXT(e, next);
		if (e->expires <= now)
			drop(s, e);
		else if (addr_eq(&e->dst, dst))
			return e;
	}
	return NULL;
}

uint32_t pmtu_lookup(struct netstack *s, const struct in6_addr *dst, uint32_t link_mtu)
{
	struct pmtu *e;

	if (!__atomic_load_n(&s->pmtu->count, __ATOMIC_RELAXED))
		return link_mtu;
	MUTEX_GUARD(&s->pmtu->lock);
	e = find(s, dst);
	return e && e->mtu < link_mtu ? e->mtu : link_mtu;
}

bool pmtu_update(struct netstack *s, const struct in6_addr *dst, uint32_t mtu)
{
	struct pmtu *e;

	mtu = MAX(mtu, addr_is4(dst) ? (uint32_t)MIN_PMTU4 : (uint32_t)MIN_PMTU6);
	MUTEX_GUARD(&s->pmtu->lock);
	e = find(s, dst);
	if (e && e->mtu <= mtu)
		return false;
	if (!e) {
		if (s->pmtu->count >= ENTRIES)
			return false;
		e = net_alloc(s, sizeof(*e));
		if (!e)
			return false;
		e->dst = *dst;
		LIST_INSERT_HEAD(&s->pmtu->bucket[bucket_of(s, dst)], e, next);
		s->pmtu->count++;
	}
	e->mtu = mtu;
	e->expires = net_now(s) + LIFE_NS;
	path_invalidate(s);
	return true;
}
