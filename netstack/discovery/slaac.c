/* Router and prefix discovery (RFC 4861 §6.3) and stateless autoconfiguration (RFC 4862 §5.5). */
#include <linux/if_addr.h>

#include "netstack/discovery/discovery_internal.h"
#include "netstack/icmp/icmp.h"
#include "netstack/ip/ip.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/neigh/neigh.h"
#include "netstack/route/route_upcalls.h"

#define RS_INTERVAL_NS (4 * NSEC_PER_SEC)
#define RS_MAX 3
#define ROUTERS_MAX 8
#define PREFIXES_MAX 16
#define TWO_HOURS 7200u

struct slaac {
	struct net_link *link; /* counted while the timer is armed */
	struct net_timer timer;
	unsigned solicits_left;
};

static const struct in6_addr all_routers = {{{0xff, 2, [15] = 2}}};

static void send_router_solicit(struct net_link *l)
{
	struct ip_tx tx = {.protocol = IPPROTO_ICMPV6, .ttl = 255};
	struct nbuf *b = nbuf_alloc(l->stack->pool, NET_HEADROOM, 16);
	struct in6_addr src;
	uint8_t *p;

	if (!b)
		return;
	p = nbuf_append(b, 8);
	memset(p, 0, 8);
	p[0] = ND_ROUTER_SOLICIT;
	src = in6addr_any;
	if (addr_of_link(l, true, false, &src)) {
		p = nbuf_append(b, 8);
		p[0] = ND_OPT_SOURCE_LINKADDR;
		p[1] = 1;
		memcpy(p + 2, l->addr, 6);
	}
	icmp6_fill_csum(b, &src, &all_routers);
	ip_send_link(l, &all_routers, &src, b, &tx);
}

static void solicit_timer(struct net_timer *t)
{
	struct slaac *sl = container_of(t, struct slaac, timer);
	struct net_link *l = sl->link;

	NET_CONTEXT();
	if (link_is_up(l) && sl->solicits_left) {
		sl->solicits_left--;
		send_router_solicit(l);
		net_link_get(l);
		net_timer_arm(l->stack, t, net_now(l->stack) + RS_INTERVAL_NS);
	}
	net_link_put(l);
}

void slaac_link_up(struct net_link *l)
{
	struct netstack *s = l->stack;

	if (!s->sysctl.accept_ra)
		return;
	if (!l->slaac) {
		struct slaac *sl = net_alloc(s, sizeof(*sl));

		if (!sl)
			return;
		sl->link = l;
		sl->timer.fn = solicit_timer;
		l->slaac = sl;
	}
	l->slaac->solicits_left = RS_MAX;
	if (!net_timer_cancel(s, &l->slaac->timer))
		net_link_get(l);
	/* After DAD of the link-local address: RFC 4861 §6.3.7. */
	net_timer_arm(s, &l->slaac->timer,
		      net_now(s) + NSEC_PER_SEC + net_random_below(s, NSEC_PER_SEC));
}

void slaac_link_down(struct net_link *l)
{
	if (l->slaac && net_timer_cancel(l->stack, &l->slaac->timer))
		net_link_put(l);
}

/* Adds, refreshes or (lifetime 0) removes a route learned from an advertisement. */
static void set_route(struct net_link *l, const struct in6_addr *dst, uint8_t prefix,
		      const struct in6_addr *gateway, uint32_t lifetime)
{
	struct netstack *s = l->stack;
	struct route m = {.dst = *dst,
			  .prefix = prefix,
			  .protocol = RTPROT_RA,
			  .link = l,
			  .type = RTN_UNICAST,
			  .has_gateway = gateway != NULL};
	struct route *r, *o;
	unsigned n = 0;
	WRITE_GUARD(&s->config_lock);

	if (gateway)
		m.gateway = *gateway;
	TAILQ_FOREACH (o, &s->routes, next)
		n += o->protocol == RTPROT_RA;
	/* A refresh is a replacement, so that events tell of the new lifetime. */
	if (route_remove_locked(s, &m) == 0)
		n--;
	if (!lifetime || n >= ROUTERS_MAX + PREFIXES_MAX)
		return;
	r = route_new(s, false, dst, prefix, RTN_UNICAST, RT_SCOPE_UNIVERSE, RTPROT_RA, l);
	if (!r)
		return;
	r->metric = gateway ? 1024 : 256;
	r->has_gateway = gateway != NULL;
	r->gateway = m.gateway;
	if (lifetime != NET_FOREVER)
		r->expires = net_now(s) + lifetime * NSEC_PER_SEC;
	if (route_insert_locked(s, r) < 0)
		route_free(s, r);
}

