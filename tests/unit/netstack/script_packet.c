/* Segments of packet scripts: reading, writing, injecting. */
#include "script.h"

void script_fail(struct run *r, const char *what, const char *detail)
{
	fail_msg("%s:%d: %s %s (at %.3f s)", r->name, r->line, what, detail ? detail : "",
		 (net_vclock_now(r->clock) - r->start) / 1e9);
}

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

void script_inject(struct run *r, const struct pkt *k)
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
void script_inject_icmp(struct run *r, int type, int code, int mtu)
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

void script_parse_frame(struct run *r, const struct seg *s, struct pkt *k)
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

void script_show(const struct pkt *k, char *buf, size_t size)
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

const char *script_word(const char **p, char *buf, size_t size)
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
			script_fail(r, "unknown option", w);
		}
	}
}

void script_parse(struct run *r, const char *p, struct pkt *k)
{
	static const char names[] = "FSRP.UEW";
	char w[128];

	memset(k, 0, sizeof(*k));
	k->mss = k->wscale = -1;
	script_word(&p, w, sizeof(w));
	for (char *c = w; *c; c++) {
		const char *at = strchr(names, *c);

		if (!at)
			script_fail(r, "unknown flag", w);
		k->flags |= 1 << (at - names);
	}
	script_word(&p, w, sizeof(w));
	if (sscanf(w, "%u:%u(%u)", &k->seq, &k->end, &k->len) != 3)
		script_fail(r, "bad sequence", w);
	while (*p) {
		while (isspace((unsigned char)*p))
			p++;
		if (*p == '<') {
			parse_options(r, p, k);
			return;
		}
		if (!script_word(&p, w, sizeof(w)))
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
			script_fail(r, "unknown word", w);
		}
	}
}
