/*
 * Loss detection and recovery: RACK (RFC 8985 §6), NewReno without SACK (RFC 6582), proportional
 * rate reduction (RFC 6937), F-RTO (RFC 5682), undo of spurious reductions by DSACK (RFC 3708)
 * and timestamps (Eifel, RFC 3522).
 */
#include "netstack/tcp/tcp_internal.h"

/* ------------------------------------------------------------------------------ RACK */

static bool sent_after(int64_t t1, uint32_t end1, int64_t t2, uint32_t end2)
{
	return t1 > t2 || (t1 == t2 && seq_lt(end2, end1));
}

/* RFC 8985 §6.2 step 2. */
void tcp_rack_advance(struct tcp_ep *tp, const struct tcp_seg *g, int64_t now)
{
	int64_t rtt = now - g->xmit;

	/* A retransmission acknowledged faster than any round trip: it was the original. */
	if ((g->flags & SEG_EVER) && tp->min_rtt && rtt < tp->min_rtt)
		return;
	if (!tp->rack_xmit || sent_after(g->xmit, g->end, tp->rack_xmit, tp->rack_end)) {
		tp->rack_xmit = g->xmit;
		tp->rack_end = g->end;
		tp->rack_rtt = rtt;
	}
}

/* RFC 8985 §6.2 step 4: the window grows by a quarter of min_rtt for each round with DSACKs. */
void tcp_rack_reo_update(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	if (!(ai->flags & ACK_DSACK))
		return;
	if (seq_lt(tp->snd_una, tp->reo_dsack_round))
		return;
	tp->reo_dsack_round = tp->snd_nxt;
	if (tp->reo_steps < 16)
		tp->reo_steps++;
}

static int64_t reo_wnd(const struct tcp_ep *tp)
{
	int64_t w;

	if (!tp->reordering_seen &&
	    (tp->ca_state >= CAS_RECOVERY || tp->sacked >= TCP_DUPTHRESH * tp->mss))
		return 0;
	w = tp->min_rtt / 4 * MAX(tp->reo_steps, 1u);
	return MIN(w, tp->srtt);
}

void tcp_mark_lost(struct tcp_ep *tp, struct tcp_seg *g)
{
	uint32_t len = g->end - g->seq;

	if (g->flags & SEG_SACKED)
		return;
	if (g->flags & SEG_RETRANS) {
		g->flags &= ~SEG_RETRANS;
		tp->retrans -= len;
	}
	if (!(g->flags & SEG_LOST)) {
		g->flags |= SEG_LOST;
		tp->lost += len;
	}
}

/* RFC 8985 §6.2 step 5. Returns the time until the next segment would count as lost, or 0. */
static int64_t rack_detect(struct tcp_ep *tp)
{
	int64_t now = net_now(tcp_stack(tp)), wnd = reo_wnd(tp), wait = 0;
	struct tcp_seg *g, *next;

	if (!tp->rack_xmit)
		return 0;
	for (g = TAILQ_FIRST(&tp->by_time); g; g = next) {
		int64_t left;

		next = TAILQ_NEXT(g, sent);
		if (!sent_after(tp->rack_xmit, tp->rack_end, g->xmit, g->end))
			break;
		if ((g->flags & SEG_SACKED) || (g->flags & (SEG_LOST | SEG_RETRANS)) == SEG_LOST)
			continue;
		left = g->xmit + tp->rack_rtt + wnd - now;
		if (left <= 0)
			tcp_mark_lost(tp, g);
		else
			wait = MAX(wait, left);
	}
	return wait;
}

/* NewReno: the first segment outstanding is the lost one. */
static void reno_mark_head(struct tcp_ep *tp)
{
	struct tcp_seg *g = RB_MIN(tcp_seg_tree, &tp->segs);

	if (!g || (g->flags & SEG_LOST))
		return;
	if (g->end - g->seq > tp->mss)
		tcp_seg_split(tp, g, g->seq + tp->mss);
	tcp_mark_lost(tp, g);
}

/* Without SACK, each duplicate ACK stands for a segment that has left the network. */
static void reno_dupack(struct tcp_ep *tp)
{
	uint32_t out = tp->snd_nxt - tp->snd_una;

	if (tp->dup_acks < 255)
		tp->dup_acks++;
	if (tp->sacked + tp->mss + tp->lost <= out)
		tp->sacked += tp->mss;
	tp->delivered += tp->mss;
}

