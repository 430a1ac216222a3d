#include "netstack/dgram/dgram.h"

#include <time.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <netinet/udp.h>

#include "netstack/dgram/dgram_internal.h"
#include "netstack/neigh/neigh.h"
#include "netstack/policy/policy.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

ssize_t iov_total(const struct net_msg *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->iovcnt; i++)
		if (__builtin_add_overflow(n, m->iov[i].iov_len, &n) || n > INT32_MAX)
			return -EMSGSIZE;
	return n;
}

/* ------------------------------------------------------------------------------ receive queue */

bool dgram_queue(struct net_ep *ep, struct nbuf *b)
{
	bool ok = false;

	mutex_lock(&ep->lock);
	if (ep->closed || !ep_filter(ep, b))
		goto out;
	b->truesize = nbuf_truesize(b);
	if (ep->rmem + b->truesize > ep->rcvbuf || npool_pressure(ep->stack->pool) > 1) {
		atomic_fetch_add(&ep->drops, 1);
		if (ep->protocol == IPPROTO_UDP)
			net_count(ep->stack, NET_Udp_RcvbufErrors);
		goto out;
	}
	if (ep->opt.timestamp && !b->tstamp)
		b->tstamp = ep->stack->env.wall(ep->stack->env.ctx);
	ep->rmem += b->truesize;
	STAILQ_INSERT_TAIL(&ep->rxq, b, next);
	ok = true;
	net_defer_ready(ep, EPOLLIN | EPOLLRDNORM);
out:
	mutex_unlock(&ep->lock);
	if (!ok)
		nbuf_put(b);
	return ok;
}

uint32_t dgram_readiness(struct net_ep *ep)
{
	uint32_t m = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

	if (!STAILQ_EMPTY(&ep->rxq) || (ep->shut & 1))
		m |= EPOLLIN | EPOLLRDNORM;
	if (ep->shut & 1)
		m |= EPOLLRDHUP;
	if (ep->shut == 3)
		m |= EPOLLHUP;
	if (atomic_load(&ep->so_error) || (ep->errq && !STAILQ_EMPTY(ep->errq)))
		m |= EPOLLERR;
	return m;
}

int dgram_ioctl(struct net_ep *ep, unsigned long request, int *value)
{
	MUTEX_GUARD(&ep->lock);

	switch (request) {
	case SIOCINQ: {
		struct nbuf *b = STAILQ_FIRST(&ep->rxq);

		*value = b ? (int)b->len : 0;
		return 0;
	}
	case SIOCOUTQ:
		*value = 0;
		return 0;
	default:
		return -ENOTTY;
	}
}

int dgram_shutdown(struct net_ep *ep, int how)
{
	MUTEX_GUARD(&ep->lock);

	if (!ep->connected)
		return -ENOTCONN;
	ep->shut |= how + 1;
	net_defer_ready(ep, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	return 0;
}

/* ------------------------------------------------------------------------------ control messages
 */

void cmsg_put(struct net_msg *m, size_t *used, int level, int type, const void *data, size_t n)
{
	size_t room = m->controllen > *used ? m->controllen - *used : 0;
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type};
	uint8_t *at = (uint8_t *)m->control + *used;

	if (!m->control || room < sizeof(h)) {
		m->flags |= MSG_CTRUNC;
		return;
	}
	if (CMSG_LEN(n) > room) {
		m->flags |= MSG_CTRUNC;
		h.cmsg_len = room;
		n = room - sizeof(h);
	}
	memcpy(at, &h, sizeof(h));
	memcpy(at + CMSG_LEN(0), data, n);
	*used += MIN(CMSG_SPACE(n), room);
}

static void put_timestamp(struct net_ep *ep, struct net_msg *m, size_t *used, const struct nbuf *b)
{
	if (ep->opt.timestamp == 1) {
		struct timeval tv = {b->tstamp / NSEC_PER_SEC,
				     b->tstamp % NSEC_PER_SEC / NSEC_PER_USEC};

		cmsg_put(m, used, SOL_SOCKET, SO_TIMESTAMP, &tv, sizeof(tv));
	} else if (ep->opt.timestamp == 2) {
		struct timespec ts = {b->tstamp / NSEC_PER_SEC, b->tstamp % NSEC_PER_SEC};

		cmsg_put(m, used, SOL_SOCKET, SO_TIMESTAMPNS, &ts, sizeof(ts));
	}
}

