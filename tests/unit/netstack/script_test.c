/*
 * Packet scripts: inject this, expect that, at this time. scripts/NAME.pkt hold sections of
 * "=== name" followed by lines:
 *
 *	TIME < FLAGS SEQ:END(LEN) [ack N] [win N] [urg N] [ecn N] [<options>]	inject a segment
 *	TIME > the same		expect one; what is left out is not compared
 *	TIME < icmp TYPE CODE [mtu N]	inject an ICMP error about the last segment sent
 *	TIME none SECONDS	expect silence for that long
 *	TIME COMMAND [...] [= RESULT]	see struct command
 *	sysctl NAME VALUE
 *
 * TIME is absolute seconds from the start, or +SECONDS after the line before. Expected segments
 * must come within 5 ms of their time. Sequence numbers are relative: 0 is the SYN's. Flags: S F R
 * P U E W and . for ACK. Options: mss N, sackOK, wscale N, TS val N ecr N, nop, sack A:B ...
 */
#include "world.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "netstack/nbuf.h"

#define TOLERANCE (5 * MS)
#define OUR_PORT 8080
#define PEER_PORT 40000
#define PEER_ISN 1000000u

struct seg {
	STAILQ_ENTRY(seg) next;
	int64_t at;
	size_t len;
	uint8_t frame[2048];
};

struct pkt {
	uint8_t flags, ecn;
	uint32_t seq, end, len, ack, win, urg;
	bool has_ack, has_win, has_urg, has_opts, has_ecn;
	int mss, wscale; /* -1: absent */
	bool sackok, ts;
	uint32_t tsval, tsecr;
	bool ts_any;
	int nsack;
	uint32_t sack[4][2];
};

struct script {
	char name[80];
	char *text;
	int line;
};

struct run {
	struct net_env env;
	struct net_vclock *clock;
	struct netstack *stack;
	struct net_link *link;
	int64_t start, last;
	STAILQ_HEAD(, seg) out;
	struct net_ep *ep, *listener;
	uint16_t our_port;
	bool isn_known;
	uint32_t our_isn;
	uint32_t last_tsval; /* of our last segment */
	bool ts;	     /* put timestamps on what is injected without options */
	uint32_t peer_ts;
	struct seg last_sent;
	const char *name;
	int line;
};

static void fail_at(struct run *r, const char *what, const char *detail)
{
	fail_msg("%s:%d: %s %s (at %.3f s)", r->name, r->line, what, detail ? detail : "",
		 (net_vclock_now(r->clock) - r->start) / 1e9);
}

static int script_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct run *r = priv;
	struct seg *s = calloc(1, sizeof(*s));

	s->at = net_vclock_now(r->clock);
	s->len = b->len < sizeof(s->frame) ? b->len : sizeof(s->frame);
	nbuf_read(b, 0, s->frame, s->len);
	nbuf_put(b);
	/* TCP over IPv4 only; IGMP, NDP and the like are noise here. */
	if (s->len >= 54 && s->frame[12] == 8 && s->frame[13] == 0 && s->frame[23] == 6) {
		STAILQ_INSERT_TAIL(&r->out, s, next);
		r->last_sent = *s;
	} else {
		free(s);
	}
	return 0;
}

static const struct net_link_ops script_ops = {.xmit = script_xmit};

/* ------------------------------------------------------------------------------ segments */

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		s += p[i] << 8 | p[i + 1];
	if (n & 1)
		s += p[n - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}
