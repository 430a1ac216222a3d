/*
 * Reassembly of IPv4 and IPv6 fragments (RFC 791 §3.2, RFC 8200 §4.5). Overlaps end the datagram
 * (RFC 5722, RFC 8200), exact duplicates are ignored. Memory, time, fragments per datagram and
 * datagrams are bounded; when memory is short, the oldest datagram goes.
 */
#include "netstack/core/hash.h"
#include "netstack/ip/ip_internal.h"
#include "netstack/ip/ip_upcalls.h"

#define BUCKETS 64
#define FRAGMENTS_MAX 512
#define PACKET_MAX 65535
#define V6_TIMEOUT_S 60

struct reass {
	LIST_ENTRY(reass) next; /* bucket */
	TAILQ_ENTRY(reass) age; /* oldest first */
	struct netstack *stack;
	struct reass_key key;
	struct refcount refs;		      /* table, armed timer */
	struct nbuf_queue frags;	      /* by offset, which is in nbuf.seq; end in end_seq */
	struct nbuf *first;		      /* the fragment with offset 0, in frags */
	uint32_t count, bytes, memory, total; /* total 0: last fragment not seen */
	uint32_t frag_max;
	uint16_t hdr_len;
	uint8_t ecn; /* bit per ECN codepoint seen */
	bool dead;
	struct net_timer timer;
};

struct reass_table {
	struct mutex lock;
	size_t memory;
	LIST_HEAD(, reass) bucket[BUCKETS];
	TAILQ_HEAD(, reass) ages;
};

int reass_create(struct netstack *s)
{
	s->reass = net_alloc(s, sizeof(*s->reass));
	if (!s->reass)
		return -ENOMEM;
	mutex_init(&s->reass->lock);
	TAILQ_INIT(&s->reass->ages);
	return 0;
}

static void put(struct reass *q)
{
	if (!refcount_dec(&q->refs))
		return;
	nbuf_queue_purge(&q->frags);
	net_free(q->stack, q);
}

/* Takes q out of the table; lock held. */
static void kill(struct netstack *s, struct reass *q)
{
	struct reass_table *t = s->reass;

	if (q->dead)
		return;
	q->dead = true;
	LIST_REMOVE(q, next);
	TAILQ_REMOVE(&t->ages, q, age);
	t->memory -= q->memory;
	if (net_timer_cancel(s, &q->timer))
		put(q);
	put(q);
}

void reass_purge(struct netstack *s)
{
	MUTEX_GUARD(&s->reass->lock);

	while (!TAILQ_EMPTY(&s->reass->ages))
		kill(s, TAILQ_FIRST(&s->reass->ages));
}

void reass_destroy(struct netstack *s)
{
	reass_purge(s);
	mutex_destroy(&s->reass->lock);
	net_free(s, s->reass);
}

static bool is_v4(const struct reass *q)
{
	return addr_is4(&q->key.dst);
}

static void timeout(struct net_timer *tm)
{
	struct reass *q = container_of(tm, struct reass, timer);
	struct netstack *s = q->stack;
	struct nbuf *first = NULL;

	NET_CONTEXT();
	mutex_lock(&s->reass->lock);
	if (!q->dead) {
		net_count(s, is_v4(q) ? NET_Ip_ReasmTimeout : NET_Ip6_ReasmTimeout);
		net_count(s, is_v4(q) ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails);
		if (q->first)
			first = nbuf_clone(q->first);
		kill(s, q);
	}
	mutex_unlock(&s->reass->lock);
	/* RFC 792, RFC 4443 §3.3: time exceeded, code 1, if the first fragment was there. */
	if (first && is_v4(q))
		icmp4_error(s, first, ICMP4_TIME_EXCEEDED, ICMP4_TIME_REASS, 0);
	else if (first)
		icmp6_error(s, first, ICMP6_TIME_EXCEEDED, ICMP6_TIME_EXCEED_REASSEMBLY, 0);
	nbuf_put(first);
	put(q);
}

static unsigned bucket_of(struct netstack *s, const struct reass_key *k)
{
	return siphash(s->hash_key, k, sizeof(*k)) % BUCKETS;
}

static struct reass *find_or_make(struct netstack *s, const struct reass_key *k)
{
	struct reass_table *t = s->reass;
	unsigned i = bucket_of(s, k);
	struct reass *q;
	int64_t life;

	LIST_FOREACH (q, &t->bucket[i], next)
		if (!memcmp(&q->key, k, sizeof(*k)))
			return q;
	q = net_alloc(s, sizeof(*q));
	if (!q)
		return NULL;
	q->stack = s;
	q->key = *k;
	refcount_init(&q->refs);
	STAILQ_INIT(&q->frags);
	LIST_INSERT_HEAD(&t->bucket[i], q, next);
	TAILQ_INSERT_TAIL(&t->ages, q, age);
	q->memory = sizeof(*q);
	t->memory += q->memory;
	q->timer.fn = timeout;
	refcount_inc(&q->refs);
	life = addr_is4(&k->dst) ? s->sysctl.ipfrag_time : V6_TIMEOUT_S;
	net_timer_arm(s, &q->timer, net_now(s) + life * NSEC_PER_SEC);
	return q;
}

