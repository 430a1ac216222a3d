/* ICMP for IPv4: RFC 792, RFC 1122 §3.2.2, RFC 1191, rate limits of RFC 1812 §4.3.2.8. */
#include "netstack/icmp/icmp_internal.h"
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/neigh/neigh_upcalls.h"

/* Sends b (at the ICMP header, checksum not set) to dst. */
static void send_icmp(struct netstack *s, const struct in6_addr *dst, const struct in6_addr *src,
		      int oif, struct nbuf *b, uint8_t tos)
{
	struct ip_tx tx = {.protocol = IPPROTO_ICMP, .tos = tos, .ttl = -1};
	struct icmp4_hdr *h = (struct icmp4_hdr *)b->data;

	h->checksum = 0;
	h->checksum = csum_fold(nbuf_csum(b, 0, b->len, 0));
	net_count(s, NET_Icmp_OutMsgs);
	ip_send(s, dst, src, oif, b, &tx);
}

static void echo(struct netstack *s, struct nbuf *b)
{
	struct nbuf *r;
	const struct in6_addr *src = &b->dst;

	if (s->sysctl.icmp_echo_ignore_all || (b->mcast && s->sysctl.icmp_echo_ignore_broadcasts))
		return;
	if (!rate_limit_ok(s, &s->icmp_limit, s->sysctl.icmp_msgs_per_sec * 10,
			   s->sysctl.icmp_msgs_burst * 20)) {
		net_count(s, NET_Icmp_OutRateLimited);
		return;
	}
	r = nbuf_copy(b, NET_HEADROOM);
	if (!r)
		return;
	r->csum = NBUF_CSUM_NONE;
	r->data[0] = ICMP4_ECHO_REPLY;
	net_count(s, NET_Icmp_OutEchoReps);
	send_icmp(s, &b->src, b->mcast ? NULL : src, 0, r, b->tos & 0xfc);
}

/* errno and hardness of each unreachable code, as Linux's icmp_err_convert. */
static const struct {
	int err;
	bool hard;
} unreach[] = {
	{ENETUNREACH, false},  {EHOSTUNREACH, false}, {ENOPROTOOPT, true},  {ECONNREFUSED, true},
	{EMSGSIZE, false},     {EOPNOTSUPP, false},   {ENETUNREACH, true},  {EHOSTDOWN, true},
	{ENONET, true},	       {ENETUNREACH, true},   {EHOSTUNREACH, true}, {ENETUNREACH, false},
	{EHOSTUNREACH, false}, {EHOSTUNREACH, true},  {EHOSTUNREACH, true}, {EHOSTUNREACH, true},
};

/* MTU of the next hop: from the message, or a guess from the plateau table (RFC 1191 §7). */
static uint32_t next_mtu(uint32_t reported, uint32_t packet)
{
	static const uint16_t plateau[] = {32000, 17914, 8166, 4352, 2002,
					   1492,  1280,	 576,  296,  68};

	if (reported)
		return reported;
	for (size_t i = 0; i < ARRAY_SIZE(plateau); i++)
		if (plateau[i] < packet)
			return plateau[i];
	return 68;
}

static void error_input(struct netstack *s, struct nbuf *b, const struct icmp4_hdr *h)
{
	uint8_t type = h->type, code = h->code;
	uint32_t info = 0, mtu = ntohs(h->seq);
	struct in6_addr src, dst;
	const struct ip *ip;
	bool hard = false;
	int err = EPROTO;
	unsigned hlen;

	nbuf_pull(b, sizeof(*h));
	if (!nbuf_linear(b, sizeof(*ip)))
		return;
	ip = (const struct ip *)b->data;
	hlen = ip->ip_hl * 4u;
	if (ip->ip_v != 4 || hlen < sizeof(*ip) || !nbuf_linear(b, hlen))
		return;
	ip = (const struct ip *)b->data;
	if (ip->ip_off & htons(IP_OFFMASK))
		return; /* no transport header to go by */
	addr_set4(&src, ip->ip_src.s_addr);
	addr_set4(&dst, ip->ip_dst.s_addr);
	/* Only about packets that this host can have sent. */
	if (addr_type(s, NULL, &src) != RTN_LOCAL)
		return;
	if (type == ICMP4_UNREACH) {
		if (code >= ARRAY_SIZE(unreach))
			return;
		err = unreach[code].err;
		hard = unreach[code].hard;
		if (code == ICMP4_UNREACH_FRAG) {
			info = next_mtu(mtu, ntohs(ip->ip_len));
			if (info < 68)
				return;
		}
	} else if (type == ICMP4_TIME_EXCEEDED) {
		err = EHOSTUNREACH;
	} else if (type == ICMP4_PARAM_PROBLEM) {
		err = EPROTO;
		hard = true;
	}
	b->net = b->data;
	b->l4proto = ip->ip_p;
	nbuf_pull(b, hlen);
	icmp_notify(s, b->l4proto, &src, &dst, err, type, code, info, hard, b);
}

void icmp_notify(struct netstack *s, uint8_t l4proto, const struct in6_addr *src,
		 const struct in6_addr *dst, int err, uint8_t type, uint8_t code, uint32_t info,
		 bool hard, struct nbuf *b)
{
	if (atomic_load_explicit(&s->n_raws, memory_order_relaxed))
		raw_icmp(s, l4proto, src, dst, err, type, code, info, hard, b);
	if (!nbuf_linear(b, 8))
		return;
	switch (l4proto) {
	case IPPROTO_TCP:
		tcp_icmp(s, src, dst, err, type, code, info, hard, b);
		break;
	case IPPROTO_UDP:
		udp_icmp(s, src, dst, err, type, code, info, hard, b);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: {
		uint16_t id;

		memcpy(&id, b->data + 4, 2);
		ping_icmp_error(s, src, dst, ntohs(id), err, type, code, info, hard, b);
		break;
	}
	}
}

