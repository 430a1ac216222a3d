/*
 * Passive open: SYNs to a listener, connections in SYN-RECEIVED (struct tcp_req), the accept
 * queue with Linux's backlog rules (man 2 listen), SYN cookies.
 */
#include "netstack/tcp/tcp_internal.h"

#define COOKIE_VALID_NS (120 * NSEC_PER_SEC)

static void req_timer(struct net_timer *t);

static void req_put(struct tcp_req *r)
{
	if (!refcount_dec(&r->refs))
		return;
	net_ep_put(&r->listener->ep);
	net_free(r->stack, r);
}

/* Takes the request out of its bucket; bucket lock held. */
static void req_unlink(struct tcp_req *r)
{
	if (r->dead)
		return;
	r->dead = true;
	LIST_REMOVE(r, link);
	atomic_fetch_sub(&r->listener->listener->requests, 1);
	if (net_timer_cancel(r->stack, &r->timer))
		refcount_dec(&r->refs);
}

static struct tcp_req *req_find(struct demux_bucket *b, const struct tuple *t)
{
	struct tcp_req *r;

	LIST_FOREACH (r, &b->reqs, link)
		if (r->t.rport == t->rport && r->t.lport == t->lport &&
		    addr_eq(&r->t.raddr, &t->raddr) && addr_eq(&r->t.laddr, &t->laddr))
			return r;
	return NULL;
}

/* Linux's sk_acceptq_is_full: one more than the backlog may wait. */
static bool queue_full(struct tcp_listener *l)
{
	return atomic_load(&l->queued) > atomic_load(&l->backlog);
}

/* Takes a place in the accept queue, to be filled by enqueue_child or given back. */
static bool reserve_place(struct tcp_listener *l)
{
	unsigned n = atomic_load(&l->queued);

	do {
		if (n > atomic_load(&l->backlog))
			return false;
	} while (!atomic_compare_exchange_weak(&l->queued, &n, n + 1));
	return true;
}

static void give_place_back(struct tcp_listener *l)
{
	atomic_fetch_sub(&l->queued, 1);
}

/* ------------------------------------------------------------------------------ SYN-ACK */

static void send_synack(struct netstack *s, const struct tcp_req *r, uint32_t tsval)
{
	uint32_t mtu = 1500, hdrs = (addr_is4(&r->t.raddr) ? 20 : 40) + 20;
	struct path_key k = {.dst = r->t.raddr, .src = &r->t.laddr, .any_src = true};
	struct tcp_options o = {.wscale = r->wscale_ok ? r->rcv_wscale : -1,
				.sack_ok = r->sack_ok,
				.has_ts = r->ts_ok,
				.tsval = tsval,
				.tsecr = r->ts_recent};
	struct net_path p;
	uint32_t user = r->listener->user_mss;

	if (addr_linklocal6(&r->t.raddr))
		k.oif = r->ifindex;
	if (path_lookup(s, &k, &p) == 0) {
		mtu = p.mtu;
		path_release(&p);
	}
	o.mss = MIN(mtu - hdrs, 65535u);
	if (user && user < o.mss)
		o.mss = user;
	tcp_send_bare(s, &r->t, r->iss, r->irs + 1, TF_SYN | TF_ACK | (r->ecn_ok ? TF_ECE : 0),
		      MIN(r->rcv_wnd, 65535u), &o, r->ifindex, r->tos);
}

static int64_t req_timeout(const struct tcp_req *r)
{
	return MIN(TCP_RTO_INIT << r->retries, TCP_RTO_MAX);
}

static void req_timer(struct net_timer *t)
{
	struct tcp_req *r = container_of(t, struct tcp_req, timer);
	struct netstack *s = r->stack;
	struct demux_bucket *b = demux_bucket_of(s, s->tcp, &r->t);
	unsigned max = r->listener->syncnt ? r->listener->syncnt : s->sysctl.tcp_synack_retries;
	bool send = false;

	NET_CONTEXT();
	mutex_lock(&b->lock);
	if (!r->dead) {
		/* With the handshake done (TCP_DEFER_ACCEPT) the wait is the peer's. */
		if (r->retries >= max) {
			req_unlink(r);
			req_put(r);
		} else {
			r->retries++;
			send = true;
			refcount_inc(&r->refs);
			net_timer_arm(s, &r->timer, net_now(s) + req_timeout(r));
		}
	}
	mutex_unlock(&b->lock);
	if (send) {
		net_count(s, NET_Tcp_RetransSegs);
		send_synack(s, r, tcp_ts_now(s) + r->ts_offset);
	}
	req_put(r);
}

