/*
 * NETLINK_ROUTE (man 7 rtnetlink) of a network namespace that has a loopback and nothing else:
 * what getifaddrs, if_nameindex and getaddrinfo ask.
 */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

#include "sentry/kernel/task.h"
#include "sentry/net/netlink/netlink.h"

#define LO_INDEX 1
#define LO_MTU 65536U
#define LO_FLAGS (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | 0x10000 /* IFF_LOWER_UP */)

static void attr_u32(struct nl_buf *b, uint16_t type, uint32_t v)
{
	nl_attr(b, type, &v, sizeof(v));
}

static void attr_u8(struct nl_buf *b, uint16_t type, uint8_t v)
{
	nl_attr(b, type, &v, sizeof(v));
}

static void put_link(struct nl_buf *b, const struct nlmsghdr *req, uint32_t portid, uint16_t flags)
{
	struct ifinfomsg info = {
		.ifi_type = ARPHRD_LOOPBACK, .ifi_index = LO_INDEX, .ifi_flags = LO_FLAGS};
	struct rtnl_link_stats64 stats = {0};
	uint8_t addr[6] = {0};

	nl_begin(b, RTM_NEWLINK, flags, req->nlmsg_seq, portid);
	nl_put(b, &info, sizeof(info));
	nl_attr(b, IFLA_IFNAME, "lo", 3);
	attr_u32(b, IFLA_TXQLEN, 1000);
	attr_u8(b, IFLA_OPERSTATE, 0);
	attr_u8(b, IFLA_LINKMODE, 0);
	attr_u32(b, IFLA_MTU, LO_MTU);
	attr_u32(b, IFLA_GROUP, 0);
	attr_u32(b, IFLA_PROMISCUITY, 0);
	attr_u32(b, IFLA_NUM_TX_QUEUES, 1);
	attr_u32(b, IFLA_NUM_RX_QUEUES, 1);
	attr_u8(b, IFLA_CARRIER, 1);
	nl_attr(b, IFLA_QDISC, "noqueue", 8);
	nl_attr(b, IFLA_ADDRESS, addr, sizeof(addr));
	nl_attr(b, IFLA_BROADCAST, addr, sizeof(addr));
	nl_attr(b, IFLA_STATS64, &stats, sizeof(stats));
	nl_end(b);
}

static void put_addr(struct nl_buf *b, const struct nlmsghdr *req, uint32_t portid, int family)
{
	struct ifa_cacheinfo cache = {.ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX};
	struct ifaddrmsg msg = {.ifa_family = (uint8_t)family,
				.ifa_prefixlen = family == AF_INET ? 8 : 128,
				.ifa_flags = IFA_F_PERMANENT,
				.ifa_scope = RT_SCOPE_HOST,
				.ifa_index = LO_INDEX};

	nl_begin(b, RTM_NEWADDR, NLM_F_MULTI, req->nlmsg_seq, portid);
	nl_put(b, &msg, sizeof(msg));
	if (family == AF_INET) {
		uint32_t addr = htonl(INADDR_LOOPBACK);

		nl_attr(b, IFA_ADDRESS, &addr, sizeof(addr));
		nl_attr(b, IFA_LOCAL, &addr, sizeof(addr));
		nl_attr(b, IFA_LABEL, "lo", 3);
	} else {
		nl_attr(b, IFA_ADDRESS, &in6addr_loopback, sizeof(in6addr_loopback));
	}
	attr_u32(b, IFA_FLAGS, IFA_F_PERMANENT);
	nl_attr(b, IFA_CACHEINFO, &cache, sizeof(cache));
	nl_end(b);
}

/* One link, by index or by name. */
static int get_link(const struct nlmsghdr *req, uint32_t portid, struct nl_buf *out)
{
	size_t left = req->nlmsg_len - NLMSG_HDRLEN;
	const char *p = (const char *)req + NLMSG_HDRLEN;
	struct ifinfomsg info;
	bool found;

	if (left < sizeof(info))
		return -EINVAL;
	memcpy(&info, p, sizeof(info));
	found = info.ifi_index == LO_INDEX;
	p += NLMSG_ALIGN(sizeof(info));
	left -= MIN(left, (size_t)NLMSG_ALIGN(sizeof(info)));
	while (!info.ifi_index && left >= sizeof(struct rtattr)) {
		struct rtattr attr;
		size_t step;

		memcpy(&attr, p, sizeof(attr));
		if (attr.rta_len < sizeof(attr) || attr.rta_len > left)
			break;
		if (attr.rta_type == IFLA_IFNAME &&
		    strnlen(p + RTA_LENGTH(0), RTA_PAYLOAD(&attr)) == 2 &&
		    !memcmp(p + RTA_LENGTH(0), "lo", 2))
			found = true;
		step = MIN(left, (size_t)RTA_ALIGN(attr.rta_len));
		p += step;
		left -= step;
	}
	if (!found)
		return -ENODEV;
	put_link(out, req, portid, 0);
	return 0;
}

int rtnetlink_request(struct socket *sock, const struct nlmsghdr *req, uint32_t portid,
		      struct nl_buf *out, bool *dump)
{
	bool wants_dump = (req->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int family = AF_UNSPEC;

	(void)sock;
	if (req->nlmsg_type < RTM_BASE || req->nlmsg_type > RTM_MAX)
		return -EOPNOTSUPP;
	if (req->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtgenmsg)))
		return -EINVAL;
	family = ((const struct rtgenmsg *)(const void *)((const char *)req + NLMSG_HDRLEN))
			 ->rtgen_family;
	/* Kinds come in groups of NEW, DEL, GET, SET; only GET needs no privilege. */
	if ((req->nlmsg_type - RTM_BASE) % 4 != RTM_GETLINK - RTM_NEWLINK)
		return capable(CAP_NET_ADMIN) ? -EOPNOTSUPP : -EPERM;
	*dump = wants_dump;
	switch (req->nlmsg_type) {
	case RTM_GETLINK:
		if (!wants_dump)
			return get_link(req, portid, out);
		put_link(out, req, portid, NLM_F_MULTI);
		return 0;
	case RTM_GETADDR:
		if (!wants_dump)
			return -EOPNOTSUPP;
		if (family == AF_UNSPEC || family == AF_INET)
			put_addr(out, req, portid, AF_INET);
		if (family == AF_UNSPEC || family == AF_INET6)
			put_addr(out, req, portid, AF_INET6);
		return 0;
	case RTM_GETROUTE:
	case RTM_GETNEIGH:
		/* The main table and the neighbours of a loopback are empty. */
		return wants_dump ? 0 : -ENETUNREACH;
	default:
		return -EOPNOTSUPP;
	}
}
