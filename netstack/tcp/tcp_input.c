/* Segment arrival: RFC 9293 §3.10.7, in its order, with RFC 5961 and RFC 7323. */
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/tcp/tcp_internal.h"

/* ------------------------------------------------------------------------------ acceptability */

/* RFC 7323 §5.3 R1: an old timestamp. A long quiet connection forgets (§5.5). */
static bool paws_reject(struct tcp_ep *tp, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(tp);

	if (!tp->ts_ok || !h->has_ts || !tp->ts_recent || (int32_t)(h->tsval - tp->ts_recent) >= 0)
		return false;
	if (net_now(s) - tp->ts_recent_at > TCP_PAWS_WINDOW * NSEC_PER_SEC)
		return false;
	return true;
}

/* RFC 7323 §4.3 (2): remember the timestamp of a segment at the left edge. */
static void update_ts_recent(struct tcp_ep *tp, const struct tcp_header *h)
{
	if (!tp->ts_ok || !h->has_ts || seq_lt(tp->last_ack_sent, h->seq))
		return;
	if ((int32_t)(h->tsval - tp->ts_recent) >= 0) {
		tp->ts_recent = h->tsval;
		tp->ts_recent_at = net_now(tcp_stack(tp));
	}
}

/* RFC 9293 §3.10.7.4 step 1. */
static bool in_window(const struct tcp_ep *tp, const struct tcp_header *h)
{
	return !seq_lt(h->end_seq, tp->rcv_wup) &&
	       !seq_lt(tp->rcv_nxt + tcp_receive_window(tp), h->seq);
}

/* RFC 5961 §3.2: only a RST at exactly the expected place counts. */
static void reset_input(struct tcp_ep *tp, const struct tcp_header *h)
{
	bool exact = h->seq == tp->rcv_nxt;

	/* After out-of-order data the peer's next byte is behind the last block. */
	for (unsigned i = 0; i < tp->nsacks && !exact; i++) {
		uint32_t max = tp->sacks[0][1];

		for (unsigned k = 1; k < tp->nsacks; k++)
			max = seq_max(max, tp->sacks[k][1]);
		exact = h->seq == max;
	}
	if (!exact) {
		tcp_send_challenge(tp);
		return;
	}
	if (tp->state == TCP_TIME_WAIT) {
		if (!tcp_stack(tp)->sysctl.tcp_rfc1337)
			tcp_done(tp, 0);
		return;
	}
	tcp_done(tp, tp->state == TCP_CLOSE_WAIT ? EPIPE
		     : tp->state == TCP_SYN_RECV ? ECONNREFUSED
						 : ECONNRESET);
}

/* Steps 1 to 4. False: the segment ends here. */
static bool validate(struct tcp_ep *tp, const struct tcp_header *h)
{
	if (paws_reject(tp, h) && !(h->flags & TF_RST)) {
		net_count(tcp_stack(tp), NET_TcpExt_PAWSEstab);
		if (h->flags & TF_SYN)
			tcp_send_challenge(tp);
		else
			tcp_send_dupack(tp);
		return false;
	}
	if (!in_window(tp, h)) {
		if (!(h->flags & TF_RST)) {
			if (h->flags & TF_SYN)
				tcp_send_challenge(tp);
			else if (h->end_seq != h->seq)
				tcp_send_dupack(tp);
			else if (h->flags & TF_ACK)
				tcp_send_dupack(tp);
		} else if (h->seq == tp->rcv_nxt) {
			reset_input(tp, h); /* window closed, but in order */
		}
		return false;
	}
	if (h->flags & TF_RST) {
		reset_input(tp, h);
		return false;
	}
	/* RFC 5961 §4.2. */
	if (h->flags & TF_SYN) {
		if (tp->state == TCP_SYN_RECV && h->seq == tp->irs)
			return true; /* simultaneous open */
		net_count(tcp_stack(tp), NET_TcpExt_TCPSYNChallenge);
		tcp_send_challenge(tp);
		return false;
	}
	return true;
}

static void data_input(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h);

/* ------------------------------------------------------------------------------ SYN-SENT */

static void learn_syn_options(struct tcp_ep *tp, const struct tcp_header *h)
{
	tp->peer_mss = h->mss ? h->mss : TCP_DEFAULT_MSS;
	if (!addr_is4(&tp->ep.raddr) && !h->mss)
		tp->peer_mss = 1220;
	tp->wscale_ok = tp->wscale_ok && h->wscale >= 0;
	tp->snd_wscale = tp->wscale_ok ? h->wscale : 0;
	if (!tp->wscale_ok)
		tp->rcv_wscale = 0;
	tp->sack_ok = tp->sack_ok && h->sack_ok;
	tp->ts_ok = tp->ts_ok && h->has_ts;
	if (tp->ts_ok) {
		tp->ts_recent = h->tsval;
		tp->ts_recent_at = net_now(tcp_stack(tp));
	}
	tp->irs = h->seq;
	tp->rcv_nxt = tp->rcv_wup = tp->copied_seq = h->seq + 1;
	tp->last_ack_sent = tp->rcv_nxt;
	tp->snd_wl1 = h->seq;
	tp->snd_wnd = h->wnd;
	tp->max_wnd = h->wnd;
}

