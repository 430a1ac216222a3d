/* Randomness, rate limits, packet memory of a stack. */
#include "netstack/core/core.h"

uint32_t net_random32(struct netstack *s)
{
	uint32_t v;

	net_random(s, &v, sizeof(v));
	return v;
}

uint32_t net_random_below(struct netstack *s, uint32_t n)
{
	return n ? (uint64_t)net_random32(s) * n >> 32 : 0;
}

bool rate_limit_ok(struct netstack *s, struct rate_limit *r, unsigned per_second, unsigned burst)
{
	int64_t now = net_now(s), cost, max;

	if (!per_second)
		return false;
	cost = NSEC_PER_SEC / per_second;
	max = cost * MAX(burst, 1u);
	MUTEX_GUARD(&r->lock);
	if (!r->last)
		r->tokens = max;
	else
		r->tokens = MIN(max, r->tokens + (now - r->last));
	r->last = now;
	if (r->tokens < cost)
		return false;
	r->tokens -= cost;
	return true;
}

size_t netstack_memory(struct netstack *s, size_t *peak)
{
	return npool_used(s->pool, peak);
}

struct nbuf *nbuf_alloc_stack(struct netstack *s, size_t headroom, size_t size)
{
	return nbuf_alloc(s->pool, headroom, size);
}