static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}
static uint32_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}
static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static size_t put_options(struct run *r, const struct pkt *k, uint8_t *o)
{
	size_t n = 0;

	if (k->mss >= 0) {
		o[n++] = 2;
		o[n++] = 4;
		put16(o + n, k->mss);
		n += 2;
	}
	if (k->sackok) {
		o[n++] = 4;
		o[n++] = 2;
	}
	if (k->ts || (r->ts && !k->has_opts)) {
		o[n++] = 8;
		o[n++] = 10;
		put32(o + n, k->ts ? k->tsval : ++r->peer_ts);
		put32(o + n + 4, k->ts && k->tsecr ? k->tsecr : r->last_tsval);
		n += 8;
	}
	if (k->wscale >= 0) {
		o[n++] = 3;
		o[n++] = 3;
		o[n++] = k->wscale;
	}
	if (k->nsack) {
		o[n++] = 5;
		o[n++] = 2 + 8 * k->nsack;
		for (int i = 0; i < k->nsack; i++) {
			put32(o + n, r->our_isn + k->sack[i][0]);
			put32(o + n + 4, r->our_isn + k->sack[i][1]);
			n += 8;
		}
	}
	while (n & 3)
		o[n++] = 1;
	return n;
}

static void ip_header(uint8_t *p, size_t len, uint8_t proto, uint8_t tos)
{
	static const uint8_t src[4] = {10, 0, 0, 2}, dst[4] = {10, 0, 0, 1};

	memset(p, 0, 20);
	p[0] = 0x45;
	p[1] = tos;
	put16(p + 2, len);
	p[8] = 64;
	p[9] = proto;
	memcpy(p + 12, src, 4);
	memcpy(p + 16, dst, 4);
	put16(p + 10, ~sum16(p, 20, 0));
}

static void ether_header(uint8_t *f)
{
	static const uint8_t h[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};

	memcpy(f, h, 14);
}

static void inject(struct run *r, const struct pkt *k)
{
	uint8_t f[2048] = {0}, *ip = f + 14, *t = ip + 20, pseudo[12] = {10, 0, 0, 2, 10, 0, 0, 1};
	size_t n = put_options(r, k, t + 20), tlen = 20 + n + k->len;

	/* Before we have sent anything, numbers are absolute. */
	if (k->has_ack)
		r->isn_known = true;
	ether_header(f);
	ip_header(ip, 20 + tlen, 6, k->ecn);
	put16(t, PEER_PORT);
	put16(t + 2, r->our_port);
	put32(t + 4, PEER_ISN + k->seq);
	put32(t + 8, k->has_ack ? r->our_isn + k->ack : 0);
	t[12] = (20 + n) / 4 << 4;
	t[13] = k->flags;
	put16(t + 14, k->has_win ? k->win : 32792);
	put16(t + 18, k->urg);
	for (size_t i = 0; i < k->len; i++)
		t[20 + n + i] = k->seq + i;
	pseudo[9] = 6;
	put16(pseudo + 10, tlen);
	put16(t + 16, ~sum16(t, tlen, sum16(pseudo, 12, 0)));
	assert_int_equal(net_link_input_mem(r->link, f, 34 + tlen), 0);
}

/* TYPE CODE mtu about the last segment that we sent. */
static void inject_icmp(struct run *r, int type, int code, int mtu)
{
	uint8_t f[128] = {0}, *ip = f + 14, *c = ip + 20;

	ether_header(f);
	ip_header(ip, 20 + 8 + 28, 1, 0);
	c[0] = type;
	c[1] = code;
	put16(c + 6, mtu);
	memcpy(c + 8, r->last_sent.frame + 14, 28);
	put16(c + 2, ~sum16(c, 36, 0));
	assert_int_equal(net_link_input_mem(r->link, f, 14 + 20 + 36), 0);
}