/* Text and FIN of the SYN-ACK: "continue processing at the sixth step". Consumes b. */
static void synack_data(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h)
{
	struct tcp_header rest = *h;

	rest.seq++;
	rest.flags &= ~TF_SYN;
	data_input(tp, b, &rest);
	if (tp->last_ack_sent != tp->rcv_nxt)
		tcp_send_ack(tp);
	tcp_output(tp);
}

/* RFC 9293 §3.10.7.3. Consumes b. */
static void syn_sent_input(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(tp);
	bool ack_ok = false;

	if (h->flags & TF_ACK) {
		if (h->ack != tp->iss + 1) {
			tcp_send_reset_for(s, b, h);
			goto out;
		}
		if (tp->ts_ok && h->has_ts && h->tsecr &&
		    (int32_t)(tcp_ts_now(s) + tp->ts_offset - h->tsecr) < 0) {
			tcp_send_reset_for(s, b, h);
			goto out;
		}
		ack_ok = true;
	}
	if (h->flags & TF_RST) {
		if (ack_ok)
			tcp_done(tp, ECONNREFUSED);
		goto out;
	}
	if (!(h->flags & TF_SYN))
		goto out;
	learn_syn_options(tp, h);
	if (!ack_ok) {
		/* Simultaneous open: SYN-RECEIVED, answer SYN-ACK. */
		tcp_set_state(tp, TCP_SYN_RECV);
		tcp_send_syn(tp, true);
		goto out;
	}
	tp->ecn_ok = s->sysctl.tcp_ecn == 1 && (h->flags & (TF_ECE | TF_CWR)) == TF_ECE;
	tcp_current_mss(tp);
	if (tcp_ack(tp, h) < 0)
		goto out;
	tcp_established(tp);
	tcp_rearm_rto(tp);
	if (tp->defer_accept || tcp_more_to_send(tp))
		tcp_output(tp);
	if (b->len || (h->flags & TF_FIN)) {
		synack_data(tp, b, h);
		return;
	}
	if (tp->last_ack_sent != tp->rcv_nxt || tp->segs_out < 2)
		tcp_send_ack(tp);
	if (tp->fin_queued)
		tcp_output(tp);
out:
	nbuf_put(b);
}

/* ------------------------------------------------------------------------------ TIME-WAIT */

/* RFC 9293 §3.10.7.4 for TIME-WAIT, RFC 1122 §4.2.2.13, RFC 6191. True: b starts a new one. */
static bool time_wait_input(struct tcp_ep *tp, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(tp);

	if ((h->flags & (TF_SYN | TF_ACK | TF_RST)) == TF_SYN) {
		bool newer = tp->ts_ok && h->has_ts ? (int32_t)(h->tsval - tp->ts_recent) > 0
						    : seq_lt(tp->rcv_nxt, h->seq);

		if (newer || seq_lt(tp->rcv_nxt, h->seq)) {
			tcp_done(tp, 0);
			return true;
		}
	}
	if (paws_reject(tp, h) || !in_window(tp, h)) {
		if (!(h->flags & TF_RST) && (h->flags & TF_ACK))
			tcp_send_dupack(tp);
		return false;
	}
	if (h->flags & TF_RST) {
		reset_input(tp, h);
		return false;
	}
	if (h->flags & TF_SYN) {
		tcp_send_challenge(tp);
		return false;
	}
	if ((h->flags & TF_FIN) || h->end_seq != h->seq) {
		tcp_send_ack(tp);
		if (h->flags & TF_FIN)
			tcp_timer_set(tp, TT_KEEP,
				      net_now(s) + s->sysctl.tcp_timewait_len * NSEC_PER_SEC);
	}
	return false;
}

/* ------------------------------------------------------------------------------ the rest */

