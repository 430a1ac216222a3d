/* Packets on their way out and in, and flows that endpoints begin. */
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include "netstack/buffer/checksum.h"
#include "netstack/policy/packet_internal.h"
#include "netstack/policy/policy_internal.h"

#define ARP_MAX 64
#define MESSAGE_MAX 4096 /* of DNS that are looked at */
#define HEADROOM 64
#define ECHO_REPLY4 0
#define ECHO4 8

/* --- what belongs to the link ----------------------------------------------------------------- */

/*
 * Neighbour discovery (RFC 4861): to the link, or to a single neighbour whose address is all that
 * it says, so that it carries nothing else beyond the next router.
 */
static bool is_discovery(const struct packet *p)
{
	const uint8_t *target = p->head + p->transport + 8;
	bool to_link = IN6_IS_ADDR_MC_LINKLOCAL(&p->dst) || addr_linklocal6(&p->dst);

	if (p->ttl != 255 || p->len > 96)
		return false;
	if (p->type == ND_ROUTER_SOLICIT)
		return to_link;
	if (p->type != ND_NEIGHBOR_SOLICIT && p->type != ND_NEIGHBOR_ADVERT)
		return false;
	if (to_link)
		return true;
	if ((p->len != 24 && p->len != 32) || p->transport + 24 > p->have)
		return false;
	return !memcmp(target, p->type == ND_NEIGHBOR_SOLICIT ? &p->dst : &p->src, 16);
}

/* What keeps a link going: group reports, neighbour discovery. */
static bool is_link_control(const struct packet *p)
{
	if (p->fragment)
		return false;
	if (p->protocol == IPPROTO_IGMP)
		return addr_is4(&p->dst) && addr_multicast(&p->dst) && p->ttl == 1;
	if (p->protocol != IPPROTO_ICMPV6 || addr_is4(&p->dst))
		return false;
	if (p->type == MLD_LISTENER_REPORT || p->type == MLD_LISTENER_REDUCTION || p->type == 143)
		return p->ttl == 1 && IN6_IS_ADDR_MC_LINKLOCAL(&p->dst);
	return is_discovery(p);
}

/* --- questions -------------------------------------------------------------------------------- */

/* The message of a datagram to or from a server's port; its length, 0: none, or it is too long. */
static size_t read_message(const struct egress_frame *f, const struct packet *p, uint8_t *message)
{
	size_t n = p->len - sizeof(struct udphdr);

	if (p->len < sizeof(struct udphdr) || n > MESSAGE_MAX)
		return 0;
	nbuf_read(f->b, f->off + p->transport + sizeof(struct udphdr), message, n);
	return n;
}

/* A datagram the other way round, with its IP header. NULL: no memory, or no answer. */
static struct nbuf *make_answer(struct netstack *s, const struct packet *p, const uint8_t *question,
				size_t n)
{
	bool v4 = addr_is4(&p->dst);
	struct udphdr *uh;
	struct nbuf *b = nbuf_alloc(s->pool, HEADROOM, n + 64);
	size_t len;

	if (!b)
		return NULL;
	len = dns_refuse(question, n, b->data, n + 64);
	if (!len) {
		nbuf_put(b);
		return NULL;
	}
	nbuf_append(b, len);
	uh = nbuf_push(b, sizeof(*uh));
	*uh = (struct udphdr){.uh_sport = htons(p->dport),
			      .uh_dport = htons(p->sport),
			      .uh_ulen = htons((uint16_t)b->len)};
	if (v4) {
		struct ip *ip = nbuf_push(b, sizeof(*ip));

		*ip = (struct ip){.ip_v = 4,
				  .ip_hl = 5,
				  .ip_len = htons((uint16_t)b->len),
				  .ip_ttl = 64,
				  .ip_p = IPPROTO_UDP,
				  .ip_src.s_addr = addr_get4(&p->dst),
				  .ip_dst.s_addr = addr_get4(&p->src)};
		ip->ip_sum = csum_fold(csum_add_bytes(ip, sizeof(*ip), 0));
	} else {
		uint16_t plen = (uint16_t)b->len;
		struct ip6_hdr *ip = nbuf_push(b, sizeof(*ip));

		*ip = (struct ip6_hdr){.ip6_src = p->dst, .ip6_dst = p->src};
		ip->ip6_flow = htonl(6u << 28);
		ip->ip6_plen = htons(plen);
		ip->ip6_nxt = IPPROTO_UDP;
		ip->ip6_hlim = 64;
	}
	b->csum = NBUF_CSUM_OK;
	return b;
}