static void parse_frame(struct run *r, const struct seg *s, struct pkt *k)
{
	const uint8_t *ip = s->frame + 14, *t = ip + 20, *o;
	size_t hlen = (t[12] >> 4) * 4, n;

	memset(k, 0, sizeof(*k));
	k->mss = k->wscale = -1;
	k->flags = t[13];
	k->ecn = ip[1] & 3;
	if ((k->flags & 2) || !r->isn_known) {
		r->our_isn = get32(t + 4);
		r->isn_known = true;
		r->our_port = get16(t);
	}
	k->seq = get32(t + 4) - r->our_isn;
	k->len = get16(ip + 2) - 20 - hlen;
	k->end = k->seq + k->len;
	k->ack = get32(t + 8) - PEER_ISN;
	k->win = get16(t + 14);
	k->urg = get16(t + 18);
	for (o = t + 20, n = hlen - 20; n;) {
		size_t l = *o <= 1 ? 1 : o[1];

		if (*o == 2)
			k->mss = get16(o + 2);
		if (*o == 3)
			k->wscale = o[2];
		if (*o == 4)
			k->sackok = true;
		if (*o == 8) {
			k->ts = true;
			k->tsval = r->last_tsval = get32(o + 2);
			k->tsecr = get32(o + 6);
		}
		if (*o == 5)
			for (k->nsack = 0; k->nsack * 8 + 2 < o[1]; k->nsack++) {
				k->sack[k->nsack][0] = get32(o + 2 + 8 * k->nsack) - PEER_ISN;
				k->sack[k->nsack][1] = get32(o + 6 + 8 * k->nsack) - PEER_ISN;
			}
		if (*o == 0 || l > n)
			break;
		o += l;
		n -= l;
	}
}

static void show(const struct pkt *k, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s%s%s%s%s%s%s%s %u:%u(%u) ack %u win %u",
			 k->flags & 2 ? "S" : "", k->flags & 1 ? "F" : "", k->flags & 4 ? "R" : "",
			 k->flags & 8 ? "P" : "", k->flags & 32 ? "U" : "",
			 k->flags & 64 ? "E" : "", k->flags & 128 ? "W" : "",
			 k->flags & 16 ? "." : "", k->seq, k->end, k->len, k->ack, k->win);

	for (int i = 0; i < k->nsack; i++)
		n += snprintf(buf + n, size - n, " sack %u:%u", k->sack[i][0], k->sack[i][1]);
}

/* ------------------------------------------------------------------------------ parsing lines */

static const char *word(const char **p, char *buf, size_t size)
{
	size_t n = 0;

	while (isspace((unsigned char)**p))
		(*p)++;
	while (**p && !isspace((unsigned char)**p) && n + 1 < size)
		buf[n++] = *(*p)++;
	buf[n] = 0;
	return n ? buf : NULL;
}

static void parse_options(struct run *r, const char *p, struct pkt *k)
{
	char w[64];

	k->has_opts = true;
	while (*p && *p != '>') {
		size_t n = 0;

		while (*p == ',' || *p == ' ' || *p == '<')
			p++;
		while (*p && !strchr(", >", *p) && n + 1 < sizeof(w))
			w[n++] = *p++;
		w[n] = 0;
		if (!n)
			continue;
		if (!strcmp(w, "mss"))
			k->mss = strtol(p, (char **)&p, 10);
		else if (!strcmp(w, "wscale"))
			k->wscale = strtol(p, (char **)&p, 10);
		else if (!strcmp(w, "sackOK"))
			k->sackok = true;
		else if (!strcmp(w, "TS"))
			k->ts = true;
		else if (!strcmp(w, "val"))
			k->tsval = strtoul(p, (char **)&p, 10);
		else if (!strcmp(w, "ecr"))
			k->tsecr = strtoul(p, (char **)&p, 10);
		else if (!strcmp(w, "ecrold")) /* N ms before our last timestamp */
			k->tsecr = r->last_tsval - strtoul(p, (char **)&p, 10);
		else if (!strcmp(w, "sack"))
			k->nsack = 0;
		else if (strchr(w, ':')) {
			sscanf(w, "%u:%u", &k->sack[k->nsack][0], &k->sack[k->nsack][1]);
			k->nsack++;
		} else if (strcmp(w, "nop") && strcmp(w, "eol")) {
			fail_at(r, "unknown option", w);
		}
	}
}

