/*
 * Sending segments: RFC 9293 §3.8, Nagle with Minshall's change (RFC 896), sender's silly window
 * avoidance (RFC 1122 §4.2.3.4), retransmission, ECN marking (RFC 3168 §6.1).
 */
#include "netstack/tcp/tcp_internal.h"

static int seg_cmp(const struct tcp_seg *a, const struct tcp_seg *b)
{
	return a->seq == b->seq ? 0 : seq_lt(a->seq, b->seq) ? -1 : 1;
}
RB_GENERATE(tcp_seg_tree, tcp_seg, node, seg_cmp)

/* ------------------------------------------------------------------------------ segment size */

/* Largest payload that the path takes, without options. */
uint32_t tcp_path_mss(struct tcp_ep *tp)
{
	struct net_path *p;
	uint32_t hdrs = (addr_is4(&tp->ep.raddr) ? 20 : 40) + 20, mtu;
	uint8_t disc = addr_is4(&tp->ep.raddr) ? tp->ep.opt.pmtudisc : tp->ep.opt.pmtudisc6;

	if (ep_path(&tp->ep, &tp->ep.raddr, &p) < 0)
		return tp->mss ? tp->mss + 12 : TCP_DEFAULT_MSS;
	mtu = disc >= IP_PMTUDISC_PROBE ? p->link_mtu : p->mtu;
	return mtu > hdrs + TCP_MIN_MSS ? mtu - hdrs : TCP_MIN_MSS;
}

uint32_t tcp_current_mss(struct tcp_ep *tp)
{
	uint32_t mss = tcp_path_mss(tp);
	uint32_t min = tcp_stack(tp)->sysctl.tcp_min_snd_mss;

	if (tp->peer_mss && tp->peer_mss < mss)
		mss = tp->peer_mss;
	if (tp->user_mss && tp->user_mss < mss)
		mss = tp->user_mss;
	mss = MAX(mss, min);
	tp->mss = mss - (tp->ts_ok ? 12 : 0);
	return tp->mss;
}

/* ------------------------------------------------------------------------------ segments sent */

static void seg_count(struct tcp_ep *tp, const struct tcp_seg *g, int sign)
{
	uint32_t len = (g->end - g->seq) * sign;

	if (g->flags & SEG_SACKED)
		tp->sacked += len;
	if (g->flags & SEG_LOST)
		tp->lost += len;
	if (g->flags & SEG_RETRANS)
		tp->retrans += len;
}

void tcp_seg_unlink(struct tcp_ep *tp, struct tcp_seg *g)
{
	seg_count(tp, g, -1);
	RB_REMOVE(tcp_seg_tree, &tp->segs, g);
	TAILQ_REMOVE(&tp->by_time, g, sent);
	tp->nsegs--;
	net_free(tcp_stack(tp), g);
}

void tcp_segs_free(struct tcp_ep *tp)
{
	struct tcp_seg *g;

	while ((g = RB_MIN(tcp_seg_tree, &tp->segs)))
		tcp_seg_unlink(tp, g);
	tp->sacked = tp->lost = tp->retrans = 0;
}

static struct tcp_chunk *chunk_at(struct tcp_chunk *c, uint32_t seq)
{
	while (c && seq_le(c->seq + c->len, seq))
		c = TAILQ_NEXT(c, next);
	return c;
}

struct tcp_seg *tcp_seg_split(struct tcp_ep *tp, struct tcp_seg *g, uint32_t at)
{
	struct tcp_seg *n;

	if (!seq_lt(g->seq, at) || !seq_lt(at, g->end))
		return NULL;
	n = net_alloc(tcp_stack(tp), sizeof(*n));
	if (!n)
		return NULL;
	*n = *g;
	n->seq = at;
	n->chunk = chunk_at(g->chunk, at);
	n->flags &= ~SEG_SYN;
	g->end = at;
	g->flags &= ~SEG_FIN;
	RB_INSERT(tcp_seg_tree, &tp->segs, n);
	TAILQ_INSERT_AFTER(&tp->by_time, g, n, sent);
	tp->nsegs++;
	return n;
}

