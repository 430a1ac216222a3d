/* Endpoints inside the stack: what all kinds share, and the operation table of each kind. */
#ifndef MOAT_NETSTACK_SOCKET_SOCKET_H
#define MOAT_NETSTACK_SOCKET_SOCKET_H

#include <sys/epoll.h>

#include "netstack/route/route.h"
#include "netstack/core/core.h"

struct bpf_prog;
struct port_entry;
struct ep_group;

/* What a kind of endpoint does. Called with no lock held unless said otherwise. */
struct ep_proto {
	size_t size; /* of an endpoint, which begins with struct net_ep */
	int (*init)(struct net_ep *ep);
	int (*bind)(struct net_ep *ep, const struct sockaddr *a, socklen_t len);
	int (*connect)(struct net_ep *ep, const struct sockaddr *a, socklen_t len);
	int (*listen)(struct net_ep *ep, int backlog);
	int (*accept)(struct net_ep *ep, struct net_ep **out);
	int (*shutdown)(struct net_ep *ep, int how);
	/* The creator lets go: stop, or go on in the background holding references. */
	void (*close)(struct net_ep *ep);
	/* The last reference went: free what init and life have added. */
	void (*destroy)(struct net_ep *ep);
	ssize_t (*sendmsg)(struct net_ep *ep, const struct net_msg *m, int flags);
	ssize_t (*recvmsg)(struct net_ep *ep, struct net_msg *m, int flags);
	ssize_t (*send_nbuf)(struct net_ep *ep, const struct sockaddr *to, socklen_t tolen,
			     struct nbuf *b, int flags);
	ssize_t (*recv_nbuf)(struct net_ep *ep, size_t max, int flags, struct nbuf **out,
			     struct sockaddr *from, socklen_t *fromlen);
	/* With ep->lock held. */
	uint32_t (*readiness)(struct net_ep *ep);
	int (*setsockopt)(struct net_ep *ep, int level, int name, const void *val, socklen_t len);
	int (*getsockopt)(struct net_ep *ep, int level, int name, void *val, socklen_t *len);
	int (*ioctl)(struct net_ep *ep, unsigned long request, int *value);
	void (*info)(struct net_ep *ep, struct net_ep_info *i);
	/*
	 * An ICMP error for a packet that this endpoint sent: err is the errno, `fatal` that Linux
	 * reports it on unconnected or established sockets too, `info` the new MTU or 0. No lock
	 * held. b holds the offending packet's transport header and what followed.
	 */
	void (*icmp_error)(struct net_ep *ep, int err, uint8_t type, uint8_t code, uint32_t info,
			   bool hard, struct nbuf *b);
};

struct ep_options {
	bool reuseaddr, reuseport, debug, broadcast, keepalive, oobinline, dontroute, no_check;
	bool rcvbuf_locked, sndbuf_locked, filter_locked, rxq_ovfl;
	bool linger;
	uint8_t timestamp; /* 0, 1: SO_TIMESTAMP, 2: SO_TIMESTAMPNS */
	uint8_t tos, tclass;
	int16_t ttl, hops, mcast_ttl, mcast_hops; /* -1: the default */
	uint8_t min_ttl, min_hops;
	bool mcast_loop, mcast_loop6, mcast_all;
	bool hdrincl, freebind, transparent, bind_no_port;
	bool recverr, recverr6, pktinfo, recvttl, recvtos, recvopts, origdst;
	bool v6only, pktinfo6, recvhops, recvtclass, autoflow, dontfrag, recvmtu6;
	uint8_t pmtudisc, pmtudisc6;
	int linger_s;
	int rcvlowat;
	int priority;
	uint32_t mark;
	int mcast_if, mcast_if6;
	struct in_addr mcast_addr; /* source of multicast, IP_MULTICAST_IF */
};

