#include "boot/net/links.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/net/receiver.h"
#include "boot/net/relay.h"
#include "boot/net/stream.h"
#include "netstack/netstack.h"
#include "sentry/net/inet/show.h"

#define LINKS_MAX 64 /* as the service permits */
#define FIFO_DEFAULT 1000

/* Links over descriptors, of one call. */
struct link_set {
	struct net_link *links[LINKS_MAX]; /* counted */
	unsigned n;
	struct receivers *receivers; /* counted */
};

struct maker {
	struct netstack *stack;
	struct receivers *receivers;
	struct control_error *err;
	/* Where we are. */
	const char *kind;
	size_t index;
	/* What has been made, for taking it back. */
	struct net_link *made[2 * LINKS_MAX]; /* counted */
	unsigned nmade;
};

static int fail(struct maker *m, int ret, const char *field)
{
	return control_fail(m->err, ret, "%s[%zu].%s: %s", m->kind, m->index, field,
			    strerror(-ret));
}

static int fail_at(struct maker *m, int ret, const char *list, size_t i)
{
	return control_fail(m->err, ret, "%s[%zu].%s[%zu]: %s", m->kind, m->index, list, i,
			    strerror(-ret));
}

static int family_of(const ProtobufCBinaryData *a)
{
	return a->len == 4 ? AF_INET : AF_INET6;
}

static struct in6_addr address_of(const ProtobufCBinaryData *a)
{
	struct in6_addr out = {0};

	memcpy(&out, a->data, MIN(a->len, sizeof(out)));
	return out;
}

static int link_index(struct net_link *l)
{
	struct net_link_info info;

	net_link_info(l, &info);
	return info.index;
}

/* --- addresses, neighbours, routes ------------------------------------------------------------ */

static int add_addresses(struct maker *m, struct net_link *l, Moat__NetworkAddress *const *list,
			 size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const Moat__NetworkAddress *a = list[i];
		struct net_addr_info info = {
			.ifindex = link_index(l),
			.family = family_of(&a->address),
			.addr = address_of(&a->address),
			.prefix = (uint8_t)a->prefix,
			.scope = (uint8_t)a->scope,
			/* Whoever gave it has looked whether another one uses it. */
			.flags = IFA_F_PERMANENT | (a->address.len == 16 ? IFA_F_NODAD : 0),
		};
		int ret;

		if (a->broadcast.len == 4)
			info.broadcast = address_of(&a->broadcast);
		ret = net_addr_add(m->stack, &info);
		/* The stack gives a link addresses of its own: that of the loopback, link-local. */
		if (ret && ret != -EEXIST)
			return fail_at(m, ret, "addresses", i);
	}
	return 0;
}

static int add_neighbours(struct maker *m, struct net_link *l, Moat__NetworkNeighbour *const *list,
			  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct net_neigh_info info = {
			.ifindex = link_index(l),
			.family = family_of(&list[i]->address),
			.addr = address_of(&list[i]->address),
			.state = NUD_PERMANENT,
		};
		int ret;

		memcpy(info.lladdr, list[i]->link_address.data, 6);
		ret = net_neigh_add(m->stack, &info);
		if (ret)
			return fail_at(m, ret, "neighbours", i);
	}
	return 0;
}

/* One pass over a link's routes: those with, or those without a gateway. */
static int add_routes(struct maker *m, struct net_link *l, Moat__NetworkRoute *const *list,
		      size_t n, bool gateways)
{
	for (size_t i = 0; i < n; i++) {
		const Moat__NetworkRoute *r = list[i];
		struct net_route_info info = {
			.family = family_of(&r->destination),
			.dst = address_of(&r->destination),
			.prefix = (uint8_t)r->prefix,
			.type = RTN_UNICAST,
			.scope = (uint8_t)r->scope,
			.protocol = RTPROT_BOOT,
			.has_gateway = r->gateway.len != 0,
			.metric = r->metric,
			.mtu = r->mtu,
			.ifindex = link_index(l),
		};
		int ret;

		if (info.has_gateway != gateways)
			continue;
		if (info.has_gateway)
			info.gateway = address_of(&r->gateway);
		if (r->source.len)
			info.src = address_of(&r->source);
		ret = net_route_add(m->stack, &info);
		if (ret && ret != -EEXIST)
			return fail_at(m, ret, "routes", i);
	}
	return 0;
}