static void put_ip4(struct net_ep *ep, struct net_msg *m, size_t *used, const struct nbuf *b)
{
	const struct ep_options *o = &ep->opt;

	if (o->pktinfo) {
		struct in_pktinfo pi = {.ipi_ifindex = b->link ? b->link->index : 0};

		pi.ipi_addr.s_addr = addr_get4(&b->dst);
		pi.ipi_spec_dst.s_addr = b->mcast ? 0 : addr_get4(&b->dst);
		cmsg_put(m, used, IPPROTO_IP, IP_PKTINFO, &pi, sizeof(pi));
	}
	if (o->recvttl) {
		int v = b->ttl;

		cmsg_put(m, used, IPPROTO_IP, IP_TTL, &v, sizeof(v));
	}
	if (o->recvtos)
		cmsg_put(m, used, IPPROTO_IP, IP_TOS, &b->tos, 1);
	if (o->origdst) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(b->dport)};

		in.sin_addr.s_addr = addr_get4(&b->dst);
		cmsg_put(m, used, IPPROTO_IP, IP_ORIGDSTADDR, &in, sizeof(in));
	}
}

static void put_ip6(struct net_ep *ep, struct net_msg *m, size_t *used, const struct nbuf *b)
{
	const struct ep_options *o = &ep->opt;

	if (o->pktinfo6) {
		struct in6_pktinfo pi = {b->dst, b->link ? b->link->index : 0};

		cmsg_put(m, used, IPPROTO_IPV6, IPV6_PKTINFO, &pi, sizeof(pi));
	}
	if (addr_is4(&b->dst)) /* the IPv4 options say whether to show the rest */
		return;
	if (o->recvhops) {
		int v = b->ttl;

		cmsg_put(m, used, IPPROTO_IPV6, IPV6_HOPLIMIT, &v, sizeof(v));
	}
	if (o->recvtclass) {
		int v = b->tos;

		cmsg_put(m, used, IPPROTO_IPV6, IPV6_TCLASS, &v, sizeof(v));
	}
}

void cmsg_put_ip(struct net_ep *ep, struct net_msg *m, size_t *used, const struct nbuf *b)
{
	if (ep->opt.timestamp)
		put_timestamp(ep, m, used, b);
	if (ep->opt.rxq_ovfl && atomic_load(&ep->drops)) {
		uint32_t n = atomic_load(&ep->drops);

		cmsg_put(m, used, SOL_SOCKET, SO_RXQ_OVFL, &n, sizeof(n));
	}
	if (ep->family == AF_PACKET)
		return;
	if (b->gso == NBUF_GSO_UDP && b->gso_size) {
		int v = b->gso_size;

		cmsg_put(m, used, IPPROTO_UDP, UDP_GRO, &v, sizeof(v));
	}
	if (ep->family == AF_INET6)
		put_ip6(ep, m, used, b);
	if (addr_is4(&b->dst))
		put_ip4(ep, m, used, b);
}

/* ------------------------------------------------------------------------------ receive */

static void put_packet_name(const struct nbuf *b, struct sockaddr *out, socklen_t *len)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(b->protocol),
				 .sll_ifindex = b->link ? b->link->index : 0,
				 .sll_hatype = b->link ? b->link->type : 0,
				 .sll_pkttype = b->pkt_type,
				 .sll_halen = 6};

	if (b->has_mac && b->mac)
		memcpy(ll.sll_addr, b->mac + 6, 6);
	memcpy(out, &ll, MIN(*len, (socklen_t)sizeof(ll)));
	*len = sizeof(ll);
}

static void put_name(struct net_ep *ep, const struct nbuf *b, struct sockaddr *out, socklen_t *len)
{
	if (ep->family == AF_PACKET)
		put_packet_name(b, out, len);
	else
		ep_format_addr(ep->family, &b->src, ep->type == SOCK_RAW ? 0 : b->sport,
			       b->link ? b->link->index : 0, out, len);
}

/* Takes the first packet, or a second reference to it with MSG_PEEK. */
static int take(struct net_ep *ep, int flags, struct nbuf **out)
{
	struct nbuf *b;
	int err;
	MUTEX_GUARD(&ep->lock);

	err = ep_take_error(ep);
	if (err)
		return err;
	b = STAILQ_FIRST(&ep->rxq);
	if (!b) {
		*out = NULL;
		return ep->shut & 1 ? 0 : -EAGAIN;
	}
	if (flags & MSG_PEEK) {
		nbuf_get(b);
	} else {
		STAILQ_REMOVE_HEAD(&ep->rxq, next);
		ep->rmem -= b->truesize;
	}
	*out = b;
	return 0;
}

