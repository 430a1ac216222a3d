/*
 * Fd links by io_uring: two rings per queue, one to receive and one to send, each of which may do
 * exactly one thing with exactly one file.
 *
 * Receiving. One multishot request (RECVMSG, for TAP READ) stays posted. The kernel puts each frame
 * into the next buffer of a ring of buffers and posts a completion; buffers go back after use, but
 * for those of large frames, which become packets as they are and are replaced. What has completed
 * costs no system call to fetch. The ring's fd is readable when there are completions. The request
 * belongs to the thread that posted it, which must enter the kernel now and then for it to go on;
 * when that thread exits the request ends, and the next poll posts it again.
 *
 * Sending. Up to FD_TX_SUBMIT frames are submitted at once and their completions awaited: the
 * requests do not wait for the device, so nothing of ours is in use after the call.
 *
 * Memory. The kernel writes into buffers between polls. They are freed when the request has ended
 * and not before: uring_stop cancels it and waits. Should the kernel not answer, they leak.
 */
#include "netstack/device/link_uring_internal.h"

#include <sys/eventfd.h>

#define COMPLETIONS 128 /* more than there are buffers, so that it never overflows */
#define TAG_RECEIVE 1
#define TAG_CANCEL 2
#define CANCEL_TRIES 5 /* seconds */
/* Since 6.7; liburing 2.3 does not know it. */
#define OP_READ_MULTISHOT 49

/* ------------------------------------------------------------------------------ set-up */

/* A ring that can do nothing yet. -errno when refused. */
static int ring_setup(struct io_uring *ring, unsigned entries, unsigned completions)
{
	struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
					     IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
					     IORING_SETUP_CQSIZE,
				    .cq_entries = completions};

	return io_uring_queue_init_params(entries, ring, &p);
}

/* Does the kernel know both operations? The second stands for what came with it. */
static bool ring_knows(struct io_uring *ring, int op, int with)
{
	struct io_uring_probe *p = io_uring_get_probe_ring(ring);
	bool yes = p && op <= p->last_op && with <= p->last_op &&
		   (p->ops[op].flags & IO_URING_OP_SUPPORTED) &&
		   (p->ops[with].flags & IO_URING_OP_SUPPORTED);

	if (p)
		io_uring_free_probe(p);
	return yes;
}

/* From here on: op (and cancel) on the registered file only, and of registering, its undoing. */
static int ring_restrict(struct io_uring *ring, int op, bool receive)
{
	struct io_uring_restriction r[5] = {
		{.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_UNREGISTER_FILES},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = op},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_ASYNC_CANCEL},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_BUFFER_SELECT},
	};
	int err = io_uring_register_restrictions(ring, r, receive ? 5 : 3);

	return err ? err : io_uring_enable_rings(ring);
}

static void give_buffer(struct uring_rx *rx, unsigned id, int at)
{
	io_uring_buf_ring_add(rx->buffers, rx->buf[id]->bytes + rx->skip,
			      URING_BUFFER_SIZE - rx->skip, id, URING_BUFFERS - 1, at);
}

static int make_buffers(struct fd_link *f, struct uring_rx *rx)
{
	struct io_uring_buf_reg reg = {.ring_entries = URING_BUFFERS, .bgid = 0};
	uintptr_t p;
	int err;

	rx->buffers_mem = net_alloc(f->stack, 2 * 4096);
	if (!rx->buffers_mem)
		return -ENOMEM;
	p = ROUND_UP((uintptr_t)rx->buffers_mem, (uintptr_t)4096);
	rx->buffers = (struct io_uring_buf_ring *)p;
	reg.ring_addr = p;
	err = io_uring_register_buf_ring(&rx->ring, &reg, 0);
	if (err)
		return err;
	io_uring_buf_ring_init(rx->buffers);
	for (int i = 0; i < URING_BUFFERS; i++) {
		rx->buf[i] = nmem_alloc(f->stack->pool, URING_BUFFER_SIZE);
		if (!rx->buf[i])
			return -ENOBUFS;
		give_buffer(rx, i, i);
	}
	io_uring_buf_ring_advance(rx->buffers, URING_BUFFERS);
	return 0;
}

static void free_rx(struct fd_link *f, struct uring_rx *rx)
{
	for (int i = 0; i < URING_BUFFERS; i++)
		nmem_put(rx->buf[i]);
	net_free(f->stack, rx->buffers_mem);
	net_free(f->stack, rx);
}

