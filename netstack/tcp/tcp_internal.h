/*
 * TCP inside the stack. One struct tcp_ep per endpoint; connections in SYN-RECEIVED that came to a
 * listener are the much smaller struct tcp_req.
 *
 * All counts are bytes of sequence space, times are nanoseconds. The send queue is a stream of
 * chunks by sequence number; what has been sent is remembered as segments (struct tcp_seg), which
 * carry the state that SACK, RACK and recovery need.
 */
#ifndef MOAT_NETSTACK_TCP_TCP_INTERNAL_H
#define MOAT_NETSTACK_TCP_TCP_INTERNAL_H

#include <bsd/sys/tree.h>
#include <netinet/tcp.h>

#include "netstack/demux/demux.h"
#include "netstack/ip/ip.h"
#include "netstack/socket/socket.h"
#include "netstack/tcp/tcp.h"

#define TCP_MIN_MSS 48
#define TCP_DEFAULT_MSS 536
#define TCP_RTO_INIT NSEC_PER_SEC
#define TCP_RTO_MIN (200 * NSEC_PER_MSEC)
#define TCP_RTO_MAX (120 * NSEC_PER_SEC)
#define TCP_DELACK_MIN (40 * NSEC_PER_MSEC)
#define TCP_DELACK_MAX (200 * NSEC_PER_MSEC)
#define TCP_MAX_WSCALE 14
#define TCP_INIT_CWND 10 /* segments, RFC 6928 */
#define TCP_DUPTHRESH 3
#define TCP_CHUNK 65536u
#define TCP_PAWS_WINDOW (24 * 86400)
#define TCP_LISTEN_CLOSED 13 /* never shown */

#define TF_FIN 0x01
#define TF_SYN 0x02
#define TF_RST 0x04
#define TF_PSH 0x08
#define TF_ACK 0x10
#define TF_URG 0x20
#define TF_ECE 0x40
#define TF_CWR 0x80

/* Sequence arithmetic, RFC 9293 §3.4. */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}
static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}
static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_lt(a, b) ? b : a;
}

/* A run of stream bytes waiting to be acknowledged. */
struct tcp_chunk {
	TAILQ_ENTRY(tcp_chunk) next;
	struct nmem *mem; /* counted */
	uint32_t off, len;
	uint32_t seq; /* of the first byte */
	bool appendable;
};

#define SEG_SACKED 0x01
#define SEG_LOST 0x02
#define SEG_RETRANS 0x04 /* a retransmission is in flight */
#define SEG_EVER 0x08	 /* was retransmitted at some time */
#define SEG_SYN 0x10
#define SEG_FIN 0x20
#define SEG_LIMITED 0x40 /* sent while the application was the limit */

/* Sequence space that was sent and is not acknowledged cumulatively. */
struct tcp_seg {
	RB_ENTRY(tcp_seg) node;	   /* tcp_ep.segs, by seq */
	TAILQ_ENTRY(tcp_seg) sent; /* tcp_ep.by_time, by time of the last transmission */
	uint32_t seq, end;
	int64_t xmit;
	struct tcp_chunk *chunk; /* holds seq; NULL for SYN and bare FIN */
	uint8_t flags;
};
RB_HEAD(tcp_seg_tree, tcp_seg);
RB_PROTOTYPE(tcp_seg_tree, tcp_seg, node, tcp_seg_cmp)

RB_HEAD(tcp_ooo_tree, nbuf);
RB_PROTOTYPE(tcp_ooo_tree, nbuf, node, tcp_ooo_cmp)

/* What a segment's header says. */
struct tcp_header {
	uint32_t seq, ack, end_seq; /* end_seq counts SYN and FIN */
	uint32_t wnd;		    /* not scaled */
	uint16_t urg, mss;
	uint8_t flags, hlen;
	int8_t wscale; /* -1: none */
	bool sack_ok, has_ts;
	uint32_t tsval, tsecr;
	uint8_t nsack;
	uint32_t sack[4][2];
};

