/* Life of a stack: creation and destruction. */
#include "netstack/core/core.h"
#include "netstack/demux/demux.h"
#include "netstack/ip/ip.h"
#include "netstack/link/link.h"
#include "netstack/neigh/neigh.h"
#include "netstack/policy/policy.h"
#include "netstack/route/route.h"
#include "netstack/socket/socket.h"
#include "netstack/tcp/tcp.h"

#define DEFAULT_MEMORY (64u << 20)
#define DEFAULT_BUCKETS 2048

static int create_tables(struct netstack *s, unsigned buckets)
{
	int err = neigh_table_create(s);

	if (!err)
		err = egress_create(s);
	if (!err)
		err = pmtu_create(s);
	if (!err)
		err = reass_create(s);
	if (!err)
		err = demux_create(s, buckets, &s->tcp);
	if (!err)
		err = port_table_create(s, &s->tcp_ports);
	if (!err)
		err = port_table_create(s, &s->udp_ports);
	if (!err)
		err = port_table_create(s, &s->ping_ports);
	return err;
}

static void stack_free(struct netstack *s)
{
	void (*released)(void *user) = s->released;
	struct net_env env = s->env;
	void *user = s->user;

	if (s->neigh)
		neigh_table_destroy(s);
	if (s->pmtu)
		pmtu_destroy(s);
	if (s->reass)
		reass_destroy(s);
	if (s->tcp)
		demux_destroy(s, s->tcp);
	port_table_destroy(s, s->tcp_ports);
	port_table_destroy(s, s->udp_ports);
	port_table_destroy(s, s->ping_ports);
	egress_destroy(s);
	if (s->pool)
		npool_put(s->pool);
	rwlock_destroy(&s->config_lock);
	rwlock_destroy(&s->raw_lock);
	mutex_destroy(&s->ep_lock);
	env.free(env.ctx, s);
	if (released)
		released(user);
}

void netstack_put(struct netstack *s)
{
	if (refcount_dec(&s->refs))
		stack_free(s);
}

static bool env_complete(const struct net_env *e)
{
	return e->now && e->wall && e->arm && e->cancel && e->random && e->alloc && e->free;
}

static void init_fields(struct netstack *s, const struct net_config *c)
{
	refcount_init(&s->refs);
	s->env = c->env;
	s->event = c->event;
	s->event_ctx = c->event_ctx;
	s->user = c->user;
	s->id = c->id;
	s->budget = c->budget;
	net_random(s, s->hash_key, sizeof(s->hash_key));
	net_random(s, s->isn_key, sizeof(s->isn_key));
	net_random(s, s->port_key, sizeof(s->port_key));
	net_random(s, s->cookie_key, sizeof(s->cookie_key));
	rwlock_init(&s->config_lock);
	rwlock_init(&s->raw_lock);
	mutex_init(&s->ep_lock);
	mutex_init(&s->icmp_limit.lock);
	mutex_init(&s->challenge_limit.lock);
	mutex_init(&s->arp_limit.lock);
	LIST_INIT(&s->links);
	TAILQ_INIT(&s->routes);
	TAILQ_INIT(&s->eps);
	TAILQ_INIT(&s->raws);
	TAILQ_INIT(&s->packets);
	s->next_index = 1;
	atomic_init(&s->path_gen, 1);
	net_sysctl_init(&s->sysctl);
}

int netstack_create(const struct net_config *c, struct netstack **out)
{
	unsigned buckets = c->hash_buckets ? c->hash_buckets : DEFAULT_BUCKETS;
	struct net_link_config lo = {.name = "lo"};
	struct netstack *s;
	int err;

	if (!env_complete(&c->env) || (buckets & (buckets - 1)) || buckets > 1u << 24)
		return -EINVAL;
	s = c->env.alloc(c->env.ctx, sizeof(*s));
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	init_fields(s, c);
	err = npool_create(c->env.alloc, c->env.free, c->env.ctx,
			   c->memory_limit ? c->memory_limit : DEFAULT_MEMORY, &s->pool);
	if (!err && c->budget)
		npool_share(s->pool, c->budget);
	if (!err)
		err = create_tables(s, buckets);
	if (!err)
		err = net_link_add_loopback(s, &lo, NULL);
	if (err) {
		netstack_put(s);
		return err;
	}
	s->released = c->released;
	*out = s;
	return 0;
}

/* The first endpoint that has not been told of the stack's end; counted. */
static struct net_ep *first_endpoint(struct netstack *s)
{
	struct net_ep *ep;
	MUTEX_GUARD(&s->ep_lock);

	TAILQ_FOREACH (ep, &s->eps, all_link)
		if (refcount_inc_not_zero(&ep->refs)) {
			TAILQ_REMOVE(&s->eps, ep, all_link);
			ep->all_link.tqe_prev = NULL;
			return ep;
		}
	return NULL;
}

void netstack_destroy(struct netstack *s)
{
	struct net_link *l;
	struct net_ep *ep;

	NET_CONTEXT();
	atomic_store(&s->dead, true);
	while ((ep = first_endpoint(s))) {
		ep->proto->close(ep);
		ep_set_error(ep, ENETDOWN);
		net_defer_ready(ep, EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT);
		net_ep_put(ep);
	}
	tcp_requests_purge(s);
	for (;;) {
		read_lock(&s->config_lock);
		l = LIST_FIRST(&s->links);
		if (l)
			net_link_get(l);
		read_unlock(&s->config_lock);
		if (!l)
			break;
		net_link_remove(l);
		net_link_put(l);
	}
	reass_purge(s);
	write_lock(&s->config_lock);
	route_flush_all_locked(s);
	write_unlock(&s->config_lock);
	netstack_put(s);
}

void *netstack_user(struct netstack *s)
{
	return s->user;
}
