/* UDP: RFC 768, RFC 8085, RFC 6935/6936 (zero checksums over IPv6 on request only). */
#include <netinet/udp.h>

#include "netstack/demux/demux.h"
#include "netstack/dgram/dgram.h"
#include "netstack/icmp/icmp.h"
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/udp/udp.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef UDP_NO_CHECK6_TX
#define UDP_NO_CHECK6_TX 101
#define UDP_NO_CHECK6_RX 102
#endif
#define UDP_MAX_SEGMENTS 64

/* ------------------------------------------------------------------------------ ports, peers */

static int bind_locked(struct net_ep *ep, const struct in6_addr *addr, uint16_t port)
{
	return port_bind(ep->stack, ep->stack->udp_ports, ep, addr, port);
}

static int autobind(struct net_ep *ep)
{
	struct in6_addr addr = ep->laddr;
	int err;

	if (ep->lport)
		return 0;
	err = bind_locked(ep, &addr, 0);
	return err == -EADDRINUSE ? -EAGAIN : err;
}

static int udp_bind(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	struct in6_addr addr;
	uint16_t port;
	int scope, err;
	MUTEX_GUARD(&ep->lock);

	if (ep->lport || ep->bound)
		return -EINVAL;
	err = ep_parse_addr(ep, a, len, &addr, &port, &scope);
	if (!err)
		err = ep_check_bind_addr(ep, &addr, &scope);
	if (!err)
		err = bind_locked(ep, &addr, port);
	if (err)
		return err == -ENETUNREACH ? -EINVAL : err;
	if (scope)
		ep->bound_if = scope;
	ep->bound = true;
	ep->laddr_bound = !addr_any(&addr);
	return 0;
}

static int disconnect(struct net_ep *ep)
{
	struct netstack *s = ep->stack;

	ep->connected = false;
	ep->rport = 0;
	ep->raddr = ep->family == AF_INET ? ep->raddr : in6addr_any;
	if (ep->family == AF_INET)
		addr_set4(&ep->raddr, 0);
	if (!ep->laddr_bound) {
		if (ep->family == AF_INET)
			addr_set4(&ep->laddr, 0);
		else
			ep->laddr = in6addr_any;
	}
	path_release(&ep->path);
	if (!ep->bound && ep->lport) {
		port_unbind(s, s->udp_ports, ep);
		ep->lport = 0;
	}
	return 0;
}

static int udp_connect(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	int err;
	MUTEX_GUARD(&ep->lock);

	if (len >= sizeof(sa_family_t) && a->sa_family == AF_UNSPEC)
		return disconnect(ep);
	err = autobind(ep);
	if (err)
		return err;
	return dgram_connect(ep, a, len, true);
}

/* ------------------------------------------------------------------------------ send */

static void fill_checksum(struct net_ep *ep, struct net_path *p, struct nbuf *b, struct udphdr *uh)
{
	uint32_t sum = csum_pseudo(&p->src, &p->dst, IPPROTO_UDP, b->len);

	if (addr_is4(&p->dst) ? ep->opt.no_check : dgram(ep)->no_check6_tx) {
		b->csum = NBUF_CSUM_NONE;
		return;
	}
	uh->uh_sum = ~csum_fold(sum);
	b->csum = NBUF_CSUM_PARTIAL;
	b->csum_start = 0;
	b->csum_offset = offsetof(struct udphdr, uh_sum);
}

/* The datagram is larger than the path: offloads cannot help with fragments. */
static ssize_t transmit(struct net_ep *ep, const struct dgram_tx *tx, struct nbuf *b)
{
	struct netstack *s = ep->stack;
	size_t n = b->len;
	struct net_path p;
	struct udphdr *uh;
	struct ip_tx ip;
	size_t hdrs = (addr_is4(&tx->dst) ? 20 : 40) + sizeof(*uh);
	int err;

	err = dgram_route(ep, tx, &p, &ip);
	if (err) {
		nbuf_put(b);
		return err;
	}
	if (tx->gso_size && n > tx->gso_size) {
		if (tx->gso_size + hdrs > p.mtu || n > (size_t)tx->gso_size * UDP_MAX_SEGMENTS ||
		    ep->opt.no_check) {
			path_release(&p);
			nbuf_put(b);
			return -EINVAL;
		}
		b->gso = NBUF_GSO_UDP;
		b->gso_size = tx->gso_size;
		ip.no_frag_check = true;
	}
	uh = nbuf_push(b, sizeof(*uh));
	uh->uh_sport = htons(ep->lport);
	uh->uh_dport = htons(tx->dport);
	uh->uh_ulen = htons(b->len);
	uh->uh_sum = 0;
	fill_checksum(ep, &p, b, uh);
	ip.protocol = IPPROTO_UDP;
	err = ip_output(s, &p, b, &ip);
	if (err == -EMSGSIZE && (ep->opt.recverr || ep->opt.recverr6))
		errq_add(ep, EMSGSIZE, 1 /* SO_EE_ORIGIN_LOCAL */, 0, 0, p.mtu, &p.dst, &p.dst,
			 tx->dport, NULL);
	path_release(&p);
	/* What a device drops is lost on the wire, as far as UDP is concerned. */
	if (err == -ENOBUFS || err == -EAGAIN) {
		net_count(s, NET_Udp_SndbufErrors);
		err = 0;
	}
	if (err)
		return err;
	net_count(s, NET_Udp_OutDatagrams);
	return n;
}

