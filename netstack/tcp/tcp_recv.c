/*
 * The receive queue: data in order, urgent data (RFC 6093), when to acknowledge (RFC 1122
 * §4.2.3.2, RFC 5681 §4.2), buffer autotuning. Data out of order is in tcp_ooo.c.
 */
#include "netstack/tcp/tcp_internal.h"

#define COALESCE_MAX 1024 /* bytes worth copying to save a buffer */
#define QUICKACKS 16
#define TCP_MIN_RCV_MSS 88u /* shorter segments say nothing about the segment size */

uint32_t tcp_receive_space(const struct tcp_ep *tp)
{
	uint32_t used = tp->ep.rmem;

	if (used >= tp->ep.rcvbuf)
		return 0;
	return (uint64_t)(tp->ep.rcvbuf - used) * tp->win_ratio >> 8;
}

void tcp_rx_purge(struct tcp_ep *tp)
{
	nbuf_queue_purge(&tp->ep.rxq);
	tcp_ooo_purge(tp);
	tp->ep.rmem = 0;
}

/* ------------------------------------------------------------------------------ memory */

void tcp_rx_charge(struct tcp_ep *tp, struct nbuf *b)
{
	uint32_t len = b->len ? b->len : 1;
	uint32_t ratio;

	b->truesize = nbuf_truesize(b);
	tp->ep.rmem += b->truesize;
	/* What a byte of payload costs decides how large a window the buffer is worth. */
	ratio = MIN((uint64_t)len * 256 / b->truesize, (uint64_t)230);
	if (len >= tp->rcv_mss / 2 && tp->rcv_mss) {
		if (ratio < tp->win_ratio)
			tp->win_ratio = MAX(ratio, 16u);
		else
			tp->win_ratio += (ratio - tp->win_ratio) / 8;
	}
}

/* Gives up out-of-order data to make room: Linux's tcp_prune_ofo_queue. */
static void prune_ooo(struct tcp_ep *tp)
{
	if (RB_EMPTY(&tp->ooo))
		return;
	tcp_ooo_purge(tp);
	net_count(tcp_stack(tp), NET_TcpExt_TCPOFODrop);
}

bool tcp_rx_room(struct tcp_ep *tp, const struct nbuf *b, bool in_order)
{
	uint32_t size = nbuf_truesize(b);

	if (tp->ep.rmem + size <= tp->ep.rcvbuf && npool_pressure(tcp_stack(tp)->pool) < 2)
		return true;
	if (!in_order)
		return false;
	prune_ooo(tp);
	/*
	 * What lies in the window that we have offered is taken, even if it costs more memory than
	 * was thought; one packet always, or a small buffer could never move.
	 */
	return STAILQ_EMPTY(&tp->ep.rxq) ||
	       (tp->ep.rmem + size <= 2 * tp->ep.rcvbuf && npool_pressure(tcp_stack(tp)->pool) < 2);
}

/* A short packet goes into the free end of the one before it. */
static bool coalesce(struct tcp_ep *tp, struct nbuf *b)
{
	struct nbuf *last = STAILQ_LAST(&tp->ep.rxq, nbuf, next);

	if (!last || b->len > COALESCE_MAX || nbuf_tailroom(last) < b->len ||
	    refcount_read(&last->refs) > 1 || (last->mem && refcount_read(&last->mem->refs) > 1))
		return false;
	nbuf_read(b, 0, nbuf_append(last, b->len), b->len);
	last->end_seq = b->end_seq;
	return true;
}

void tcp_rx_in_order(struct tcp_ep *tp, struct nbuf *b)
{
	tp->rcv_nxt = b->end_seq;
	tp->bytes_received += b->len;
	if (!b->len) {
		nbuf_put(b);
		return;
	}
	if (coalesce(tp, b)) {
		nbuf_put(b);
		return;
	}
	nbuf_set_link(b, NULL);
	tcp_rx_charge(tp, b);
	STAILQ_INSERT_TAIL(&tp->ep.rxq, b, next);
}