/* RFC 4862 §5.5.3 (e): new lifetimes for an address that we have. True if we have it. */
static bool refresh_address(struct net_link *l, const struct in6_addr *a, uint32_t valid,
			    uint32_t preferred)
{
	struct netstack *s = l->stack;
	int64_t now = net_now(s), left;
	struct link_addr *ifa;
	WRITE_GUARD(&s->config_lock);

	ifa = addr_find_locked(l, a);
	if (!ifa)
		return false;
	if (ifa->flags & IFA_F_PERMANENT)
		return true;
	ifa->preferred_until =
		preferred == NET_FOREVER ? INT64_MAX : now + preferred * NSEC_PER_SEC;
	left = ifa->valid_until == INT64_MAX ? INT64_MAX : ifa->valid_until - now;
	if (valid > TWO_HOURS || (int64_t)valid * NSEC_PER_SEC > left)
		ifa->valid_until = valid == NET_FOREVER ? INT64_MAX : now + valid * NSEC_PER_SEC;
	else if (left > TWO_HOURS * NSEC_PER_SEC)
		ifa->valid_until = now + TWO_HOURS * NSEC_PER_SEC;
	return true;
}

static unsigned dynamic_addresses(struct net_link *l)
{
	struct link_addr *ifa;
	unsigned n = 0;
	READ_GUARD(&l->stack->config_lock);

	LIST_FOREACH (ifa, &l->addrs, next)
		n += !addr_is4(&ifa->addr) && !(ifa->flags & IFA_F_PERMANENT);
	return n;
}

static void prefix_option(struct net_link *l, const struct nd_opt_prefix_info *pi)
{
	struct in6_addr prefix = pi->nd_opt_pi_prefix, a, none;
	uint32_t valid = ntohl(pi->nd_opt_pi_valid_time);
	uint32_t preferred = ntohl(pi->nd_opt_pi_preferred_time);
	uint8_t bits = pi->nd_opt_pi_prefix_len;

	if (preferred > valid || bits > 128 || addr_linklocal6(&prefix) ||
	    addr_multicast(&prefix) || addr_is4(&prefix))
		return;
	for (unsigned i = bits; i < 128; i++)
		prefix.s6_addr[i / 8] &= ~(0x80 >> (i % 8));
	if (pi->nd_opt_pi_flags_reserved & ND_OPT_PI_FLAG_ONLINK)
		set_route(l, &prefix, bits, NULL, valid);
	if (!(pi->nd_opt_pi_flags_reserved & ND_OPT_PI_FLAG_AUTO) || bits != 64 ||
	    !l->stack->sysctl.autoconf)
		return;
	/* The interface identifier of RFC 2464 §4. */
	a = prefix;
	a.s6_addr[8] = l->addr[0] ^ 2;
	a.s6_addr[9] = l->addr[1];
	a.s6_addr[10] = l->addr[2];
	a.s6_addr[11] = 0xff;
	a.s6_addr[12] = 0xfe;
	memcpy(&a.s6_addr[13], l->addr + 3, 3);
	if (refresh_address(l, &a, valid, preferred) || !valid ||
	    dynamic_addresses(l) >= PREFIXES_MAX)
		return;
	addr_set4(&none, 0);
	addr_insert(l, &a, &none, 64, RT_SCOPE_UNIVERSE, IFA_F_NOPREFIXROUTE, valid, preferred);
}

void slaac_router_advert(struct net_link *l, struct nbuf *b)
{
	const struct nd_router_advert *ra = (const void *)b->data;
	struct netstack *s = l->stack;
	struct in6_addr any = IN6ADDR_ANY_INIT;
	const uint8_t *p;
	size_t left;

	if (!s->sysctl.accept_ra || b->len < sizeof(*ra) || !addr_linklocal6(&b->src))
		return;
	p = b->data + sizeof(*ra);
	left = b->len - sizeof(*ra);
	for (size_t at = 0; at < left;) { /* all options must be sound before any is used */
		if (left - at < 8 || p[at + 1] == 0 || p[at + 1] * 8u > left - at)
			return;
		at += p[at + 1] * 8u;
	}
	slaac_link_down(l); /* no more solicitations are needed */
	set_route(l, &any, 0, &b->src, ntohs(ra->nd_ra_router_lifetime));
	while (left) {
		size_t n = p[1] * 8u;

		if (p[0] == ND_OPT_SOURCE_LINKADDR) {
			neigh_update(l, &b->src, p + 2,
				     NEIGH_UNSOLICITED | NEIGH_CREATE | NEIGH_ROUTER |
					     NEIGH_ROUTER_KNOWN);
		} else if (p[0] == ND_OPT_PREFIX_INFORMATION &&
			   n == sizeof(struct nd_opt_prefix_info)) {
			prefix_option(l, (const struct nd_opt_prefix_info *)p);
		} else if (p[0] == ND_OPT_MTU && n == 8) {
			uint32_t mtu;

			memcpy(&mtu, p + 4, 4);
			mtu = ntohl(mtu);
			if (mtu >= 1280 && mtu < l->mtu)
				net_link_set_mtu(l, mtu);
		}
		p += n;
		left -= n;
	}
}
