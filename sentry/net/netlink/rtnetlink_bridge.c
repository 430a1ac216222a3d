/* What bridges and their ports are told: programs set to its default much that there is no more of.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>

#include "sentry/net/netlink/rtnetlink_internal.h"

#define PORT_FORWARDS 3 /* BR_STATE_FORWARDING */

/* A value that can be set, because it is so. */
struct setting {
	int type;
	uint32_t value;
	size_t size; /* of the attribute */
};

static const struct setting of_bridges[] = {
	{IFLA_BR_STP_STATE, 0, 4},
	{IFLA_BR_VLAN_FILTERING, 0, 1},
	{IFLA_BR_MCAST_SNOOPING, 0, 1},
};
static const struct setting of_ports[] = {
	{IFLA_BRPORT_STATE, PORT_FORWARDS, 1},
	{IFLA_BRPORT_MODE, 0, 1}, /* hairpin */
	{IFLA_BRPORT_GUARD, 0, 1},
	{IFLA_BRPORT_PROTECT, 0, 1},
	{IFLA_BRPORT_LEARNING, 1, 1},
	{IFLA_BRPORT_UNICAST_FLOOD, 1, 1},
	{IFLA_BRPORT_MCAST_FLOOD, 1, 1},
	{IFLA_BRPORT_BCAST_FLOOD, 1, 1},
	{IFLA_BRPORT_PROXYARP, 0, 1},
	{IFLA_BRPORT_ISOLATED, 0, 1},
};

static bool is_so(const struct rtattr *a, int type, const struct setting *s, size_t n)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i].type != type || rt_size(a) < s[i].size)
			continue;
		memcpy(&v, rt_data(a), s[i].size);
		return v == s[i].value;
	}
	return false;
}

static int check(const struct rtattr *nest, const struct setting *s, size_t n)
{
	struct rt_attrs attrs;
	int ret = rt_attrs_nested(nest, 0, &attrs);

	for (int i = 0; !ret && i < RT_ATTRS; i++)
		if (attrs.at[i] && !is_so(attrs.at[i], i, s, n))
			ret = -EOPNOTSUPP;
	return ret;
}

int rt_check_kind(const struct rt_attrs *attrs)
{
	struct rt_attrs info;
	char kind[16] = "";
	int ret;

	if (!attrs->at[IFLA_LINKINFO])
		return 0;
	ret = rt_attrs_nested(attrs->at[IFLA_LINKINFO], 0, &info);
	if (!ret && info.at[IFLA_INFO_SLAVE_DATA])
		ret = check(info.at[IFLA_INFO_SLAVE_DATA], of_ports, ARRAY_SIZE(of_ports));
	if (ret)
		return ret;
	rt_name(info.at[IFLA_INFO_KIND], kind);
	if (!info.at[IFLA_INFO_DATA] || strcmp(kind, "bridge") != 0)
		return 0;
	return check(info.at[IFLA_INFO_DATA], of_bridges, ARRAY_SIZE(of_bridges));
}

int rt_change_port(const struct rt_request *r, const struct ifinfomsg *msg,
		   const struct rt_attrs *attrs)
{
	const struct rtattr *flags = attrs->at[IFLA_PROTINFO];
	struct net_link_info info;
	struct net_link *l;

	/* VLANs are in IFLA_AF_SPEC. */
	if (r->hdr->nlmsg_type != RTM_SETLINK || attrs->at[IFLA_AF_SPEC] || !flags)
		return -EOPNOTSUPP;
	l = net_link_by_index(r->stack, msg->ifi_index);
	if (!l)
		return -ENODEV;
	net_link_info(l, &info);
	net_link_put(l);
	if (!info.master)
		return -EINVAL;
	return check(flags, of_ports, ARRAY_SIZE(of_ports));
}
