/* The user calls of TCP: RFC 9293 §3.10.1 to §3.10.5. */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "netstack/demux/demux_upcalls.h"
#include "netstack/policy/policy.h"
#include "netstack/tcp/tcp_internal.h"

static int tcp_init(struct net_ep *ep)
{
	struct netstack *s = ep->stack;
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock); /* net_ep_each() finds it already */

	tp->state = TCP_CLOSE;
	tp->cc = s->sysctl.tcp_reno ? &tcp_reno : &tcp_cubic;
	tp->rto = TCP_RTO_INIT;
	tp->win_ratio = 128;
	tp->window_clamp = UINT32_MAX;
	tp->rcv_mss = TCP_DEFAULT_MSS;
	tp->mss = TCP_DEFAULT_MSS;
	tp->ssthresh = UINT32_MAX;
	tp->cwnd = TCP_INIT_CWND * TCP_DEFAULT_MSS;
	ep->rcvbuf = s->sysctl.tcp_rmem[1];
	ep->sndbuf = s->sysctl.tcp_wmem[1];
	tp->notsent_lowat =
		s->sysctl.tcp_notsent_lowat == INT32_MAX ? 0 : s->sysctl.tcp_notsent_lowat;
	RB_INIT(&tp->ooo);
	TAILQ_INIT(&tp->chunks);
	TAILQ_INIT(&tp->by_time);
	RB_INIT(&tp->segs);
	tcp_timer_init(tp);
	return 0;
}

static void tcp_destroy(struct net_ep *ep)
{
	struct tcp_ep *tp = tcp(ep);

	BUG_ON(ep->hashed || tp->timer.armed);
	tcp_segs_free(tp);
	tcp_chunks_purge(tp);
	tcp_rx_purge(tp);
	if (ep->port)
		port_unbind(ep->stack, ep->stack->tcp_ports, ep);
	net_free(ep->stack, tp->listener);
}

static int tcp_bind(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	struct tcp_ep *tp = tcp(ep);
	struct in6_addr addr;
	uint16_t port;
	int scope, err;
	MUTEX_GUARD(&ep->lock);

	if (tp->state != TCP_CLOSE || ep->bound || ep->lport)
		return -EINVAL;
	err = ep_parse_addr(ep, a, len, &addr, &port, &scope);
	if (!err)
		err = ep_check_bind_addr(ep, &addr, &scope);
	if (err)
		return err == -ENETUNREACH ? -EINVAL : err;
	if (scope)
		ep->bound_if = scope;
	if (port || !ep->opt.bind_no_port) {
		err = port_bind(ep->stack, ep->stack->tcp_ports, ep, &addr, port);
		if (err)
			return err;
		ep->bound = true;
	}
	ep->laddr = addr;
	ep->laddr_bound = !addr_any(&addr);
	return 0;
}

static void init_syn(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	struct tuple t = {tp->ep.laddr, tp->ep.raddr, tp->ep.lport, tp->ep.rport};
	long max = MAX(s->sysctl.tcp_rmem[2], s->sysctl.rmem_max);

	if (tp->ep.opt.rcvbuf_locked)
		max = tp->ep.rcvbuf;
	tp->wscale_ok = s->sysctl.tcp_window_scaling;
	tp->sack_ok = s->sysctl.tcp_sack;
	tp->ts_ok = s->sysctl.tcp_timestamps;
	tp->rcv_wscale = 0;
	while (tp->wscale_ok && tp->rcv_wscale < TCP_MAX_WSCALE && max > 65535) {
		max >>= 1;
		tp->rcv_wscale++;
	}
	tp->ts_offset = s->sysctl.tcp_timestamps == 2 ? 0 : tcp_timestamp_offset(s, &t);
	/* An ISS above the old connection's was set when a TIME-WAIT was reused. */
	if (!tp->iss)
		tp->iss = tcp_initial_seq(s, &t);
	tp->snd_una = tp->snd_nxt = tp->iss;
	tp->write_seq = tp->snd_sml = tp->snd_up = tp->iss + 1;
	tp->rcv_wnd = MIN((uint32_t)((uint64_t)tp->ep.rcvbuf * tp->win_ratio >> 8), 65535u);
	tp->rto = TCP_RTO_INIT;
	tp->retransmits = tp->backoff = 0;
}