/* 1: it is no question, and the rules decide. */
static int check_question(struct netstack *s, const struct egress_frame *f, const struct packet *p,
			  struct nbuf **answer)
{
	uint8_t message[MESSAGE_MAX];
	struct egress *e = s->egress;
	bool resolver;
	size_t n;
	int err;

	if (p->protocol != IPPROTO_UDP || p->dport != DNS_PORT || p->fragment)
		return 1;
	mutex_lock(&e->lock);
	resolver = policy_is_resolver(e, &p->dst);
	mutex_unlock(&e->lock);
	/* A train of datagrams is not looked into. */
	if (!resolver || f->b->gso)
		return 1;
	n = read_message(f, p, message);
	err = question_check(s, &p->dst, p->sport, message, n);
	if (err)
		*answer = make_answer(s, p, message, n);
	return err;
}

/* --- out -------------------------------------------------------------------------------------- */

static struct net_egress_flow flow_of(const struct packet *p)
{
	struct net_egress_flow key = {
		.protocol = p->protocol, .lport = p->sport, .rport = p->dport, .raddr = p->dst};

	if (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6)
		memcpy(&key.lport, p->head + p->transport + 4, 2); /* the echo's id */
	return key;
}

static struct target target_of(const struct packet *p)
{
	return (struct target){.protocol = p->protocol,
			       .has_ports = p->has_ports,
			       .port = p->dport,
			       .addr = p->dst};
}

static bool is_new_connection(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && (p->flags & (TH_SYN | TH_ACK)) == TH_SYN;
}

static bool is_echo_reply(const struct packet *p)
{
	return addr_is4(&p->dst) ? p->protocol == IPPROTO_ICMP && p->type == ECHO_REPLY4
				 : p->protocol == IPPROTO_ICMPV6 && p->type == ICMP6_ECHO_REPLY;
}

/* What is said of a packet that nobody asked for is no attempt to reach somebody. */
static bool is_complaint(const struct packet *p)
{
	if (p->protocol == IPPROTO_TCP)
		return p->flags & TH_RST;
	if (addr_is4(&p->dst))
		return p->protocol == IPPROTO_ICMP && p->type != ECHO4;
	return p->protocol == IPPROTO_ICMPV6 && !(p->type & ICMP6_INFOMSG_MASK);
}

/* Lets it through as part of its flow, or by the rules, as the begin of one. Under the lock. */
static void decide(struct netstack *s, const struct packet *p, struct verdict *v)
{
	struct net_egress_flow key = flow_of(p);
	struct target t = target_of(p);
	struct egress *e = s->egress;
	bool flows = p->has_ports || is_echo_reply(p), metadata;
	struct flow *f = flows && !is_new_connection(p) ? flow_find(s, &key) : NULL;

	metadata = !e->config.allow_metadata && policy_metadata(&t);
	if (f && !metadata && f->inbound) {
		/* TCP's is kept by either side, others by the one outside. */
		if (p->protocol == IPPROTO_TCP)
			f->last = net_now(s);
		*v = (struct verdict){.allow = true};
		return;
	}
	if (f && !metadata && f->policy == e->policy) {
		f->last = net_now(s);
		*v = (struct verdict){.allow = true};
		return;
	}
	t.name = f ? f->name : NULL;
	policy_decide(s, &t, v);
	if (v->allow && p->has_ports)
		flow_put(s, &key, false, v->name);
	else if (!v->allow && f)
		flow_remove(s, f);
}

static int check_fragment(struct netstack *s, const struct packet *p)
{
	struct fragmented key = {
		.src = p->src, .dst = p->dst, .id = p->id, .protocol = p->protocol};
	struct egress *e = s->egress;
	bool ok;

	mutex_lock(&e->lock);
	ok = fragmented_find(s, &key);
	mutex_unlock(&e->lock);
	/* The first one has been reported. */
	if (!ok)
		atomic_fetch_add(&e->nrefused, 1);
	return ok ? 0 : -EPERM;
}

