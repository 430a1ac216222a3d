/* The policy itself: its life, what its rules say, and what is told of refusals. */
#include <stdlib.h>

#include "netstack/policy/policy_internal.h"

#define REPORTS_PER_SECOND 50
#define REPORTS_BURST 200

/* --- life ------------------------------------------------------------------------------------- */

int egress_create(struct netstack *s)
{
	struct egress *e = net_alloc(s, sizeof(*e));

	if (!e)
		return -ENOMEM;
	mutex_init(&e->lock);
	mutex_init(&e->reports.lock);
	for (int i = 0; i < NAME_BUCKETS; i++)
		LIST_INIT(&e->names[i]);
	TAILQ_INIT(&e->names_by_age);
	e->config.allow = true;
	atomic_init(&e->plain, true);
	s->egress = e;
	return 0;
}

static void config_free(struct netstack *s, struct net_egress_config *c)
{
	net_free(s, c->rules);
	net_free(s, c->resolvers);
}

void egress_destroy(struct netstack *s)
{
	struct egress *e = s->egress;

	if (!e)
		return;
	flow_remove_all(s);
	name_close_all(s);
	net_free(s, e->asked);
	config_free(s, &e->config);
	mutex_destroy(&e->lock);
	mutex_destroy(&e->reports.lock);
	net_free(s, e);
	s->egress = NULL;
}

/* --- configuration ---------------------------------------------------------------------------- */

bool net_egress_name_valid(const char *name)
{
	size_t label = 0, n = strlen(name);

	if (!strncmp(name, "*.", 2))
		name += 2;
	if (n >= NET_EGRESS_NAME_SIZE || !*name)
		return false;
	for (; *name; name++) {
		if (*name == '.') {
			if (!label || !name[1])
				return false;
			label = 0;
			continue;
		}
		if (!((*name >= 'a' && *name <= 'z') || (*name >= '0' && *name <= '9') ||
		      *name == '-' || *name == '_') ||
		    ++label > 63)
			return false;
	}
	return true;
}

static bool rule_valid(const struct net_egress_rule *r)
{
	unsigned bits = r->family == AF_INET ? 32 : 128;

	if (strnlen(r->name, sizeof(r->name)) == sizeof(r->name) ||
	    r->nports > NET_EGRESS_PORTS_MAX)
		return false;
	if (*r->name && (r->family || !net_egress_name_valid(r->name)))
		return false;
	if (r->family && r->family != AF_INET && r->family != AF_INET6)
		return false;
	if (r->family ? r->prefix > bits : r->prefix)
		return false;
	if (r->family && addr_is4(&r->addr) != (r->family == AF_INET))
		return false;
	for (unsigned i = 0; i < r->nports; i++)
		if (r->ports[i].first > r->ports[i].last)
			return false;
	return true;
}

static int copy_list(struct netstack *s, void **to, const void *from, size_t n, size_t size)
{
	if (!n)
		return 0;
	*to = net_alloc(s, n * size);
	if (!*to)
		return -ENOMEM;
	memcpy(*to, from, n * size);
	return 0;
}

int egress_set(struct netstack *s, const struct net_egress_config *c)
{
	struct net_egress_config new = *c, old;
	struct egress *e = s->egress;
	int err;

	if (c->nrules > NET_EGRESS_RULES_MAX || c->nresolvers > NET_EGRESS_RESOLVERS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < c->nrules; i++)
		if (!rule_valid(&c->rules[i]))
			return -EINVAL;
	new.rules = NULL;
	new.resolvers = NULL;
	err = copy_list(s, (void **)&new.rules, c->rules, c->nrules, sizeof(*c->rules));
	if (!err)
		err = copy_list(s, (void **)&new.resolvers, c->resolvers, c->nresolvers,
				sizeof(*c->resolvers));
	if (err) {
		config_free(s, &new);
		return err;
	}
	mutex_lock(&e->lock);
	old = e->config;
	e->config = new;
	e->policy++;
	atomic_store(&e->plain, new.allow && !new.nrules);
	atomic_store(&e->metadata_open, new.allow_metadata);
	mutex_unlock(&e->lock);
	config_free(s, &old);
	return 0;
}

