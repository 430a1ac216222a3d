/* States of a connection: establishment, ends, TIME-WAIT, orphans. RFC 9293 §3.3.2, §3.6. */
#include "netstack/demux/demux_upcalls.h"
#include "netstack/tcp/tcp_internal.h"

void tcp_set_state(struct tcp_ep *tp, uint8_t state)
{
	if (tp->state == TCP_TIME_WAIT && state != TCP_TIME_WAIT)
		atomic_fetch_sub(&tcp_stack(tp)->n_timewait, 1);
	tp->state = state;
}

/* The tables' reference: held from the first handshake segment to the end. */
int tcp_self_ref(struct tcp_ep *tp)
{
	if (!tp->self_ref) {
		tp->self_ref = true;
		net_ep_get(&tp->ep);
	}
	return 0;
}

void tcp_done(struct tcp_ep *tp, int err)
{
	struct netstack *s = tcp_stack(tp);
	bool was = tp->state != TCP_CLOSE;

	if (was && (tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECV))
		net_count(s, NET_Tcp_AttemptFails);
	else if (err == ECONNRESET)
		net_count(s, NET_Tcp_EstabResets);
	tcp_set_state(tp, TCP_CLOSE);
	tcp_timer_stop_all(tp);
	tcp_segs_free(tp);
	tcp_chunks_purge(tp);
	if (tp->orphan) {
		tcp_rx_purge(tp);
		atomic_fetch_sub(&s->n_orphans, 1);
		tp->orphan = false;
	} else {
		/* What has been received in order can still be read. */
		tcp_ooo_purge(tp);
	}
	demux_remove(s, s->tcp, &tp->ep);
	if (tp->ep.closed || !tp->ep.bound) {
		port_unbind(s, s->tcp_ports, &tp->ep);
		if (!tp->ep.bound)
			tp->ep.lport = 0;
	}
	tp->ep.shut = 3;
	if (err)
		ep_set_error(&tp->ep, err);
	if (was)
		net_defer_ready(&tp->ep,
				EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP | (err ? EPOLLERR : 0));
	if (tp->self_ref) {
		tp->self_ref = false;
		net_ep_put(&tp->ep); /* the caller has one */
	}
}

/* Buffers and window for a connection that is about to carry data. */
void tcp_init_transfer(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);

	tcp_current_mss(tp);
	/* RFC 6928 §2; RFC 5681 §3.1: one segment if the SYN was lost. */
	tp->cwnd = (uint64_t)TCP_INIT_CWND * tp->mss;
	if (tp->total_retrans > 1)
		tp->cwnd = tp->mss;
	tp->ssthresh = UINT32_MAX;
	tp->ca_state = CAS_OPEN;
	tp->cc->init(tp);
	tp->reordering = s->sysctl.tcp_reordering;
	tp->rcv_mss = MAX(MIN(tp->mss, 1448u), (uint32_t)TCP_DEFAULT_MSS);
	tp->established_at = tp->last_rcv = tp->last_data_rcv = net_now(s);
	if (!tp->ep.opt.sndbuf_locked)
		tp->ep.sndbuf = MAX(tp->ep.sndbuf, MIN((uint32_t)tp->cwnd * 4 + TCP_CHUNK,
						       (uint32_t)s->sysctl.tcp_wmem[2]));
	tp->copied_seq = tp->rcv_nxt;
	tp->space_seq = tp->rcv_nxt;
	tp->rcv_up = tp->rcv_nxt;
	tp->high_sacked = tp->snd_una;
	tp->snd_up = tp->snd_una;
	tcp_keepalive_reset(tp);
}

void tcp_established(struct tcp_ep *tp)
{
	tcp_set_state(tp, TCP_ESTABLISHED);
	tcp_init_transfer(tp);
	tp->ep.connected = true;
	net_defer_ready(&tp->ep, EPOLLOUT | EPOLLWRNORM);
}