ssize_t dgram_recvmsg(struct net_ep *ep, struct net_msg *m, int flags)
{
	size_t used = 0, n, len;
	struct nbuf *b;
	int err;

	m->flags = 0;
	if (flags & MSG_ERRQUEUE)
		return errq_recv(ep, m, flags);
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	err = take(ep, flags, &b);
	if (err || !b) {
		m->controllen = 0;
		m->namelen = err ? m->namelen : 0;
		return err;
	}
	len = b->len;
	n = nbuf_to_iov(b, 0, m->iov, m->iovcnt, 0, len);
	if (n < len)
		m->flags |= MSG_TRUNC;
	if (m->name)
		put_name(ep, b, m->name, &m->namelen);
	if (ep->family == AF_PACKET && dgram(ep)->auxdata) {
		struct tpacket_auxdata aux = {.tp_status = TP_STATUS_USER,
					      .tp_len = b->len,
					      .tp_snaplen = b->len,
					      .tp_vlan_tci = b->vlan_tci};

		if (b->has_vlan)
			aux.tp_status |= TP_STATUS_VLAN_VALID;
		if (b->csum == NBUF_CSUM_PARTIAL)
			aux.tp_status |= TP_STATUS_CSUMNOTREADY;
		cmsg_put(m, &used, SOL_PACKET, PACKET_AUXDATA, &aux, sizeof(aux));
	}
	cmsg_put_ip(ep, m, &used, b);
	m->controllen = used;
	nbuf_put(b);
	return flags & MSG_TRUNC ? (ssize_t)len : (ssize_t)n;
}

ssize_t dgram_recv_nbuf(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
			struct sockaddr *from, socklen_t *fromlen)
{
	struct nbuf *b;
	int err = take(ep, flags, &b);

	if (err || !b)
		return err;
	if (from && fromlen)
		put_name(ep, b, from, fromlen);
	if (flags & MSG_PEEK) {
		struct nbuf *c = nbuf_clone(b);

		nbuf_put(b);
		if (!c)
			return -ENOBUFS;
		b = c;
	}
	nbuf_trim(b, max);
	*out = b;
	return b->len;
}

/* ------------------------------------------------------------------------------ send */

int dgram_prepare(struct net_ep *ep, const struct net_msg *m, int flags, struct dgram_tx *tx)
{
	int scope = 0, err;

	memset(tx, 0, sizeof(*tx));
	tx->ttl = tx->tos = tx->dontfrag = -1;
	tx->gso_size = dgram(ep)->gso_size;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (ep->shut & 2)
		return -EPIPE;
	err = ep_take_error(ep);
	if (err)
		return err;
	if (m->name) {
		/* An AF_UNSPEC destination of an IPv4 endpoint is taken as IPv4: man 7 udp. */
		err = ep_parse_addr(ep, m->name, m->namelen, &tx->dst, &tx->dport, &scope);
		if (err)
			return err;
	} else if (ep->connected) {
		tx->dst = ep->raddr;
		tx->dport = ep->rport;
	} else {
		return -EDESTADDRREQ;
	}
	tx->oif = scope ? scope : ep->bound_if;
	if (addr_any(&tx->dst)) { /* this host */
		if (addr_is4(&tx->dst) || ep->family == AF_INET)
			addr_set4(&tx->dst, htonl(INADDR_LOOPBACK));
		else
			tx->dst = in6addr_loopback;
	}
	if (!addr_is4(&tx->dst) && addr_is4(&ep->laddr) && !addr_any(&ep->laddr))
		return -ENETUNREACH;
	return m->controllen ? dgram_parse_control(ep, m, tx) : 0;
}

struct nbuf *dgram_build(struct net_ep *ep, const struct net_msg *m, size_t n)
{
	struct nbuf *b = nbuf_alloc(ep->stack->pool, NET_HEADROOM, n <= 1800 ? n : 8);

	if (!b)
		return NULL;
	if (n > 1800) /* headers linear, payload in fragments */
		b->end = b->data;
	if (nbuf_append_iov(b, m->iov, m->iovcnt, 0, n) < 0) {
		nbuf_put(b);
		return NULL;
	}
	return b;
}

/* Multicast: link and source by IP_MULTICAST_IF. */
static void multicast_choice(struct net_ep *ep, const struct dgram_tx *tx, struct path_key *k,
			     struct in6_addr *src)
{
	const struct ep_options *o = &ep->opt;

	if (!k->oif)
		k->oif = addr_is4(&tx->dst) ? o->mcast_if : o->mcast_if6;
	if (addr_is4(&tx->dst) && o->mcast_addr.s_addr && (!k->src || addr_any(k->src))) {
		addr_set4(src, o->mcast_addr.s_addr);
		k->src = src;
		if (!k->oif) {
			struct net_link *l;
			READ_GUARD(&ep->stack->config_lock);

			LIST_FOREACH (l, &ep->stack->links, link)
				if (addr_find_locked(l, src))
					k->oif = l->index;
		}
	}
}

