/*
 * AF_INET and AF_INET6: guest sockets over endpoints of the netstack library, one stack per network
 * namespace. The library never blocks; blocking is done here, on the socket's wait queue, which the
 * endpoint's ready callback wakes.
 *
 * Locks: none of our own but the namespace's (making the stack) and the pool's, both leaves. No
 * lock is held when the library is called.
 *
 * Life of struct inet_sock: a ready callback may still be on its way when net_ep_close() has
 * returned, so the memory is never given back: it goes to a pool, and a late callback wakes a queue
 * that is empty or whose waiters look again.
 */
#ifndef MOAT_SENTRY_NET_INET_INET_INTERNAL_H
#define MOAT_SENTRY_NET_INET_INET_INTERNAL_H

#include <stdatomic.h>

#include "netstack/netstack.h"
#include "sentry/net/inet/host_internal.h"
#include "sentry/net/inet/show.h"
#include "sentry/net/socket.h"

struct inet_redirect {
	atomic_uint udp, tcp; /* ports; 0: there is none */
};

struct inet_sock {
	struct net_ep *ep;		      /* NULL: it is the host's */
	struct host_ep *host;		      /* owned */
	const struct inet_redirect *redirect; /* of its stack, which stays */
	struct wait_queue wait;
	/* For /proc/net: its file's inode number (0: none yet), its maker's fsuid. */
	uint64_t ino;
	uid_t uid;
	struct inet_sock *next_free;
};

extern const struct socket_ops inet_ops;
extern const struct net_ep_ops inet_ep_ops;

/* nsid.c: the numbers that one namespace has for others. */
struct nsid_entry {
	uint64_t ns;
	int id;
};
struct nsid_table {
	uint64_t ns; /* whose it is */
	struct nsid_entry *entries;
	size_t n, size;
	LIST_ENTRY(nsid_table) link;
};
/* A zeroed table comes to be, before its stack is known; and goes, with what others call ns. */
void nsid_table_add(struct nsid_table *t, uint64_t ns);
void nsid_table_remove(struct nsid_table *t);
struct nsid_table *inet_nsids(struct netstack *s);

void inet_stack_destroy(struct net_ns *ns);
const struct inet_redirect *inet_redirect_of(struct netstack *s);

/* redirect.c: an address to connect or send to, and one that shows where something is from. */
void inet_redirect_out(const struct socket *sock, struct sockaddr_storage *addr, int len);
void inet_redirect_in(const struct socket *sock, struct sockaddr_storage *addr, int len);

struct inet_sock *inet_sock_alloc(void);
void inet_sock_free(struct inet_sock *is);

/* The queue that is woken for it. */
static inline struct wait_queue *inet_queue(struct inet_sock *is)
{
	return is->host ? &is->host->fd.wait : &is->wait;
}
/* The events that are ready; arm: and those that are not wake the queue. */
static inline uint32_t inet_readiness(struct inet_sock *is, bool arm)
{
	return is->host ? host_readiness(is->host, arm) : net_ep_readiness(is->ep);
}

/* Waits until the endpoint's readiness meets `events` (or an error, a hang-up). 0, or as
 * socket_wait_error. */
int inet_wait(struct inet_sock *is, uint32_t events, int64_t deadline, int64_t timeo);

ssize_t inet_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t inet_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
int inet_setsockopt(struct socket *sock, int level, int name, const void *val, unsigned len);
int inet_getsockopt(struct socket *sock, int level, int name, void *val, unsigned *len);

#endif
