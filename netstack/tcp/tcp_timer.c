/*
 * TCP's timers: retransmission (RFC 6298), loss probe (RFC 8985 §7), zero-window probe (RFC 9293
 * §3.8.6.1), delayed ACK, keepalive (RFC 1122 §4.2.3.6), FIN-WAIT-2, TIME-WAIT, user timeout (RFC
 * 5482). An endpoint has one timer of the stack, armed no later than its earliest deadline; a
 * deadline that moves away does not touch it.
 */
#include "netstack/tcp/tcp_internal.h"

static void timer_fired(struct net_timer *t);

void tcp_timer_init(struct tcp_ep *tp)
{
	tp->timer.fn = timer_fired;
	tp->timer_at = INT64_MAX;
	for (int i = 0; i < TT_COUNT; i++)
		tp->deadline[i] = INT64_MAX;
}

/* ep->lock held. The armed timer holds a reference. */
static void arm(struct tcp_ep *tp, int64_t at)
{
	struct netstack *s = tcp_stack(tp);

	if (at >= tp->timer_at || atomic_load(&s->dead))
		return;
	if (!net_timer_cancel(s, &tp->timer))
		net_ep_get(&tp->ep);
	tp->timer_at = at;
	net_timer_arm(s, &tp->timer, at);
}

void tcp_timer_set(struct tcp_ep *tp, enum tcp_timer_kind k, int64_t at)
{
	tp->deadline[k] = at;
	arm(tp, at);
}

void tcp_timer_stop_all(struct tcp_ep *tp)
{
	for (int i = 0; i < TT_COUNT; i++)
		tp->deadline[i] = INT64_MAX;
	tp->rtx_mode = RTX_NONE;
	if (net_timer_cancel(tcp_stack(tp), &tp->timer)) {
		tp->timer_at = INT64_MAX;
		net_ep_put(&tp->ep); /* the caller has a reference of its own */
	}
}

void tcp_set_rtx(struct tcp_ep *tp, enum tcp_rtx_mode mode, int64_t delay)
{
	tp->rtx_mode = mode;
	tcp_timer_set(tp, TT_RTX, net_now(tcp_stack(tp)) + delay);
}

static int64_t backed_off(const struct tcp_ep *tp)
{
	int64_t rto = tp->rto;

	for (unsigned i = 0; i < tp->backoff && rto < TCP_RTO_MAX; i++)
		rto *= 2;
	return MIN(rto, TCP_RTO_MAX);
}

/* RFC 8985 §7.2. False: no probe now. */
static bool tlp_delay(struct tcp_ep *tp, int64_t *delay)
{
	int64_t pto;

	if (!tp->sack_ok || !tcp_stack(tp)->sysctl.tcp_early_retrans || tp->ca_state > CAS_CWR ||
	    tp->tlp_high || tp->sacked || tp->backoff || tp->ca_state == CAS_DISORDER)
		return false;
	if (!tp->srtt) {
		pto = TCP_RTO_INIT;
	} else {
		pto = 2 * tp->srtt;
		if (tcp_in_flight(tp) <= tp->mss)
			pto += TCP_RTO_MIN;
		else
			pto += 10 * NSEC_PER_MSEC; /* what a busy machine delays by */
	}
	*delay = pto;
	return true;
}

/* Something is outstanding: probe or retransmission timer. Nothing, but data waits: persist. */
void tcp_schedule_tlp_or_rto(struct tcp_ep *tp)
{
	int64_t rto = backed_off(tp), pto, now = net_now(tcp_stack(tp)), left;
	struct tcp_seg *first = RB_MIN(tcp_seg_tree, &tp->segs);

	if (!first) {
		if (!tcp_more_to_send(tp)) {
			tp->rtx_mode = RTX_NONE;
			tcp_timer_clear(tp, TT_RTX);
		} else if (tp->rtx_mode != RTX_PROBE) {
			tcp_set_rtx(tp, RTX_PROBE, MAX(rto, TCP_RTO_MIN));
		}
		return;
	}
	/* From when the oldest data was sent: RFC 6298 §5.3 would restart at each ACK. */
	left = rto;
	if (tp->state >= TCP_ESTABLISHED && tp->state != TCP_SYN_SENT && tlp_delay(tp, &pto) &&
	    pto < left) {
		tcp_set_rtx(tp, RTX_TLP, pto);
		return;
	}
	tp->rtx_mode = RTX_RTO;
	tcp_timer_set(tp, TT_RTX, now + left);
}

/* ------------------------------------------------------------------------------ expiry */

static void give_up(struct tcp_ep *tp)
{
	net_count(tcp_stack(tp), NET_TcpExt_TCPAbortOnTimeout);
	tcp_done(tp, tp->ep.soft_error ? tp->ep.soft_error : ETIMEDOUT);
}