/* Local address and port, tables; lock held. */
static int choose_local(struct tcp_ep *tp, const struct in6_addr *dst, uint16_t port)
{
	struct net_ep *ep = &tp->ep;
	struct netstack *s = ep->stack;
	struct net_path *p;
	int err;

	if (!addr_any(&ep->laddr) && addr_is4(&ep->laddr) != addr_is4(dst))
		return addr_is4(dst) ? -EINVAL : -ENETUNREACH;
	path_release(&ep->path);
	err = ep_path(ep, dst, &p);
	if (err)
		return err;
	if (p->type == RTN_BROADCAST || p->type == RTN_MULTICAST)
		return -ENETUNREACH;
	if (link_leads_out(p->link)) {
		struct net_egress_flow flow = {
			.protocol = IPPROTO_TCP, .lport = ep->lport, .rport = port, .raddr = *dst};

		err = egress_may_begin(s, &flow);
		if (err)
			return err;
	}
	ep->raddr = *dst;
	ep->rport = port;
	if (addr_any(&ep->laddr))
		ep->laddr = p->src;
	tp->iss = 0;
	if (ep->port) {
		struct net_ep *other = NULL;

		err = demux_insert(s, s->tcp, ep, &other);
		if (err && other && tcp_timewait_reuse(other, ep))
			err = demux_insert(s, s->tcp, ep, NULL);
		if (other)
			net_ep_put(other);
	} else {
		err = port_connect(s, s->tcp_ports, s->tcp, ep);
	}
	return err;
}

static void forget_peer(struct net_ep *ep)
{
	ep->rport = 0;
	if (ep->family == AF_INET)
		addr_set4(&ep->raddr, 0);
	else
		ep->raddr = in6addr_any;
	if (!ep->laddr_bound) {
		if (ep->family == AF_INET)
			addr_set4(&ep->laddr, 0);
		else
			ep->laddr = in6addr_any;
	}
	ep->connected = false;
}

/* connect to AF_UNSPEC: drops the connection, the endpoint can be used again. */
static int disconnect(struct tcp_ep *tp)
{
	struct net_ep *ep = &tp->ep;

	if (tp->state == TCP_LISTEN)
		return -EINVAL; /* shutdown is the way to stop listening */
	if (tp->state != TCP_CLOSE) {
		if (tp->state != TCP_SYN_SENT)
			tcp_send_reset(tp);
		tcp_done(tp, 0);
	}
	tcp_rx_purge(tp);
	if (!ep->bound && ep->port) {
		port_unbind(ep->stack, ep->stack->tcp_ports, ep);
		ep->lport = 0;
	}
	forget_peer(ep);
	ep_set_error(ep, 0);
	ep->shut = 0;
	tp->fin_queued = tp->fin_sent = tp->fin_received = tp->connect_reported = false;
	tp->established_at = 0;
	tp->srtt = tp->min_rtt = tp->rack_xmit = 0;
	tp->dsack_seen = tp->reordering_seen = tp->rtt_seen = false;
	tp->urg_valid = tp->ecn_ok = tp->ece_pending = tp->cwr_pending = false;
	tp->ts_recent = 0;
	tp->probes_out = tp->dup_acks = 0;
	return 0;
}

/* What a second connect call says. */
static int connect_progress(struct tcp_ep *tp)
{
	int err = ep_take_error(&tp->ep);

	if (err)
		return err;
	if (tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECV)
		return -EALREADY;
	if (tp->state == TCP_LISTEN || tp->connect_reported)
		return -EISCONN;
	tp->connect_reported = true;
	return 0;
}

