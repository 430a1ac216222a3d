/* What routers and other hosts say of groups: IGMP (RFC 3376 §7), MLD (RFC 3810 §8). */
#include "netstack/icmp/icmp_upcalls.h"
#include "netstack/ip/ip.h"
#include "netstack/ip/ip_upcalls.h"
#include "netstack/mcast/mcast_internal.h"

/* RFC 3376 §8.12: the robustness variable times the query interval, and a response interval. */
#define OLD_QUERIER_NS ((2 * 125 + 10) * NSEC_PER_SEC)

#define IGMP_QUERY 0x11
#define IGMP_V1_REPORT 0x12
#define IGMP_V2_REPORT 0x16

static void heard_old_querier(struct net_link *l, enum mcast_old version)
{
	WRITE_GUARD(&l->stack->config_lock);

	if (!l->igmp)
		l->igmp = net_alloc(l->stack, sizeof(*l->igmp));
	if (l->igmp)
		l->igmp->until[version] = net_now(l->stack) + OLD_QUERIER_NS;
}

/* RFC 3376 §4.1.1, RFC 3810 §5.1.3: times above the linear range are floating point. */
static uint32_t decode_time(uint32_t code, unsigned mant_bits)
{
	uint32_t top = 1u << (mant_bits + 3);

	if (code < top)
		return code;
	return ((code & ((1u << mant_bits) - 1)) | 1u << mant_bits)
	       << (((code >> mant_bits) & 7) + 3);
}

static void igmp_query(struct net_link *l, struct nbuf *b, const struct in6_addr *group)
{
	uint32_t tenths = b->data[1];
	unsigned n = 0;

	if (b->len == 8 && !tenths) {
		heard_old_querier(l, OLD_IGMP1);
		tenths = 100;
	} else if (b->len == 8) {
		heard_old_querier(l, OLD_IGMP2);
	} else if (b->len < 12) {
		return; /* RFC 3376 §7.1: no version's */
	} else {
		tenths = decode_time(tenths, 4);
		n = b->data[10] << 8 | b->data[11];
		if (!nbuf_linear(b, 12 + 4 * (size_t)n))
			return;
	}
	mcast_answer(l, group, true, tenths * (NSEC_PER_SEC / 10), b->data + 12, n);
}

void igmp_input(struct netstack *s, struct nbuf *b)
{
	struct in6_addr group;
	uint32_t be;

	/* RFC 2236 §2, RFC 3376 §4: TTL 1, a group as destination. */
	if (!nbuf_linear(b, MIN(b->len, (size_t)12)) || b->len < 8 || b->ttl != 1 || !b->link ||
	    b->mcast != 1 || csum_fold(nbuf_csum(b, 0, b->len, 0)) != 0) {
		nbuf_put(b);
		return;
	}
	memcpy(&be, b->data + 4, 4);
	addr_set4(&group, be);
	if (b->data[0] == IGMP_QUERY)
		igmp_query(b->link, b, &group);
	else if (b->data[0] == IGMP_V1_REPORT || b->data[0] == IGMP_V2_REPORT)
		mcast_heard_report(b->link, &group);
	nbuf_put(b);
}

/* The checksum is known to be right; the buffer stays the caller's. */
void mld_input(struct netstack *s, struct nbuf *b)
{
	struct in6_addr group;
	uint32_t ms;
	unsigned n = 0;

	if (!b->link || !nbuf_linear(b, 24) || b->ttl != 1 || !addr_linklocal6(&b->src))
		return;
	memcpy(&group, b->data + 8, 16);
	if (b->data[0] == MLD_LISTENER_REPORT) {
		mcast_heard_report(b->link, &group);
		return;
	}
	ms = b->data[4] << 8 | b->data[5];
	if (b->len == 24) {
		heard_old_querier(b->link, OLD_MLD1);
	} else if (b->len < 28 || !nbuf_linear(b, 28)) {
		return; /* RFC 3810 §8.1: no version's */
	} else {
		ms = decode_time(ms, 12);
		n = b->data[26] << 8 | b->data[27];
		if (!nbuf_linear(b, 28 + 16 * (size_t)n))
			return;
	}
	mcast_answer(b->link, &group, false, ms * NSEC_PER_MSEC, b->data + 28, n);
}