static void parse_packet(struct run *r, const char *p, struct pkt *k)
{
	static const char names[] = "FSRP.UEW";
	char w[128];

	memset(k, 0, sizeof(*k));
	k->mss = k->wscale = -1;
	word(&p, w, sizeof(w));
	for (char *c = w; *c; c++) {
		const char *at = strchr(names, *c);

		if (!at)
			fail_at(r, "unknown flag", w);
		k->flags |= 1 << (at - names);
	}
	word(&p, w, sizeof(w));
	if (sscanf(w, "%u:%u(%u)", &k->seq, &k->end, &k->len) != 3)
		fail_at(r, "bad sequence", w);
	while (*p) {
		while (isspace((unsigned char)*p))
			p++;
		if (*p == '<') {
			parse_options(r, p, k);
			return;
		}
		if (!word(&p, w, sizeof(w)))
			return;
		if (!strcmp(w, "ack")) {
			k->has_ack = true;
			k->ack = strtoul(p, (char **)&p, 10);
		} else if (!strcmp(w, "win")) {
			k->has_win = true;
			k->win = strtoul(p, (char **)&p, 10);
		} else if (!strcmp(w, "urg")) {
			k->has_urg = true;
			k->urg = strtoul(p, (char **)&p, 10);
		} else if (!strcmp(w, "ecn")) {
			k->has_ecn = true;
			k->ecn = strtoul(p, (char **)&p, 10);
		} else {
			fail_at(r, "unknown word", w);
		}
	}
}

/* ------------------------------------------------------------------------------ expectations */

static struct seg *next_segment(struct run *r, int64_t until)
{
	while (STAILQ_EMPTY(&r->out)) {
		int64_t next = net_vclock_next(r->clock);

		if (next > until) {
			net_vclock_run(r->clock, until);
			return NULL;
		}
		net_vclock_run(r->clock, next);
	}
	return STAILQ_FIRST(&r->out);
}

static bool options_match(const struct pkt *want, const struct pkt *got)
{
	if (want->mss != got->mss || want->wscale != got->wscale || want->sackok != got->sackok ||
	    want->ts != got->ts || want->nsack != got->nsack)
		return false;
	if (want->ts && want->tsecr && want->tsecr != got->tsecr)
		return false;
	for (int i = 0; i < want->nsack; i++)
		if (want->sack[i][0] != got->sack[i][0] || want->sack[i][1] != got->sack[i][1])
			return false;
	return true;
}

static void expect(struct run *r, const char *spec, int64_t at)
{
	struct pkt want, got;
	char buf[400], g[200];
	struct seg *s;
	int64_t off;

	parse_packet(r, spec, &want);
	s = next_segment(r, at + TOLERANCE);
	if (!s)
		fail_at(r, "nothing was sent, expected", spec);
	parse_frame(r, s, &got);
	show(&got, g, sizeof(g));
	snprintf(buf, sizeof(buf), "%s; sent: %s at %.4f", spec, g, (s->at - r->start) / 1e9);
	off = s->at - at;
	/* PSH is compared only when asked for. */
	if ((want.flags & ~8) != (got.flags & ~8) || ((want.flags & 8) && !(got.flags & 8)))
		fail_at(r, "flags, expected", buf);
	if (want.seq != got.seq || want.len != got.len)
		fail_at(r, "sequence, expected", buf);
	if (want.has_ack && want.ack != got.ack)
		fail_at(r, "ack, expected", buf);
	if (want.has_win && want.win != got.win)
		fail_at(r, "window, expected", buf);
	if (want.has_urg && want.urg != got.urg)
		fail_at(r, "urgent, expected", buf);
	if (want.has_ecn && want.ecn != got.ecn)
		fail_at(r, "ecn, expected", buf);
	if (want.has_opts && !options_match(&want, &got))
		fail_at(r, "options, expected", buf);
	if (off > TOLERANCE || off < -TOLERANCE)
		fail_at(r, "time, expected", buf);
	STAILQ_REMOVE_HEAD(&r->out, next);
	free(s);
}

static void expect_silence(struct run *r, int64_t from, double seconds)
{
	struct seg *s = next_segment(r, from + (int64_t)(seconds * 1e9));
	struct pkt got;
	char g[200];

	if (!s)
		return;
	parse_frame(r, s, &got);
	show(&got, g, sizeof(g));
	fail_at(r, "silence was expected; sent:", g);
}

/* ------------------------------------------------------------------------------ commands */

static int state_of(struct net_ep *ep, struct tcp_info *i)
{
	socklen_t n = sizeof(*i);

	net_ep_getsockopt(ep, IPPROTO_TCP, TCP_INFO, i, &n);
	return i->tcpi_state;
}

