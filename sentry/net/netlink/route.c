/* NETLINK_ROUTE (man 7 rtnetlink): which request is whose, and reading its attributes. */
#include <errno.h>
#include <string.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/show.h"
#include "sentry/net/netlink/rtnetlink_internal.h"

void rt_body(const struct rt_request *r, void *body, size_t size)
{
	size_t have = r->hdr->nlmsg_len - NLMSG_HDRLEN;

	memset(body, 0, size);
	memcpy(body, (const char *)r->hdr + NLMSG_HDRLEN, MIN(have, size));
}

static int collect(const char *p, size_t left, struct rt_attrs *attrs)
{
	memset(attrs, 0, sizeof(*attrs));
	while (left >= sizeof(struct rtattr)) {
		const struct rtattr *a = (const struct rtattr *)(const void *)p;
		unsigned type = a->rta_type & NLA_TYPE_MASK;
		size_t step;

		if (a->rta_len < sizeof(*a) || a->rta_len > left)
			return -EINVAL;
		if (type < RT_ATTRS)
			attrs->at[type] = a;
		step = MIN(left, (size_t)RTA_ALIGN(a->rta_len));
		p += step;
		left -= step;
	}
	return 0;
}

int rt_attrs_of(const struct rt_request *r, size_t body, struct rt_attrs *attrs)
{
	size_t have = r->hdr->nlmsg_len - NLMSG_HDRLEN;

	body = NLMSG_ALIGN(body);
	return collect((const char *)r->hdr + NLMSG_HDRLEN + MIN(body, have),
		       have - MIN(body, have), attrs);
}

int rt_attrs_nested(const struct rtattr *a, size_t skip, struct rt_attrs *attrs)
{
	size_t size = rt_size(a);

	if (size < skip)
		return -EINVAL;
	return collect((const char *)rt_data(a) + skip, size - skip, attrs);
}

int rt_head(const struct rt_request *r, void *body, size_t size, struct rt_attrs *attrs)
{
	if (r->hdr->nlmsg_len < NLMSG_LENGTH(size))
		return -EINVAL;
	rt_body(r, body, size);
	return rt_attrs_of(r, size, attrs);
}

int rt_head_ip(const struct rt_request *r, void *body, size_t size, struct rt_attrs *attrs)
{
	if (r->hdr->nlmsg_len < NLMSG_LENGTH(size))
		return -EINVAL;
	if (r->family != AF_INET && r->family != AF_INET6)
		return -EAFNOSUPPORT;
	return rt_head(r, body, size, attrs);
}

uint32_t rt_u32(const struct rtattr *a, uint32_t none)
{
	uint32_t v = none;

	if (a && rt_size(a) >= sizeof(v))
		memcpy(&v, rt_data(a), sizeof(v));
	return v;
}

bool rt_address(const struct rtattr *a, int family, struct in6_addr *out)
{
	size_t n = family == AF_INET ? 4 : 16;

	memset(out, 0, sizeof(*out));
	if (!a || rt_size(a) != n)
		return false;
	memcpy(out, rt_data(a), n);
	return true;
}

bool rt_name(const struct rtattr *a, char name[16])
{
	size_t n = a ? strnlen(rt_data(a), rt_size(a)) : 0;

	if (!n || n > 15)
		return false;
	memset(name, 0, 16);
	memcpy(name, rt_data(a), n);
	return true;
}

int rtnetlink_request(struct socket *sock, const struct nlmsghdr *req, uint32_t portid,
		      struct nl_buf *out, bool *dump)
{
	struct rt_request r = {.hdr = req, .portid = portid, .out = out};
	bool get = (req->nlmsg_type - RTM_BASE) % 4 == RTM_GETLINK - RTM_NEWLINK;
	struct rtgenmsg gen;
	int ret;

	if (req->nlmsg_type < RTM_BASE || req->nlmsg_type > RTM_MAX)
		return -EOPNOTSUPP;
	if (req->nlmsg_len < NLMSG_LENGTH(sizeof(gen)))
		return -EINVAL;
	rt_body(&r, &gen, sizeof(gen));
	r.family = gen.rtgen_family;
	/* Kinds come in groups of NEW, DEL, GET, SET; only GET needs no privilege. */
	if (!get && !socket_capable(sock, CAP_NET_ADMIN))
		return -EPERM;
	ret = inet_stack_of(sock->net, &r.stack);
	if (ret)
		return ret;
	if (get) {
		r.dump = *dump = (req->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
		return rt_get(&r);
	}
	return req->nlmsg_type <= RTM_SETLINK ? rt_change_link(&r) : rt_change(&r);
}
