/* Messages of DNS (RFC 1035), as far as names and addresses go. What is read is hostile. */
#ifndef MOAT_NETSTACK_POLICY_DNS_INTERNAL_H
#define MOAT_NETSTACK_POLICY_DNS_INTERNAL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_PORT 53
#define DNS_NAME_SIZE 256
#define DNS_ADDRESSES_MAX 64 /* of one answer that are looked at */
#define DNS_HEADER 12

struct dns_question {
	uint16_t id, type, class;
	bool edns;		  /* an OPT record follows */
	size_t end;		  /* of the question section, from the message's begin */
	char name[DNS_NAME_SIZE]; /* lower case, no final dot; the root is "" */
};

/*
 * A message with one question of class IN that is nothing but a question. False: it is something
 * else, or malformed, or has a name with bytes that host names do not have.
 */
bool dns_parse_question(const uint8_t *message, size_t n, struct dns_question *q);

struct dns_address {
	struct in6_addr addr; /* IPv4 as ::ffff:a.b.c.d */
	uint32_t ttl;	      /* the least on the way to it, seconds */
};
/*
 * The addresses that an answer gives for its own question, which *q gets: those of its name and of
 * what CNAME records lead to from there, in order, and of nothing else that the message says. Their
 * number, at most max; -1: it is no answer, or malformed.
 */
int dns_parse_answer(const uint8_t *message, size_t n, struct dns_question *q,
		     struct dns_address *addresses, int max);

/* See net_egress_refuse(). */
size_t dns_refuse(const uint8_t *question, size_t n, uint8_t *answer, size_t room);

#endif
