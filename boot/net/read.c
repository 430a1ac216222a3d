/*
 * Reading a network namespace with libnl, in a process of its own that does nothing else: memory is
 * given back by its end.
 */
#include "boot/net/read.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/ethernet.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"

#define LINKS_MAX 64
#define BUFFER (4 << 20) /* of a socket, each way */
#define GSO_MAX 65536
#define QUEUE_LENGTH 1000

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

struct found_link {
	int index;
	bool loopback;
	union {
		Moat__FdLink fd;
		Moat__LoopbackLink lo;
	};
};

struct reader {
	struct network_read *out;
	struct nl_sock *nl;
	struct nl_cache *links, *addrs, *routes, *neighbours;
	struct found_link found[LINKS_MAX];
	unsigned nfound;
	int ret;
};

static void fail(struct reader *r, int ret, const char *fmt, ...) __printf(3, 4);
static void fail(struct reader *r, int ret, const char *fmt, ...)
{
	va_list ap;

	if (r->ret)
		return;
	r->ret = ret;
	va_start(ap, fmt);
	vsnprintf(r->out->err, sizeof(r->out->err), fmt, ap);
	va_end(ap);
}

static void *allocate(struct reader *r, size_t n)
{
	void *p = calloc(1, n);

	if (!p)
		fail(r, -ENOMEM, "no memory");
	return p;
}

/* Appends to a protobuf list. */
static bool append(struct reader *r, void *list, size_t *n, void *item)
{
	void ***items = list;
	void **grown = item ? reallocarray(*items, *n + 1, sizeof(void *)) : NULL;

	if (!grown) {
		fail(r, -ENOMEM, "no memory");
		return false;
	}
	grown[(*n)++] = item;
	*items = grown;
	return true;
}

static void set_bytes(struct reader *r, ProtobufCBinaryData *out, const void *data, size_t len)
{
	out->data = allocate(r, len + 1);
	if (!out->data)
		return;
	memcpy(out->data, data, len);
	out->len = len;
}

static void set_address(struct reader *r, ProtobufCBinaryData *out, struct nl_addr *a)
{
	set_bytes(r, out, nl_addr_get_binary_addr(a), nl_addr_get_len(a));
}

static bool is_ip(struct nl_addr *a)
{
	int family = a ? nl_addr_get_family(a) : AF_UNSPEC;

	return family == AF_INET || family == AF_INET6;
}

static struct found_link *find(struct reader *r, int index)
{
	for (unsigned i = 0; i < r->nfound; i++)
		if (r->found[i].index == index)
			return &r->found[i];
	return NULL;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void set_buffer(int fd, int forced, int option)
{
	int size = BUFFER;

	if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size));
}

/* A packet socket on the interface: frames with a virtio-net header, none that others send. */
static int open_socket(int ifindex)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ifindex,
	};
	/* Bound to a protocol only with the address: nothing of other interfaces gets in. */
	int __close_fd fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)))
		return -errno;
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)))
		return -errno;
	return steal_fd(&fd);
}

/* --- links ------------------------------------------------------------------------------------ */

static void add_fd_link(struct reader *r, struct found_link *f, struct rtnl_link *link)
{
	struct nl_addr *mac = rtnl_link_get_addr(link);
	Moat__FdLink *l = &f->fd;
	int fd;

	moat__fd_link__init(l);
	l->name = strdup(rtnl_link_get_name(link));
	l->mtu = rtnl_link_get_mtu(link);
	l->gso_max_size = GSO_MAX;
	l->tx_checksum_offload = true;
	l->queueing = MOAT__FD_LINK__QUEUEING__FIFO;
	l->queue_length = QUEUE_LENGTH;
	l->channels = 1;
	if (!l->name || !mac || nl_addr_get_len(mac) != 6) {
		fail(r, -EINVAL, "interface %s has no Ethernet address", rtnl_link_get_name(link));
		return;
	}
	set_address(r, &l->link_address, mac);
	fd = open_socket(f->index);
	if (fd < 0) {
		fail(r, fd, "packet socket on %s: %s", l->name, strerror(-fd));
		return;
	}
	r->out->fds[r->out->nfds++] = fd;
	append(r, &r->out->links.fd_links, &r->out->links.n_fd_links, l);
}

static void add_loopback(struct reader *r, struct found_link *f, struct rtnl_link *link)
{
	Moat__LoopbackLink *l = &f->lo;

	moat__loopback_link__init(l);
	l->name = strdup(rtnl_link_get_name(link));
	if (!l->name)
		fail(r, -ENOMEM, "no memory");
	append(r, &r->out->links.loopback_links, &r->out->links.n_loopback_links, l);
}