/* ------------------------------------------------------------------------------ arrival */

static void quickack_mode(struct tcp_ep *tp, unsigned max)
{
	uint32_t n = tp->rcv_mss ? tp->rcv_wnd / (2 * tp->rcv_mss) : 2;

	n = MAX(n, 2u);
	n = MIN(n, max);
	if (tp->quickack < n)
		tp->quickack = n;
}

/*
 * What is a full segment from this peer? The largest seen, or a smaller size that came twice in a
 * row: the peer's window, buffer or writes may be what limits it (a path with a large MTU). And
 * does this segment end something that the peer wrote? Then it may be waiting for our ACK.
 */
static void measure_mss(struct tcp_ep *tp, const struct nbuf *b, const struct tcp_header *h)
{
	uint8_t flags = h->flags & (TF_PSH | TF_FIN | TF_URG | TF_SYN);
	uint32_t len = h->end_seq - h->seq - !!(flags & TF_FIN) - !!(flags & TF_SYN);

	if (b->gso_size && b->gso_size < len)
		len = b->gso_size;
	if (len >= tp->rcv_mss) {
		tp->rcv_mss = len;
		if (flags & TF_PSH)
			tp->rcv_pushed |= 1;
		return;
	}
	if (len >= (flags ? TCP_DEFAULT_MSS : TCP_MIN_RCV_MSS)) {
		uint32_t last = tp->last_seg_size;

		tp->last_seg_size = len;
		if (len == last) {
			tp->rcv_mss = len;
			return;
		}
	}
	tp->rcv_pushed = MIN(tp->rcv_pushed + 1, 2);
}

static void measure(struct tcp_ep *tp, const struct nbuf *b, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s);

	measure_mss(tp, b, h);
	if (!tp->bytes_received || now - tp->last_data_rcv > tp->rto)
		quickack_mode(tp, QUICKACKS);
	tp->last_data_rcv = now;
	/* Time for a window's worth of data: an upper bound of the round trip. */
	if (!tp->rcv_rtt_time || seq_le(tp->rcv_rtt_seq, tp->rcv_nxt)) {
		if (tp->rcv_rtt_time) {
			int64_t m = MAX(now - tp->rcv_rtt_time, NSEC_PER_USEC);

			tp->rcv_rtt = tp->rcv_rtt ? MIN(tp->rcv_rtt + tp->rcv_rtt / 8, m) : m;
		}
		tp->rcv_rtt_seq = tp->rcv_nxt + tp->rcv_wnd;
		tp->rcv_rtt_time = now;
	}
}

void tcp_deferred_ack(struct net_ep *ep)
{
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock);

	if (!tp->ack_deferred)
		return;
	tp->ack_deferred = false;
	if (tp->last_ack_sent != tp->rcv_nxt)
		tcp_send_ack(tp);
}

/* In-order data of one batch of input is acknowledged once, but not more than this at a time. */
static bool may_defer(const struct tcp_ep *tp)
{
	return tp->rcv_nxt - tp->last_ack_sent <= MAX(tp->rcv_wnd / 4, 2 * tp->rcv_mss);
}

void tcp_ack_received_data(struct tcp_ep *tp, bool out_of_order)
{
	bool quick = tp->quickack && !tp->pingpong;
	int64_t now = net_now(tcp_stack(tp));

	if (out_of_order || tp->dsack[0] != tp->dsack[1] || tp->fin_received) {
		tcp_send_ack(tp);
	} else if (tp->rcv_nxt - tp->last_ack_sent > tp->rcv_mss || quick ||
		   tp->unacked_segs >= 2) {
		if (!may_defer(tp)) {
			tcp_send_ack(tp);
		} else if (!tp->ack_deferred) {
			tp->ack_deferred = true;
			net_defer_ack(&tp->ep);
		}
	} else if (tp->deadline[TT_DELACK] == INT64_MAX) {
		int64_t ato = tp->srtt && tp->srtt < TCP_DELACK_MAX ? MAX(tp->srtt, TCP_DELACK_MIN)
								    : TCP_DELACK_MIN;

		tcp_timer_set(tp, TT_DELACK, now + ato);
	}
}

