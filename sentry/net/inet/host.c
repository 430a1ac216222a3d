#include "sentry/net/inet/host.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netstack/egress.h"
#include "sentry/net/inet/host_internal.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#define SEND_FLAGS (MSG_OOB | MSG_MORE | MSG_DONTROUTE | MSG_CONFIRM | MSG_EOR)
#define RECV_FLAGS (MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE)
#define DNS_PORT 53
#define CONTROL_MAX 256
#define ALL (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM)

static struct net_ns *host_ns; /* counted; NULL: there is none */
static atomic_uint last_id;

void inet_host_enable(struct net_ns *ns)
{
	host_ns = net_ns_get(ns);
}

bool host_wanted(const struct net_ns *ns, int family, int type, int protocol)
{
	if (!host_ns || ns != host_ns || (family != AF_INET && family != AF_INET6))
		return false;
	return (type == SOCK_STREAM && (!protocol || protocol == IPPROTO_TCP)) ||
	       (type == SOCK_DGRAM && (!protocol || protocol == IPPROTO_UDP));
}

/* --- life ------------------------------------------------------------------------------------- */

/* Consumes fd. */
static int make(int fd, const struct host_ep *like, struct host_ep **out)
{
	struct host_ep *h = calloc(1, sizeof(*h));

	if (!h) {
		close(fd);
		return -ENOMEM;
	}
	h->family = like->family;
	h->type = like->type;
	h->policy = like->policy;
	h->linger = like->linger;
	h->id = (uint16_t)atomic_fetch_add(&last_id, 1);
	h->fd.fd = fd;
	h->fd.type = S_IFSOCK;
	h->fd.readable = h->fd.writable = true;
	refcount_init(&h->fd.refs);
	wait_queue_init(&h->fd.wait);
	mutex_init(&h->fd.lock);
	hostfd_poll_add(&h->fd);
	*out = h;
	return 0;
}

int host_create(struct netstack *policy, int family, int type, int protocol, struct host_ep **out)
{
	struct host_ep like = {.family = family, .type = type, .policy = policy};
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : make(fd, &like, out);
}

void host_close(struct host_ep *h)
{
	mutex_lock(&hostfd_lives);
	hostfd_poll_remove(&h->fd);
	mutex_unlock(&hostfd_lives);
	close(h->fd.fd);
	mutex_destroy(&h->fd.lock);
	free(h);
}

/* --- the egress policy ------------------------------------------------------------------------ */

/* False: it is no address of IP. */
static bool flow_of(const struct host_ep *h, const struct sockaddr *addr, socklen_t len,
		    struct net_egress_flow *f)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)addr;

	memset(f, 0, sizeof(*f));
	f->protocol = h->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	f->lport = h->id;
	if (len >= sizeof(*in) && addr->sa_family == AF_INET) {
		f->raddr.s6_addr[10] = f->raddr.s6_addr[11] = 0xff;
		memcpy(f->raddr.s6_addr + 12, &in->sin_addr, 4);
		f->rport = ntohs(in->sin_port);
		return true;
	}
	if (len < offsetof(struct sockaddr_in6, sin6_scope_id) || addr->sa_family != AF_INET6)
		return false;
	f->raddr = in6->sin6_addr;
	f->rport = ntohs(in6->sin6_port);
	return true;
}

/* What stays on the host is not what the policy is about, as with a stack of the sandbox's own. */
static bool is_loopback(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_UNSPECIFIED(a) ||
	       (IN6_IS_ADDR_V4MAPPED(a) && (a->s6_addr[12] == 127 || !a->s6_addr32[3]));
}

