/* /proc/net's tables from the stack. Columns and widths are Linux's (net/ipv4, net/ipv6), since
 * programs count them. What the stack does not know (pointers, congestion state) is left out where
 * Linux leaves it out for some sockets, too. */
#include "sentry/net/inet/show.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/net/inet/inet_internal.h"

/* linux/ipv6_route.h, which does not go with net/route.h */
#ifndef RTF_LOCAL
#define RTF_LOCAL 0x80000000
#endif
#ifndef RTF_NONEXTHOP
#define RTF_NONEXTHOP 0x00200000
#endif
#define USER_HZ 100
#define TCP_WIDTH 149
#define LINE_WIDTH 127

struct table {
	struct text *out;
	struct netstack *stack;
	int family, protocol;
	unsigned line;
};

/* Ends a line that Linux pads. */
static void end_padded(struct text *out, size_t start, size_t width)
{
	while (out->len - start < width && !out->failed)
		text_puts(out, " ");
	text_puts(out, "\n");
}

/* --- sockets -----------------------------------------------------------------------------------
 */

static unsigned port_of(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

/* The address as words of memory, as Linux prints it; one that is not set has no family. */
static void show_endpoint(struct text *out, int family, const struct sockaddr_storage *addr,
			  unsigned port)
{
	uint32_t words[4] = {0};
	unsigned n = family == AF_INET6 ? 4 : 1;

	if (addr->ss_family == AF_INET6)
		memcpy(words, &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr,
		       sizeof(words));
	else if (addr->ss_family == AF_INET)
		memcpy(words, &((const struct sockaddr_in *)(const void *)addr)->sin_addr,
		       sizeof(words[0]));
	text_puts(out, " ");
	for (unsigned i = 0; i < n; i++)
		text_printf(out, "%08X", words[i]);
	text_printf(out, ":%04X", port);
}

static bool is_listed(const struct table *t, const struct net_ep_info *i)
{
	if (i->family != t->family)
		return false;
	if (t->protocol == IPPROTO_RAW)
		return i->type == SOCK_RAW;
	if (i->protocol != t->protocol || i->type == SOCK_RAW)
		return false;
	/* Linux's tables are those that packets are looked up in. */
	return t->protocol == IPPROTO_TCP ? i->state != TCP_CLOSE : port_of(&i->local) != 0;
}

void inet_socket_owner(const struct net_ep_info *i, uint64_t *ino, uid_t *uid)
{
	struct inet_sock *is = i->user;
	/* The memory of a socket that was closed may be another's by now. */
	bool owned = is && __atomic_load_n(&is->ep, __ATOMIC_RELAXED) == i->ep;

	*ino = owned ? __atomic_load_n(&is->ino, __ATOMIC_RELAXED) : 0;
	*uid = owned ? uid_shown_here(is->uid) : 0;
}

static int show_socket(void *arg, const struct net_ep_info *i)
{
	struct table *t = arg;
	size_t start = t->out->len;
	bool tcp = t->protocol == IPPROTO_TCP, raw = t->protocol == IPPROTO_RAW;
	uint64_t ino;
	uid_t uid;

	if (!is_listed(t, i))
		return 0;
	inet_socket_owner(i, &ino, &uid);
	text_printf(t->out, tcp || (raw && t->family == AF_INET) ? "%4u:" : "%5u:", t->line++);
	show_endpoint(t->out, t->family, &i->local,
		      raw ? (unsigned)i->protocol : port_of(&i->local));
	show_endpoint(t->out, t->family, &i->remote, raw ? 0 : port_of(&i->remote));
	text_printf(t->out, " %02X %08X:%08X %02X:%08lX %08X %5u %8d %lu %d %016x", i->state,
		    i->state == TCP_LISTEN ? 0 : i->wqueue, i->rqueue, i->timer,
		    (unsigned long)i->timer_ms * USER_HZ / 1000, i->retransmits, uid, 0, ino,
		    ino ? 2 : 1, 0);
	if (!tcp)
		text_printf(t->out, " %lu", i->drops);
	if (t->family == AF_INET && !raw)
		end_padded(t->out, start, tcp ? TCP_WIDTH : LINE_WIDTH);
	else
		text_puts(t->out, "\n");
	return 0;
}

#define COLUMNS                                                                                    \
	"local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "    \
	"inode"
#define COLUMNS6                                                                                   \
	"  sl  local_address                         remote_address                        st "    \
	"tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"

void inet_show_sockets(struct text *out, struct netstack *s, int family, int protocol)
{
	struct table t = {out, s, family, protocol, 0};
	bool tcp = protocol == IPPROTO_TCP, raw = protocol == IPPROTO_RAW;
	size_t start = out->len;

	if (family == AF_INET6) {
		text_puts(out, tcp ? COLUMNS6 "\n" : COLUMNS6 " ref pointer drops\n");
	} else {
		text_puts(out, tcp || raw ? "  sl  " COLUMNS : "   sl  " COLUMNS);
		if (!tcp)
			text_puts(out, " ref pointer drops");
		if (raw)
			text_puts(out, "\n");
		else
			end_padded(out, start, tcp ? TCP_WIDTH : LINE_WIDTH);
	}
	net_ep_each(s, raw ? 0 : protocol, show_socket, &t);
}

struct counts {
	unsigned all, tcp, orphan, tw, tcp_alloc, udp, raw;
};

static int count_socket(void *arg, const struct net_ep_info *i)
{
	struct counts *c = arg;

	c->all += i->user != NULL;
	if (i->type == SOCK_RAW) {
		c->raw++;
	} else if (i->protocol == IPPROTO_UDP) {
		c->udp += port_of(&i->local) != 0;
	} else if (i->protocol == IPPROTO_TCP && i->state == TCP_TIME_WAIT) {
		c->tw++;
	} else if (i->protocol == IPPROTO_TCP && i->state != TCP_SYN_RECV) {
		c->tcp += i->state != TCP_CLOSE && i->user;
		c->orphan += !i->user;
		c->tcp_alloc++;
	}
	return 0;
}

void inet_show_sockstat(struct text *out, struct netstack *s)
{
	struct counts c = {0};

	net_ep_each(s, 0, count_socket, &c);
	text_printf(out,
		    "sockets: used %u\nTCP: inuse %u orphan %u tw %u alloc %u mem %lu\n"
		    "UDP: inuse %u mem 0\nUDPLITE: inuse 0\nRAW: inuse %u\n"
		    "FRAG: inuse 0 memory 0\n",
		    c.all, c.tcp, c.orphan, c.tw, c.tcp_alloc, netstack_memory(s, NULL) / 4096,
		    c.udp, c.raw);
}

/* --- links, addresses, routes ------------------------------------------------------------------
 */

static int show_device(void *arg, const struct net_link_info *i)
{
	const struct net_link_stats *st = &i->stats;

	text_printf(arg,
		    "%6s: %7lu %7lu %4lu %4lu %4u %5u %10u %9lu %8lu %7lu %4lu %4lu %4u %5u %7u "
		    "%10u\n",
		    i->name, st->rx_bytes, st->rx_packets, st->rx_errors, st->rx_dropped, 0, 0, 0,
		    st->multicast, st->tx_bytes, st->tx_packets, st->tx_errors, st->tx_dropped, 0,
		    0, 0, 0);
	return 0;
}

void inet_show_devices(struct text *out, struct netstack *s)
{
	text_puts(out, "Inter-|   Receive                                                |  "
		       "Transmit\n"
		       " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
		       "packets errs drop fifo colls carrier compressed\n");
	net_link_each(s, show_device, out);
}

static void link_name(struct netstack *s, int index, const char *none, char name[IFNAMSIZ])
{
	struct net_link *l = index ? net_link_by_index(s, index) : NULL;
	struct net_link_info info;

	snprintf(name, IFNAMSIZ, "%s", none);
	if (!l)
		return;
	net_link_info(l, &info);
	memcpy(name, info.name, IFNAMSIZ);
	net_link_put(l);
}

static bool rejects(const struct net_route_info *r)
{
	return r->type == RTN_UNREACHABLE || r->type == RTN_PROHIBIT || r->type == RTN_BLACKHOLE;
}

static void show_route(struct table *t, const struct net_route_info *r)
{
	size_t start = t->out->len;
	unsigned flags = RTF_UP;
	uint32_t dst, gateway, mask;
	char name[IFNAMSIZ];

	if (r->family != AF_INET || r->table != RT_TABLE_MAIN || r->type == RTN_BROADCAST ||
	    r->type == RTN_MULTICAST)
		return;
	memcpy(&dst, &r->dst, sizeof(dst));
	memcpy(&gateway, &r->gateway, sizeof(gateway));
	mask = r->prefix ? htonl(~0U << (32 - r->prefix)) : 0;
	flags |= r->has_gateway ? RTF_GATEWAY : 0;
	flags |= r->prefix == 32 ? RTF_HOST : 0;
	flags |= rejects(r) ? RTF_REJECT : 0;
	link_name(t->stack, r->ifindex, "*", name);
	text_printf(t->out, "%s\t%08X\t%08X\t%04X\t%d\t%u\t%u\t%08X\t%d\t%u\t%u", name, dst,
		    r->has_gateway ? gateway : 0, flags, 0, 0, r->metric, mask, (int)r->mtu, 0, 0);
	end_padded(t->out, start, LINE_WIDTH);
}

void inet_show_routes(struct text *out, struct netstack *s)
{
	struct table t = {.out = out, .stack = s};
	struct net_route_info *all;
	size_t start = out->len, n;

	text_puts(out, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\t"
		       "Window\tIRTT");
	end_padded(out, start, LINE_WIDTH);
	if (inet_routes(s, &all, &n))
		return;
	for (size_t i = 0; i < n; i++)
		show_route(&t, &all[i]);
	free(all);
}

static void show_in6(struct text *out, const struct in6_addr *a)
{
	for (int i = 0; i < 16; i++)
		text_printf(out, "%02x", a->s6_addr[i]);
}

static int show_route6(void *arg, const struct net_route_info *r)
{
	static const struct in6_addr any;
	struct table *t = arg;
	unsigned flags = RTF_UP;
	char name[IFNAMSIZ];

	if (r->family != AF_INET6)
		return 0;
	flags |= r->has_gateway ? RTF_GATEWAY : 0;
	flags |= r->prefix == 128 && r->type == RTN_UNICAST ? RTF_HOST : 0;
	flags |= r->type == RTN_LOCAL ? RTF_LOCAL : 0;
	flags |= rejects(r) ? RTF_REJECT | RTF_NONEXTHOP : 0;
	link_name(t->stack, r->ifindex, "lo", name);
	show_in6(t->out, &r->dst);
	text_printf(t->out, " %02x ", r->prefix);
	show_in6(t->out, &any);
	text_puts(t->out, " 00 ");
	show_in6(t->out, r->has_gateway ? &r->gateway : &any);
	text_printf(t->out, " %08x %08x %08x %08x %8s\n", r->metric, 1, 0, flags, name);
	return 0;
}

void inet_show_routes6(struct text *out, struct netstack *s)
{
	struct table t = {.out = out, .stack = s};

	net_route_each(s, show_route6, &t);
}

/* Linux: IPV6_ADDR_LOOPBACK, IPV6_ADDR_LINKLOCAL and so on. */
static unsigned scope6(uint8_t scope)
{
	switch (scope) {
	case RT_SCOPE_HOST:
		return 0x10;
	case RT_SCOPE_LINK:
		return 0x20;
	case RT_SCOPE_SITE:
		return 0x40;
	default:
		return 0;
	}
}

static int show_address6(void *arg, const struct net_addr_info *a)
{
	struct table *t = arg;
	char name[IFNAMSIZ];

	if (a->family != AF_INET6)
		return 0;
	link_name(t->stack, a->ifindex, "", name);
	show_in6(t->out, &a->addr);
	text_printf(t->out, " %02x %02x %02x %02x %8s\n", a->ifindex, a->prefix, scope6(a->scope),
		    a->flags & 0xff, name);
	return 0;
}

void inet_show_addresses6(struct text *out, struct netstack *s)
{
	struct table t = {.out = out, .stack = s};

	net_addr_each(s, show_address6, &t);
}

static int show_neighbour(void *arg, const struct net_neigh_info *n)
{
	const uint8_t *m = n->lladdr;
	struct table *t = arg;
	char name[IFNAMSIZ], ip[INET_ADDRSTRLEN], hw[24];
	unsigned flags = 0;

	if (n->family != AF_INET || (n->state & NUD_NOARP))
		return 0;
	if (n->state & NUD_PERMANENT)
		flags = ATF_PERM | ATF_COM;
	else if (n->state & (NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY))
		flags = ATF_COM;
	link_name(t->stack, n->ifindex, "*", name);
	inet_ntop(AF_INET, &n->addr, ip, sizeof(ip));
	snprintf(hw, sizeof(hw), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	text_printf(t->out, "%-16s 0x%-10x0x%-10x%s     *        %s\n", ip, ARPHRD_ETHER, flags, hw,
		    name);
	return 0;
}

void inet_show_arp(struct text *out, struct netstack *s)
{
	struct table t = {.out = out, .stack = s};

	text_puts(out, "IP address       HW type     Flags       HW address            Mask     "
		       "Device\n");
	net_neigh_each(s, show_neighbour, &t);
}
