/* Links: registration, lookup, configuration, the common part of sending and receiving. */
#include "netstack/link/link.h"

#include <limits.h>
#include <stdio.h>

#include "netstack/link/link_internal.h"
#include "netstack/link/link_upcalls.h"
#include "netstack/policy/policy.h"

#define LINKS_MAX 4096

static void link_free(struct net_link *l)
{
	struct netstack *s = l->stack;

	if (s->budget)
		atomic_fetch_sub(&s->budget->links, 1);
	if (l->ops->release)
		l->ops->release(l->priv);
	if (l->qdisc)
		qdisc_destroy(s, l->qdisc);
	mutex_destroy(&l->tx_lock);
	net_free(s, l->slaac);
	net_free(s, l->igmp);
	net_free(s, l);
	netstack_put(s);
}

struct net_link *net_link_get(struct net_link *l)
{
	refcount_inc(&l->refs);
	return l;
}

void net_link_put(struct net_link *l)
{
	if (l && refcount_dec(&l->refs))
		link_free(l);
}

struct netstack *net_link_stack(struct net_link *l)
{
	return l->stack;
}

struct net_link *link_find_locked(struct netstack *s, int index)
{
	struct net_link *l;

	LIST_FOREACH (l, &s->links, link)
		if (l->index == index)
			return l;
	return NULL;
}

struct net_link *link_master_get(struct net_link *l)
{
	struct net_link *master;

	if (!atomic_load_explicit(&l->master, memory_order_relaxed))
		return NULL;
	READ_GUARD(&l->stack->config_lock);
	master = atomic_load(&l->master);
	return master ? net_link_get(master) : NULL;
}

static struct net_link *find_name(struct netstack *s, const char *name)
{
	struct net_link *l;

	LIST_FOREACH (l, &s->links, link)
		if (!strncmp(l->name, name, sizeof(l->name)))
			return l;
	return NULL;
}

struct net_link *net_link_by_index(struct netstack *s, int index)
{
	struct net_link *l;
	READ_GUARD(&s->config_lock);

	l = link_find_locked(s, index);
	return l ? net_link_get(l) : NULL;
}

struct net_link *net_link_by_name(struct netstack *s, const char *name)
{
	struct net_link *l;
	READ_GUARD(&s->config_lock);

	l = find_name(s, name);
	return l ? net_link_get(l) : NULL;
}