/* Our FIN has been acknowledged. */
static void fin_acked(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);

	switch (tp->state) {
	case TCP_FIN_WAIT1:
		tcp_set_state(tp, TCP_FIN_WAIT2);
		net_defer_ready(&tp->ep, EPOLLOUT);
		tcp_timer_clear(tp, TT_KEEP);
		if (tp->orphan) {
			int64_t t = tp->linger2 > 0 ? tp->linger2 : s->sysctl.tcp_fin_timeout;

			if (tp->linger2 < 0)
				tcp_done(tp, 0);
			else
				tcp_timer_set(tp, TT_KEEP, net_now(s) + t * NSEC_PER_SEC);
		}
		break;
	case TCP_CLOSING:
		tcp_enter_timewait(tp);
		break;
	case TCP_LAST_ACK:
		tcp_done(tp, 0);
		break;
	}
}

/* Step 5. False: the segment ends here. */
static bool ack_input(struct tcp_ep *tp, const struct tcp_header *h)
{
	int r;

	if (!(h->flags & TF_ACK))
		return false;
	if (tp->state == TCP_SYN_RECV) {
		/* RFC 9293: SND.UNA < SEG.ACK =< SND.NXT, else reset. */
		if (!seq_lt(tp->snd_una, h->ack) || seq_lt(tp->snd_nxt, h->ack)) {
			tcp_send_reset(tp);
			return false;
		}
		tp->snd_wnd = h->wnd << tp->snd_wscale;
		tp->snd_wl1 = h->seq;
		tcp_current_mss(tp);
		tcp_ack(tp, h);
		tcp_established(tp);
		tcp_rearm_rto(tp);
		if (tp->fin_queued)
			tcp_set_state(tp, TCP_FIN_WAIT1);
		return true;
	}
	r = tcp_ack(tp, h);
	if (r < 0) {
		/* RFC 5961 §5.2: an ACK of what was never sent. */
		if (seq_lt(tp->snd_nxt, h->ack))
			tcp_send_challenge(tp);
		return false;
	}
	if (tp->fin_sent && tp->snd_una == tp->snd_nxt && tp->snd_una == tp->write_seq + 1)
		fin_acked(tp);
	return tp->state != TCP_CLOSE;
}

static void ecn_data(struct tcp_ep *tp, const struct nbuf *b, const struct tcp_header *h)
{
	if (!tp->ecn_ok)
		return;
	if (h->flags & TF_CWR)
		tp->ece_pending = false;
	if ((b->tos & 3) == 3) {
		net_count(tcp_stack(tp), NET_TcpExt_TCPECNCE);
		tp->ece_pending = true;
		tp->quickack = MAX(tp->quickack, (uint8_t)2);
	}
}

/* Steps 6 to 8. Consumes b. */
static void data_input(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(tp);
	bool open = tp->state == TCP_ESTABLISHED || tp->state == TCP_FIN_WAIT1 ||
		    tp->state == TCP_FIN_WAIT2;

	if (b->len == 0 && !(h->flags & TF_FIN)) {
		nbuf_put(b);
		return;
	}
	if (!open) {
		/* After the peer's FIN: text is ignored, but answered (step 7). */
		if (seq_lt(h->seq, tp->rcv_nxt))
			tcp_send_dupack(tp);
		nbuf_put(b);
		return;
	}
	/* RFC 1122 §4.2.2.13: nobody will ever read this. */
	if (tp->orphan && b->len && seq_lt(tp->rcv_nxt, h->seq + b->len)) {
		net_count(s, NET_TcpExt_TCPAbortOnData);
		tcp_send_reset(tp);
		tcp_done(tp, 0);
		nbuf_put(b);
		return;
	}
	ecn_data(tp, b, h);
	if ((h->flags & TF_URG) && h->urg)
		tcp_urgent(tp, h);
	tcp_data_queue(tp, b, h);
}

void tcp_segment_locked(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h)
{
	tp->segs_in++;
	if (tp->state == TCP_SYN_SENT) {
		syn_sent_input(tp, b, h);
		return;
	}
	if (tp->state == TCP_CLOSE || !validate(tp, h)) {
		nbuf_put(b);
		return;
	}
	update_ts_recent(tp, h);
	tp->last_rcv = net_now(tcp_stack(tp));
	if (!ack_input(tp, h)) {
		nbuf_put(b);
		return;
	}
	data_input(tp, b, h);
	if (tp->state != TCP_CLOSE && tp->state != TCP_TIME_WAIT)
		tcp_output(tp);
}

void tcp_segment_input(struct net_ep *ep, struct nbuf *b, const struct tcp_header *h)
{
	struct tcp_ep *tp = tcp(ep);
	bool fresh = false;
	int min = addr_is4(&b->dst) ? ep->opt.min_ttl : ep->opt.min_hops;

	mutex_lock(&ep->lock);
	/* RFC 5082: too far away to be our neighbour. */
	if (b->ttl < min) {
		mutex_unlock(&ep->lock);
		nbuf_put(b);
		return;
	}
	if (ep->filter && !ep_filter(ep, b)) {
		mutex_unlock(&ep->lock);
		nbuf_put(b);
		return;
	}
	nbuf_pull(b, h->hlen);
	if (tp->state == TCP_TIME_WAIT) {
		fresh = time_wait_input(tp, h);
		mutex_unlock(&ep->lock);
		if (fresh) {
			nbuf_push(b, h->hlen);
			tcp_input(ep->stack, b);
		} else {
			nbuf_put(b);
		}
		return;
	}
	tcp_segment_locked(tp, b, h);
	mutex_unlock(&ep->lock);
}

