/* IPPROTO_IP and IPPROTO_IPV6 options that all kinds have; man 7 ip, man 7 ipv6. */
#include "netstack/link/link.h"
#include "netstack/socket/socket_internal.h"

#ifndef IP_PROTOCOL
#define IP_PROTOCOL 52
#endif
#ifndef IPV6_AUTOFLOWLABEL
#define IPV6_AUTOFLOWLABEL 70
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

/* IP options may come as one byte. */
static int ip_int(const void *val, socklen_t len, int *v)
{
	if (len >= sizeof(int))
		return opt_int(val, len, v);
	if (len < 1)
		return -EINVAL;
	*v = *(const uint8_t *)val;
	return 0;
}

static int set_mcast_if(struct net_ep *ep, const void *val, socklen_t len)
{
	struct ip_mreqn m = {0};
	struct net_link *l = NULL;
	struct in6_addr a;

	if (ep->type == SOCK_STREAM)
		return -EINVAL;
	if (len >= sizeof(m)) {
		memcpy(&m, val, sizeof(m));
	} else if (len >= sizeof(struct ip_mreq)) {
		memcpy(&m, val, sizeof(struct ip_mreq));
	} else if (len >= sizeof(struct in_addr)) {
		memcpy(&m.imr_address, val, sizeof(struct in_addr));
	} else {
		return -EINVAL;
	}
	if (m.imr_ifindex) {
		l = net_link_by_index(ep->stack, m.imr_ifindex);
		if (!l)
			return -EADDRNOTAVAIL;
		net_link_put(l);
	} else if (m.imr_address.s_addr) {
		addr_set4(&a, m.imr_address.s_addr);
		if (!addr_is_local(ep->stack, &a))
			return -EADDRNOTAVAIL;
	}
	ep->opt.mcast_if = m.imr_ifindex;
	ep->opt.mcast_addr = m.imr_address;
	return 0;
}

static int membership4(struct net_ep *ep, bool join, const void *val, socklen_t len)
{
	struct ip_mreqn m = {0};
	struct in6_addr group;

	if (len < sizeof(struct ip_mreq))
		return -EINVAL;
	memcpy(&m, val, MIN(len, (socklen_t)sizeof(m)));
	addr_set4(&group, m.imr_multiaddr.s_addr);
	return (join ? ep_join : ep_leave)(ep, &group, m.imr_ifindex, &m.imr_address);
}

static int source_membership4(struct net_ep *ep, int name, const void *val, socklen_t len)
{
	struct ip_mreq_source m;
	struct in6_addr group, source;

	if (len < sizeof(m))
		return -EINVAL;
	memcpy(&m, val, sizeof(m));
	addr_set4(&group, m.imr_multiaddr.s_addr);
	addr_set4(&source, m.imr_sourceaddr.s_addr);
	return ep_group_source(ep, &group, 0, &m.imr_interface, &source,
			       name == IP_ADD_SOURCE_MEMBERSHIP ||
				       name == IP_DROP_SOURCE_MEMBERSHIP,
			       name == IP_ADD_SOURCE_MEMBERSHIP || name == IP_BLOCK_SOURCE);
}

/* RFC 3678 §5.1: the address of a group or source in a sockaddr of the option's level. */
static int group_address(int family, const struct sockaddr_storage *a, struct in6_addr *out)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (a->ss_family != family)
		return -EINVAL;
	if (family == AF_INET) {
		memcpy(&in, a, sizeof(in));
		addr_set4(out, in.sin_addr.s_addr);
	} else {
		memcpy(&in6, a, sizeof(in6));
		*out = in6.sin6_addr;
		if (addr_is4(out))
			return -EINVAL;
	}
	return 0;
}

static int group_option(struct net_ep *ep, int family, int name, const void *val, socklen_t len)
{
	struct in6_addr group;
	struct group_req r;
	int err;

	if (len < sizeof(r))
		return -EINVAL;
	memcpy(&r, val, sizeof(r));
	err = group_address(family, &r.gr_group, &group);
	if (err)
		return err;
	return (name == MCAST_JOIN_GROUP ? ep_join : ep_leave)(ep, &group, r.gr_interface, NULL);
}

