/* Links without a device: loopback, dummy, veth pairs. */
#include "netstack/link/link.h"
#include "netstack/link/link_upcalls.h"

#define LOOPBACK_MTU 65536
#define VIRTUAL_FEATURES                                                                           \
	(NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_USO | NET_F_RXCSUM | NET_F_TRUSTED)

/* ------------------------------------------------------------------------------ loopback */

static int loopback_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	net_defer_input(l, b);
	return 0;
}

static const struct net_link_ops loopback_ops = {.xmit = loopback_xmit};

static int add(struct netstack *s, enum net_link_kind kind, const struct net_link_config *c,
	       const char *pattern, const struct net_link_ops *ops, void *priv,
	       struct net_link **out)
{
	struct net_link_config cfg = *c;
	struct net_link *l;
	int err;

	if (kind == NET_LINK_LOOPBACK && !cfg.mtu)
		cfg.mtu = NET_MAX_MTU;
	cfg.features |= VIRTUAL_FEATURES;
	err = link_register(s, kind, &cfg, pattern, ops, priv, &l);
	if (err)
		return err;
	if (kind == NET_LINK_LOOPBACK && !c->mtu)
		l->mtu = LOOPBACK_MTU;
	if (out)
		*out = l;
	else
		net_link_put(l);
	return 0;
}

int net_link_add_loopback(struct netstack *s, const struct net_link_config *c,
			  struct net_link **out)
{
	return add(s, NET_LINK_LOOPBACK, c, "lo", &loopback_ops, NULL, out);
}

/* --------------------------------------------------------------------------------- dummy */

static int dummy_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	nbuf_put(b);
	return 0;
}

static const struct net_link_ops dummy_ops = {.xmit = dummy_xmit};

int net_link_add_dummy(struct netstack *s, const struct net_link_config *c, struct net_link **out)
{
	return add(s, NET_LINK_DUMMY, c, "dummy", &dummy_ops, NULL, out);
}

/* ---------------------------------------------------------------------------------- veth */

/* Shared by the two ends; each end holds a reference. */
struct veth_pair {
	struct refcount refs;
	struct mutex lock; /* leaf */
	struct net_link *end[2];
	struct net_env env;
};

struct veth_end {
	struct veth_pair *pair;
	int side;
};

static int veth_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct veth_end *e = priv;
	struct net_link *peer;

	mutex_lock(&e->pair->lock);
	peer = e->pair->end[!e->side];
	if (peer)
		net_link_get(peer);
	mutex_unlock(&e->pair->lock);
	if (!peer || !link_is_up(peer)) {
		net_link_put(peer);
		nbuf_put(b);
		return -ENETDOWN;
	}
	net_defer_input(peer, b);
	net_link_put(peer);
	return 0;
}

static void veth_release(void *priv)
{
	struct veth_end *e = priv;
	struct veth_pair *p = e->pair;
	struct net_env env = p->env;

	env.free(env.ctx, e);
	if (refcount_dec(&p->refs)) {
		mutex_destroy(&p->lock);
		env.free(env.ctx, p);
	}
}

static const struct net_link_ops veth_ops = {.xmit = veth_xmit, .release = veth_release};

void veth_detach(struct net_link *l)
{
	struct veth_end *e = l->priv;
	struct veth_pair *p = e->pair;
	struct net_link *peer;

	mutex_lock(&p->lock);
	peer = p->end[!e->side];
	if (p->end[e->side] != l) {
		/* It has moved to another stack, or was not made whole. */
		mutex_unlock(&p->lock);
		return;
	}
	p->end[e->side] = NULL;
	if (peer)
		net_link_get(peer);
	mutex_unlock(&p->lock);
	if (peer) {
		net_link_remove(peer);
		net_link_put(peer);
	}
}

/* Links in a pair are in their stacks' lists, too: they stay while the pair is locked. */
bool veth_describe_peer(struct net_link *l, struct net_link_info *i)
{
	struct veth_end *e = l->priv;
	struct net_link *peer;
	MUTEX_GUARD(&e->pair->lock);

	peer = e->pair->end[!e->side];
	if (!peer)
		return false;
	i->peer = peer->index;
	i->peer_away = peer->stack != l->stack;
	i->peer_stack = peer->stack->id;
	return link_is_up(peer);
}

void veth_carrier_changed(struct net_link *l)
{
	struct veth_end *e = l->priv;
	struct net_link *peer;

	mutex_lock(&e->pair->lock);
	peer = e->pair->end[!e->side];
	if (peer)
		net_link_get(peer);
	mutex_unlock(&e->pair->lock);
	if (peer && link_is_up(peer))
		link_event(peer, NET_EVENT_LINK_CHANGE);
	net_link_put(peer);
}

/* Of the pair's memory, wherever the end is. */
static struct veth_end *veth_end_new(struct veth_pair *p, int side)
{
	struct veth_end *e = p->env.alloc(p->env.ctx, sizeof(*e));

	if (e) {
		*e = (struct veth_end){.pair = p, .side = side};
		refcount_inc(&p->refs);
	}
	return e;
}

/* Both are in their stacks, where somebody may have removed one again. */
static int veth_pair_up(struct veth_pair *p, struct net_link *const l[2])
{
	MUTEX_GUARD(&p->lock);

	if (l[0]->removed || l[1]->removed)
		return -ENODEV;
	p->end[0] = l[0];
	p->end[1] = l[1];
	return 0;
}

