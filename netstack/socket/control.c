/*
 * Control messages of a send: man 7 ip, ipv6, udp, unix; RFC 3542 §6. As Linux has it, a message of
 * a level that the destination's protocol does not have is passed over, an unknown one of its own
 * level is an error, and most must have exactly their size.
 */
#include "netstack/socket/socket.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SCM_CREDENTIALS
#define SCM_CREDENTIALS 2
#endif

/* One message, copied out of what the caller may write to meanwhile. */
struct control {
	int level, type;
	size_t len; /* of the data */
	union {
		int v;
		uint8_t byte;
		uint16_t half;
		struct in_pktinfo pkt4;
		struct in6_pktinfo pkt6;
	};
};

/* The SOL_SOCKET messages, which any endpoint takes. */
static int socket_message(const struct control *c)
{
	switch (c->type) {
	case SCM_RIGHTS: /* meant for AF_UNIX; passed over elsewhere */
	case SCM_CREDENTIALS:
		return 0;
	case SO_MARK: /* no rule looks at it */
		return c->len == sizeof(uint32_t) ? 0 : -EINVAL;
	case SO_PRIORITY: /* nor at this; above 6 is for CAP_NET_ADMIN */
		if (c->len != sizeof(uint32_t))
			return -EINVAL;
		return c->v >= 0 && c->v <= 6 ? 0 : -EPERM;
	default:
		return -EINVAL;
	}
}

static int ip4_message(const struct control *c, struct dgram_tx *tx)
{
	switch (c->type) {
	case IP_PKTINFO:
		if (c->len != sizeof(c->pkt4))
			return -EINVAL;
		if (c->pkt4.ipi_ifindex)
			tx->oif = c->pkt4.ipi_ifindex;
		addr_set4(&tx->src, c->pkt4.ipi_spec_dst.s_addr);
		tx->src_set = c->pkt4.ipi_spec_dst.s_addr != 0;
		return 0;
	case IP_TTL:
		if (c->len != sizeof(int) || c->v < 1 || c->v > 255)
			return -EINVAL;
		tx->ttl = c->v;
		return 0;
	case IP_TOS: /* an int, or a byte as it is received */
		if (c->len == 1)
			tx->tos = c->byte;
		else if (c->len == sizeof(int) && c->v >= 0 && c->v <= 255)
			tx->tos = c->v;
		else
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

/* IPV6_PKTINFO of an IPv6 endpoint for an IPv4 destination. */
static int mapped_pktinfo(const struct control *c, struct dgram_tx *tx)
{
	if (c->len < sizeof(c->pkt6) || !addr_is4(&c->pkt6.ipi6_addr))
		return -EINVAL;
	if (c->pkt6.ipi6_ifindex)
		tx->oif = c->pkt6.ipi6_ifindex;
	tx->src = c->pkt6.ipi6_addr;
	tx->src_set = !addr_any(&tx->src);
	return 0;
}

static int pktinfo6(struct netstack *s, const struct control *c, struct dgram_tx *tx)
{
	const struct in6_pktinfo *pi = &c->pkt6;

	if (c->len < sizeof(*pi))
		return -EINVAL;
	if (pi->ipi6_ifindex) {
		if (tx->oif && tx->oif != (int)pi->ipi6_ifindex)
			return -EINVAL;
		tx->oif = pi->ipi6_ifindex;
	}
	if (tx->oif) {
		struct net_link *l = net_link_by_index(s, tx->oif);

		if (!l)
			return -ENODEV;
		net_link_put(l);
	} else if (IN6_IS_ADDR_LINKLOCAL(&pi->ipi6_addr)) {
		return -EINVAL;
	}
	if (addr_is4(&pi->ipi6_addr) && !addr_any(&pi->ipi6_addr))
		return -EINVAL; /* of no use as the source of an IPv6 packet */
	tx->src = pi->ipi6_addr;
	tx->src_set = !IN6_IS_ADDR_UNSPECIFIED(&pi->ipi6_addr);
	return 0;
}

static int ip6_message(struct netstack *s, const struct control *c, struct dgram_tx *tx)
{
	if (c->type == IPV6_PKTINFO || c->type == IPV6_2292PKTINFO)
		return pktinfo6(s, c, tx);
	if (c->len != sizeof(int))
		return -EINVAL;
	switch (c->type) {
	case IPV6_HOPLIMIT: /* -1: the endpoint's */
	case IPV6_2292HOPLIMIT:
		if (c->v < -1 || c->v > 255)
			return -EINVAL;
		tx->ttl = c->v;
		return 0;
	case IPV6_TCLASS:
		if (c->v < -1 || c->v > 255)
			return -EINVAL;
		tx->tos = c->v;
		return 0;
	case IPV6_DONTFRAG:
		if (c->v < 0 || c->v > 1)
			return -EINVAL;
		tx->dontfrag = c->v;
		return 0;
	default:
		return -EINVAL;
	}
}

static int message(struct net_ep *ep, const struct control *c, struct dgram_tx *tx)
{
	if (c->level == SOL_SOCKET)
		return socket_message(c);
	if (c->level == IPPROTO_UDP && ep->protocol == IPPROTO_UDP && ep->type == SOCK_DGRAM) {
		if (c->type != UDP_SEGMENT || c->len != sizeof(uint16_t))
			return -EINVAL;
		tx->gso_size = c->half;
		return 0;
	}
	if (addr_is4(&tx->dst)) {
		if (c->level == IPPROTO_IP)
			return ip4_message(c, tx);
		if (ep->family == AF_INET6 && c->level == IPPROTO_IPV6 &&
		    (c->type == IPV6_PKTINFO || c->type == IPV6_2292PKTINFO))
			return mapped_pktinfo(c, tx);
	} else if (c->level == IPPROTO_IPV6) {
		return ip6_message(ep->stack, c, tx);
	}
	return 0;
}

/* Takes the next message off *p. 0: none is left. */
static int next_message(const uint8_t **p, size_t *left, struct control *c)
{
	struct cmsghdr h;
	size_t step;

	if (*left < sizeof(h))
		return 0;
	memcpy(&h, *p, sizeof(h));
	if (h.cmsg_len < sizeof(h) || h.cmsg_len > *left)
		return -EINVAL;
	memset(c, 0, sizeof(*c));
	c->level = h.cmsg_level;
	c->type = h.cmsg_type;
	c->len = h.cmsg_len - CMSG_LEN(0);
	memcpy(&c->pkt6, *p + CMSG_LEN(0), MIN(c->len, sizeof(c->pkt6)));
	step = MIN(CMSG_ALIGN(h.cmsg_len), *left);
	*p += step;
	*left -= step;
	return 1;
}

int dgram_parse_control(struct net_ep *ep, const struct net_msg *m, struct dgram_tx *tx)
{
	const uint8_t *p = m->control;
	size_t left = p ? m->controllen : 0;
	struct control c;
	int ret;

	while ((ret = next_message(&p, &left, &c)) > 0) {
		ret = message(ep, &c, tx);
		if (ret)
			break;
	}
	return ret;
}

int socket_check_control(const struct net_msg *m)
{
	const uint8_t *p = m->control;
	size_t left = p ? m->controllen : 0;
	struct control c;
	int ret;

	while ((ret = next_message(&p, &left, &c)) > 0) {
		ret = c.level == SOL_SOCKET ? socket_message(&c) : 0;
		if (ret)
			break;
	}
	return ret;
}
