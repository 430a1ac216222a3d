/*
 * Acknowledgements: RFC 9293 §3.10.7.4 step 5, RFC 5961 §5, SACK (RFC 2018, 2883), round trip
 * times (RFC 6298), and what they do to the congestion window.
 */
#include "netstack/neigh/neigh.h"
#include "netstack/tcp/tcp_internal.h"

void tcp_sndbuf_grow(struct tcp_ep *tp);

/* RFC 6298 §2, with Linux's lower bound of 200 ms for the variance term. */
void tcp_rtt_sample(struct tcp_ep *tp, int64_t rtt)
{
	int64_t now = net_now(tcp_stack(tp));

	rtt = MAX(rtt, NSEC_PER_USEC);
	if (!tp->min_rtt || rtt <= tp->min_rtt || now - tp->min_rtt_at > 300 * NSEC_PER_SEC) {
		tp->min_rtt = rtt;
		tp->min_rtt_at = now;
	}
	if (!tp->srtt) {
		tp->srtt = rtt;
		tp->rttvar = rtt / 2;
	} else {
		int64_t d = tp->srtt > rtt ? tp->srtt - rtt : rtt - tp->srtt;

		tp->rttvar += (d - tp->rttvar) / 4;
		tp->srtt += (rtt - tp->srtt) / 8;
	}
	tp->rto = tp->srtt + MAX(4 * tp->rttvar, TCP_RTO_MIN);
	tp->rto = MIN(tp->rto, TCP_RTO_MAX);
	tp->rtt_seen = true;
}

/* ------------------------------------------------------------------------------ SACK */

static void note_delivered(struct tcp_ep *tp, struct tcp_seg *g, struct tcp_ack_info *ai,
			   int64_t now)
{
	uint32_t len = g->end - g->seq;

	ai->delivered += len;
	tp->delivered += len;
	if (!(g->flags & SEG_EVER)) {
		ai->flags |= ACK_ORIG_ACKED;
		if (g->xmit >= ai->last_xmit) {
			ai->last_xmit = g->xmit;
			ai->rtt = now - g->xmit;
		}
	} else {
		ai->flags |= ACK_RETRANS_ACKED;
	}
	tcp_rack_advance(tp, g, now);
}

/* A segment that is now known to have arrived. */
static void sack_seg(struct tcp_ep *tp, struct tcp_seg *g, struct tcp_ack_info *ai, int64_t now)
{
	uint32_t len = g->end - g->seq;

	if (g->flags & SEG_SACKED)
		return;
	/* Arrived after something sent later, without being retransmitted: reordering. */
	if (!(g->flags & SEG_EVER) && seq_lt(g->seq, tp->high_sacked)) {
		ai->flags |= ACK_REORDER;
		tp->reord_events += !tp->reordering_seen;
		tp->reordering_seen = true;
	}
	note_delivered(tp, g, ai, now);
	if (g->flags & SEG_RETRANS)
		tp->retrans -= len;
	if (g->flags & SEG_LOST)
		tp->lost -= len;
	g->flags = (g->flags & ~(SEG_RETRANS | SEG_LOST)) | SEG_SACKED;
	tp->sacked += len;
	ai->flags |= ACK_SACKED_NEW;
	if (seq_lt(tp->high_sacked, g->end))
		tp->high_sacked = g->end;
}

/* The segment that holds seq, or the next one after it. */
static struct tcp_seg *seg_from(struct tcp_ep *tp, uint32_t seq)
{
	struct tcp_seg key = {.seq = seq}, *g = RB_NFIND(tcp_seg_tree, &tp->segs, &key), *prev;

	if (g && g->seq == seq)
		return g;
	prev = g ? RB_PREV(tcp_seg_tree, &tp->segs, g) : RB_MAX(tcp_seg_tree, &tp->segs);
	return prev && seq_lt(seq, prev->end) ? prev : g;
}

/* Only whole multiples of the segment size are cut off: a peer that SACKs single bytes must not
 * make us keep a record for each. */
static uint32_t align_split(const struct tcp_ep *tp, const struct tcp_seg *g, uint32_t at, bool up)
{
	uint32_t off = at - g->seq, mss = MAX(tp->mss, 1u);

	off = up ? (off + mss - 1) / mss * mss : off / mss * mss;
	return g->seq + off;
}