static void deliver(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h, bool fin)
{
	struct netstack *s = tcp_stack(tp);
	bool had_ooo = !RB_EMPTY(&tp->ooo);

	if (b->len && !tcp_rx_room(tp, b, true)) {
		net_count(s, NET_TcpExt_TCPRcvQDrop);
		tp->quickack = MAX(tp->quickack, (uint8_t)1);
		tcp_timer_set(tp, TT_DELACK, net_now(s) + TCP_DELACK_MIN);
		nbuf_put(b);
		return;
	}
	if (b->len) {
		tp->unacked_segs += b->gso_size ? 2 : b->len >= tp->rcv_mss;
		measure(tp, b, h);
	}
	tcp_rx_in_order(tp, b);
	if (had_ooo)
		fin |= tcp_ooo_drain(tp);
	if (had_ooo && RB_EMPTY(&tp->ooo))
		quickack_mode(tp, 2); /* the hole is filled: tell at once, RFC 5681 §4.2 */
	if (fin)
		tcp_fin_in_order(tp);
	net_defer_ready(&tp->ep, EPOLLIN | EPOLLRDNORM | (fin ? EPOLLRDHUP : 0));
	tcp_ack_received_data(tp, had_ooo);
}

void tcp_data_queue(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h)
{
	bool fin = h->flags & TF_FIN;
	uint32_t right = tp->rcv_nxt + tcp_receive_window(tp);

	tp->data_segs_in++;
	b->seq = h->seq;
	b->end_seq = h->seq + b->len;
	b->tcp_flags = fin ? TF_FIN : 0;
	if (seq_le(h->end_seq, tp->rcv_nxt)) { /* nothing new */
		tcp_set_dsack(tp, h->seq, h->end_seq);
		quickack_mode(tp, QUICKACKS);
		tp->pingpong = 0;
		nbuf_put(b);
		tcp_ack_received_data(tp, true);
		return;
	}
	if (seq_lt(b->seq, tp->rcv_nxt)) {
		uint32_t dup = MIN(tp->rcv_nxt - b->seq, (uint32_t)b->len);

		tcp_set_dsack(tp, b->seq, tp->rcv_nxt);
		nbuf_pull(b, dup);
		b->seq += dup;
	}
	if (seq_lt(right, b->end_seq)) {
		/* Beyond the window: the part inside is taken, a FIN behind it is not. */
		if (seq_le(right, b->seq)) {
			net_count(tcp_stack(tp), NET_TcpExt_TCPZeroWindowDrop);
			nbuf_put(b);
			tcp_ack_received_data(tp, true);
			return;
		}
		nbuf_trim(b, right - b->seq);
		b->end_seq = right;
		b->tcp_flags = 0;
		fin = false;
	}
	if (b->seq == tp->rcv_nxt) {
		deliver(tp, b, h, fin);
	} else {
		quickack_mode(tp, QUICKACKS);
		tp->pingpong = 0;
		tcp_ooo_queue(tp, b);
		tcp_send_ack(tp); /* RFC 5681 §4.2: a duplicate ACK for each */
	}
}

/* ------------------------------------------------------------------------------ urgent data */

void tcp_urgent(struct tcp_ep *tp, const struct tcp_header *h)
{
	uint32_t up = h->seq + h->urg; /* one past the urgent byte, as Linux and RFC 6093 have it */

	if (!h->urg || seq_le(up, tp->rcv_up) || seq_le(up, tp->copied_seq))
		return;
	tp->rcv_up = up;
	tp->urg_valid = true;
	tp->urg_read = false;
	net_defer_ready(&tp->ep, EPOLLPRI);
}

