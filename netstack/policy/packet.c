#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <net/ethernet.h>

#include "netstack/policy/packet_internal.h"

#define HEADERS_MAX 8
#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* False: malformed, or a source route. */
static bool options_ok(const uint8_t *opt, size_t len)
{
	size_t i = 0;

	while (i < len && opt[i] != IPOPT_EOL) {
		if (opt[i] == IPOPT_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= len || opt[i + 1] < 2 || i + opt[i + 1] > len)
			return false;
		if (opt[i] == IPOPT_LSRR || opt[i] == IPOPT_SSRR)
			return false;
		i += opt[i + 1];
	}
	return true;
}

static bool read4(struct packet *p, size_t total)
{
	struct ip ip;
	uint16_t off;
	size_t hlen;

	if (p->have < sizeof(ip))
		return false;
	memcpy(&ip, p->head, sizeof(ip));
	hlen = ip.ip_hl * 4u;
	addr_set4(&p->src, ip.ip_src.s_addr);
	addr_set4(&p->dst, ip.ip_dst.s_addr);
	if (ip.ip_v != 4 || hlen < sizeof(ip) || hlen > p->have || ntohs(ip.ip_len) < hlen ||
	    ntohs(ip.ip_len) > total)
		return false;
	if (!options_ok(p->head + sizeof(ip), hlen - sizeof(ip)))
		return false;
	off = ntohs(ip.ip_off);
	p->protocol = ip.ip_p;
	p->ttl = ip.ip_ttl;
	p->fragment = off & (IP_MF | IP_OFFMASK);
	p->first = !(off & IP_OFFMASK);
	p->id = ip.ip_id;
	p->transport = hlen;
	p->len = ntohs(ip.ip_len) - hlen;
	return true;
}

/* The chain of extension headers, up to the transport. */
static bool read_extensions(struct packet *p, uint8_t next)
{
	size_t at = sizeof(struct ip6_hdr);

	for (int i = 0; i < HEADERS_MAX; i++) {
		switch (next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
			if (at + 2 > p->have)
				return false;
			next = p->head[at];
			at += (p->head[at + 1] + 1u) * 8;
			break;
		case IPPROTO_FRAGMENT:
			if (at + 8 > p->have || p->fragment)
				return false;
			next = p->head[at];
			p->fragment = true;
			p->first = !(get16(p->head + at + 2) & 0xfff8);
			memcpy(&p->id, p->head + at + 4, 4);
			at += 8;
			/* What follows is a part of something. */
			if (!p->first) {
				p->protocol = next;
				p->transport = at;
				return true;
			}
			break;
		case IPPROTO_ROUTING:
			return false;
		default:
			p->protocol = next;
			p->transport = at;
			return true;
		}
	}
	return false;
}

static bool read6(struct packet *p, size_t total)
{
	struct ip6_hdr ip;
	size_t len;

	if (p->have < sizeof(ip))
		return false;
	memcpy(&ip, p->head, sizeof(ip));
	len = sizeof(ip) + ntohs(ip.ip6_plen);
	p->src = ip.ip6_src;
	p->dst = ip.ip6_dst;
	if (p->head[0] >> 4 != 6 || len > total)
		return false;
	p->ttl = ip.ip6_hlim;
	p->first = true;
	if (!read_extensions(p, ip.ip6_nxt) || p->transport > len)
		return false;
	p->len = len - p->transport;
	return true;
}

/* Ports and what else is needed of the transport's header, which must be there whole: a second
 * fragment could say something else of what is missing in the first. */
static bool read_transport(struct packet *p)
{
	const uint8_t *head = p->head + p->transport;
	size_t room = p->have > p->transport ? p->have - p->transport : 0, need;

	if (p->fragment && !p->first)
		return true;
	switch (p->protocol) {
	case IPPROTO_TCP:
		need = sizeof(struct tcphdr);
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		need = 8;
		break;
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		need = 12;
		break;
	default:
		return true;
	}
	if (room < need || p->len < need)
		return false;
	if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) {
		p->type = head[0];
		return true;
	}
	p->has_ports = true;
	p->sport = get16(head);
	p->dport = get16(head + 2);
	if (p->protocol == IPPROTO_TCP)
		p->flags = head[13];
	return true;
}

bool packet_read(const struct egress_frame *f, struct packet *p)
{
	size_t total;

	memset(p, 0, offsetof(struct packet, head));
	if (f->off >= f->b->len)
		return false;
	total = f->b->len - f->off;
	p->have = MIN(total, sizeof(p->head));
	nbuf_read(f->b, f->off, p->head, p->have);
	if (f->protocol == ETHERTYPE_IP ? !read4(p, total) : !read6(p, total))
		return false;
	return read_transport(p);
}