static void sack_block(struct tcp_ep *tp, uint32_t start, uint32_t end, struct tcp_ack_info *ai,
		       int64_t now)
{
	struct tcp_seg *g = seg_from(tp, start), *next;

	for (; g && seq_lt(g->seq, end); g = next) {
		if (seq_lt(g->seq, start) && !(g->flags & SEG_SACKED)) {
			uint32_t at = align_split(tp, g, start, true);

			if (!seq_lt(at, g->end) || !seq_lt(at, end)) {
				next = RB_NEXT(tcp_seg_tree, &tp->segs, g);
				continue;
			}
			g = tcp_seg_split(tp, g, at);
			if (!g)
				return;
		}
		next = RB_NEXT(tcp_seg_tree, &tp->segs, g);
		if (seq_lt(end, g->end) && !(g->flags & SEG_SACKED)) {
			uint32_t at = align_split(tp, g, end, false);

			if (!seq_lt(g->seq, at) || !tcp_seg_split(tp, g, at))
				return;
		}
		sack_seg(tp, g, ai, now);
	}
}

/* RFC 2883 §4: the first block below the ACK, or inside the second, reports a duplicate. */
static bool is_dsack(const struct tcp_header *h)
{
	uint32_t a = h->sack[0][0], b = h->sack[0][1];

	if (seq_lt(a, h->ack))
		return true;
	return h->nsack > 1 && seq_le(h->sack[1][0], a) && seq_le(b, h->sack[1][1]);
}

static void dsack_seen(struct tcp_ep *tp, const struct tcp_header *h, struct tcp_ack_info *ai)
{
	uint32_t a = h->sack[0][0], b = h->sack[0][1];
	uint32_t dups = (b - a + tp->mss - 1) / MAX(tp->mss, 1u);

	net_count(tcp_stack(tp), NET_TcpExt_TCPDSACKRecv);
	ai->flags |= ACK_DSACK;
	tp->dsack_seen = true;
	tp->dsack_dups += dups;
	if (tp->undo_valid && tp->undo_retrans && seq_le(tp->undo_marker, a))
		tp->undo_retrans -= MIN(tp->undo_retrans, MAX(dups, 1u));
}

static void process_sack(struct tcp_ep *tp, const struct tcp_header *h, struct tcp_ack_info *ai,
			 int64_t now)
{
	unsigned first = 0;

	if (!tp->sack_ok || !h->nsack)
		return;
	if (is_dsack(h) && seq_lt(h->sack[0][0], h->sack[0][1]) &&
	    h->sack[0][1] - h->sack[0][0] <= tp->max_wnd + tp->mss) {
		dsack_seen(tp, h, ai);
		first = 1;
	}
	for (unsigned i = first; i < h->nsack; i++) {
		uint32_t a = h->sack[i][0], b = h->sack[i][1];

		/* Blocks must lie in what is outstanding. */
		if (!seq_lt(a, b) || seq_lt(tp->snd_nxt, b) || seq_le(b, tp->snd_una))
			continue;
		sack_block(tp, seq_max(a, tp->snd_una), b, ai, now);
	}
}

/* ------------------------------------------------------------------------------ cumulative */

static void clean_acked(struct tcp_ep *tp, struct tcp_ack_info *ai, int64_t now)
{
	struct tcp_seg *g;

	while ((g = RB_MIN(tcp_seg_tree, &tp->segs)) && seq_lt(g->seq, tp->snd_una)) {
		if (seq_lt(tp->snd_una, g->end)) {
			uint32_t len = tp->snd_una - g->seq;

			/* In part: what is acknowledged leaves, with its share of the counts. */
			if (g->flags & SEG_SACKED)
				tp->sacked -= len;
			else
				ai->delivered += len;
			if (g->flags & SEG_LOST)
				tp->lost -= len;
			if (g->flags & SEG_RETRANS)
				tp->retrans -= len;
			if (!(g->flags & SEG_EVER))
				ai->flags |= ACK_ORIG_ACKED;
			g->seq = tp->snd_una;
			g->flags &= ~SEG_SYN;
			while (g->chunk && seq_le(g->chunk->seq + g->chunk->len, g->seq))
				g->chunk = TAILQ_NEXT(g->chunk, next);
			break;
		}
		if (!(g->flags & SEG_SACKED)) {
			if (!(g->flags & SEG_EVER) && seq_lt(g->seq, tp->high_sacked) &&
			    (g->flags & SEG_LOST) == 0 && tp->sack_ok) {
				tp->reord_events += !tp->reordering_seen;
				tp->reordering_seen = true;
			}
			note_delivered(tp, g, ai, now);
		}
		if (g->flags & SEG_SYN)
			ai->flags |= ACK_SYN_ACKED;
		tcp_seg_unlink(tp, g);
	}
	tcp_chunks_free(tp, tp->snd_una);
	if (seq_lt(tp->high_sacked, tp->snd_una))
		tp->high_sacked = tp->snd_una;
}

