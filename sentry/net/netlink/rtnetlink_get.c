/* Links, addresses, routes, neighbours and rules as rtnetlink shows them. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/in_route.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

#include "sentry/net/inet/show.h"
#include "sentry/net/netlink/rtnetlink_internal.h"

static void attr_u32(struct nl_buf *b, uint16_t type, uint32_t v)
{
	nl_attr(b, type, &v, sizeof(v));
}

static void attr_u8(struct nl_buf *b, uint16_t type, uint8_t v)
{
	nl_attr(b, type, &v, sizeof(v));
}

static void attr_string(struct nl_buf *b, uint16_t type, const char *s)
{
	nl_attr(b, type, s, strlen(s) + 1);
}

static void attr_address(struct nl_buf *b, uint16_t type, int family, const struct in6_addr *a)
{
	nl_attr(b, type, a, family == AF_INET ? 4 : 16);
}

static bool is_any(const struct in6_addr *a)
{
	static const struct in6_addr any;

	return !memcmp(a, &any, sizeof(any));
}

/* --- links ------------------------------------------------------------------------------------ */

static const char *kind_name(enum net_link_kind kind)
{
	switch (kind) {
	case NET_LINK_DUMMY:
		return "dummy";
	case NET_LINK_VETH:
		return "veth";
	case NET_LINK_BRIDGE:
		return "bridge";
	default:
		return NULL; /* hardware has no kind */
	}
}

static void put_stats(struct nl_buf *b, const struct net_link_stats *st)
{
	struct rtnl_link_stats64 s = {
		.rx_packets = st->rx_packets,
		.tx_packets = st->tx_packets,
		.rx_bytes = st->rx_bytes,
		.tx_bytes = st->tx_bytes,
		.rx_errors = st->rx_errors,
		.tx_errors = st->tx_errors,
		.rx_dropped = st->rx_dropped,
		.tx_dropped = st->tx_dropped,
		.multicast = st->multicast,
	};
	struct rtnl_link_stats old = {
		.rx_packets = (uint32_t)st->rx_packets,
		.tx_packets = (uint32_t)st->tx_packets,
		.rx_bytes = (uint32_t)st->rx_bytes,
		.tx_bytes = (uint32_t)st->tx_bytes,
		.rx_errors = (uint32_t)st->rx_errors,
		.tx_errors = (uint32_t)st->tx_errors,
		.rx_dropped = (uint32_t)st->rx_dropped,
		.tx_dropped = (uint32_t)st->tx_dropped,
		.multicast = (uint32_t)st->multicast,
	};

	nl_attr(b, IFLA_STATS64, &s, sizeof(s));
	nl_attr(b, IFLA_STATS, &old, sizeof(old));
}

static void put_kind(struct nl_buf *b, const char *kind)
{
	struct nl_buf info = {0};

	attr_string(&info, IFLA_INFO_KIND, kind);
	if (!info.error)
		nl_attr(b, IFLA_LINKINFO, info.data, info.len);
	free(info.data);
}

/* IF_OPER_* of <linux/if.h>, which cannot be had together with <net/if.h>. */
static uint8_t oper_state(const struct net_link_info *i)
{
	enum { UNKNOWN = 0, DOWN = 2, LOWERLAYERDOWN = 3, UP = 6 };

	if (!(i->flags & IFF_UP))
		return DOWN;
	if (!(i->flags & IFF_RUNNING))
		return i->peer_away ? DOWN : LOWERLAYERDOWN;
	return i->kind == NET_LINK_LOOPBACK ? UNKNOWN : UP;
}