static int group_source_option(struct net_ep *ep, int family, int name, const void *val,
			       socklen_t len)
{
	struct in6_addr group, source;
	struct group_source_req r;

	if (len < sizeof(r))
		return -EINVAL;
	memcpy(&r, val, sizeof(r));
	if (group_address(family, &r.gsr_group, &group) ||
	    group_address(family, &r.gsr_source, &source))
		return -EADDRNOTAVAIL;
	return ep_group_source(ep, &group, r.gsr_interface, NULL, &source,
			       name == MCAST_JOIN_SOURCE_GROUP || name == MCAST_LEAVE_SOURCE_GROUP,
			       name == MCAST_JOIN_SOURCE_GROUP || name == MCAST_BLOCK_SOURCE);
}

static int set_ip_int(struct net_ep *ep, int name, int v)
{
	struct ep_options *o = &ep->opt;

	switch (name) {
	case IP_TOS:
		/* The two ECN bits belong to TCP. */
		o->tos = ep->type == SOCK_STREAM ? (v & 0xfc) | (o->tos & 3) : v;
		return 0;
	case IP_TTL:
		if (v != -1 && (v < 1 || v > 255))
			return -EINVAL;
		o->ttl = v;
		return 0;
	case IP_MINTTL:
		if (v < 0 || v > 255)
			return -EINVAL;
		o->min_ttl = v;
		return 0;
	case IP_HDRINCL:
		if (ep->type != SOCK_RAW)
			return -ENOPROTOOPT;
		o->hdrincl = v;
		return 0;
	case IP_MTU_DISCOVER:
		if (v < IP_PMTUDISC_DONT || v > IP_PMTUDISC_OMIT)
			return -EINVAL;
		o->pmtudisc = v;
		return 0;
	case IP_RECVERR:
		o->recverr = v;
		return 0;
	case IP_PKTINFO:
		o->pktinfo = v;
		return 0;
	case IP_RECVTTL:
		o->recvttl = v;
		return 0;
	case IP_RECVTOS:
		o->recvtos = v;
		return 0;
	case IP_RECVORIGDSTADDR:
		o->origdst = v;
		return 0;
	case IP_FREEBIND:
		o->freebind = v;
		return 0;
	case IP_TRANSPARENT:
		o->transparent = v;
		return 0;
	case IP_BIND_ADDRESS_NO_PORT:
		o->bind_no_port = v;
		return 0;
	case IP_MULTICAST_TTL:
		if (v < -1 || v > 255 || ep->type == SOCK_STREAM)
			return -EINVAL;
		o->mcast_ttl = v == -1 ? 1 : v;
		return 0;
	case IP_MULTICAST_LOOP:
		o->mcast_loop = v;
		return 0;
	case IP_MULTICAST_ALL:
		if (v != 0 && v != 1)
			return -EINVAL;
		o->mcast_all = v;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int ep_setsockopt_ip(struct net_ep *ep, int name, const void *val, socklen_t len)
{
	int v, err;

	switch (name) {
	case IP_ADD_MEMBERSHIP:
	case IP_DROP_MEMBERSHIP:
		if (ep->type == SOCK_STREAM)
			return -EPROTO;
		return membership4(ep, name == IP_ADD_MEMBERSHIP, val, len);
	case IP_ADD_SOURCE_MEMBERSHIP:
	case IP_DROP_SOURCE_MEMBERSHIP:
	case IP_BLOCK_SOURCE:
	case IP_UNBLOCK_SOURCE:
		return source_membership4(ep, name, val, len);
	case MCAST_JOIN_GROUP:
	case MCAST_LEAVE_GROUP:
		return group_option(ep, AF_INET, name, val, len);
	case MCAST_JOIN_SOURCE_GROUP:
	case MCAST_LEAVE_SOURCE_GROUP:
	case MCAST_BLOCK_SOURCE:
	case MCAST_UNBLOCK_SOURCE:
		return group_source_option(ep, AF_INET, name, val, len);
	case IP_MULTICAST_IF:
		return set_mcast_if(ep, val, len);
	case IP_OPTIONS:
		return len == 0 ? 0 : -EOPNOTSUPP;
	}
	err = ip_int(val, len, &v);
	if (err)
		return err;
	MUTEX_GUARD(&ep->lock);
	return set_ip_int(ep, name, v);
}

static int get_path_mtu(struct net_ep *ep, int *v)
{
	struct net_path *p;
	int err;

	if (!ep->connected)
		return -ENOTCONN;
	err = ep_path(ep, &ep->raddr, &p);
	if (!err)
		*v = p->mtu;
	return err;
}

int ep_getsockopt_ip(struct net_ep *ep, int name, void *val, socklen_t *len)
{
	struct ep_options *o = &ep->opt;
	int v = 0, err = 0;
	MUTEX_GUARD(&ep->lock);

	switch (name) {
	case IP_TOS:
		v = o->tos;
		break;
	case IP_TTL:
		v = o->ttl < 0 ? ep->stack->sysctl.ip_default_ttl : o->ttl;
		break;
	case IP_MINTTL:
		v = o->min_ttl;
		break;
	case IP_HDRINCL:
		v = o->hdrincl;
		break;
	case IP_MTU_DISCOVER:
		v = o->pmtudisc;
		break;
	case IP_MTU:
		err = get_path_mtu(ep, &v);
		break;
	case IP_RECVERR:
		v = o->recverr;
		break;
	case IP_PKTINFO:
		v = o->pktinfo;
		break;
	case IP_RECVTTL:
		v = o->recvttl;
		break;
	case IP_RECVTOS:
		v = o->recvtos;
		break;
	case IP_RECVORIGDSTADDR:
		v = o->origdst;
		break;
	case IP_FREEBIND:
		v = o->freebind;
		break;
	case IP_TRANSPARENT:
		v = o->transparent;
		break;
	case IP_BIND_ADDRESS_NO_PORT:
		v = o->bind_no_port;
		break;
	case IP_MULTICAST_TTL:
		v = o->mcast_ttl;
		break;
	case IP_MULTICAST_LOOP:
		v = o->mcast_loop;
		break;
	case IP_MULTICAST_ALL:
		v = o->mcast_all;
		break;
	case IP_PROTOCOL:
		v = ep->protocol;
		break;
	case IP_MULTICAST_IF:
		return opt_put(val, len, &o->mcast_addr, sizeof(o->mcast_addr));
	case IP_OPTIONS:
		*len = 0;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
	if (err)
		return err;
	/* A small buffer gets one byte if the value fits: man 7 ip. */
	if (*len > 0 && *len < sizeof(int) && v >= 0 && v <= 255) {
		uint8_t c = v;

		return opt_put(val, len, &c, 1);
	}
	return opt_put_int(val, len, v);
}

static int membership6(struct net_ep *ep, bool join, const void *val, socklen_t len)
{
	struct ipv6_mreq m;

	if (len < sizeof(m))
		return -EINVAL;
	memcpy(&m, val, sizeof(m));
	if (addr_is4(&m.ipv6mr_multiaddr))
		return -EINVAL;
	return (join ? ep_join : ep_leave)(ep, &m.ipv6mr_multiaddr, m.ipv6mr_interface, NULL);
}

static int set_hops(int16_t *to, int v)
{
	if (v < -1 || v > 255)
		return -EINVAL;
	*to = v;
	return 0;
}

static int set_ip6_int(struct net_ep *ep, int name, int v)
{
	struct ep_options *o = &ep->opt;

	switch (name) {
	case IPV6_V6ONLY:
		if (ep->bound || ep->lport)
			return -EINVAL;
		o->v6only = v;
		return 0;
	case IPV6_UNICAST_HOPS:
		return set_hops(&o->hops, v);
	case IPV6_MULTICAST_HOPS:
		return set_hops(&o->mcast_hops, v);
	case IPV6_MULTICAST_LOOP:
		if (v != 0 && v != 1)
			return -EINVAL;
		o->mcast_loop6 = v;
		return 0;
	case IPV6_MULTICAST_IF: {
		struct net_link *l = v ? net_link_by_index(ep->stack, v) : NULL;

		if (v && !l)
			return -ENODEV;
		net_link_put(l);
		o->mcast_if6 = v;
		return 0;
	}
	case IPV6_TCLASS:
		if (v < -1 || v > 255)
			return -EINVAL;
		o->tclass = v < 0 ? 0 : v;
		return 0;
	case IPV6_RECVPKTINFO:
		o->pktinfo6 = v;
		return 0;
	case IPV6_RECVHOPLIMIT:
		o->recvhops = v;
		return 0;
	case IPV6_RECVTCLASS:
		o->recvtclass = v;
		return 0;
	case IPV6_RECVERR:
		o->recverr6 = v;
		return 0;
	case IPV6_RECVPATHMTU:
		o->recvmtu6 = v;
		return 0;
	case IPV6_MTU_DISCOVER:
		if (v < IPV6_PMTUDISC_DONT || v > IPV6_PMTUDISC_OMIT)
			return -EINVAL;
		o->pmtudisc6 = v;
		return 0;
	case IPV6_DONTFRAG:
		o->dontfrag = v;
		return 0;
	case IPV6_AUTOFLOWLABEL:
		o->autoflow = v;
		return 0;
	case IPV6_FREEBIND:
		o->freebind = v;
		return 0;
	case IPV6_TRANSPARENT:
		o->transparent = v;
		return 0;
	case IPV6_HDRINCL:
		if (ep->type != SOCK_RAW)
			return -ENOPROTOOPT;
		o->hdrincl = v;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

int ep_setsockopt_ip6(struct net_ep *ep, int name, const void *val, socklen_t len)
{
	int v, err;

	if (name == IPV6_JOIN_GROUP || name == IPV6_LEAVE_GROUP)
		return membership6(ep, name == IPV6_JOIN_GROUP, val, len);
	if (name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP)
		return group_option(ep, AF_INET6, name, val, len);
	if (name >= MCAST_BLOCK_SOURCE && name <= MCAST_LEAVE_SOURCE_GROUP)
		return group_source_option(ep, AF_INET6, name, val, len);
	err = opt_int(val, len, &v);
	if (err)
		return err;
	MUTEX_GUARD(&ep->lock);
	return set_ip6_int(ep, name, v);
}

int ep_getsockopt_ip6(struct net_ep *ep, int name, void *val, socklen_t *len)
{
	struct ep_options *o = &ep->opt;
	int v = 0, err = 0;
	MUTEX_GUARD(&ep->lock);

	switch (name) {
	case IPV6_V6ONLY:
		v = o->v6only;
		break;
	case IPV6_UNICAST_HOPS:
		v = o->hops < 0 ? ep->stack->sysctl.hop_limit : o->hops;
		break;
	case IPV6_MULTICAST_HOPS:
		v = o->mcast_hops < 0 ? 1 : o->mcast_hops;
		break;
	case IPV6_MULTICAST_LOOP:
		v = o->mcast_loop6;
		break;
	case IPV6_MULTICAST_IF:
		v = o->mcast_if6;
		break;
	case IPV6_TCLASS:
		v = o->tclass;
		break;
	case IPV6_RECVPKTINFO:
		v = o->pktinfo6;
		break;
	case IPV6_RECVHOPLIMIT:
		v = o->recvhops;
		break;
	case IPV6_RECVTCLASS:
		v = o->recvtclass;
		break;
	case IPV6_RECVERR:
		v = o->recverr6;
		break;
	case IPV6_RECVPATHMTU:
		v = o->recvmtu6;
		break;
	case IPV6_MTU_DISCOVER:
		v = o->pmtudisc6;
		break;
	case IPV6_MTU:
		err = get_path_mtu(ep, &v);
		break;
	case IPV6_DONTFRAG:
		v = o->dontfrag;
		break;
	case IPV6_AUTOFLOWLABEL:
		v = o->autoflow;
		break;
	case IPV6_FREEBIND:
		v = o->freebind;
		break;
	case IPV6_TRANSPARENT:
		v = o->transparent;
		break;
	case IPV6_HDRINCL:
		v = o->hdrincl;
		break;
	default:
		return -ENOPROTOOPT;
	}
	return err ? err : opt_put_int(val, len, v);
}
