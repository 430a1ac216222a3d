/* Congestion control: NewReno (RFC 5681) and CUBIC (RFC 9438) with HyStart++ (RFC 9406). */
#include <math.h>

#include "netstack/tcp/tcp_internal.h"

#define CUBIC_C 0.4
#define CUBIC_BETA 0.7

/* ------------------------------------------------------------------------------ NewReno */

static void reno_init(struct tcp_ep *tp)
{
	memset(&tp->cubic, 0, sizeof(tp->cubic));
}

static void reno_acked(struct tcp_ep *tp, uint32_t acked, int64_t rtt)
{
	if (tp->cwnd < tp->ssthresh) {
		uint64_t n = MIN((uint64_t)acked, tp->ssthresh - tp->cwnd);

		tp->cwnd += n;
		acked -= n;
	}
	if (acked)
		tp->cwnd += MAX((uint64_t)tp->mss * acked / tp->cwnd, 1ull);
}

static uint32_t reno_ssthresh(struct tcp_ep *tp)
{
	return tp->cwnd / 2;
}

static void reno_timeout(struct tcp_ep *tp)
{
}

const struct tcp_cc tcp_reno = {"reno", reno_init, reno_acked, reno_ssthresh, reno_timeout};

/* ------------------------------------------------------------------------------ HyStart++ */

#define HS_MIN_ETA (4 * NSEC_PER_MSEC)
#define HS_MAX_ETA (16 * NSEC_PER_MSEC)
#define HS_SAMPLES 8
#define HS_CSS_DIV 4
#define HS_CSS_ROUNDS 5
#define HS_TRAIN_GAP (2 * NSEC_PER_MSEC)
#define HS_TRAIN_CWND 16 /* segments */

static void hystart_exit(struct tcp_ep *tp)
{
	net_count(tcp_stack(tp), NET_TcpExt_TCPHystart);
	tp->ssthresh = tp->cwnd;
	tp->cubic.done = true;
}

/*
 * The other half of Ha and Rhee's HyStart ("Taming the elephants", 2011, §3.3.1), which RFC 9406
 * has left out and Linux keeps: ACKs that follow each other closely for half a round trip mean that
 * the path is as good as full. The delay shows it a round later, which is too late for a queue
 * shorter than the path. Where the round trip is below a millisecond, ACKs come in batches that
 * say nothing of the path.
 */
static void hystart_train(struct tcp_ep *tp, int64_t now)
{
	struct cubic_state *c = &tp->cubic;

	if (now - c->last_ack > HS_TRAIN_GAP)
		return;
	c->last_ack = now;
	if (tp->min_rtt >= NSEC_PER_MSEC && tp->cwnd >= HS_TRAIN_CWND * (uint64_t)tp->mss &&
	    now - c->round_start > tp->min_rtt / 2)
		hystart_exit(tp);
}

static void hystart_round(struct tcp_ep *tp, int64_t now)
{
	struct cubic_state *c = &tp->cubic;

	/* The ACK of the last byte still belongs to the round's train; the next begins a new one.
	 */
	if (c->round_start && seq_le(tp->snd_una, c->round_end))
		return;
	if (c->in_css && ++c->css_rounds >= HS_CSS_ROUNDS)
		hystart_exit(tp);
	c->round_start = c->last_ack = now;
	c->round_end = tp->snd_nxt;
	c->last_min_rtt = c->round_min_rtt;
	c->round_min_rtt = INT64_MAX;
	c->samples = 0;
}

static void hystart_sample(struct tcp_ep *tp, int64_t rtt)
{
	struct cubic_state *c = &tp->cubic;
	int64_t eta;

	if (rtt < 0)
		return;
	c->round_min_rtt = MIN(c->round_min_rtt, rtt);
	if (c->samples < 255)
		c->samples++;
	if (c->samples < HS_SAMPLES || c->last_min_rtt == INT64_MAX || !c->last_min_rtt)
		return;
	if (c->in_css) {
		if (c->round_min_rtt < c->css_baseline) { /* it was jitter: resume slow start */
			c->in_css = false;
			c->css_rounds = 0;
		}
		return;
	}
	eta = MIN(MAX(c->last_min_rtt / 8, HS_MIN_ETA), HS_MAX_ETA);
	if (c->round_min_rtt >= c->last_min_rtt + eta) {
		c->in_css = true;
		c->css_rounds = 0;
		c->css_baseline = c->round_min_rtt;
	}
}