static struct tcp_seg *seg_new(struct tcp_ep *tp, uint32_t seq, uint32_t end, uint8_t flags,
			       struct tcp_chunk *c)
{
	struct tcp_seg *g = net_alloc(tcp_stack(tp), sizeof(*g));

	if (!g)
		return NULL;
	g->seq = seq;
	g->end = end;
	g->flags = flags;
	g->chunk = c;
	g->xmit = net_now(tcp_stack(tp));
	RB_INSERT(tcp_seg_tree, &tp->segs, g);
	TAILQ_INSERT_TAIL(&tp->by_time, g, sent);
	tp->nsegs++;
	return g;
}

/* ------------------------------------------------------------------------------ window */

uint16_t tcp_select_window(struct tcp_ep *tp)
{
	uint32_t cur = tcp_receive_window(tp), space = tcp_receive_space(tp);
	uint32_t full = (uint64_t)tp->ep.rcvbuf * tp->win_ratio >> 8;
	uint32_t mss = MIN(tp->rcv_mss, full), wnd;
	uint32_t max = tp->wscale_ok ? 0xffffu << tp->rcv_wscale : 0xffff;

	space = MIN(space, tp->window_clamp);
	if (space < full / 2 && (space < full >> 4 || space < mss))
		space = 0;
	if (tp->wscale_ok)
		wnd = ROUND_UP(space, 1u << tp->rcv_wscale);
	else
		wnd = mss && space > mss ? space / mss * mss : space;
	wnd = MIN(wnd, max);
	/* Never take back what was offered: RFC 9293 §3.8.6. */
	if (wnd < cur)
		wnd = MIN(ROUND_UP(cur, tp->wscale_ok ? 1u << tp->rcv_wscale : 1u), max);
	tp->rcv_wnd = wnd;
	tp->rcv_wup = tp->rcv_nxt;
	return MIN(wnd >> (tp->wscale_ok ? tp->rcv_wscale : 0), 65535u);
}

/* ------------------------------------------------------------------------------ transmission */

static struct tuple tuple_of(const struct tcp_ep *tp)
{
	return (struct tuple){tp->ep.laddr, tp->ep.raddr, tp->ep.lport, tp->ep.rport};
}

static void fill_options(struct tcp_ep *tp, struct tcp_options *o, uint8_t flags)
{
	struct netstack *s = tcp_stack(tp);

	memset(o, 0, sizeof(*o));
	o->wscale = -1;
	if (flags & TF_SYN) {
		o->mss = MIN(MAX(tp->user_mss && tp->user_mss < tcp_path_mss(tp) ? tp->user_mss
										 : tcp_path_mss(tp),
				 64u),
			     65535u);
		o->sack_ok = tp->sack_ok;
		o->wscale = tp->wscale_ok ? tp->rcv_wscale : -1;
	}
	if (tp->ts_ok && !(flags & TF_RST && !(flags & TF_ACK))) {
		o->has_ts = true;
		o->tsval = tcp_ts_now(s) + tp->ts_offset;
		o->tsecr = tp->ts_recent;
	}
	if (!(flags & TF_SYN) && (flags & TF_ACK) && tp->sack_ok)
		tcp_fill_sack(tp, o, o->has_ts ? 3 : 4);
}

/* Our ACK goes out with this segment. */
static void ack_was_sent(struct tcp_ep *tp)
{
	tp->last_ack_sent = tp->rcv_nxt;
	tp->unacked_segs = 0;
	tp->rcv_pushed = 0;
	tcp_timer_clear(tp, TT_DELACK);
	if (tp->quickack)
		tp->quickack--;
}

static uint8_t ecn_flags(struct tcp_ep *tp, uint8_t *tos, bool new_data)
{
	uint8_t flags = 0;

	if (!tp->ecn_ok)
		return 0;
	if (new_data) {
		*tos |= 2; /* ECT(0) */
		if (tp->cwr_pending) {
			flags |= TF_CWR;
			tp->cwr_pending = false;
		}
	}
	if (tp->ece_pending)
		flags |= TF_ECE;
	return flags;
}

