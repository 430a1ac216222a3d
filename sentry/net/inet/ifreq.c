/* The ioctls about network interfaces and IPv4's routes (man 7 netdevice). */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/inet_internal.h"
#include "sentry/net/net_upcalls.h"

static void set_ipv4(struct sockaddr *sa, uint32_t addr)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = addr};

	memcpy(sa, &in, sizeof(in));
}

/* False: it is no address of IPv4. */
static bool get_ipv4(const struct sockaddr *sa, uint32_t *addr)
{
	struct sockaddr_in in;

	memcpy(&in, sa, sizeof(in));
	*addr = in.sin_addr.s_addr;
	return in.sin_family == AF_INET;
}

static uint32_t mask_of(unsigned prefix)
{
	return prefix ? htonl(~0U << (32 - prefix)) : 0;
}

/* False: not ones, then zeros. */
static bool prefix_of(uint32_t mask, uint8_t *prefix)
{
	uint32_t zeros = ~ntohl(mask);

	*prefix = (uint8_t)__builtin_popcount(mask);
	return !(zeros & (zeros + 1));
}

/* --- addresses -------------------------------------------------------------------------------- */

/* The first IPv4 address of a link. */
struct search {
	int ifindex;
	bool found;
	struct net_addr_info info;
};

static int match_address(void *arg, const struct net_addr_info *i)
{
	struct search *s = arg;

	if (i->ifindex != s->ifindex || i->family != AF_INET)
		return 0;
	s->info = *i;
	s->found = true;
	return 1;
}

static bool first_address(struct netstack *stack, int ifindex, struct net_addr_info *info)
{
	struct search s = {.ifindex = ifindex};

	net_addr_each(stack, match_address, &s);
	*info = s.info;
	return s.found;
}

static uint32_t address_word(const struct in6_addr *a)
{
	uint32_t v;

	memcpy(&v, a, sizeof(v));
	return v;
}

/* What an address had before classes went, and ifconfig still relies on. */
static uint8_t class_prefix(uint32_t addr)
{
	uint32_t a = ntohl(addr);

	return a ? IN_CLASSA(a) ? 8 : IN_CLASSB(a) ? 16 : 24 : 0;
}

static int set_address(struct netstack *s, int ifindex, uint32_t addr, uint8_t prefix)
{
	struct net_addr_info old, info = {
					  .ifindex = ifindex,
					  .family = AF_INET,
					  .prefix = prefix,
					  .flags = IFA_F_PERMANENT,
				  };
	uint32_t broadcast = addr | ~mask_of(prefix);

	if (first_address(s, ifindex, &old))
		net_addr_del(s, &old);
	if (!addr)
		return 0;
	memcpy(&info.addr, &addr, sizeof(addr));
	if (prefix < 31)
		memcpy(&info.broadcast, &broadcast, sizeof(broadcast));
	return net_addr_add(s, &info);
}

static int change_address(struct netstack *s, int ifindex, unsigned cmd, const struct sockaddr *sa)
{
	struct net_addr_info old;
	bool has = first_address(s, ifindex, &old);
	uint32_t v;
	uint8_t prefix;

	if (!get_ipv4(sa, &v))
		return -EINVAL;
	if (cmd == SIOCSIFADDR)
		return set_address(s, ifindex, v, class_prefix(v));
	if (!has)
		return -EADDRNOTAVAIL;
	if (cmd == SIOCSIFBRDADDR) {
		net_addr_del(s, &old);
		memcpy(&old.broadcast, &v, sizeof(v));
		return net_addr_add(s, &old);
	}
	if (!prefix_of(v, &prefix))
		return -EINVAL;
	return set_address(s, ifindex, address_word(&old.addr), prefix);
}

static int show_address(struct netstack *s, int ifindex, unsigned cmd, struct sockaddr *sa)
{
	struct net_addr_info info;

	if (!first_address(s, ifindex, &info))
		return -EADDRNOTAVAIL;
	switch (cmd) {
	case SIOCGIFNETMASK:
		set_ipv4(sa, mask_of(info.prefix));
		break;
	case SIOCGIFBRDADDR:
		set_ipv4(sa, address_word(&info.broadcast));
		break;
	default:
		set_ipv4(sa, address_word(&info.addr));
	}
	return 0;
}

/* --- one interface ---------------------------------------------------------------------------- */