static int check_rules(struct netstack *s, const struct packet *p)
{
	struct fragmented key = {
		.src = p->src, .dst = p->dst, .id = p->id, .protocol = p->protocol};
	struct target t = target_of(p);
	struct egress *e = s->egress;
	struct verdict v;

	mutex_lock(&e->lock);
	decide(s, p, &v);
	if (v.allow && p->fragment)
		fragmented_put(s, &key);
	mutex_unlock(&e->lock);
	if (v.allow)
		return 0;
	if (is_complaint(p))
		atomic_fetch_add(&e->nrefused, 1);
	else
		policy_refuse(s, &t, &v, NULL);
	return -EPERM;
}

static int malformed(struct netstack *s, const struct packet *p)
{
	static const struct verdict v = {.reason = NET_EGRESS_MALFORMED, .rule = -1};
	struct target t = {.protocol = p ? p->protocol : 0};

	if (p)
		t.addr = p->dst;
	policy_refuse(s, &t, &v, NULL);
	return -EPERM;
}

int egress_output(struct netstack *s, const struct egress_frame *f, struct nbuf **answer,
		  uint16_t *answer_protocol)
{
	struct egress *e = s->egress;
	bool plain = atomic_load_explicit(&e->plain, memory_order_relaxed), readable;
	bool open = atomic_load_explicit(&e->metadata_open, memory_order_relaxed);
	struct packet p;
	struct target t;
	int err;

	*answer = NULL;
	*answer_protocol = f->protocol;
	if (f->protocol == ETHERTYPE_ARP && f->b->len - f->off <= ARP_MAX)
		return 0;
	if (f->protocol != ETHERTYPE_IP && f->protocol != ETHERTYPE_IPV6)
		return plain ? 0 : malformed(s, NULL);
	readable = packet_read(f, &p);
	t = target_of(&p);
	if (!readable) {
		/* Whoever has no rules sends what he likes, but not there. */
		return plain && (open || !policy_metadata(&t)) ? 0 : malformed(s, &p);
	}
	if (is_link_control(&p))
		return 0;
	if (plain) {
		if (p.dport == DNS_PORT && check_question(s, f, &p, answer) < 0)
			return -EPERM;
		return open || !policy_metadata(&t) ? 0 : check_rules(s, &p);
	}
	if (p.fragment && !p.first)
		return check_fragment(s, &p);
	err = check_question(s, f, &p, answer);
	return err <= 0 ? err : check_rules(s, &p);
}

/* --- in --------------------------------------------------------------------------------------- */

static bool checksum_ok(const struct egress_frame *f, const struct packet *p)
{
	uint32_t sum = csum_pseudo(&p->src, &p->dst, IPPROTO_UDP, (uint32_t)p->len);
	uint16_t given;

	memcpy(&given, p->head + p->transport + 6, 2);
	if (f->b->csum == NBUF_CSUM_OK || f->b->csum == NBUF_CSUM_PARTIAL)
		return true;
	if (!given)
		return addr_is4(&p->src);
	return csum_fold(nbuf_csum(f->b, f->off + p->transport, p->len, sum)) == 0;
}

/* The messages of a datagram, or of a train of them that the host has made of several. */
static void take_answers(struct netstack *s, const struct egress_frame *f, const struct packet *p)
{
	size_t at = f->off + p->transport + sizeof(struct udphdr);
	size_t end = f->off + p->transport + p->len;
	size_t step = f->b->gso == NBUF_GSO_UDP && f->b->gso_size ? f->b->gso_size : end - at;
	uint8_t message[MESSAGE_MAX];

	if (!checksum_ok(f, p))
		return;
	while (at < end) {
		size_t n = MIN(step, end - at);

		if (n <= sizeof(message)) {
			nbuf_read(f->b, at, message, n);
			mutex_lock(&s->egress->lock);
			name_answer(s, &p->src, p->dport, message, n);
			mutex_unlock(&s->egress->lock);
		}
		at += n;
	}
}

/* Somebody outside has begun it, or goes on with it: answers may leave. */
static void note_inbound(struct netstack *s, const struct packet *p)
{
	struct net_egress_flow key = {
		.protocol = p->protocol, .lport = p->dport, .rport = p->sport, .raddr = p->src};
	struct flow *f;
	MUTEX_GUARD(&s->egress->lock);

	if (!p->has_ports)
		memcpy(&key.lport, p->head + p->transport + 4, 2);
	f = flow_find(s, &key);
	if (!f)
		flow_put(s, &key, true, NULL);
	else if (f->inbound)
		f->last = net_now(s);
}

