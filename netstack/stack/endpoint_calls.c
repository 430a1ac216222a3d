/*
 * The public calls on endpoints: which kinds there are, each call handed to its kind, a walk over
 * all.
 */
#include <linux/if_packet.h>
#include <netinet/tcp.h>

#include "netstack/raw/raw.h"
#include "netstack/tcp/tcp.h"
#include "netstack/udp/udp.h"

/* ------------------------------------------------------------------------------ life */

static const struct ep_proto *find_proto(int family, int type, int *protocol)
{
	bool inet = family == AF_INET || family == AF_INET6;

	if (family == AF_PACKET)
		return type == SOCK_RAW || type == SOCK_DGRAM ? &packet_proto : NULL;
	if (inet && type == SOCK_STREAM && (*protocol == 0 || *protocol == IPPROTO_TCP)) {
		*protocol = IPPROTO_TCP;
		return &tcp_proto;
	}
	if (inet && type == SOCK_DGRAM && (*protocol == 0 || *protocol == IPPROTO_UDP)) {
		*protocol = IPPROTO_UDP;
		return &udp_proto;
	}
	if (type == SOCK_DGRAM && *protocol == (family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return &ping_proto;
	if (inet && type == SOCK_RAW && *protocol > 0 && *protocol < 256)
		return &raw_proto;
	return NULL;
}

int net_ep_create(struct netstack *s, int family, int type, int protocol,
		  const struct net_ep_ops *ops, void *user, struct net_ep **out)
{
	const struct ep_proto *proto;
	struct net_ep *ep;
	int err;

	type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (family != AF_INET && family != AF_INET6 && family != AF_PACKET)
		return -EAFNOSUPPORT;
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_RAW)
		return -ESOCKTNOSUPPORT;
	proto = find_proto(family, type, &protocol);
	if (!proto)
		return family == AF_PACKET ? -ESOCKTNOSUPPORT : -EPROTONOSUPPORT;
	NET_CONTEXT();
	err = ep_alloc(s, proto, family, type, family == AF_PACKET ? 0 : protocol, &ep);
	if (err)
		return err;
	if (family == AF_PACKET)
		ep->rport = ntohs(protocol); /* packet endpoints keep their EtherType here */
	ep->ops = ops;
	ep->user = user;
	err = proto->init ? proto->init(ep) : 0;
	if (err) {
		net_ep_put(ep);
		return err;
	}
	*out = ep;
	return 0;
}

void net_ep_set_ops(struct net_ep *ep, const struct net_ep_ops *ops, void *user)
{
	MUTEX_GUARD(&ep->ops_lock);

	ep->ops = ops;
	ep->user = user;
}

void net_ep_close(struct net_ep *ep)
{
	NET_CONTEXT();
	mutex_lock(&ep->ops_lock);
	ep->ops = NULL;
	ep->user = NULL;
	mutex_unlock(&ep->ops_lock);
	ep_leave_all(ep);
	ep->closed = true;
	ep->proto->close(ep);
	net_ep_put(ep);
}

bool net_ep_lingering(struct net_ep *ep)
{
	return ep->proto == &tcp_proto && tcp_lingering(ep);
}

/* ------------------------------------------------------------------------------ dispatch */

int net_ep_bind(struct net_ep *ep, const struct sockaddr *addr, socklen_t len)
{
	NET_CONTEXT();
	return ep->proto->bind ? ep->proto->bind(ep, addr, len) : -EOPNOTSUPP;
}

int net_ep_connect(struct net_ep *ep, const struct sockaddr *addr, socklen_t len)
{
	NET_CONTEXT();
	return ep->proto->connect ? ep->proto->connect(ep, addr, len) : -EOPNOTSUPP;
}

int net_ep_listen(struct net_ep *ep, int backlog)
{
	NET_CONTEXT();
	return ep->proto->listen ? ep->proto->listen(ep, backlog) : -EOPNOTSUPP;
}

int net_ep_accept(struct net_ep *ep, struct net_ep **out)
{
	NET_CONTEXT();
	return ep->proto->accept ? ep->proto->accept(ep, out) : -EOPNOTSUPP;
}

int net_ep_shutdown(struct net_ep *ep, int how)
{
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	NET_CONTEXT();
	return ep->proto->shutdown ? ep->proto->shutdown(ep, how) : -EOPNOTSUPP;
}

ssize_t net_ep_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags)
{
	NET_CONTEXT();
	return ep->proto->sendmsg(ep, m, flags);
}

ssize_t net_ep_recvmsg(struct net_ep *ep, struct net_msg *m, int flags)
{
	NET_CONTEXT();
	return ep->proto->recvmsg(ep, m, flags);
}

ssize_t net_ep_send_nbuf(struct net_ep *ep, const struct sockaddr *to, socklen_t tolen,
			 struct nbuf *b, int flags)
{
	NET_CONTEXT();
	return ep->proto->send_nbuf ? ep->proto->send_nbuf(ep, to, tolen, b, flags) : -EOPNOTSUPP;
}

ssize_t net_ep_recv_nbuf(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
			 struct sockaddr *from, socklen_t *fromlen)
{
	NET_CONTEXT();
	return ep->proto->recv_nbuf ? ep->proto->recv_nbuf(ep, max, flags, out, from, fromlen)
				    : -EOPNOTSUPP;
}

uint32_t net_ep_readiness(struct net_ep *ep)
{
	MUTEX_GUARD(&ep->lock);

	return ep->proto->readiness(ep);
}

