/*
 * Questions to resolvers. Where rules are to keep a guest from talking to anybody but those that it
 * may, a question for a name of its own making would be the way out: so only such leave that the
 * rules are about, and others are answered here.
 */
#include <netinet/udp.h>

#include "netstack/buffer/checksum.h"
#include "netstack/policy/policy_internal.h"

int question_check(struct netstack *s, const struct in6_addr *server, uint32_t client,
		   const uint8_t *message, size_t n)
{
	struct target t = {
		.protocol = IPPROTO_UDP, .has_ports = true, .port = DNS_PORT, .addr = *server};
	struct egress *e = s->egress;
	struct dns_question q = {0};
	struct verdict v, by_address;
	bool is_question;

	mutex_lock(&e->lock);
	is_question = dns_parse_question(message, n, &q);
	policy_decide(s, &t, &by_address);
	policy_decide_name(e, q.name, &v);
	/* A rule that lets everything through to the server, and none about the name. */
	if (!is_question || v.rule < 0)
		v.allow = by_address.allow;
	if (by_address.reason == NET_EGRESS_METADATA)
		v.allow = false;
	if (v.allow && is_question)
		name_ask(s, server, client, &q);
	mutex_unlock(&e->lock);
	if (v.allow)
		return 0;
	policy_refuse(s, &t, &v, q.name);
	return -EPERM;
}

int net_egress_question(struct netstack *s, const struct in6_addr *server, uint32_t client,
			const void *message, size_t n)
{
	NET_CONTEXT();
	return question_check(s, server, client, message, n);
}

void net_egress_answer(struct netstack *s, const struct in6_addr *server, uint32_t client,
		       const void *message, size_t n)
{
	MUTEX_GUARD(&s->egress->lock);

	name_answer(s, server, client, message, n);
}

size_t net_egress_refuse(const void *question, size_t n, void *answer, size_t room)
{
	return dns_refuse(question, n, answer, room);
}