/* ------------------------------------------------------------------------------ SYN */

static void fill_req(struct netstack *s, struct tcp_req *r, struct tcp_ep *lp, struct nbuf *b,
		     const struct tcp_header *h)
{
	struct net_sysctl *sc = &s->sysctl;
	long max = MAX(sc->tcp_rmem[2], sc->rmem_max);

	r->listener = lp;
	r->stack = s;
	r->t = (struct tuple){b->dst, b->src, b->dport, b->sport};
	r->ifindex = b->link ? b->link->index : 0;
	r->irs = h->seq;
	r->mss = h->mss ? h->mss : addr_is4(&b->src) ? TCP_DEFAULT_MSS : 1220;
	r->sack_ok = h->sack_ok && sc->tcp_sack;
	r->ts_ok = h->has_ts && sc->tcp_timestamps;
	r->ts_recent = h->tsval;
	r->wscale_ok = h->wscale >= 0 && sc->tcp_window_scaling;
	r->snd_wscale = r->wscale_ok ? h->wscale : 0;
	if (lp->ep.opt.rcvbuf_locked)
		max = lp->ep.rcvbuf;
	while (r->wscale_ok && r->rcv_wscale < TCP_MAX_WSCALE && max > 65535) {
		max >>= 1;
		r->rcv_wscale++;
	}
	/* RFC 3168 §6.1.1: both bits in the SYN, and we are willing. */
	r->ecn_ok = sc->tcp_ecn && (h->flags & (TF_ECE | TF_CWR)) == (TF_ECE | TF_CWR) &&
		    (b->tos & 3) == 0;
	r->rcv_wnd = MIN(lp->ep.rcvbuf / 2, 65535u);
	r->tos = addr_is4(&b->src) ? lp->ep.opt.tos : lp->ep.opt.tclass;
	r->ts_offset = sc->tcp_timestamps == 2 ? 0 : tcp_timestamp_offset(s, &r->t);
}

static void send_cookie(struct netstack *s, struct tcp_ep *lp, struct tcp_req *r)
{
	uint16_t mss = r->mss;

	net_count(s, NET_TcpExt_SyncookiesSent);
	/* Without timestamps there is nowhere to keep the other options. */
	if (!r->ts_ok) {
		r->wscale_ok = r->sack_ok = r->ecn_ok = false;
		r->rcv_wscale = 0;
	}
	r->iss = tcp_cookie_make(s, &r->t, r->irs, &mss);
	r->rcv_wnd = MIN(r->rcv_wnd, 65535u);
	atomic_store(&lp->listener->cookie_until, net_now(s) + COOKIE_VALID_NS);
	send_synack(s, r,
		    tcp_cookie_ts(s, r->ts_offset, r->sack_ok, r->ecn_ok,
				  r->wscale_ok ? r->snd_wscale : -1));
}

static bool add_req(struct netstack *s, const struct tcp_req *tmpl)
{
	struct demux_bucket *b = demux_bucket_of(s, s->tcp, &tmpl->t);
	struct tcp_req *r = net_alloc(s, sizeof(*r));

	if (!r)
		return false;
	*r = *tmpl;
	refcount_init(&r->refs);
	net_ep_get(&r->listener->ep);
	r->timer.fn = req_timer;
	r->sent = net_now(s);
	mutex_lock(&b->lock);
	if (req_find(b, &r->t)) {
		mutex_unlock(&b->lock);
		req_put(r);
		return false;
	}
	LIST_INSERT_HEAD(&b->reqs, r, link);
	atomic_fetch_add(&r->listener->listener->requests, 1);
	refcount_inc(&r->refs);
	net_timer_arm(s, &r->timer, net_now(s) + req_timeout(r));
	mutex_unlock(&b->lock);
	return true;
}