void rt_put_link(const struct rt_request *r, uint16_t type, uint16_t flags,
		 const struct net_link_info *i)
{
	struct nl_buf *b = r->out;
	struct ifinfomsg info = {.ifi_type = i->type, .ifi_index = i->index, .ifi_flags = i->flags};
	bool up = i->flags & IFF_UP, loopback = i->kind == NET_LINK_LOOPBACK;

	nl_begin(b, type, flags, r->hdr->nlmsg_seq, r->portid);
	nl_put(b, &info, sizeof(info));
	attr_string(b, IFLA_IFNAME, i->name);
	attr_u32(b, IFLA_TXQLEN, loopback ? 1000 : i->txqlen);
	attr_u8(b, IFLA_OPERSTATE, oper_state(i));
	attr_u8(b, IFLA_LINKMODE, 0);
	attr_u32(b, IFLA_MTU, i->mtu);
	attr_u32(b, IFLA_MIN_MTU, loopback ? 0 : 68);
	attr_u32(b, IFLA_MAX_MTU, loopback ? 0 : 65535);
	attr_u32(b, IFLA_GROUP, 0);
	attr_u32(b, IFLA_PROMISCUITY, i->flags & IFF_PROMISC ? 1 : 0);
	attr_u32(b, IFLA_NUM_TX_QUEUES, 1);
	attr_u32(b, IFLA_NUM_RX_QUEUES, 1);
	attr_u8(b, IFLA_CARRIER, (i->flags & IFF_RUNNING) != 0);
	attr_string(b, IFLA_QDISC, !up ? "noop" : loopback ? "noqueue" : "pfifo");
	nl_attr(b, IFLA_ADDRESS, i->addr, sizeof(i->addr));
	nl_attr(b, IFLA_BROADCAST, i->broadcast, sizeof(i->broadcast));
	if (i->peer)
		attr_u32(b, IFLA_LINK, (uint32_t)i->peer);
	if (i->peer && i->peer_away)
		attr_u32(b, IFLA_LINK_NETNSID, (uint32_t)inet_nsid(r->stack, i->peer_stack, true));
	if (i->master)
		attr_u32(b, IFLA_MASTER, (uint32_t)i->master);
	put_stats(b, &i->stats);
	if (kind_name(i->kind))
		put_kind(b, kind_name(i->kind));
	nl_end(b);
}

static int dump_link(void *arg, const struct net_link_info *i)
{
	rt_put_link(arg, RTM_NEWLINK, NLM_F_MULTI, i);
	return 0;
}

/* One, by index or by name. */
static int get_link(const struct rt_request *r)
{
	struct net_link_info info;
	struct ifinfomsg msg;
	struct rt_attrs attrs;
	struct net_link *l = NULL;
	char name[16];
	int ret;

	ret = rt_head(r, &msg, sizeof(msg), &attrs);
	if (ret)
		return ret;
	if (msg.ifi_index > 0)
		l = net_link_by_index(r->stack, msg.ifi_index);
	else if (rt_name(attrs.at[IFLA_IFNAME], name) || rt_name(attrs.at[IFLA_ALT_IFNAME], name))
		l = net_link_by_name(r->stack, name);
	else
		return -EINVAL;
	if (!l)
		return -ENODEV;
	net_link_info(l, &info);
	net_link_put(l);
	rt_put_link(r, RTM_NEWLINK, 0, &info);
	return 0;
}

/* --- addresses -------------------------------------------------------------------------------- */

void rt_put_addr(const struct rt_request *r, uint16_t type, uint16_t flags,
		 const struct net_addr_info *i)
{
	struct ifa_cacheinfo cache = {.ifa_prefered = i->preferred, .ifa_valid = i->valid};
	struct ifaddrmsg msg = {
		.ifa_family = (uint8_t)i->family,
		.ifa_prefixlen = i->prefix,
		.ifa_flags = (uint8_t)i->flags,
		.ifa_scope = i->scope,
		.ifa_index = (uint32_t)i->ifindex,
	};
	struct net_link *l = net_link_by_index(r->stack, i->ifindex);
	struct net_link_info link = {.name = ""};
	struct nl_buf *b = r->out;

	if (l) {
		net_link_info(l, &link);
		net_link_put(l);
	}
	nl_begin(b, type, flags, r->hdr->nlmsg_seq, r->portid);
	nl_put(b, &msg, sizeof(msg));
	attr_address(b, IFA_ADDRESS, i->family, &i->addr);
	if (i->family == AF_INET) {
		attr_address(b, IFA_LOCAL, i->family, &i->addr);
		if (!is_any(&i->broadcast))
			attr_address(b, IFA_BROADCAST, i->family, &i->broadcast);
		attr_string(b, IFA_LABEL, link.name);
	}
	attr_u32(b, IFA_FLAGS, i->flags);
	nl_attr(b, IFA_CACHEINFO, &cache, sizeof(cache));
	nl_end(b);
}