static void reno_reset(struct tcp_ep *tp)
{
	tp->dup_acks = 0;
	if (!tp->sack_ok)
		tp->sacked = 0;
}

/* ------------------------------------------------------------------------------ states */

static void init_reduction(struct tcp_ep *tp)
{
	tp->high_seq = tp->snd_nxt;
	tp->tlp_high = 0;
	tp->prior_cwnd = tp->cwnd;
	tp->prior_ssthresh = tp->ssthresh;
	tp->prr_delivered = tp->prr_out = 0;
	tp->ssthresh = MAX(tp->cc->ssthresh(tp), 2 * tp->mss);
	if (tp->ecn_ok)
		tp->cwr_pending = true;
}

static void init_undo(struct tcp_ep *tp)
{
	tp->undo_valid = true;
	tp->undo_marker = tp->snd_una;
	tp->undo_retrans = 0;
	tp->retrans_stamp = 0;
}

void tcp_enter_cwr(struct tcp_ep *tp)
{
	if (tp->ca_state >= CAS_CWR)
		return;
	tp->undo_valid = false;
	init_reduction(tp);
	tp->ca_state = CAS_CWR;
}

static void enter_recovery(struct tcp_ep *tp)
{
	net_count(tcp_stack(tp),
		  tp->sack_ok ? NET_TcpExt_TCPSackRecovery : NET_TcpExt_TCPRenoRecovery);
	init_undo(tp);
	if (tp->ca_state < CAS_CWR)
		init_reduction(tp);
	else
		tp->high_seq = tp->snd_nxt;
	tp->ca_state = CAS_RECOVERY;
}

/* RFC 5681 §3.1 (4), RFC 6582 §4; F-RTO when this may be spurious. */
void tcp_enter_loss(struct tcp_ep *tp)
{
	bool fresh = tp->ca_state < CAS_RECOVERY;
	struct tcp_seg *g;

	if (tp->ca_state <= CAS_DISORDER ||
	    (tp->ca_state == CAS_LOSS && !tp->retransmits && seq_le(tp->high_seq, tp->snd_una))) {
		tp->prior_cwnd = tp->cwnd;
		tp->prior_ssthresh = tp->ssthresh;
		tp->ssthresh = MAX(tp->cc->ssthresh(tp), 2 * tp->mss);
		init_undo(tp);
	} else if (fresh) {
		init_undo(tp);
	}
	tp->cc->timeout(tp);
	if (!tp->sack_ok)
		tp->sacked = 0;
	tp->dup_acks = 0;
	RB_FOREACH (g, tcp_seg_tree, &tp->segs)
		tcp_mark_lost(tp, g);
	tp->cwnd = tcp_in_flight(tp) + tp->mss;
	tp->ca_state = CAS_LOSS;
	tp->high_seq = tp->snd_nxt;
	/* RFC 5682: only when nothing was retransmitted before this timeout. */
	tp->frto = tcp_stack(tp)->sysctl.tcp_frto && (fresh || tp->retransmits) && tp->sack_ok &&
		   !tp->retransmits;
	tp->tlp_high = 0;
}

static bool undo_possible(const struct tcp_ep *tp, const struct tcp_ack_info *ai)
{
	if (!tp->undo_valid)
		return false;
	if (!tp->undo_retrans && tp->retrans_stamp && tp->dsack_seen)
		return true;
	/* Eifel: the ACK echoes a time before the first retransmission. */
	if (tp->retrans_stamp && tp->ts_ok && ai->h->has_ts && ai->h->tsecr &&
	    (ai->flags & ACK_UNA_ADVANCED)) {
		uint32_t stamp = tp->retrans_stamp / NSEC_PER_MSEC + tp->ts_offset;

		return seq_lt(ai->h->tsecr, stamp);
	}
	return false;
}

static void undo(struct tcp_ep *tp, bool unmark)
{
	struct tcp_seg *g;

	if (unmark) {
		RB_FOREACH (g, tcp_seg_tree, &tp->segs)
			if (g->flags & SEG_LOST) {
				g->flags &= ~SEG_LOST;
				tp->lost -= g->end - g->seq;
			}
	}
	tp->cwnd = MAX(tp->cwnd, tp->prior_cwnd);
	tp->ssthresh = MAX(tp->ssthresh, tp->prior_ssthresh);
	tp->cwr_pending = false;
	tp->undo_valid = false;
	tp->cubic.epoch = 0;
}