static void syn_input(struct tcp_ep *lp, struct nbuf *b, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(lp);
	struct tcp_listener *l = lp->listener;
	struct tcp_req r;
	long cookies = s->sysctl.tcp_syncookies;
	bool full;

	if (queue_full(l)) {
		net_count(s, NET_TcpExt_ListenOverflows);
		net_count(s, NET_TcpExt_ListenDrops);
		return;
	}
	memset(&r, 0, sizeof(r));
	fill_req(s, &r, lp, b, h);
	full = atomic_load(&l->requests) >= MAX(atomic_load(&l->backlog), 1u) ||
	       npool_pressure(s->pool) > 1;
	if ((full && cookies) || cookies == 2) {
		net_count(s, NET_TcpExt_TCPReqQFullDoCookies);
		send_cookie(s, lp, &r);
		return;
	}
	if (full || atomic_load(&l->requests) >= (unsigned)s->sysctl.tcp_max_syn_backlog) {
		net_count(s, NET_TcpExt_TCPReqQFullDrop);
		net_count(s, NET_TcpExt_ListenDrops);
		return;
	}
	r.iss = tcp_initial_seq(s, &r.t);
	if (add_req(s, &r))
		send_synack(s, &r, tcp_ts_now(s) + r.ts_offset);
}

/* ------------------------------------------------------------------------------ the third step */

/* The child's lock is held: net_ep_each() can see it already. */
static void child_fill(struct tcp_ep *tp, const struct tcp_ep *lp, const struct tcp_req *r,
		       const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(lp);
	struct net_ep *ep = &tp->ep;

	ep->opt = lp->ep.opt;
	ep->rcvbuf = lp->ep.rcvbuf;
	ep->sndbuf = lp->ep.sndbuf;
	ep->bound_if = lp->ep.bound_if;
	if (addr_linklocal6(&r->t.raddr))
		ep->bound_if = r->ifindex;
	ep->laddr = r->t.laddr;
	ep->raddr = r->t.raddr;
	ep->lport = r->t.lport;
	ep->rport = r->t.rport;
	tp->cc = lp->cc;
	tp->nodelay = lp->nodelay;
	tp->cork = lp->cork;
	tp->user_mss = lp->user_mss;
	tp->keep_idle = lp->keep_idle;
	tp->keep_intvl = lp->keep_intvl;
	tp->keep_cnt = lp->keep_cnt;
	tp->linger2 = lp->linger2;
	tp->user_timeout_ms = lp->user_timeout_ms;
	tp->notsent_lowat = lp->notsent_lowat;
	tp->window_clamp = lp->window_clamp;
	tp->peer_mss = r->mss;
	tp->sack_ok = r->sack_ok;
	tp->ts_ok = r->ts_ok;
	tp->wscale_ok = r->wscale_ok;
	tp->snd_wscale = r->snd_wscale;
	tp->rcv_wscale = r->rcv_wscale;
	tp->ecn_ok = r->ecn_ok;
	tp->ts_recent = h->has_ts ? h->tsval : r->ts_recent;
	tp->ts_recent_at = net_now(s);
	tp->ts_offset = r->ts_offset;
	tp->iss = r->iss;
	tp->snd_una = tp->snd_nxt = tp->write_seq = tp->snd_sml = r->iss + 1;
	tp->irs = r->irs;
	tp->rcv_nxt = tp->rcv_wup = tp->last_ack_sent = r->irs + 1;
	tp->rcv_wnd = r->rcv_wnd;
	tp->snd_wl1 = h->seq;
	tp->snd_wnd = h->wnd << r->snd_wscale;
	tp->max_wnd = tp->snd_wnd;
	tp->segs_out = tp->segs_in = 1;
	tp->total_retrans = r->retries;
	if (r->retries == 0 && r->sent)
		tcp_rtt_sample(tp, net_now(s) - r->sent);
	tcp_established(tp);
	tp->connect_reported = true;
}

