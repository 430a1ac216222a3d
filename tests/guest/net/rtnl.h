/* Requests of rtnetlink about links, for tests: built, sent, answered (man 7 rtnetlink). */
#ifndef MOAT_TESTS_GUEST_NET_RTNL_H
#define MOAT_TESTS_GUEST_NET_RTNL_H

#include "check.h"

#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

struct rtnl_request {
	struct nlmsghdr h;
	char body[1024];
};

static inline int rtnl_open(unsigned groups)
{
	struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	REQUIRE(s >= 0);
	REQUIRE(bind(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	return s;
}

/* A request with a zeroed body of that size. */
static inline void rtnl_begin(struct rtnl_request *r, int type, int flags, size_t body)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_type = type;
	r->h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	r->h.nlmsg_len = NLMSG_LENGTH(body);
}

static inline struct rtattr *rtnl_attr(struct rtnl_request *r, int type, const void *data,
				       size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static inline void rtnl_u32(struct rtnl_request *r, int type, uint32_t v)
{
	rtnl_attr(r, type, &v, sizeof(v));
}

static inline void rtnl_string(struct rtnl_request *r, int type, const char *s)
{
	rtnl_attr(r, type, s, strlen(s) + 1);
}

/* What has been added since then is inside of it. */
static inline void rtnl_end(struct rtnl_request *r, struct rtattr *a)
{
	a->rta_len = (char *)r + r->h.nlmsg_len - (char *)a;
}

/* The first answer, into buf; 0, or -errno of an error. */
static inline int rtnl_ask(int s, struct rtnl_request *r, char *buf, size_t size)
{
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	REQUIRE(send(s, r, r->h.nlmsg_len, 0) == (ssize_t)r->h.nlmsg_len);
	REQUIRE(recv(s, buf, size, 0) >= (ssize_t)NLMSG_LENGTH(4));
	return h->nlmsg_type == NLMSG_ERROR ? ((struct nlmsgerr *)NLMSG_DATA(h))->error : 0;
}

static inline int rtnl_do(int s, struct rtnl_request *r)
{
	char buf[4096];

	return rtnl_ask(s, r, buf, sizeof(buf));
}

/* An attribute of a message with that body, or NULL. */
static inline struct rtattr *rtnl_find(const char *buf, size_t body, int type)
{
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct rtattr *a = (struct rtattr *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(body));
	int left = (int)h->nlmsg_len - (int)NLMSG_SPACE(body);

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == type)
			return a;
	return NULL;
}

static inline int rtnl_value(const char *buf, size_t body, int type)
{
	struct rtattr *a = rtnl_find(buf, body, type);

	REQUIRE(a && RTA_PAYLOAD(a) >= 4);
	return *(int *)RTA_DATA(a);
}

/* `ip link add A type veth peer name B`, the second where IFLA_NET_NS_PID or _FD says; 0: here. */
static inline int rtnl_add_veth(int s, const char *a, const char *b, int where, int value)
{
	struct rtattr *info, *data, *peer;
	struct rtnl_request r;

	rtnl_begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	rtnl_string(&r, IFLA_IFNAME, a);
	info = rtnl_attr(&r, IFLA_LINKINFO, NULL, 0);
	rtnl_string(&r, IFLA_INFO_KIND, "veth");
	data = rtnl_attr(&r, IFLA_INFO_DATA, NULL, 0);
	peer = rtnl_attr(&r, VETH_INFO_PEER, &(struct ifinfomsg){0}, sizeof(struct ifinfomsg));
	rtnl_string(&r, IFLA_IFNAME, b);
	if (where)
		rtnl_u32(&r, where, value);
	rtnl_end(&r, peer);
	rtnl_end(&r, data);
	rtnl_end(&r, info);
	return rtnl_do(s, &r);
}

/* `ip link set NAME netns ...` by IFLA_NET_NS_PID or _FD. */
static inline int rtnl_move(int s, const char *name, int where, int value)
{
	struct rtnl_request r;

	rtnl_begin(&r, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
	rtnl_string(&r, IFLA_IFNAME, name);
	rtnl_u32(&r, where, value);
	return rtnl_do(s, &r);
}

static inline int rtnl_del(int s, const char *name)
{
	struct rtnl_request r;

	rtnl_begin(&r, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	rtnl_string(&r, IFLA_IFNAME, name);
	return rtnl_do(s, &r);
}

/* `ip link show NAME`, the message into buf. */
static inline int rtnl_get(int s, const char *name, char *buf, size_t size)
{
	struct rtnl_request r;

	rtnl_begin(&r, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	r.h.nlmsg_flags = NLM_F_REQUEST;
	rtnl_string(&r, IFLA_IFNAME, name);
	return rtnl_ask(s, &r, buf, size);
}

static inline int rtnl_exists(int s, const char *name)
{
	char buf[8192];

	return rtnl_get(s, name, buf, sizeof(buf)) == 0;
}

#endif