/* Finds the byte with this sequence number in the receive queue. */
static bool byte_at(struct tcp_ep *tp, uint32_t seq, uint8_t *out)
{
	struct nbuf *b;

	STAILQ_FOREACH(b, &tp->ep.rxq, next)
	if (seq_le(b->seq, seq) && seq_lt(seq, b->end_seq)) {
		nbuf_read(b, seq - b->seq, out, 1);
		return true;
	}
	return false;
}

static ssize_t recv_oob(struct tcp_ep *tp, struct net_msg *m, int flags)
{
	uint8_t c;

	if (tp->ep.opt.oobinline || !tp->urg_valid || tp->urg_read)
		return -EINVAL;
	if (tp->state == TCP_CLOSE)
		return -ENOTCONN;
	if (!byte_at(tp, tp->rcv_up - 1, &c))
		return -EAGAIN;
	if (!(flags & MSG_PEEK))
		tp->urg_read = true;
	m->flags |= MSG_OOB;
	if (m->iovcnt && m->iov[0].iov_len)
		*(uint8_t *)m->iov[0].iov_base = c;
	else
		m->flags |= MSG_TRUNC;
	return 1;
}

/* ------------------------------------------------------------------------------ reading */

/* Nothing is queued: what does the reader get? */
static int empty_result(struct tcp_ep *tp)
{
	int err = ep_take_error(&tp->ep);

	if (err)
		return err;
	if ((tp->ep.shut & 1) || tp->fin_received)
		return 0;
	if (tp->state == TCP_CLOSE)
		return tp->established_at ? 0 : -ENOTCONN;
	return tp->state == TCP_LISTEN ? -ENOTCONN : -EAGAIN;
}

/* Dynamic right-sizing: twice what was read in a round trip must fit. */
static void adjust_buffer(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s), rtt = tp->rcv_rtt;
	uint64_t want, copied = tp->copied_seq - tp->space_seq;

	if (tp->srtt && tp->srtt < rtt)
		rtt = tp->srtt;
	if (tp->space_time && (!rtt || now - tp->space_time < rtt))
		return;
	if (tp->space_time && copied > tp->space_copied) {
		if (s->sysctl.tcp_moderate_rcvbuf && !tp->ep.opt.rcvbuf_locked &&
		    !npool_pressure(s->pool)) {
			want = (2 * copied + 16ull * tp->rcv_mss) * 2 * 256 / tp->win_ratio;
			want = MIN(want, (uint64_t)s->sysctl.tcp_rmem[2]);
			if (want > tp->ep.rcvbuf)
				tp->ep.rcvbuf = want;
		}
		tp->space_copied = copied;
	}
	tp->space_seq = tp->copied_seq;
	tp->space_time = now;
}

/*
 * The reader has made room: tell the peer if that is news, or if it may be waiting for the ACK
 * (Linux: __tcp_cleanup_rbuf). Lock held.
 */
static void after_read(struct tcp_ep *tp)
{
	uint32_t now_wnd = tcp_receive_window(tp), space = tcp_receive_space(tp);
	bool drained;

	adjust_buffer(tp);
	if (tp->state == TCP_CLOSE || tp->state == TCP_TIME_WAIT || tp->fin_received)
		return;
	/* All has been read, and the peer may wait for that: an answer is not to be expected soon.
	 */
	drained = !tp->ep.rmem && (tp->rcv_pushed > 1 || (tp->rcv_pushed && !tp->pingpong));
	if (tp->deadline[TT_DELACK] != INT64_MAX &&
	    (drained || tp->rcv_nxt - tp->last_ack_sent > tp->rcv_mss)) {
		tcp_send_ack(tp);
		return;
	}
	/* RFC 9293 §3.8.6.2.2, and not more often than each time the window doubles. */
	if (space >= 2 * now_wnd && space >= MIN(tp->rcv_mss, tp->ep.rcvbuf / 2) && space)
		tcp_send_ack(tp);
}