/* A message to there: 0, or -EPERM. data: what a datagram is made of. */
static int check_send(struct host_ep *h, const struct sockaddr *addr, socklen_t len,
		      const struct net_msg *m)
{
	struct net_egress_flow f;

	if (!flow_of(h, addr, len, &f))
		return 0;
	if (f.protocol == IPPROTO_UDP && f.rport == DNS_PORT && m && m->iovcnt == 1 &&
	    net_egress_is_resolver(h->policy, &f.raddr))
		return net_egress_question(h->policy, &f.raddr, h->id, m->iov[0].iov_base,
					   m->iov[0].iov_len);
	return is_loopback(&f.raddr) ? 0 : net_egress_may_send(h->policy, &f);
}

/* A datagram has come from there. */
static void note_received(struct host_ep *h, const struct net_msg *m, size_t n)
{
	struct net_egress_flow f;

	if (!flow_of(h, m->name, m->namelen, &f))
		return;
	if (f.rport == DNS_PORT && net_egress_is_resolver(h->policy, &f.raddr))
		net_egress_answer(h->policy, &f.raddr, h->id, m->iov[0].iov_base, n);
	else
		net_egress_received(h->policy, &f);
}

/* --- names ------------------------------------------------------------------------------------ */

int host_bind(struct host_ep *h, const struct sockaddr *addr, socklen_t len)
{
	return bind(h->fd.fd, addr, len) ? -errno : 0;
}

int host_connect(struct host_ep *h, const struct sockaddr *addr, socklen_t len)
{
	struct net_egress_flow f;
	int ret = 0;

	if (h->type == SOCK_STREAM && flow_of(h, addr, len, &f) && !is_loopback(&f.raddr))
		ret = net_egress_may_send(h->policy, &f);
	if (!ret && connect(h->fd.fd, addr, len))
		ret = -errno;
	if (!ret && h->type == SOCK_DGRAM) {
		h->peer_len = 0;
		if (addr->sa_family != AF_UNSPEC && len <= sizeof(h->peer)) {
			memcpy(&h->peer, addr, len);
			h->peer_len = len;
		}
	}
	return ret;
}

int host_listen(struct host_ep *h, int backlog)
{
	return listen(h->fd.fd, backlog) ? -errno : 0;
}