enum tcp_recovery_state { CAS_OPEN, CAS_DISORDER, CAS_CWR, CAS_RECOVERY, CAS_LOSS };

struct tcp_ep;
struct tcp_ack_info;

/* Congestion control. cwnd and ssthresh are tcp_ep's, in bytes. */
struct tcp_cc {
	const char *name;
	void (*init)(struct tcp_ep *tp);
	/* New data acknowledged while the window may grow. rtt -1: no sample. */
	void (*acked)(struct tcp_ep *tp, uint32_t acked, int64_t rtt);
	/* A congestion event: returns the new ssthresh. */
	uint32_t (*ssthresh)(struct tcp_ep *tp);
	/* A timeout resets what has been learned. */
	void (*timeout)(struct tcp_ep *tp);
};
extern const struct tcp_cc tcp_cubic, tcp_reno;
const struct tcp_cc *tcp_cc_find(const char *name, size_t len);

struct cubic_state {
	double w_max, k, w_est, origin;
	int64_t epoch; /* start of the current epoch, 0: none */
	/* HyStart++, RFC 9406 */
	uint32_t round_end;
	uint8_t samples, css_rounds;
	bool in_css, done;
	int64_t last_min_rtt, round_min_rtt, css_baseline;
	int64_t round_start, last_ack; /* of the train of ACKs */
};

enum tcp_timer_kind { TT_RTX, TT_DELACK, TT_KEEP, TT_COUNT };
enum tcp_rtx_mode { RTX_NONE, RTX_RTO, RTX_TLP, RTX_RACK, RTX_PROBE };

TAILQ_HEAD(tcp_child_list, tcp_ep);
TAILQ_HEAD(tcp_chunk_list, tcp_chunk);
TAILQ_HEAD(tcp_seg_list, tcp_seg);

struct tcp_listener {
	atomic_uint backlog;
	atomic_uint queued;	     /* connections waiting for accept, and places reserved */
	atomic_uint requests;	     /* SYN-RECEIVED */
	struct tcp_child_list queue; /* under the listener's lock */
	atomic_llong cookie_until;   /* syncookies were sent lately: valid until */
};

struct tcp_ep {
	struct net_ep ep;
	uint8_t state; /* TCP_ESTABLISHED ... */
	uint8_t ca_state;
	uint8_t snd_wscale, rcv_wscale;
	bool sack_ok, ts_ok, wscale_ok, ecn_ok;
	bool nodelay, cork, defer_accept_done;
	bool connect_reported; /* connect has said so to the user */
	bool fin_queued, fin_sent, fin_received, orphan, self_ref;
	bool ece_pending, cwr_pending; /* ECN: echo CE; announce the reduction */
	bool cwnd_limited, reordering_seen, dsack_seen, frto, tlp_is_retrans;
	bool recv_inq; /* TCP_INQ */
	bool urg_valid, urg_read, loss_by_tlp;
	uint8_t retransmits, backoff, probes_out, syn_retries;
	uint8_t rtx_mode;
	uint8_t quickack;   /* ACKs that are not to be delayed */
	uint8_t pingpong;   /* data goes both ways: an ACK can ride on the answer */
	uint8_t rcv_pushed; /* ends of the peer's writes since the last ACK: 0, 1, 2 or more */
	uint8_t win_ratio;  /* payload per truesize of what arrives, in 1/256 */
	uint8_t dup_acks;
	const struct tcp_cc *cc;
	struct tcp_listener *listener; /* LISTEN only */
	TAILQ_ENTRY(tcp_ep) accept_link;
	struct tcp_ep *parent; /* while in its accept queue: not counted */