/* How far reading may go: up to the urgent byte, of which it is told to skip it if it is not
 * inline. Reading that begins at an inline one goes on. */
static uint32_t read_limit(struct tcp_ep *tp, uint32_t want, bool *skip_urgent)
{
	uint32_t to_mark;

	*skip_urgent = false;
	if (!tp->urg_valid)
		return want;
	if (seq_le(tp->rcv_up, tp->copied_seq)) {
		tp->urg_valid = false;
		return want;
	}
	to_mark = tp->rcv_up - 1 - tp->copied_seq;
	if (to_mark == 0) {
		if (tp->ep.opt.oobinline)
			return want;
		*skip_urgent = seq_lt(tp->copied_seq, tp->rcv_nxt);
		return 0;
	}
	return MIN(want, to_mark);
}

static void consume(struct tcp_ep *tp, uint32_t n)
{
	struct nbuf *b;

	tp->copied_seq += n;
	while (n && (b = STAILQ_FIRST(&tp->ep.rxq))) {
		if (n < b->len) {
			nbuf_pull(b, n);
			b->seq += n;
			return;
		}
		n -= b->len;
		STAILQ_REMOVE_HEAD(&tp->ep.rxq, next);
		tp->ep.rmem -= b->truesize;
		nbuf_put(b);
	}
}

/* Copies without consuming, from `off` bytes into the queue. Lock held. */
static size_t peek(struct tcp_ep *tp, struct net_msg *m, size_t want, size_t off)
{
	struct nbuf *b;
	size_t n = 0;

	STAILQ_FOREACH(b, &tp->ep.rxq, next)
	{
		size_t k = b->len > off ? MIN(want - n, (size_t)b->len - off) : 0;

		if (n == want)
			break;
		if (k)
			n += nbuf_to_iov(b, off, m->iov, m->iovcnt, n, k);
		off -= MIN(off, (size_t)b->len);
	}
	return n;
}

/* Takes packets with up to `want` bytes off the queue, copies them with the lock dropped. */
static size_t take(struct tcp_ep *tp, struct net_msg *m, size_t want, size_t at)
{
	struct nbuf_queue list = STAILQ_HEAD_INITIALIZER(list);
	struct nbuf *b;
	size_t have = 0, n = 0;
	uint32_t freed = 0;

	while (have < want && (b = STAILQ_FIRST(&tp->ep.rxq))) {
		STAILQ_REMOVE_HEAD(&tp->ep.rxq, next);
		STAILQ_INSERT_TAIL(&list, b, next);
		have += b->len;
	}
	want = MIN(want, have);
	tp->copied_seq += want;
	if (want > COALESCE_MAX)
		mutex_unlock(&tp->ep.lock);
	STAILQ_FOREACH(b, &list, next)
	n += nbuf_to_iov(b, 0, m->iov, m->iovcnt, at + n, MIN(want - n, (size_t)b->len));
	if (want > COALESCE_MAX)
		mutex_lock(&tp->ep.lock);
	while ((b = STAILQ_FIRST(&list))) {
		STAILQ_REMOVE_HEAD(&list, next);
		if (want < b->len) {
			nbuf_pull(b, want);
			b->seq += want;
			STAILQ_INSERT_HEAD(&tp->ep.rxq, b, next);
			break;
		}
		want -= b->len;
		freed += b->truesize;
		nbuf_put(b);
	}
	tp->ep.rmem -= MIN(freed, tp->ep.rmem);
	return n;
}