static void read_link(struct nl_object *object, void *arg)
{
	struct rtnl_link *link = (struct rtnl_link *)object;
	struct reader *r = arg;
	unsigned flags = rtnl_link_get_flags(link), type = rtnl_link_get_arptype(link);
	bool loopback = flags & IFF_LOOPBACK;
	struct found_link *f;

	/* Ports of a bridge send and receive through it. */
	if (!(flags & IFF_UP) || rtnl_link_get_master(link) || r->ret)
		return;
	if (!loopback && type != ARPHRD_ETHER) {
		log_warn("the interface %s is no Ethernet: the container does not have it",
			 rtnl_link_get_name(link));
		return;
	}
	if (r->nfound == LINKS_MAX) {
		fail(r, -E2BIG, "the namespace has more than %d interfaces", LINKS_MAX);
		return;
	}
	f = &r->found[r->nfound++];
	f->index = rtnl_link_get_ifindex(link);
	f->loopback = loopback;
	if (loopback)
		add_loopback(r, f, link);
	else
		add_fd_link(r, f, link);
}

/* --- addresses, routes, neighbours ------------------------------------------------------------ */

static void read_address(struct nl_object *object, void *arg)
{
	struct rtnl_addr *addr = (struct rtnl_addr *)object;
	struct nl_addr *local = rtnl_addr_get_local(addr), *broadcast;
	struct reader *r = arg;
	struct found_link *f = find(r, rtnl_addr_get_ifindex(addr));
	Moat__NetworkAddress *a;

	if (r->ret || !f || !is_ip(local))
		return;
	a = allocate(r, sizeof(*a));
	if (!a)
		return;
	moat__network_address__init(a);
	set_address(r, &a->address, local);
	a->prefix = nl_addr_get_prefixlen(local);
	a->scope = (uint32_t)rtnl_addr_get_scope(addr);
	broadcast = rtnl_addr_get_broadcast(addr);
	if (is_ip(broadcast))
		set_address(r, &a->broadcast, broadcast);
	if (f->loopback)
		append(r, &f->lo.addresses, &f->lo.n_addresses, a);
	else
		append(r, &f->fd.addresses, &f->fd.n_addresses, a);
}

/* The best default route of a family is named as such; others are routes of their links. */
static bool take_default(struct reader *r, struct found_link *f, const Moat__NetworkRoute *route)
{
	Moat__CreateLinksAndRoutes *links = &r->out->links;
	Moat__DefaultGateway **slot =
		route->destination.len == 4 ? &links->default_v4 : &links->default_v6;
	Moat__DefaultGateway *g;

	if (route->prefix || *slot || f->loopback || route->source.len || route->mtu)
		return false;
	g = allocate(r, sizeof(*g));
	if (!g)
		return true;
	moat__default_gateway__init(g);
	g->link = f->fd.name;
	g->gateway = route->gateway;
	g->metric = route->metric;
	*slot = g;
	return true;
}

/* A gateway that no route leads to ("onlink") gets one. */
static void add_onlink(struct reader *r, struct found_link *f, const Moat__NetworkRoute *route)
{
	Moat__NetworkRoute *n = allocate(r, sizeof(*n));

	if (!n)
		return;
	moat__network_route__init(n);
	n->destination = route->gateway;
	n->prefix = (uint32_t)route->gateway.len * 8;
	n->scope = RT_SCOPE_LINK;
	append(r, &f->fd.routes, &f->fd.n_routes, n);
}

static void read_route(struct nl_object *object, void *arg)
{
	struct rtnl_route *route = (struct rtnl_route *)object;
	struct nl_addr *dst = rtnl_route_get_dst(route), *via, *src;
	struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);
	struct reader *r = arg;
	struct found_link *f = hop ? find(r, rtnl_route_nh_get_ifindex(hop)) : NULL;
	Moat__NetworkRoute *n;
	uint32_t mtu;

	/* The kernel's own come with the addresses. */
	if (r->ret || !f || !is_ip(dst) || rtnl_route_get_table(route) != RT_TABLE_MAIN ||
	    rtnl_route_get_type(route) != RTN_UNICAST ||
	    rtnl_route_get_protocol(route) == RTPROT_KERNEL)
		return;
	n = allocate(r, sizeof(*n));
	if (!n)
		return;
	moat__network_route__init(n);
	n->destination.len = nl_addr_get_family(dst) == AF_INET ? 4 : 16;
	n->destination.data = allocate(r, 16);
	if (!n->destination.data)
		return;
	memcpy(n->destination.data, nl_addr_get_binary_addr(dst), nl_addr_get_len(dst));
	n->prefix = nl_addr_get_prefixlen(dst);
	n->metric = rtnl_route_get_priority(route);
	n->scope = rtnl_route_get_scope(route);
	via = rtnl_route_nh_get_gateway(hop);
	if (is_ip(via) && nl_addr_get_len(via) == n->destination.len)
		set_address(r, &n->gateway, via);
	src = rtnl_route_get_pref_src(route);
	if (is_ip(src) && nl_addr_get_len(src) == n->destination.len)
		set_address(r, &n->source, src);
	if (!rtnl_route_get_metric(route, RTAX_MTU, &mtu))
		n->mtu = mtu;
	if (!f->loopback && n->gateway.len && (rtnl_route_nh_get_flags(hop) & RTNH_F_ONLINK))
		add_onlink(r, f, n);
	if (take_default(r, f, n))
		return;
	if (f->loopback)
		append(r, &f->lo.routes, &f->lo.n_routes, n);
	else
		append(r, &f->fd.routes, &f->fd.n_routes, n);
}

