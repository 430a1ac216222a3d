/* NETLINK_ROUTE between its files: a request, the namespace that it is about, attributes. */
#ifndef MOAT_SENTRY_NET_NETLINK_RTNETLINK_INTERNAL_H
#define MOAT_SENTRY_NET_NETLINK_RTNETLINK_INTERNAL_H

#include <netinet/in.h>

#include "netstack/netstack.h"
#include "sentry/net/netlink/netlink_internal.h"

struct rt_request {
	const struct nlmsghdr *hdr; /* the whole message is there, as hdr->nlmsg_len says */
	struct netstack *stack;
	uint32_t portid;
	int family;
	bool dump;
	struct nl_buf *out;
};

/* The body behind the header, copied: what is shorter is filled with zeros. */
void rt_body(const struct rt_request *r, void *body, size_t size);

/* Attributes by type, not beyond max; those that are not there are NULL. */
#define RT_ATTRS 64
struct rt_attrs {
	const struct rtattr *at[RT_ATTRS];
};
/* Those behind a body of that size, or within an attribute. -EINVAL: malformed. */
int rt_attrs_of(const struct rt_request *r, size_t body, struct rt_attrs *attrs);
int rt_attrs_nested(const struct rtattr *a, size_t skip, struct rt_attrs *attrs);
static inline const void *rt_data(const struct rtattr *a)
{
	return (const char *)a + RTA_LENGTH(0);
}
static inline size_t rt_size(const struct rtattr *a)
{
	return a->rta_len - RTA_LENGTH(0);
}
/* Its value, or `none` if it is not there or too short. */
uint32_t rt_u32(const struct rtattr *a, uint32_t none);
/* Copies an address of the family. False: it has another length. */
bool rt_address(const struct rtattr *a, int family, struct in6_addr *out);
/* Copies a name of a link, shorter than 16. False: it is none. */
bool rt_name(const struct rtattr *a, char name[16]);

/* Body and attributes of a request. -EINVAL: it is too short, or malformed. */
int rt_head(const struct rt_request *r, void *body, size_t size, struct rt_attrs *attrs);
/* The same of one about IPv4 or IPv6; -EAFNOSUPPORT for others. */
int rt_head_ip(const struct rt_request *r, void *body, size_t size, struct rt_attrs *attrs);

/* Writing one message about an object; flags NLM_F_*. */
void rt_put_link(const struct rt_request *r, uint16_t type, uint16_t flags,
		 const struct net_link_info *i);
void rt_put_addr(const struct rt_request *r, uint16_t type, uint16_t flags,
		 const struct net_addr_info *i);
void rt_put_route(const struct rt_request *r, uint16_t type, uint16_t flags,
		  const struct net_route_info *i);
void rt_put_neigh(const struct rt_request *r, uint16_t type, uint16_t flags,
		  const struct net_neigh_info *i);

/*
 * rtnetlink_ns.c: the network namespace that one of two attributes names, a process's or a
 * descriptor's; its reference is the caller's. *out NULL: neither is there. -ESRCH, -EBADF,
 * -EINVAL.
 */
int rt_namespace(const struct rtattr *pid, const struct rtattr *fd, struct net_ns **out);
/* The same of one where links are to be: -EPERM without CAP_NET_ADMIN there. Its stack, too. */
int rt_target(const struct rt_attrs *attrs, struct net_ns **out, struct netstack **stack);
/*
 * rtnetlink_bridge.c: what requests say of bridges and their ports, which can be set to what they
 * do anyway; -EOPNOTSUPP for the rest. In IFLA_LINKINFO, and to the family AF_BRIDGE.
 */
int rt_check_kind(const struct rt_attrs *attrs);
int rt_change_port(const struct rt_request *r, const struct ifinfomsg *msg,
		   const struct rt_attrs *attrs);
/* RTM_NEWNSID, RTM_GETNSID. */
int rt_new_nsid(const struct rt_request *r);
int rt_get_nsid(const struct rt_request *r);

/* GET requests (rtnetlink_get.c); NEW, DEL and SET of links (rtnetlink_link.c) and of the others
 * (rtnetlink_change.c), privileges checked. 0 or -errno. */
int rt_get(const struct rt_request *r);
int rt_change_link(const struct rt_request *r);
int rt_change(const struct rt_request *r);

#endif