/* Where a frame starts in what is received. */
static size_t frame_offset(const struct fd_link *f)
{
	return (f->is_tap ? 0 : sizeof(struct io_uring_recvmsg_out) + FD_CONTROL) +
	       (f->vnet_hdr ? FD_VNET_LEN : 0);
}

static int open_rx(struct fd_link *f, struct fd_queue *q)
{
	int op = f->is_tap ? OP_READ_MULTISHOT : IORING_OP_RECVMSG, err;
	struct uring_rx *rx = net_alloc(f->stack, sizeof(*rx));

	if (!rx)
		return -ENOMEM;
	rx->is_tap = f->is_tap;
	rx->skip = -(frame_offset(f) + (f->ether ? sizeof(struct ether_header) : 0)) % 4;
	err = ring_setup(&rx->ring, 4, COMPLETIONS);
	if (err) {
		net_free(f->stack, rx);
		return err;
	}
	/* Multishot RECVMSG came with SEND_ZC, in 6.0. */
	err = ring_knows(&rx->ring, op, IORING_OP_SEND_ZC) ? 0 : -EOPNOTSUPP;
	if (!err)
		err = io_uring_register_files(&rx->ring, &q->fd, 1);
	if (!err)
		err = make_buffers(f, rx);
	if (!err)
		err = ring_restrict(&rx->ring, op, true);
	if (err) {
		io_uring_queue_exit(&rx->ring);
		free_rx(f, rx);
		return err;
	}
	rx->wait_fd = rx->ring.ring_fd;
	rx->msg.msg_controllen = FD_CONTROL;
	q->uring_rx = rx;
	return 0;
}

static int open_tx(struct fd_link *f, struct fd_queue *q)
{
	int op = f->is_tap ? IORING_OP_WRITEV : IORING_OP_SENDMSG, err;
	struct uring_tx *tx = net_alloc(f->stack, sizeof(*tx));

	if (!tx)
		return -ENOMEM;
	tx->rw_flags = RWF_NOWAIT;
	err = ring_setup(&tx->ring, FD_TX_SUBMIT, 2 * FD_TX_SUBMIT);
	if (err) {
		net_free(f->stack, tx);
		return err;
	}
	err = io_uring_register_files(&tx->ring, &q->fd, 1);
	if (!err)
		err = ring_restrict(&tx->ring, op, false);
	if (err) {
		io_uring_queue_exit(&tx->ring);
		net_free(f->stack, tx);
		return err;
	}
	q->uring_tx = tx;
	return 0;
}

int uring_open(struct fd_link *f, struct fd_queue *q, bool receive)
{
	return receive ? open_rx(f, q) : open_tx(f, q);
}

/* ------------------------------------------------------------------------------ receive */

/* Posts the request to receive; what is there already completes at once. */
static int post_receive(struct uring_rx *rx)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&rx->ring);
	int n;

	if (!sqe)
		return -EBUSY;
	if (rx->is_tap)
		io_uring_prep_rw(OP_READ_MULTISHOT, sqe, 0, NULL, 0, 0);
	else
		io_uring_prep_recvmsg_multishot(sqe, 0, &rx->msg, 0);
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
	sqe->buf_group = 0;
	io_uring_sqe_set_data64(sqe, TAG_RECEIVE);
	/* Seen by the kernel or not, the entry is in the queue and goes with the next call. */
	rx->armed = true;
	n = io_uring_submit(&rx->ring);
	return n < 0 && n != -EINTR && n != -EAGAIN && n != -EBUSY ? n : 0;
}

/* PACKET_AUXDATA, the only control message that is asked for. */
static void apply_control(struct nbuf *b, const uint8_t *p, size_t len)
{
	struct tpacket_auxdata aux;
	struct cmsghdr c;

	if (len < CMSG_LEN(sizeof(aux)))
		return;
	memcpy(&c, p, sizeof(c));
	if (c.cmsg_level != SOL_PACKET || c.cmsg_type != PACKET_AUXDATA ||
	    c.cmsg_len < CMSG_LEN(sizeof(aux)))
		return;
	memcpy(&aux, p + CMSG_LEN(0), sizeof(aux));
	auxdata_to_nbuf(b, &aux);
}

/* The frame of n bytes in buffer id, at `at`: copied if it is small, else with the buffer. */
static struct nbuf *take_frame(struct fd_link *f, struct uring_rx *rx, unsigned id, size_t at,
			       size_t n)
{
	struct npool *pool = f->stack->pool;
	struct nmem *m = rx->buf[id], *fresh;
	struct nbuf *b;

	if (n <= FD_SMALL) {
		b = nbuf_alloc(pool, 2, n);
		if (b)
			memcpy(nbuf_append(b, n), m->bytes + at, n);
		return b;
	}
	fresh = nmem_alloc(pool, URING_BUFFER_SIZE);
	if (!fresh)
		return NULL;
	b = nbuf_from_nmem(m, at, n);
	if (b)
		rx->buf[id] = fresh;
	else
		nmem_put(fresh);
	return b;
}