/* Sends b with the connection's state in its header. */
static int send_segment(struct tcp_ep *tp, struct nbuf *b, uint32_t seq, uint8_t flags,
			bool new_data)
{
	struct netstack *s = tcp_stack(tp);
	const struct ep_options *eo = &tp->ep.opt;
	struct tuple t = tuple_of(tp);
	struct tcp_options o;
	struct net_path *p;
	uint16_t wnd, urg = 0;
	uint8_t tos;
	bool v4 = addr_is4(&tp->ep.raddr);
	uint32_t payload = b->len;
	int err = ep_path(&tp->ep, &tp->ep.raddr, &p);

	if (err) {
		nbuf_put(b);
		return err;
	}
	tos = v4 ? eo->tos : eo->tclass;
	fill_options(tp, &o, flags);
	if (flags & TF_SYN) {
		wnd = MIN(tp->rcv_wnd, 65535u);
	} else {
		flags |= ecn_flags(tp, &tos, new_data);
		wnd = flags & TF_RST ? 0 : tcp_select_window(tp);
	}
	if (seq_lt(tp->snd_una, tp->snd_up) && seq_lt(seq, tp->snd_up) &&
	    !(flags & (TF_SYN | TF_RST))) {
		uint32_t off = tp->snd_up - seq;

		flags |= TF_URG;
		urg = MIN(off, 65535u);
	}
	if (flags & TF_ACK)
		ack_was_sent(tp);
	tp->segs_out++;
	tp->last_snd = net_now(s);
	if (payload) {
		tp->data_segs_out += (payload + tp->mss - 1) / tp->mss;
		/* An answer: ACKs can wait for the next one. */
		if (tp->bytes_received && tp->last_snd - tp->last_data_rcv < TCP_DELACK_MIN)
			tp->pingpong = 1;
	}
	return tcp_transmit(s, p, b, &t, seq, tp->rcv_nxt, flags, wnd, urg, &o, tos,
			    v4 ? eo->ttl : eo->hops,
			    (v4 ? eo->pmtudisc : eo->pmtudisc6) != IP_PMTUDISC_DONT,
			    payload > tp->mss ? tp->mss : 0);
}

/* A buffer that refers to [seq, end) of the stream. */
static struct nbuf *stream_buf(struct tcp_ep *tp, struct tcp_chunk *c, uint32_t seq, uint32_t end)
{
	struct nbuf *b = nbuf_alloc(tcp_stack(tp)->pool, NET_HEADROOM, 0);

	if (!b)
		return NULL;
	for (c = chunk_at(c, seq); c && seq_lt(seq, end); c = TAILQ_NEXT(c, next)) {
		uint32_t skip = seq - c->seq, n = MIN(c->len - skip, end - seq);

		if (nbuf_add_frag(b, nmem_get(c->mem), c->off + skip, n) < 0) {
			nmem_put(c->mem);
			break;
		}
		seq += n;
	}
	if (seq != end) {
		nbuf_put(b);
		return NULL;
	}
	return b;
}

/* How many of `want` bytes from seq fit into one buffer's fragments. */
static uint32_t span(const struct tcp_chunk *c, uint32_t seq, uint32_t want)
{
	uint32_t got = 0;

	for (int i = 0; c && i < NBUF_FRAGS && got < want; i++, c = TAILQ_NEXT(c, next))
		got += c->len - (i ? 0 : seq - c->seq);
	return MIN(got, want);
}

static uint8_t data_flags(const struct tcp_ep *tp, uint32_t end, bool fin)
{
	uint8_t f = TF_ACK;

	if (fin)
		f |= TF_FIN;
	/* RFC 9293 §3.9.1.2: push when the queue is emptied. */
	if (end - fin == tp->write_seq)
		f |= TF_PSH;
	return f;
}

