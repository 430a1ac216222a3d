/* Packet endpoints: man 7 packet. Rings (PACKET_RX_RING) are not there. */
#include "netstack/dgram/dgram.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/raw/raw.h"

#define ETH_P_ALL_ 0x0003

static int packet_init(struct net_ep *ep)
{
	struct netstack *s = ep->stack;

	write_lock(&s->raw_lock);
	TAILQ_INSERT_TAIL(&s->packets, ep, kind_link);
	dgram(ep)->listed = true;
	write_unlock(&s->raw_lock);
	atomic_fetch_add(&s->n_packets, 1);
	return 0;
}

static void set_promisc(struct net_ep *ep, struct net_link *l)
{
	struct net_link *old = dgram(ep)->promisc_link;

	dgram(ep)->promisc_link = l;
	net_link_put(old);
}

static void packet_close(struct net_ep *ep)
{
	struct netstack *s = ep->stack;

	write_lock(&s->raw_lock);
	if (dgram(ep)->listed) {
		TAILQ_REMOVE(&s->packets, ep, kind_link);
		dgram(ep)->listed = false;
		atomic_fetch_sub(&s->n_packets, 1);
	}
	write_unlock(&s->raw_lock);
	set_promisc(ep, NULL);
	MUTEX_GUARD(&ep->lock);
	nbuf_queue_purge(&ep->rxq);
	ep->rmem = 0;
	ep->shut = 3;
}

static int packet_bind(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	struct sockaddr_ll ll = {0};
	struct net_link *l;

	if (len < offsetof(struct sockaddr_ll, sll_hatype))
		return -EINVAL;
	memcpy(&ll, a, MIN(len, (socklen_t)sizeof(ll)));
	if (ll.sll_family != AF_PACKET)
		return -EINVAL;
	if (ll.sll_ifindex) {
		l = net_link_by_index(ep->stack, ll.sll_ifindex);
		if (!l)
			return -ENODEV;
		net_link_put(l);
	}
	MUTEX_GUARD(&ep->lock);
	ep->bound_if = ll.sll_ifindex;
	if (ll.sll_protocol)
		ep->rport = ntohs(ll.sll_protocol);
	ep->bound = true;
	return 0;
}

/* Which link and address a send goes to. */
static int destination(struct net_ep *ep, const struct net_msg *m, struct sockaddr_ll *ll,
		       struct net_link **out)
{
	memset(ll, 0, sizeof(*ll));
	if (m->name) {
		if (m->namelen < offsetof(struct sockaddr_ll, sll_addr) + 6)
			return -EINVAL;
		memcpy(ll, m->name, MIN(m->namelen, (socklen_t)sizeof(*ll)));
		if (ll->sll_family != AF_PACKET)
			return -EINVAL;
	} else if (ep->type == SOCK_DGRAM) {
		return -EDESTADDRREQ;
	}
	if (!ll->sll_ifindex)
		ll->sll_ifindex = ep->bound_if;
	if (!ll->sll_protocol)
		ll->sll_protocol = htons(ep->rport);
	*out = net_link_by_index(ep->stack, ll->sll_ifindex);
	return *out ? 0 : -ENXIO;
}

static ssize_t packet_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags)
{
	ssize_t n = iov_total(m);
	struct sockaddr_ll ll;
	struct net_link *l;
	struct nbuf *b;
	size_t hdr;
	int err;

	if (n < 0)
		return n;
	err = m->controllen ? socket_check_control(m) : 0;
	if (err)
		return err;
	err = destination(ep, m, &ll, &l);
	if (err)
		return err;
	hdr = ep->type == SOCK_RAW && link_has_ether(l) ? sizeof(struct ether_header) : 0;
	if (!link_is_up(l))
		err = -ENETDOWN;
	else if ((size_t)n < hdr)
		err = -EINVAL;
	else if ((size_t)n > l->mtu + hdr + (hdr ? 4 : 0))
		err = -EMSGSIZE;
	b = err ? NULL : dgram_build(ep, m, n);
	if (!err && !b)
		err = -ENOBUFS;
	if (!err && ep->type == SOCK_DGRAM) {
		err = link_xmit_ether(l, b, ll.sll_addr, ntohs(ll.sll_protocol));
	} else if (!err) {
		if (hdr && nbuf_linear(b, hdr)) {
			b->mac = b->data;
			b->has_mac = 1;
			b->protocol = b->data[12] << 8 | b->data[13];
		}
		err = link_xmit(l, b);
	}
	net_link_put(l);
	return err ? err : n;
}

