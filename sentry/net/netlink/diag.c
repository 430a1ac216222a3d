/* NETLINK_SOCK_DIAG (man 7 sock_diag): what ss asks. */
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "sentry/net/inet/show.h"
#include "sentry/net/netlink/rtnetlink_internal.h"

struct diag {
	const struct rt_request *r;
	struct inet_diag_req_v2 req;
	bool one; /* not a dump: the socket that req.id names */
	bool found;
};

/* Port and address of one end. */
static void put_end(const struct sockaddr_storage *from, __be16 *port, __be32 addr[4])
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;

	memset(addr, 0, 16);
	*port = 0;
	if (from->ss_family == AF_INET) {
		*port = in->sin_port;
		addr[0] = in->sin_addr.s_addr;
	} else if (from->ss_family == AF_INET6) {
		*port = in6->sin6_port;
		memcpy(addr, &in6->sin6_addr, 16);
	}
}

static bool matches(const struct diag *d, const struct net_ep_info *i,
		    const struct inet_diag_sockid *id)
{
	const struct inet_diag_sockid *want = &d->req.id;

	if (i->family != d->req.sdiag_family)
		return false;
	if (d->req.sdiag_protocol == IPPROTO_RAW
		    ? i->type != SOCK_RAW
		    : i->protocol != d->req.sdiag_protocol || i->type == SOCK_RAW)
		return false;
	/* Linux finds those that are only bound nowhere. */
	if (i->protocol == IPPROTO_TCP && i->state == TCP_CLOSE)
		return false;
	if (!(d->req.idiag_states & (1u << i->state)))
		return false;
	return !d->one ||
	       (id->idiag_sport == want->idiag_sport && id->idiag_dport == want->idiag_dport &&
		!memcmp(id->idiag_src, want->idiag_src, 16) &&
		!memcmp(id->idiag_dst, want->idiag_dst, 16));
}

static bool wants(const struct diag *d, int ext)
{
	return d->req.idiag_ext & (1u << (ext - 1));
}

/* Does it serve IPv6 only? As any that is bound to an address of it. */
static uint8_t v6_only(const struct net_ep_info *i)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&i->local;
	int v = 0;
	socklen_t len = sizeof(v);

	if (i->local.ss_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) &&
	    !IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return 1;
	return i->ep && !net_ep_getsockopt(i->ep, IPPROTO_IPV6, IPV6_V6ONLY, &v, &len) && v;
}

static int show(void *arg, const struct net_ep_info *i)
{
	struct inet_diag_meminfo mem = {.idiag_rmem = i->rqueue, .idiag_wmem = i->wqueue};
	struct diag *d = arg;
	const struct rt_request *r = d->r;
	struct inet_diag_msg msg = {
		.idiag_family = (uint8_t)i->family,
		.idiag_state = (uint8_t)i->state,
		.idiag_timer = i->timer,
		.idiag_retrans = i->retransmits,
		.idiag_expires = i->timer_ms,
		.idiag_rqueue = i->rqueue,
		.idiag_wqueue = i->wqueue,
	};
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	uint64_t ino;
	uint8_t only;
	uid_t uid;

	put_end(&i->local, &msg.id.idiag_sport, msg.id.idiag_src);
	put_end(&i->remote, &msg.id.idiag_dport, msg.id.idiag_dst);
	if (!matches(d, i, &msg.id))
		return 0;
	d->found = true;
	inet_socket_owner(i, &ino, &uid);
	msg.idiag_inode = (uint32_t)ino;
	msg.idiag_uid = uid;
	msg.id.idiag_if = (uint32_t)i->ifindex;
	msg.id.idiag_cookie[0] = (uint32_t)ino;
	nl_begin(r->out, SOCK_DIAG_BY_FAMILY, d->one ? 0 : NLM_F_MULTI, r->hdr->nlmsg_seq,
		 r->portid);
	nl_put(r->out, &msg, sizeof(msg));
	if (i->family == AF_INET6 && (i->state == TCP_LISTEN || i->state == TCP_CLOSE)) {
		only = v6_only(i);
		nl_attr(r->out, INET_DIAG_SKV6ONLY, &only, sizeof(only));
	}
	if (wants(d, INET_DIAG_MEMINFO))
		nl_attr(r->out, INET_DIAG_MEMINFO, &mem, sizeof(mem));
	if (wants(d, INET_DIAG_INFO) && i->protocol == IPPROTO_TCP && i->ep &&
	    !net_ep_getsockopt(i->ep, IPPROTO_TCP, TCP_INFO, &info, &len))
		nl_attr(r->out, INET_DIAG_INFO, &info, len);
	nl_end(r->out);
	return 0;
}

/* Filters by program are for the kernel to run: who asks with one reads /proc/net instead. */
static int check_filter(const struct rt_request *r)
{
	struct rt_attrs attrs;
	int ret = rt_attrs_of(r, sizeof(struct inet_diag_req_v2), &attrs);

	return ret ? ret : attrs.at[INET_DIAG_REQ_BYTECODE] ? -EOPNOTSUPP : 0;
}

int sock_diag_request(struct socket *sock, const struct nlmsghdr *req, uint32_t portid,
		      struct nl_buf *out, bool *dump)
{
	struct rt_request r = {.hdr = req, .portid = portid, .out = out};
	struct diag d = {.r = &r};
	int ret;

	if (req->nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return -EINVAL;
	if (req->nlmsg_len < NLMSG_LENGTH(sizeof(struct sock_diag_req)))
		return -EINVAL;
	rt_body(&r, &d.req, sizeof(d.req));
	if (d.req.sdiag_family != AF_INET && d.req.sdiag_family != AF_INET6)
		return -ENOENT; /* as if the module for the family were not there */
	if (req->nlmsg_len < NLMSG_LENGTH(sizeof(d.req)))
		return -EINVAL;
	ret = check_filter(&r);
	if (!ret)
		ret = inet_stack_of(sock->net, &r.stack);
	if (ret)
		return ret;
	*dump = (req->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	d.one = !*dump;
	if (d.one)
		d.req.idiag_states = UINT32_MAX;
	ret = net_ep_each(r.stack, d.req.sdiag_protocol == IPPROTO_RAW ? 0 : d.req.sdiag_protocol,
			  show, &d);
	return !ret && d.one && !d.found ? -ENOENT : ret;
}
