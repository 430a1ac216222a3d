#include "world.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "netstack/buffer/nbuf.h"

uint64_t world_random(struct world *w)
{
	uint64_t z = w->seed += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static bool chance(struct world *w, unsigned per_mille)
{
	return per_mille && world_random(w) % 1000 < per_mille;
}

/* ------------------------------------------------------------------------------ the wire */

struct flight {
	struct net_timer timer;
	struct world *w;
	int to;
	bool counted;
	struct nbuf *b;
};

static void arrive(struct net_timer *t)
{
	struct flight *f = container_of(t, struct flight, timer);
	struct world *w = f->w;

	w->in_flight--;
	if (f->counted)
		w->queued[!f->to]--;
	if (w->end[f->to].link)
		net_link_input(w->end[f->to].link, f->b);
	else
		nbuf_put(f->b);
	free(f);
}

static void launch(struct world *w, int side, struct nbuf *b, int64_t at, bool counted)
{
	struct flight *f = calloc(1, sizeof(*f));

	f->timer.fn = arrive;
	f->w = w;
	f->to = !side;
	f->b = b;
	f->counted = counted;
	w->in_flight++;
	w->env.arm(w->env.ctx, &f->timer, at);
}

static int wire_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct wire_end *e = priv;
	struct world *w = e->w;
	int side = e->side;
	int64_t now = world_now(w), at = now + w->delay;
	uint8_t *flat;

	w->frames[side]++;
	flat = malloc(b->len);
	nbuf_read(b, 0, flat, b->len);
	if ((w->hook && w->hook(w->hook_arg, side, flat, b->len)) || chance(w, w->loss) ||
	    (w->queue_limit && w->queued[side] >= w->queue_limit)) {
		w->dropped[side]++;
		free(flat);
		nbuf_put(b);
		return 0;
	}
	free(flat);
	if (w->rate) {
		int64_t start = now > w->busy_until[side] ? now : w->busy_until[side];

		w->busy_until[side] = start + (int64_t)(b->len * 8 * 1000000000ULL / w->rate);
		at = w->busy_until[side] + w->delay;
	}
	if (w->jitter)
		at += world_random(w) % w->jitter;
	if (chance(w, w->reorder))
		at += w->delay / 2 + MS;
	if (chance(w, w->duplicate)) {
		struct nbuf *c = nbuf_copy(b, 0);

		if (c)
			launch(w, side, c, at + world_random(w) % MS, false);
	}
	if (chance(w, w->corrupt) && nbuf_unshare(b, 0) == 0 && nbuf_linear(b, b->len))
		b->data[14 + world_random(w) % (b->len - 14)] ^= 1 << world_random(w) % 8;
	w->queued[side]++;
	launch(w, side, b, at, true);
	return 0;
}

static const struct net_link_ops wire_ops = {.xmit = wire_xmit};

/* ------------------------------------------------------------------------------ the world */

static void add_addr(struct netstack *s, int ifindex, int family, int host)
{
	struct net_addr_info a = {.ifindex = ifindex, .family = family};

	if (family == AF_INET) {
		uint8_t v4[4] = {10, 0, 0, host};

		memcpy(&a.addr, v4, 4);
		a.prefix = 24;
	} else {
		a.addr.s6_addr[0] = 0xfd;
		a.addr.s6_addr[15] = host;
		a.prefix = 64;
		a.flags = 2; /* IFA_F_NODAD */
	}
	assert_int_equal(net_addr_add(s, &a), 0);
}

void world_init(struct world *w, uint64_t seed, unsigned mtu, unsigned features)
{
	memset(w, 0, sizeof(*w));
	w->seed = seed;
	assert_int_equal(net_vclock_create(&w->env, seed, &w->clock), 0);
	for (int i = 0; i < 2; i++) {
		struct net_config c = {.env = w->env, .hash_buckets = 64};
		struct net_link_config lc = {.name = "eth0",
					     .mtu = mtu,
					     .features = features,
					     .addr = {2, 0, 0, 0, 0, i + 1}};
		struct net_link *lo;

		assert_int_equal(netstack_create(&c, &w->stack[i]), 0);
		lo = net_link_by_name(w->stack[i], "lo");
		assert_int_equal(net_link_set_flags(lo, IFF_UP, IFF_UP), 0);
		net_link_put(lo);
		w->end[i].w = w;
		w->end[i].side = i;
		assert_int_equal(net_link_add_custom(w->stack[i], &lc, &wire_ops, &w->end[i],
						     &w->end[i].link),
				 0);
		assert_int_equal(net_link_set_flags(w->end[i].link, IFF_UP, IFF_UP), 0);
		add_addr(w->stack[i], 2, AF_INET, i + 1);
		add_addr(w->stack[i], 2, AF_INET6, i + 1);
	}
}

void world_run(struct world *w, int64_t ns)
{
	net_vclock_run(w->clock, world_now(w) + ns);
}

void world_fini(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct net_link *l = w->end[i].link;

		netstack_destroy(w->stack[i]);
		w->end[i].link = NULL;
		net_link_put(l);
	}
	/* Frames that are still under way end here. */
	world_run(w, 1000 * SEC);
	assert_int_equal(w->in_flight, 0);
	assert_true(net_vclock_next(w->clock) == INT64_MAX);
	net_vclock_destroy(w->clock);
}