	/* Send: RFC 9293 §3.3.1 */
	uint32_t iss, snd_una, snd_nxt, snd_wnd, snd_wl1, max_wnd;
	uint32_t write_seq;		  /* next byte that the application will add */
	uint32_t snd_up;		  /* end of urgent data */
	uint32_t mss, user_mss, peer_mss; /* mss: payload of a segment now */
	uint32_t snd_sml;     /* end of the last segment that was smaller than mss (Minshall) */
	bool more;	      /* MSG_MORE: the application will add to the last segment */
	bool write_was_short; /* so will it here: it had more than there was room for */
	struct tcp_chunk_list chunks;
	struct tcp_chunk *next_chunk; /* that holds snd_nxt, or NULL */
	struct tcp_seg_tree segs;
	struct tcp_seg_list by_time;
	uint32_t nsegs;

	/* Congestion and loss recovery */
	uint64_t cwnd, ssthresh, prior_cwnd, prior_ssthresh;
	uint32_t sacked, lost, retrans; /* bytes of snd_una..snd_nxt in each condition */
	uint32_t high_seq;		/* snd_nxt when recovery began */
	uint32_t undo_marker, undo_retrans;
	bool undo_valid;
	uint64_t prr_delivered, prr_out;
	uint64_t delivered;
	int64_t retrans_stamp; /* time of the first retransmission of this episode */
	uint32_t high_sacked;  /* highest sequence SACKed */
	uint32_t reordering;   /* segments */
	struct cubic_state cubic;

	/* RTT, RFC 6298; RACK-TLP, RFC 8985 */
	int64_t srtt, rttvar, rto, min_rtt, min_rtt_at;
	int64_t rack_xmit, rack_rtt;
	uint32_t rack_end, reo_steps, reo_dsack_round, tlp_high;
	bool rtt_seen;

	/* Receive */
	uint32_t irs, rcv_nxt, rcv_wup, rcv_wnd, copied_seq, rcv_up;
	uint32_t window_clamp;
	uint32_t rcv_mss;	 /* a full segment from the peer */
	uint32_t last_seg_size;	 /* the last one shorter than that */
	struct tcp_ooo_tree ooo; /* out of order; no overlaps */
	uint32_t ooo_bytes;
	uint32_t dsack[2];    /* to be reported, if dsack[0] != dsack[1] */
	uint32_t sacks[4][2]; /* out-of-order blocks to report, latest first */
	uint8_t nsacks;
	uint32_t ts_recent, ts_offset, last_ack_sent;
	int64_t ts_recent_at;
	bool ack_deferred;     /* on some thread's list, to be sent when its input batch is done */
	uint32_t unacked_segs; /* full segments since the last ACK */
	uint8_t urg_byte;
	int64_t rcv_rtt, space_time;
	uint32_t space_copied, space_seq, rcv_rtt_seq;
	int64_t rcv_rtt_time;

	/* Timers: one of the stack's, at the earliest deadline */
	struct net_timer timer;
	bool timer_ref;
	int64_t deadline[TT_COUNT]; /* INT64_MAX: off */
	int64_t timer_at;
	int64_t last_rcv, last_data_rcv, last_snd, probe_start, established_at, first_rtx;
	int64_t last_oow_ack;

	/* Options */
	uint32_t user_timeout_ms;
	int keep_idle, keep_intvl, linger2; /* seconds; 0: sysctl */
	uint8_t keep_cnt, syncnt, defer_accept;
	uint32_t notsent_lowat;

	/* TCP_INFO */
	uint64_t bytes_sent, bytes_acked, bytes_received, bytes_retrans;
	uint32_t segs_out, segs_in, data_segs_out, data_segs_in, total_retrans;
	uint32_t dsack_dups, reord_events;
};