static void read_neighbour(struct nl_object *object, void *arg)
{
	struct rtnl_neigh *neigh = (struct rtnl_neigh *)object;
	struct nl_addr *dst = rtnl_neigh_get_dst(neigh), *mac = rtnl_neigh_get_lladdr(neigh);
	struct reader *r = arg;
	struct found_link *f = find(r, rtnl_neigh_get_ifindex(neigh));
	Moat__NetworkNeighbour *n;

	if (r->ret || !f || f->loopback || !is_ip(dst) || !mac || nl_addr_get_len(mac) != 6 ||
	    !(rtnl_neigh_get_state(neigh) & NUD_PERMANENT))
		return;
	n = allocate(r, sizeof(*n));
	if (!n)
		return;
	moat__network_neighbour__init(n);
	set_address(r, &n->address, dst);
	set_address(r, &n->link_address, mac);
	append(r, &f->fd.neighbours, &f->fd.n_neighbours, n);
}

/* --- taking over ------------------------------------------------------------------------------ */

/* Router advertisements are for the guest, too. Without the file IPv6 is not there, or /proc is
 * read-only: then the addresses go, as far as they are there yet. */
static void disable_ipv6(const char *link)
{
	char path[128];
	int __close_fd fd = -1;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", link);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "1", 1) != 1)
		log_info("%s: %s", path, strerror(errno));
}

static void remove_address(struct nl_object *object, void *arg)
{
	struct rtnl_addr *addr = (struct rtnl_addr *)object;
	struct reader *r = arg;
	struct found_link *f = find(r, rtnl_addr_get_ifindex(addr));
	int ret;

	if (r->ret || !f || f->loopback || !is_ip(rtnl_addr_get_local(addr)))
		return;
	ret = rtnl_addr_delete(r->nl, addr, 0);
	/* Secondary ones may have gone with their primary one. */
	if (ret && ret != -NLE_NOADDR && ret != -NLE_OBJ_NOTFOUND)
		fail(r, -EIO, "taking an address off %s: %s", f->fd.name, nl_geterror(ret));
}

/* Is something bound to 127.0.0.11 here, as Docker's resolver is? */
static bool has_resolver(void)
{
	char line[512];
	FILE *f = fopen("/proc/thread-self/net/udp", "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned addr, port;

		found = sscanf(line, " %*d: %x:%x", &addr, &port) == 2 && addr == htonl(0x7f00000b);
	}
	if (f)
		fclose(f);
	return found;
}

static void open_caches(struct reader *r)
{
	int ret;

	r->nl = nl_socket_alloc();
	if (!r->nl) {
		fail(r, -ENOMEM, "no memory");
		return;
	}
	ret = nl_connect(r->nl, NETLINK_ROUTE);
	if (!ret)
		ret = rtnl_link_alloc_cache(r->nl, AF_UNSPEC, &r->links);
	if (!ret)
		ret = rtnl_addr_alloc_cache(r->nl, &r->addrs);
	if (!ret)
		ret = rtnl_route_alloc_cache(r->nl, AF_UNSPEC, 0, &r->routes);
	if (!ret)
		ret = rtnl_neigh_alloc_cache(r->nl, &r->neighbours);
	if (ret)
		fail(r, -EIO, "netlink: %s", nl_geterror(ret));
}

int network_read(struct network_read *out)
{
	static struct reader r;

	memset(out, 0, sizeof(*out));
	moat__create_links_and_routes__init(&out->links);
	r.out = out;
	open_caches(&r);
	if (r.ret)
		return r.ret;
	nl_cache_foreach(r.links, read_link, &r);
	nl_cache_foreach(r.addrs, read_address, &r);
	nl_cache_foreach(r.routes, read_route, &r);
	nl_cache_foreach(r.neighbours, read_neighbour, &r);
	out->links.resolver = has_resolver();
	if (!r.ret)
		nl_cache_foreach(r.addrs, remove_address, &r);
	for (unsigned i = 0; !r.ret && i < r.nfound; i++)
		if (!r.found[i].loopback)
			disable_ipv6(r.found[i].fd.name);
	return r.ret;
}
