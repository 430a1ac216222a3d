/* The IP_RECVERR queue: man 7 ip. An entry is a buffer that begins with struct entry. */
#include <time.h>
#include <linux/errqueue.h>

#include "netstack/dgram/dgram_internal.h"

#define ERRQ_MAX 64

struct entry {
	struct sock_extended_err ee;
	struct in6_addr offender;
};

void errq_add(struct net_ep *ep, int err, uint8_t origin, uint8_t type, uint8_t code, uint32_t info,
	      const struct in6_addr *offender, const struct in6_addr *dst, uint16_t port,
	      struct nbuf *b)
{
	size_t n = b ? MIN(b->len, 512u) : 0;
	struct nbuf *q;
	struct entry *e;

	if (!ep->errq) {
		ep->errq = net_alloc(ep->stack, sizeof(*ep->errq));
		if (!ep->errq)
			return;
		STAILQ_INIT(ep->errq);
	}
	if (ep->errq_len >= ERRQ_MAX)
		return;
	q = nbuf_alloc(ep->stack->pool, 0, sizeof(*e) + n);
	if (!q)
		return;
	e = nbuf_append(q, sizeof(*e));
	memset(e, 0, sizeof(*e));
	e->ee.ee_errno = err;
	e->ee.ee_origin = origin;
	e->ee.ee_type = type;
	e->ee.ee_code = code;
	e->ee.ee_info = info;
	e->offender = *offender;
	if (n)
		nbuf_read(b, 0, nbuf_append(q, n), n);
	q->dst = *dst;
	q->dport = port;
	STAILQ_INSERT_TAIL(ep->errq, q, next);
	ep->errq_len++;
}

static void put_error(struct net_ep *ep, struct net_msg *m, const struct entry *e, bool v4)
{
	struct {
		struct sock_extended_err ee;
		union {
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		} offender;
	} x;
	socklen_t len = sizeof(x.offender);
	size_t used = 0;

	memset(&x, 0, sizeof(x));
	x.ee = e->ee;
	if (e->ee.ee_origin != SO_EE_ORIGIN_LOCAL)
		ep_format_addr(v4 ? AF_INET : AF_INET6, &e->offender, 0, 0,
			       (struct sockaddr *)&x.offender, &len);
	cmsg_put(m, &used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, &x,
		 sizeof(x.ee) + (v4 ? sizeof(x.offender.v4) : sizeof(x.offender.v6)));
	m->controllen = used;
}

ssize_t errq_recv(struct net_ep *ep, struct net_msg *m, int flags)
{
	struct entry e;
	struct nbuf *b;
	size_t n;

	mutex_lock(&ep->lock);
	b = ep->errq ? STAILQ_FIRST(ep->errq) : NULL;
	if (b) {
		STAILQ_REMOVE_HEAD(ep->errq, next);
		ep->errq_len--;
		/* SO_ERROR becomes the next queued error, or none. */
		ep_set_error(ep, 0);
		if (!STAILQ_EMPTY(ep->errq)) {
			struct entry *next = (struct entry *)STAILQ_FIRST(ep->errq)->data;

			ep_set_error(ep, next->ee.ee_errno);
		}
	}
	mutex_unlock(&ep->lock);
	if (!b)
		return -EAGAIN;
	memcpy(&e, b->data, sizeof(e));
	nbuf_pull(b, sizeof(e));
	n = nbuf_to_iov(b, 0, m->iov, m->iovcnt, 0, b->len);
	m->flags = MSG_ERRQUEUE | (n < b->len ? MSG_TRUNC : 0);
	if (m->name)
		ep_format_addr(ep->family, &b->dst, b->dport, 0, m->name, &m->namelen);
	put_error(ep, m, &e, addr_is4(&b->dst));
	nbuf_put(b);
	return n;
}

void dgram_icmp(struct net_ep *ep, int err, uint8_t type, uint8_t code, uint32_t info, bool hard,
		const struct in6_addr *dst, uint16_t port, size_t hdr, struct nbuf *b)
{
	bool v4 = addr_is4(dst);
	bool recverr = v4 ? ep->opt.recverr : ep->opt.recverr6;
	struct nbuf *payload = NULL;
	uint8_t pmtu = v4 ? ep->opt.pmtudisc : ep->opt.pmtudisc6;

	if (err == EMSGSIZE) {
		/* Fragmentation goes on silently unless the endpoint wants to know. */
		if (pmtu != IP_PMTUDISC_DONT && info)
			pmtu_update(ep->stack, dst, info);
		hard = pmtu != IP_PMTUDISC_DONT;
	}
	if (recverr && b->len >= hdr && (payload = nbuf_clone(b)))
		nbuf_pull(payload, hdr);
	mutex_lock(&ep->lock);
	if (recverr) {
		/* The ICMP message's sender is not kept: report the destination's address. */
		errq_add(ep, err, v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6, type, code, info,
			 dst, dst, port, payload);
		ep_set_error(ep, err);
		net_defer_ready(ep, EPOLLERR);
	} else if (hard && ep->connected) {
		ep_set_error(ep, err);
		net_defer_ready(ep, EPOLLERR);
	}
	mutex_unlock(&ep->lock);
	nbuf_put(payload);
}