/* RFC 9293 §3.10.7.4: SND.WL1 guards against old segments. */
static void update_window(struct tcp_ep *tp, const struct tcp_header *h, struct tcp_ack_info *ai)
{
	uint32_t wnd = h->wnd << (h->flags & TF_SYN || !tp->wscale_ok ? 0 : tp->snd_wscale);

	if (seq_lt(tp->snd_una, h->ack) || seq_lt(tp->snd_wl1, h->seq) ||
	    (tp->snd_wl1 == h->seq && (wnd > tp->snd_wnd || (!wnd && tp->snd_wnd)))) {
		if (tp->snd_wnd != wnd || seq_lt(tp->snd_una, h->ack))
			ai->flags |= tp->snd_wnd != wnd ? ACK_WIN_UPDATE : 0;
		tp->snd_wl1 = h->seq;
		tp->snd_wnd = wnd;
		tp->max_wnd = MAX(tp->max_wnd, wnd);
	}
}

static void take_rtt(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	const struct tcp_header *h = ai->h;
	int64_t rtt = ai->rtt;

	/* Karn's rule; with timestamps a retransmission can be timed too (RFC 7323 §4.1). */
	if (rtt < 0 && tp->ts_ok && h->has_ts && h->tsecr && (ai->flags & ACK_UNA_ADVANCED)) {
		uint32_t d = tcp_ts_now(tcp_stack(tp)) + tp->ts_offset - h->tsecr;

		if (d < INT32_MAX)
			rtt = d ? d * NSEC_PER_MSEC : NSEC_PER_MSEC;
	}
	if (rtt >= 0)
		tcp_rtt_sample(tp, rtt);
	ai->rtt = rtt;
}

void tcp_rearm_rto(struct tcp_ep *tp)
{
	if (tp->snd_una == tp->snd_nxt) {
		tp->rtx_mode = RTX_NONE;
		tcp_timer_clear(tp, TT_RTX);
		return;
	}
	tcp_schedule_tlp_or_rto(tp);
}

/* The window grows only when it was what limited us: RFC 7661 in spirit, as Linux. */
static bool window_used(const struct tcp_ep *tp, const struct tcp_ack_info *ai)
{
	if (tp->cwnd_limited)
		return true;
	if (tp->cwnd < tp->ssthresh)
		return tp->cwnd < 2ull * ai->prior_flight;
	return false;
}

static void grow(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	struct netstack *s = tcp_stack(tp);
	uint64_t max = MAX((uint64_t)s->sysctl.tcp_wmem[2] * 4, (uint64_t)tp->ep.sndbuf * 2);

	if (!tcp_may_raise_cwnd(tp, ai) || !window_used(tp, ai) || !ai->delivered)
		return;
	tp->cc->acked(tp, ai->delivered, ai->rtt);
	tp->cwnd = MIN(tp->cwnd, max);
}

/* RFC 8985 §7.4: what an ACK says about a probe. */
static void process_tlp(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	const struct tcp_header *h = ai->h;

	if (!tp->tlp_high || seq_lt(h->ack, tp->tlp_high))
		return;
	if (!tp->tlp_is_retrans) {
		tp->tlp_high = 0; /* new data: nothing was lost by it */
	} else if (ai->flags & ACK_DSACK) {
		tp->tlp_high = 0; /* the original arrived too */
	} else if (seq_lt(tp->tlp_high, h->ack)) {
		/* The probe repaired a loss: one reduction for it. */
		net_count(tcp_stack(tp), NET_TcpExt_TCPLossProbeRecovery);
		tp->tlp_high = 0;
		if (tp->ca_state < CAS_CWR) {
			tcp_enter_cwr(tp);
			tp->loss_by_tlp = true;
		}
	} else if (!(ai->flags &
		     (ACK_UNA_ADVANCED | ACK_SACKED_NEW | ACK_HAS_DATA | ACK_WIN_UPDATE))) {
		tp->tlp_high = 0; /* a pure duplicate: both copies arrived */
	}
}

