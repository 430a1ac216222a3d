/* Endpoints: creation, references, the public calls that dispatch to each kind, addresses. */
#include "netstack/endpoint.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <netinet/tcp.h>

#include "base/bpf.h"
#include "netstack/link.h"

/* ------------------------------------------------------------------------------ life */

static void init_options(struct netstack *s, struct ep_options *o)
{
	o->ttl = o->hops = o->mcast_hops = -1;
	o->mcast_ttl = 1;
	o->mcast_loop = o->mcast_loop6 = o->mcast_all = true;
	o->v6only = s->sysctl.bindv6only;
	o->rcvlowat = 1;
	o->autoflow = true;
	o->pmtudisc = o->pmtudisc6 =
		s->sysctl.ip_no_pmtu_disc ? IP_PMTUDISC_DONT : IP_PMTUDISC_WANT;
}

int ep_alloc(struct netstack *s, const struct ep_proto *proto, size_t size, int family, int type,
	     int protocol, struct net_ep **out)
{
	struct net_ep *ep;

	if (atomic_load(&s->dead))
		return -ENETDOWN;
	ep = net_alloc(s, size);
	if (!ep)
		return -ENOBUFS;
	ep->stack = netstack_get(s);
	refcount_init(&ep->refs);
	ep->proto = proto;
	ep->family = family;
	ep->type = type;
	ep->protocol = protocol;
	mutex_init(&ep->lock);
	mutex_init(&ep->rd_lock);
	mutex_init(&ep->wr_lock);
	mutex_init(&ep->ops_lock);
	STAILQ_INIT(&ep->rxq);
	if (family == AF_INET) {
		addr_set4(&ep->laddr, 0);
		addr_set4(&ep->raddr, 0);
	}
	ep->rcvbuf = s->sysctl.rmem_default;
	ep->sndbuf = s->sysctl.wmem_default;
	init_options(s, &ep->opt);
	mutex_lock(&s->ep_lock);
	TAILQ_INSERT_TAIL(&s->eps, ep, all_link);
	mutex_unlock(&s->ep_lock);
	*out = ep;
	return 0;
}

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

static size_t proto_size(const struct ep_proto *p);

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
	err = ep_alloc(s, proto, proto_size(proto), family, type,
		       family == AF_PACKET ? 0 : protocol, &ep);
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

struct net_ep *net_ep_get(struct net_ep *ep)
{
	refcount_inc(&ep->refs);
	return ep;
}

static void ep_free(struct net_ep *ep)
{
	struct netstack *s = ep->stack;

	if (ep->proto->destroy)
		ep->proto->destroy(ep);
	mutex_lock(&s->ep_lock);
	if (ep->all_link.tqe_prev)
		TAILQ_REMOVE(&s->eps, ep, all_link);
	mutex_unlock(&s->ep_lock);
	nbuf_queue_purge(&ep->rxq);
	if (ep->errq) {
		nbuf_queue_purge(ep->errq);
		net_free(s, ep->errq);
	}
	bpf_prog_free(ep->filter);
	path_release(&ep->path);
	mutex_destroy(&ep->lock);
	mutex_destroy(&ep->rd_lock);
	mutex_destroy(&ep->wr_lock);
	mutex_destroy(&ep->ops_lock);
	net_free(s, ep);
	netstack_put(s);
}