void icmp4_input(struct netstack *s, struct nbuf *b)
{
	struct icmp4_hdr h;

	net_count(s, NET_Icmp_InMsgs);
	if (!nbuf_linear(b, sizeof(h))) {
		net_count(s, NET_Icmp_InErrors);
		nbuf_put(b);
		return;
	}
	if (csum_fold(nbuf_csum(b, 0, b->len, 0)) != 0) {
		net_count(s, NET_Icmp_InCsumErrors);
		nbuf_put(b);
		return;
	}
	memcpy(&h, b->data, sizeof(h));
	switch (h.type) {
	case ICMP4_ECHO:
		net_count(s, NET_Icmp_InEchos);
		echo(s, b);
		break;
	case ICMP4_ECHO_REPLY:
		net_count(s, NET_Icmp_InEchoReps);
		ping_input(s, b);
		break;
	case ICMP4_UNREACH:
		net_count(s, NET_Icmp_InDestUnreachs);
		error_input(s, b, &h);
		break;
	case ICMP4_TIME_EXCEEDED:
	case ICMP4_PARAM_PROBLEM:
		error_input(s, b, &h);
		break;
	default: /* redirects are refused, timestamps and the rest not answered */
		break;
	}
	nbuf_put(b);
}

/* RFC 1122 §3.2.2: to which packets no error may be sent. */
static bool may_answer(struct nbuf *b, const struct ip *ip, unsigned hlen)
{
	if (b->mcast || (ip->ip_off & htons(IP_OFFMASK)) || addr_any(&b->src) ||
	    addr_multicast(&b->src) || b->src.s6_addr[12] >= 240)
		return false;
	if (ip->ip_p == IPPROTO_ICMP) {
		uint8_t type;

		if (ntohs(ip->ip_len) <= hlen)
			return false;
		if (b->data == b->net + hlen && b->lin)
			type = b->data[0];
		else if (b->data == b->net && b->lin > hlen)
			type = b->data[hlen];
		else
			return false;
		return type == ICMP4_ECHO || type == ICMP4_ECHO_REPLY || type == ICMP4_TIMESTAMP;
	}
	return true;
}

void icmp4_error(struct netstack *s, struct nbuf *b, uint8_t type, uint8_t code, uint32_t info)
{
	const struct ip *ip = (const struct ip *)b->net;
	unsigned hlen = ip->ip_hl * 4u;
	struct icmp4_hdr *h;
	struct nbuf *r;
	size_t n;

	if (!may_answer(b, ip, hlen))
		return;
	if (!rate_limit_ok(s, &s->icmp_limit, s->sysctl.icmp_msgs_per_sec,
			   s->sysctl.icmp_msgs_burst)) {
		net_count(s, NET_Icmp_OutRateLimited);
		return;
	}
	/* RFC 1812 §4.3.2.3: as much as fits into 576 bytes. */
	if (b->data == b->net)
		hlen = 0;
	n = MIN((size_t)b->len, 576u - 28u - hlen);
	r = nbuf_alloc(s->pool, NET_HEADROOM, sizeof(*h) + hlen + n);
	if (!r)
		return;
	h = nbuf_append(r, sizeof(*h));
	memset(h, 0, sizeof(*h));
	h->type = type;
	h->code = code;
	h->seq = htons(info);
	memcpy(nbuf_append(r, hlen), b->net, hlen);
	nbuf_read(b, 0, nbuf_append(r, n), n);
	net_count(s, NET_Icmp_OutDestUnreachs);
	send_icmp(s, &b->src, addr_is_local(s, &b->dst) ? &b->dst : NULL, 0, r,
		  (b->tos & 0xfc) | 0xc0);
}

void icmp_port_unreachable(struct netstack *s, struct nbuf *b)
{
	if (addr_is4(&b->dst))
		icmp4_error(s, b, ICMP4_UNREACH, ICMP4_UNREACH_PORT, 0);
	else
		icmp6_error(s, b, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOPORT, 0);
}

/* b is a packet of ours, at the IP header: tell its sender as if a router had. Consumes b. */
void ip_unreachable_host(struct netstack *s, struct nbuf *b)
{
	struct in6_addr src, dst;
	size_t off = 0;
	bool frag = false;
	int proto = -1;

	if (nbuf_linear(b, sizeof(struct ip)) && b->data[0] >> 4 == 4) {
		const struct ip *ip = (const struct ip *)b->data;

		addr_set4(&src, ip->ip_src.s_addr);
		addr_set4(&dst, ip->ip_dst.s_addr);
		proto = ip->ip_p;
		off = ip->ip_hl * 4u;
		frag = ip->ip_off & htons(IP_OFFMASK);
	} else if (nbuf_linear(b, sizeof(struct ip6_hdr))) {
		const struct ip6_hdr *ip = (const struct ip6_hdr *)b->data;

		src = ip->ip6_src;
		dst = ip->ip6_dst;
		nbuf_linear(b, MIN(b->len, 256u));
		proto = ip6_skip_headers(b->data, b->lin, &off, &frag);
	}
	if (proto >= 0 && !frag && b->len >= off) {
		b->net = b->data;
		b->l4proto = proto;
		nbuf_pull(b, off);
		if (addr_is4(&src))
			icmp_notify(s, proto, &src, &dst, EHOSTUNREACH, ICMP4_UNREACH,
				    ICMP4_UNREACH_HOST, 0, false, b);
		else
			icmp_notify(s, proto, &src, &dst, EHOSTUNREACH, ICMP6_DST_UNREACH,
				    ICMP6_DST_UNREACH_ADDR, 0, false, b);
	}
	nbuf_put(b);
}