struct tcp_ep *tcp_child_create(struct tcp_ep *lp, const struct tcp_req *r,
				const struct tcp_header *h)
{
	struct net_ep *ep;

	if (ep_alloc(tcp_stack(lp), &tcp_proto, lp->ep.family, SOCK_STREAM, IPPROTO_TCP, &ep) < 0)
		return NULL;
	if (tcp_proto.init(ep) < 0) {
		net_ep_put(ep);
		return NULL;
	}
	mutex_lock(&ep->lock);
	child_fill(tcp(ep), lp, r, h);
	mutex_unlock(&ep->lock);
	return tcp(ep);
}

/*
 * Puts the child into its place in the accept queue and into the tables. lp's lock is held; nobody
 * else knows the child. On failure the child is dropped.
 */
static int enqueue_child(struct tcp_ep *lp, struct tcp_ep *tp)
{
	struct netstack *s = tcp_stack(lp);
	struct tcp_listener *l = lp->listener;
	int err = 0;

	if (lp->state != TCP_LISTEN || !l)
		err = -ECONNRESET;
	if (!err)
		err = demux_insert(s, s->tcp, &tp->ep, NULL);
	if (!err) {
		err = port_adopt(s, s->tcp_ports, &tp->ep);
		if (err)
			demux_remove(s, s->tcp, &tp->ep);
	}
	if (err)
		return err;
	tcp_self_ref(tp);
	tp->parent = lp;
	TAILQ_INSERT_TAIL(&l->queue, tp, accept_link);
	net_count(s, NET_Tcp_PassiveOpens);
	net_defer_ready(&lp->ep, EPOLLIN | EPOLLRDNORM);
	return 0;
}

/*
 * A handshake is complete and a place is reserved: makes and queues the child, then gives it the
 * segment. Consumes b, or gives the place back and returns false.
 */
static bool complete(struct tcp_ep *lp, const struct tcp_req *r, struct nbuf *b,
		     const struct tcp_header *h)
{
	struct tcp_ep *tp = tcp_child_create(lp, r, h);
	int err;

	if (!tp) {
		give_place_back(lp->listener);
		return false;
	}
	mutex_lock(&lp->ep.lock);
	err = enqueue_child(lp, tp);
	mutex_unlock(&lp->ep.lock);
	if (err) {
		give_place_back(lp->listener);
		mutex_lock(&tp->ep.lock);
		tcp_done(tp, 0);
		mutex_unlock(&tp->ep.lock);
		net_ep_put(&tp->ep);
		return false;
	}
	tcp_segment_input(&tp->ep, b, h);
	return true;
}

/* RFC 9293 §3.10.7.4 for SYN-RECEIVED. */
bool tcp_req_input(struct netstack *s, struct nbuf *b, const struct tcp_header *h,
		   const struct tuple *t)
{
	struct demux_bucket *bk = demux_bucket_of(s, s->tcp, t);
	bool resend = false, done = false, refuse = false, drop = true;
	struct tcp_listener *l;
	struct tcp_req *r;

	mutex_lock(&bk->lock);
	r = req_find(bk, t);
	if (!r) {
		mutex_unlock(&bk->lock);
		return false;
	}
	refcount_inc(&r->refs);
	l = r->listener->listener;
	if (h->flags & TF_RST) {
		if (h->seq == r->irs + 1) { /* RFC 5961: exactly */
			net_count(s, NET_Tcp_AttemptFails);
			req_unlink(r);
			refcount_dec(&r->refs);
		}
	} else if (h->flags & TF_SYN) {
		/* A retransmitted SYN, or RFC 5961 §4: either way the SYN-ACK is the answer. */
		resend = h->seq == r->irs && !(h->flags & TF_ACK);
	} else if (r->ts_ok && h->has_ts && (int32_t)(h->tsval - r->ts_recent) < 0) {
		net_count(s, NET_TcpExt_PAWSEstab);
	} else if ((h->flags & TF_ACK) && h->ack == r->iss + 1 && seq_le(r->irs + 1, h->seq) &&
		   seq_le(h->seq, r->irs + 1 + r->rcv_wnd)) {
		if (r->listener->defer_accept && h->end_seq == h->seq &&
		    r->retries < r->listener->defer_accept) {
			net_count(s, NET_TcpExt_TCPDeferAcceptDrop);
			r->acked = true; /* TCP_DEFER_ACCEPT: wait for data */
		} else if (!reserve_place(l)) {
			net_count(s, NET_TcpExt_ListenOverflows);
			r->acked = true;
			if (s->sysctl.tcp_abort_on_overflow) {
				refuse = true;
				req_unlink(r);
				refcount_dec(&r->refs);
			}
		} else {
			done = true;
			req_unlink(r);
			refcount_dec(&r->refs);
		}
	} else if (h->flags & TF_ACK) {
		refuse = h->ack != r->iss + 1;
	}
	mutex_unlock(&bk->lock);
	if (resend)
		send_synack(s, r, tcp_ts_now(s) + r->ts_offset);
	if (refuse)
		tcp_send_reset_for(s, b, h);
	if (done && complete(r->listener, r, b, h))
		drop = false;
	req_put(r);
	if (drop)
		nbuf_put(b);
	return true;
}