int net_link_add_veth(struct netstack *s1, const struct net_link_config *c1, struct net_link **out1,
		      struct netstack *s2, const struct net_link_config *c2, struct net_link **out2)
{
	struct veth_pair *p = net_alloc(s1, sizeof(*p));
	struct netstack *s[2] = {s1, s2};
	const struct net_link_config *c[2] = {c1, c2};
	struct net_link *l[2] = {NULL, NULL};
	int err = 0;

	if (!p)
		return -ENOMEM;
	refcount_init(&p->refs);
	mutex_init(&p->lock);
	p->env = s1->env;
	NET_CONTEXT();
	/* The second gets the first index, as on Linux. */
	for (int i = 1; i >= 0 && !err; i--) {
		struct veth_end *e = veth_end_new(p, i);

		err = e ? add(s[i], NET_LINK_VETH, c[i], "veth", &veth_ops, e, &l[i]) : -ENOMEM;
		if (err && e)
			veth_release(e);
	}
	if (!err)
		err = veth_pair_up(p, l);
	if (!err) {
		if (out1)
			*out1 = net_link_get(l[0]);
		if (out2)
			*out2 = net_link_get(l[1]);
	} else {
		for (int i = 0; i < 2; i++)
			if (l[i])
				net_link_remove(l[i]);
	}
	net_link_put(l[0]);
	net_link_put(l[1]);
	if (refcount_dec(&p->refs)) {
		mutex_destroy(&p->lock);
		net_free(s1, p);
	}
	return err;
}

/* -------------------------------------------------------------------------------- moving */

/* The link that is to be the same in another stack, by its configuration c. */
static int veth_move(struct net_link *l, struct netstack *to, const struct net_link_config *c,
		     struct net_link **out)
{
	struct veth_end *old = l->priv, *e = veth_end_new(old->pair, old->side);
	int err = e ? add(to, NET_LINK_VETH, c, "veth", &veth_ops, e, out) : -ENOMEM;

	if (err) {
		if (e)
			veth_release(e);
		return err;
	}
	mutex_lock(&e->pair->lock);
	if (e->pair->end[e->side] == l && !(*out)->removed)
		e->pair->end[e->side] = *out;
	else
		err = -ENODEV;
	mutex_unlock(&e->pair->lock);
	if (err) {
		net_link_remove(*out);
		net_link_put(*out);
	}
	return err;
}

/* The counters go with a device. */
static void move_stats(struct net_link *l, const struct net_link_stats *st)
{
	atomic_fetch_add(&l->stats.rx_packets, st->rx_packets);
	atomic_fetch_add(&l->stats.tx_packets, st->tx_packets);
	atomic_fetch_add(&l->stats.rx_bytes, st->rx_bytes);
	atomic_fetch_add(&l->stats.tx_bytes, st->tx_bytes);
	atomic_fetch_add(&l->stats.rx_errors, st->rx_errors);
	atomic_fetch_add(&l->stats.tx_errors, st->tx_errors);
	atomic_fetch_add(&l->stats.rx_dropped, st->rx_dropped);
	atomic_fetch_add(&l->stats.tx_dropped, st->tx_dropped);
	atomic_fetch_add(&l->stats.multicast, st->multicast);
}

int net_link_move(struct net_link *l, struct netstack *to, const char *name, struct net_link **out)
{
	struct net_link_config c = {0};
	struct net_link_info info;
	struct net_link *moved;
	int err;

	if (l->kind == NET_LINK_LOOPBACK || l->kind == NET_LINK_BRIDGE)
		return -EINVAL;
	if (l->kind != NET_LINK_VETH && l->kind != NET_LINK_DUMMY)
		return -EOPNOTSUPP;
	NET_CONTEXT();
	net_link_info(l, &info);
	memcpy(c.name, name ? name : info.name, strnlen(name ? name : info.name, 15));
	memcpy(c.addr, info.addr, sizeof(c.addr));
	c.index = info.index;
	c.mtu = info.mtu;
	c.features = info.features;
	c.txqlen = info.txqlen;
	if (l->kind == NET_LINK_VETH)
		err = veth_move(l, to, &c, &moved);
	else
		err = add(to, NET_LINK_DUMMY, &c, "dummy", &dummy_ops, NULL, &moved);
	if (err)
		return err;
	move_stats(moved, &info.stats);
	/* Somebody else has removed it meanwhile: then it is gone altogether. */
	err = net_link_remove(l);
	if (err)
		net_link_remove(moved);
	if (!err && out)
		*out = net_link_get(moved);
	net_link_put(moved);
	return err;
}

/* -------------------------------------------------------------------------------- custom */

int net_link_add_custom(struct netstack *s, const struct net_link_config *c,
			const struct net_link_ops *ops, void *priv, struct net_link **out)
{
	struct net_link *l;
	int err;

	if (!ops || !ops->xmit)
		return -EINVAL;
	err = link_register(s, NET_LINK_CUSTOM, c, "eth", ops, priv, &l);
	if (err)
		return err;
	if (out)
		*out = l;
	else
		net_link_put(l);
	return 0;
}