/* A pass over the addresses. */
struct addr_dump {
	const struct rt_request *r;
	int family;
	bool link_local; /* of IPv6 */
};

static int dump_addr(void *arg, const struct net_addr_info *i)
{
	const struct addr_dump *d = arg;

	if (i->family == d->family &&
	    (i->family == AF_INET || d->link_local == (i->scope == RT_SCOPE_LINK)))
		rt_put_addr(d->r, RTM_NEWADDR, NLM_F_MULTI, i);
	return 0;
}

/* One family after the other, link-local ones last. */
static int dump_addresses(const struct rt_request *r)
{
	struct addr_dump passes[] = {
		{r, AF_INET, false}, {r, AF_INET6, false}, {r, AF_INET6, true}};
	int ret = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(passes) && !ret; i++)
		if (r->family == AF_UNSPEC || r->family == passes[i].family)
			ret = net_addr_each(r->stack, dump_addr, &passes[i]);
	return ret;
}

/* --- routes ----------------------------------------------------------------------------------- */

void rt_put_route(const struct rt_request *r, uint16_t type, uint16_t flags,
		  const struct net_route_info *i)
{
	uint32_t table = i->table ? i->table : RT_TABLE_MAIN;
	struct rtmsg msg = {
		.rtm_family = (uint8_t)i->family,
		.rtm_dst_len = i->prefix,
		.rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_COMPAT,
		.rtm_protocol = i->protocol,
		.rtm_scope = i->scope,
		.rtm_type = i->type,
		/* the answer for one packet */
		.rtm_flags = r->dump ? 0 : RTM_F_CLONED | (i->type == RTN_LOCAL ? RTCF_LOCAL : 0),
	};
	struct rta_cacheinfo cache = {.rta_expires = (int32_t)i->expires * 100};
	struct nl_buf *b = r->out;

	nl_begin(b, type, flags, r->hdr->nlmsg_seq, r->portid);
	nl_put(b, &msg, sizeof(msg));
	attr_u32(b, RTA_TABLE, table);
	if (i->prefix)
		attr_address(b, RTA_DST, i->family, &i->dst);
	if (i->metric)
		attr_u32(b, RTA_PRIORITY, i->metric);
	if (i->has_gateway)
		attr_address(b, RTA_GATEWAY, i->family, &i->gateway);
	if (!is_any(&i->src))
		attr_address(b, RTA_PREFSRC, i->family, &i->src);
	if (i->ifindex)
		attr_u32(b, RTA_OIF, (uint32_t)i->ifindex);
	if (i->mtu && r->dump) {
		struct nl_buf metrics = {0};

		attr_u32(&metrics, RTAX_MTU, i->mtu);
		if (!metrics.error)
			nl_attr(b, RTA_METRICS, metrics.data, metrics.len);
		free(metrics.data);
	}
	if (!r->dump)
		attr_u32(b, RTA_UID, 0);
	if (i->family == AF_INET6 || !r->dump)
		nl_attr(b, RTA_CACHEINFO, &cache, sizeof(cache));
	if (i->family == AF_INET6)
		attr_u8(b, RTA_PREF, 0);
	nl_end(b);
}

static int dump_routes(const struct rt_request *r)
{
	struct net_route_info *all;
	struct rtmsg msg;
	size_t n;
	int ret = inet_routes(r->stack, &all, &n);

	if (ret)
		return ret;
	rt_body(r, &msg, sizeof(msg));
	for (size_t i = 0; i < n; i++)
		if ((r->family == AF_UNSPEC || r->family == all[i].family) &&
		    (!msg.rtm_table || msg.rtm_table == all[i].table))
			rt_put_route(r, RTM_NEWROUTE, NLM_F_MULTI, &all[i]);
	free(all);
	return 0;
}