static ssize_t read_stream(struct tcp_ep *tp, struct net_msg *m, int flags)
{
	ssize_t want = 0, n = 0;
	bool skip;

	for (size_t i = 0; i < m->iovcnt; i++)
		want += MIN(m->iov[i].iov_len, (size_t)0x7ffff000);
	want = MIN(want, (ssize_t)0x7ffff000);
	if (flags & MSG_PEEK) {
		uint32_t k = read_limit(tp, want, &skip);

		return skip ? peek(tp, m, want, 1) : peek(tp, m, k, 0);
	}
	while (n < want) {
		uint32_t k = read_limit(tp, want - n, &skip);

		if (skip) {
			if (n)
				break;
			consume(tp, 1); /* the urgent byte is not part of the stream */
			tp->urg_valid = false;
			continue;
		}
		k = MIN(k, tp->rcv_nxt - tp->copied_seq);
		if (!k || STAILQ_EMPTY(&tp->ep.rxq))
			break;
		if (flags & MSG_TRUNC) {
			struct nbuf *b = STAILQ_FIRST(&tp->ep.rxq);

			k = MIN(k, (uint32_t)b->len);
			consume(tp, k);
			n += k;
		} else {
			n += take(tp, m, k, n);
		}
		if (tp->urg_valid && seq_lt(tp->copied_seq, tp->rcv_up))
			break; /* at the mark, or all that there is */
		tp->urg_valid = false;
	}
	return n;
}

/* TCP_INQ: how much there is still to read; the end of the stream counts as one. */
static void put_inq(struct tcp_ep *tp, struct net_msg *m, size_t room)
{
	int inq = (int)(tp->rcv_nxt - tp->copied_seq);
	struct cmsghdr h = {CMSG_LEN(sizeof(inq)), IPPROTO_TCP, TCP_CM_INQ};
	char *at = m->control;

	if (!at || room < CMSG_LEN(sizeof(inq))) {
		m->flags |= MSG_CTRUNC;
		return;
	}
	memset(at, 0, MIN(room, CMSG_SPACE(sizeof(inq))));
	memcpy(at, &h, sizeof(h));
	memcpy(at + CMSG_LEN(0), &inq, sizeof(inq));
	m->controllen = MIN(room, CMSG_SPACE(sizeof(inq)));
}

ssize_t tcp_recvmsg(struct net_ep *ep, struct net_msg *m, int flags)
{
	struct tcp_ep *tp = tcp(ep);
	size_t want = 0, room = m->controllen;
	ssize_t n;

	m->flags = 0;
	if (flags & MSG_ERRQUEUE) {
		m->controllen = 0;
		return -EAGAIN;
	}
	MUTEX_GUARD(&ep->rd_lock);
	MUTEX_GUARD(&ep->lock);
	m->controllen = 0;
	if (m->name)
		m->namelen = 0;
	if (flags & MSG_OOB)
		return recv_oob(tp, m, flags);
	for (size_t i = 0; i < m->iovcnt; i++)
		want += m->iov[i].iov_len;
	n = read_stream(tp, m, flags);
	if (n > 0 && !(flags & MSG_PEEK))
		after_read(tp);
	if (n == 0 && want)
		n = empty_result(tp);
	if (n >= 0 && tp->recv_inq)
		put_inq(tp, m, room);
	return n;
}

ssize_t tcp_recv_nbuf(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
		      struct sockaddr *from, socklen_t *fromlen)
{
	struct tcp_ep *tp = tcp(ep);
	struct nbuf *b, *c;
	uint32_t k;
	bool skip;
	MUTEX_GUARD(&ep->rd_lock);
	MUTEX_GUARD(&ep->lock);

	*out = NULL;
	k = read_limit(tp, MIN(max, (size_t)0x7fffffff), &skip);
	if (skip) {
		consume(tp, 1);
		tp->urg_valid = false;
		k = max;
	}
	b = STAILQ_FIRST(&ep->rxq);
	if (!b || !k)
		return empty_result(tp);
	c = nbuf_clone(b);
	if (!c)
		return -ENOBUFS;
	nbuf_trim(c, k);
	k = c->len;
	if (!(flags & MSG_PEEK)) {
		consume(tp, k);
		after_read(tp);
	}
	*out = c;
	return k;
}
