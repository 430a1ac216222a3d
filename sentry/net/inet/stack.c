/* One TCP/IP stack per network namespace, driven by the kernel's timer thread. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <malloc.h>
#include <net/if.h>
#include <stdlib.h>

#include "sentry/kernel/core/ktimer.h"
#include "sentry/kernel/core/machine.h"
#include "sentry/net/inet/inet_internal.h"

#define STACK_MEMORY_MIN (16UL << 20)
/* Of the namespaces that guests make, all together; a link with what belongs to it is some KiB. */
#define LINKS_MAX 8192
/* Of the connection table of one of those. */
#define SMALL_TABLE 256

struct inet_stack {
	struct netstack *stack;
	struct net_wheel *wheel;
	struct ktimer timer;
	struct inet_redirect redirect;
	struct nsid_table nsids;
	SLIST_ENTRY(inet_stack) dead;
};

/* What namespaces that guests make may use together: of packets, links and, in bytes, everything,
 * that and routes, neighbours, connections. The limits are set before the first such stack. */
static struct net_budget budget = {.links_limit = LINKS_MAX};
static size_t memory_limit;
static _Atomic size_t memory;

/* Those whose last user has gone, perhaps by a timer of its own, which still looks at the wheel:
 * the next who wants a stack frees them. dead_lock, a leaf. */
static struct mutex dead_lock = MUTEX_INIT;
static SLIST_HEAD(, inet_stack) dead = SLIST_HEAD_INITIALIZER(dead);
static _Atomic bool any_dead;

/* The stack of tasks without a namespace object; initial_lock. */
static struct mutex initial_lock = MUTEX_INIT;
static void *initial_stack;

static void (*_Atomic listener)(struct netstack *s, const struct net_event *ev);

void inet_set_listener(void (*fn)(struct netstack *s, const struct net_event *ev))
{
	atomic_store(&listener, fn);
}

static void changed(void *ctx, struct netstack *s, const struct net_event *ev)
{
	void (*fn)(struct netstack *, const struct net_event *) = atomic_load(&listener);

	if (fn)
		fn(s, ev);
}

static void wheel_due(struct ktimer *timer)
{
	struct inet_stack *st = container_of(timer, struct inet_stack, timer);
	int64_t next;

	net_wheel_run(st->wheel);
	next = net_wheel_next(st->wheel);
	if (next != INT64_MAX)
		ktimer_arm(&st->timer, next);
}

/* A timer is due before the wheel was to be turned: under the wheel's lock, so the timer thread
 * finds out when. */
static void wheel_wake(void *arg)
{
	struct inet_stack *st = arg;

	ktimer_arm(&st->timer, monotonic_ns());
}

static int loopback_up(struct netstack *s)
{
	struct net_addr_info v4 = {.ifindex = 1,
				   .family = AF_INET,
				   .prefix = 8,
				   .scope = RT_SCOPE_HOST,
				   .flags = IFA_F_PERMANENT};
	struct net_addr_info v6 = {.ifindex = 1,
				   .family = AF_INET6,
				   .addr = IN6ADDR_LOOPBACK_INIT,
				   .prefix = 128,
				   .scope = RT_SCOPE_HOST,
				   .flags = IFA_F_PERMANENT | IFA_F_NODAD};
	struct net_link *lo = net_link_by_index(s, 1);
	int ret;

	if (!lo)
		return -ENODEV;
	ret = net_link_set_flags(lo, IFF_UP, IFF_UP);
	net_link_put(lo);
	v4.addr.s6_addr[0] = 127;
	v4.addr.s6_addr[3] = 1;
	if (!ret)
		ret = net_addr_add(s, &v4);
	/* The stack may have given it itself when the link came up. */
	if (!ret || ret == -EEXIST)
		ret = net_addr_add(s, &v6);
	return ret == -EEXIST ? 0 : ret;
}

static void stack_free(struct inet_stack *st)
{
	ktimer_cancel_sync(&st->timer);
	net_wheel_destroy(st->wheel);
	free(st);
}