static void back_to_open(struct tcp_ep *tp)
{
	tp->ca_state = CAS_OPEN;
	tp->retrans_stamp = 0;
	tp->frto = false;
	reno_reset(tp);
}

/* Everything that was outstanding when recovery began has been acknowledged. */
static void finish(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	struct netstack *s = tcp_stack(tp);

	if (tp->ca_state >= CAS_RECOVERY && undo_possible(tp, ai)) {
		net_count(s, tp->ca_state == CAS_LOSS ? NET_TcpExt_TCPSpuriousRTOs
			     : tp->undo_retrans	      ? NET_TcpExt_TCPFullUndo
						      : NET_TcpExt_TCPDSACKUndo);
		undo(tp, true);
	} else if (tp->ca_state == CAS_CWR || tp->ca_state == CAS_RECOVERY) {
		tp->cwnd = MIN(tp->ssthresh, MAX(tp->cwnd, (uint64_t)tcp_in_flight(tp) + tp->mss));
		if (tp->prior_cwnd > tp->ssthresh)
			tp->cwnd = tp->ssthresh;
	}
	back_to_open(tp);
}

/* RFC 6937, with the conservative bound chosen when nothing new is acknowledged. */
static void prr(struct tcp_ep *tp, uint32_t delivered, const struct tcp_ack_info *ai)
{
	uint64_t flight = tcp_in_flight(tp), cnt;

	if (!delivered && !(ai->flags & ACK_LOST_NEW))
		return;
	tp->prr_delivered += delivered;
	if (flight > tp->ssthresh) {
		uint64_t target = (tp->ssthresh * tp->prr_delivered + tp->prior_cwnd - 1) /
				  MAX(tp->prior_cwnd, 1ull);

		cnt = target > tp->prr_out ? target - tp->prr_out : 0;
	} else {
		cnt = tp->prr_delivered > tp->prr_out ? tp->prr_delivered - tp->prr_out : 0;
		cnt = MAX(cnt, (uint64_t)delivered);
		if ((ai->flags & ACK_UNA_ADVANCED) && !(ai->flags & ACK_LOST_NEW))
			cnt += tp->mss;
		cnt = MIN(cnt, tp->ssthresh - flight);
	}
	/* The first retransmission always goes out. */
	if (!tp->prr_out)
		cnt = MAX(cnt, (uint64_t)tp->mss);
	tp->cwnd = flight + cnt;
}

/* RFC 5682 §3.1 with SACK: was the timeout needed? True: recovery is over. */
static bool process_frto(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	bool recovered = seq_le(tp->high_seq, tp->snd_una);

	if (!tp->frto)
		return false;
	/* Step 3b: data that was not retransmitted arrived, sent before the timeout. */
	if ((ai->flags & ACK_ORIG_ACKED) && (ai->flags & (ACK_UNA_ADVANCED | ACK_SACKED_NEW))) {
		net_count(tcp_stack(tp), NET_TcpExt_TCPSpuriousRTOs);
		undo(tp, true);
		tp->frto = false;
		back_to_open(tp);
		return true;
	}
	if (seq_lt(tp->high_seq, tp->snd_nxt)) {
		if (ai->flags & ACK_SACKED_NEW)
			tp->frto = false; /* step 3a: the losses are real */
	} else if ((ai->flags & ACK_UNA_ADVANCED) && !recovered) {
		/* Step 2b: send new data and see. */
		tp->high_seq = tp->snd_nxt;
		if (tp->snd_nxt != tp->write_seq &&
		    seq_lt(tp->snd_nxt, tp->snd_una + tp->snd_wnd)) {
			tp->cwnd = tcp_in_flight(tp) + 2 * tp->mss;
			tcp_output_one(tp);
			return false;
		}
		tp->frto = false;
	}
	return false;
}