static int tcp_connect(struct net_ep *ep, const struct sockaddr *a, socklen_t len)
{
	struct tcp_ep *tp = tcp(ep);
	struct in6_addr dst;
	uint16_t port;
	int scope, err;
	MUTEX_GUARD(&ep->lock);

	if (len >= sizeof(sa_family_t) && a->sa_family == AF_UNSPEC)
		return disconnect(tp);
	if (tp->state != TCP_CLOSE)
		return connect_progress(tp);
	err = ep_take_error(ep);
	if (err)
		return err;
	err = ep_parse_addr(ep, a, len, &dst, &port, &scope);
	if (err)
		return err;
	if (addr_any(&dst)) {
		if (addr_is4(&dst))
			addr_set4(&dst, htonl(INADDR_LOOPBACK));
		else
			dst = in6addr_loopback;
	}
	if (addr_multicast(&dst))
		return -ENETUNREACH;
	if (addr_linklocal6(&dst)) {
		if (!scope && !ep->bound_if)
			return -EINVAL;
		if (scope)
			ep->bound_if = scope;
	}
	if (ep->connected || tp->established_at)
		disconnect(tp);
	err = choose_local(tp, &dst, port);
	if (err) {
		forget_peer(ep);
		return err;
	}
	ep->shut = 0;
	init_syn(tp);
	tcp_self_ref(tp);
	tcp_set_state(tp, TCP_SYN_SENT);
	net_count(ep->stack, NET_Tcp_ActiveOpens);
	tcp_send_syn(tp, false);
	tp->rtx_mode = RTX_RTO;
	tcp_timer_set(tp, TT_RTX, net_now(ep->stack) + tp->rto);
	return -EINPROGRESS;
}

static int tcp_listen(struct net_ep *ep, int backlog)
{
	struct tcp_ep *tp = tcp(ep);
	struct netstack *s = ep->stack;
	struct in6_addr any = ep->laddr;
	int err;
	MUTEX_GUARD(&ep->lock);

	if (tp->state != TCP_CLOSE && tp->state != TCP_LISTEN)
		return -EINVAL;
	if ((unsigned)backlog > (unsigned)s->sysctl.somaxconn)
		backlog = s->sysctl.somaxconn;
	if (tp->state == TCP_LISTEN) {
		atomic_store(&tp->listener->backlog, backlog);
		return 0;
	}
	if (!ep->port) {
		err = port_bind(s, s->tcp_ports, ep, &any, 0);
		if (err)
			return err;
		ep->bound = true;
	}
	err = port_listen_check(s, s->tcp_ports, ep);
	if (err)
		return err;
	if (!tp->listener) {
		tp->listener = net_alloc(s, sizeof(*tp->listener));
		if (!tp->listener)
			return -ENOBUFS;
		TAILQ_INIT(&tp->listener->queue);
	}
	atomic_store(&tp->listener->backlog, backlog);
	ep->shut = 0;
	tcp_set_state(tp, TCP_LISTEN);
	return 0;
}

/* Stops listening; the lock is held and is dropped meanwhile. */
static void stop_listening(struct tcp_ep *tp)
{
	tcp_set_state(tp, TCP_CLOSE);
	mutex_unlock(&tp->ep.lock);
	tcp_listen_close(tp);
	mutex_lock(&tp->ep.lock);
}

static int tcp_shutdown(struct net_ep *ep, int how)
{
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock);

	if (tp->state == TCP_CLOSE)
		return -ENOTCONN;
	if (tp->state == TCP_LISTEN) {
		if (how == SHUT_WR)
			return 0;
		stop_listening(tp);
		net_defer_ready(ep, EPOLLIN | EPOLLHUP);
		return 0;
	}
	if (tp->state == TCP_SYN_SENT) {
		if (how == SHUT_RD)
			return -ENOTCONN;
		tcp_done(tp, 0);
		return 0;
	}
	ep->shut |= how + 1;
	if (how != SHUT_RD)
		tcp_queue_fin(tp);
	net_defer_ready(ep, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	return 0;
}