/* Turns what was received into buffer id, res bytes, into a packet on out. */
static void take_buffer(struct fd_link *f, struct fd_queue *q, unsigned id, size_t res,
			struct nbuf_queue *out)
{
	struct uring_rx *rx = q->uring_rx;
	const uint8_t *p = rx->buf[id]->bytes + rx->skip;
	size_t at = frame_offset(f);
	struct io_uring_recvmsg_out head = {0};
	struct nbuf *b = NULL;

	if (!f->is_tap && res >= sizeof(head))
		memcpy(&head, p, sizeof(head));
	if (res > at && res <= URING_BUFFER_SIZE - rx->skip && res - at <= FD_LARGEST &&
	    !(head.flags & MSG_TRUNC) && head.controllen <= FD_CONTROL)
		b = take_frame(f, rx, id, rx->skip + at, res - at);
	if (!b) {
		fd_count_error(q->link, false);
		return;
	}
	if (f->vnet_hdr) {
		struct virtio_net_hdr v;

		memcpy(&v, p + at - FD_VNET_LEN, FD_VNET_LEN);
		vnet_to_nbuf(b, &v);
	}
	if (!f->is_tap)
		apply_control(b, p + sizeof(head), head.controllen);
	STAILQ_INSERT_TAIL(out, b, next);
}

int uring_receive(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out)
{
	struct uring_rx *rx = q->uring_rx;
	struct io_uring_cqe *cqe[URING_BUFFERS];
	int n = 0, given = 0, err = rx->armed ? 0 : post_receive(rx);
	unsigned got;

	if (err)
		return err;
	got = io_uring_peek_batch_cqe(&rx->ring, cqe, MIN(max, URING_BUFFERS));
	for (unsigned i = 0; i < got; i++) {
		unsigned flags = cqe[i]->flags, id = flags >> IORING_CQE_BUFFER_SHIFT;
		int res = cqe[i]->res;

		if (cqe[i]->user_data != TAG_RECEIVE)
			continue;
		if (!(flags & IORING_CQE_F_MORE))
			rx->armed = false;
		if (!(flags & IORING_CQE_F_BUFFER)) {
			/* No buffer left, thread gone, interrupted: post it again. */
			if (res < 0 && res != -ENOBUFS && res != -ECANCELED)
				err = res;
			continue;
		}
		if (id >= URING_BUFFERS)
			continue;
		if (res > 0) {
			take_buffer(f, q, id, res, out);
			n++;
		}
		give_buffer(rx, id, given++);
	}
	io_uring_buf_ring_advance(rx->buffers, given);
	io_uring_cq_advance(&rx->ring, got);
	if (!rx->armed) {
		int e = post_receive(rx);

		err = err ? err : e;
	}
	return n ? n : err;
}

int uring_wait_fd(struct fd_queue *q)
{
	return ((struct uring_rx *)q->uring_rx)->wait_fd;
}

/* ------------------------------------------------------------------------------ transmit */

static void prepare_send(struct fd_link *f, struct fd_queue *q, unsigned i)
{
	struct uring_tx *tx = q->uring_tx;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&tx->ring);
	int n = fd_tx_iov(f, q, i, tx->iov[i]);

	BUG_ON(!sqe); /* every call empties the queue, or is the last one */
	if (f->is_tap) {
		io_uring_prep_writev2(sqe, 0, tx->iov[i], n, 0, tx->rw_flags);
	} else {
		tx->msg[i] = (struct msghdr){.msg_iov = tx->iov[i], .msg_iovlen = n};
		io_uring_prep_sendmsg(sqe, 0, &tx->msg[i], MSG_DONTWAIT);
	}
	sqe->flags = IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, i);
}

/* Submits n requests and waits for them. False: the kernel refused to look at them. */
static bool submit_all(struct uring_tx *tx, unsigned n)
{
	struct io_uring_cqe *cqe[FD_TX_SUBMIT];
	unsigned seen = 0;

	while (seen < n) {
		int r = io_uring_submit_and_wait(&tx->ring, n - seen);
		unsigned got = io_uring_peek_batch_cqe(&tx->ring, cqe, FD_TX_SUBMIT);

		for (unsigned i = 0; i < got; i++)
			if (cqe[i]->user_data < n)
				tx->result[cqe[i]->user_data] = cqe[i]->res;
		io_uring_cq_advance(&tx->ring, got);
		seen += got;
		if (r < 0 && r != -EINTR && !seen && io_uring_sq_ready(&tx->ring) == n)
			return false;
	}
	return true;
}