static int show(struct netstack *s, const struct net_link_info *i, unsigned cmd, struct ifreq *req)
{
	switch (cmd) {
	case SIOCGIFINDEX:
		req->ifr_ifindex = i->index;
		return 0;
	case SIOCGIFFLAGS:
		req->ifr_flags = (short)i->flags;
		return 0;
	case SIOCGIFADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCGIFDSTADDR:
		return show_address(s, i->index, cmd, &req->ifr_addr);
	case SIOCGIFMTU:
		req->ifr_mtu = (int)i->mtu;
		return 0;
	case SIOCGIFMETRIC:
		req->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		req->ifr_qlen = i->kind == NET_LINK_LOOPBACK ? 1000 : (int)i->txqlen;
		return 0;
	case SIOCGIFHWADDR:
		memset(&req->ifr_hwaddr, 0, sizeof(req->ifr_hwaddr));
		req->ifr_hwaddr.sa_family = i->type;
		memcpy(req->ifr_hwaddr.sa_data, i->addr, sizeof(i->addr));
		return 0;
	default:
		return -ENOIOCTLCMD;
	}
}

static int change(struct netstack *s, struct net_link *l, const struct net_link_info *i,
		  unsigned cmd, struct ifreq *req)
{
	const unsigned flags = IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST;

	switch (cmd) {
	case SIOCSIFFLAGS:
		return net_link_set_flags(l, (unsigned short)req->ifr_flags & flags, flags);
	case SIOCSIFADDR:
	case SIOCSIFNETMASK:
	case SIOCSIFBRDADDR:
		return change_address(s, i->index, cmd, &req->ifr_addr);
	case SIOCSIFMTU:
		return net_link_set_mtu(l, (unsigned)req->ifr_mtu);
	case SIOCSIFTXQLEN:
		return req->ifr_qlen < 0 ? -EINVAL
					 : net_link_set_txqlen(l, (unsigned)req->ifr_qlen);
	case SIOCSIFHWADDR:
		if (req->ifr_hwaddr.sa_family != i->type)
			return -EINVAL;
		return net_link_set_addr(l, (const uint8_t *)req->ifr_hwaddr.sa_data);
	case SIOCSIFNAME:
		req->ifr_newname[IFNAMSIZ - 1] = 0;
		return net_link_set_name(l, req->ifr_newname);
	default:
		return -EOPNOTSUPP;
	}
}

static bool is_change(unsigned cmd)
{
	switch (cmd) {
	case SIOCGIFINDEX:
	case SIOCGIFFLAGS:
	case SIOCGIFADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFMTU:
	case SIOCGIFMETRIC:
	case SIOCGIFTXQLEN:
	case SIOCGIFHWADDR:
		return false;
	default:
		return true;
	}
}

static long by_name(const struct socket *sock, struct netstack *s, unsigned cmd, struct ifreq *req,
		    uint64_t arg)
{
	struct net_link_info info;
	struct net_link *l;
	char *alias;
	int ret;

	if (is_change(cmd) && !socket_capable(sock, CAP_NET_ADMIN))
		return -EPERM;
	/* eth0:1 is eth0 with a label. */
	alias = strchr(req->ifr_name, ':');
	if (alias)
		*alias = 0;
	l = net_link_by_name(s, req->ifr_name);
	if (alias)
		*alias = ':';
	if (!l)
		return -ENODEV;
	net_link_info(l, &info);
	ret = is_change(cmd) ? change(s, l, &info, cmd, req) : show(s, &info, cmd, req);
	net_link_put(l);
	if (ret || is_change(cmd))
		return ret;
	return copy_to_user(arg, req, sizeof(*req));
}

static long get_name(struct netstack *s, struct ifreq *req, uint64_t arg)
{
	struct net_link *l = net_link_by_index(s, req->ifr_ifindex);
	struct net_link_info info;

	if (!l)
		return -ENODEV;
	net_link_info(l, &info);
	net_link_put(l);
	memset(req->ifr_name, 0, sizeof(req->ifr_name));
	memcpy(req->ifr_name, info.name, sizeof(info.name));
	return copy_to_user(arg, req, sizeof(*req));
}

/* --- all of them ------------------------------------------------------------------------------ */

struct conf {
	struct netstack *stack;
	uint64_t buf; /* the guest's; 0: only to be counted */
	int len, room;
};