int host_accept(struct host_ep *h, struct host_ep **out)
{
	int fd = accept4(h->fd.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : make(fd, h, out);
}

int host_shutdown(struct host_ep *h, int how)
{
	return shutdown(h->fd.fd, how) ? -errno : 0;
}

int host_name(struct host_ep *h, struct sockaddr *addr, socklen_t *len, bool peer)
{
	int ret = peer ? getpeername(h->fd.fd, addr, len) : getsockname(h->fd.fd, addr, len);

	return ret ? -errno : 0;
}

int host_ioctl(struct host_ep *h, unsigned long request, int *value)
{
	if (request == SIOCOUTQNSD)
		return -ENOTTY;
	return ioctl(h->fd.fd, request, value) ? -errno : 0;
}

bool host_lingering(struct host_ep *h)
{
	int n = 0;

	return !ioctl(h->fd.fd, SIOCOUTQ, &n) && n > 0;
}

uint32_t host_readiness(struct host_ep *h, bool arm)
{
	uint32_t mask = hostfd_ready(&h->fd, ALL);

	if (arm && !(mask & (EPOLLHUP | EPOLLERR)) &&
	    ((EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI) & ~mask))
		hostfd_arm(&h->fd, (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI) & ~mask);
	return mask;
}

/* --- data ------------------------------------------------------------------------------------- */

/* 1: the host may see it; 0: to be passed over, as Linux does; -EINVAL. */
static int control_kind(const struct host_ep *h, const struct cmsghdr *c)
{
	switch (c->cmsg_level) {
	case SOL_SOCKET:
		return c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_CREDENTIALS ? 0 : -EINVAL;
	case IPPROTO_IP:
		if (h->type == SOCK_STREAM)
			return 0;
		return c->cmsg_type == IP_PKTINFO || c->cmsg_type == IP_TTL ||
				       c->cmsg_type == IP_TOS
			       ? 1
			       : -EINVAL;
	case IPPROTO_IPV6:
		if (h->type == SOCK_STREAM || h->family == AF_INET)
			return 0;
		return c->cmsg_type == IPV6_PKTINFO || c->cmsg_type == IPV6_HOPLIMIT ||
				       c->cmsg_type == IPV6_TCLASS || c->cmsg_type == IPV6_DONTFRAG
			       ? 1
			       : -EINVAL;
	case IPPROTO_UDP:
		if (h->type == SOCK_STREAM)
			return 0;
		return c->cmsg_type == UDP_SEGMENT ? 1 : -EINVAL;
	}
	return 0;
}

/* Copies what the host may see of the control data. Its length, or -errno. */
static ssize_t copy_control(const struct host_ep *h, const struct net_msg *m, char *to, size_t room)
{
	size_t at = 0, have = 0;

	while (m->controllen - at >= sizeof(struct cmsghdr)) {
		const char *from = (const char *)m->control + at;
		struct cmsghdr c;
		int ret;

		memcpy(&c, from, sizeof(c));
		if (c.cmsg_len < sizeof(c) || c.cmsg_len > m->controllen - at)
			return -EINVAL;
		ret = control_kind(h, &c);
		if (ret < 0)
			return ret;
		if (ret && CMSG_ALIGN(c.cmsg_len) > room - have)
			return -ENOBUFS;
		if (ret) {
			memcpy(to + have, from, c.cmsg_len);
			have += CMSG_ALIGN(c.cmsg_len);
		}
		if (CMSG_ALIGN(c.cmsg_len) >= m->controllen - at)
			break;
		at += CMSG_ALIGN(c.cmsg_len);
	}
	return (ssize_t)have;
}

ssize_t host_sendmsg(struct host_ep *h, const struct net_msg *m, int flags)
{
	const struct sockaddr *to = m->name ? m->name : (const struct sockaddr *)&h->peer;
	struct msghdr mh = {.msg_name = m->name,
			    .msg_namelen = m->namelen,
			    .msg_iov = (struct iovec *)m->iov,
			    .msg_iovlen = m->iovcnt};
	char control[CONTROL_MAX] __attribute__((aligned(8))) = {0};
	ssize_t n;
	int ret;

	if (flags & MSG_FASTOPEN)
		return -EOPNOTSUPP;
	n = m->controllen ? copy_control(h, m, control, sizeof(control)) : 0;
	if (n < 0)
		return n;
	mh.msg_control = n ? control : NULL;
	mh.msg_controllen = (size_t)n;
	if (h->type == SOCK_DGRAM) {
		ret = check_send(h, to, m->name ? m->namelen : h->peer_len, m);
		if (ret)
			return ret;
	} else {
		/* Where a connection leads has been decided when it was made. */
		mh.msg_name = NULL;
		mh.msg_namelen = 0;
	}
	n = sendmsg(h->fd.fd, &mh, (flags & SEND_FLAGS) | MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

ssize_t host_recvmsg(struct host_ep *h, struct net_msg *m, int flags)
{
	struct msghdr mh = {.msg_name = m->name,
			    .msg_namelen = m->namelen,
			    .msg_iov = (struct iovec *)m->iov,
			    .msg_iovlen = m->iovcnt,
			    .msg_control = m->control,
			    .msg_controllen = m->controllen};
	ssize_t n = recvmsg(h->fd.fd, &mh, (flags & RECV_FLAGS) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -errno;
	m->namelen = mh.msg_namelen;
	m->controllen = m->control ? mh.msg_controllen : 0;
	m->flags = mh.msg_flags & ~MSG_CMSG_CLOEXEC;
	if (h->type == SOCK_DGRAM && !(flags & (MSG_ERRQUEUE | MSG_PEEK)) && m->iovcnt == 1)
		note_received(h, m, (size_t)n < m->iov[0].iov_len ? (size_t)n : m->iov[0].iov_len);
	return n;
}
