/*
 * Learning bridge (IEEE 802.1D without spanning tree). The forwarding table is bounded; entries
 * age. Ports are found through their master pointer.
 */
#include <linux/if_packet.h>

#include "netstack/link/link.h"
#include "netstack/link/link_upcalls.h"

#define FDB_BUCKETS 256
#define FDB_MAX 1024
#define FDB_AGE_NS (300 * NSEC_PER_SEC)

struct fdb_entry {
	LIST_ENTRY(fdb_entry) next;
	uint8_t addr[6];
	int port; /* link index */
	int64_t seen;
};

struct bridge {
	struct netstack *stack;
	struct mutex lock; /* leaf */
	LIST_HEAD(, fdb_entry) fdb[FDB_BUCKETS];
	unsigned entries;
};

static unsigned bucket_of(const uint8_t *a)
{
	return (a[3] * 31 + a[4] * 7 + a[5]) % FDB_BUCKETS;
}

static struct fdb_entry *fdb_find(struct bridge *br, const uint8_t *addr)
{
	struct fdb_entry *e;

	LIST_FOREACH (e, &br->fdb[bucket_of(addr)], next)
		if (!memcmp(e->addr, addr, 6))
			return e;
	return NULL;
}

static void fdb_learn(struct bridge *br, const uint8_t *addr, int port)
{
	struct fdb_entry *e;
	MUTEX_GUARD(&br->lock);

	if (addr[0] & 1)
		return;
	e = fdb_find(br, addr);
	if (!e) {
		if (br->entries >= FDB_MAX)
			return;
		e = net_alloc(br->stack, sizeof(*e));
		if (!e)
			return;
		memcpy(e->addr, addr, 6);
		LIST_INSERT_HEAD(&br->fdb[bucket_of(addr)], e, next);
		br->entries++;
	}
	e->port = port;
	e->seen = net_now(br->stack);
}

/* Index of the port that addr was seen on, 0: unknown. */
static int fdb_lookup(struct bridge *br, const uint8_t *addr)
{
	struct fdb_entry *e;
	MUTEX_GUARD(&br->lock);

	e = fdb_find(br, addr);
	if (!e)
		return 0;
	if (net_now(br->stack) - e->seen > FDB_AGE_NS) {
		LIST_REMOVE(e, next);
		net_free(br->stack, e);
		br->entries--;
		return 0;
	}
	return e->port;
}

/* A counted reference to the next port of the bridge with an index above *after, or NULL. */
static struct net_link *next_port(struct net_link *bridge, int *after)
{
	struct net_link *l, *best = NULL;
	READ_GUARD(&bridge->stack->config_lock);

	LIST_FOREACH (l, &bridge->stack->links, link)
		if (atomic_load(&l->master) == bridge && l->index > *after &&
		    (!best || l->index < best->index))
			best = l;
	if (best)
		*after = best->index;
	return best ? net_link_get(best) : NULL;
}

static void flood(struct net_link *bridge, struct net_link *except, struct nbuf *b)
{
	struct net_link *port;
	int after = 0;

	while ((port = next_port(bridge, &after))) {
		if (port != except && link_is_up(port)) {
			struct nbuf *c = nbuf_clone(b);

			if (c)
				link_xmit(port, c);
		}
		net_link_put(port);
	}
}

/* Sends to the port with this index. False: it is gone. */
static bool forward(struct net_link *bridge, int index, struct net_link *except, struct nbuf *b)
{
	struct net_link *port = net_link_by_index(bridge->stack, index);

	if (!port || atomic_load(&port->master) != bridge) {
		net_link_put(port);
		return false;
	}
	if (port == except)
		nbuf_put(b);
	else
		link_xmit(port, b);
	net_link_put(port);
	return true;
}

static int bridge_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	int port;

	if (!nbuf_linear(b, sizeof(struct ether_header))) {
		nbuf_put(b);
		return -EINVAL;
	}
	port = b->data[0] & 1 ? 0 : fdb_lookup(priv, b->data);
	if (port && forward(l, port, NULL, b))
		return 0;
	flood(l, NULL, b);
	nbuf_put(b);
	return 0;
}

/*
 * Gives a received frame its header back, with the VLAN tag where the tag was told of beside the
 * frame: without it, it would leave the VLAN.
 */
