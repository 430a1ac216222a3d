/* Changing addresses, routes and neighbours by rtnetlink. */
#include <errno.h>
#include <linux/neighbour.h>
#include <string.h>

#include "sentry/net/netlink/rtnetlink_internal.h"

static bool creates(const struct rt_request *r)
{
	return r->hdr->nlmsg_flags & NLM_F_CREATE;
}

/* --- addresses -------------------------------------------------------------------------------- */

static int change_addr(const struct rt_request *r, bool add)
{
	struct net_addr_info info = {.family = r->family};
	const struct rtattr *local;
	struct ifa_cacheinfo cache;
	struct rt_attrs attrs;
	struct ifaddrmsg msg;
	int ret;

	ret = rt_head_ip(r, &msg, sizeof(msg), &attrs);
	if (ret)
		return ret;
	local = attrs.at[IFA_LOCAL] ? attrs.at[IFA_LOCAL] : attrs.at[IFA_ADDRESS];
	if (!rt_address(local, r->family, &info.addr) ||
	    msg.ifa_prefixlen > (r->family == AF_INET ? 32 : 128))
		return -EINVAL;
	info.ifindex = (int)msg.ifa_index;
	info.prefix = msg.ifa_prefixlen;
	info.scope = msg.ifa_scope;
	info.flags = rt_u32(attrs.at[IFA_FLAGS], msg.ifa_flags);
	if (r->family == AF_INET)
		rt_address(attrs.at[IFA_BROADCAST], r->family, &info.broadcast);
	if (attrs.at[IFA_CACHEINFO] && rt_size(attrs.at[IFA_CACHEINFO]) >= sizeof(cache)) {
		memcpy(&cache, rt_data(attrs.at[IFA_CACHEINFO]), sizeof(cache));
		info.valid = cache.ifa_valid;
		info.preferred = cache.ifa_prefered;
	}
	return add ? net_addr_add(r->stack, &info) : net_addr_del(r->stack, &info);
}

/* --- routes ----------------------------------------------------------------------------------- */

static int read_metrics(const struct rtattr *a, struct net_route_info *info)
{
	struct rt_attrs metrics;
	int ret = rt_attrs_nested(a, 0, &metrics);

	if (!ret)
		info->mtu = rt_u32(metrics.at[RTAX_MTU], 0);
	return ret;
}

static int read_route(const struct rt_request *r, struct net_route_info *info)
{
	struct rt_attrs attrs;
	struct rtmsg msg;
	int ret;

	ret = rt_head_ip(r, &msg, sizeof(msg), &attrs);
	if (ret)
		return ret;
	*info = (struct net_route_info){
		.family = r->family,
		.prefix = msg.rtm_dst_len,
		.type = msg.rtm_type,
		.scope = msg.rtm_scope,
		.protocol = msg.rtm_protocol,
		.table = rt_u32(attrs.at[RTA_TABLE], msg.rtm_table),
		.metric = rt_u32(attrs.at[RTA_PRIORITY], 0),
		.ifindex = (int)rt_u32(attrs.at[RTA_OIF], 0),
		.expires = rt_u32(attrs.at[RTA_EXPIRES], 0),
	};
	if (msg.rtm_dst_len > (r->family == AF_INET ? 32 : 128) ||
	    (attrs.at[RTA_DST] && !rt_address(attrs.at[RTA_DST], r->family, &info->dst)) ||
	    (msg.rtm_dst_len && !attrs.at[RTA_DST]))
		return -EINVAL;
	/* Several ways, sources, marks: not what the stack can do. */
	if (msg.rtm_src_len || msg.rtm_tos || attrs.at[RTA_MULTIPATH] || attrs.at[RTA_NH_ID] ||
	    attrs.at[RTA_ENCAP])
		return -EOPNOTSUPP;
	if (attrs.at[RTA_GATEWAY]) {
		info->has_gateway = 1;
		if (!rt_address(attrs.at[RTA_GATEWAY], r->family, &info->gateway))
			return -EINVAL;
	}
	if (attrs.at[RTA_PREFSRC] && !rt_address(attrs.at[RTA_PREFSRC], r->family, &info->src))
		return -EINVAL;
	return attrs.at[RTA_METRICS] ? read_metrics(attrs.at[RTA_METRICS], info) : 0;
}

/* The route that a request would replace: the same destination and metric, whatever its way. */
struct search {
	const struct net_route_info *like;
	bool found;
	struct net_route_info info;
};

static uint32_t table_of(const struct net_route_info *i)
{
	return i->table ? i->table : RT_TABLE_MAIN;
}

static int match_route(void *arg, const struct net_route_info *i)
{
	struct search *s = arg;

	if (i->family != s->like->family || i->prefix != s->like->prefix ||
	    i->metric != s->like->metric || table_of(i) != table_of(s->like) ||
	    memcmp(&i->dst, &s->like->dst, sizeof(i->dst)) != 0)
		return 0;
	s->info = *i;
	s->found = true;
	return 1;
}

static int replace_route(const struct rt_request *r, const struct net_route_info *info)
{
	struct search old = {.like = info};
	int ret;

	net_route_each(r->stack, match_route, &old);
	if (!old.found)
		return creates(r) ? net_route_add(r->stack, info) : -ENOENT;
	net_route_del(r->stack, &old.info);
	ret = net_route_add(r->stack, info);
	if (ret)
		net_route_add(r->stack, &old.info);
	return ret;
}

static int change_route(const struct rt_request *r, bool add)
{
	struct net_route_info info;
	int ret = read_route(r, &info);

	if (ret)
		return ret;
	if (!add)
		return net_route_del(r->stack, &info);
	if (r->hdr->nlmsg_flags & NLM_F_REPLACE)
		return replace_route(r, &info);
	return creates(r) ? net_route_add(r->stack, &info) : -ENOENT;
}

/* --- neighbours ------------------------------------------------------------------------------- */

static int change_neigh(const struct rt_request *r, bool add)
{
	struct net_neigh_info info = {.family = r->family};
	struct rt_attrs attrs;
	struct ndmsg msg;
	int ret;

	ret = rt_head_ip(r, &msg, sizeof(msg), &attrs);
	if (ret)
		return ret;
	if (!rt_address(attrs.at[NDA_DST], r->family, &info.addr))
		return -EINVAL;
	info.ifindex = msg.ndm_ifindex;
	info.state = msg.ndm_state;
	info.flags = msg.ndm_flags;
	if (!add)
		return net_neigh_del(r->stack, &info);
	if (!attrs.at[NDA_LLADDR] || rt_size(attrs.at[NDA_LLADDR]) != sizeof(info.lladdr))
		return -EINVAL;
	memcpy(info.lladdr, rt_data(attrs.at[NDA_LLADDR]), sizeof(info.lladdr));
	return net_neigh_add(r->stack, &info);
}

int rt_change(const struct rt_request *r)
{
	switch (r->hdr->nlmsg_type) {
	case RTM_NEWADDR:
		return change_addr(r, true);
	case RTM_DELADDR:
		return change_addr(r, false);
	case RTM_NEWROUTE:
		return change_route(r, true);
	case RTM_DELROUTE:
		return change_route(r, false);
	case RTM_NEWNEIGH:
		return change_neigh(r, true);
	case RTM_DELNEIGH:
		return change_neigh(r, false);
	case RTM_NEWNSID:
		return rt_new_nsid(r);
	default:
		return -EOPNOTSUPP;
	}
}
