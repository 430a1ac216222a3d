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
#include "script.h"

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

	script_parse(r, spec, &want);
	s = next_segment(r, at + TOLERANCE);
	if (!s)
		script_fail(r, "nothing was sent, expected", spec);
	script_parse_frame(r, s, &got);
	script_show(&got, g, sizeof(g));
	snprintf(buf, sizeof(buf), "%s; sent: %s at %.4f", spec, g, (s->at - r->start) / 1e9);
	off = s->at - at;
	/* PSH is compared only when asked for. */
	if ((want.flags & ~8) != (got.flags & ~8) || ((want.flags & 8) && !(got.flags & 8)))
		script_fail(r, "flags, expected", buf);
	if (want.seq != got.seq || want.len != got.len)
		script_fail(r, "sequence, expected", buf);
	if (want.has_ack && want.ack != got.ack)
		script_fail(r, "ack, expected", buf);
	if (want.has_win && want.win != got.win)
		script_fail(r, "window, expected", buf);
	if (want.has_urg && want.urg != got.urg)
		script_fail(r, "urgent, expected", buf);
	if (want.has_ecn && want.ecn != got.ecn)
		script_fail(r, "ecn, expected", buf);
	if (want.has_opts && !options_match(&want, &got))
		script_fail(r, "options, expected", buf);
	if (off > TOLERANCE || off < -TOLERANCE)
		script_fail(r, "time, expected", buf);
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
	script_parse_frame(r, s, &got);
	script_show(&got, g, sizeof(g));
	script_fail(r, "silence was expected; sent:", g);
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
	script_fail(r, "unknown option", name);
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
	script_fail(r, "unknown query", what);
	return 0;
}

/*
 * N segments of LEN bytes, all but the first one at 1, in an order that a sorted list would walk:
 * every other one from the end, then those between from the start. Drops the answers.
 */
static long do_scatter(struct run *r, long n, long len)
{
	struct pkt k = {.flags = 0x10, .has_ack = true, .ack = 1, .mss = -1, .wscale = -1};
	struct seg *s;

	k.len = len;
	for (long i = 0; i < n; i++) {
		long at = i < n / 2 ? n - 1 - 2 * i : 2 * (i - n / 2);

		if (!at)
			continue;
		k.seq = 1 + at * len;
		script_inject(r, &k);
		while ((s = STAILQ_FIRST(&r->out))) {
			STAILQ_REMOVE_HEAD(&r->out, next);
			free(s);
		}
	}
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
		return do_listen(r, script_word(p, w, sizeof(w)) ? atoi(w) : 4);
	if (!strcmp(verb, "connect"))
		return do_connect(r);
	if (!strcmp(verb, "accept")) {
		close_ep(&r->ep);
		return net_ep_accept(r->listener, &r->ep);
	}
	if (!strcmp(verb, "send"))
		return do_send(r, atol(script_word(p, w, sizeof(w))), 0);
	if (!strcmp(verb, "send_more"))
		return do_send(r, atol(script_word(p, w, sizeof(w))), MSG_MORE);
	if (!strcmp(verb, "send_oob"))
		return do_send(r, atol(script_word(p, w, sizeof(w))), MSG_OOB);
	if (!strcmp(verb, "recv"))
		return do_recv(r, atol(script_word(p, w, sizeof(w))), 0);
	if (!strcmp(verb, "recv_oob"))
		return do_recv(r, 1, MSG_OOB);
	if (!strcmp(verb, "peek"))
		return do_recv(r, atol(script_word(p, w, sizeof(w))), MSG_PEEK);
	if (!strcmp(verb, "discard"))
		return do_recv(r, atol(script_word(p, w, sizeof(w))), MSG_TRUNC);
	if (!strcmp(verb, "shutdown")) {
		script_word(p, w, sizeof(w));
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
		script_word(p, w, sizeof(w));
		script_word(p, v, sizeof(v));
		return do_option(r, w, atol(v), verb[0] == 'l');
	}
	if (!strcmp(verb, "query"))
		return do_query(r, script_word(p, w, sizeof(w)));
	if (!strcmp(verb, "scatter")) {
		script_word(p, w, sizeof(w));
		return do_scatter(r, atol(w), atol(script_word(p, v, sizeof(v))));
	}
	if (!strcmp(verb, "from_port")) { /* a second peer: another connection */
		return 0;
	}
	script_fail(r, "unknown command", verb);
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
	while (script_word(&p, w, sizeof(w))) {
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

	if (!script_word(&p, w, sizeof(w)) || *w == '#')
		return;
	if (!strcmp(w, "sysctl")) {
		script_word(&p, verb, sizeof(verb));
		stack_sysctl(r->stack, verb, atol(p));
		return;
	}
	if (!strcmp(w, "establish")) {
		establish(r, p);
		return;
	}
	at = parse_time(r, w);
	script_word(&p, verb, sizeof(verb));
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
		script_inject_icmp(r, type, code, mtu);
	} else if (!strcmp(verb, "<")) {
		script_parse(r, p, &k);
		script_inject(r, &k);
	} else if (!strcmp(verb, "none")) {
		expect_silence(r, at, atof(p));
		r->last = at + (int64_t)(atof(p) * 1e9);
	} else {
		long got = command(r, verb, &p), want;

		eq = strchr(p, '=');
		want = eq ? (script_word((const char **)&(const char *){eq + 1}, w, sizeof(w)),
			     error_number(w))
			  : got;
		if (got != want) {
			char buf[160];

			snprintf(buf, sizeof(buf), "%s: got %ld, expected %ld", verb, got, want);
			script_fail(r, "result:", buf);
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