static int add_all_routes(struct maker *m, const Moat__CreateLinksAndRoutes *links, bool gateways)
{
	int ret = 0;

	m->kind = "loopback_links";
	for (m->index = 0; !ret && m->index < links->n_loopback_links; m->index++) {
		const Moat__LoopbackLink *l = links->loopback_links[m->index];

		ret = add_routes(m, m->made[m->index], l->routes, l->n_routes, gateways);
	}
	m->kind = "fd_links";
	for (m->index = 0; !ret && m->index < links->n_fd_links; m->index++) {
		const Moat__FdLink *l = links->fd_links[m->index];

		ret = add_routes(m, m->made[links->n_loopback_links + m->index], l->routes,
				 l->n_routes, gateways);
	}
	return ret;
}

static int add_gateway(struct maker *m, const Moat__DefaultGateway *g, int family,
		       const char *field)
{
	struct net_route_info info = {
		.family = family,
		.type = RTN_UNICAST,
		.protocol = RTPROT_BOOT,
	};
	struct net_link *l;
	int ret;

	if (!g)
		return 0;
	l = net_link_by_name(m->stack, g->link);
	if (!l)
		return control_fail(m->err, ENODEV, "%s.link: there is no link %s", field, g->link);
	info.ifindex = link_index(l);
	net_link_put(l);
	info.metric = g->metric;
	info.has_gateway = g->gateway.len != 0;
	info.scope = info.has_gateway || family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (info.has_gateway)
		info.gateway = address_of(&g->gateway);
	ret = net_route_add(m->stack, &info);
	return ret ? control_fail(m->err, ret, "%s.gateway: %s", field, strerror(-ret)) : 0;
}

/* --- links ------------------------------------------------------------------------------------ */

static int bring_up(struct maker *m, struct net_link *l)
{
	int ret = net_link_set_flags(l, IFF_UP, IFF_UP);

	return ret ? fail(m, ret, "name") : 0;
}

static int add_loopback(struct maker *m, const Moat__LoopbackLink *wire)
{
	struct net_link_config config = {0};
	struct net_link *l = net_link_by_name(m->stack, wire->name);
	struct net_link_info info;
	int ret = 0;

	if (l) {
		net_link_info(l, &info);
		if (info.kind != NET_LINK_LOOPBACK) {
			net_link_put(l);
			return fail(m, -EEXIST, "name");
		}
	} else {
		snprintf(config.name, sizeof(config.name), "%s", wire->name);
		ret = net_link_add_loopback(m->stack, &config, &l);
		if (ret)
			return fail(m, ret, "name");
	}
	m->made[m->nmade++] = l;
	ret = bring_up(m, l);
	return ret ? ret : add_addresses(m, l, wire->addresses, wire->n_addresses);
}

static unsigned features_of(const Moat__FdLink *wire)
{
	unsigned features = 0;

	if (wire->tx_checksum_offload)
		features |= NET_F_CSUM;
	if (wire->rx_checksum_offload)
		features |= NET_F_RXCSUM;
	/* The host cuts only what it also sums. */
	if (wire->tx_checksum_offload && wire->gso_max_size && !wire->software_gso)
		features |= NET_F_TSO4 | NET_F_TSO6 | NET_F_USO;
	return features;
}

