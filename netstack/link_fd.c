/*
 * Links over file descriptors: AF_PACKET sockets and TAP devices, with virtio-net headers that
 * carry checksum and segmentation work across the boundary (virtio 1.2 §5.1.6), in batches.
 *
 * A queue has receive slots that stay filled with buffers between polls: a small linear part for
 * headers and short frames, and a large piece that only frames longer than that take away.
 */
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "netstack/link.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#define RX_BATCH 32
#define TX_BATCH 64
#define RX_LINEAR 1900
#define RX_LARGE 65536
#define SMALL_TAIL 16384 /* tails up to this are copied, so that the large piece stays */
#define VNET_LEN 10

struct rx_slot {
	struct virtio_net_hdr vnet;
	struct nbuf *b;
	struct nmem *large;
	struct iovec iov[3];
	uint8_t control[CMSG_SPACE(sizeof(struct tpacket_auxdata))] __attribute__((aligned(8)));
};

struct fd_queue {
	int fd;
	struct rx_slot slot[RX_BATCH];
	struct mmsghdr rx[RX_BATCH];
	struct mutex tx_lock;
	unsigned ntx;
	struct nbuf *tx[TX_BATCH];
	struct virtio_net_hdr tx_vnet[TX_BATCH];
};

struct fd_link {
	struct netstack *stack; /* not counted: the link is */
	bool is_tap, vnet_hdr;
	unsigned nqueues;
	struct fd_queue *queue[NET_FD_MAX_QUEUES];
};

/* ------------------------------------------------------------------------------ receive */

static bool fill_slot(struct netstack *s, struct fd_link *f, struct rx_slot *r)
{
	unsigned n = 0;

	if (!r->b) {
		r->b = nbuf_alloc(s->pool, 2, RX_LINEAR);
		if (!r->b)
			return false;
	}
	if (!r->large) {
		r->large = nmem_alloc(s->pool, RX_LARGE);
		if (!r->large)
			return false;
	}
	if (f->vnet_hdr)
		r->iov[n++] = (struct iovec){&r->vnet, VNET_LEN};
	r->iov[n++] = (struct iovec){r->b->data, RX_LINEAR};
	r->iov[n++] = (struct iovec){r->large->bytes, RX_LARGE};
	return true;
}

/* Moves what did not fit into the linear part behind it. */
static bool attach_tail(struct netstack *s, struct rx_slot *r, struct nbuf *b, size_t n)
{
	struct nmem *m;

	if (n <= SMALL_TAIL) {
		m = nmem_alloc(s->pool, n);
		if (!m)
			return false;
		memcpy(m->bytes, r->large->bytes, n);
	} else {
		m = r->large;
		r->large = NULL;
	}
	return nbuf_add_frag(b, m, 0, n) == 0;
}

/* What the virtio-net header says, checked: the host is trusted, but a bug is a bug. */
static void apply_vnet(struct nbuf *b, const struct virtio_net_hdr *v)
{
	if (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if ((uint32_t)v->csum_start + v->csum_offset + 2 <= b->len &&
		    nbuf_linear(b, v->csum_start + v->csum_offset + 2u)) {
			b->csum = NBUF_CSUM_PARTIAL;
			b->csum_start = v->csum_start;
			b->csum_offset = v->csum_offset;
		}
	} else if (v->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		b->csum = NBUF_CSUM_OK;
	}
	switch (v->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		b->gso = NBUF_GSO_TCP4;
		break;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		b->gso = NBUF_GSO_TCP6;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		b->gso = NBUF_GSO_UDP;
		break;
	default:
		return;
	}
	b->gso_size = v->gso_size;
	if (!b->gso_size)
		b->gso = NBUF_GSO_NONE;
}

/* AF_PACKET takes VLAN tags out of the frame and tells of them beside it. */
static void apply_auxdata(struct nbuf *b, struct msghdr *m)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (aux.tp_status & TP_STATUS_VLAN_VALID) {
			b->has_vlan = 1;
			b->vlan_tci = aux.tp_vlan_tci;
		}
	}
}

/* Turns a received slot of n bytes into a buffer on q. */
static void take_slot(struct net_link *l, struct fd_link *f, struct rx_slot *r, size_t n,
		      struct msghdr *m, struct nbuf_queue *q)
{
	struct nbuf *b = r->b;
	size_t lin;

	if (f->vnet_hdr && n < VNET_LEN)
		return;
	n -= f->vnet_hdr ? VNET_LEN : 0;
	lin = MIN(n, (size_t)RX_LINEAR);
	r->b = NULL;
	nbuf_append(b, lin);
	if ((m && (m->msg_flags & MSG_TRUNC)) ||
	    (n > lin && !attach_tail(l->stack, r, b, n - lin))) {
		atomic_fetch_add_explicit(&l->stats.rx_errors, 1, memory_order_relaxed);
		nbuf_put(b);
		return;
	}
	if (f->vnet_hdr)
		apply_vnet(b, &r->vnet);
	if (m && m->msg_controllen)
		apply_auxdata(b, m);
	STAILQ_INSERT_TAIL(q, b, next);
}

