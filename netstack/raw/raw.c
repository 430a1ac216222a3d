/* Raw endpoints: man 7 raw, RFC 3542 for IPv6. */

#include "netstack/dgram/dgram.h"
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/raw/raw.h"

#ifndef SOL_RAW
#define SOL_RAW 255
#endif
#define OPT_ICMP_FILTER 1
#define OPT_ICMP6_FILTER 1
#define OPT_CHECKSUM 7 /* IPV6_CHECKSUM */

static int raw_init(struct net_ep *ep)
{
	struct netstack *s = ep->stack;

	dgram(ep)->checksum_off = ep->protocol == IPPROTO_ICMPV6 ? 2 : -1;
	ep->opt.hdrincl = ep->protocol == IPPROTO_RAW;
	write_lock(&s->raw_lock);
	TAILQ_INSERT_TAIL(&s->raws, ep, kind_link);
	dgram(ep)->listed = true;
	write_unlock(&s->raw_lock);
	atomic_fetch_add(&s->n_raws, 1);
	return 0;
}

static void raw_close(struct net_ep *ep)
{
	struct netstack *s = ep->stack;

	write_lock(&s->raw_lock);
	if (dgram(ep)->listed) {
		TAILQ_REMOVE(&s->raws, ep, kind_link);
		dgram(ep)->listed = false;
		atomic_fetch_sub(&s->n_raws, 1);
	}
	write_unlock(&s->raw_lock);
	MUTEX_GUARD(&ep->lock);
	nbuf_queue_purge(&ep->rxq);
	ep->rmem = 0;
	ep->shut = 3;
}

static int raw_bind(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	struct in6_addr addr;
	uint16_t port;
	int scope, err;
	MUTEX_GUARD(&ep->lock);

	err = ep_parse_addr(ep, a, len, &addr, &port, &scope);
	if (!err)
		err = ep_check_bind_addr(ep, &addr, &scope);
	if (err)
		return err;
	ep->laddr = addr;
	ep->laddr_bound = !addr_any(&addr);
	ep->bound = true;
	if (scope)
		ep->bound_if = scope;
	return 0;
}

static int raw_connect(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	MUTEX_GUARD(&ep->lock);

	if (len >= sizeof(sa_family_t) && a->sa_family == AF_UNSPEC) {
		ep->connected = false;
		path_release(&ep->path);
		return 0;
	}
	return dgram_connect(ep, a, len, false);
}

/* IP_HDRINCL: the caller's header, with what Linux fills in: total length, checksum, zero source
 * and zero identification (man 7 raw). */
static int send_with_header(struct net_ep *ep, struct net_path *p, struct nbuf *b)
{
	if (addr_is4(&p->dst)) {
		struct ip *ip;
		unsigned hlen;

		if (!nbuf_linear(b, sizeof(*ip)))
			goto bad;
		hlen = (b->data[0] & 15) * 4u;
		if (hlen < sizeof(*ip) || !nbuf_linear(b, hlen) || b->len > p->mtu)
			goto bad;
		ip = (struct ip *)b->data;
		ip->ip_len = htons(b->len);
		if (!ip->ip_src.s_addr)
			ip->ip_src.s_addr = addr_get4(&p->src);
		if (!ip->ip_id)
			ip->ip_id = htons(net_random32(ep->stack));
		ip->ip_sum = 0;
		ip->ip_sum = csum_fold(csum_add_bytes(ip, hlen, 0));
	} else if (b->len < sizeof(struct ip6_hdr) || b->len > p->mtu) {
		goto bad;
	}
	return ip_output_raw(ep->stack, p, b);
bad : {
	bool big = b->len > p->mtu;

	nbuf_put(b);
	return big ? -EMSGSIZE : -EINVAL;
}
}

static int fill_checksum(struct net_ep *ep, struct net_path *p, struct nbuf *b)
{
	int off = dgram(ep)->checksum_off;
	uint16_t v = 0;
	uint32_t sum;

	if (ep->family != AF_INET6 || off < 0)
		return 0;
	if ((size_t)off + 2 > b->len)
		return -EINVAL;
	nbuf_write(b, off, &v, 2);
	sum = csum_pseudo(&p->src, &p->dst, ep->protocol, b->len);
	v = csum_fold(nbuf_csum(b, 0, b->len, sum));
	nbuf_write(b, off, &v, 2);
	return 0;
}

static ssize_t raw_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags)
{
	ssize_t n = iov_total(m);
	struct dgram_tx tx;
	struct net_path p;
	struct ip_tx ip;
	struct nbuf *b;
	int err;

	if (n < 0 || n > 65535)
		return -EMSGSIZE;
	b = dgram_build(ep, m, n);
	if (!b)
		return -ENOBUFS;
	MUTEX_GUARD(&ep->lock);
	err = dgram_prepare(ep, m, flags, &tx);
	if (!err)
		err = dgram_route(ep, &tx, &p, &ip);
	if (err) {
		nbuf_put(b);
		return err;
	}
	if (ep->opt.hdrincl) {
		err = send_with_header(ep, &p, b);
	} else {
		err = fill_checksum(ep, &p, b);
		if (err)
			nbuf_put(b);
		else
			err = ip_output(ep->stack, &p, b, &ip);
	}
	path_release(&p);
	return err ? err : n;
}