static ssize_t send_buf(struct net_ep *ep, const struct net_msg *m, struct nbuf *b, int flags)
{
	struct dgram_tx tx;
	int err;
	MUTEX_GUARD(&ep->lock);

	err = dgram_prepare(ep, m, flags, &tx);
	if (!err && !tx.dport)
		err = -EINVAL;
	if (!err)
		err = autobind(ep);
	if (err) {
		nbuf_put(b);
		return err;
	}
	return transmit(ep, &tx, b);
}

static ssize_t udp_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags)
{
	ssize_t n = iov_total(m);
	struct nbuf *b;

	if (n < 0 || n > 65535 - 8)
		return -EMSGSIZE;
	if ((size_t)n > ep->sndbuf)
		return -EMSGSIZE;
	b = dgram_build(ep, m, n);
	if (!b)
		return -ENOBUFS;
	return send_buf(ep, m, b, flags);
}

static ssize_t udp_send_nbuf(struct net_ep *ep, const struct sockaddr *to, socklen_t tolen,
			     struct nbuf *b, int flags)
{
	struct net_msg m = {.name = (struct sockaddr *)to, .namelen = tolen};
	struct nbuf *own;
	ssize_t n;

	if (b->len > 65535 - 8)
		return -EMSGSIZE;
	/* Our headers go into a buffer of our own; the bytes are shared. */
	own = nbuf_alloc(ep->stack->pool, NET_HEADROOM, 0);
	if (!own || nbuf_add_range(own, b, 0, b->len) < 0) {
		nbuf_put(own);
		return -ENOBUFS;
	}
	n = send_buf(ep, &m, own, flags);
	if (n >= 0)
		nbuf_put(b);
	return n;
}

/* ------------------------------------------------------------------------------ receive */

/* A train of datagrams for an endpoint that wants them one by one. */
static void deliver_split(struct net_ep *ep, struct nbuf *b)
{
	size_t off = 0;

	while (off < b->len) {
		struct nbuf *c = nbuf_clone(b);
		size_t n = MIN((size_t)b->gso_size, b->len - off);

		if (!c)
			break;
		nbuf_pull(c, off);
		nbuf_trim(c, n);
		c->gso = NBUF_GSO_NONE;
		c->gso_size = 0;
		dgram_queue(ep, c);
		off += n;
	}
	nbuf_put(b);
}

static void deliver(struct net_ep *ep, struct nbuf *b)
{
	struct netstack *s = ep->stack;
	int min = addr_is4(&b->dst) ? ep->opt.min_ttl : ep->opt.min_hops;

	if (b->ttl < min) {
		nbuf_put(b);
		return;
	}
	net_count(s, NET_Udp_InDatagrams);
	if (b->gso == NBUF_GSO_UDP && b->gso_size && !dgram(ep)->gro)
		deliver_split(ep, b);
	else
		dgram_queue(ep, b);
}

struct fanout {
	struct nbuf *b;
	struct net_ep *list[64];
	unsigned n;
};

/* Port bucket locked: collects the endpoints that a multicast or broadcast is for. */
static int collect(void *arg, struct net_ep *ep)
{
	struct fanout *f = arg;
	const struct nbuf *b = f->b;
	int ifindex = b->link ? b->link->index : 0;

	if (ep->bound_if && ep->bound_if != ifindex)
		return 0;
	if (addr_is4(&b->dst) ? ep->family == AF_INET6 && ep->opt.v6only : ep->family == AF_INET)
		return 0;
	if (!addr_any(&ep->laddr) && !addr_eq(&ep->laddr, &b->dst))
		return 0;
	if (ep->connected && (ep->rport != b->sport || !addr_eq(&ep->raddr, &b->src)))
		return 0;
	if (b->mcast == 1 && !ep_group_match(ep, &b->dst, &b->src, ifindex))
		return 0;
	if (f->n < ARRAY_SIZE(f->list) && refcount_inc_not_zero(&ep->refs))
		f->list[f->n++] = ep;
	return 0;
}

static void deliver_all(struct netstack *s, struct nbuf *b)
{
	struct fanout f = {.b = b};

	port_each(s, s->udp_ports, b->dport, collect, &f);
	for (unsigned i = 0; i < f.n; i++) {
		struct nbuf *c = nbuf_clone(b);

		if (c)
			deliver(f.list[i], c);
		net_ep_put(f.list[i]);
	}
	nbuf_put(b);
}