static bool wants(struct net_ep *ep, const struct net_link *l, const struct nbuf *b, bool outgoing)
{
	if (ep->rport == 0 || (ep->bound_if && ep->bound_if != l->index))
		return false;
	/* Only those that listen to everything see what goes out. */
	return ep->rport == ETH_P_ALL_ || (!outgoing && ep->rport == b->protocol);
}

/* A copy for the endpoint: from the link header (raw) or the network header (dgram). */
static struct nbuf *tap_copy(struct net_ep *ep, struct nbuf *b, bool outgoing)
{
	struct nbuf *c = nbuf_clone(b);

	if (!c)
		return NULL;
	if (outgoing) {
		c->pkt_type = PACKET_OUTGOING;
		if (ep->type == SOCK_DGRAM && c->has_mac)
			nbuf_pull(c, sizeof(struct ether_header));
	} else if (ep->type == SOCK_RAW && c->has_mac) {
		nbuf_push(c, c->data - c->mac);
	}
	return c;
}

void packet_tap(struct net_link *l, struct nbuf *b, bool outgoing)
{
	struct netstack *s = l->stack;
	struct net_ep *list[32], *ep;
	unsigned n = 0;

	read_lock(&s->raw_lock);
	TAILQ_FOREACH (ep, &s->packets, kind_link)
		if (n < ARRAY_SIZE(list) && wants(ep, l, b, outgoing) &&
		    refcount_inc_not_zero(&ep->refs))
			list[n++] = ep;
	read_unlock(&s->raw_lock);
	for (unsigned i = 0; i < n; i++) {
		struct nbuf *c = tap_copy(list[i], b, outgoing);

		if (c) {
			if (!c->link)
				nbuf_set_link(c, l);
			if (dgram_queue(list[i], c))
				dgram(list[i])->stat_packets++;
			else
				dgram(list[i])->stat_drops++;
		}
		net_ep_put(list[i]);
	}
}

static int packet_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len)
{
	struct packet_mreq mr;
	struct net_link *l;
	int v;

	if (level != SOL_PACKET)
		return -ENOPROTOOPT;
	switch (name) {
	case PACKET_ADD_MEMBERSHIP:
	case PACKET_DROP_MEMBERSHIP:
		if (len < sizeof(mr))
			return -EINVAL;
		memcpy(&mr, val, sizeof(mr));
		l = net_link_by_index(ep->stack, mr.mr_ifindex);
		if (!l)
			return -ENODEV;
		/* Taps see every frame that the link receives: there is nothing to switch on. */
		if (name == PACKET_ADD_MEMBERSHIP) {
			set_promisc(ep, l);
		} else {
			set_promisc(ep, NULL);
			net_link_put(l);
		}
		return 0;
	case PACKET_AUXDATA:
		if (opt_int(val, len, &v))
			return -EINVAL;
		dgram(ep)->auxdata = v;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int packet_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len)
{
	struct dgram_ep *d = dgram(ep);

	if (level != SOL_PACKET)
		return -ENOPROTOOPT;
	switch (name) {
	case PACKET_STATISTICS: {
		struct tpacket_stats st = {d->stat_packets + d->stat_drops, d->stat_drops};

		d->stat_packets = d->stat_drops = 0; /* reading clears: man 7 packet */
		return opt_put(val, len, &st, sizeof(st));
	}
	case PACKET_AUXDATA:
		return opt_put_int(val, len, d->auxdata);
	default:
		return -ENOPROTOOPT;
	}
}

const struct ep_proto packet_proto = {
	.size = sizeof(struct dgram_ep),
	.init = packet_init,
	.bind = packet_bind,
	.close = packet_close,
	.sendmsg = packet_sendmsg,
	.recvmsg = dgram_recvmsg,
	.recv_nbuf = dgram_recv_nbuf,
	.readiness = dgram_readiness,
	.setsockopt = packet_setsockopt,
	.getsockopt = packet_getsockopt,
	.ioctl = dgram_ioctl,
};
