/*
 * Hierarchical timer wheel: 4 levels of 256 slots, 1 ms per slot on the first. Timers beyond the
 * last level wait in its last slot and are sorted in again. Firing happens with no lock held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/lock.h"
#include "netstack/netstack.h"

#define LEVELS 4
#define SLOT_BITS 8
#define SLOTS (1 << SLOT_BITS)
#define TICK_NS 1000000LL

TAILQ_HEAD(timer_list, net_timer);

struct net_wheel {
	struct mutex lock;
	int64_t tick; /* the last one that was run */
	int64_t next; /* what net_wheel_next said */
	unsigned count;
	void (*wake)(void *arg);
	void *arg;
	uint64_t used[LEVELS][SLOTS / 64]; /* bitmap of non-empty slots */
	struct timer_list slots[LEVELS][SLOTS];
};

static int64_t wheel_now(void *ctx)
{
	return monotonic_ns();
}

static int64_t wheel_wall(void *ctx)
{
	return clock_ns(CLOCK_REALTIME);
}

static void wheel_random(void *ctx, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0)
			continue;
		p += n;
		len -= n;
	}
}

static void *wheel_alloc(void *ctx, size_t size)
{
	return malloc(size);
}

static void wheel_free(void *ctx, void *p)
{
	free(p);
}

/* Puts t into the slot for its expiry. Called with the lock held. */
static void place(struct net_wheel *w, struct net_timer *t)
{
	int64_t tick = (t->expires + TICK_NS - 1) / TICK_NS;
	int64_t delta;
	int level = 0, slot;

	if (tick <= w->tick)
		tick = w->tick + 1;
	delta = tick - w->tick;
	while (level < LEVELS - 1 && delta >= (int64_t)1 << (SLOT_BITS * (level + 1)))
		level++;
	if (delta >= (int64_t)1 << (SLOT_BITS * LEVELS))
		tick = w->tick + ((int64_t)1 << (SLOT_BITS * LEVELS)) - 1;
	slot = (tick >> (SLOT_BITS * level)) & (SLOTS - 1);
	t->slot = level * SLOTS + slot;
	TAILQ_INSERT_TAIL(&w->slots[level][slot], t, link);
	w->used[level][slot / 64] |= 1ULL << (slot % 64);
}

static void unlink_timer(struct net_wheel *w, struct net_timer *t)
{
	int level = t->slot / SLOTS, slot = t->slot % SLOTS;

	TAILQ_REMOVE(&w->slots[level][slot], t, link);
	if (TAILQ_EMPTY(&w->slots[level][slot]))
		w->used[level][slot / 64] &= ~(1ULL << (slot % 64));
}

static void wheel_arm(void *ctx, struct net_timer *t, int64_t expires)
{
	struct net_wheel *w = ctx;
	MUTEX_GUARD(&w->lock);

	if (t->armed) {
		unlink_timer(w, t);
		w->count--;
	} else if (!w->count) {
		/* An idle wheel need not be turned through the time that has passed. */
		w->tick = MAX(w->tick, monotonic_ns() / TICK_NS - 1);
	}
	t->armed = true;
	t->expires = expires;
	place(w, t);
	w->count++;
	if (expires < w->next) {
		w->next = expires;
		if (w->wake)
			w->wake(w->arg);
	}
}

static bool wheel_cancel(void *ctx, struct net_timer *t)
{
	struct net_wheel *w = ctx;
	MUTEX_GUARD(&w->lock);

	if (!t->armed)
		return false;
	unlink_timer(w, t);
	t->armed = false;
	w->count--;
	return true;
}

int net_wheel_create(struct net_env *env, void (*wake)(void *arg), void *arg,
		     struct net_wheel **out)
{
	struct net_wheel *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	mutex_init(&w->lock);
	w->tick = monotonic_ns() / TICK_NS;
	w->next = INT64_MAX;
	w->wake = wake;
	w->arg = arg;
	for (int l = 0; l < LEVELS; l++)
		for (int s = 0; s < SLOTS; s++)
			TAILQ_INIT(&w->slots[l][s]);
	*env = (struct net_env){.ctx = w,
				.now = wheel_now,
				.wall = wheel_wall,
				.arm = wheel_arm,
				.cancel = wheel_cancel,
				.random = wheel_random,
				.alloc = wheel_alloc,
				.free = wheel_free};
	*out = w;
	return 0;
}

void net_wheel_destroy(struct net_wheel *w)
{
	mutex_destroy(&w->lock);
	free(w);
}

/* Sorts the timers of one higher slot into the levels below. */
static void cascade(struct net_wheel *w, int level, int slot)
{
	struct timer_list list = TAILQ_HEAD_INITIALIZER(list);
	struct net_timer *t;

	TAILQ_CONCAT(&list, &w->slots[level][slot], link);
	w->used[level][slot / 64] &= ~(1ULL << (slot % 64));
	/* place() puts what is due at this very tick into the next; step back so that it is not. */
	w->tick--;
	while ((t = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, t, link);
		place(w, t);
	}
	w->tick++;
}

static int fire_slot(struct net_wheel *w, int slot)
{
	struct net_timer *t;
	int n = 0;

	while ((t = TAILQ_FIRST(&w->slots[0][slot]))) {
		unlink_timer(w, t);
		t->armed = false;
		w->count--;
		n++;
		mutex_unlock(&w->lock);
		t->fn(t);
		mutex_lock(&w->lock);
	}
	return n;
}

/* The next slot in use at this level after position `from`, as a distance 1..256, or 0. */
static int next_used(const uint64_t *map, int from)
{
	for (int d = 1; d <= SLOTS; d++) {
		int s = (from + d) & (SLOTS - 1);

		if (!(s & 63) && !map[s / 64] && d + 63 <= SLOTS) {
			d += 63;
			continue;
		}
		if (map[s / 64] & (1ULL << (s % 64)))
			return d;
	}
	return 0;
}

static int64_t next_tick(struct net_wheel *w)
{
	int64_t best = INT64_MAX;

	if (!w->count)
		return best;
	for (int l = 0; l < LEVELS; l++) {
		int64_t pos = w->tick >> (SLOT_BITS * l);
		int d = next_used(w->used[l], pos & (SLOTS - 1));

		if (d)
			best = MIN(best, (pos + d) << (SLOT_BITS * l));
	}
	return best;
}

int net_wheel_run(struct net_wheel *w)
{
	int64_t until = monotonic_ns() / TICK_NS;
	int n = 0;
	MUTEX_GUARD(&w->lock);

	while (w->tick < until) {
		int64_t t = next_tick(w);

		if (t > until) {
			w->tick = until;
			break;
		}
		w->tick = t;
		for (int l = LEVELS - 1; l > 0; l--)
			if (!(w->tick & (((int64_t)1 << (SLOT_BITS * l)) - 1)))
				cascade(w, l, (w->tick >> (SLOT_BITS * l)) & (SLOTS - 1));
		n += fire_slot(w, w->tick & (SLOTS - 1));
	}
	return n;
}

int64_t net_wheel_next(struct net_wheel *w)
{
	int64_t t;
	MUTEX_GUARD(&w->lock);

	t = next_tick(w);
	w->next = t == INT64_MAX ? t : t * TICK_NS;
	return w->next;
}