int net_ep_ioctl(struct net_ep *ep, unsigned long request, int *value)
{
	return ep->proto->ioctl ? ep->proto->ioctl(ep, request, value) : -ENOTTY;
}

int net_ep_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len)
{
	NET_CONTEXT();
	if (ep->proto->setsockopt) {
		int r = ep->proto->setsockopt(ep, level, name, val, len);

		if (r != -ENOPROTOOPT)
			return r;
	}
	if (level == SOL_SOCKET)
		return ep_setsockopt_socket(ep, name, val, len);
	if (ep->family == AF_PACKET)
		return -ENOPROTOOPT;
	if (level == IPPROTO_IP)
		return ep_setsockopt_ip(ep, name, val, len);
	if (level == IPPROTO_IPV6 && ep->family == AF_INET6)
		return ep_setsockopt_ip6(ep, name, val, len);
	return -ENOPROTOOPT;
}

int net_ep_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len)
{
	if ((int)*len < 0)
		return -EINVAL;
	NET_CONTEXT();
	if (ep->proto->getsockopt) {
		int r = ep->proto->getsockopt(ep, level, name, val, len);

		if (r != -ENOPROTOOPT)
			return r;
	}
	if (level == SOL_SOCKET)
		return ep_getsockopt_socket(ep, name, val, len);
	if (ep->family == AF_PACKET)
		return -ENOPROTOOPT;
	if (level == IPPROTO_IP)
		return ep_getsockopt_ip(ep, name, val, len);
	if (level == IPPROTO_IPV6 && ep->family == AF_INET6)
		return ep_getsockopt_ip6(ep, name, val, len);
	/* Linux's IPv4 has an answer of its own for levels that nobody knows. */
	if (ep->family == AF_INET && level != ep->protocol && level != SOL_RAW)
		return -EOPNOTSUPP;
	return -ENOPROTOOPT;
}

int net_ep_local(struct net_ep *ep, struct sockaddr *addr, socklen_t *len)
{
	MUTEX_GUARD(&ep->lock);

	if (ep->family == AF_PACKET) {
		struct sockaddr_ll ll = {.sll_family = AF_PACKET,
					 .sll_protocol = htons(ep->rport),
					 .sll_ifindex = ep->bound_if};

		memcpy(addr, &ll, MIN(*len, (socklen_t)sizeof(ll)));
		*len = sizeof(ll);
		return 0;
	}
	ep_format_addr(ep->family, &ep->laddr, ep->lport, ep->bound_if, addr, len);
	return 0;
}

int net_ep_remote(struct net_ep *ep, struct sockaddr *addr, socklen_t *len)
{
	MUTEX_GUARD(&ep->lock);

	if (!ep->connected || ep->family == AF_PACKET)
		return ep->family == AF_PACKET ? -EOPNOTSUPP : -ENOTCONN;
	ep_format_addr(ep->family, &ep->raddr, ep->rport, ep->bound_if, addr, len);
	return 0;
}

/* ------------------------------------------------------------------------------ iteration */

static bool wanted(const struct net_ep *ep, int protocol)
{
	return !protocol || ep->protocol == protocol;
}

static int report(struct net_ep *ep, int (*fn)(void *arg, const struct net_ep_info *i), void *arg)
{
	struct net_ep_info i = {.family = ep->family,
				.type = ep->type,
				.protocol = ep->protocol,
				.state = TCP_CLOSE,
				.ep = ep};
	socklen_t n = sizeof(i.local);

	net_ep_local(ep, (struct sockaddr *)&i.local, &n);
	mutex_lock(&ep->ops_lock);
	i.user = ep->user;
	mutex_unlock(&ep->ops_lock);
	mutex_lock(&ep->lock);
	n = sizeof(i.remote);
	if (ep->family != AF_PACKET)
		ep_format_addr(ep->family, &ep->raddr, ep->rport, ep->bound_if,
			       (struct sockaddr *)&i.remote, &n);
	i.ifindex = ep->bound_if;
	i.rqueue = ep->rmem;
	i.wqueue = ep->wmem;
	i.drops = atomic_load(&ep->drops);
	if (ep->connected && ep->protocol != IPPROTO_TCP)
		i.state = TCP_ESTABLISHED;
	if (ep->proto->info)
		ep->proto->info(ep, &i);
	mutex_unlock(&ep->lock);
	return fn(arg, &i);
}

int net_ep_each(struct netstack *s, int protocol, int (*fn)(void *arg, const struct net_ep_info *i),
		void *arg)
{
	struct net_ep **list;
	struct net_ep *ep;
	size_t n = 0, room = 0;
	int r = 0;

	NET_CONTEXT();
	mutex_lock(&s->ep_lock);
	TAILQ_FOREACH (ep, &s->eps, all_link)
		room += wanted(ep, protocol);
	list = room ? net_alloc(s, room * sizeof(*list)) : NULL;
	if (list)
		TAILQ_FOREACH (ep, &s->eps, all_link)
			if (wanted(ep, protocol) && refcount_inc_not_zero(&ep->refs))
				list[n++] = ep;
	mutex_unlock(&s->ep_lock);
	if (room && !list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (!r)
			r = report(list[i], fn, arg);
		net_ep_put(list[i]);
	}
	net_free(s, list);
	if (!r && (!protocol || protocol == IPPROTO_TCP))
		r = tcp_each_request(s, fn, arg);
	return r;
}