/* Puts b into its place. -EEXIST: exact duplicate; -EINVAL: overlap or inconsistent. */
static int insert(struct reass *q, struct nbuf *b, bool more)
{
	struct nbuf *prev = NULL, *f;

	if (!more) {
		if (q->total && q->total != b->end_seq)
			return -EINVAL;
		STAILQ_FOREACH(f, &q->frags, next)
		if (f->end_seq > b->end_seq)
			return -EINVAL;
		q->total = b->end_seq;
	} else if (q->total && b->end_seq > q->total) {
		return -EINVAL;
	}
	STAILQ_FOREACH(f, &q->frags, next)
	{
		if (f->seq == b->seq && f->end_seq == b->end_seq)
			return -EEXIST;
		if (f->seq < b->end_seq && b->seq < f->end_seq)
			return -EINVAL;
		if (f->seq < b->seq)
			prev = f;
	}
	if (prev)
		STAILQ_INSERT_AFTER(&q->frags, prev, b, next);
	else
		STAILQ_INSERT_HEAD(&q->frags, b, next);
	return 0;
}

/* All bytes are there: one linear packet that begins with the first fragment's headers. */
static struct nbuf *join(struct netstack *s, struct reass *q)
{
	struct nbuf *first = q->first, *f, *n;
	size_t mac = first->has_mac && first->mac ? (size_t)(first->net - first->mac) : 0;

	if (q->hdr_len + q->total > PACKET_MAX + (is_v4(q) ? 0 : sizeof(struct ip6_hdr)))
		return NULL;
	n = nbuf_alloc(s->pool, 2, mac + q->hdr_len + q->total);
	if (!n)
		return NULL;
	memcpy(nbuf_append(n, mac + q->hdr_len), first->net - mac, mac + q->hdr_len);
	n->net = n->data + mac;
	if (mac) {
		n->mac = n->data;
		n->has_mac = 1;
	}
	STAILQ_FOREACH(f, &q->frags, next)
	nbuf_read(f, 0, nbuf_append(n, f->len), f->len);
	nbuf_pull(n, mac + q->hdr_len);
	nbuf_set_link(n, first->link);
	n->pkt_type = first->pkt_type;
	n->protocol = first->protocol;
	n->tstamp = first->tstamp;
	n->src = first->src;
	n->dst = first->dst;
	n->ttl = first->ttl;
	n->tos = first->tos;
	n->flow = first->flow;
	n->mcast = first->mcast;
	n->is_frag = 1;
	n->frag_max = MIN(q->frag_max, 65535u);
	return n;
}

/* RFC 3168 §5.3: CE wins; Not-ECT mixed with CE is dropped. False: drop. */
static bool merge_ecn(uint8_t seen, uint8_t *tos)
{
	if (!(seen & 8))
		return true;
	if (seen & 1)
		return false;
	*tos |= 3;
	return true;
}

struct nbuf *reass_add(struct netstack *s, const struct reass_key *k, struct nbuf *b,
		       uint32_t offset, bool more, uint16_t hdr_len, uint8_t ecn)
{
	struct reass_table *t = s->reass;
	bool v4 = addr_is4(&k->dst);
	struct nbuf *whole = NULL;
	struct reass *q;
	uint32_t size = nbuf_truesize(b);
	int err;

	net_count(s, v4 ? NET_Ip_ReasmReqds : NET_Ip6_ReasmReqds);
	if (b->len == 0 || offset + b->len > PACKET_MAX || (more && (b->len & 7))) {
		net_count(s, v4 ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails);
		nbuf_put(b);
		return NULL;
	}
	MUTEX_GUARD(&t->lock);
	while (t->memory + size > (size_t)s->sysctl.ipfrag_high_thresh && !TAILQ_EMPTY(&t->ages)) {
		net_count(s, v4 ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails);
		kill(s, TAILQ_FIRST(&t->ages));
	}
	q = t->memory + size > (size_t)s->sysctl.ipfrag_high_thresh ? NULL : find_or_make(s, k);
	if (!q || q->count >= FRAGMENTS_MAX) {
		if (q)
			kill(s, q);
		nbuf_put(b);
		return NULL;
	}
	b->seq = offset;
	b->end_seq = offset + b->len;
	err = insert(q, b, more);
	if (err) {
		nbuf_put(b);
		if (err == -EINVAL) {
			net_count(s, v4 ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails);
			kill(s, q);
		}
		return NULL;
	}
	q->count++;
	q->bytes += b->len;
	q->memory += size;
	t->memory += size;
	q->ecn |= 1 << (ecn & 3);
	q->frag_max = MAX(q->frag_max, b->len + hdr_len);
	if (offset == 0) {
		q->first = b;
		q->hdr_len = hdr_len;
	}
	if (q->total && q->bytes == q->total) {
		whole = join(s, q);
		if (whole && !merge_ecn(q->ecn, &whole->tos)) {
			nbuf_put(whole);
			whole = NULL;
		}
		net_count(s, whole ? (v4 ? NET_Ip_ReasmOKs : NET_Ip6_ReasmOKs)
				   : (v4 ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails));
		kill(s, q);
	}
	return whole;
}