/* ------------------------------------------------------------------------------ CUBIC */

static void cubic_init(struct tcp_ep *tp)
{
	memset(&tp->cubic, 0, sizeof(tp->cubic));
	tp->cubic.round_min_rtt = tp->cubic.last_min_rtt = INT64_MAX;
}

/* RFC 9438 §4.2: a new epoch starts at the first ACK in congestion avoidance. */
static void start_epoch(struct tcp_ep *tp, int64_t now)
{
	struct cubic_state *c = &tp->cubic;
	double w = (double)tp->cwnd / tp->mss;

	c->epoch = now;
	if (c->w_max <= w) {
		c->k = 0;
		c->origin = w;
	} else {
		c->k = cbrt((c->w_max - w) / CUBIC_C);
		c->origin = c->w_max;
	}
	c->w_est = w;
}

static double cubic_at(const struct cubic_state *c, double t)
{
	double d = t - c->k;

	return CUBIC_C * d * d * d + c->origin;
}

static void cubic_avoid(struct tcp_ep *tp, uint32_t acked, int64_t now)
{
	struct cubic_state *c = &tp->cubic;
	double w = (double)tp->cwnd / tp->mss, t, target, segs = (double)acked / tp->mss, alpha;

	if (!c->epoch)
		start_epoch(tp, now);
	t = (now - c->epoch) / 1e9;
	/*
	 * §4.3: what Reno with this beta would have. Not 1 above cwnd_prior: Linux stays with the
	 * smaller one, and at 1 % loss that makes a tenth in goodput.
	 */
	alpha = 3.0 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA);
	c->w_est += alpha * segs / w;
	if (cubic_at(c, t) < c->w_est) {
		if (c->w_est > w)
			tp->cwnd = (uint64_t)(c->w_est * tp->mss);
		return;
	}
	/* §4.4, §4.5: towards where the curve is one round trip ahead, at most 1.5 times. */
	target = cubic_at(c, t + tp->srtt / 1e9);
	target = MIN(target, 1.5 * w);
	if (target > w)
		tp->cwnd += (uint64_t)((target - w) / w * acked);
	else
		tp->cwnd += (uint64_t)(0.01 * acked);
}

static void cubic_acked(struct tcp_ep *tp, uint32_t acked, int64_t rtt)
{
	struct cubic_state *c = &tp->cubic;
	int64_t now = net_now(tcp_stack(tp));

	if (tp->cwnd < tp->ssthresh) {
		uint64_t n = acked;

		if (!c->done) {
			hystart_sample(tp, rtt);
			hystart_train(tp, now);
			hystart_round(tp, now);
		}
		if (c->in_css && !c->done)
			n /= HS_CSS_DIV;
		n = MIN(n, tp->ssthresh - tp->cwnd);
		tp->cwnd += n;
		if (tp->cwnd < tp->ssthresh)
			return;
		acked = acked > n ? acked - n : 0;
	}
	if (acked)
		cubic_avoid(tp, acked, now);
}

/* RFC 9438 §4.6, §4.7 (fast convergence). */
static uint32_t cubic_ssthresh(struct tcp_ep *tp)
{
	struct cubic_state *c = &tp->cubic;
	double w = (double)tp->cwnd / tp->mss;

	c->epoch = 0;
	c->w_max = w < c->w_max ? w * (1 + CUBIC_BETA) / 2 : w;
	/* Whole segments: Linux counts in these, and what is not whole cannot be sent anyway. */
	return MIN((uint64_t)(w * CUBIC_BETA) * tp->mss, UINT32_MAX);
}

static void cubic_timeout(struct tcp_ep *tp)
{
	struct cubic_state *c = &tp->cubic;

	c->epoch = 0;
	c->in_css = false;
	c->css_rounds = 0;
	c->round_end = tp->snd_nxt;
}

const struct tcp_cc tcp_cubic = {"cubic", cubic_init, cubic_acked, cubic_ssthresh, cubic_timeout};

const struct tcp_cc *tcp_cc_find(const char *name, size_t len)
{
	static const struct tcp_cc *const all[] = {&tcp_cubic, &tcp_reno};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (strlen(all[i]->name) == strnlen(name, len) && !strncmp(all[i]->name, name, len))
			return all[i];
	return NULL;
}