static int restore_header(struct nbuf *b)
{
	size_t n = b->data - b->mac;

	nbuf_push(b, n);
	if (b->has_vlan && n == sizeof(struct ether_header)) {
		uint16_t tag[2] = {htons(ETHERTYPE_VLAN), htons(b->vlan_tci)};

		if (nbuf_unshare(b, sizeof(tag)) < 0)
			return -ENOBUFS;
		nbuf_push(b, sizeof(tag));
		memmove(b->data, b->data + sizeof(tag), 12);
		memcpy(b->data + 12, tag, sizeof(tag));
		b->mac = b->data;
	}
	b->has_vlan = 0;
	return 0;
}

bool bridge_input(struct net_link *bridge, struct net_link *port, struct nbuf *b)
{
	struct bridge *br = bridge->priv;
	const struct ether_header *eh = (const struct ether_header *)b->mac;
	bool local, multicast;
	int out;

	if (!link_is_up(bridge)) {
		nbuf_put(b);
		return true;
	}
	fdb_learn(br, eh->ether_shost, port->index);
	multicast = eh->ether_dhost[0] & 1;
	local = !memcmp(eh->ether_dhost, bridge->addr, 6);
	if (restore_header(b) < 0) {
		nbuf_put(b);
		return true;
	}
	eh = (const struct ether_header *)b->mac;
	if (multicast || (!local && !(out = fdb_lookup(br, eh->ether_dhost)))) {
		flood(bridge, port, b);
		local = multicast;
	} else if (!local) {
		if (!forward(bridge, out, port, b))
			nbuf_put(b);
		return true;
	}
	if (local)
		net_defer_input(bridge, b);
	else
		nbuf_put(b);
	return true;
}

static void bridge_release(void *priv)
{
	struct bridge *br = priv;
	struct netstack *s = br->stack;

	for (int i = 0; i < FDB_BUCKETS; i++)
		while (!LIST_EMPTY(&br->fdb[i])) {
			struct fdb_entry *e = LIST_FIRST(&br->fdb[i]);

			LIST_REMOVE(e, next);
			net_free(s, e);
		}
	mutex_destroy(&br->lock);
	net_free(s, br);
}

static const struct net_link_ops bridge_ops = {.xmit = bridge_xmit, .release = bridge_release};

void bridge_port_gone(struct net_link *bridge, struct net_link *port)
{
	struct bridge *br = bridge->priv;

	if (!port) { /* the bridge goes: let go of all ports */
		int after = 0;

		while ((port = next_port(bridge, &after))) {
			bool was;

			write_lock(&bridge->stack->config_lock);
			was = atomic_exchange(&port->master, NULL);
			write_unlock(&bridge->stack->config_lock);
			if (was)
				net_link_put(bridge);
			net_link_put(port);
		}
		return;
	}
	MUTEX_GUARD(&br->lock);
	for (int i = 0; i < FDB_BUCKETS; i++) {
		struct fdb_entry *e = LIST_FIRST(&br->fdb[i]);

		while (e) {
			struct fdb_entry *n = LIST_NEXT(e, next);

			if (e->port == port->index) {
				LIST_REMOVE(e, next);
				net_free(br->stack, e);
				br->entries--;
			}
			e = n;
		}
	}
}

int net_link_add_bridge(struct netstack *s, const struct net_link_config *c, struct net_link **out)
{
	struct net_link_config cfg = *c;
	struct bridge *br = net_alloc(s, sizeof(*br));
	struct net_link *l;
	int err;

	if (!br)
		return -ENOMEM;
	br->stack = s;
	mutex_init(&br->lock);
	cfg.features |= NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_USO | NET_F_TRUSTED;
	err = link_register(s, NET_LINK_BRIDGE, &cfg, "br", &bridge_ops, br, &l);
	if (err) {
		bridge_release(br);
		return err;
	}
	if (out)
		*out = l;
	else
		net_link_put(l);
	return 0;
}

int net_link_set_master(struct net_link *l, struct net_link *bridge)
{
	struct net_link *old;

	if (bridge && (bridge->kind != NET_LINK_BRIDGE || bridge->stack != l->stack))
		return -EINVAL;
	if (bridge && (l->kind == NET_LINK_BRIDGE || l->kind == NET_LINK_LOOPBACK))
		return -ELOOP;
	if (bridge && !link_has_ether(l))
		return -EINVAL;
	write_lock(&l->stack->config_lock);
	if (l->removed || (bridge && bridge->removed)) {
		write_unlock(&l->stack->config_lock);
		return -ENODEV;
	}
	old = atomic_exchange(&l->master, bridge ? net_link_get(bridge) : NULL);
	write_unlock(&l->stack->config_lock);
	if (old) {
		bridge_port_gone(old, l);
		net_link_put(old);
	}
	link_event(l, NET_EVENT_LINK_CHANGE);
	return 0;
}