/* A connection in SYN-RECEIVED on a listener. */
struct tcp_req {
	LIST_ENTRY(tcp_req) link; /* demux bucket */
	struct refcount refs;	  /* table, armed timer */
	struct tcp_ep *listener;  /* counted */
	struct netstack *stack;
	struct tuple t;
	int ifindex;
	uint32_t irs, iss, ts_recent, ts_offset, rcv_wnd;
	uint16_t mss;
	uint8_t snd_wscale, rcv_wscale, retries, tos;
	bool sack_ok, ts_ok, wscale_ok, ecn_ok, dead, acked;
	int64_t sent;
	struct net_timer timer;
};

static inline struct tcp_ep *tcp(struct net_ep *ep)
{
	return (struct tcp_ep *)ep;
}
static inline const struct tcp_ep *tcp_const(const struct net_ep *ep)
{
	return (const struct tcp_ep *)ep;
}
static inline struct netstack *tcp_stack(const struct tcp_ep *tp)
{
	return tp->ep.stack;
}
static inline uint32_t tcp_in_flight(const struct tcp_ep *tp)
{
	uint32_t out = tp->snd_nxt - tp->snd_una;
	uint32_t left = tp->sacked + tp->lost;

	return (out > left ? out - left : 0) + tp->retrans;
}
/* Right edge of the window that we have offered. */
static inline uint32_t tcp_receive_window(const struct tcp_ep *tp)
{
	int32_t w = tp->rcv_wup + tp->rcv_wnd - tp->rcv_nxt;

	return w > 0 ? w : 0;
}
static inline uint32_t tcp_ts_now(struct netstack *s)
{
	return net_now(s) / NSEC_PER_MSEC;
}

/* tcp_header.c: parsing and building. Parse: false if malformed. */
bool tcp_parse_header(const uint8_t *p, size_t len, struct tcp_header *h);
struct tcp_options {
	uint16_t mss;  /* SYN only; 0: none */
	int8_t wscale; /* SYN only; -1: none */
	bool sack_ok;  /* SYN only */
	bool has_ts;
	uint32_t tsval, tsecr;
	uint8_t nsack;
	uint32_t sack[4][2];
};
/* Writes options, padded; returns their length (a multiple of 4, at most 40). */
size_t tcp_build_options(uint8_t *p, const struct tcp_options *o);
/* Puts a TCP header on b and sends it. Consumes b. */
int tcp_transmit(struct netstack *s, struct net_path *p, struct nbuf *b, const struct tuple *t,
		 uint32_t seq, uint32_t ack, uint8_t flags, uint16_t wnd, uint16_t urg,
		 const struct tcp_options *o, uint8_t tos, int ttl, bool df, uint32_t gso_size);
/* RST or ACK for a segment that no endpoint owns (RFC 9293 §3.10.7.1). */
void tcp_send_reset_for(struct netstack *s, struct nbuf *b, const struct tcp_header *h);
void tcp_send_bare(struct netstack *s, const struct tuple *t, uint32_t seq, uint32_t ack,
		   uint8_t flags, uint16_t wnd, const struct tcp_options *o, int ifindex,
		   uint8_t tos);
/* RFC 6528, and the offset of timestamps. */
uint32_t tcp_initial_seq(struct netstack *s, const struct tuple *t);
uint32_t tcp_timestamp_offset(struct netstack *s, const struct tuple *t);

/* tcp_output.c */
uint32_t tcp_current_mss(struct tcp_ep *tp);
uint32_t tcp_path_mss(struct tcp_ep *tp);
void tcp_output(struct tcp_ep *tp);    /* what windows allow, and recovery */
int tcp_output_one(struct tcp_ep *tp); /* one segment, whatever the windows say (TLP) */
int tcp_retransmit(struct tcp_ep *tp, struct tcp_seg *seg);
void tcp_send_ack(struct tcp_ep *tp);
void tcp_send_dupack(struct tcp_ep *tp);
void tcp_send_challenge(struct tcp_ep *tp); /* RFC 5961 §5: rate-limited */
void tcp_send_reset(struct tcp_ep *tp);
void tcp_send_probe(struct tcp_ep *tp); /* snd_una - 1: keepalive, zero window */
void tcp_send_syn(struct tcp_ep *tp, bool ack);
bool tcp_more_to_send(const struct tcp_ep *tp);
void tcp_segs_free(struct tcp_ep *tp);
struct tcp_seg *tcp_seg_split(struct tcp_ep *tp, struct tcp_seg *seg, uint32_t at);
void tcp_seg_unlink(struct tcp_ep *tp, struct tcp_seg *seg);
/* With ECN, acknowledgement: window etc. of the header now. */
uint16_t tcp_select_window(struct tcp_ep *tp);