static void ecn_input(struct tcp_ep *tp, const struct tcp_header *h)
{
	if (!tp->ecn_ok || !(h->flags & TF_ECE) || (h->flags & TF_SYN))
		return;
	/* RFC 3168 §6.1.2: once per window. */
	if (tp->ca_state < CAS_CWR && tp->snd_nxt != tp->snd_una) {
		tcp_enter_cwr(tp);
		tp->cwr_pending = true;
	}
}

int tcp_ack(struct tcp_ep *tp, const struct tcp_header *h)
{
	int64_t now = net_now(tcp_stack(tp));
	struct tcp_ack_info ai = {
		.rtt = -1, .h = h, .prior_una = tp->snd_una, .prior_flight = tcp_in_flight(tp)};
	uint64_t delivered = tp->delivered;

	if (seq_lt(h->ack, tp->snd_una)) {
		/* RFC 5961 §5.2: older than the largest window ever seen is an attack. */
		if (seq_lt(h->ack, tp->snd_una - tp->max_wnd)) {
			tcp_send_challenge(tp);
			return -1;
		}
		process_sack(tp, h, &ai, now);
		if (ai.flags & (ACK_SACKED_NEW | ACK_DSACK)) {
			tcp_loss_process(tp, &ai);
			tcp_output(tp);
		}
		return 0;
	}
	if (seq_lt(tp->snd_nxt, h->ack))
		return -1;
	if (h->end_seq != h->seq)
		ai.flags |= ACK_HAS_DATA;
	if (h->flags & TF_ECE)
		ai.flags |= ACK_ECE;
	tp->probes_out = 0;
	tp->probe_start = 0;
	update_window(tp, h, &ai);
	if (seq_lt(tp->snd_una, h->ack)) {
		ai.flags |= ACK_UNA_ADVANCED;
		ai.acked = h->ack - tp->snd_una;
		tp->snd_una = h->ack;
		tp->bytes_acked += ai.acked;
		tp->retransmits = 0;
		tp->first_rtx = 0;
		tp->ep.soft_error = 0;
		if (tp->undo_valid && seq_lt(tp->undo_marker, tp->snd_una) &&
		    tp->ca_state == CAS_OPEN)
			tp->undo_valid = false;
	}
	process_sack(tp, h, &ai, now);
	if (ai.flags & ACK_UNA_ADVANCED) {
		clean_acked(tp, &ai, now);
		if (ai.acked > 1 || !(ai.flags & ACK_SYN_ACKED))
			ai.flags |= ACK_DATA_ACKED;
		tp->backoff = 0;
	}
	ai.delivered = MAX(ai.delivered, (uint32_t)(tp->delivered - delivered));
	take_rtt(tp, &ai);
	tcp_rack_reo_update(tp, &ai);
	process_tlp(tp, &ai);
	ecn_input(tp, h);
	tcp_loss_process(tp, &ai);
	grow(tp, &ai);
	if (ai.flags & (ACK_UNA_ADVANCED | ACK_SACKED_NEW))
		if (tp->rtx_mode != RTX_RACK || tp->snd_una == tp->snd_nxt)
			tcp_rearm_rto(tp);
	if (tp->snd_una == tp->snd_nxt && tp->rtx_mode == RTX_PROBE && tp->snd_wnd) {
		tp->rtx_mode = RTX_NONE;
		tcp_timer_clear(tp, TT_RTX);
		tp->backoff = 0;
	}
	if (ai.flags & ACK_UNA_ADVANCED) {
		struct net_path *p = &tp->ep.path;

		tcp_sndbuf_grow(tp);
		if (p->neigh)
			neigh_confirm(p->neigh);
		if (tcp_write_space(tp))
			net_defer_ready(&tp->ep, EPOLLOUT | EPOLLWRNORM);
	}
	return 1;
}