static long error_number(const char *w)
{
	static const struct {
		const char *name;
		int n;
	} list[] = {{"EAGAIN", EAGAIN},
		    {"ECONNRESET", ECONNRESET},
		    {"EPIPE", EPIPE},
		    {"ETIMEDOUT", ETIMEDOUT},
		    {"ECONNREFUSED", ECONNREFUSED},
		    {"EINPROGRESS", EINPROGRESS},
		    {"ENOTCONN", ENOTCONN},
		    {"EISCONN", EISCONN},
		    {"EALREADY", EALREADY},
		    {"EINVAL", EINVAL},
		    {"EHOSTUNREACH", EHOSTUNREACH},
		    {"EADDRINUSE", EADDRINUSE}};

	if (*w != 'E')
		return strtol(w, NULL, 10);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (!strcmp(list[i].name, w))
			return -list[i].n;
	return LONG_MIN;
}

static long do_send(struct run *r, long n, int flags)
{
	static char data[1 << 20];
	struct iovec iov = {data, n};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};

	return net_ep_sendmsg(r->ep, &m, flags);
}

static long do_recv(struct run *r, long n, int flags)
{
	static char data[1 << 20];
	struct iovec iov = {data, n};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};

	return net_ep_recvmsg(r->ep, &m, flags);
}

static long do_connect(struct run *r)
{
	struct sockaddr_storage a;
	socklen_t n = world_addr(AF_INET, 1, PEER_PORT, &a);

	if (!r->ep)
		net_ep_create(r->stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &r->ep);
	return net_ep_connect(r->ep, (struct sockaddr *)&a, n);
}

static long do_listen(struct run *r, int backlog)
{
	struct sockaddr_storage a;
	socklen_t n = world_addr(AF_INET, -2, OUR_PORT, &a);

	if (!r->listener) {
		net_ep_create(r->stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &r->listener);
		net_ep_bind(r->listener, (struct sockaddr *)&a, n);
	}
	return net_ep_listen(r->listener, backlog);
}