static void fill_ip(struct net_ep *ep, const struct dgram_tx *tx, struct ip_tx *ip)
{
	const struct ep_options *o = &ep->opt;
	bool v4 = addr_is4(&tx->dst), mcast = addr_multicast(&tx->dst);
	uint8_t pmtu = v4 ? o->pmtudisc : o->pmtudisc6;

	memset(ip, 0, sizeof(*ip));
	ip->protocol = ep->protocol;
	ip->tos = tx->tos >= 0 ? tx->tos : v4 ? o->tos : o->tclass;
	if (tx->ttl >= 0)
		ip->ttl = tx->ttl;
	else if (mcast)
		ip->ttl = v4 ? o->mcast_ttl : o->mcast_hops < 0 ? 1 : o->mcast_hops;
	else
		ip->ttl = v4 ? o->ttl : o->hops;
	ip->is_mcast_loop = v4 ? o->mcast_loop : o->mcast_loop6;
	ip->df = pmtu == IP_PMTUDISC_DO || pmtu == IP_PMTUDISC_PROBE ||
		 (!v4 && (tx->dontfrag < 0 ? o->dontfrag : tx->dontfrag));
}

/* UDP only: of others the packet itself says what it is. */
static int check_egress(struct net_ep *ep, const struct dgram_tx *tx, const struct net_path *p)
{
	struct net_egress_flow flow = {
		.protocol = IPPROTO_UDP, .lport = ep->lport, .rport = tx->dport, .raddr = tx->dst};

	if (ep->protocol != IPPROTO_UDP || ep->type != SOCK_DGRAM || !link_leads_out(p->link))
		return 0;
	return egress_may_begin(ep->stack, &flow);
}

int dgram_route(struct net_ep *ep, const struct dgram_tx *tx, struct net_path *p, struct ip_tx *ip)
{
	const struct in6_addr *bound =
		addr_any(&ep->laddr) || addr_multicast(&ep->laddr) ? NULL : &ep->laddr;
	struct path_key k = {.dst = tx->dst,
			     .src = tx->src_set ? &tx->src : bound,
			     .oif = tx->oif,
			     .any_src = ep->opt.freebind || ep->opt.transparent,
			     .onlink = ep->opt.dontroute};
	struct in6_addr src;
	struct net_path *cached = &ep->path;
	int err;

	fill_ip(ep, tx, ip);
	if (ep->connected && !tx->src_set && tx->oif == ep->bound_if && !addr_multicast(&tx->dst) &&
	    addr_eq(&tx->dst, &ep->raddr)) {
		err = ep_path(ep, &tx->dst, &cached);
		if (err)
			return err;
		*p = *cached;
		net_link_get(p->link);
		if (p->neigh)
			neigh_ref(p->neigh);
	} else {
		if (addr_multicast(&tx->dst))
			multicast_choice(ep, tx, &k, &src);
		if (tx->src_set && !addr_is_local(ep->stack, &tx->src) && !k.any_src)
			return addr_is4(&tx->src) ? -ENETUNREACH : -EINVAL;
		err = path_lookup(ep->stack, &k, p);
		if (err)
			return err;
	}
	err = check_egress(ep, tx, p);
	if (err) {
		path_release(p);
		return err;
	}
	p->no_flowlabel = !ep->opt.autoflow;
	if (p->type == RTN_BROADCAST && !ep->opt.broadcast) {
		path_release(p);
		return -EACCES;
	}
	if ((addr_is4(&tx->dst) ? ep->opt.pmtudisc : ep->opt.pmtudisc6) >= IP_PMTUDISC_PROBE)
		ip->mtu = p->link_mtu;
	return 0;
}

int dgram_connect(struct net_ep *ep, const struct sockaddr *a, socklen_t len, bool ports)
{
	struct path_key k = {0};
	struct net_path p;
	uint16_t port;
	int scope, err;

	err = ep_parse_addr(ep, a, len, &k.dst, &port, &scope);
	if (err)
		return err;
	if (addr_any(&k.dst)) {
		if (addr_is4(&k.dst))
			addr_set4(&k.dst, htonl(INADDR_LOOPBACK));
		else
			k.dst = in6addr_loopback;
	}
	if (scope)
		ep->bound_if = scope;
	k.oif = ep->bound_if;
	if (addr_multicast(&k.dst) && !k.oif)
		k.oif = addr_is4(&k.dst) ? ep->opt.mcast_if : ep->opt.mcast_if6;
	k.src = ep->laddr_bound && !addr_any(&ep->laddr) ? &ep->laddr : NULL;
	if (k.src && addr_is4(k.src) != addr_is4(&k.dst))
		return addr_is4(k.src) ? -ENETUNREACH : -EINVAL;
	err = path_lookup(ep->stack, &k, &p);
	if (err)
		return err;
	if (p.type == RTN_BROADCAST && !ep->opt.broadcast) {
		path_release(&p);
		return -EACCES;
	}
	ep->laddr = k.src ? *k.src : p.src;
	ep->raddr = k.dst;
	ep->rport = ports ? port : 0;
	ep->connected = true;
	path_release(&ep->path);
	ep->path = p;
	return 0;
}