void tcp_abort(struct net_ep *ep, int err)
{
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock);

	if (tp->state == TCP_CLOSE || tp->state == TCP_LISTEN)
		return;
	if (tp->state != TCP_SYN_SENT && tp->state != TCP_TIME_WAIT)
		tcp_send_reset(tp);
	tcp_done(tp, err);
}

/* RFC 9293 §3.10.4; RFC 1122 §4.2.2.13 for unread data. */
static void close_connection(struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(tp);
	struct net_ep *ep = &tp->ep;
	bool unread = !STAILQ_EMPTY(&ep->rxq), abort;

	switch (tp->state) {
	case TCP_CLOSE:
		break;
	case TCP_SYN_SENT:
		tcp_done(tp, 0);
		return;
	default:
		abort = (unread && tp->state != TCP_TIME_WAIT) ||
			(ep->opt.linger && ep->opt.linger_s == 0) || atomic_load(&s->dead);
		if (abort && tp->state != TCP_TIME_WAIT && tp->state != TCP_LAST_ACK &&
		    tp->state != TCP_CLOSING) {
			if (unread)
				net_count(s, NET_TcpExt_TCPAbortOnClose);
			if (!atomic_load(&s->dead))
				tcp_send_reset(tp);
			tcp_done(tp, 0);
			break;
		}
		if (atomic_load(&s->dead)) {
			tcp_done(tp, 0);
			break;
		}
		tp->orphan = true;
		atomic_fetch_add(&s->n_orphans, 1);
		tcp_rx_purge(tp);
		ep->shut = 3;
		if (tp->state == TCP_ESTABLISHED || tp->state == TCP_CLOSE_WAIT ||
		    tp->state == TCP_SYN_RECV) {
			tcp_queue_fin(tp);
		} else if (tp->state == TCP_FIN_WAIT2) {
			int64_t t = tp->linger2 > 0 ? tp->linger2 : s->sysctl.tcp_fin_timeout;

			if (tp->linger2 < 0) {
				tcp_send_reset(tp);
				tcp_done(tp, 0);
				break;
			}
			tcp_timer_set(tp, TT_KEEP, net_now(s) + t * NSEC_PER_SEC);
		}
		if (tp->state != TCP_CLOSE && tp->state != TCP_TIME_WAIT)
			tcp_check_orphan(tp);
	}
	if (tp->state == TCP_CLOSE) {
		tcp_rx_purge(tp);
		port_unbind(s, s->tcp_ports, ep);
	}
}

static void tcp_close(struct net_ep *ep)
{
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock);

	if (tp->state == TCP_LISTEN)
		stop_listening(tp);
	close_connection(tp);
}

bool tcp_lingering(struct net_ep *ep)
{
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock);

	return tp->state == TCP_FIN_WAIT1 || tp->state == TCP_CLOSING || tp->state == TCP_LAST_ACK;
}

/* ------------------------------------------------------------------------------ readiness, info */

/* There is something to read that is no urgent byte beside the stream. Lock held. */
static bool has_data(struct tcp_ep *tp)
{
	if (STAILQ_EMPTY(&tp->ep.rxq))
		return false;
	return !tp->urg_valid || tp->ep.opt.oobinline || tp->copied_seq != tp->rcv_up - 1 ||
	       tp->rcv_nxt - tp->copied_seq - tp->fin_received > 1;
}

static uint32_t tcp_readiness(struct net_ep *ep)
{
	struct tcp_ep *tp = tcp(ep);
	uint32_t m = 0;

	if (tp->state == TCP_LISTEN)
		return TAILQ_EMPTY(&tp->listener->queue) ? 0 : EPOLLIN | EPOLLRDNORM;
	if (ep->shut == 3 || (tp->state == TCP_CLOSE && tp->state != TCP_SYN_SENT))
		m |= EPOLLHUP;
	if (ep->shut & 1)
		m |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (atomic_load(&ep->so_error))
		m |= EPOLLERR;
	if (tp->state == TCP_CLOSE && !tp->established_at && ep->shut != 3)
		return m | EPOLLOUT | EPOLLWRNORM;
	if (tp->state == TCP_SYN_SENT || tp->state == TCP_SYN_RECV)
		return m;
	if (has_data(tp))
		m |= EPOLLIN | EPOLLRDNORM;
	if ((ep->shut & 2) || tcp_write_space(tp))
		m |= EPOLLOUT | EPOLLWRNORM;
	if (tp->urg_valid && !tp->urg_read)
		m |= EPOLLPRI;
	return m;
}

