/* Virtual clock: a binary heap of timers, and a time that moves only when told to. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "netstack/netstack.h"

#define START_NS (1000 * NSEC_PER_SEC)
#define WALL_NS (1700000000LL * NSEC_PER_SEC)

struct net_vclock {
	struct mutex lock;
	int64_t now;
	uint64_t seed;
	uint64_t order; /* timers of the same time fire in the order of arming */
	struct net_timer **heap;
	size_t count, room;
};

static void heap_set(struct net_vclock *v, size_t i, struct net_timer *t)
{
	v->heap[i] = t;
	t->heap_index = i;
}

static bool before(const struct net_timer *a, const struct net_timer *b)
{
	return a->expires < b->expires || (a->expires == b->expires && a->order < b->order);
}

static void sift_up(struct net_vclock *v, size_t i)
{
	struct net_timer *t = v->heap[i];

	while (i && before(t, v->heap[(i - 1) / 2])) {
		heap_set(v, i, v->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_set(v, i, t);
}

static void sift_down(struct net_vclock *v, size_t i)
{
	struct net_timer *t = v->heap[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= v->count)
			break;
		if (c + 1 < v->count && before(v->heap[c + 1], v->heap[c]))
			c++;
		if (!before(v->heap[c], t))
			break;
		heap_set(v, i, v->heap[c]);
		i = c;
	}
	heap_set(v, i, t);
}

static void heap_remove(struct net_vclock *v, struct net_timer *t)
{
	size_t i = t->heap_index;
	struct net_timer *last = v->heap[--v->count];

	t->armed = false;
	if (last == t)
		return;
	heap_set(v, i, last);
	sift_up(v, i);
	sift_down(v, last->heap_index);
}

static void vclock_arm(void *ctx, struct net_timer *t, int64_t expires)
{
	struct net_vclock *v = ctx;
	MUTEX_GUARD(&v->lock);

	if (t->armed)
		heap_remove(v, t);
	if (v->count == v->room) {
		size_t room = v->room ? v->room * 2 : 64;
		struct net_timer **h = realloc(v->heap, room * sizeof(*h));

		if (!h)
			panic("virtual clock: no memory");
		v->heap = h;
		v->room = room;
	}
	t->expires = expires;
	t->order = v->order++;
	t->armed = true;
	v->heap[v->count] = t;
	t->heap_index = v->count++;
	sift_up(v, t->heap_index);
}

static bool vclock_cancel(void *ctx, struct net_timer *t)
{
	struct net_vclock *v = ctx;
	MUTEX_GUARD(&v->lock);

	if (!t->armed)
		return false;
	heap_remove(v, t);
	return true;
}

static int64_t vclock_now(void *ctx)
{
	struct net_vclock *v = ctx;

	return __atomic_load_n(&v->now, __ATOMIC_RELAXED);
}

static int64_t vclock_wall(void *ctx)
{
	return WALL_NS + vclock_now(ctx);
}

/* splitmix64: good enough to be repeatable, not to be secret. */
static void vclock_random(void *ctx, void *buf, size_t len)
{
	struct net_vclock *v = ctx;
	uint8_t *p = buf;

	while (len) {
		uint64_t z = __atomic_add_fetch(&v->seed, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);
		size_t n = MIN(len, sizeof(z));

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
		z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
		z ^= z >> 31;
		memcpy(p, &z, n);
		p += n;
		len -= n;
	}
}

static void *vclock_alloc(void *ctx, size_t size)
{
	return malloc(size);
}

static void vclock_free(void *ctx, void *p)
{
	free(p);
}

int net_vclock_create(struct net_env *env, uint64_t seed, struct net_vclock **out)
{
	struct net_vclock *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	mutex_init(&v->lock);
	v->now = START_NS;
	v->seed = seed;
	*env = (struct net_env){.ctx = v,
				.now = vclock_now,
				.wall = vclock_wall,
				.arm = vclock_arm,
				.cancel = vclock_cancel,
				.random = vclock_random,
				.alloc = vclock_alloc,
				.free = vclock_free};
	*out = v;
	return 0;
}

void net_vclock_destroy(struct net_vclock *v)
{
	mutex_destroy(&v->lock);
	free(v->heap);
	free(v);
}

int64_t net_vclock_now(struct net_vclock *v)
{
	return vclock_now(v);
}

int64_t net_vclock_next(struct net_vclock *v)
{
	MUTEX_GUARD(&v->lock);

	return v->count ? v->heap[0]->expires : INT64_MAX;
}

void net_vclock_run(struct net_vclock *v, int64_t until)
{
	mutex_lock(&v->lock);
	while (v->count && v->heap[0]->expires <= until) {
		struct net_timer *t = v->heap[0];

		heap_remove(v, t);
		v->now = MAX(v->now, t->expires);
		mutex_unlock(&v->lock);
		t->fn(t);
		mutex_lock(&v->lock);
	}
	v->now = MAX(v->now, until);
	mutex_unlock(&v->lock);
}