static int conf_address(void *arg, const struct net_addr_info *i)
{
	struct net_link *l;
	struct net_link_info link;
	struct conf *c = arg;
	struct ifreq req = {0};

	if (i->family != AF_INET)
		return 0;
	l = net_link_by_index(c->stack, i->ifindex);
	if (!l)
		return 0;
	net_link_info(l, &link);
	net_link_put(l);
	memcpy(req.ifr_name, link.name, sizeof(req.ifr_name));
	set_ipv4(&req.ifr_addr, address_word(&i->addr));
	if (c->buf) {
		if (c->room - c->len < (int)sizeof(req))
			return 1;
		if (copy_to_user(c->buf + (unsigned)c->len, &req, sizeof(req)))
			return -EFAULT;
	}
	c->len += (int)sizeof(req);
	return 0;
}

static long get_conf(struct netstack *s, uint64_t arg)
{
	struct {
		int len, pad;
		uint64_t buf;
	} user;
	struct conf c = {.stack = s};
	int ret;

	if (get_user(&user, arg))
		return -EFAULT;
	c.buf = user.buf;
	c.room = user.len;
	ret = net_addr_each(s, conf_address, &c);
	if (ret < 0)
		return ret;
	user.len = c.len;
	return copy_to_user(arg, &user, sizeof(user));
}

/* --- routes ----------------------------------------------------------------------------------- */

static long change_route(struct netstack *s, unsigned cmd, uint64_t arg)
{
	struct net_route_info info = {
		.family = AF_INET, .type = RTN_UNICAST, .protocol = RTPROT_BOOT};
	uint32_t dst, mask = 0, gateway = 0;
	struct rtentry rt;
	char name[IFNAMSIZ] = "";
	struct net_link_info li;
	struct net_link *l;

	if (get_user(&rt, arg))
		return -EFAULT;
	if (!get_ipv4(&rt.rt_dst, &dst))
		return -EAFNOSUPPORT;
	get_ipv4(&rt.rt_genmask, &mask);
	if (rt.rt_flags & RTF_HOST)
		mask = UINT32_MAX;
	if (!prefix_of(mask, &info.prefix) || (dst & ~mask))
		return -EINVAL;
	memcpy(&info.dst, &dst, sizeof(dst));
	if (rt.rt_dev) {
		if (strncpy_from_user(name, (uaddr_t)(uintptr_t)rt.rt_dev, sizeof(name)) < 0)
			return -EFAULT;
		name[sizeof(name) - 1] = 0;
		l = net_link_by_name(s, name);
		if (!l)
			return -ENODEV;
		net_link_info(l, &li);
		net_link_put(l);
		info.ifindex = li.index;
	}
	if (rt.rt_flags & RTF_REJECT)
		info.type = RTN_UNREACHABLE;
	info.has_gateway = (rt.rt_flags & RTF_GATEWAY) && get_ipv4(&rt.rt_gateway, &gateway);
	memcpy(&info.gateway, &gateway, sizeof(gateway));
	info.metric = rt.rt_metric > 0 ? (uint32_t)rt.rt_metric - 1 : 0;
	info.mtu = rt.rt_flags & RTF_MTU ? (uint32_t)rt.rt_mtu : 0;
	info.scope = info.has_gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (cmd == SIOCADDRT)
		return net_route_add(s, &info);
	info.protocol = 0;
	return net_route_del(s, &info);
}

long socket_interface_ioctl(struct socket *sock, unsigned cmd, uint64_t arg)
{
	struct netstack *s;
	struct ifreq req;
	int ret;

	if (cmd != SIOCADDRT && cmd != SIOCDELRT && (cmd < SIOCGIFNAME || cmd > SIOCSIFTXQLEN))
		return -ENOIOCTLCMD;
	ret = inet_stack_of(sock->net, &s);
	if (ret)
		return ret;
	if (cmd == SIOCADDRT || cmd == SIOCDELRT)
		return socket_capable(sock, CAP_NET_ADMIN) ? change_route(s, cmd, arg) : -EPERM;
	if (cmd == SIOCGIFCONF)
		return get_conf(s, arg);
	if (get_user(&req, arg))
		return -EFAULT;
	req.ifr_name[IFNAMSIZ - 1] = 0;
	return cmd == SIOCGIFNAME ? get_name(s, &req, arg) : by_name(sock, s, cmd, &req, arg);
}
