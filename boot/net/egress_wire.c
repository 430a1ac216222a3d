/* Policies as messages of the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/net/egress.h"

static bool copy_address(ProtobufCBinaryData *to, const struct in6_addr *addr)
{
	bool v4 = IN6_IS_ADDR_V4MAPPED(addr);

	to->len = v4 ? 4 : 16;
	to->data = malloc(to->len);
	if (to->data)
		memcpy(to->data, addr->s6_addr + (v4 ? 12 : 0), to->len);
	else
		to->len = 0;
	return to->data;
}

static void take_address(struct in6_addr *to, const ProtobufCBinaryData *from)
{
	memset(to, 0, sizeof(*to));
	if (from->len == 4) {
		to->s6_addr[10] = to->s6_addr[11] = 0xff;
		memcpy(to->s6_addr + 12, from->data, 4);
	} else if (from->len == 16) {
		memcpy(to, from->data, 16);
	}
}

static Moat__EgressRule *rule_to_wire(const struct net_egress_rule *r)
{
	Moat__EgressRule *wire = malloc(sizeof(*wire));

	if (!wire)
		return NULL;
	moat__egress_rule__init(wire);
	wire->allow = r->allow;
	wire->protocol = r->protocol;
	wire->prefix = r->prefix;
	wire->name = strdup(r->name);
	wire->ports = calloc(r->nports + 1u, sizeof(*wire->ports));
	if (!wire->name || !wire->ports || (r->family && !copy_address(&wire->address, &r->addr))) {
		moat__egress_rule__free_unpacked(wire, NULL);
		return NULL;
	}
	for (unsigned i = 0; i < r->nports; i++)
		wire->ports[wire->n_ports++] = (uint32_t)r->ports[i].first << 16 | r->ports[i].last;
	return wire;
}

Moat__EgressPolicy *egress_to_wire(const struct net_egress_config *c)
{
	Moat__EgressPolicy *wire = malloc(sizeof(*wire));
	bool ok;

	if (!wire)
		return NULL;
	moat__egress_policy__init(wire);
	wire->allow = c->allow;
	wire->allow_metadata = c->allow_metadata;
	wire->rules = calloc(c->nrules + 1u, sizeof(*wire->rules));
	wire->resolvers = calloc(c->nresolvers + 1u, sizeof(*wire->resolvers));
	ok = wire->rules && wire->resolvers;
	for (unsigned i = 0; ok && i < c->nrules; i++) {
		wire->rules[i] = rule_to_wire(&c->rules[i]);
		ok = wire->rules[i];
		wire->n_rules += ok;
	}
	for (unsigned i = 0; ok && i < c->nresolvers; i++) {
		ok = copy_address(&wire->resolvers[i], &c->resolvers[i]);
		wire->n_resolvers += ok;
	}
	if (!ok) {
		moat__egress_policy__free_unpacked(wire, NULL);
		return NULL;
	}
	return wire;
}

static void rule_from_wire(const Moat__EgressRule *wire, struct net_egress_rule *r)
{
	r->allow = wire->allow;
	r->protocol = (uint8_t)wire->protocol;
	r->prefix = (uint8_t)wire->prefix;
	r->family = wire->address.len == 4 ? AF_INET : wire->address.len ? AF_INET6 : 0;
	take_address(&r->addr, &wire->address);
	memcpy(r->name, wire->name, strnlen(wire->name, sizeof(r->name) - 1));
	for (size_t i = 0; i < wire->n_ports && i < NET_EGRESS_PORTS_MAX; i++)
		r->ports[r->nports++] = (struct net_port_range){(uint16_t)(wire->ports[i] >> 16),
								(uint16_t)wire->ports[i]};
}

int egress_from_wire(const Moat__EgressPolicy *wire, struct net_egress_config *out)
{
	*out = (struct net_egress_config){.allow = wire->allow,
					  .allow_metadata = wire->allow_metadata};
	out->rules = calloc(wire->n_rules + 1, sizeof(*out->rules));
	out->resolvers = calloc(wire->n_resolvers + 1, sizeof(*out->resolvers));
	if (!out->rules || !out->resolvers) {
		net_egress_free(out);
		return -ENOMEM;
	}
	for (size_t i = 0; i < wire->n_rules; i++)
		rule_from_wire(wire->rules[i], &out->rules[out->nrules++]);
	for (size_t i = 0; i < wire->n_resolvers; i++)
		take_address(&out->resolvers[out->nresolvers++], &wire->resolvers[i]);
	return 0;
}

int egress_change(struct netstack *s, const Moat__EgressPolicy *policy, struct control_error *err)
{
	struct net_egress_config new, old = {0};
	int ret = egress_from_wire(policy, &new);

	if (!ret && !new.nresolvers)
		ret = net_egress_get(s, &old);
	if (!ret && old.nresolvers) {
		free(new.resolvers);
		new.resolvers = old.resolvers;
		new.nresolvers = old.nresolvers;
		old.resolvers = NULL;
	}
	if (!ret)
		ret = net_egress_set(s, &new);
	net_egress_free(&old);
	net_egress_free(&new);
	return ret ? control_fail(err, ret, "the policy: %s", strerror(-ret)) : 0;
}

struct names {
	Moat__EgressStatus *status;
	size_t room;
	bool failed;
};

static int add_name(void *arg, const char *name, const struct in6_addr *addr, unsigned seconds)
{
	struct names *n = arg;
	Moat__EgressStatus__Name *wire;

	if (n->status->n_names == n->room)
		return 1;
	wire = malloc(sizeof(*wire));
	if (!wire) {
		n->failed = true;
		return 1;
	}
	moat__egress_status__name__init(wire);
	n->status->names[n->status->n_names++] = wire;
	wire->name = strdup(name);
	wire->seconds = seconds;
	n->failed = !wire->name || !copy_address(&wire->address, addr);
	return n->failed;
}

Moat__EgressStatus *egress_status(struct netstack *s)
{
	struct net_egress_config config = {0};
	struct net_egress_stats stats;
	struct names names = {.status = malloc(sizeof(*names.status))};
	Moat__EgressStatus *status = names.status;

	if (!status)
		return NULL;
	moat__egress_status__init(status);
	net_egress_stats(s, &stats);
	status->refused = stats.refused;
	status->questions = stats.questions;
	names.room = stats.names;
	status->names = calloc(names.room + 1, sizeof(*status->names));
	names.failed = !status->names || net_egress_get(s, &config);
	if (!names.failed) {
		status->policy = egress_to_wire(&config);
		names.failed = !status->policy;
		net_egress_free(&config);
	}
	if (!names.failed)
		net_egress_each_name(s, add_name, &names);
	if (names.failed) {
		moat__egress_status__free_unpacked(status, NULL);
		return NULL;
	}
	return status;
}