socklen_t world_addr(int family, int side, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = htonl(side == -2	 ? 0
					    : side == -1 ? INADDR_LOOPBACK
							 : 0x0a000001u + (unsigned)side);
		return sizeof(*in);
	} else {
		struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;

		in->sin6_family = AF_INET6;
		in->sin6_port = htons(port);
		if (side == -1)
			in->sin6_addr.s6_addr[15] = 1;
		else if (side >= 0) {
			in->sin6_addr.s6_addr[0] = 0xfd;
			in->sin6_addr.s6_addr[15] = side + 1;
		}
		return sizeof(*in);
	}
}

struct net_ep *world_tcp(struct world *w, int side, int family)
{
	struct net_ep *ep;

	assert_int_equal(net_ep_create(w->stack[side], family, SOCK_STREAM, 0, NULL, NULL, &ep), 0);
	return ep;
}

struct net_ep *world_listen(struct world *w, int side, int family, uint16_t port, int backlog)
{
	struct net_ep *ep = world_tcp(w, side, family);
	struct sockaddr_storage a;
	socklen_t n = world_addr(family, -2, port, &a);

	assert_int_equal(ep_option(ep, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	assert_int_equal(net_ep_bind(ep, (struct sockaddr *)&a, n), 0);
	assert_int_equal(net_ep_listen(ep, backlog), 0);
	return ep;
}

void world_connect(struct world *w, int family, uint16_t port, struct net_ep **client,
		   struct net_ep **server)
{
	struct net_ep *l = world_listen(w, 1, family, port, 8);
	struct sockaddr_storage a;
	socklen_t n = world_addr(family, 1, port, &a);

	*client = world_tcp(w, 0, family);
	assert_int_equal(net_ep_connect(*client, (struct sockaddr *)&a, n), -EINPROGRESS);
	for (int i = 0; i < 400 && net_ep_accept(l, server) == -EAGAIN; i++)
		world_run(w, 50 * MS);
	assert_int_equal(net_ep_connect(*client, (struct sockaddr *)&a, n), 0);
	net_ep_close(l);
}

ssize_t ep_send(struct net_ep *ep, const void *p, size_t n)
{
	struct iovec iov = {(void *)p, n};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};

	return net_ep_sendmsg(ep, &m, 0);
}

ssize_t ep_recv(struct net_ep *ep, void *p, size_t n)
{
	struct iovec iov = {p, n};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};

	return net_ep_recvmsg(ep, &m, 0);
}

int ep_option(struct net_ep *ep, int level, int name, int v)
{
	return net_ep_setsockopt(ep, level, name, &v, sizeof(v));
}

int ep_get_option(struct net_ep *ep, int level, int name)
{
	socklen_t n = sizeof(int);
	int v = -1, r = net_ep_getsockopt(ep, level, name, &v, &n);

	return r ? r : v;
}

static uint8_t pattern(size_t i)
{
	return i * 7 + (i >> 8) * 13 + (i >> 16);
}

int64_t world_transfer(struct world *w, struct net_ep *from, struct net_ep *to, size_t n)
{
	static uint8_t buf[65536];
	size_t sent = 0, got = 0;
	int64_t start = world_now(w), idle_since = start;

	while (got < n) {
		bool moved = false;
		ssize_t k;

		while (sent < n) {
			size_t c = n - sent < sizeof(buf) ? n - sent : sizeof(buf);

			for (size_t i = 0; i < c; i++)
				buf[i] = pattern(sent + i);
			k = ep_send(from, buf, c);
			if (k == -EAGAIN)
				break;
			assert_true(k > 0);
			sent += k;
			moved = true;
		}
		while ((k = ep_recv(to, buf, sizeof(buf))) > 0) {
			for (ssize_t i = 0; i < k; i++)
				assert_int_equal(buf[i], pattern(got + i));
			got += k;
			moved = true;
		}
		if (got < n)
			assert_int_equal(k, -EAGAIN);
		if (moved)
			idle_since = world_now(w);
		assert_true(world_now(w) - idle_since < 300 * SEC);
		if (got < n && !moved) {
			int64_t next = net_vclock_next(w->clock);

			assert_true(next != INT64_MAX);
			net_vclock_run(w->clock, next);
		}
	}
	return world_now(w) - start;
}

struct net_ep *world_udp(struct world *w, int side, int family, uint16_t port)
{
	struct net_ep *ep;
	struct sockaddr_storage a;
	socklen_t n = world_addr(family, -2, port, &a);

	assert_int_equal(net_ep_create(w->stack[side], family, SOCK_DGRAM, 0, NULL, NULL, &ep), 0);
	if (port)
		assert_int_equal(net_ep_bind(ep, (struct sockaddr *)&a, n), 0);
	return ep;
}

ssize_t ep_send_to(struct net_ep *ep, int family, int side, uint16_t port, const void *p, size_t n)
{
	struct sockaddr_storage a;
	struct iovec iov = {(void *)p, n};
	struct net_msg m = {.name = (struct sockaddr *)&a, .iov = &iov, .iovcnt = 1};

	m.namelen = world_addr(family, side, port, &a);
	return net_ep_sendmsg(ep, &m, 0);
}

uint64_t stack_counter(struct netstack *s, const char *name)
{
	const char *n;
	uint64_t v;

	for (int i = 0; netstack_counter(s, i, &n, &v); i++)
		if (!strcmp(n, name))
			return v;
	fail_msg("no counter %s", name);
	return 0;
}

void stack_sysctl(struct netstack *s, const char *name, long v)
{
	assert_int_equal(netstack_sysctl_set(s, name, &v, 1), 1);
}
