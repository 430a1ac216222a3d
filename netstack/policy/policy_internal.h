/*
 * Inside of the policy room. egress->lock guards everything but the atomics; it is a leaf: nothing
 * but the embedder's alloc and free is called with it held.
 */
#ifndef MOAT_NETSTACK_POLICY_POLICY_INTERNAL_H
#define MOAT_NETSTACK_POLICY_POLICY_INTERNAL_H

#include "netstack/policy/dns_internal.h"
#include "netstack/policy/policy.h"

#define FLOW_WAYS 8
#define FLOW_SETS 1024
#define FRAGMENTED_MAX 64
#define QUESTIONS_MAX 256
#define NAMES_MAX 4096
#define NAME_BUCKETS 256

/* A connection, or an exchange of datagrams, that passes without rules being asked. */
struct flow {
	struct net_egress_flow key;
	bool used;
	bool inbound;	 /* begun from outside */
	unsigned policy; /* the policy that has let it through */
	int64_t last;	 /* when it was used, by the side that began it */
	char *name;	 /* owned: which name opened it; NULL: none */
};

/* A datagram of which the first fragment was let through: the others may follow. */
struct fragmented {
	struct in6_addr src, dst;
	uint32_t id;
	uint8_t protocol;
	int64_t until;
};

/* A question under way. */
struct asked {
	bool used;
	struct in6_addr server;
	uint32_t client; /* its port, or what an embedder calls it */
	uint16_t id, type;
	int64_t until;
	char name[DNS_NAME_SIZE];
};

/* An address that a name has been resolved to. */
struct opened {
	LIST_ENTRY(opened) bucket;
	TAILQ_ENTRY(opened) age; /* the oldest first */
	struct in6_addr addr;
	int64_t until;
	char name[];
};
LIST_HEAD(opened_list, opened);
TAILQ_HEAD(opened_queue, opened);

struct egress {
	struct mutex lock;
	/* Nothing is refused but metadata services: read without the lock. */
	atomic_bool plain;
	atomic_bool metadata_open;
	struct net_egress_config config;
	unsigned policy;    /* counts the policies */
	struct flow *flows; /* FLOW_SETS * FLOW_WAYS; NULL: no memory */
	struct fragmented fragmented[FRAGMENTED_MAX];
	struct asked *asked; /* QUESTIONS_MAX */
	struct opened_list names[NAME_BUCKETS];
	struct opened_queue names_by_age;
	unsigned nnames;
	uint64_t questions;
	void (*refused)(void *ctx, const struct net_egress_refusal *r);
	void *refused_ctx;
	struct rate_limit reports;
	atomic_ullong nrefused, missed;
};

/* What of a packet the rules are about. */
struct target {
	uint8_t protocol;
	bool has_ports;
	uint16_t port;
	struct in6_addr addr;
	const char *name; /* that its flow was opened by; NULL */
};

/* Why something is refused. */
struct verdict {
	bool allow;
	enum net_egress_reason reason;
	int rule;
	const char *name; /* allowed: which name has opened the address; NULL: no name */
};

/* policy.c */
/* By the rules; under the lock. The name is the table's. */
void policy_decide(struct netstack *s, const struct target *t, struct verdict *v);
/* A question for the name: allowed or denied by a rule about names? Under the lock. */
void policy_decide_name(struct egress *e, const char *name, struct verdict *v);
bool policy_is_resolver(const struct egress *e, const struct in6_addr *addr);
bool policy_metadata(const struct target *t);
/* Counts and reports what was refused; without the lock. name: NULL: looked up. */
void policy_refuse(struct netstack *s, const struct target *t, const struct verdict *v,
		   const char *name);

/* flow.c: under the lock. */
struct flow *flow_find(struct netstack *s, const struct net_egress_flow *key);
/* Makes it, or renews it. name: copied; NULL: none. */
void flow_put(struct netstack *s, const struct net_egress_flow *key, bool inbound,
	      const char *name);
void flow_remove(struct netstack *s, struct flow *f);
void flow_remove_all(struct netstack *s);
void fragmented_put(struct netstack *s, const struct fragmented *key);
bool fragmented_find(struct netstack *s, const struct fragmented *key);

/* names.c: under the lock. */
void name_ask(struct netstack *s, const struct in6_addr *server, uint32_t client,
	      const struct dns_question *q);
void name_answer(struct netstack *s, const struct in6_addr *server, uint32_t client,
		 const uint8_t *message, size_t n);
/* The next open name of the address, after `last` (NULL: the first). NULL: there is none. */
struct opened *name_next(struct netstack *s, const struct in6_addr *addr, struct opened *last);
void name_close_all(struct netstack *s);

/* question.c: a datagram to port 53 of a resolver: 0 or -EPERM, reported. Without the lock. */
int question_check(struct netstack *s, const struct in6_addr *server, uint32_t client,
		   const uint8_t *message, size_t n);

#endif