/* Has the user timeout, or tcp_retries2 worth of backoff, passed? */
static bool timed_out(struct tcp_ep *tp, unsigned retries)
{
	int64_t now = net_now(tcp_stack(tp)), limit = 0, rto = MAX(tp->rto, TCP_RTO_MIN);

	if (!tp->first_rtx)
		return false;
	if (tp->user_timeout_ms)
		return now - tp->first_rtx >= tp->user_timeout_ms * NSEC_PER_MSEC;
	rto = TCP_RTO_MIN;
	for (unsigned i = 0; i <= retries; i++) {
		limit += rto;
		rto = MIN(rto * 2, TCP_RTO_MAX);
	}
	return now - tp->first_rtx >= limit;
}

static void loss_probe(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	struct tcp_seg *last = RB_MAX(tcp_seg_tree, &tp->segs);

	tp->rtx_mode = RTX_NONE;
	tp->tlp_high = 0;
	if (last && tcp_output_one(tp) == 0) {
		tp->tlp_is_retrans = false;
		tp->tlp_high = tp->snd_nxt;
	} else if (last && !(last->flags & SEG_RETRANS)) {
		/* RFC 8985 §7.3: the segment with the highest sequence number. */
		if (last->end - last->seq > tp->mss) {
			uint32_t keep = (last->end - last->seq - 1) / tp->mss * tp->mss;
			struct tcp_seg *cut = tcp_seg_split(tp, last, last->seq + keep);

			last = cut ? cut : last;
		}
		if (tcp_retransmit(tp, last) == 0) {
			tp->tlp_is_retrans = true;
			tp->tlp_high = tp->snd_nxt;
		}
	}
	if (tp->tlp_high)
		net_count(s, NET_TcpExt_TCPLossProbes);
	tp->rtx_mode = RTX_RTO;
	tcp_timer_set(tp, TT_RTX, net_now(s) + backed_off(tp));
}

/* RFC 6298 §5.4 to §5.7. */
static void retransmit_timeout(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	struct tcp_seg *head = RB_MIN(tcp_seg_tree, &tp->segs);
	bool syn = tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECV;
	unsigned max;
	int64_t delay;

	tp->rtx_mode = RTX_NONE;
	if (!head)
		return;
	if (!tp->first_rtx)
		tp->first_rtx = net_now(s);
	if (syn) {
		max = tp->syncnt		  ? tp->syncnt
		      : tp->state == TCP_SYN_SENT ? s->sysctl.tcp_syn_retries
						  : s->sysctl.tcp_synack_retries;
		if (tp->retransmits >= max || (tp->user_timeout_ms && timed_out(tp, max))) {
			give_up(tp);
			return;
		}
	} else {
		max = tp->orphan && s->sysctl.tcp_orphan_retries ? s->sysctl.tcp_orphan_retries
		      : tp->orphan				 ? 8
								 : s->sysctl.tcp_retries2;
		if (timed_out(tp, max)) {
			give_up(tp);
			return;
		}
		if (tp->retransmits >= s->sysctl.tcp_retries1)
			path_release(&tp->ep.path); /* is there a better one? */
		net_count(s, NET_TcpExt_TCPTimeouts);
		/* A peer that shut its window while data was out: keep probing, RFC 9293 §3.8.6.1
		 */
		tcp_enter_loss(tp);
		head = RB_MIN(tcp_seg_tree, &tp->segs);
		if (head && head->end - head->seq > tp->mss)
			tcp_seg_split(tp, head, head->seq + tp->mss);
	}
	if (tp->retransmits < 255)
		tp->retransmits++;
	if (tp->backoff < 30)
		tp->backoff++;
	if (head)
		tcp_retransmit(tp, head);
	tp->rtx_mode = RTX_RTO;
	delay = backed_off(tp);
	if (tp->user_timeout_ms) /* not later than the user's limit: RFC 5482 */
		delay = MIN(delay,
			    MAX(tp->first_rtx + tp->user_timeout_ms * NSEC_PER_MSEC - net_now(s),
				NSEC_PER_MSEC));
	tcp_timer_set(tp, TT_RTX, net_now(s) + delay);
}

/* Data waits and nothing is outstanding: window closed, corked, or silly-window avoidance. */
static void probe_timeout(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s);
	int32_t room = tp->snd_una + tp->snd_wnd - tp->snd_nxt;
	unsigned max = tp->orphan ? 8 : s->sysctl.tcp_retries2;

	tp->rtx_mode = RTX_NONE;
	if (!tcp_more_to_send(tp) || tp->snd_una != tp->snd_nxt)
		return;
	if (room > 0) {
		/* Held back by cork or Nagle long enough. */
		if (tp->snd_nxt != tp->write_seq)
			tcp_output_one(tp);
		tcp_output(tp);
		tcp_schedule_tlp_or_rto(tp);
		return;
	}
	if (!tp->probe_start)
		tp->probe_start = now;
	if ((tp->user_timeout_ms && now - tp->probe_start >= tp->user_timeout_ms * NSEC_PER_MSEC) ||
	    tp->probes_out >= max) {
		give_up(tp);
		return;
	}
	net_count(s, NET_TcpExt_TCPWinProbe);
	tcp_send_probe(tp);
	if (tp->probes_out < 255)
		tp->probes_out++;
	if (tp->backoff < 30)
		tp->backoff++;
	tcp_set_rtx(tp, RTX_PROBE, backed_off(tp));
}