/* tcp_send.c */
ssize_t tcp_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags);
ssize_t tcp_send_nbuf(struct net_ep *ep, const struct sockaddr *to, socklen_t tolen, struct nbuf *b,
		      int flags);
void tcp_chunks_free(struct tcp_ep *tp, uint32_t before);
void tcp_chunks_purge(struct tcp_ep *tp);
bool tcp_write_space(const struct tcp_ep *tp);

/* tcp_recv.c */
ssize_t tcp_recvmsg(struct net_ep *ep, struct net_msg *m, int flags);
ssize_t tcp_recv_nbuf(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
		      struct sockaddr *from, socklen_t *fromlen);
/* Data of a segment in the window: queues it. Consumes b. True if the FIN is now in order. */
void tcp_data_queue(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h);
uint32_t tcp_receive_space(const struct tcp_ep *tp);
void tcp_rx_purge(struct tcp_ep *tp);
/* Counts b, and learns from it what a byte of payload costs. */
void tcp_rx_charge(struct tcp_ep *tp, struct nbuf *b);
/* Is there room for b? In-order data may displace out-of-order data. */
bool tcp_rx_room(struct tcp_ep *tp, const struct nbuf *b, bool in_order);
/* Appends b, which begins at rcv_nxt, to what can be read. Consumes b. */
void tcp_rx_in_order(struct tcp_ep *tp, struct nbuf *b);
void tcp_urgent(struct tcp_ep *tp, const struct tcp_header *h);
void tcp_fin_in_order(struct tcp_ep *tp);
void tcp_ack_received_data(struct tcp_ep *tp, bool out_of_order);

/* tcp_ooo.c */
/* Keeps b, which begins behind rcv_nxt. Consumes b. */
void tcp_ooo_queue(struct tcp_ep *tp, struct nbuf *b);
/* Moves over what has become in order. True: the FIN is next. */
bool tcp_ooo_drain(struct tcp_ep *tp);
void tcp_ooo_purge(struct tcp_ep *tp);
/* [seq, end) has come twice: RFC 2883. */
void tcp_set_dsack(struct tcp_ep *tp, uint32_t seq, uint32_t end);
void tcp_fill_sack(struct tcp_ep *tp, struct tcp_options *o, unsigned max);

/* tcp_ack.c */
#define ACK_DATA_ACKED 0x01 /* snd_una moved over data */
#define ACK_WIN_UPDATE 0x02
#define ACK_SACKED_NEW 0x04
#define ACK_ORIG_ACKED 0x08 /* something never retransmitted was (S)ACKed */
#define ACK_DSACK 0x10
#define ACK_SYN_ACKED 0x20
#define ACK_UNA_ADVANCED 0x40
#define ACK_LOST_NEW 0x80
#define ACK_HAS_DATA 0x100
#define ACK_ECE 0x200
#define ACK_RETRANS_ACKED 0x400
#define ACK_REORDER 0x800
struct tcp_ack_info {
	unsigned flags;
	uint32_t acked; /* cumulatively, now */
	uint32_t delivered;
	uint32_t prior_una, prior_flight;
	int64_t rtt;	   /* of a segment that was sent once; -1 */
	int64_t last_xmit; /* time sent of the most recently sent segment delivered */
	const struct tcp_header *h;
};
/* 1: fine, 0: old, -1: not acceptable (RFC 5961 §5). */
int tcp_ack(struct tcp_ep *tp, const struct tcp_header *h);
void tcp_rtt_sample(struct tcp_ep *tp, int64_t rtt);
void tcp_rearm_rto(struct tcp_ep *tp);

