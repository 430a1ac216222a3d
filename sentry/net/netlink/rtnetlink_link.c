/* Making, changing and removing links by rtnetlink. */
#include <errno.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>

#include "sentry/net/netlink/rtnetlink_internal.h"

static struct net_link *find(const struct rt_request *r, const struct ifinfomsg *msg,
			     const struct rt_attrs *attrs)
{
	char name[16];

	if (msg->ifi_index > 0)
		return net_link_by_index(r->stack, msg->ifi_index);
	return rt_name(attrs->at[IFLA_IFNAME], name) ? net_link_by_name(r->stack, name) : NULL;
}

static int set_master(const struct rt_request *r, struct net_link *l, uint32_t index)
{
	struct net_link *bridge = index ? net_link_by_index(r->stack, (int)index) : NULL;
	int ret;

	if (index && !bridge)
		return -ENODEV;
	ret = net_link_set_master(l, bridge);
	net_link_put(bridge);
	return ret;
}

static int set_flags(struct net_link *l, const struct ifinfomsg *msg)
{
	const unsigned can = IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST;
	unsigned mask = msg->ifi_change ? msg->ifi_change : msg->ifi_flags;

	/* Others cannot be changed, and Linux does not complain. */
	return mask & can ? net_link_set_flags(l, msg->ifi_flags & mask & can, mask & can) : 0;
}

/* What a new link and one that is there are given alike. */
static int change(const struct rt_request *r, struct net_link *l, const struct ifinfomsg *msg,
		  const struct rt_attrs *attrs)
{
	const struct rtattr *addr = attrs->at[IFLA_ADDRESS];
	int ret = 0;

	if (addr && rt_size(addr) != 6)
		return -EINVAL;
	if (addr)
		ret = net_link_set_addr(l, rt_data(addr));
	if (!ret && attrs->at[IFLA_MTU])
		ret = net_link_set_mtu(l, rt_u32(attrs->at[IFLA_MTU], 0));
	if (!ret && attrs->at[IFLA_TXQLEN])
		ret = net_link_set_txqlen(l, rt_u32(attrs->at[IFLA_TXQLEN], 0));
	if (!ret && attrs->at[IFLA_MASTER])
		ret = set_master(r, l, rt_u32(attrs->at[IFLA_MASTER], 0));
	return ret ? ret : set_flags(l, msg);
}

/* --- new ones --------------------------------------------------------------------------------- */

static int read_config(const struct rt_attrs *attrs, struct net_link_config *c)
{
	memset(c, 0, sizeof(*c));
	if (attrs->at[IFLA_IFNAME] && !rt_name(attrs->at[IFLA_IFNAME], c->name))
		return -EINVAL;
	if (attrs->at[IFLA_ADDRESS]) {
		if (rt_size(attrs->at[IFLA_ADDRESS]) != 6)
			return -EINVAL;
		memcpy(c->addr, rt_data(attrs->at[IFLA_ADDRESS]), 6);
	}
	return 0;
}

/* The other end is in the caller's namespace, where nothing else is said of it. */
static int make_veth_pair(const struct rt_request *r, struct netstack *here,
			  const struct net_link_config *c, const struct rt_attrs *peer,
			  const struct ifinfomsg *msg, struct net_link **out)
{
	struct netstack *there = r->stack;
	struct net_link_config other;
	struct net_link *l;
	struct net_ns *ns;
	int ret = read_config(peer, &other);

	if (ret)
		return ret;
	if (msg->ifi_index < 0)
		return -EINVAL;
	other.index = msg->ifi_index;
	ret = rt_target(peer, &ns, &there);
	if (!ret)
		ret = net_link_add_veth(here, c, out, there, &other, &l);
	if (ns)
		net_ns_put(ns);
	if (ret)
		return ret;
	if (peer->at[IFLA_MTU])
		ret = net_link_set_mtu(l, rt_u32(peer->at[IFLA_MTU], 0));
	if (!ret && peer->at[IFLA_TXQLEN])
		ret = net_link_set_txqlen(l, rt_u32(peer->at[IFLA_TXQLEN], 0));
	if (!ret)
		ret = set_flags(l, msg);
	if (ret) {
		net_link_remove(*out);
		net_link_put(*out);
	}
	net_link_put(l);
	return ret;
}

static int make_veth(const struct rt_request *r, struct netstack *here,
		     const struct net_link_config *c, const struct rtattr *data,
		     struct net_link **out)
{
	struct rt_attrs veth = {0}, peer = {0};
	struct ifinfomsg msg = {0};
	const struct rtattr *info;
	int ret = data ? rt_attrs_nested(data, 0, &veth) : 0;

	info = veth.at[VETH_INFO_PEER];
	if (!ret && info) {
		ret = rt_attrs_nested(info, sizeof(msg), &peer);
		if (!ret)
			memcpy(&msg, rt_data(info), sizeof(msg));
	}
	return ret ? ret : make_veth_pair(r, here, c, &peer, &msg, out);
}