struct net_ep {
	struct netstack *stack; /* counted */
	struct refcount refs;
	const struct ep_proto *proto;
	uint8_t family, type, protocol;
	uint8_t shut; /* bit 0: receive, bit 1: send */
	bool closed;  /* net_ep_close was called */
	bool connected, bound, hashed;
	uint16_t lport, rport; /* host order */
	int bound_if;	       /* SO_BINDTODEVICE, or a link-local address's scope */
	struct mutex lock;
	struct mutex rd_lock, wr_lock;
	struct mutex ops_lock;
	const struct net_ep_ops *_Atomic ops;
	void *user;
	atomic_uint ready_events;
	STAILQ_ENTRY(net_ep) ready_link;
	STAILQ_ENTRY(net_ep) ack_link; /* a thread's list of ACKs put off, see net_defer_ack */
	TAILQ_ENTRY(net_ep) all_link;  /* netstack.eps, under ep_lock */
	TAILQ_ENTRY(net_ep) kind_link; /* raws, packets; under raw_lock */
	LIST_ENTRY(net_ep) port_link;  /* port_entry.owners, under the port bucket's lock */
	LIST_ENTRY(net_ep) hash_link;  /* demux bucket */
	struct port_entry *port;
	/* Addresses; unspecified: in6addr_any for AF_INET6, ::ffff:0.0.0.0 for AF_INET. */
	struct in6_addr laddr, raddr;
	bool laddr_bound; /* laddr was chosen by bind, not by connect */
	struct ep_options opt;
	atomic_int so_error;
	int soft_error;
	uint32_t rcvbuf, sndbuf;
	uint32_t rmem; /* bytes that count against rcvbuf */
	uint32_t wmem; /* bytes that count against sndbuf */
	struct nbuf_queue rxq;
	struct nbuf_queue *errq; /* IP_RECVERR; made when first needed */
	unsigned errq_len;
	atomic_ullong drops;
	struct bpf_prog *filter;      /* under lock */
	LIST_HEAD(, ep_group) groups; /* under lock */
	struct net_path path;	      /* cached, under lock */
};

/* Allocates an endpoint of the kind, and links it. -ENETDOWN, -ENOBUFS. */
int ep_alloc(struct netstack *s, const struct ep_proto *proto, int family, int type, int protocol,
	     struct net_ep **out);
/* Pending error, cleared: 0 or negative. */
int ep_take_error(struct net_ep *ep);
void ep_set_error(struct net_ep *ep, int err);
/* The path to dst with the endpoint's options, from its cache when that is still good. */
int ep_path(struct net_ep *ep, const struct in6_addr *dst, struct net_path **out);

/*
 * sockaddr to address: checks family and length against the endpoint's. Dual-stack endpoints
 * accept v4-mapped addresses. scope: link of a link-local address, or 0.
 */
int ep_parse_addr(struct net_ep *ep, const struct sockaddr *a, socklen_t len, struct in6_addr *addr,
		  uint16_t *port, int *scope);
void ep_format_addr(int family, const struct in6_addr *addr, uint16_t port, int scope,
		    struct sockaddr *out, socklen_t *len);
/* Checks that addr may be bound to (local, multicast, any); EADDRNOTAVAIL. */
int ep_check_bind_addr(struct net_ep *ep, const struct in6_addr *addr, int *scope);

/* Options of SOL_SOCKET, IPPROTO_IP and IPPROTO_IPV6 that all kinds have. (option*.c) */
int ep_setsockopt_socket(struct net_ep *ep, int name, const void *val, socklen_t len);
int ep_getsockopt_socket(struct net_ep *ep, int name, void *val, socklen_t *len);
int ep_setsockopt_ip(struct net_ep *ep, int name, const void *val, socklen_t len);
int ep_getsockopt_ip(struct net_ep *ep, int name, void *val, socklen_t *len);
int ep_setsockopt_ip6(struct net_ep *ep, int name, const void *val, socklen_t len);
int ep_getsockopt_ip6(struct net_ep *ep, int name, void *val, socklen_t *len);
/* Helpers: int options are accepted as int or, for IP, as a single byte. */
int opt_int(const void *val, socklen_t len, int *out);
int opt_put(void *val, socklen_t *len, const void *src, socklen_t n);
int opt_put_int(void *val, socklen_t *len, int v);

/* Multicast membership of an endpoint. (membership.c) */
void ep_leave_all(struct net_ep *ep);
/* True if a multicast packet for group, from src, seen on ifindex is for this endpoint. */
bool ep_group_match(struct net_ep *ep, const struct in6_addr *group, const struct in6_addr *src,
		    int ifindex);

/* Runs the endpoint's filter on the packet from its current data pointer. With ep->lock held.
 * False: drop. May trim the packet. */
bool ep_filter(struct net_ep *ep, struct nbuf *b);

/* What control messages and flags of a send ask for. */
struct dgram_tx {
	struct in6_addr dst, src; /* src unspecified: the endpoint's */
	bool src_set;
	int oif;
	int ttl, tos, dontfrag; /* -1: the endpoint's */
	uint16_t dport;
	uint16_t gso_size;
};

/*
 * The control messages of a send into tx, whose dst and oif are set. -EINVAL, -EPERM,
 * -ENODEV. (control.c)
 */
int dgram_parse_control(struct net_ep *ep, const struct net_msg *m, struct dgram_tx *tx);
/* The same where only SOL_SOCKET's are looked at (TCP, packet endpoints). */
int socket_check_control(const struct net_msg *m);

#endif