static int receive_socket(struct net_link *l, struct fd_link *f, struct fd_queue *q, int max,
			  struct nbuf_queue *out)
{
	int n;

	max = MIN(max, RX_BATCH);
	for (int i = 0; i < max; i++) {
		struct msghdr *m = &q->rx[i].msg_hdr;

		if (!fill_slot(l->stack, f, &q->slot[i])) {
			max = i;
			break;
		}
		m->msg_iov = q->slot[i].iov;
		m->msg_iovlen = f->vnet_hdr ? 3 : 2;
		m->msg_control = q->slot[i].control;
		m->msg_controllen = sizeof(q->slot[i].control);
	}
	if (!max)
		return -ENOBUFS;
	n = recvmmsg(q->fd, q->rx, max, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		take_slot(l, f, &q->slot[i], q->rx[i].msg_len, &q->rx[i].msg_hdr, out);
	return n;
}

static int receive_tap(struct net_link *l, struct fd_link *f, struct fd_queue *q, int max,
		       struct nbuf_queue *out)
{
	int n = 0;

	while (n < MIN(max, RX_BATCH)) {
		struct rx_slot *r = &q->slot[0];
		ssize_t k;

		if (!fill_slot(l->stack, f, r))
			return n ? n : -ENOBUFS;
		k = readv(q->fd, r->iov, f->vnet_hdr ? 3 : 2);
		if (k < 0) {
			if (errno == EAGAIN || errno == EINTR)
				break;
			return n ? n : -errno;
		}
		take_slot(l, f, r, k, NULL, out);
		n++;
	}
	return n;
}

int net_link_fd_poll(struct net_link *l, unsigned qi, int budget)
{
	struct fd_link *f = l->priv;
	int done = 0;

	if (l->kind != NET_LINK_FD || qi >= f->nqueues)
		return -EINVAL;
	if (l->removed)
		return -ENETDOWN;
	while (done < budget) {
		struct nbuf_queue batch = STAILQ_HEAD_INITIALIZER(batch);
		struct nbuf *b;
		int n;
		NET_CONTEXT();

		n = f->is_tap ? receive_tap(l, f, f->queue[qi], budget - done, &batch)
			      : receive_socket(l, f, f->queue[qi], budget - done, &batch);
		if (n <= 0)
			return done ? done : n;
		if (l->features & NET_F_GRO)
			gro_batch(l, &batch);
		while ((b = STAILQ_FIRST(&batch))) {
			STAILQ_REMOVE_HEAD(&batch, next);
			net_link_input(l, b);
		}
		done += n;
		if (n < RX_BATCH)
			break;
	}
	return done;
}

int net_link_fd_wait_fd(struct net_link *l, unsigned q)
{
	struct fd_link *f = l->priv;

	return l->kind == NET_LINK_FD && q < f->nqueues ? f->queue[q]->fd : -EINVAL;
}

/* ------------------------------------------------------------------------------ transmit */

static void fill_vnet(struct virtio_net_hdr *v, const struct nbuf *b)
{
	memset(v, 0, sizeof(*v));
	if (b->csum == NBUF_CSUM_PARTIAL) {
		v->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		v->csum_start = b->csum_start;
		v->csum_offset = b->csum_offset;
	}
	if (!b->gso)
		return;
	v->gso_type = b->gso == NBUF_GSO_TCP4	? VIRTIO_NET_HDR_GSO_TCPV4
		      : b->gso == NBUF_GSO_TCP6 ? VIRTIO_NET_HDR_GSO_TCPV6
						: VIRTIO_NET_HDR_GSO_UDP_L4;
	v->gso_size = b->gso_size;
	v->hdr_len = b->csum_start +
		     (b->gso == NBUF_GSO_UDP ? 8 : (b->data[b->csum_start + 12] >> 4) * 4);
	/* CWR on the first segment only: RFC 3168 with TSO. */
	if (b->gso != NBUF_GSO_UDP && (b->data[b->csum_start + 13] & 0x80))
		v->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
}

static int fill_iov(struct fd_link *f, struct fd_queue *q, unsigned i, struct iovec *iov)
{
	int n = 0;

	if (f->vnet_hdr) {
		fill_vnet(&q->tx_vnet[i], q->tx[i]);
		iov[n++] = (struct iovec){&q->tx_vnet[i], VNET_LEN};
	}
	return n + nbuf_iov(q->tx[i], iov + n, NBUF_FRAGS + 1);
}

/* Sends from the front; returns how many went (or were refused for good). */
static unsigned send_some(struct net_link *l, struct fd_link *f, struct fd_queue *q)
{
	struct iovec iov[TX_BATCH / 4][NBUF_FRAGS + 2];
	struct mmsghdr mm[TX_BATCH / 4];
	unsigned n = MIN(q->ntx, (unsigned)ARRAY_SIZE(mm));
	int r;

	if (f->is_tap) {
		ssize_t k = writev(q->fd, iov[0], fill_iov(f, q, 0, iov[0]));

		r = k < 0 ? -1 : 1;
	} else {
		memset(mm, 0, n * sizeof(mm[0]));
		for (unsigned i = 0; i < n; i++) {
			mm[i].msg_hdr.msg_iov = iov[i];
			mm[i].msg_hdr.msg_iovlen = fill_iov(f, q, i, iov[i]);
		}
		r = sendmmsg(q->fd, mm, n, MSG_DONTWAIT);
	}
	if (r >= 0)
		return r;
	if (errno == EAGAIN || errno == EINTR)
		return 0;
	/* This frame cannot be sent, now or ever (ENOBUFS, EMSGSIZE, ENETDOWN). */
	atomic_fetch_add_explicit(&l->stats.tx_errors, 1, memory_order_relaxed);
	return 1;
}

/* tx_lock held. */
static void drain(struct net_link *l, struct fd_link *f, struct fd_queue *q)
{
	while (q->ntx) {
		unsigned n = send_some(l, f, q);

		if (!n)
			return;
		for (unsigned i = 0; i < n; i++)
			nbuf_put(q->tx[i]);
		q->ntx -= n;
		memmove(q->tx, q->tx + n, q->ntx * sizeof(q->tx[0]));
	}
}

static struct fd_queue *my_queue(struct fd_link *f)
{
	if (f->nqueues == 1)
		return f->queue[0];
	return f->queue[((uintptr_t)pthread_self() >> 12) % f->nqueues];
}

static int fd_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct fd_link *f = priv;
	struct fd_queue *q = my_queue(f);
	MUTEX_GUARD(&q->tx_lock);

