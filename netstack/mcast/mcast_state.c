/* From the wishes of listeners to the state of a link, and from states to what has changed. */
#include "netstack/mcast/mcast_internal.h"

static bool listed(const struct in6_addr *list, unsigned n, const struct in6_addr *a)
{
	for (unsigned i = 0; i < n; i++)
		if (addr_eq(&list[i], a))
			return true;
	return false;
}

/* RFC 3376 §3.2, first rule: what all exclude and nobody includes. */
static void state_exclude(const struct mcast_group *g, const struct mcast_filter *first,
			  struct mcast_state *st)
{
	const struct mcast_filter *f;

	st->include = false;
	if (g->users)
		return; /* somebody wants all */
	for (unsigned i = 0; i < first->n; i++) {
		bool all = true;

		LIST_FOREACH (f, &g->filters, next)
			all &= listed(f->sources, f->n, &first->sources[i]) != f->include;
		if (all && !listed(st->sources, st->n, &first->sources[i]))
			st->sources[st->n++] = first->sources[i];
	}
}

void mcast_state_of(const struct mcast_group *g, struct mcast_state *st)
{
	const struct mcast_filter *f;

	st->include = true;
	st->n = 0;
	LIST_FOREACH (f, &g->filters, next)
		if (!f->include)
			break;
	if (g->users || f) {
		state_exclude(g, f, st);
		return;
	}
	LIST_FOREACH (f, &g->filters, next)
		for (unsigned i = 0; i < f->n; i++) {
			if (listed(st->sources, st->n, &f->sources[i]))
				continue;
			if (st->n == MCAST_SOURCES_MAX) { /* too many to list: all, then */
				st->include = false;
				st->n = 0;
				return;
			}
			st->sources[st->n++] = f->sources[i];
		}
}

/* The sources of a that are not in b; NULL if there are none, unless `always`. */
static struct mcast_record *record(struct netstack *s, enum mcast_record_type type,
				   const struct mcast_state *a, const struct mcast_state *b,
				   bool always)
{
	struct mcast_record *r;
	unsigned n = 0;

	for (unsigned i = 0; i < a->n; i++)
		n += !b || !listed(b->sources, b->n, &a->sources[i]);
	if (!n && !always)
		return NULL;
	r = net_alloc(s, sizeof(*r) + n * sizeof(r->sources[0]));
	if (!r)
		return NULL;
	r->type = type;
	r->n = 0;
	for (unsigned i = 0; i < a->n; i++)
		if (!b || !listed(b->sources, b->n, &a->sources[i]))
			r->sources[r->n++] = a->sources[i];
	return r;
}

void mcast_changes(struct netstack *s, const struct mcast_state *before,
		   const struct mcast_state *after, struct mcast_record *out[2])
{
	out[0] = out[1] = NULL;
	if (before->include != after->include) {
		out[0] = record(s, after->include ? MCAST_TO_INCLUDE : MCAST_TO_EXCLUDE, after,
				NULL, true);
	} else if (after->include) {
		out[0] = record(s, MCAST_ALLOW, after, before, false);
		out[1] = record(s, MCAST_BLOCK, before, after, false);
	} else {
		out[0] = record(s, MCAST_ALLOW, before, after, false);
		out[1] = record(s, MCAST_BLOCK, after, before, false);
	}
}

/* RFC 3376 §5.2: A*B of INCLUDE (A), B-A of EXCLUDE (A); nothing of these is no answer. */
bool mcast_state_wants(const struct mcast_state *st, bool v4, const uint8_t *sources, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct in6_addr a;
		uint32_t be;

		if (v4) {
			memcpy(&be, sources + 4 * i, 4);
			addr_set4(&a, be);
		} else {
			memcpy(&a, sources + 16 * i, 16);
		}
		if (listed(st->sources, st->n, &a) == st->include)
			return true;
	}
	return !n && mcast_listens(st);
}