/* An ACK to a listener without a request: is it a cookie coming back? Consumes b if so. */
static bool cookie_input(struct tcp_ep *lp, struct nbuf *b, const struct tcp_header *h)
{
	struct netstack *s = tcp_stack(lp);
	struct tcp_req r;
	uint16_t mss;

	if (!s->sysctl.tcp_syncookies || atomic_load(&lp->listener->cookie_until) < net_now(s))
		return false;
	memset(&r, 0, sizeof(r));
	fill_req(s, &r, lp, b, h);
	r.irs = h->seq - 1;
	r.iss = h->ack - 1;
	if (!tcp_cookie_check(s, &r.t, r.irs, r.iss, &mss)) {
		net_count(s, NET_TcpExt_SyncookiesFailed);
		return false;
	}
	r.mss = mss;
	r.wscale_ok = r.sack_ok = r.ecn_ok = false;
	r.snd_wscale = r.rcv_wscale = 0;
	if (r.ts_ok) {
		uint32_t bits = h->tsecr & 63;
		long max = MAX(s->sysctl.tcp_rmem[2], s->sysctl.rmem_max);

		r.sack_ok = bits & 16;
		r.ecn_ok = bits & 32;
		r.wscale_ok = (bits & 15) != 15;
		r.snd_wscale = r.wscale_ok ? MIN(bits & 15, (uint32_t)TCP_MAX_WSCALE) : 0;
		while (r.wscale_ok && r.rcv_wscale < TCP_MAX_WSCALE && max > 65535) {
			max >>= 1;
			r.rcv_wscale++;
		}
	}
	if (!reserve_place(lp->listener)) {
		net_count(s, NET_TcpExt_ListenOverflows);
		nbuf_put(b);
		return true;
	}
	net_count(s, NET_TcpExt_SyncookiesRecv);
	if (!complete(lp, &r, b, h))
		nbuf_put(b);
	return true;
}

/* RFC 9293 §3.10.7.2. */
void tcp_listen_input(struct net_ep *lep, struct nbuf *b, const struct tcp_header *h)
{
	struct tcp_ep *lp = tcp(lep);
	int min = addr_is4(&b->dst) ? lep->opt.min_ttl : lep->opt.min_hops;
	bool pass = true;

	if (h->flags & TF_RST || b->ttl < min) {
		nbuf_put(b);
		return;
	}
	if (lep->filter) {
		mutex_lock(&lep->lock);
		pass = ep_filter(lep, b);
		mutex_unlock(&lep->lock);
	}
	if (!pass) {
		nbuf_put(b);
		return;
	}
	if (h->flags & TF_ACK) {
		if (!(h->flags & TF_SYN) && cookie_input(lp, b, h))
			return;
		tcp_send_reset_for(lep->stack, b, h);
	} else if ((h->flags & TF_SYN) && !(h->flags & TF_FIN)) {
		syn_input(lp, b, h);
	}
	nbuf_put(b);
}

/* ------------------------------------------------------------------------------ accept, close */