void egress_input(struct netstack *s, const struct egress_frame *f)
{
	struct egress *e = s->egress;
	bool plain = atomic_load_explicit(&e->plain, memory_order_relaxed), resolver;
	struct packet p;

	if (!packet_read(f, &p) || (p.fragment && !p.first) || addr_multicast(&p.src))
		return;
	switch (p.protocol) {
	case IPPROTO_TCP:
		/* Also while no rule asks for it: a stricter policy may come. */
		if (is_new_connection(&p))
			note_inbound(s, &p);
		return;
	case IPPROTO_UDP:
		if (p.sport == DNS_PORT) {
			mutex_lock(&e->lock);
			resolver = policy_is_resolver(e, &p.src);
			mutex_unlock(&e->lock);
			if (resolver) {
				if (!p.fragment)
					take_answers(s, f, &p);
				return;
			}
		}
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (p.type != (addr_is4(&p.src) ? ECHO4 : ICMP6_ECHO_REQUEST))
			return;
		break;
	default:
		if (!p.has_ports)
			return;
	}
	if (!plain)
		note_inbound(s, &p);
}

/* --- endpoints -------------------------------------------------------------------------------- */

static void target_of_flow(const struct net_egress_flow *f, struct target *t)
{
	*t = (struct target){.protocol = f->protocol,
			     .has_ports = f->protocol == IPPROTO_TCP || f->protocol == IPPROTO_UDP,
			     .port = f->rport,
			     .addr = f->raddr};
}

int egress_may_begin(struct netstack *s, const struct net_egress_flow *f)
{
	struct egress *e = s->egress;
	struct verdict v = {.allow = true};
	struct flow *known = NULL;
	struct target t;

	target_of_flow(f, &t);
	if (atomic_load_explicit(&e->plain, memory_order_relaxed) &&
	    (atomic_load_explicit(&e->metadata_open, memory_order_relaxed) || !policy_metadata(&t)))
		return 0;
	mutex_lock(&e->lock);
	/* Questions are answered, and refused, one by one. */
	if (f->protocol == IPPROTO_UDP && f->rport == DNS_PORT &&
	    policy_is_resolver(e, &f->raddr)) {
		mutex_unlock(&e->lock);
		return 0;
	}
	if (f->protocol != IPPROTO_TCP)
		known = flow_find(s, f);
	if (!known || policy_metadata(&t))
		policy_decide(s, &t, &v);
	else if (!known->inbound && known->policy != e->policy) {
		t.name = known->name;
		policy_decide(s, &t, &v);
	}
	mutex_unlock(&e->lock);
	if (v.allow)
		return 0;
	policy_refuse(s, &t, &v, NULL);
	return -EPERM;
}

bool egress_may_go_on(struct netstack *s, const struct net_egress_flow *f)
{
	struct egress *e = s->egress;
	struct flow *known;
	struct verdict v;
	struct target t;
	MUTEX_GUARD(&e->lock);

	target_of_flow(f, &t);
	known = flow_find(s, f);
	if (known && known->inbound && (e->config.allow_metadata || !policy_metadata(&t)))
		return true;
	t.name = known ? known->name : NULL;
	policy_decide(s, &t, &v);
	return v.allow;
}

int net_egress_may_send(struct netstack *s, const struct net_egress_flow *f)
{
	NET_CONTEXT();
	return egress_may_begin(s, f);
}

void net_egress_received(struct netstack *s, const struct net_egress_flow *f)
{
	struct flow *known;

	if (atomic_load_explicit(&s->egress->plain, memory_order_relaxed))
		return;
	MUTEX_GUARD(&s->egress->lock);
	known = flow_find(s, f);
	if (!known)
		flow_put(s, f, true, NULL);
	else if (known->inbound)
		known->last = net_now(s);
}

bool net_egress_is_resolver(struct netstack *s, const struct in6_addr *addr)
{
	MUTEX_GUARD(&s->egress->lock);

	return policy_is_resolver(s->egress, addr);
}