void tcp_input(struct netstack *s, struct nbuf *b)
{
	struct tcp_header h;
	struct tuple t;
	struct net_ep *ep;

	net_count(s, NET_Tcp_InSegs);
	if (!nbuf_linear(b, MIN(b->len, 60u)) || !tcp_parse_header(b->data, b->lin, &h))
		goto bad;
	if (!ip_l4_csum_ok(b)) {
		net_count(s, NET_Tcp_InCsumErrors);
		goto bad;
	}
	b->csum = NBUF_CSUM_OK;
	if (b->mcast || addr_any(&b->src)) {
		nbuf_put(b);
		return;
	}
	b->sport = b->data[0] << 8 | b->data[1];
	b->dport = b->data[2] << 8 | b->data[3];
	h.end_seq = h.seq + (b->len - h.hlen) + !!(h.flags & TF_SYN) + !!(h.flags & TF_FIN);
	t = (struct tuple){b->dst, b->src, b->dport, b->sport};
	ep = demux_find(s, s->tcp, &t);
	if (ep) {
		tcp_segment_input(ep, b, &h);
		net_ep_put(ep);
		return;
	}
	if (tcp_req_input(s, b, &h, &t))
		return;
	ep = port_lookup(s, s->tcp_ports, &t, b->link ? b->link->index : 0, true);
	if (ep) {
		tcp_listen_input(ep, b, &h);
		net_ep_put(ep);
		return;
	}
	tcp_send_reset_for(s, b, &h);
	nbuf_put(b);
	return;
bad:
	net_count(s, NET_Tcp_InErrs);
	nbuf_put(b);
}

/* RFC 5927, RFC 1122 §4.2.3.9, RFC 1191: what an ICMP error means for a connection. */
void tcp_icmp(struct netstack *s, const struct in6_addr *src, const struct in6_addr *dst, int err,
	      uint8_t type, uint8_t code, uint32_t info, bool hard, struct nbuf *b)
{
	struct tuple t = {.laddr = *src, .raddr = *dst};
	struct net_ep *ep;
	struct tcp_ep *tp;
	uint32_t seq;

	t.lport = b->data[0] << 8 | b->data[1];
	t.rport = b->data[2] << 8 | b->data[3];
	memcpy(&seq, b->data + 4, 4);
	seq = ntohl(seq);
	ep = demux_find(s, s->tcp, &t);
	if (!ep)
		return;
	tp = tcp(ep);
	mutex_lock(&ep->lock);
	/* RFC 5927 §4.1: it must quote something that is outstanding. */
	if (tp->state == TCP_CLOSE || tp->state == TCP_TIME_WAIT || seq_lt(seq, tp->snd_una) ||
	    seq_lt(tp->snd_nxt, seq)) {
		mutex_unlock(&ep->lock);
		net_ep_put(ep);
		return;
	}
	if (err == EMSGSIZE) {
		if (info && info < tp->mss + 120 + 65535 && pmtu_update(s, dst, info)) {
			uint32_t old = tp->mss;
			struct tcp_seg *g;

			tcp_current_mss(tp);
			if (tp->mss < old && tp->state != TCP_SYN_SENT) {
				/* What was too big is sent again in smaller pieces. */
				RB_FOREACH (g, tcp_seg_tree, &tp->segs)
					tcp_mark_lost(tp, g);
				if (tp->ca_state < CAS_RECOVERY) {
					tp->ca_state = CAS_RECOVERY;
					tp->high_seq = tp->snd_nxt;
					tp->prior_cwnd = tp->ssthresh = tp->cwnd;
					tp->prr_delivered = tp->prr_out = 0;
				}
				tcp_output(tp);
			}
		}
	} else if (tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECV) {
		if (hard || ep->opt.recverr || err == EHOSTUNREACH || err == ENETUNREACH) {
			if (hard)
				tcp_done(tp, err);
			else
				tp->ep.soft_error = err;
		}
	} else {
		tp->ep.soft_error = err;
		if (ep->opt.recverr) {
			ep_set_error(ep, err);
			net_defer_ready(ep, EPOLLERR);
		}
	}
	mutex_unlock(&ep->lock);
	net_ep_put(ep);
}