/* Sends new data [snd_nxt, snd_nxt + len), and the FIN behind it. */
static int send_new(struct tcp_ep *tp, uint32_t len, bool fin)
{
	uint32_t seq = tp->snd_nxt, end = seq + len + fin;
	struct tcp_chunk *c = NULL;
	struct tcp_seg *g;
	struct nbuf *b;

	if (len) {
		c = chunk_at(tp->next_chunk ? tp->next_chunk : TAILQ_FIRST(&tp->chunks), seq);
		tp->next_chunk = c;
	}
	b = stream_buf(tp, c, seq, seq + len);
	g = b ? seg_new(tp, seq, end, fin ? SEG_FIN : 0, c) : NULL;
	if (!g) {
		nbuf_put(b);
		return -ENOBUFS;
	}
	if (!len || len % tp->mss)
		tp->snd_sml = end;
	tp->snd_nxt = end;
	tp->fin_sent |= fin;
	tp->bytes_sent += len;
	if (tp->ca_state >= CAS_CWR)
		tp->prr_out += len;
	/* What the device refuses is a loss like any other: the retransmission timer has it. */
	send_segment(tp, b, seq, data_flags(tp, end, fin), true);
	return 0;
}

/* The last byte may be followed by the FIN in one segment. */
static bool fin_fits(const struct tcp_ep *tp, uint32_t len)
{
	return tp->fin_queued && !tp->fin_sent && tp->snd_nxt + len == tp->write_seq;
}

/* Is the short segment at the end of the next len bytes to wait? */
static bool nagle_holds(const struct tcp_ep *tp, uint32_t len)
{
	bool unacked = tp->snd_nxt != tp->snd_una;

	if (len % tp->mss == 0 || fin_fits(tp, len) || seq_lt(tp->snd_nxt, tp->snd_up))
		return false;
	if (tp->cork || tp->more)
		return true;
	/* The buffer was full: the rest of what was written will continue the segment. */
	if (tp->write_was_short && unacked)
		return true;
	if (tp->nodelay)
		return false;
	return unacked && seq_lt(tp->snd_una, tp->snd_sml);
}

bool tcp_more_to_send(const struct tcp_ep *tp)
{
	return seq_lt(tp->snd_nxt, tp->write_seq) || (tp->fin_queued && !tp->fin_sent);
}

/* Payload for the next new segment, 0 to wait. */
static uint32_t next_len(struct tcp_ep *tp, uint32_t quota)
{
	uint32_t avail = tp->write_seq - tp->snd_nxt, len = avail;
	int32_t room = tp->snd_una + tp->snd_wnd - tp->snd_nxt;
	uint32_t mss = tp->mss, max = 65535 - 60 - 60;
	struct tcp_chunk *c;

	if (room <= 0 || !avail)
		return 0;
	len = MIN(len, (uint32_t)room);
	len = MIN(len, MAX(quota, mss));
	len = MIN(len, max);
	c = chunk_at(tp->next_chunk ? tp->next_chunk : TAILQ_FIRST(&tp->chunks), tp->snd_nxt);
	if (!c)
		return 0;
	len = span(c, tp->snd_nxt, len);
	/* All that there is goes in one packet, a short segment at its end; else whole ones. */
	if (len == avail)
		return nagle_holds(tp, len) ? len - len % mss : len;
	if (len > mss)
		len -= len % mss;
	if (len < mss && (uint32_t)room < mss) {
		/* The window is what limits us: RFC 1122 §4.2.3.4. */
		if ((uint32_t)room < tp->max_wnd / 2 && tp->snd_nxt != tp->snd_una)
			return 0;
		if ((uint32_t)room < tp->max_wnd / 2)
			return 0; /* the probe timer will force it out */
	}
	return len;
}

static void output_new(struct tcp_ep *tp)
{
	tp->cwnd_limited = false;
	while (tcp_more_to_send(tp)) {
		uint32_t flight = tcp_in_flight(tp), len, quota;

		if (flight && flight + tp->mss > tp->cwnd &&
		    flight + MIN(tp->mss, tp->write_seq - tp->snd_nxt) > tp->cwnd) {
			tp->cwnd_limited = true;
			break;
		}
		quota = tp->cwnd > flight ? tp->cwnd - flight : 0;
		len = next_len(tp, quota);
		if (!len && !(tp->snd_nxt == tp->write_seq && tp->fin_queued && !tp->fin_sent))
			break;
		if (send_new(tp, len, fin_fits(tp, len)) < 0)
			break;
	}
}