/* fds: its channels', which a stream takes over, and otherwise the receivers do. */
static int add_fd_link(struct maker *m, const Moat__FdLink *wire, int *fds)
{
	struct net_fd_config config = {
		.link = {.mtu = wire->mtu,
			 .features = features_of(wire),
			 .gso_max = wire->gso_max_size},
		.nfds = wire->channels,
		.vnet_hdr = true,
		.mode = NET_FD_MMSG,
	};
	struct net_link *l;
	int ret;

	snprintf(config.link.name, sizeof(config.link.name), "%s", wire->name);
	memcpy(config.link.addr, wire->link_address.data, 6);
	if (wire->queueing == MOAT__FD_LINK__QUEUEING__FIFO)
		config.link.txqlen = wire->queue_length ? wire->queue_length : FIFO_DEFAULT;
	memcpy(config.fds, fds, wire->channels * sizeof(int));
	if (wire->stream) {
		config.link.features = 0;
		ret = stream_link_add(m->stack, &config.link, fds[0], &l);
		if (!ret)
			fds[0] = -1;
	} else {
		ret = net_link_add_fd(m->stack, &config, &l);
	}
	if (ret)
		return fail(m, ret, ret == -EEXIST ? "name" : "channels");
	m->made[m->nmade++] = l;
	ret = bring_up(m, l);
	if (!ret)
		ret = add_addresses(m, l, wire->addresses, wire->n_addresses);
	if (!ret)
		ret = add_neighbours(m, l, wire->neighbours, wire->n_neighbours);
	return ret;
}

/* Only when everything is there, for a receiver takes its descriptor over. */
static int start_receivers(struct maker *m, const Moat__CreateLinksAndRoutes *links, int *fds)
{
	m->kind = "fd_links";
	for (m->index = 0; m->index < links->n_fd_links; m->index++) {
		struct net_link *l = m->made[links->n_loopback_links + m->index];

		for (unsigned q = 0; q < links->fd_links[m->index]->channels; q++, fds++) {
			int ret;

			if (links->fd_links[m->index]->stream)
				continue;
			ret = receiver_start(m->receivers, l, q, *fds);

			if (ret)
				return fail(m, ret, "channels");
			*fds = -1;
		}
	}
	return 0;
}

static int make(struct maker *m, const Moat__CreateLinksAndRoutes *links, int *fds)
{
	int *at = fds, ret = 0;

	m->kind = "loopback_links";
	for (m->index = 0; !ret && m->index < links->n_loopback_links; m->index++)
		ret = add_loopback(m, links->loopback_links[m->index]);
	m->kind = "fd_links";
	for (m->index = 0; !ret && m->index < links->n_fd_links; m->index++) {
		ret = add_fd_link(m, links->fd_links[m->index], at);
		at += links->fd_links[m->index]->channels;
	}
	/* A gateway may be reached by another route only. */
	if (!ret)
		ret = add_all_routes(m, links, false);
	if (!ret)
		ret = add_gateway(m, links->default_v4, AF_INET, "default_v4");
	if (!ret)
		ret = add_gateway(m, links->default_v6, AF_INET6, "default_v6");
	if (!ret)
		ret = add_all_routes(m, links, true);
	return ret ? ret : start_receivers(m, links, fds);
}

/* The last descriptor. */
static int start_relay(struct maker *m, int *fd)
{
	int ret = relay_start(m->stack, *fd);

	if (ret)
		return control_fail(m->err, ret, "resolver: %s", strerror(-ret));
	*fd = -1;
	return 0;
}

void links_remove(struct link_set *set)
{
	for (unsigned i = 0; i < set->n; i++) {
		net_link_remove(set->links[i]);
		net_link_put(set->links[i]);
	}
	receivers_stop(set->receivers);
	receivers_put(set->receivers);
	free(set);
}

int links_create(struct net_ns *ns, const Moat__CreateLinksAndRoutes *links, int *fds,
		 unsigned nfds, struct link_set **out, struct control_error *err)
{
	struct link_set *set = calloc(1, sizeof(*set));
	struct maker m = {.err = err};
	int ret = inet_stack_of(ns, &m.stack);

	if (set)
		m.receivers = set->receivers = receivers_new();
	if (!ret && !m.receivers)
		ret = -ENOMEM;
	if (ret) {
		if (m.receivers)
			receivers_put(m.receivers);
		free(set);
		return control_fail(err, ret, "network stack: %s", strerror(-ret));
	}
	ret = make(&m, links, fds);
	if (!ret && links->resolver)
		ret = start_relay(&m, &fds[nfds - 1]);
	for (unsigned i = 0; i < m.nmade; i++)
		if (i >= links->n_loopback_links)
			set->links[set->n++] = m.made[i];
		else
			net_link_put(m.made[i]);
	if (ret)
		links_remove(set);
	else
		*out = set;
	return ret;
}
