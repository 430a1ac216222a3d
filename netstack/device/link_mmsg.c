/* Fd links by system calls on the fd: recvmmsg and sendmmsg on sockets, readv and writev on TAP. */
#include "netstack/device/link_fd_internal.h"

#define LINEAR 1900
#define LARGE 65536

static bool fill_slot(struct fd_link *f, struct rx_slot *r)
{
	struct npool *pool = f->stack->pool;
	unsigned n = 0;

	if (!r->b) {
		r->b = nbuf_alloc(pool, 2, LINEAR);
		if (!r->b)
			return false;
	}
	if (!r->large) {
		r->large = nmem_alloc(pool, LARGE);
		if (!r->large)
			return false;
	}
	if (f->vnet_hdr)
		r->iov[n++] = (struct iovec){&r->vnet, FD_VNET_LEN};
	r->iov[n++] = (struct iovec){r->b->data, LINEAR};
	r->iov[n++] = (struct iovec){r->large->bytes, LARGE};
	return true;
}

/* Moves what did not fit into the linear part behind it. */
static bool attach_tail(struct rx_slot *r, struct nbuf *b, size_t n)
{
	struct nmem *m;

	if (n <= FD_SMALL) {
		m = nmem_alloc(b->pool, n);
		if (!m)
			return false;
		memcpy(m->bytes, r->large->bytes, n);
	} else {
		m = r->large;
		r->large = NULL;
	}
	return nbuf_add_frag(b, m, 0, n) == 0;
}

static void apply_control(struct nbuf *b, struct msghdr *m)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA ||
		    c->cmsg_len < CMSG_LEN(sizeof(aux)))
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		auxdata_to_nbuf(b, &aux);
	}
}

/* Turns a received slot of n bytes into a buffer on out. */
static void take_slot(struct fd_link *f, struct fd_queue *q, struct rx_slot *r, size_t n,
		      struct msghdr *m, struct nbuf_queue *out)
{
	struct nbuf *b = r->b;
	size_t lin;

	if (f->vnet_hdr && n < FD_VNET_LEN) {
		fd_count_error(q->link, false);
		return;
	}
	n -= f->vnet_hdr ? FD_VNET_LEN : 0;
	lin = MIN(n, (size_t)LINEAR);
	r->b = NULL;
	nbuf_append(b, lin);
	if (n > FD_LARGEST || (m && (m->msg_flags & MSG_TRUNC)) ||
	    (n > lin && !attach_tail(r, b, n - lin))) {
		fd_count_error(q->link, false);
		nbuf_put(b);
		return;
	}
	if (f->vnet_hdr)
		vnet_to_nbuf(b, &r->vnet);
	if (m && m->msg_controllen)
		apply_control(b, m);
	STAILQ_INSERT_TAIL(out, b, next);
}

static int receive_socket(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out)
{
	int n;

	for (int i = 0; i < max; i++) {
		struct msghdr *m = &q->rx[i].msg_hdr;

		if (!fill_slot(f, &q->slot[i])) {
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
		return -errno;
	for (int i = 0; i < n; i++)
		take_slot(f, q, &q->slot[i], q->rx[i].msg_len, &q->rx[i].msg_hdr, out);
	return n;
}

static int receive_tap(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out)
{
	int n = 0;

	while (n < max) {
		struct rx_slot *r = &q->slot[0];
		ssize_t k;

		if (!fill_slot(f, r))
			return n ? n : -ENOBUFS;
		k = readv(q->fd, r->iov, f->vnet_hdr ? 3 : 2);
		if (k < 0)
			return n ? n : -errno;
		take_slot(f, q, r, k, NULL, out);
		n++;
	}
	return n;
}

int mmsg_receive(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out)
{
	max = MIN(max, FD_RX_BATCH);
	return f->is_tap ? receive_tap(f, q, max, out) : receive_socket(f, q, max, out);
}

bool mmsg_send(struct fd_link *f, struct fd_queue *q)
{
	struct iovec iov[FD_TX_SUBMIT][NBUF_FRAGS + 2];
	struct mmsghdr mm[FD_TX_SUBMIT];
	unsigned n = MIN(q->ntx, (unsigned)FD_TX_SUBMIT);
	int r;

	if (f->is_tap) {
		ssize_t k = writev(q->fd, iov[0], fd_tx_iov(f, q, 0, iov[0]));

		r = k < 0 ? -1 : 1;
	} else {
		memset(mm, 0, n * sizeof(mm[0]));
		for (unsigned i = 0; i < n; i++) {
			mm[i].msg_hdr.msg_iov = iov[i];
			mm[i].msg_hdr.msg_iovlen = fd_tx_iov(f, q, i, iov[i]);
		}
		r = sendmmsg(q->fd, mm, n, MSG_DONTWAIT);
	}
	if (r < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return false;
		/* This frame cannot be sent, now or ever (ENOBUFS, EMSGSIZE, ENETDOWN). */
		fd_count_error(q->link, true);
		r = 1;
	}
	fd_tx_done(q, r);
	return true;
}