void net_ep_put(struct net_ep *ep)
{
	if (refcount_dec(&ep->refs))
		ep_free(ep);
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

/* ------------------------------------------------------------------------------ errors, paths */

void ep_set_error(struct net_ep *ep, int err)
{
	atomic_store(&ep->so_error, err);
}

int ep_take_error(struct net_ep *ep)
{
	if (likely(!atomic_load_explicit(&ep->so_error, memory_order_relaxed)))
		return 0;
	return -atomic_exchange(&ep->so_error, 0);
}

int ep_path(struct net_ep *ep, const struct in6_addr *dst, struct net_path **out)
{
	struct net_path *p = &ep->path;
	struct path_key k = {.dst = *dst,
			     .src = addr_any(&ep->laddr) ? NULL : &ep->laddr,
			     .oif = ep->bound_if,
			     .any_src = ep->opt.transparent || ep->opt.freebind,
			     .onlink = ep->opt.dontroute};
	int err;

	if (likely(path_valid(ep->stack, p) && addr_eq(&p->dst, dst) &&
		   (!k.src || addr_eq(&p->src, k.src)))) {
		p->no_flowlabel = !ep->opt.autoflow;
		*out = p;
		return 0;
	}
	path_release(p);
	/* A v4 address bound on a v6 destination, or the other way round, cannot be a source. */
	if (k.src && addr_is4(k.src) != addr_is4(dst))
		return -ENETUNREACH;
	err = path_lookup(ep->stack, &k, p);
	if (err)
		return err;
	p->no_flowlabel = !ep->opt.autoflow;
	*out = p;
	return 0;
}

/* ------------------------------------------------------------------------------ addresses */

int ep_parse_addr(struct net_ep *ep, const struct sockaddr *a, socklen_t len, struct in6_addr *addr,
		  uint16_t *port, int *scope)
{
	*scope = 0;
	if (len < sizeof(sa_family_t))
		return -EINVAL;
	if (a->sa_family == AF_INET) {
		struct sockaddr_in in;

		if (len < sizeof(in))
			return -EINVAL;
		if (ep->family == AF_INET6 && ep->opt.v6only)
			return -ENETUNREACH;
		memcpy(&in, a, sizeof(in));
		addr_set4(addr, in.sin_addr.s_addr);
		*port = ntohs(in.sin_port);
		return 0;
	}
	if (a->sa_family == AF_INET6 && ep->family == AF_INET6) {
		struct sockaddr_in6 in = {0};

		if (len < 24) /* without sin6_scope_id: SIN6_LEN_RFC2133 */
			return -EINVAL;
		memcpy(&in, a, MIN(len, (socklen_t)sizeof(in)));
		*addr = in.sin6_addr;
		*port = ntohs(in.sin6_port);
		if (addr_is4(addr) && ep->opt.v6only)
			return -ENETUNREACH;
		if (addr_linklocal6(addr) || (addr_multicast(addr) && !addr_is4(addr)))
			*scope = in.sin6_scope_id;
		return 0;
	}
	return -EAFNOSUPPORT;
}

void ep_format_addr(int family, const struct in6_addr *addr, uint16_t port, int scope,
		    struct sockaddr *out, socklen_t *len)
{
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} u;
	socklen_t n;

	memset(&u, 0, sizeof(u));
	if (family == AF_INET) {
		u.v4.sin_family = AF_INET;
		u.v4.sin_port = htons(port);
		u.v4.sin_addr.s_addr = addr_get4(addr);
		n = sizeof(u.v4);
	} else {
		u.v6.sin6_family = AF_INET6;
		u.v6.sin6_port = htons(port);
		u.v6.sin6_addr = *addr;
		if (addr_linklocal6(addr))
			u.v6.sin6_scope_id = scope;
		n = sizeof(u.v6);
	}
	memcpy(out, &u, MIN(*len, n));
	*len = n;
}

int ep_check_bind_addr(struct net_ep *ep, const struct in6_addr *addr, int *scope)
{
	struct netstack *s = ep->stack;
	int type;

	if (addr_any(addr))
		return 0;
	if (!addr_is4(addr) && addr_linklocal6(addr)) {
		if (!*scope)
			*scope = ep->bound_if;
		if (!*scope || (ep->bound_if && ep->bound_if != *scope))
			return -EINVAL;
	}
	if (ep->opt.freebind || ep->opt.transparent || s->sysctl.ip_nonlocal_bind)
		return 0;
	type = addr_type(s, NULL, addr);
	if (type == RTN_LOCAL)
		return 0;
	if (ep->type != SOCK_STREAM && (type == RTN_MULTICAST || type == RTN_BROADCAST))
		return 0;
	return -EADDRNOTAVAIL;
}

/* ------------------------------------------------------------------------------ iteration */

static bool wanted(const struct net_ep *ep, int protocol)
{
	return !protocol || ep->protocol == protocol;
}

int tcp_each_request(struct netstack *s, int (*fn)(void *arg, const struct net_ep_info *i),
		     void *arg);

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

/* ------------------------------------------------------------------------------ sizes */

#include "netstack/dgram.h"
#include "netstack/tcp.h"

static size_t proto_size(const struct ep_proto *p)
{
	return p == &tcp_proto ? sizeof(struct tcp_ep) : sizeof(struct dgram_ep);
}

bool net_ep_lingering(struct net_ep *ep)
{
	return ep->proto == &tcp_proto && tcp_lingering(ep);
}