int net_egress_get(struct netstack *s, struct net_egress_config *c)
{
	struct egress *e = s->egress;
	MUTEX_GUARD(&e->lock);

	*c = e->config;
	c->rules = calloc(c->nrules + 1, sizeof(*c->rules));
	c->resolvers = calloc(c->nresolvers + 1, sizeof(*c->resolvers));
	if (!c->rules || !c->resolvers) {
		net_egress_free(c);
		return -ENOMEM;
	}
	if (c->nrules)
		memcpy(c->rules, e->config.rules, c->nrules * sizeof(*c->rules));
	if (c->nresolvers)
		memcpy(c->resolvers, e->config.resolvers, c->nresolvers * sizeof(*c->resolvers));
	return 0;
}

void net_egress_free(struct net_egress_config *c)
{
	free(c->rules);
	free(c->resolvers);
	*c = (struct net_egress_config){0};
}

void net_egress_report(struct netstack *s,
		       void (*refused)(void *ctx, const struct net_egress_refusal *r), void *ctx)
{
	MUTEX_GUARD(&s->egress->lock);

	s->egress->refused = refused;
	s->egress->refused_ctx = ctx;
}

void egress_tell(struct netstack *s, const struct net_egress_refusal *r)
{
	struct egress *e = s->egress;
	void (*refused)(void *ctx, const struct net_egress_refusal *r);
	void *ctx;

	mutex_lock(&e->lock);
	refused = e->refused;
	ctx = e->refused_ctx;
	mutex_unlock(&e->lock);
	if (refused)
		refused(ctx, r);
}

void net_egress_stats(struct netstack *s, struct net_egress_stats *out)
{
	struct egress *e = s->egress;
	struct opened *o;
	MUTEX_GUARD(&e->lock);

	*out = (struct net_egress_stats){.refused = atomic_load(&e->nrefused),
					 .questions = e->questions};
	TAILQ_FOREACH (o, &e->names_by_age, age)
		out->names += o->until > net_now(s);
}

int net_egress_each_name(struct netstack *s,
			 int (*fn)(void *arg, const char *name, const struct in6_addr *addr,
				   unsigned seconds),
			 void *arg)
{
	struct opened *o;
	int r = 0;
	MUTEX_GUARD(&s->egress->lock);

	TAILQ_FOREACH (o, &s->egress->names_by_age, age)
		if (!r && o->until > net_now(s))
			r = fn(arg, o->name, &o->addr,
			       (unsigned)((o->until - net_now(s)) / NSEC_PER_SEC));
	return r;
}

/* --- what rules say --------------------------------------------------------------------------- */

bool policy_is_resolver(const struct egress *e, const struct in6_addr *addr)
{
	for (unsigned i = 0; i < e->config.nresolvers; i++)
		if (addr_eq(&e->config.resolvers[i], addr))
			return true;
	return false;
}

/* Are the first bits of the addresses the same? */
static bool prefix_eq(const struct in6_addr *a, const struct in6_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return !memcmp(a, b, bytes) &&
	       (!rest || !((a->s6_addr[bytes] ^ b->s6_addr[bytes]) >> (8 - rest)));
}

/*
 * Cloud providers' services that give a machine its credentials and settings. Of those for IPv4
 * some are name servers, too.
 */
static bool metadata4(uint32_t addr, bool dns)
{
	if (addr >> 16 == 0xa9fe) /* 169.254.0.0/16 */
		return !dns;
	if (addr == 0xa83f8110) /* 168.63.129.16 */
		return !dns;
	return addr == 0x646464c8 || /* 100.100.100.200 */
	       addr == 0xc00000c0;   /* 192.0.0.192 */
}

static bool metadata6(const struct in6_addr *a)
{
	static const uint8_t known[][16] = {
		{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54},		 /* fd00:ec2::254 */
		{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54},		 /* fd20:ce::254 */
		{0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe}, /* fd00:c1::a9fe:a9fe */
		{0xfe, 0x80, [12] = 0xa9, 0xfe, 0xa9, 0xfe},		 /* fe80::a9fe:a9fe */
	};

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (!memcmp(a, known[i], 16))
			return true;
	return false;
}

/* An address of IPv4 that a translator makes of one of IPv6: RFC 6052 (64:ff9b::/96), RFC 3056. */
static bool embedded4(const struct in6_addr *a, uint32_t *v4)
{
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	const uint8_t *at;

	if (addr_is4(a) || !memcmp(a, nat64, sizeof(nat64)))
		at = a->s6_addr + 12;
	else if (a->s6_addr[0] == 0x20 && a->s6_addr[1] == 0x02)
		at = a->s6_addr + 2;
	else
		return false;
	*v4 = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	return true;
}