static int tcp_ioctl(struct net_ep *ep, unsigned long request, int *value)
{
	struct tcp_ep *tp = tcp(ep);
	MUTEX_GUARD(&ep->lock);

	if (tp->state == TCP_LISTEN)
		return -EINVAL;
	switch (request) {
	case SIOCINQ:
		if (tp->state == TCP_SYN_SENT || tp->state == TCP_CLOSE)
			*value = 0;
		else
			*value = tp->rcv_nxt - tp->copied_seq - tp->fin_received;
		if (*value && tp->urg_valid && !ep->opt.oobinline &&
		    seq_lt(tp->copied_seq, tp->rcv_up - 1))
			*value = tp->rcv_up - 1 - tp->copied_seq;
		return 0;
	case SIOCOUTQ:
		*value = tp->write_seq - MIN(tp->snd_una, tp->write_seq);
		if (seq_le(tp->write_seq, tp->snd_una))
			*value = 0;
		return 0;
	case SIOCOUTQNSD:
		*value =
			seq_lt(tp->snd_nxt, tp->write_seq) ? (int)(tp->write_seq - tp->snd_nxt) : 0;
		return 0;
	case SIOCATMARK:
		*value = tp->urg_valid && tp->copied_seq == tp->rcv_up - 1;
		return 0;
	default:
		return -ENOTTY;
	}
}

static void tcp_ep_info(struct net_ep *ep, struct net_ep_info *i)
{
	struct tcp_ep *tp = tcp(ep);
	int64_t at = INT64_MAX, now = net_now(ep->stack);

	i->state = tp->state;
	if (tp->state == TCP_LISTEN) {
		i->rqueue = tp->listener->queued;
		i->wqueue = tp->listener->backlog;
		return;
	}
	i->rqueue = tp->rcv_nxt - tp->copied_seq;
	i->wqueue = tp->write_seq - tp->snd_una;
	if (tp->state == TCP_TIME_WAIT || tp->state == TCP_CLOSE)
		i->rqueue = i->wqueue = 0;
	i->retransmits = tp->retransmits;
	if (tp->state == TCP_TIME_WAIT) {
		i->timer = 3;
		at = tp->deadline[TT_KEEP];
	} else if (tp->rtx_mode == RTX_PROBE) {
		i->timer = 4;
		at = tp->deadline[TT_RTX];
	} else if (tp->rtx_mode) {
		i->timer = 1;
		at = tp->deadline[TT_RTX];
	} else if (tp->deadline[TT_KEEP] != INT64_MAX) {
		i->timer = 2;
		at = tp->deadline[TT_KEEP];
	}
	if (at != INT64_MAX && at > now)
		i->timer_ms = (at - now) / NSEC_PER_MSEC;
}

const struct ep_proto tcp_proto = {
	.size = sizeof(struct tcp_ep),
	.init = tcp_init,
	.bind = tcp_bind,
	.connect = tcp_connect,
	.listen = tcp_listen,
	.accept = tcp_accept,
	.shutdown = tcp_shutdown,
	.close = tcp_close,
	.destroy = tcp_destroy,
	.sendmsg = tcp_sendmsg,
	.recvmsg = tcp_recvmsg,
	.send_nbuf = tcp_send_nbuf,
	.recv_nbuf = tcp_recv_nbuf,
	.readiness = tcp_readiness,
	.setsockopt = tcp_setsockopt,
	.getsockopt = tcp_getsockopt,
	.ioctl = tcp_ioctl,
	.info = tcp_ep_info,
};