/* tcp_loss.c */
void tcp_rack_advance(struct tcp_ep *tp, const struct tcp_seg *seg, int64_t now);
void tcp_rack_reo_update(struct tcp_ep *tp, struct tcp_ack_info *ai);
void tcp_loss_process(struct tcp_ep *tp, struct tcp_ack_info *ai);
void tcp_enter_loss(struct tcp_ep *tp);
void tcp_enter_cwr(struct tcp_ep *tp);
void tcp_mark_lost(struct tcp_ep *tp, struct tcp_seg *seg);
void tcp_rack_timeout(struct tcp_ep *tp);
bool tcp_may_raise_cwnd(const struct tcp_ep *tp, const struct tcp_ack_info *ai);

/* tcp_timer.c */
void tcp_timer_init(struct tcp_ep *tp);
void tcp_timer_set(struct tcp_ep *tp, enum tcp_timer_kind k, int64_t at);
static inline void tcp_timer_clear(struct tcp_ep *tp, enum tcp_timer_kind k)
{
	tp->deadline[k] = INT64_MAX;
}
void tcp_timer_stop_all(struct tcp_ep *tp);
void tcp_schedule_tlp_or_rto(struct tcp_ep *tp);
void tcp_set_rtx(struct tcp_ep *tp, enum tcp_rtx_mode mode, int64_t delay);
void tcp_keepalive_reset(struct tcp_ep *tp);

/* tcp_state.c */
void tcp_set_state(struct tcp_ep *tp, uint8_t state);
/* The connection is over: leaves tables, drops queues; err (positive) for the user. */
void tcp_done(struct tcp_ep *tp, int err);
void tcp_established(struct tcp_ep *tp);
void tcp_enter_timewait(struct tcp_ep *tp);
void tcp_init_transfer(struct tcp_ep *tp);
int tcp_self_ref(struct tcp_ep *tp);
int tcp_check_orphan(struct tcp_ep *tp);
void tcp_queue_fin(struct tcp_ep *tp);

/* tcp_listen.c, tcp_cookie.c */
void tcp_listen_input(struct net_ep *lep, struct nbuf *b, const struct tcp_header *h);
/* A segment for a request; consumes b. False: no request, b is still there. */
bool tcp_req_input(struct netstack *s, struct nbuf *b, const struct tcp_header *h,
		   const struct tuple *t);
void tcp_listen_close(struct tcp_ep *tp);
int tcp_accept(struct net_ep *ep, struct net_ep **out);
uint32_t tcp_cookie_make(struct netstack *s, const struct tuple *t, uint32_t irs, uint16_t *mss);
bool tcp_cookie_check(struct netstack *s, const struct tuple *t, uint32_t irs, uint32_t iss,
		      uint16_t *mss);
uint32_t tcp_cookie_ts(struct netstack *s, uint32_t offset, bool sack, bool ecn, int wscale);
/* The child of a handshake that is complete. */
struct tcp_ep *tcp_child_create(struct tcp_ep *lp, const struct tcp_req *r,
				const struct tcp_header *h);

/* tcp_input.c: a segment for an endpoint. Consumes b. */
void tcp_segment_input(struct net_ep *ep, struct nbuf *b, const struct tcp_header *h);
/* The same with ep->lock held. */
void tcp_segment_locked(struct tcp_ep *tp, struct nbuf *b, const struct tcp_header *h);

/* tcp_option.c */
int tcp_setsockopt(struct net_ep *ep, int level, int name, const void *val, socklen_t len);
int tcp_getsockopt(struct net_ep *ep, int level, int name, void *val, socklen_t *len);

#endif
