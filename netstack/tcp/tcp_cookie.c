/* SYN cookies (RFC 4987 §3.6): a handshake without state. MSS in the cookie, the rest in the
 * timestamp's low six bits, as Linux does. */
#include "netstack/core/hash.h"
#include "netstack/tcp/tcp_internal.h"

#define COOKIE_BITS 24
#define COOKIE_MASK ((1u << COOKIE_BITS) - 1)
#define MAX_AGE 2 /* minutes */
#define TS_BITS 6
#define TS_MASK ((1u << TS_BITS) - 1)

static const uint16_t mss_table[] = {536, 1220, 1440, 1460, 4312, 8960};

static uint32_t hash(struct netstack *s, const struct tuple *t, uint32_t count, uint32_t which)
{
	struct {
		struct in6_addr l, r;
		uint16_t p[2];
		uint32_t count, which;
	} k = {t->laddr, t->raddr, {t->lport, t->rport}, count, which};

	return siphash(s->cookie_key, &k, sizeof(k));
}

static uint32_t minute(struct netstack *s)
{
	return net_now(s) / (60 * NSEC_PER_SEC);
}

uint32_t tcp_cookie_make(struct netstack *s, const struct tuple *t, uint32_t irs, uint16_t *mss)
{
	uint32_t count = minute(s), i = ARRAY_SIZE(mss_table) - 1;

	while (i && mss_table[i] > *mss)
		i--;
	*mss = mss_table[i];
	return hash(s, t, 0, 0) + irs + (count << COOKIE_BITS) +
	       ((hash(s, t, count, 1) + i) & COOKIE_MASK);
}

bool tcp_cookie_check(struct netstack *s, const struct tuple *t, uint32_t irs, uint32_t iss,
		      uint16_t *mss)
{
	uint32_t c = iss - hash(s, t, 0, 0) - irs, now = minute(s), age, i;

	age = (now - (c >> COOKIE_BITS)) & (UINT32_MAX >> COOKIE_BITS);
	if (age >= MAX_AGE)
		return false;
	i = (c - hash(s, t, now - age, 1)) & COOKIE_MASK;
	if (i >= ARRAY_SIZE(mss_table))
		return false;
	*mss = mss_table[i];
	return true;
}

uint32_t tcp_cookie_ts(struct netstack *s, uint32_t offset, bool sack, bool ecn, int wscale)
{
	uint32_t ts = tcp_ts_now(s) + offset, v;

	v = (ts & ~TS_MASK) | (wscale < 0 ? 15 : (uint32_t)wscale) | (sack ? 16 : 0) |
	    (ecn ? 32 : 0);
	return (int32_t)(v - ts) > 0 ? v - (TS_MASK + 1) : v;
}