static long do_option(struct run *r, const char *name, long v, bool on_listener)
{
	static const struct {
		const char *name;
		int level, opt;
	} list[] = {
		{"NODELAY", IPPROTO_TCP, TCP_NODELAY},
		{"CORK", IPPROTO_TCP, TCP_CORK},
		{"MAXSEG", IPPROTO_TCP, TCP_MAXSEG},
		{"KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE},
		{"KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL},
		{"KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT},
		{"KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE},
		{"USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT},
		{"SYNCNT", IPPROTO_TCP, TCP_SYNCNT},
		{"DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT},
		{"QUICKACK", IPPROTO_TCP, TCP_QUICKACK},
		{"LINGER2", IPPROTO_TCP, TCP_LINGER2},
		{"RCVBUF", SOL_SOCKET, SO_RCVBUF},
		{"SNDBUF", SOL_SOCKET, SO_SNDBUF},
		{"OOBINLINE", SOL_SOCKET, SO_OOBINLINE},
		{"NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT},
		{"TOS", IPPROTO_IP, IP_TOS},
	};
	struct net_ep *ep = on_listener ? r->listener : r->ep;

	if (!strcmp(name, "LINGER")) {
		struct linger l = {v >= 0, v};

		return net_ep_setsockopt(ep, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	}
	if (!strcmp(name, "RENO"))
		return net_ep_setsockopt(ep, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (!strcmp(list[i].name, name))
			return ep_option(ep, list[i].level, list[i].opt, v);
	fail_at(r, "unknown option", name);
	return 0;
}

static long do_query(struct run *r, const char *what)
{
	struct tcp_info i;
	int st = r->ep ? state_of(r->ep, &i) : 0, v;

	if (!strcmp(what, "state"))
		return st;
	if (!strcmp(what, "cwnd"))
		return i.tcpi_snd_cwnd;
	if (!strcmp(what, "ssthresh"))
		return i.tcpi_snd_ssthresh;
	if (!strcmp(what, "ca_state"))
		return i.tcpi_ca_state;
	if (!strcmp(what, "retransmits"))
		return i.tcpi_retransmits;
	if (!strcmp(what, "rto_ms"))
		return i.tcpi_rto / 1000;
	if (!strcmp(what, "rtt_ms"))
		return i.tcpi_rtt / 1000;
	if (!strcmp(what, "readable"))
		return !!(net_ep_readiness(r->ep) & EPOLLIN);
	if (!strcmp(what, "writable"))
		return !!(net_ep_readiness(r->ep) & EPOLLOUT);
	if (!strcmp(what, "hup"))
		return !!(net_ep_readiness(r->ep) & EPOLLHUP);
	if (!strcmp(what, "pri"))
		return !!(net_ep_readiness(r->ep) & EPOLLPRI);
	if (!strcmp(what, "error"))
		return ep_get_option(r->ep, SOL_SOCKET, SO_ERROR);
	if (!strcmp(what, "outq"))
		return net_ep_ioctl(r->ep, 0x5411 /* SIOCOUTQ */, &v) ? -1 : v;
	if (!strcmp(what, "inq"))
		return net_ep_ioctl(r->ep, 0x541B /* SIOCINQ */, &v) ? -1 : v;
	if (!strcmp(what, "atmark"))
		return net_ep_ioctl(r->ep, 0x8905 /* SIOCATMARK */, &v) ? -1 : v;
	if (!strncmp(what, "Tcp", 3))
		return stack_counter(r->stack, what);
	fail_at(r, "unknown query", what);
	return 0;
}

static void close_ep(struct net_ep **ep)
{
	if (*ep)
		net_ep_close(*ep);
	*ep = NULL;
}

static long command(struct run *r, const char *verb, const char **p)
{
	char w[64] = "", v[64] = "";

	if (!strcmp(verb, "listen"))
		return do_listen(r, word(p, w, sizeof(w)) ? atoi(w) : 4);
	if (!strcmp(verb, "connect"))
		return do_connect(r);
	if (!strcmp(verb, "accept")) {
		close_ep(&r->ep);
		return net_ep_accept(r->listener, &r->ep);
	}
	if (!strcmp(verb, "send"))
		return do_send(r, atol(word(p, w, sizeof(w))), 0);
	if (!strcmp(verb, "send_more"))
		return do_send(r, atol(word(p, w, sizeof(w))), MSG_MORE);
	if (!strcmp(verb, "send_oob"))
		return do_send(r, atol(word(p, w, sizeof(w))), MSG_OOB);
	if (!strcmp(verb, "recv"))
		return do_recv(r, atol(word(p, w, sizeof(w))), 0);
	if (!strcmp(verb, "recv_oob"))
		return do_recv(r, 1, MSG_OOB);
	if (!strcmp(verb, "peek"))
		return do_recv(r, atol(word(p, w, sizeof(w))), MSG_PEEK);
	if (!strcmp(verb, "discard"))
		return do_recv(r, atol(word(p, w, sizeof(w))), MSG_TRUNC);
	if (!strcmp(verb, "shutdown")) {
		word(p, w, sizeof(w));
		return net_ep_shutdown(r->ep, !strcmp(w, "rd")	 ? SHUT_RD
					      : !strcmp(w, "wr") ? SHUT_WR
								 : SHUT_RDWR);
	}
	if (!strcmp(verb, "close")) {
		close_ep(&r->ep);
		return 0;
	}
	if (!strcmp(verb, "close_listener")) {
		close_ep(&r->listener);
		return 0;
	}
	if (!strcmp(verb, "setsockopt") || !strcmp(verb, "listener_option")) {
		word(p, w, sizeof(w));
		word(p, v, sizeof(v));
		return do_option(r, w, atol(v), verb[0] == 'l');
	}
	if (!strcmp(verb, "query"))
		return do_query(r, word(p, w, sizeof(w)));
	if (!strcmp(verb, "from_port")) { /* a second peer: another connection */
		return 0;
	}
	fail_at(r, "unknown command", verb);
	return 0;
}

/* ------------------------------------------------------------------------------ running */

static int64_t parse_time(struct run *r, const char *w)
{
	return *w == '+' ? r->last + (int64_t)(atof(w + 1) * 1e9)
			 : r->start + (int64_t)(atof(w) * 1e9);
}

static void do_line(struct run *r, const char *p);

/* establish [ts] [nosack] [mss N] [win N]: the usual passive handshake, and accept. */
static void establish(struct run *r, const char *p)
{
	char w[32], line[200];
	const char *opts = ",sackOK,wscale 7";
	bool ts = strstr(p, "ts") != NULL;
	int mss = 1000, win = 257;

	if (strstr(p, "nosack"))
		opts = ",wscale 7";
	if (strstr(p, "plain"))
		opts = "";
	while (word(&p, w, sizeof(w))) {
		if (!strcmp(w, "mss"))
			mss = strtol(p, (char **)&p, 10);
		if (!strcmp(w, "win"))
			win = strtol(p, (char **)&p, 10);
	}
	do_line(r, "+0 listen 4 = 0");
	snprintf(line, sizeof(line), "+0 < S 0:0(0) win 32792 <mss %d%s%s>", mss, opts,
		 ts ? ",TS val 100" : "");
	do_line(r, line);
	do_line(r, "+0 > S. 0:0(0) ack 1");
	r->ts = ts;
	r->peer_ts = 100;
	snprintf(line, sizeof(line), "+.1 < . 1:1(0) ack 1 win %d", win);
	do_line(r, line);
	do_line(r, "+0 accept = 0");
}

static void do_line(struct run *r, const char *p)
{
	char w[64], verb[64];
	int64_t at;
	struct pkt k;
	const char *eq;

	if (!word(&p, w, sizeof(w)) || *w == '#')
		return;
	if (!strcmp(w, "sysctl")) {
		word(&p, verb, sizeof(verb));
		stack_sysctl(r->stack, verb, atol(p));
		return;
	}
	if (!strcmp(w, "establish")) {
		establish(r, p);
		return;
	}
	at = parse_time(r, w);
	word(&p, verb, sizeof(verb));
	if (!strcmp(verb, ">")) {
		expect(r, p, at);
		r->last = at > net_vclock_now(r->clock) ? at : net_vclock_now(r->clock);
		r->last = at;
		return;
	}
	/* Whatever is done next, nothing may have been sent that was not expected. */
	net_vclock_run(r->clock, at);
	r->last = at;
	if (!STAILQ_EMPTY(&r->out))
		expect_silence(r, at, 0);
	if (!strcmp(verb, "<") && !strncmp(p, " icmp", 5)) {
		int type = 3, code = 4, mtu = 0;

		sscanf(p, " icmp %d %d mtu %d", &type, &code, &mtu);
		inject_icmp(r, type, code, mtu);
	} else if (!strcmp(verb, "<")) {
		parse_packet(r, p, &k);
		inject(r, &k);
	} else if (!strcmp(verb, "none")) {
		expect_silence(r, at, atof(p));
		r->last = at + (int64_t)(atof(p) * 1e9);
	} else {
		long got = command(r, verb, &p), want;

		eq = strchr(p, '=');
		want = eq ? (word((const char **)&(const char *){eq + 1}, w, sizeof(w)),
			     error_number(w))
			  : got;
		if (got != want) {
			char buf[160];

			snprintf(buf, sizeof(buf), "%s: got %ld, expected %ld", verb, got, want);
			fail_at(r, "result:", buf);
		}
	}
}

static void run_script(void **state)
{
	const struct script *sc = *state;
	struct net_config c = {.hash_buckets = 64};
	struct net_link_config lc = {.name = "eth0", .mtu = 1500, .addr = {2, 0, 0, 0, 0, 1}};
	struct net_addr_info a = {.ifindex = 2, .family = AF_INET, .prefix = 24};
	struct net_neigh_info n = {
		.ifindex = 2, .family = AF_INET, .state = 0x80, .lladdr = {2, 0, 0, 0, 0, 2}};
	uint8_t ours[4] = {10, 0, 0, 1}, peer[4] = {10, 0, 0, 2};
	struct run r = {.name = sc->name, .line = sc->line, .our_port = OUR_PORT};
	char *text = strdup(sc->text), *save, *line;
	struct seg *s;

	STAILQ_INIT(&r.out);
	assert_int_equal(net_vclock_create(&r.env, 7, &r.clock), 0);
	c.env = r.env;
	assert_int_equal(netstack_create(&c, &r.stack), 0);
	stack_sysctl(r.stack, "ipv6.conf.all.disable_ipv6", 1);
	assert_int_equal(net_link_add_custom(r.stack, &lc, &script_ops, &r, &r.link), 0);
	net_link_set_flags(r.link, IFF_UP, IFF_UP);
	memcpy(&a.addr, ours, 4);
	memcpy(&n.addr, peer, 4);
	assert_int_equal(net_addr_add(r.stack, &a), 0);
	assert_int_equal(net_neigh_add(r.stack, &n), 0);
	r.start = r.last = net_vclock_now(r.clock);
	for (line = text; line; line = save, r.line++) {
		save = strchr(line, '\n');
		if (save)
			*save++ = 0;
		do_line(&r, line);
	}
	expect_silence(&r, r.last, 0);
	close_ep(&r.ep);
	close_ep(&r.listener);
	netstack_destroy(r.stack);
	net_link_put(r.link);
	while ((s = STAILQ_FIRST(&r.out))) {
		STAILQ_REMOVE_HEAD(&r.out, next);
		free(s);
	}
	assert_true(net_vclock_next(r.clock) == INT64_MAX);
	net_vclock_destroy(r.clock);
	free(text);
}

/* ------------------------------------------------------------------------------ loading */

static struct script scripts[512];
static struct CMUnitTest tests[512];
static unsigned count;

static char *read_all(const char *path)
{
	FILE *f = fopen(path, "r");
	char *buf = calloc(1, 1 << 18);
	size_t n = f ? fread(buf, 1, (1 << 18) - 1, f) : 0;

	if (f)
		fclose(f);
	buf[n] = 0;
	return buf;
}

static void load(const char *dir, const char *file)
{
	char path[PATH_MAX + 512], *text, *at, *next;
	int line = 1;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	text = read_all(path);
	for (at = text; at && *at; at = next) {
		char *end = strchr(at, '\n');

		next = end ? end + 1 : NULL;
		line++;
		if (strncmp(at, "=== ", 4) || !end)
			continue;
		*end = 0;
		snprintf(scripts[count].name, sizeof(scripts[count].name), "%.*s/%s",
			 (int)(strlen(file) - 4), file, at + 4);
		scripts[count].text = end + 1;
		scripts[count].line = line;
		if (at > text)
			at[-1] = 0; /* ends the section before */
		tests[count] = (struct CMUnitTest){scripts[count].name, run_script, NULL, NULL,
						   &scripts[count]};
		count++;
	}
}

/* The scripts lie in the source tree, above the build directory. */
static bool find_scripts(char *dir, size_t size)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	while (n > 0) {
		while (n > 0 && exe[n - 1] != '/')
			n--;
		if (n <= 0)
			break;
		exe[--n] = 0;
		snprintf(dir, size, "%s/tests/unit/netstack/scripts", exe);
		if (access(dir, R_OK) == 0)
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	char dir[PATH_MAX + 64];
	struct dirent **list;
	int n;

	if (!find_scripts(dir, sizeof(dir))) {
		fprintf(stderr, "script_test: no scripts found\n");
		return 1;
	}
	n = scandir(dir, &list, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		size_t len = strlen(list[i]->d_name);

		if (len > 4 && !strcmp(list[i]->d_name + len - 4, ".pkt"))
			load(dir, list[i]->d_name);
		free(list[i]);
	}
	free(list);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (count < 80) {
		fprintf(stderr, "script_test: only %u scripts\n", count);
		return 1;
	}
	return _cmocka_run_group_tests("scripts", tests, count, NULL, NULL);
}
