/* Endpoints: life and references, errors, the cached path, addresses. */
#include "netstack/socket/socket.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>

#include "base/bpf.h"
#include "netstack/link/link.h"

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

int ep_alloc(struct netstack *s, const struct ep_proto *proto, int family, int type, int protocol,
	     struct net_ep **out)
{
	struct net_ep *ep;

	if (atomic_load(&s->dead))
		return -ENETDOWN;
	ep = net_alloc(s, proto->size);
	if (!ep)
		return -ENOBUFS;
	ep->stack = netstack_get(s);
	refcount_init(&ep->refs);
	ep->proto = proto;
	ep->family = family;
	ep->type = type;
	ep->protocol = protocol;
	/* The order within a class is at the top of core.h. */
	if (family == AF_PACKET)
		mutex_init(&ep->lock);
	else
		mutex_init_as(&ep->lock, LOCK_NESTS);
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
