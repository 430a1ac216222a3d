/*
 * What netstack's tests share: a virtual clock, stacks on it, and a simulated wire between two of
 * them with delay, rate, loss, reordering, duplication and corruption, all repeatable by seed.
 */
#ifndef MOAT_TEST_NETSTACK_WORLD_H
#define MOAT_TEST_NETSTACK_WORLD_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "netstack/netstack.h"

#define MS 1000000LL
#define SEC 1000000000LL

struct wire_end {
	struct world *w;
	int side;
	struct net_link *link;
};

/* Sees each frame put on the wire; returns true to drop it. */
typedef bool (*wire_hook)(void *arg, int side, const uint8_t *frame, size_t len);

struct world {
	struct net_env env;
	struct net_vclock *clock;
	struct netstack *stack[2];
	struct wire_end end[2];
	/* The wire's behaviour, per mille for the chances. */
	int64_t delay, jitter;
	uint64_t rate; /* bits per second, 0: infinite */
	unsigned loss, duplicate, corrupt, reorder;
	unsigned queue_limit; /* frames waiting for the rate; 0: no limit */
	int64_t busy_until[2];
	unsigned queued[2];
	uint64_t seed;
	wire_hook hook;
	void *hook_arg;
	uint64_t frames[2], dropped[2];
	unsigned in_flight;
};

/* Two stacks, 10.0.0.1 and 10.0.0.2 (fd00::1, fd00::2), joined by the wire; loopback up. */
void world_init(struct world *w, uint64_t seed, unsigned mtu, unsigned features);
/* Takes all down and checks that nothing leaked. */
void world_fini(struct world *w);
void world_run(struct world *w, int64_t ns);
static inline int64_t world_now(struct world *w)
{
	return net_vclock_now(w->clock);
}
uint64_t world_random(struct world *w);

/* Addresses by side: 4: 10.0.0.N, 6: fd00::N. Side -1: loopback; -2: any. */
socklen_t world_addr(int family, int side, uint16_t port, struct sockaddr_storage *out);
struct net_ep *world_tcp(struct world *w, int side, int family);
struct net_ep *world_listen(struct world *w, int side, int family, uint16_t port, int backlog);
/* Connects side 0 to a listener on side 1; returns both ends, established. */
void world_connect(struct world *w, int family, uint16_t port, struct net_ep **client,
		   struct net_ep **server);
/* A UDP endpoint, bound to port unless that is 0. */
struct net_ep *world_udp(struct world *w, int side, int family, uint16_t port);
ssize_t ep_send(struct net_ep *ep, const void *p, size_t n);
/* To the address of a side, as world_addr counts them. */
ssize_t ep_send_to(struct net_ep *ep, int family, int side, uint16_t port, const void *p, size_t n);
ssize_t ep_recv(struct net_ep *ep, void *p, size_t n);
int ep_option(struct net_ep *ep, int level, int name, int v);
int ep_get_option(struct net_ep *ep, int level, int name);
/* Moves n bytes of a checked pattern from one to the other; returns the virtual time it took. */
int64_t world_transfer(struct world *w, struct net_ep *from, struct net_ep *to, size_t n);
uint64_t stack_counter(struct netstack *s, const char *name);
void stack_sysctl(struct netstack *s, const char *name, long v);

#endif