/* RFC 9293 §3.6.1: twice the segment lifetime, here tcp_timewait_len in all. */
void tcp_enter_timewait(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);

	if (tp->state == TCP_TIME_WAIT) {
		tcp_timer_set(tp, TT_KEEP, net_now(s) + s->sysctl.tcp_timewait_len * NSEC_PER_SEC);
		return;
	}
	if (tp->orphan && atomic_load(&s->n_timewait) >= (unsigned)s->sysctl.tcp_max_tw_buckets) {
		net_count(s, NET_TcpExt_TWOverflow);
		tcp_done(tp, 0);
		return;
	}
	net_count(s, NET_TcpExt_TW);
	atomic_fetch_add(&s->n_timewait, 1);
	tcp_set_state(tp, TCP_TIME_WAIT);
	tcp_timer_stop_all(tp);
	tcp_segs_free(tp);
	tcp_chunks_purge(tp);
	if (tp->orphan)
		tcp_rx_purge(tp);
	path_release(&tp->ep.path);
	tp->last_rcv = net_now(s);
	tcp_timer_set(tp, TT_KEEP, net_now(s) + s->sysctl.tcp_timewait_len * NSEC_PER_SEC);
	net_defer_ready(&tp->ep, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP);
}

bool tcp_is_listener(const struct net_ep *ep)
{
	return tcp_const(ep)->state == TCP_LISTEN;
}

/*
 * A new connection wants the 4-tuple of one in TIME-WAIT: allowed when timestamps keep old
 * segments apart (RFC 6191). tcp_tw_reuse 1: always, 2: loopback only. True: it is free now.
 * The caller holds the new endpoint's lock; nobody waits for that one while holding the old one's.
 */
bool tcp_timewait_reuse(struct net_ep *old, struct net_ep *by)
{
	struct netstack *s = old->stack;
	struct tcp_ep *tw = tcp(old);
	bool ok;
	MUTEX_GUARD(&old->lock);

	ok = tw->state == TCP_TIME_WAIT && tw->ts_ok && net_now(s) - tw->last_rcv > NSEC_PER_SEC &&
	     (s->sysctl.tcp_tw_reuse == 1 ||
	      (s->sysctl.tcp_tw_reuse == 2 && addr_is_local(s, &by->raddr)));
	if (!ok)
		return false;
	net_count(s, NET_TcpExt_TWRecycled);
	/* Start above what the old one used: RFC 9293 §3.4.3. */
	tcp(by)->iss = tw->snd_nxt + 65535 + 2;
	tcp(by)->ts_recent = tw->ts_recent;
	tcp_done(tw, 0);
	return true;
}

/* Too many orphans, or no memory: the connection is reset. True if it was. */
int tcp_check_orphan(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);

	if (atomic_load(&s->n_orphans) <= (unsigned)s->sysctl.tcp_max_orphans &&
	    npool_pressure(s->pool) < 2)
		return 0;
	net_count(s, NET_TcpExt_TCPAbortOnMemory);
	tcp_send_reset(tp);
	tcp_done(tp, 0);
	return 1;
}

/* The application sends no more: the FIN follows the data. RFC 9293 §3.10.4. */
void tcp_queue_fin(struct tcp_ep *tp)
{
	if (tp->fin_queued)
		return;
	tp->fin_queued = true;
	if (tp->state == TCP_CLOSE_WAIT)
		tcp_set_state(tp, TCP_LAST_ACK);
	else if (tp->state == TCP_ESTABLISHED || tp->state == TCP_SYN_RECV)
		tcp_set_state(tp, TCP_FIN_WAIT1);
	tp->more = false;
	tcp_output(tp);
}

/* The peer's FIN is the next byte: RFC 9293 §3.10.7.4 step 8. */
void tcp_fin_in_order(struct tcp_ep *tp)
{
	if (tp->fin_received)
		return;
	tp->fin_received = true;
	tp->rcv_nxt++;
	tp->ep.shut |= 1;
	tcp_ooo_purge(tp);
	tp->quickack = MAX(tp->quickack, (uint8_t)1);
	tp->pingpong = 0;
	switch (tp->state) {
	case TCP_ESTABLISHED:
	case TCP_SYN_RECV:
		tcp_set_state(tp, TCP_CLOSE_WAIT);
		break;
	case TCP_FIN_WAIT1:
		tcp_set_state(tp, TCP_CLOSING);
		break;
	case TCP_FIN_WAIT2:
		tcp_enter_timewait(tp); /* the caller acknowledges */
		break;
	}
	net_defer_ready(&tp->ep, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP);
}