static bool name_valid(const char *name)
{
	size_t n = strnlen(name, 16);

	if (n == 0 || n > 15 || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	for (size_t i = 0; i < n; i++)
		if (name[i] == '/' || name[i] == ':' || name[i] <= ' ')
			return false;
	return true;
}

/* Fills in name, from the pattern "eth%d" if there is none. Under config_lock. */
static int choose_name(struct netstack *s, const char *wish, const char *pattern, char *name)
{
	const char *mark = strstr(wish, "%d");
	char stem[16] = "";
	int n;

	if (*wish && !mark) {
		if (!name_valid(wish))
			return -EINVAL;
		if (find_name(s, wish))
			return -EEXIST;
		memcpy(name, wish, strlen(wish) + 1);
		return 0;
	}
	if (mark)
		memcpy(stem, wish, MIN((size_t)(mark - wish), sizeof(stem) - 1));
	else
		snprintf(stem, sizeof(stem), "%s", pattern);
	for (int i = 0; i < LINKS_MAX; i++) {
		n = snprintf(name, 16, "%s%d", stem, i);
		if (n > 15)
			return -EINVAL;
		if (!find_name(s, name))
			return name_valid(name) ? 0 : -EINVAL;
	}
	return -ENFILE;
}

static bool budget_charge_link(struct net_budget *b)
{
	if (!b || atomic_fetch_add(&b->links, 1) < b->links_limit)
		return true;
	atomic_fetch_sub(&b->links, 1);
	return false;
}

/* Under config_lock: into the list, with an index. */
static int insert(struct net_link *l, int wish)
{
	struct netstack *s = l->stack;

	if (atomic_load(&s->dead))
		return -ENETDOWN;
	if (s->nlinks >= LINKS_MAX)
		return -ENFILE;
	if (wish <= 0 || link_find_locked(s, wish)) {
		while (link_find_locked(s, s->next_index))
			s->next_index = s->next_index == INT_MAX ? 1 : s->next_index + 1;
		wish = s->next_index;
		s->next_index = wish == INT_MAX ? 1 : wish + 1;
	}
	l->index = wish;
	s->nlinks++;
	net_link_get(l); /* the list's */
	LIST_INSERT_HEAD(&s->links, l, link);
	if (l->kind == NET_LINK_LOOPBACK && !s->loopback)
		s->loopback = l;
	return 0;
}

int link_register(struct netstack *s, enum net_link_kind kind, const struct net_link_config *c,
		  const char *pattern, const struct net_link_ops *ops, void *priv,
		  struct net_link **out)
{
	static const uint8_t zero[6];
	struct net_link *l;
	int err;

	if (c->mtu > NET_MAX_MTU || (c->mtu && c->mtu < NET_MIN_MTU))
		return -EINVAL;
	if (!budget_charge_link(s->budget))
		return -ENFILE;
	l = net_alloc(s, sizeof(*l));
	if (!l) {
		if (s->budget)
			atomic_fetch_sub(&s->budget->links, 1);
		return -ENOMEM;
	}
	refcount_init(&l->refs);
	l->kind = kind;
	l->type = c->type ? c->type : ARPHRD_ETHER;
	l->mtu = c->mtu ? c->mtu : 1500;
	l->features = c->features;
	l->gso_max = c->gso_max && c->gso_max <= 65536 ? c->gso_max : 65536;
	l->ops = ops;
	l->priv = priv;
	l->capture_fd = -1;
	mutex_init(&l->tx_lock);
	memcpy(l->addr, c->addr, 6);
	if (!memcmp(l->addr, zero, 6) && kind != NET_LINK_LOOPBACK && link_has_ether(l)) {
		net_random(s, l->addr, 6);
		l->addr[0] = (l->addr[0] & 0xfc) | 2;
	}
	if (kind == NET_LINK_LOOPBACK)
		atomic_init(&l->flags, IFF_LOOPBACK);
	else
		atomic_init(&l->flags, IFF_BROADCAST | IFF_MULTICAST);
	l->stack = netstack_get(s);
	write_lock(&s->config_lock);
	err = choose_name(s, c->name, pattern, l->name);
	if (!err)
		err = insert(l, c->index);
	write_unlock(&s->config_lock);
	if (err) {
		static const struct net_link_ops no_ops;

		l->ops = &no_ops; /* priv stays the caller's */
		net_link_put(l);
		return err;
	}
	if (c->txqlen)
		net_link_set_txqlen(l, c->txqlen);
	link_event(l, NET_EVENT_LINK_NEW);
	*out = l;
	return 0;
}

static void link_describe(struct net_link *l, struct net_link_info *i)
{
	struct net_link *master = atomic_load(&l->master);
	bool carrier = true;

	memset(i, 0, sizeof(*i));
	i->index = l->index;
	memcpy(i->name, l->name, sizeof(i->name));
	i->kind = l->kind;
	i->flags = atomic_load(&l->flags);
	if (l->kind == NET_LINK_VETH)
		carrier = veth_describe_peer(l, i);
	if ((i->flags & IFF_UP) && carrier)
		i->flags |= IFF_RUNNING | 0x10000 /* IFF_LOWER_UP */;
	i->type = l->kind == NET_LINK_LOOPBACK ? ARPHRD_LOOPBACK : l->type;
	i->mtu = l->mtu;
	i->features = l->features;
	memcpy(i->addr, l->addr, 6);
	memset(i->broadcast, l->kind == NET_LINK_LOOPBACK ? 0 : 0xff, 6);
	i->master = master ? master->index : 0;
	i->txqlen = l->txqlen;
	i->stats.rx_packets = atomic_load(&l->stats.rx_packets);
	i->stats.tx_packets = atomic_load(&l->stats.tx_packets);
	i->stats.rx_bytes = atomic_load(&l->stats.rx_bytes);
	i->stats.tx_bytes = atomic_load(&l->stats.tx_bytes);
	i->stats.rx_errors = atomic_load(&l->stats.rx_errors);
	i->stats.tx_errors = atomic_load(&l->stats.tx_errors);
	i->stats.rx_dropped = atomic_load(&l->stats.rx_dropped);
	i->stats.tx_dropped = atomic_load(&l->stats.tx_dropped);
	i->stats.multicast = atomic_load(&l->stats.multicast);
}

void net_link_info(struct net_link *l, struct net_link_info *info)
{
	READ_GUARD(&l->stack->config_lock);

	link_describe(l, info);
}

void link_event(struct net_link *l, enum net_event_kind kind)
{
	struct net_event ev = {.kind = kind};

	if (!l->stack->event)
		return;
	NET_CONTEXT();
	net_link_info(l, &ev.link);
	net_defer_event(l->stack, &ev);
}

int net_link_each(struct netstack *s, int (*fn)(void *arg, const struct net_link_info *i),
		  void *arg)
{
	int index = 0, r = 0;

	for (;;) {
		struct net_link_info info;
		struct net_link *l, *best = NULL;

		read_lock(&s->config_lock);
		LIST_FOREACH (l, &s->links, link)
			if (l->index > index && (!best || l->index < best->index))
				best = l;
		if (best)
			link_describe(best, &info);
		read_unlock(&s->config_lock);
		if (!best)
			return 0;
		index = info.index;
		r = fn(arg, &info);
		if (r)
			return r;
	}
}

int net_link_set_flags(struct net_link *l, unsigned flags, unsigned mask)
{
	unsigned can = IFF_UP | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_MULTICAST;
	unsigned old, new;

	if (mask & ~can)
		return -EINVAL;
	if (l->removed)
		return -ENODEV;
	NET_CONTEXT();
	write_lock(&l->stack->config_lock);
	old = atomic_load(&l->flags);
	new = (old & ~mask) | (flags & mask);
	atomic_store(&l->flags, new);
	path_invalidate(l->stack);
	if ((old & IFF_UP) && !(new &IFF_UP))
		route_flush_link_locked(l, false);
	write_unlock(&l->stack->config_lock);
	if (!(old & IFF_UP) && (new &IFF_UP)) {
		mcast_link_up(l);
		addr_link_up(l);
	} else if ((old & IFF_UP) && !(new &IFF_UP)) {
		write_lock(&l->stack->config_lock);
		addr_flush_locked(l, true);
		write_unlock(&l->stack->config_lock);
		neigh_flush_link(l);
	}
	if (old != new)
		link_event(l, NET_EVENT_LINK_CHANGE);
	if (((old ^ new) & IFF_UP) && l->kind == NET_LINK_VETH)
		veth_carrier_changed(l);
	return 0;
}

int net_link_set_mtu(struct net_link *l, unsigned mtu)
{
	unsigned max = l->kind == NET_LINK_LOOPBACK ? 65536 : NET_MAX_MTU;

	if (mtu < NET_MIN_MTU || mtu > max)
		return -EINVAL;
	if (l->removed)
		return -ENODEV;
	write_lock(&l->stack->config_lock);
	l->mtu = mtu;
	path_invalidate(l->stack);
	write_unlock(&l->stack->config_lock);
	link_event(l, NET_EVENT_LINK_CHANGE);
	return 0;
}

int net_link_set_addr(struct net_link *l, const uint8_t addr[6])
{
	if (addr[0] & 1)
		return -EADDRNOTAVAIL;
	write_lock(&l->stack->config_lock);
	memcpy(l->addr, addr, 6);
	path_invalidate(l->stack);
	write_unlock(&l->stack->config_lock);
	link_event(l, NET_EVENT_LINK_CHANGE);
	return 0;
}

int net_link_set_name(struct net_link *l, const char *name)
{
	int err = 0;

	if (!name_valid(name))
		return -EINVAL;
	write_lock(&l->stack->config_lock);
	if (find_name(l->stack, name) && find_name(l->stack, name) != l)
		err = -EEXIST;
	else
		memcpy(l->name, name, strlen(name) + 1);
	write_unlock(&l->stack->config_lock);
	if (!err)
		link_event(l, NET_EVENT_LINK_CHANGE);
	return err;
}

int net_link_remove(struct net_link *l)
{
	struct netstack *s = l->stack;
	struct net_link *master;

	bool gone;

	NET_CONTEXT();
	write_lock(&s->config_lock);
	gone = atomic_exchange(&l->removed, true);
	write_unlock(&s->config_lock);
	if (gone)
		return -ENODEV;
	atomic_fetch_and(&l->flags, ~IFF_UP);
	link_event(l, NET_EVENT_LINK_DEL);
	if (l->kind == NET_LINK_BRIDGE)
		bridge_port_gone(l, NULL);
	write_lock(&s->config_lock);
	master = atomic_exchange(&l->master, NULL);
	write_unlock(&s->config_lock);
	if (master) {
		bridge_port_gone(master, l);
		net_link_put(master);
	}
	slaac_link_down(l);
	mcast_flush_link(l);
	write_lock(&s->config_lock);
	addr_flush_locked(l, false);
	route_flush_link_locked(l, false);
	LIST_REMOVE(l, link);
	s->nlinks--;
	if (s->loopback == l)
		s->loopback = NULL;
	path_invalidate(s);
	write_unlock(&s->config_lock);
	neigh_flush_link(l);
	if (l->kind == NET_LINK_VETH)
		veth_detach(l);
	if (l->kind == NET_LINK_FD)
		link_fd_detach(l);
	net_link_put(l); /* the list's */
	return 0;
}

static void count_tx(struct net_link *l, size_t len)
{
	atomic_fetch_add_explicit(&l->stats.tx_packets, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->stats.tx_bytes, len, memory_order_relaxed);
}

int link_xmit_now(struct net_link *l, struct nbuf *b)
{
	size_t len = b->len;
	int err = l->ops->xmit(l, l->priv, b);

	if (err < 0) {
		/* A queueing discipline keeps what a full device refuses. */
		if (err != -EAGAIN || !l->qdisc)
			atomic_fetch_add_explicit(&l->stats.tx_dropped, 1, memory_order_relaxed);
		return err;
	}
	count_tx(l, len);
	net_defer_flush(l);
	return 0;
}

static int xmit_one(struct net_link *l, struct nbuf *b)
{
	if (b->csum == NBUF_CSUM_PARTIAL && !(l->features & NET_F_CSUM)) {
		int err = nbuf_unshare(b, 0);

		if (!err)
			err = nbuf_finish_csum(b);
		if (err) {
			nbuf_put(b);
			return err;
		}
	}
	if (l->qdisc)
		return qdisc_enqueue(l, b);
	return link_xmit_now(l, b);
}

static bool link_can_gso(struct net_link *l, struct nbuf *b)
{
	static const unsigned need[] = {0, NET_F_TSO4, NET_F_TSO6, NET_F_USO};

	return (l->features & need[b->gso]) && (l->features & NET_F_CSUM) && b->len <= l->gso_max;
}

/* The packet comes in as if the one who was meant had sent it. */
static void answer_instead(struct net_link *l, const struct nbuf *b, struct nbuf *answer,
			   uint16_t protocol)
{
	uint8_t addresses[12];

	if (link_has_ether(l)) {
		struct ether_header *eh = nbuf_push(answer, sizeof(*eh));

		nbuf_read(b, 0, addresses, sizeof(addresses));
		memcpy(eh->ether_dhost, addresses + 6, 6);
		memcpy(eh->ether_shost, addresses, 6);
		eh->ether_type = htons(protocol);
	}
	answer->looped = 1;
	net_defer_input(l, answer);
}

/* May the frame leave? 0; 1: it has been answered here; -EPERM. */
static int check_egress(struct net_link *l, struct nbuf *b)
{
	struct egress_frame f = {.b = b, .off = link_has_ether(l) ? ETHER_HDR_LEN : 0};
	uint8_t head[ETHER_HDR_LEN];
	struct nbuf *answer;
	uint16_t protocol;
	int err;

	if (b->len <= f.off)
		return -EINVAL;
	nbuf_read(b, 0, head, f.off ? f.off : 1);
	if (f.off)
		f.protocol = (uint16_t)(head[12] << 8 | head[13]);
	else
		f.protocol = head[0] >> 4 == 6 ? ETHERTYPE_IPV6 : ETHERTYPE_IP;
	err = egress_output(l->stack, &f, &answer, &protocol);
	if (!answer)
		return err;
	answer_instead(l, b, answer, protocol);
	return 1;
}

int link_xmit(struct net_link *l, struct nbuf *b)
{
	struct nbuf_queue segs = STAILQ_HEAD_INITIALIZER(segs);
	int err;

	if (!link_is_up(l)) {
		nbuf_put(b);
		return -ENETDOWN;
	}
	if (link_leads_out(l)) {
		err = check_egress(l, b);
		if (err) {
			atomic_fetch_add_explicit(&l->stats.tx_dropped, 1, memory_order_relaxed);
			nbuf_put(b);
			return MIN(err, 0);
		}
	}
	if (atomic_load_explicit(&l->stack->n_packets, memory_order_relaxed))
		packet_tap(l, b, true);
	if (atomic_load_explicit(&l->capturing, memory_order_relaxed) &&
	    l->kind != NET_LINK_LOOPBACK)
		link_capture_frame(l, b);
	if (!b->gso)
		return xmit_one(l, b);
	err = gso_complete(b);
	if (err) {
		nbuf_put(b);
		return err;
	}
	if (link_can_gso(l, b))
		return xmit_one(l, b);
	err = gso_segment(b, &segs);
	while (!STAILQ_EMPTY(&segs)) {
		struct nbuf *n = STAILQ_FIRST(&segs);
		int e;

		STAILQ_REMOVE_HEAD(&segs, next);
		e = xmit_one(l, n);
		if (e)
			err = e;
	}
	return err;
}

int link_xmit_ether(struct net_link *l, struct nbuf *b, const uint8_t dst[6], uint16_t protocol)
{
	struct ether_header *eh;

	if (!link_has_ether(l))
		return link_xmit(l, b);
	if (nbuf_unshare(b, sizeof(*eh)) < 0) {
		nbuf_put(b);
		return -ENOBUFS;
	}
	eh = nbuf_push(b, sizeof(*eh));
	memcpy(eh->ether_dhost, dst, 6);
	memcpy(eh->ether_shost, l->addr, 6);
	eh->ether_type = htons(protocol);
	b->mac = (uint8_t *)eh;
	b->has_mac = 1;
	b->protocol = protocol;
	return link_xmit(l, b);
}