bool policy_metadata(const struct target *t)
{
	bool dns = t->has_ports && t->port == DNS_PORT;
	uint32_t v4;

	if (embedded4(&t->addr, &v4))
		return metadata4(v4, dns);
	return metadata6(&t->addr);
}

static bool kind_matches(const struct net_egress_rule *r, const struct target *t)
{
	uint8_t protocol = t->protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP : t->protocol;

	if (r->protocol && (r->protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP : r->protocol) != protocol)
		return false;
	for (unsigned i = 0; t->has_ports && i < r->nports; i++)
		if (t->port >= r->ports[i].first && t->port <= r->ports[i].last)
			return true;
	return !r->nports;
}

static bool address_matches(const struct net_egress_rule *r, const struct target *t)
{
	if (!r->family)
		return true;
	if (addr_is4(&t->addr) != (r->family == AF_INET))
		return false;
	return prefix_eq(&r->addr, &t->addr, r->prefix + (r->family == AF_INET ? 96u : 0u));
}

static bool name_matches(const char *pattern, const char *name)
{
	size_t n, p;

	if (strncmp(pattern, "*.", 2) != 0)
		return !strcmp(pattern, name);
	n = strlen(name);
	p = strlen(pattern + 1); /* with its dot */
	return n > p && !strcmp(name + n - p, pattern + 1);
}

/* A name that the rule is about and that has opened the address; NULL: there is none. */
static const char *opening(struct netstack *s, const struct net_egress_rule *r,
			   const struct target *t)
{
	struct opened *o = NULL;

	if (t->name && name_matches(r->name, t->name))
		return t->name;
	while ((o = name_next(s, &t->addr, o)))
		if (name_matches(r->name, o->name))
			return o->name;
	return NULL;
}

void policy_decide(struct netstack *s, const struct target *t, struct verdict *v)
{
	const struct net_egress_config *c = &s->egress->config;

	*v = (struct verdict){.allow = c->allow, .reason = NET_EGRESS_DEFAULT, .rule = -1};
	if (!c->allow_metadata && policy_metadata(t)) {
		v->allow = false;
		v->reason = NET_EGRESS_METADATA;
		return;
	}
	for (unsigned i = 0; i < c->nrules; i++) {
		const struct net_egress_rule *r = &c->rules[i];

		if (!kind_matches(r, t))
			continue;
		if (*r->name) {
			/* What a name's rule denies is the question for it. */
			v->name = r->allow ? opening(s, r, t) : NULL;
			if (!v->name)
				continue;
		} else if (!address_matches(r, t)) {
			continue;
		}
		v->allow = r->allow;
		v->reason = NET_EGRESS_RULE;
		v->rule = (int)i;
		return;
	}
}

void policy_decide_name(struct egress *e, const char *name, struct verdict *v)
{
	*v = (struct verdict){.allow = e->config.allow, .reason = NET_EGRESS_NAME, .rule = -1};
	for (unsigned i = 0; i < e->config.nrules; i++) {
		const struct net_egress_rule *r = &e->config.rules[i];

		if (*r->name && name_matches(r->name, name)) {
			v->allow = r->allow;
			v->rule = (int)i;
			return;
		}
	}
}

/* --- refusals --------------------------------------------------------------------------------- */

void policy_refuse(struct netstack *s, const struct target *t, const struct verdict *v,
		   const char *name)
{
	struct net_egress_refusal r = {.reason = v->reason,
				       .rule = v->rule,
				       .protocol = t->protocol,
				       .port = t->has_ports ? t->port : 0,
				       .addr = t->addr};
	struct egress *e = s->egress;
	struct opened *o;

	atomic_fetch_add(&e->nrefused, 1);
	if (!rate_limit_ok(s, &e->reports, REPORTS_PER_SECOND, REPORTS_BURST)) {
		atomic_fetch_add(&e->missed, 1);
		return;
	}
	r.missed = atomic_exchange(&e->missed, 0);
	mutex_lock(&e->lock);
	o = name ? NULL : name_next(s, &t->addr, NULL);
	if (!name && o)
		name = o->name;
	if (name)
		memcpy(r.name, name, strnlen(name, sizeof(r.name) - 1));
	mutex_unlock(&e->lock);
	net_defer_refusal(s, &r);
}