int tcp_output_one(struct tcp_ep *tp)
{
	int32_t room = tp->snd_una + tp->snd_wnd - tp->snd_nxt;
	uint32_t len;

	if (room <= 0 || tp->snd_nxt == tp->write_seq)
		return -EAGAIN;
	len = MIN(tp->write_seq - tp->snd_nxt, (uint32_t)room);
	len = MIN(len, tp->mss);
	return send_new(tp, len, fin_fits(tp, len));
}

/* ------------------------------------------------------------------------------ retransmission */

int tcp_retransmit(struct tcp_ep *tp, struct tcp_seg *g)
{
	struct netstack *s = tcp_stack(tp);
	uint32_t data_end, pieces;
	int32_t room;
	struct nbuf *b;

	if (seq_lt(g->seq, tp->snd_una))
		g->seq = tp->snd_una; /* only a lone SYN or FIN can be acknowledged in part */
	room = tp->snd_una + tp->snd_wnd - g->seq;
	if (room <= 0 && g->seq != tp->snd_una)
		return -EAGAIN;
	if (g->flags & SEG_SYN) {
		g->xmit = net_now(s);
		g->flags |= SEG_EVER;
		tp->total_retrans++;
		net_count(s, NET_Tcp_RetransSegs);
		tcp_send_syn(tp, tp->state == TCP_SYN_RECV);
		return 0;
	}
	if (room > 0 && g->end - g->seq > MAX((uint32_t)room, tp->mss) &&
	    !tcp_seg_split(tp, g, g->seq + MAX((uint32_t)room, tp->mss)))
		return -ENOBUFS;
	data_end = g->end - !!(g->flags & SEG_FIN);
	b = stream_buf(tp, g->chunk, g->seq, data_end);
	if (!b)
		return -ENOBUFS;
	pieces = (g->end - g->seq + tp->mss - 1) / tp->mss;
	if (!(g->flags & SEG_RETRANS)) {
		g->flags |= SEG_RETRANS;
		tp->retrans += g->end - g->seq;
	} else {
		net_count(s, NET_TcpExt_TCPLostRetransmit);
	}
	g->flags |= SEG_EVER;
	g->xmit = net_now(s);
	TAILQ_REMOVE(&tp->by_time, g, sent);
	TAILQ_INSERT_TAIL(&tp->by_time, g, sent);
	if (!tp->retrans_stamp)
		tp->retrans_stamp = g->xmit;
	tp->undo_retrans += pieces;
	tp->total_retrans += pieces;
	tp->bytes_retrans += data_end - g->seq;
	net_count_n(s, NET_Tcp_RetransSegs, pieces);
	if (tp->ca_state >= CAS_CWR)
		tp->prr_out += g->end - g->seq;
	send_segment(tp, b, g->seq, data_flags(tp, g->end, g->flags & SEG_FIN), false);
	return 0;
}

/* RFC 6675 §5 (C), RFC 8985 §6.2: lost segments first, within the window. */
static void output_lost(struct tcp_ep *tp)
{
	struct tcp_seg *g, *next;

	if (!tp->lost || tp->ca_state < CAS_RECOVERY)
		return;
	/* F-RTO has sent new data and waits for what it tells: RFC 5682 §3.1 step 2b. */
	if (tp->frto && seq_lt(tp->high_seq, tp->snd_nxt))
		return;
	for (g = RB_MIN(tcp_seg_tree, &tp->segs); g; g = next) {
		uint32_t flight = tcp_in_flight(tp);
		uint32_t quota = tp->cwnd > flight ? tp->cwnd - flight : 0;

		next = RB_NEXT(tcp_seg_tree, &tp->segs, g);
		if ((g->flags & (SEG_LOST | SEG_RETRANS | SEG_SACKED)) != SEG_LOST)
			continue;
		if (quota < MIN(tp->mss, g->end - g->seq))
			return;
		quota -= quota % tp->mss;
		quota = MAX(quota, tp->mss);
		if (g->end - g->seq > quota)
			next = tcp_seg_split(tp, g, g->seq + quota);
		net_count(tcp_stack(tp), tp->ca_state == CAS_LOSS ? NET_TcpExt_TCPSlowStartRetrans
								  : NET_TcpExt_TCPFastRetrans);
		if (tcp_retransmit(tp, g) < 0)
			return;
	}
}

