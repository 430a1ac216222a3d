/* IPPROTO_TCP options and TCP_INFO; man 7 tcp. */
#include "netstack/tcp/tcp_internal.h"

#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif

static int set_keep(int v, int max, int *out)
{
	if (v < 1 || v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

static int set_congestion(struct tcp_ep *tp, const void *val, socklen_t len)
{
	const struct tcp_cc *cc = tcp_cc_find(val, MIN(len, (socklen_t)16));

	if (!cc)
		return -ENOENT;
	MUTEX_GUARD(&tp->ep.lock);
	tp->cc = cc;
	cc->init(tp);
	return 0;
}

/* Seconds to a number of SYN-ACK retransmissions, and back: man 7 tcp, TCP_DEFER_ACCEPT. */
static unsigned seconds_to_retries(int s)
{
	int64_t period = 1, timeout = 1;
	unsigned n = 1;

	if (s <= 0)
		return 0;
	while (s > period && n < 255) {
		n++;
		timeout = MIN(timeout * 2, (int64_t)120);
		period += timeout;
	}
	return n;
}

static int retries_to_seconds(unsigned n)
{
	int64_t period = n ? 1 : 0, timeout = 1;

	while (n-- > 1) {
		timeout = MIN(timeout * 2, (int64_t)120);
		period += timeout;
	}
	return period;
}

static int set_int(struct tcp_ep *tp, int name, int v)
{
	int n, err;

	switch (name) {
	case TCP_NODELAY:
		tp->nodelay = v;
		if (v)
			tcp_output(tp);
		return 0;
	case TCP_CORK:
		tp->cork = v;
		if (!v)
			tcp_output(tp);
		return 0;
	case TCP_MAXSEG:
		if (v && (v < TCP_MIN_MSS + 40 || v > 32767))
			return -EINVAL;
		tp->user_mss = v;
		return 0;
	case TCP_KEEPIDLE:
		err = set_keep(v, 32767, &tp->keep_idle);
		if (!err && tp->ep.opt.keepalive)
			tcp_keepalive_reset(tp);
		return err;
	case TCP_KEEPINTVL:
		return set_keep(v, 32767, &tp->keep_intvl);
	case TCP_KEEPCNT:
		err = set_keep(v, 127, &n);
		if (!err)
			tp->keep_cnt = n;
		return err;
	case TCP_SYNCNT:
		err = set_keep(v, 127, &n);
		if (!err)
			tp->syncnt = n;
		return err;
	case TCP_LINGER2:
		tp->linger2 = v < 0 ? -1 : MIN(v, 120);
		return 0;
	case TCP_DEFER_ACCEPT:
		tp->defer_accept = seconds_to_retries(v);
		return 0;
	case TCP_WINDOW_CLAMP:
		/* 0 lifts it, which is for sockets without a connection only (man 7 tcp). */
		if (!v && tp->state != TCP_CLOSE)
			return -EINVAL;
		tp->window_clamp = v ? MAX((uint32_t)v, 1152u) : UINT32_MAX;
		return 0;
	case TCP_QUICKACK:
		if (!v) {
			tp->pingpong = 1;
			tp->quickack = 0;
		} else {
			tp->pingpong = 0;
			tp->quickack = 16;
			if (tp->deadline[TT_DELACK] != INT64_MAX)
				tcp_send_ack(tp);
		}
		return 0;
	case TCP_USER_TIMEOUT:
		if (v < 0)
			return -EINVAL;
		tp->user_timeout_ms = v;
		return 0;
	case TCP_INQ:
		if (v != 0 && v != 1)
			return -EINVAL;
		tp->recv_inq = v;
		return 0;
	case TCP_NOTSENT_LOWAT:
		tp->notsent_lowat = v;
		if (tcp_write_space(tp))
			net_defer_ready(&tp->ep, EPOLLOUT | EPOLLWRNORM);
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int tcp_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len)
{
	struct tcp_ep *tp = tcp(ep);
	int v, err;

	if (level == SOL_SOCKET && name == SO_KEEPALIVE) {
		err = opt_int(val, len, &v);
		if (err)
			return err;
		MUTEX_GUARD(&ep->lock);
		ep->opt.keepalive = v;
		tcp_keepalive_reset(tp);
		return 0;
	}
	if (level != IPPROTO_TCP)
		return -ENOPROTOOPT;
	if (name == TCP_CONGESTION)
		return len ? set_congestion(tp, val, len) : -EINVAL;
	err = opt_int(val, len, &v);
	if (err)
		return err;
	MUTEX_GUARD(&ep->lock);
	return set_int(tp, name, v);
}

static uint32_t ms_since(int64_t now, int64_t then)
{
	return then ? (now - then) / NSEC_PER_MSEC : 0;
}

/*
 * What Linux has added to struct tcp_info since the C library's copy (include/uapi/linux/tcp.h,
 * which does not go together with <netinet/tcp.h>). What is not measured stays 0.
 */
struct tcp_info_more {
	struct tcp_info base;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
	uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
	uint32_t delivered, delivered_ce;
	uint64_t bytes_sent, bytes_retrans;
	uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd, rcv_wnd;
	uint32_t unused;
};
_Static_assert(sizeof(struct tcp_info) == 104, "the fields up to tcpi_total_retrans");

static void fill_more(struct tcp_ep *tp, struct tcp_info_more *i)
{
	i->max_pacing_rate = UINT64_MAX;
	i->bytes_acked = tp->bytes_acked;
	i->bytes_received = tp->bytes_received;
	i->segs_out = tp->segs_out;
	i->segs_in = tp->segs_in;
	i->notsent_bytes = tp->write_seq - tp->snd_nxt;
	i->min_rtt = tp->min_rtt ? tp->min_rtt / NSEC_PER_USEC : UINT32_MAX;
	i->data_segs_in = tp->data_segs_in;
	i->data_segs_out = tp->data_segs_out;
	i->delivered = tp->delivered / MAX(tp->mss, 1u);
	i->bytes_sent = tp->bytes_sent + tp->bytes_retrans;
	i->bytes_retrans = tp->bytes_retrans;
	i->dsack_dups = tp->dsack_dups;
	i->reord_seen = tp->reord_events;
	i->snd_wnd = tp->snd_wnd;
	i->rcv_wnd = tp->rcv_wnd;
}

static void fill_info(struct tcp_ep *tp, struct tcp_info *i)
{
	struct netstack *s = tcp_stack(tp);
	int64_t now = net_now(s);
	uint32_t mss = MAX(tp->mss, 1u);

	i->tcpi_state = tp->state;
	if (tp->state == TCP_LISTEN) {
		i->tcpi_unacked = tp->listener->queued;
		i->tcpi_sacked = tp->listener->backlog;
		return;
	}
	i->tcpi_ca_state = tp->ca_state;
	i->tcpi_retransmits = tp->retransmits;
	i->tcpi_probes = tp->probes_out;
	i->tcpi_backoff = tp->backoff;
	i->tcpi_options = (tp->ts_ok ? TCPI_OPT_TIMESTAMPS : 0) |
			  (tp->sack_ok ? TCPI_OPT_SACK : 0) |
			  (tp->wscale_ok ? TCPI_OPT_WSCALE : 0) | (tp->ecn_ok ? TCPI_OPT_ECN : 0);
	i->tcpi_snd_wscale = tp->snd_wscale;
	i->tcpi_rcv_wscale = tp->rcv_wscale;
	i->tcpi_rto = tp->rto / NSEC_PER_USEC;
	i->tcpi_ato = TCP_DELACK_MIN / NSEC_PER_USEC;
	i->tcpi_snd_mss = tp->mss;
	i->tcpi_rcv_mss = tp->rcv_mss;
	i->tcpi_unacked = (tp->snd_nxt - tp->snd_una + mss - 1) / mss;
	i->tcpi_sacked = (tp->sacked + mss - 1) / mss;
	i->tcpi_lost = (tp->lost + mss - 1) / mss;
	i->tcpi_retrans = (tp->retrans + mss - 1) / mss;
	i->tcpi_last_data_sent = ms_since(now, tp->last_snd);
	i->tcpi_last_data_recv = ms_since(now, tp->last_data_rcv);
	i->tcpi_last_ack_recv = ms_since(now, tp->last_rcv);
	i->tcpi_pmtu = tp->ep.path.link ? tp->ep.path.mtu : 0;
	i->tcpi_rcv_ssthresh = MIN(tp->window_clamp, tcp_receive_space(tp));
	i->tcpi_rtt = tp->srtt / NSEC_PER_USEC;
	i->tcpi_rttvar = tp->rttvar / NSEC_PER_USEC;
	i->tcpi_snd_ssthresh = tp->ssthresh >= UINT32_MAX ? INT32_MAX : tp->ssthresh / mss;
	i->tcpi_snd_cwnd = MAX(tp->cwnd / mss, 1ull);
	i->tcpi_advmss = tcp_path_mss(tp);
	i->tcpi_reordering = tp->reordering;
	i->tcpi_rcv_rtt = tp->rcv_rtt / NSEC_PER_USEC;
	i->tcpi_rcv_space = tp->space_copied;
	i->tcpi_total_retrans = tp->total_retrans;
}

int tcp_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len)
{
	struct tcp_ep *tp = tcp(ep);
	struct netstack *s = ep->stack;
	struct tcp_info_more info = {0};
	int v;
	MUTEX_GUARD(&ep->lock);

	if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
		return opt_put_int(val, len, tp->state == TCP_LISTEN);
	if (level != IPPROTO_TCP)
		return -ENOPROTOOPT;
	switch (name) {
	case TCP_NODELAY:
		v = tp->nodelay;
		break;
	case TCP_CORK:
		v = tp->cork;
		break;
	case TCP_MAXSEG:
		v = tp->state == TCP_CLOSE || tp->state == TCP_LISTEN
			    ? (tp->user_mss ? tp->user_mss : TCP_DEFAULT_MSS)
			    : tp->mss;
		break;
	case TCP_KEEPIDLE:
		v = tp->keep_idle ? tp->keep_idle : s->sysctl.tcp_keepalive_time;
		break;
	case TCP_KEEPINTVL:
		v = tp->keep_intvl ? tp->keep_intvl : s->sysctl.tcp_keepalive_intvl;
		break;
	case TCP_KEEPCNT:
		v = tp->keep_cnt ? tp->keep_cnt : s->sysctl.tcp_keepalive_probes;
		break;
	case TCP_SYNCNT:
		v = tp->syncnt ? tp->syncnt : s->sysctl.tcp_syn_retries;
		break;
	case TCP_LINGER2:
		v = tp->linger2 < 0 ? -1 : tp->linger2 ? tp->linger2 : s->sysctl.tcp_fin_timeout;
		break;
	case TCP_DEFER_ACCEPT:
		v = retries_to_seconds(tp->defer_accept);
		break;
	case TCP_WINDOW_CLAMP:
		v = tp->window_clamp == UINT32_MAX && tp->state == TCP_CLOSE
			    ? 0
			    : (int)MIN(tp->window_clamp, (uint32_t)INT32_MAX);
		break;
	case TCP_QUICKACK:
		v = !tp->pingpong;
		break;
	case TCP_USER_TIMEOUT:
		v = tp->user_timeout_ms;
		break;
	case TCP_INQ:
		v = tp->recv_inq;
		break;
	case TCP_IS_MPTCP:
		v = 0;
		break;
	case TCP_NOTSENT_LOWAT:
		v = tp->notsent_lowat;
		break;
	case TCP_INFO:
		fill_info(tp, &info.base);
		if (tp->state != TCP_LISTEN)
			fill_more(tp, &info);
		return opt_put(val, len, &info, sizeof(info));
	case TCP_CONGESTION: {
		char cc[16] = "";

		strncpy(cc, tp->cc->name, sizeof(cc) - 1);
		return opt_put(val, len, cc, sizeof(cc));
	}
	default:
		return -ENOPROTOOPT;
	}
	return opt_put_int(val, len, v);
}
