/* Ping endpoints: SOCK_DGRAM with IPPROTO_ICMP(V6); the local port is the echo identifier. */
#include "netstack/demux/demux.h"
#include "netstack/dgram/dgram.h"
#include "netstack/icmp/icmp.h"
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/raw/raw.h"

static int autobind(struct net_ep *ep)
{
	struct in6_addr addr = ep->laddr;

	return ep->lport ? 0 : port_bind(ep->stack, ep->stack->ping_ports, ep, &addr, 0);
}

static int ping_bind(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	struct in6_addr addr;
	uint16_t port;
	int scope, err;
	MUTEX_GUARD(&ep->lock);

	if (ep->lport)
		return -EINVAL;
	err = ep_parse_addr(ep, a, len, &addr, &port, &scope);
	if (!err)
		err = ep_check_bind_addr(ep, &addr, &scope);
	if (!err)
		err = port_bind(ep->stack, ep->stack->ping_ports, ep, &addr, port);
	if (!err) {
		ep->bound = true;
		ep->laddr_bound = !addr_any(&addr);
	}
	return err;
}

static int ping_connect(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	int err;
	MUTEX_GUARD(&ep->lock);

	if (len >= sizeof(sa_family_t) && a->sa_family == AF_UNSPEC) {
		ep->connected = false;
		return 0;
	}
	err = autobind(ep);
	return err ? err : dgram_connect(ep, a, len, false);
}

static int check_message(struct net_ep *ep, struct nbuf *b)
{
	uint8_t want = ep->family == AF_INET ? ICMP4_ECHO : ICMP6_ECHO_REQUEST;

	if (!nbuf_linear(b, 8))
		return -EINVAL;
	return b->data[0] == want && b->data[1] == 0 ? 0 : -EINVAL;
}

static ssize_t ping_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags)
{
	ssize_t n = iov_total(m);
	struct dgram_tx tx;
	struct net_path p;
	struct ip_tx ip;
	struct nbuf *b;
	uint16_t id, sum = 0;
	int err;

	if (n < 8 || n > 65000)
		return n < 8 ? -EINVAL : -EMSGSIZE;
	b = dgram_build(ep, m, n);
	if (!b)
		return -ENOBUFS;
	MUTEX_GUARD(&ep->lock);
	err = check_message(ep, b);
	if (!err)
		err = dgram_prepare(ep, m, flags, &tx);
	if (!err)
		err = autobind(ep);
	if (!err)
		err = dgram_route(ep, &tx, &p, &ip);
	if (err) {
		nbuf_put(b);
		return err;
	}
	id = htons(ep->lport);
	memcpy(b->data + 4, &id, 2);
	memcpy(b->data + 2, &sum, 2);
	if (ep->family == AF_INET) {
		sum = csum_fold(nbuf_csum(b, 0, b->len, 0));
		memcpy(b->data + 2, &sum, 2);
	} else {
		icmp6_fill_csum(b, &p.src, &p.dst);
	}
	err = ip_output(ep->stack, &p, b, &ip);
	path_release(&p);
	return err ? err : n;
}

bool ping_input(struct netstack *s, struct nbuf *b)
{
	struct net_ep *ep;
	struct nbuf *c;
	struct tuple t;
	uint16_t id;

	if (!nbuf_linear(b, 8))
		return false;
	memcpy(&id, b->data + 4, 2);
	t = (struct tuple){b->dst, b->src, ntohs(id), 0};
	ep = port_lookup(s, s->ping_ports, &t, b->link ? b->link->index : 0, false);
	if (!ep)
		return false;
	c = nbuf_clone(b);
	if (c)
		dgram_queue(ep, c);
	net_ep_put(ep);
	return true;
}

void ping_icmp_error(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst,
		     uint16_t id, int err, uint8_t type, uint8_t code, uint32_t info, bool hard,
		     struct nbuf *b)
{
	struct tuple t = {*src, *dst, id, 0};
	struct net_ep *ep = port_lookup(s, s->ping_ports, &t, 0, false);

	if (!ep)
		return;
	dgram_icmp(ep, err, type, code, info, hard, dst, 0, 0, b);
	net_ep_put(ep);
}

static void ping_close(struct net_ep *ep)
{
	MUTEX_GUARD(&ep->lock);

	port_unbind(ep->stack, ep->stack->ping_ports, ep);
	nbuf_queue_purge(&ep->rxq);
	ep->rmem = 0;
	ep->shut = 3;
}

const struct ep_proto ping_proto = {
	.size = sizeof(struct dgram_ep),
	.bind = ping_bind,
	.connect = ping_connect,
	.shutdown = dgram_shutdown,
	.close = ping_close,
	.sendmsg = ping_sendmsg,
	.recvmsg = dgram_recvmsg,
	.recv_nbuf = dgram_recv_nbuf,
	.readiness = dgram_readiness,
	.ioctl = dgram_ioctl,
};