static void detect(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	uint32_t lost = tp->lost;
	bool dup = !(ai->flags & (ACK_UNA_ADVANCED | ACK_HAS_DATA | ACK_WIN_UPDATE)) &&
		   tp->snd_una != tp->snd_nxt && ai->h->ack == tp->snd_una;

	if (tp->sack_ok) {
		int64_t wait = rack_detect(tp);

		if (wait)
			tcp_set_rtx(tp, RTX_RACK, wait);
	} else {
		if (ai->flags & ACK_UNA_ADVANCED) {
			uint32_t gone =
				MIN(tp->sacked, ai->acked > tp->mss ? ai->acked - tp->mss : 0);

			tp->sacked -= gone;
			tp->dup_acks = 0;
			if (tp->ca_state == CAS_RECOVERY && seq_lt(tp->snd_una, tp->high_seq))
				reno_mark_head(tp); /* partial ACK: RFC 6582 §3.2 */
		}
		if (dup)
			reno_dupack(tp);
		if (tp->dup_acks >= TCP_DUPTHRESH && tp->ca_state < CAS_RECOVERY)
			reno_mark_head(tp);
	}
	if (tp->lost > lost)
		ai->flags |= ACK_LOST_NEW;
}

void tcp_loss_process(struct tcp_ep *tp, struct tcp_ack_info *ai)
{
	uint64_t delivered = tp->delivered;

	/* Has recovery reached its end? */
	if (tp->ca_state == CAS_CWR && seq_lt(tp->high_seq, ai->h->ack))
		finish(tp, ai);
	else if (tp->ca_state >= CAS_RECOVERY && seq_le(tp->high_seq, tp->snd_una) &&
		 (ai->flags & ACK_UNA_ADVANCED))
		finish(tp, ai);
	if (tp->ca_state == CAS_LOSS) {
		if (process_frto(tp, ai))
			return;
		if (undo_possible(tp, ai)) {
			net_count(tcp_stack(tp), NET_TcpExt_TCPSpuriousRTOs);
			undo(tp, true);
			back_to_open(tp);
			return;
		}
	} else if (tp->ca_state == CAS_RECOVERY && undo_possible(tp, ai)) {
		net_count(tcp_stack(tp), NET_TcpExt_TCPDSACKUndo);
		undo(tp, true);
		back_to_open(tp);
	}
	detect(tp, ai);
	ai->delivered += tp->delivered - delivered; /* NewReno's guesses */
	if (tp->ca_state == CAS_LOSS)
		return; /* slow start: tcp_ack grows the window */
	if (tp->lost && tp->ca_state != CAS_RECOVERY)
		enter_recovery(tp);
	else if (!tp->lost && tp->ca_state <= CAS_DISORDER)
		tp->ca_state = tp->sacked ? CAS_DISORDER : CAS_OPEN;
	/* Limited transmit (RFC 3042) needs no code: SACKed bytes have left the flight. */
	if (tp->ca_state == CAS_RECOVERY || tp->ca_state == CAS_CWR)
		prr(tp, ai->delivered, ai);
}

bool tcp_may_raise_cwnd(const struct tcp_ep *tp, const struct tcp_ack_info *ai)
{
	if (tp->ca_state == CAS_CWR || tp->ca_state == CAS_RECOVERY)
		return false;
	if (tp->ca_state == CAS_LOSS)
		return !tp->frto && (ai->flags & (ACK_UNA_ADVANCED | ACK_SACKED_NEW));
	return ai->flags & ACK_UNA_ADVANCED || ai->flags & ACK_SACKED_NEW;
}

/* The reordering timer: what had time to arrive is lost. RFC 8985 §6.3. */
void tcp_rack_timeout(struct tcp_ep *tp)
{
	struct tcp_header h = {.ack = tp->snd_una};
	struct tcp_ack_info ai = {.rtt = -1, .h = &h};
	uint32_t lost = tp->lost;
	int64_t wait = rack_detect(tp);

	if (tp->lost > lost) {
		ai.flags |= ACK_LOST_NEW;
		if (tp->ca_state != CAS_RECOVERY && tp->ca_state != CAS_LOSS)
			enter_recovery(tp);
		if (tp->ca_state == CAS_RECOVERY)
			prr(tp, 0, &ai);
		tcp_output(tp);
	}
	if (wait)
		tcp_set_rtx(tp, RTX_RACK, wait);
	else if (tp->rtx_mode == RTX_NONE)
		tcp_rearm_rto(tp);
}