static int64_t keep_idle(const struct tcp_ep *tp)
{
	int s = tp->keep_idle ? tp->keep_idle : tcp_stack(tp)->sysctl.tcp_keepalive_time;

	return s * NSEC_PER_SEC;
}

void tcp_keepalive_reset(struct tcp_ep *tp)
{
	if (tp->state == TCP_LISTEN || tp->state == TCP_CLOSE || tp->state == TCP_TIME_WAIT ||
	    tp->state == TCP_FIN_WAIT2)
		return;
	if (tp->ep.opt.keepalive && tp->state != TCP_SYN_SENT)
		tcp_timer_set(tp, TT_KEEP, net_now(tcp_stack(tp)) + keep_idle(tp));
	else
		tcp_timer_clear(tp, TT_KEEP);
}

static void keepalive(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s), quiet = now - MAX(tp->last_rcv, tp->established_at);
	unsigned max = tp->keep_cnt ? tp->keep_cnt : s->sysctl.tcp_keepalive_probes;
	int64_t intvl =
		(tp->keep_intvl ? tp->keep_intvl : s->sysctl.tcp_keepalive_intvl) * NSEC_PER_SEC;

	if (tp->state == TCP_TIME_WAIT || (tp->state == TCP_FIN_WAIT2 && tp->orphan)) {
		tcp_done(tp, 0);
		return;
	}
	if (!tp->ep.opt.keepalive || tp->state == TCP_CLOSE || tp->state == TCP_SYN_SENT)
		return;
	/* Data in flight is its own probe. */
	if (tp->snd_una != tp->snd_nxt || tcp_more_to_send(tp)) {
		tcp_timer_set(tp, TT_KEEP, now + keep_idle(tp));
		return;
	}
	if (quiet < keep_idle(tp)) {
		tp->probes_out = 0;
		tcp_timer_set(tp, TT_KEEP, now + keep_idle(tp) - quiet);
		return;
	}
	if ((tp->user_timeout_ms && quiet >= tp->user_timeout_ms * NSEC_PER_MSEC &&
	     tp->probes_out) ||
	    (!tp->user_timeout_ms && tp->probes_out >= max)) {
		tcp_send_reset(tp);
		give_up(tp);
		return;
	}
	net_count(s, NET_TcpExt_TCPKeepAlive);
	tcp_send_probe(tp);
	if (tp->probes_out < 255)
		tp->probes_out++;
	tcp_timer_set(tp, TT_KEEP, now + intvl);
}

static void expire_rtx(struct tcp_ep *tp)
{
	switch (tp->rtx_mode) {
	case RTX_TLP:
		loss_probe(tp);
		break;
	case RTX_RACK:
		tp->rtx_mode = RTX_NONE;
		tcp_rack_timeout(tp);
		if (tp->rtx_mode == RTX_NONE)
			tcp_rearm_rto(tp);
		break;
	case RTX_RTO:
		retransmit_timeout(tp);
		break;
	case RTX_PROBE:
		probe_timeout(tp);
		break;
	}
}

static void expire(struct tcp_ep *tp, int64_t now)
{
	if (tp->deadline[TT_RTX] <= now) {
		tcp_timer_clear(tp, TT_RTX);
		expire_rtx(tp);
	}
	if (tp->deadline[TT_DELACK] <= now) {
		tcp_timer_clear(tp, TT_DELACK);
		tp->pingpong = 0; /* no answer has come along */
		net_count(tcp_stack(tp), NET_TcpExt_DelayedACKs);
		tcp_send_ack(tp);
	}
	if (tp->deadline[TT_KEEP] <= now) {
		tcp_timer_clear(tp, TT_KEEP);
		keepalive(tp);
	}
}

static void timer_fired(struct net_timer *t)
{
	struct tcp_ep *tp = container_of(t, struct tcp_ep, timer);
	int64_t next = INT64_MAX;

	NET_CONTEXT();
	mutex_lock(&tp->ep.lock);
	/* Somebody may have armed it again between its firing and our lock. */
	if (!net_timer_cancel(tcp_stack(tp), t))
		net_ep_get(&tp->ep);
	tp->timer_at = INT64_MAX;
	if (tp->state != TCP_CLOSE)
		expire(tp, net_now(tcp_stack(tp)));
	if (tp->state != TCP_CLOSE)
		for (int i = 0; i < TT_COUNT; i++)
			next = MIN(next, tp->deadline[i]);
	if (next != INT64_MAX)
		arm(tp, next);
	mutex_unlock(&tp->ep.lock);
	/* One reference is the firing's, one was taken (or found armed) above. */
	net_ep_put(&tp->ep);
	net_ep_put(&tp->ep);
}