/* As `ip route get` asks. */
static int get_route(const struct rt_request *r)
{
	struct net_route_info info;
	struct in6_addr dst, src;
	struct rt_attrs attrs;
	struct rtmsg msg;
	bool has_src;
	int ret;

	ret = rt_head_ip(r, &msg, sizeof(msg), &attrs);
	if (ret)
		return ret;
	if (!rt_address(attrs.at[RTA_DST], r->family, &dst) && attrs.at[RTA_DST])
		return -EINVAL;
	has_src = rt_address(attrs.at[RTA_SRC], r->family, &src);
	ret = net_route_get(r->stack, r->family, &dst, has_src ? &src : NULL,
			    (int)rt_u32(attrs.at[RTA_OIF], 0), &info);
	if (ret)
		return ret;
	info.dst = dst;
	info.table = RT_TABLE_MAIN; /* Linux's answer, wherever it found it */
	rt_put_route(r, RTM_NEWROUTE, 0, &info);
	return 0;
}

/* --- neighbours and rules --------------------------------------------------------------------- */

void rt_put_neigh(const struct rt_request *r, uint16_t type, uint16_t flags,
		  const struct net_neigh_info *i)
{
	struct ndmsg msg = {
		.ndm_family = (uint8_t)i->family,
		.ndm_ifindex = i->ifindex,
		.ndm_state = i->state,
		.ndm_flags = i->flags,
		.ndm_type = RTN_UNICAST,
	};
	struct nl_buf *b = r->out;

	nl_begin(b, type, flags, r->hdr->nlmsg_seq, r->portid);
	nl_put(b, &msg, sizeof(msg));
	attr_address(b, NDA_DST, i->family, &i->addr);
	if (i->state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT))
		nl_attr(b, NDA_LLADDR, i->lladdr, sizeof(i->lladdr));
	nl_end(b);
}

static int dump_neigh(void *arg, const struct net_neigh_info *i)
{
	const struct rt_request *r = arg;

	if (r->family == AF_UNSPEC || r->family == i->family)
		rt_put_neigh(r, RTM_NEWNEIGH, NLM_F_MULTI, i);
	return 0;
}

static void put_rule(const struct rt_request *r, int family, uint32_t priority, uint32_t table)
{
	struct fib_rule_hdr msg = {
		.family = (uint8_t)family, .table = (uint8_t)table, .action = FR_ACT_TO_TBL};
	struct nl_buf *b = r->out;

	nl_begin(b, RTM_NEWRULE, NLM_F_MULTI, r->hdr->nlmsg_seq, r->portid);
	nl_put(b, &msg, sizeof(msg));
	attr_u32(b, FRA_TABLE, table);
	attr_u32(b, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
	attr_u8(b, FRA_PROTOCOL, RTPROT_KERNEL);
	if (priority)
		attr_u32(b, FRA_PRIORITY, priority);
	nl_end(b);
}

/* Those that every namespace begins with: the stack knows no others. */
static void dump_rules(const struct rt_request *r)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		int family = families[i];

		if (r->family != AF_UNSPEC && r->family != family)
			continue;
		put_rule(r, family, 0, RT_TABLE_LOCAL);
		put_rule(r, family, 32766, RT_TABLE_MAIN);
		if (family == AF_INET)
			put_rule(r, family, 32767, RT_TABLE_DEFAULT);
	}
}

int rt_get(const struct rt_request *r)
{
	void *arg = (void *)(uintptr_t)r;

	switch (r->hdr->nlmsg_type) {
	case RTM_GETLINK:
		return r->dump ? net_link_each(r->stack, dump_link, arg) : get_link(r);
	case RTM_GETADDR:
		return r->dump ? dump_addresses(r) : -EOPNOTSUPP;
	case RTM_GETROUTE:
		return r->dump ? dump_routes(r) : get_route(r);
	case RTM_GETNEIGH:
		return r->dump ? net_neigh_each(r->stack, dump_neigh, arg) : -EOPNOTSUPP;
	case RTM_GETNSID:
		return rt_get_nsid(r);
	case RTM_GETRULE:
		if (!r->dump)
			return -EOPNOTSUPP;
		dump_rules(r);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}