static bool matches(struct net_ep *ep, const struct nbuf *b)
{
	bool v4 = addr_is4(&b->dst);
	int ifindex = b->link ? b->link->index : 0;

	if ((ep->family == AF_INET) != v4 || ep->protocol != b->l4proto)
		return false;
	if (ep->bound_if && ep->bound_if != ifindex)
		return false;
	if (ep->laddr_bound && !addr_eq(&ep->laddr, &b->dst))
		return false;
	if (ep->connected && !addr_eq(&ep->raddr, &b->src))
		return false;
	if (b->mcast == 1 && !ep_group_match(ep, &b->dst, &b->src, ifindex))
		return false;
	if (b->l4proto == IPPROTO_ICMP && b->lin && b->data[0] < 32 &&
	    (dgram(ep)->icmp_filter & (1u << b->data[0])))
		return false;
	if (b->l4proto == IPPROTO_ICMPV6 && b->lin &&
	    (dgram(ep)->icmp6_filter[b->data[0] >> 5] & (1u << (b->data[0] & 31))))
		return false;
	return true;
}

static bool checksum_wrong(struct net_ep *ep, struct nbuf *b)
{
	return ep->family == AF_INET6 && dgram(ep)->checksum_off >= 0 && !ip_l4_csum_ok(b);
}

bool raw_input(struct netstack *s, struct nbuf *b)
{
	struct net_ep *list[32], *ep;
	unsigned n = 0;

	nbuf_linear(b, MIN(b->len, 8u));
	read_lock(&s->raw_lock);
	TAILQ_FOREACH (ep, &s->raws, kind_link)
		if (n < ARRAY_SIZE(list) && matches(ep, b) && refcount_inc_not_zero(&ep->refs))
			list[n++] = ep;
	read_unlock(&s->raw_lock);
	for (unsigned i = 0; i < n; i++) {
		struct nbuf *c = checksum_wrong(list[i], b) ? NULL : nbuf_clone(b);

		/* IPv4 readers see the header, IPv6 readers do not: RFC 3542 §3. */
		if (c && list[i]->family == AF_INET)
			nbuf_push(c, c->data - c->net);
		if (c)
			dgram_queue(list[i], c);
		net_ep_put(list[i]);
	}
	return n > 0;
}

void raw_icmp(struct netstack *s, uint8_t protocol, const struct in6_addr *src,
	      const struct in6_addr *dst, int err, uint8_t type, uint8_t code, uint32_t info,
	      bool hard, struct nbuf *b)
{
	struct net_ep *list[32], *ep;
	unsigned n = 0;

	read_lock(&s->raw_lock);
	TAILQ_FOREACH (ep, &s->raws, kind_link)
		if (n < ARRAY_SIZE(list) && ep->protocol == protocol &&
		    (ep->family == AF_INET) == addr_is4(dst) &&
		    (!ep->connected || addr_eq(&ep->raddr, dst)) &&
		    (!ep->laddr_bound || addr_eq(&ep->laddr, src)) &&
		    refcount_inc_not_zero(&ep->refs))
			list[n++] = ep;
	read_unlock(&s->raw_lock);
	for (unsigned i = 0; i < n; i++) {
		dgram_icmp(list[i], err, type, code, info, hard, dst, 0, 0, b);
		net_ep_put(list[i]);
	}
}

static int raw_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len)
{
	struct dgram_ep *d = dgram(ep);
	int v;

	if (level == SOL_RAW && ep->protocol == IPPROTO_ICMP && name == OPT_ICMP_FILTER) {
		memcpy(&d->icmp_filter, val, MIN(len, (socklen_t)4));
		return 0;
	}
	if (level == IPPROTO_ICMPV6 && ep->protocol == IPPROTO_ICMPV6 && name == OPT_ICMP6_FILTER) {
		memcpy(d->icmp6_filter, val, MIN(len, (socklen_t)sizeof(d->icmp6_filter)));
		return 0;
	}
	if ((level == IPPROTO_IPV6 || level == SOL_RAW) && ep->family == AF_INET6 &&
	    name == OPT_CHECKSUM) {
		if (opt_int(val, len, &v))
			return -EINVAL;
		if (ep->protocol == IPPROTO_ICMPV6 || (v > 0 && (v & 1)))
			return -EINVAL;
		d->checksum_off = v < 0 ? -1 : v;
		return 0;
	}
	return -ENOPROTOOPT;
}

static int raw_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len)
{
	struct dgram_ep *d = dgram(ep);

	if (level == SOL_RAW && ep->protocol == IPPROTO_ICMP && name == OPT_ICMP_FILTER)
		return opt_put(val, len, &d->icmp_filter, 4);
	if (level == IPPROTO_ICMPV6 && ep->protocol == IPPROTO_ICMPV6 && name == OPT_ICMP6_FILTER)
		return opt_put(val, len, d->icmp6_filter, sizeof(d->icmp6_filter));
	if ((level == IPPROTO_IPV6 || level == SOL_RAW) && ep->family == AF_INET6 &&
	    name == OPT_CHECKSUM)
		return opt_put_int(val, len, d->checksum_off);
	return -ENOPROTOOPT;
}

const struct ep_proto raw_proto = {
	.size = sizeof(struct dgram_ep),
	.init = raw_init,
	.bind = raw_bind,
	.connect = raw_connect,
	.shutdown = dgram_shutdown,
	.close = raw_close,
	.sendmsg = raw_sendmsg,
	.recvmsg = dgram_recvmsg,
	.recv_nbuf = dgram_recv_nbuf,
	.readiness = dgram_readiness,
	.setsockopt = raw_setsockopt,
	.getsockopt = raw_getsockopt,
	.ioctl = dgram_ioctl,
};
