/*
 * The egress policy of a stack: what may leave it by links that lead out (those of file descriptors
 * and of the embedder). Nothing else in the stack is bound by it: loopback, veth pairs and bridges
 * are inside.
 *
 * Rules are looked at in order; the first that is about the packet decides, and what no rule is
 * about is up to net_egress_config.allow. A rule by name opens the addresses that a resolver of the
 * configuration has given for it, in an answer to a question which this stack really asked, for the
 * answer's time to live. Packets of a connection that was let through, or that came from outside,
 * go on to pass. The addresses of cloud providers' metadata services are closed before any rule is
 * looked at. A new stack allows everything but those.
 */
#ifndef MOAT_NETSTACK_EGRESS_H
#define MOAT_NETSTACK_EGRESS_H

#include "netstack/netstack.h"

#define NET_EGRESS_RULES_MAX 1024
#define NET_EGRESS_PORTS_MAX 16
#define NET_EGRESS_RESOLVERS_MAX 16
#define NET_EGRESS_NAME_SIZE 256 /* a name of DNS in text, with its final 0 */

struct net_port_range {
	uint16_t first, last;
};

struct net_egress_rule {
	bool allow;
	/* Lower case, without a final dot; "*.example.org" is what is below example.org; "": the
	 * rule is about addresses. One that denies refuses questions for the name. */
	char name[NET_EGRESS_NAME_SIZE];
	int family;	      /* AF_INET, AF_INET6; 0: any address, and with a name */
	struct in6_addr addr; /* IPv4 as ::ffff:a.b.c.d */
	uint8_t prefix;	      /* bits of the family's address */
	uint8_t protocol;     /* IPPROTO_*; 0: any. IPPROTO_ICMP is ICMPv6's, too */
	uint8_t nports;	      /* 0: any; otherwise it is about TCP, UDP and their kind only */
	struct net_port_range ports[NET_EGRESS_PORTS_MAX];
};

struct net_egress_config {
	bool allow;	     /* what no rule is about */
	bool allow_metadata; /* rules decide about metadata services, too */
	unsigned nrules, nresolvers;
	struct net_egress_rule *rules;
	struct in6_addr *resolvers; /* IPv4 as ::ffff:a.b.c.d */
};

/* Is the text a name that a rule can have? */
bool net_egress_name_valid(const char *name);

/*
 * Puts the policy in the place of the one before, at once; copies it. Connections that it refuses
 * end with ECONNABORTED. -EINVAL (a rule that makes no sense, too many), -ENOMEM: nothing changes.
 */
int net_egress_set(struct netstack *s, const struct net_egress_config *c);
/* A copy of the policy, to be freed by net_egress_free(). -ENOMEM. */
int net_egress_get(struct netstack *s, struct net_egress_config *c);
void net_egress_free(struct net_egress_config *c);

enum net_egress_reason {
	NET_EGRESS_DEFAULT,   /* no rule is about it */
	NET_EGRESS_RULE,      /* a rule denies it */
	NET_EGRESS_METADATA,  /* a metadata service */
	NET_EGRESS_NAME,      /* a question for a name that no rule allows */
	NET_EGRESS_MALFORMED, /* packets that rules cannot be applied to */
};

/* Something that was refused. */
struct net_egress_refusal {
	enum net_egress_reason reason;
	int rule;	      /* its index with NET_EGRESS_RULE, and NET_EGRESS_NAME or -1 */
	uint8_t protocol;     /* IPPROTO_*; 0: it is not IP */
	uint16_t port;	      /* 0: there is none */
	struct in6_addr addr; /* IPv4 as ::ffff:a.b.c.d */
	/* What was asked for, or what the address is the answer to; printable; "": not known. */
	char name[NET_EGRESS_NAME_SIZE];
	uint64_t missed; /* refusals before this one that were too many to report */
};

/* Has refusals reported, as configuration events are: on the thread that caused them, with no lock
 * held. Set before links are added. */
void net_egress_report(struct netstack *s,
		       void (*refused)(void *ctx, const struct net_egress_refusal *r), void *ctx);

struct net_egress_stats {
	uint64_t refused;   /* packets and calls */
	uint64_t questions; /* names that were asked for and let through */
	unsigned names;	    /* pairs of name and address that are open now */
};
void net_egress_stats(struct netstack *s, struct net_egress_stats *out);
/* What names are open for, as long as fn returns 0; fn may not call into the stack. */
int net_egress_each_name(struct netstack *s,
			 int (*fn)(void *arg, const char *name, const struct in6_addr *addr,
				   unsigned seconds),
			 void *arg);

/*
 * For an embedder that brings questions to a resolver by another way than links. server: the
 * address under which the stack knows it; client: whom an answer is for. Question: 0, or -EPERM.
 * Answer: looked at as one that came in by a link.
 */
int net_egress_question(struct netstack *s, const struct in6_addr *server, uint32_t client,
			const void *message, size_t n);
void net_egress_answer(struct netstack *s, const struct in6_addr *server, uint32_t client,
		       const void *message, size_t n);
/* The answer to a question that was refused: there is no such name (RFC 8914: Blocked). Its length,
 * 0 if the question cannot be answered or room is too small. */
size_t net_egress_refuse(const void *question, size_t n, void *answer, size_t room);

/*
 * For an embedder whose sockets are not the stack's. A flow of TCP or UDP that it is about to
 * begin, or to go on with: 0, or -EPERM, which has been reported.
 */
struct net_egress_flow {
	uint8_t protocol;      /* IPPROTO_* */
	uint16_t lport, rport; /* lport: or what else tells the socket from others */
	struct in6_addr raddr; /* IPv4 as ::ffff:a.b.c.d */
};
int net_egress_may_send(struct netstack *s, const struct net_egress_flow *f);
/* A datagram of that flow has come: it may be answered. */
void net_egress_received(struct netstack *s, const struct net_egress_flow *f);
/* Is it one of the resolvers of the policy? */
bool net_egress_is_resolver(struct netstack *s, const struct in6_addr *addr);

#endif