	if (q->ntx == TX_BATCH)
		drain(l, f, q);
	if (q->ntx == TX_BATCH) {
		nbuf_put(b);
		return -EAGAIN;
	}
	q->tx[q->ntx++] = b;
	return 0;
}

static void fd_flush(struct net_link *l, void *priv)
{
	struct fd_link *f = priv;

	for (unsigned i = 0; i < f->nqueues; i++) {
		struct fd_queue *q = f->queue[i];
		MUTEX_GUARD(&q->tx_lock);

		drain(l, f, q);
	}
}

/* ------------------------------------------------------------------------------ life */

static void fd_release(void *priv)
{
	struct fd_link *f = priv;

	for (unsigned i = 0; i < f->nqueues; i++) {
		struct fd_queue *q = f->queue[i];

		if (!q)
			continue;
		for (unsigned k = 0; k < q->ntx; k++)
			nbuf_put(q->tx[k]);
		for (unsigned k = 0; k < RX_BATCH; k++) {
			nbuf_put(q->slot[k].b);
			nmem_put(q->slot[k].large);
		}
		mutex_destroy(&q->tx_lock);
		net_free(f->stack, q);
	}
	net_free(f->stack, f);
}

static const struct net_link_ops fd_ops = {
	.xmit = fd_xmit, .flush = fd_flush, .release = fd_release};

static bool add_queue(struct netstack *s, struct fd_link *f, int fd)
{
	struct fd_queue *q = net_alloc(s, sizeof(*q));
	int one = 1;

	if (!q)
		return false;
	q->fd = fd;
	mutex_init(&q->tx_lock);
	f->queue[f->nqueues++] = q;
	if (!f->is_tap) {
		/* What others send on the interface is not for us. Older kernels lack this. */
		(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
		(void)setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one));
	}
	return true;
}

int net_link_add_fd(struct netstack *s, const struct net_fd_config *c, struct net_link **out)
{
	struct net_link_config cfg = c->link;
	struct fd_link *f;
	struct net_link *l;
	int err;

	if (!c->nfds || c->nfds > NET_FD_MAX_QUEUES)
		return -EINVAL;
	if (c->mode == NET_FD_URING)
		return -EOPNOTSUPP;
	f = net_alloc(s, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->stack = s;
	f->is_tap = c->is_tap;
	f->vnet_hdr = c->vnet_hdr;
	for (unsigned i = 0; i < c->nfds; i++)
		if (!add_queue(s, f, c->fds[i])) {
			fd_release(f);
			return -ENOMEM;
		}
	if (c->vnet_hdr)
		cfg.features |= NET_F_TRUSTED;
	else
		cfg.features &= ~(NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_USO);
	err = link_register(s, NET_LINK_FD, &cfg, "eth", &fd_ops, f, &l);
	if (err) {
		fd_release(f);
		return err;
	}
	if (out)
		*out = l;
	else
		net_link_put(l);
	return 0;
}