static int make_in(const struct rt_request *r, struct netstack *here, const struct ifinfomsg *msg,
		   const struct rt_attrs *attrs)
{
	const struct rt_request there = {
		.hdr = r->hdr, .stack = here, .portid = r->portid, .out = r->out};
	struct net_link_config c;
	struct rt_attrs info = {0};
	struct net_link *l;
	char kind[16] = "";
	int ret =
		attrs->at[IFLA_LINKINFO] ? rt_attrs_nested(attrs->at[IFLA_LINKINFO], 0, &info) : 0;

	if (!ret)
		ret = read_config(attrs, &c);
	if (ret)
		return ret;
	c.index = msg->ifi_index;
	rt_name(info.at[IFLA_INFO_KIND], kind);
	if (!strcmp(kind, "dummy"))
		ret = net_link_add_dummy(here, &c, &l);
	else if (!strcmp(kind, "bridge"))
		ret = net_link_add_bridge(here, &c, &l);
	else if (!strcmp(kind, "veth"))
		ret = make_veth(r, here, &c, info.at[IFLA_INFO_DATA], &l);
	else
		ret = -EOPNOTSUPP;
	if (ret)
		return ret;
	ret = change(&there, l, msg, attrs);
	if (ret)
		net_link_remove(l);
	net_link_put(l);
	return ret;
}

static int make(const struct rt_request *r, const struct ifinfomsg *msg,
		const struct rt_attrs *attrs)
{
	struct netstack *s = r->stack;
	struct net_ns *ns;
	int ret;

	if (msg->ifi_index < 0)
		return -EINVAL;
	if (attrs->at[IFLA_LINK_NETNSID])
		return -EOPNOTSUPP;
	ret = rt_target(attrs, &ns, &s);
	if (!ret)
		ret = make_in(r, s, msg, attrs);
	if (ns)
		net_ns_put(ns);
	return ret;
}

/* --- those that are there --------------------------------------------------------------------- */

/* By its index, a link can be renamed. */
static const char *new_name(const struct ifinfomsg *msg, const struct rt_attrs *attrs,
			    char name[16])
{
	return msg->ifi_index > 0 && rt_name(attrs->at[IFLA_IFNAME], name) ? name : NULL;
}

/* First it is there, then it is changed there. */
static int move(const struct rt_request *r, struct netstack *to, struct net_link *l,
		const struct ifinfomsg *msg, const struct rt_attrs *attrs)
{
	const struct rt_request there = {
		.hdr = r->hdr, .stack = to, .portid = r->portid, .out = r->out};
	struct net_link *moved;
	char name[16];
	int ret = net_link_move(l, to, new_name(msg, attrs, name), &moved);

	if (ret)
		return ret;
	ret = change(&there, moved, msg, attrs);
	net_link_put(moved);
	return ret;
}

static int modify(const struct rt_request *r, struct net_link *l, const struct ifinfomsg *msg,
		  const struct rt_attrs *attrs)
{
	struct netstack *to = r->stack;
	const char *wish;
	struct net_ns *ns;
	char name[16];
	int ret = rt_target(attrs, &ns, &to);

	if (ret)
		return ret;
	if (to != r->stack) {
		ret = move(r, to, l, msg, attrs);
	} else {
		wish = new_name(msg, attrs, name);
		ret = wish ? net_link_set_name(l, wish) : 0;
		if (!ret)
			ret = change(r, l, msg, attrs);
	}
	if (ns)
		net_ns_put(ns);
	return ret;
}

static int remove_link(struct net_link *l)
{
	struct net_link_info info;

	net_link_info(l, &info);
	/* The others are not the guest's to make, and could not be had back. */
	if (info.kind != NET_LINK_DUMMY && info.kind != NET_LINK_VETH &&
	    info.kind != NET_LINK_BRIDGE)
		return -EOPNOTSUPP;
	return net_link_remove(l);
}

int rt_change_link(const struct rt_request *r)
{
	struct ifinfomsg msg;
	struct rt_attrs attrs;
	struct net_link *l;
	int ret;

	ret = rt_head(r, &msg, sizeof(msg), &attrs);
	if (ret)
		return ret;
	if (msg.ifi_family == AF_BRIDGE)
		return rt_change_port(r, &msg, &attrs);
	ret = rt_check_kind(&attrs);
	if (ret)
		return ret;
	l = find(r, &msg, &attrs);
	if (!l && r->hdr->nlmsg_type == RTM_NEWLINK && (r->hdr->nlmsg_flags & NLM_F_CREATE))
		return make(r, &msg, &attrs);
	if (!l)
		return -ENODEV;
	if (r->hdr->nlmsg_type == RTM_DELLINK)
		ret = remove_link(l);
	else if (r->hdr->nlmsg_flags & NLM_F_EXCL)
		ret = -EEXIST;
	else
		ret = modify(r, l, &msg, &attrs);
	net_link_put(l);
	return ret;
}