static bool checksum_ok(struct netstack *s, struct nbuf *b, const struct udphdr *uh)
{
	if (uh->uh_sum == 0)
		return addr_is4(&b->dst); /* over IPv6: decided when the endpoint is known */
	return ip_l4_csum_ok(b);
}

void udp_input(struct netstack *s, struct nbuf *b)
{
	struct udphdr uh;
	struct tuple t;
	struct net_ep *ep;
	bool zero6;
	size_t len;

	if (!nbuf_linear(b, sizeof(uh)))
		goto bad;
	memcpy(&uh, b->data, sizeof(uh));
	len = ntohs(uh.uh_ulen);
	if (b->gso == NBUF_GSO_UDP)
		len = b->len;
	if (len < sizeof(uh) || len > b->len)
		goto bad;
	nbuf_trim(b, len);
	zero6 = uh.uh_sum == 0 && !addr_is4(&b->dst);
	if (!zero6 && !checksum_ok(s, b, &uh)) {
		net_count(s, NET_Udp_InCsumErrors);
		goto bad;
	}
	b->sport = ntohs(uh.uh_sport);
	b->dport = ntohs(uh.uh_dport);
	if (b->mcast) {
		nbuf_pull(b, sizeof(uh));
		deliver_all(s, b);
		return;
	}
	t = (struct tuple){b->dst, b->src, b->dport, b->sport};
	ep = port_lookup(s, s->udp_ports, &t, b->link ? b->link->index : 0, false);
	if (ep && zero6 && !dgram(ep)->no_check6_rx) {
		net_ep_put(ep);
		goto bad;
	}
	if (!ep) {
		net_count(s, NET_Udp_NoPorts);
		icmp_port_unreachable(s, b);
		nbuf_put(b);
		return;
	}
	nbuf_pull(b, sizeof(uh));
	deliver(ep, b);
	net_ep_put(ep);
	return;
bad:
	net_count(s, NET_Udp_InErrors);
	nbuf_put(b);
}

void udp_icmp(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst, int err,
	      uint8_t type, uint8_t code, uint32_t info, bool hard, struct nbuf *b)
{
	struct udphdr uh;
	struct tuple t;
	struct net_ep *ep;

	memcpy(&uh, b->data, sizeof(uh));
	t = (struct tuple){*src, *dst, ntohs(uh.uh_sport), ntohs(uh.uh_dport)};
	ep = port_lookup(s, s->udp_ports, &t, 0, false);
	if (!ep)
		return;
	dgram_icmp(ep, err, type, code, info, hard, dst, t.rport, sizeof(uh), b);
	net_ep_put(ep);
}

/* ------------------------------------------------------------------------------ life, options */

static void udp_close(struct net_ep *ep)
{
	MUTEX_GUARD(&ep->lock);

	port_unbind(ep->stack, ep->stack->udp_ports, ep);
	nbuf_queue_purge(&ep->rxq);
	ep->rmem = 0;
	ep->shut = 3;
}

static int udp_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len)
{
	struct dgram_ep *d = dgram(ep);
	int v, err;

	if (level != IPPROTO_UDP)
		return -ENOPROTOOPT;
	err = opt_int(val, len, &v);
	if (err)
		return err;
	switch (name) {
	case UDP_SEGMENT:
		if (v < 0 || v > UINT16_MAX)
			return -EINVAL;
		d->gso_size = v;
		return 0;
	case UDP_GRO:
		d->gro = v;
		return 0;
	case UDP_NO_CHECK6_TX:
		d->no_check6_tx = v;
		return 0;
	case UDP_NO_CHECK6_RX:
		d->no_check6_rx = v;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int udp_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len)
{
	struct dgram_ep *d = dgram(ep);

	if (level != IPPROTO_UDP)
		return -ENOPROTOOPT;
	switch (name) {
	case UDP_SEGMENT:
		return opt_put_int(val, len, d->gso_size);
	case UDP_GRO:
		return opt_put_int(val, len, d->gro);
	case UDP_NO_CHECK6_TX:
		return opt_put_int(val, len, d->no_check6_tx);
	case UDP_NO_CHECK6_RX:
		return opt_put_int(val, len, d->no_check6_rx);
	default:
		return -ENOPROTOOPT;
	}
}

const struct ep_proto udp_proto = {
	.size = sizeof(struct dgram_ep),
	.bind = udp_bind,
	.connect = udp_connect,
	.shutdown = dgram_shutdown,
	.close = udp_close,
	.sendmsg = udp_sendmsg,
	.recvmsg = dgram_recvmsg,
	.send_nbuf = udp_send_nbuf,
	.recv_nbuf = dgram_recv_nbuf,
	.readiness = dgram_readiness,
	.setsockopt = udp_setsockopt,
	.getsockopt = udp_getsockopt,
	.ioctl = dgram_ioctl,
};
