/*
 * Which names an address is open for. Only a question that was let through can be answered, once,
 * by the server that it went to, to where it came from, with its id, name and type; and an answer
 * opens the addresses of that name alone.
 */
#include "netstack/core/hash.h"
#include "netstack/policy/policy_internal.h"

#define QUESTION_FOR (30 * NSEC_PER_SEC)
/* A program connects some time after it has asked, and few ask again when a minute is over. */
#define TTL_LEAST 60
#define TTL_MOST 86400

void name_ask(struct netstack *s, const struct in6_addr *server, uint32_t client,
	      const struct dns_question *q)
{
	struct egress *e = s->egress;
	struct asked *place;

	if (!e->asked)
		e->asked = net_alloc(s, sizeof(*e->asked) * QUESTIONS_MAX);
	if (!e->asked)
		return;
	place = e->asked;
	for (int i = 0; i < QUESTIONS_MAX; i++) {
		struct asked *a = &e->asked[i];

		/* The same question once more: its answer will be one. */
		if (a->used && a->id == q->id && a->client == client && a->type == q->type &&
		    addr_eq(&a->server, server) && !strcmp(a->name, q->name)) {
			place = a;
			break;
		}
		if (place->used && (!a->used || a->until < place->until))
			place = a;
	}
	e->questions++;
	place->used = true;
	place->server = *server;
	place->client = client;
	place->id = q->id;
	place->type = q->type;
	place->until = net_now(s) + QUESTION_FOR;
	memcpy(place->name, q->name, sizeof(place->name));
}

static struct opened_list *bucket_of(struct netstack *s, const struct in6_addr *addr)
{
	return &s->egress->names[siphash(s->hash_key, addr, sizeof(*addr)) % NAME_BUCKETS];
}

static void close_name(struct netstack *s, struct opened *o)
{
	struct egress *e = s->egress;

	LIST_REMOVE(o, bucket);
	TAILQ_REMOVE(&e->names_by_age, o, age);
	e->nnames--;
	net_free(s, o);
}

void name_close_all(struct netstack *s)
{
	while (!TAILQ_EMPTY(&s->egress->names_by_age))
		close_name(s, TAILQ_FIRST(&s->egress->names_by_age));
}

static void open_name(struct netstack *s, const char *name, const struct dns_address *a)
{
	struct egress *e = s->egress;
	uint32_t ttl = a->ttl < TTL_LEAST ? TTL_LEAST : a->ttl > TTL_MOST ? TTL_MOST : a->ttl;
	int64_t until = net_now(s) + ttl * NSEC_PER_SEC;
	struct opened_list *bucket = bucket_of(s, &a->addr);
	size_t size = strlen(name) + 1;
	struct opened *o;

	LIST_FOREACH (o, bucket, bucket)
		if (addr_eq(&o->addr, &a->addr) && !strcmp(o->name, name)) {
			if (until > o->until)
				o->until = until;
			TAILQ_REMOVE(&e->names_by_age, o, age);
			TAILQ_INSERT_TAIL(&e->names_by_age, o, age);
			return;
		}
	if (e->nnames >= NAMES_MAX)
		close_name(s, TAILQ_FIRST(&e->names_by_age));
	o = net_alloc(s, sizeof(*o) + size);
	if (!o)
		return;
	o->addr = a->addr;
	o->until = until;
	memcpy(o->name, name, size);
	LIST_INSERT_HEAD(bucket, o, bucket);
	TAILQ_INSERT_TAIL(&e->names_by_age, o, age);
	e->nnames++;
}

void name_answer(struct netstack *s, const struct in6_addr *server, uint32_t client,
		 const uint8_t *message, size_t n)
{
	struct egress *e = s->egress;
	struct dns_address addresses[DNS_ADDRESSES_MAX];
	struct dns_question q;
	int count;

	if (!e->asked)
		return;
	count = dns_parse_answer(message, n, &q, addresses, DNS_ADDRESSES_MAX);
	for (int i = 0; count >= 0 && i < QUESTIONS_MAX; i++) {
		struct asked *a = &e->asked[i];

		if (!a->used || a->id != q.id || a->client != client || a->type != q.type ||
		    !addr_eq(&a->server, server) || strcmp(a->name, q.name))
			continue;
		a->used = false;
		for (int k = 0; k < count && a->until > net_now(s); k++)
			open_name(s, q.name, &addresses[k]);
		return;
	}
}

struct opened *name_next(struct netstack *s, const struct in6_addr *addr, struct opened *last)
{
	struct opened *o = last ? LIST_NEXT(last, bucket) : LIST_FIRST(bucket_of(s, addr));
	struct opened *next;

	for (; o; o = next) {
		next = LIST_NEXT(o, bucket);
		if (o->until <= net_now(s))
			close_name(s, o);
		else if (addr_eq(&o->addr, addr))
			return o;
	}
	return NULL;
}
