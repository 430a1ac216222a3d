/* ICMPv6: RFC 4443. */
#include "netstack/icmp/icmp_internal.h"
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip_upcalls.h"

void icmp6_fill_csum(struct nbuf *b, const struct in6_addr *src, const struct in6_addr *dst)
{
	struct icmp6_hdr *h = (struct icmp6_hdr *)b->data;

	h->icmp6_cksum = 0;
	h->icmp6_cksum =
		csum_fold(nbuf_csum(b, 0, b->len, csum_pseudo(src, dst, IPPROTO_ICMPV6, b->len)));
}

static void send_icmp6(struct netstack *s, struct nbuf *cause, struct nbuf *b)
{
	struct ip_tx tx = {.protocol = IPPROTO_ICMPV6, .ttl = -1};
	struct path_key k = {.dst = cause->src};
	struct net_path p;

	if (!cause->mcast && addr_is_local(s, &cause->dst))
		k.src = &cause->dst;
	if (addr_linklocal6(&cause->src) && cause->link)
		k.oif = cause->link->index;
	if (path_lookup(s, &k, &p) < 0) {
		nbuf_put(b);
		return;
	}
	icmp6_fill_csum(b, &p.src, &p.dst);
	net_count(s, NET_Icmp6_OutMsgs);
	ip_output(s, &p, b, &tx);
	path_release(&p);
}

static void echo(struct netstack *s, struct nbuf *b)
{
	struct nbuf *r;

	if (s->sysctl.icmp_echo_ignore_all)
		return;
	if (!rate_limit_ok(s, &s->icmp_limit, s->sysctl.icmp_msgs_per_sec * 10,
			   s->sysctl.icmp_msgs_burst * 20)) {
		net_count(s, NET_Icmp6_OutRateLimited);
		return;
	}
	r = nbuf_copy(b, NET_HEADROOM);
	if (!r)
		return;
	r->csum = NBUF_CSUM_NONE;
	r->data[0] = ICMP6_ECHO_REPLY;
	send_icmp6(s, b, r);
}

void icmp6_error(struct netstack *s, struct nbuf *b, uint8_t type, uint8_t code, uint32_t info)
{
	const struct ip6_hdr *ip = (const struct ip6_hdr *)b->net;
	size_t off, hlen = b->data - b->net, n;
	struct icmp6_hdr *h;
	struct nbuf *r;
	bool frag;
	int proto = ip6_skip_headers(b->net, hlen + b->lin, &off, &frag);
	/* Multicast destinations get these two all the same: RFC 4443 §2.4 (e.3). */
	bool mcast_ok = type == ICMP6_PACKET_TOO_BIG ||
			(type == ICMP6_PARAM_PROB && code == ICMP6_PARAMPROB_OPTION);

	(void)ip;
	if ((b->mcast && !mcast_ok) || addr_any(&b->src) || addr_multicast(&b->src) || frag)
		return;
	if (proto == IPPROTO_ICMPV6 && (off >= hlen + b->lin || !(b->net[off] & 0x80)))
		return;
	if (!rate_limit_ok(s, &s->icmp_limit, s->sysctl.icmp_msgs_per_sec,
			   s->sysctl.icmp_msgs_burst)) {
		net_count(s, NET_Icmp6_OutRateLimited);
		return;
	}
	/* As much as fits into the minimum MTU: §2.4 (c). */
	if (hlen + sizeof(*ip) + sizeof(*h) > 1280)
		return;
	n = MIN((size_t)b->len, 1280 - sizeof(*ip) - sizeof(*h) - hlen);
	r = nbuf_alloc(s->pool, NET_HEADROOM, sizeof(*h) + hlen + n);
	if (!r)
		return;
	h = nbuf_append(r, sizeof(*h));
	memset(h, 0, sizeof(*h));
	h->icmp6_type = type;
	h->icmp6_code = code;
	h->icmp6_data32[0] = htonl(info);
	memcpy(nbuf_append(r, hlen), b->net, hlen);
	nbuf_read(b, 0, nbuf_append(r, n), n);
	send_icmp6(s, b, r);
}

static const int unreach_err[] = {ENETUNREACH,	EACCES, EHOSTUNREACH, EHOSTUNREACH,
				  ECONNREFUSED, EACCES, EACCES};

static void error_input(struct netstack *s, struct nbuf *b, const struct icmp6_hdr *h)
{
	uint8_t type = h->icmp6_type, code = h->icmp6_code;
	uint32_t info = ntohl(h->icmp6_data32[0]);
	struct in6_addr src, dst;
	bool frag, hard = false;
	int err = EPROTO, proto;
	size_t off;

	nbuf_pull(b, sizeof(*h));
	if (!nbuf_linear(b, sizeof(struct ip6_hdr)))
		return;
	nbuf_linear(b, MIN(b->len, 512u));
	memcpy(&src, b->data + 8, 16);
	memcpy(&dst, b->data + 24, 16);
	proto = ip6_skip_headers(b->data, b->lin, &off, &frag);
	if (proto < 0 || frag || addr_type(s, NULL, &src) != RTN_LOCAL)
		return;
	if (type == ICMP6_DST_UNREACH) {
		if (code >= ARRAY_SIZE(unreach_err))
			return;
		err = unreach_err[code];
		hard = code == ICMP6_DST_UNREACH_NOPORT || code == ICMP6_DST_UNREACH_ADMIN;
	} else if (type == ICMP6_PACKET_TOO_BIG) {
		err = EMSGSIZE;
	} else if (type == ICMP6_TIME_EXCEEDED) {
		err = EHOSTUNREACH;
	} else {
		hard = true;
	}
	b->net = b->data;
	b->l4proto = proto;
	nbuf_pull(b, off);
	icmp_notify(s, proto, &src, &dst, err, type, code, err == EMSGSIZE ? info : 0, hard, b);
}

void icmp6_input(struct netstack *s, struct nbuf *b)
{
	struct icmp6_hdr h;
	uint32_t sum;

	net_count(s, NET_Icmp6_InMsgs);
	if (!nbuf_linear(b, sizeof(h))) {
		net_count(s, NET_Icmp6_InErrors);
		nbuf_put(b);
		return;
	}
	sum = csum_pseudo(&b->src, &b->dst, IPPROTO_ICMPV6, b->len);
	if (b->csum != NBUF_CSUM_OK && csum_fold(nbuf_csum(b, 0, b->len, sum)) != 0) {
		net_count(s, NET_Icmp6_InCsumErrors);
		nbuf_put(b);
		return;
	}
	memcpy(&h, b->data, sizeof(h));
	switch (h.icmp6_type) {
	case ICMP6_ECHO_REQUEST:
		echo(s, b);
		break;
	case ICMP6_ECHO_REPLY:
		ping_input(s, b);
		break;
	case ICMP6_DST_UNREACH:
	case ICMP6_PACKET_TOO_BIG:
	case ICMP6_TIME_EXCEEDED:
	case ICMP6_PARAM_PROB:
		error_input(s, b, &h);
		break;
	case MLD_LISTENER_QUERY:
	case MLD_LISTENER_REPORT:
		mld_input(s, b);
		break;
	case ND_ROUTER_SOLICIT:
	case ND_ROUTER_ADVERT:
	case ND_NEIGHBOR_SOLICIT:
	case ND_NEIGHBOR_ADVERT:
	case ND_REDIRECT:
		ndp_input(s, b);
		break;
	default:
		break;
	}
	nbuf_put(b);
}