int tcp_accept(struct net_ep *ep, struct net_ep **out)
{
	struct tcp_ep *lp = tcp(ep), *tp;
	MUTEX_GUARD(&ep->lock);

	if (lp->state != TCP_LISTEN)
		return -EINVAL;
	tp = TAILQ_FIRST(&lp->listener->queue);
	if (!tp)
		return -EAGAIN;
	TAILQ_REMOVE(&lp->listener->queue, tp, accept_link);
	give_place_back(lp->listener);
	tp->parent = NULL;
	*out = &tp->ep;
	return 0;
}

/* Drops the requests of a listener (NULL: all). */
static void drop_requests(struct netstack *s, struct tcp_ep *lp)
{
	for (unsigned i = 0; i <= s->tcp->mask; i++) {
		struct demux_bucket *b = &s->tcp->bucket[i];
		struct tcp_req *r, *n;

		if (lp && !atomic_load(&lp->listener->requests))
			return;
		mutex_lock(&b->lock);
		for (r = LIST_FIRST(&b->reqs); r; r = n) {
			n = LIST_NEXT(r, link);
			if (!lp || r->listener == lp) {
				req_unlink(r);
				/* Freed without the lock: it may drop the listener. */
				mutex_unlock(&b->lock);
				req_put(r);
				mutex_lock(&b->lock);
				n = LIST_FIRST(&b->reqs);
			}
		}
		mutex_unlock(&b->lock);
	}
}

void tcp_requests_purge(struct netstack *s)
{
	drop_requests(s, NULL);
}

/* ep->lock not held; the state is no longer LISTEN, so nothing is added. */
void tcp_listen_close(struct tcp_ep *lp)
{
	struct netstack *s = tcp_stack(lp);
	struct tcp_ep *tp;

	drop_requests(s, lp);
	for (;;) {
		mutex_lock(&lp->ep.lock);
		tp = TAILQ_FIRST(&lp->listener->queue);
		if (tp) {
			TAILQ_REMOVE(&lp->listener->queue, tp, accept_link);
			give_place_back(lp->listener);
		}
		mutex_unlock(&lp->ep.lock);
		if (!tp)
			return;
		mutex_lock(&tp->ep.lock);
		tp->ep.closed = true;
		if (tp->state != TCP_CLOSE) {
			if (!atomic_load(&s->dead))
				tcp_send_reset(tp);
			tcp_done(tp, ECONNRESET);
		}
		mutex_unlock(&tp->ep.lock);
		net_ep_put(&tp->ep);
	}
}

int tcp_each_request(struct netstack *s, int (*fn)(void *arg, const struct net_ep_info *i),
		     void *arg);
int tcp_each_request(struct netstack *s, int (*fn)(void *arg, const struct net_ep_info *i),
		     void *arg)
{
	for (unsigned k = 0; k <= s->tcp->mask; k++) {
		struct demux_bucket *b = &s->tcp->bucket[k];
		struct net_ep_info list[32];
		unsigned n = 0;
		struct tcp_req *r;

		mutex_lock(&b->lock);
		LIST_FOREACH (r, &b->reqs, link) {
			struct net_ep_info *i = &list[n];
			socklen_t len = sizeof(i->local);
			int family = r->listener->ep.family;

			if (n == ARRAY_SIZE(list))
				break;
			memset(i, 0, sizeof(*i));
			i->family = family;
			i->type = SOCK_STREAM;
			i->protocol = IPPROTO_TCP;
			i->state = TCP_SYN_RECV;
			i->retransmits = r->retries;
			i->timer = 1;
			ep_format_addr(family, &r->t.laddr, r->t.lport, r->ifindex,
				       (struct sockaddr *)&i->local, &len);
			len = sizeof(i->remote);
			ep_format_addr(family, &r->t.raddr, r->t.rport, r->ifindex,
				       (struct sockaddr *)&i->remote, &len);
			n++;
		}
		mutex_unlock(&b->lock);
		for (unsigned i = 0; i < n; i++) {
			int ret = fn(arg, &list[i]);

			if (ret)
				return ret;
		}
	}
	return 0;
}