bool uring_send(struct fd_link *f, struct fd_queue *q)
{
	unsigned n = MIN(q->ntx, (unsigned)FD_TX_SUBMIT), kept = 0;
	struct uring_tx *tx = q->uring_tx;
	bool again = false;

	if (tx->broken)
		return mmsg_send(f, q);
	for (unsigned i = 0; i < n; i++)
		prepare_send(f, q, i);
	if (!submit_all(tx, n)) {
		tx->broken = true;
		log_warn_once("netstack: io_uring_enter refused, sending without");
		return true;
	}
	for (unsigned i = 0; i < n; i++) {
		int r = tx->result[i];

		if (r == -EOPNOTSUPP && tx->rw_flags) {
			/* TAP before 6.4; it does not make writers wait in practice. */
			tx->rw_flags = 0;
			again = true;
			r = -EAGAIN;
		}
		if (r == -EAGAIN || r == -EINTR) {
			q->tx[kept++] = q->tx[i];
			continue;
		}
		if (r < 0)
			fd_count_error(q->link, true);
		nbuf_put(q->tx[i]);
	}
	memmove(q->tx + kept, q->tx + n, (q->ntx - n) * sizeof(q->tx[0]));
	q->ntx -= n - kept;
	return again || !kept;
}

/* ------------------------------------------------------------------------------ end */

/* Ends the posted request. False when the kernel did not say that it has ended. */
static bool cancel_receive(struct uring_rx *rx)
{
	struct io_uring_sqe *sqe;

	for (int tries = 0; rx->armed && tries < CANCEL_TRIES; tries++) {
		struct __kernel_timespec second = {.tv_sec = 1};
		struct io_uring_cqe *cqe;
		int err;

		sqe = io_uring_get_sqe(&rx->ring);
		if (sqe) {
			io_uring_prep_cancel64(sqe, TAG_RECEIVE, 0);
			sqe->flags = IOSQE_FIXED_FILE;
			io_uring_sqe_set_data64(sqe, TAG_CANCEL);
			(void)io_uring_submit(&rx->ring);
		}
		do {
			err = io_uring_wait_cqe_timeout(&rx->ring, &cqe, &second);
			if (err)
				break;
			if (cqe->user_data == TAG_RECEIVE && !(cqe->flags & IORING_CQE_F_MORE))
				rx->armed = false;
			io_uring_cqe_seen(&rx->ring, cqe);
		} while (rx->armed);
	}
	return !rx->armed;
}

void uring_stop(struct fd_link *f, struct fd_queue *q)
{
	struct uring_rx *rx = q->uring_rx;
	struct uring_tx *tx = q->uring_tx;
	int fd;

	/*
	 * Letting go of the file now and not when the kernel gets round to taking the ring down,
	 * which is some time after it has been closed. A seccomp filter may be against it.
	 */
	if (tx) {
		(void)io_uring_unregister_files(&tx->ring);
		io_uring_queue_exit(&tx->ring);
	}
	net_free(f->stack, tx);
	q->uring_tx = NULL;
	if (!rx)
		return;
	if (!cancel_receive(rx)) {
		log_error("netstack: the kernel keeps a receive request, its buffers leak");
		q->uring_rx = NULL;
		return;
	}
	(void)io_uring_unregister_files(&rx->ring);
	/*
	 * Somebody may be waiting on the ring's fd, or about to, so the number stays taken until
	 * the link goes, by an fd that is always readable. Without one the ring itself stays.
	 */
	fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return;
	if (dup3(fd, rx->wait_fd, O_CLOEXEC) < 0) {
		close(fd);
		return;
	}
	rx->ring.ring_fd = fd;
	io_uring_queue_exit(&rx->ring); /* closes fd */
	rx->closed = true;
}

void uring_close(struct fd_link *f, struct fd_queue *q)
{
	struct uring_rx *rx = q->uring_rx;

	if (!q->gone)
		uring_stop(f, q);
	if (!rx || !q->uring_rx)
		return;
	if (rx->closed)
		close(rx->wait_fd);
	else
		io_uring_queue_exit(&rx->ring);
	free_rx(f, rx);
	q->uring_rx = NULL;
}