static void released(void *user)
{
	struct inet_stack *st = user;
	MUTEX_GUARD(&dead_lock);

	SLIST_INSERT_HEAD(&dead, st, dead);
	atomic_store(&any_dead, true);
}

static void free_dead(void)
{
	struct inet_stack *st, *next;

	if (!atomic_load(&any_dead))
		return;
	mutex_lock(&dead_lock);
	st = SLIST_FIRST(&dead);
	SLIST_INIT(&dead);
	atomic_store(&any_dead, false);
	mutex_unlock(&dead_lock);
	for (; st; st = next) {
		next = SLIST_NEXT(st, dead);
		stack_free(st);
	}
}

static void *counted_alloc(void *ctx, size_t size)
{
	void *p = atomic_load(&memory) + size <= memory_limit ? malloc(size) : NULL;

	if (p)
		atomic_fetch_add(&memory, malloc_usable_size(p));
	return p;
}

static void counted_free(void *ctx, void *p)
{
	atomic_fetch_sub(&memory, malloc_usable_size(p));
	free(p);
}

/* Others than a container's own are small, and bounded together. */
static void share(struct net_config *config)
{
	budget.memory_limit = config->memory_limit;
	memory_limit = 2 * config->memory_limit;
	config->budget = &budget;
	config->hash_buckets = SMALL_TABLE;
	config->env.alloc = counted_alloc;
	config->env.free = counted_free;
}

/* lo_up: a container's own; else one that a guest has made. */
static int make_stack(bool lo_up, uint64_t id, struct inet_stack **out)
{
	struct inet_stack *st = calloc(1, sizeof(*st));
	struct net_config config = {0};
	int ret;

	if (!st)
		return -ENOMEM;
	ktimer_init(&st->timer, wheel_due);
	ret = net_wheel_create(&config.env, wheel_wake, st, &st->wheel);
	if (ret) {
		free(st);
		return ret;
	}
	config.user = st;
	config.event = changed;
	config.released = released;
	config.id = id;
	config.memory_limit = MAX(machine.total_memory / 8, STACK_MEMORY_MIN);
	if (!lo_up)
		share(&config);
	ret = netstack_create(&config, &st->stack);
	if (ret) {
		stack_free(st);
		return ret;
	}
	if (lo_up)
		ret = loopback_up(st->stack);
	if (ret) {
		netstack_destroy(st->stack);
		return ret;
	}
	nsid_table_add(&st->nsids, id);
	*out = st;
	return 0;
}

int inet_stack_of(struct net_ns *ns, struct netstack **out)
{
	void **slot = ns ? &ns->stack : &initial_stack;
	struct inet_stack *st = NULL;
	int ret;

	free_dead();
	MUTEX_GUARD(ns ? &ns->lock : &initial_lock);
	if (!*slot) {
		ret = make_stack(!ns || ns->lo_up, ns ? ns->inum : 0, &st);
		if (ret)
			return ret;
		*slot = st;
		if (ns)
			ns->destroy = socket_ns_destroy;
	}
	st = *slot;
	*out = st->stack;
	return 0;
}

const struct inet_redirect *inet_redirect_of(struct netstack *s)
{
	struct inet_stack *st = netstack_user(s);

	return &st->redirect;
}

void inet_resolver_set(struct netstack *s, unsigned udp_port, unsigned tcp_port)
{
	struct inet_stack *st = netstack_user(s);

	atomic_store(&st->redirect.udp, udp_port);
	atomic_store(&st->redirect.tcp, tcp_port);
}

void inet_stack_destroy(struct net_ns *ns)
{
	struct inet_stack *st = ns->stack;

	if (!st)
		return;
	ns->stack = NULL;
	nsid_table_remove(&st->nsids);
	netstack_destroy(st->stack);
}

struct nsid_table *inet_nsids(struct netstack *s)
{
	struct inet_stack *st = netstack_user(s);

	return &st->nsids;
}