void tcp_output(struct tcp_ep *tp)
{
	uint32_t before = tp->snd_nxt;
	struct netstack *s = tcp_stack(tp);

	if (tp->state < TCP_ESTABLISHED || tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECV ||
	    tp->state == TCP_TIME_WAIT || tp->state == TCP_CLOSE || tp->state == TCP_LISTEN)
		return;
	tcp_current_mss(tp);
	/* RFC 5681 §4.1: an idle connection does not know the path any more. */
	if (tp->snd_nxt == tp->snd_una && tcp_more_to_send(tp) && tp->last_snd &&
	    s->sysctl.tcp_slow_start_after_idle && net_now(s) - tp->last_snd > tp->rto &&
	    tp->ca_state == CAS_OPEN) {
		uint64_t iw = (uint64_t)TCP_INIT_CWND * tp->mss;

		tp->ssthresh = MAX(tp->ssthresh, tp->cwnd / 4 * 3);
		tp->cwnd = MIN(tp->cwnd, iw);
		tp->cubic.epoch = 0;
	}
	output_lost(tp);
	output_new(tp);
	if (tp->snd_nxt != before || tp->rtx_mode == RTX_NONE || tp->rtx_mode == RTX_PROBE)
		tcp_schedule_tlp_or_rto(tp);
}

/* ------------------------------------------------------------------------------ control segments
 */

static void send_control(struct tcp_ep *tp, uint32_t seq, uint8_t flags)
{
	struct nbuf *b = nbuf_alloc(tcp_stack(tp)->pool, NET_HEADROOM, 0);

	if (b)
		send_segment(tp, b, seq, flags, false);
}

void tcp_send_ack(struct tcp_ep *tp)
{
	if (tp->state != TCP_CLOSE && tp->state != TCP_LISTEN)
		send_control(tp, tp->snd_nxt, TF_ACK);
}

/* An ACK in answer to something out of the window: not more often than tcp_invalid_ratelimit. */
void tcp_send_dupack(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s);

	if (tp->last_oow_ack &&
	    now - tp->last_oow_ack < s->sysctl.tcp_invalid_ratelimit * NSEC_PER_MSEC)
		return;
	tp->last_oow_ack = now;
	tcp_send_ack(tp);
}

void tcp_send_challenge(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s);

	if (tp->last_oow_ack &&
	    now - tp->last_oow_ack < s->sysctl.tcp_invalid_ratelimit * NSEC_PER_MSEC)
		return;
	if (!rate_limit_ok(s, &s->challenge_limit, s->sysctl.tcp_challenge_ack_limit,
			   s->sysctl.tcp_challenge_ack_limit))
		return;
	tp->last_oow_ack = now;
	net_count(s, NET_TcpExt_TCPChallengeACK);
	tcp_send_ack(tp);
}

void tcp_send_reset(struct tcp_ep *tp)
{
	net_count(tcp_stack(tp), NET_Tcp_OutRsts);
	send_control(tp, tp->snd_nxt, TF_RST | TF_ACK);
}

void tcp_send_probe(struct tcp_ep *tp)
{
	/* An old sequence number makes the peer answer with its window: RFC 1122 §4.2.3.6. */
	send_control(tp, tp->snd_una - 1, TF_ACK);
}

void tcp_send_syn(struct tcp_ep *tp, bool ack)
{
	uint8_t flags = TF_SYN | (ack ? TF_ACK : 0);
	struct netstack *s = tcp_stack(tp);

	if (!RB_MIN(tcp_seg_tree, &tp->segs) && tp->snd_nxt == tp->iss) {
		if (!seg_new(tp, tp->iss, tp->iss + 1, SEG_SYN, NULL))
			return; /* the timer tries again */
		tp->snd_nxt = tp->iss + 1;
	}
	/* RFC 3168 §6.1.1; not on retransmissions (§6.1.1.1). */
	if (!ack && s->sysctl.tcp_ecn == 1 && !tp->retransmits)
		flags |= TF_ECE | TF_CWR;
	if (ack && tp->ecn_ok)
		flags |= TF_ECE;
	send_control(tp, tp->iss, flags);
}
