/*
 * Inside of the multicast room: a link's groups, and the reports that tell routers: IGMPv1 to v3
 * (RFC 1112, 2236, 3376), MLDv1 and v2 (RFC 2710, 3810).
 */
#ifndef MOAT_NETSTACK_MCAST_MCAST_INTERNAL_H
#define MOAT_NETSTACK_MCAST_MCAST_INTERNAL_H

#include "netstack/link/link.h"
#include "netstack/mcast/mcast.h"

/* One listener's wish: the sources listed (include), or all but these. */
struct mcast_filter {
	LIST_ENTRY(mcast_filter) next; /* mcast_group.filters */
	bool include;
	unsigned n;
	struct in6_addr sources[];
};

/* What a link as a whole listens to: RFC 3376 §3.2. Include without sources: nothing. */
struct mcast_state {
	bool include;
	unsigned n;
	struct in6_addr sources[MCAST_SOURCES_MAX];
};

enum mcast_record_type {
	MCAST_IS_INCLUDE = 1,
	MCAST_IS_EXCLUDE,
	MCAST_TO_INCLUDE,
	MCAST_TO_EXCLUDE,
	MCAST_ALLOW,
	MCAST_BLOCK
};

/* A group record of a report. */
struct mcast_record {
	enum mcast_record_type type;
	unsigned n;
	struct in6_addr sources[];
};

struct mcast_group {
	LIST_ENTRY(mcast_group) next; /* net_link.groups */
	struct refcount refs;	      /* the list, an armed timer */
	struct net_link *link;	      /* counted */
	struct in6_addr addr;
	unsigned users; /* that want all sources */
	LIST_HEAD(, mcast_filter) filters;
	struct net_timer timer;		 /* the next report */
	int64_t timer_at;		 /* INT64_MAX: idle */
	struct mcast_record *changes[2]; /* to be told changes_left times */
	unsigned changes_left;
	bool joined_or_left; /* the change is of the membership, not of sources only */
	bool answer;	     /* to a query */
	bool last_reporter;  /* nobody else has reported since we have: older versions */
	bool gone;
};

/* Old versions of the protocols, and until when a link's queriers make us speak them. */
enum mcast_old { OLD_IGMP1, OLD_IGMP2, OLD_MLD1, OLD_COUNT };
struct igmp_state {
	int64_t until[OLD_COUNT]; /* under config_lock */
};

/*
 * A query about `group` (any: about all) and n sources of it (none: about all), as they were on the
 * wire: answer within max_delay.
 */
void mcast_answer(struct net_link *l, const struct in6_addr *group, bool v4, int64_t max_delay,
		  const uint8_t *sources, unsigned n);
/* Somebody else has reported the group in an older version, which saves us from doing so. */
void mcast_heard_report(struct net_link *l, const struct in6_addr *group);

/* mcast_state.c. config_lock held. */
void mcast_state_of(const struct mcast_group *g, struct mcast_state *st);
static inline bool mcast_listens(const struct mcast_state *st)
{
	return !st->include || st->n;
}
/*
 * The records that tell the step from one state to the next (RFC 3376 §5.1), NULL for those not
 * needed. For the caller to free. Without memory there is less to tell.
 */
void mcast_changes(struct netstack *s, const struct mcast_state *before,
		   const struct mcast_state *after, struct mcast_record *out[2]);
/* Do the sources queried (big endian, 4 or 16 bytes each) matter to us? */
bool mcast_state_wants(const struct mcast_state *st, bool v4, const uint8_t *sources, unsigned n);

/* mcast_report.c. The version that the link's queriers ask for, config_lock held. */
enum mcast_version { MCAST_V1, MCAST_V2, MCAST_CURRENT }; /* MLDv1 is V2, MLDv2 current */
enum mcast_version mcast_version(const struct net_link *l, bool v4);
/* Sends one record, or an older version's report or leave. No lock held. */
void mcast_send_record(struct net_link *l, const struct in6_addr *group,
		       enum mcast_record_type type, const struct in6_addr *sources, unsigned n);
void mcast_send_old(struct net_link *l, const struct in6_addr *group, enum mcast_version v,
		    bool leave);

#endif
