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
#ifndef MOAT_SENTRY_NET_INET_INET_H
#define MOAT_SENTRY_NET_INET_INET_H

#include "netstack/netstack.h"
#include "sentry/net/socket.h"

struct inet_sock {
	struct net_ep *ep;
	struct wait_queue wait;
	/* For /proc/net: its file's inode number (0: none yet), its maker's fsuid. */
	uint64_t ino;
	uid_t uid;
	struct inet_sock *next_free;
};

extern const struct socket_ops inet_ops;
extern const struct net_ep_ops inet_ep_ops;

/* The namespace's stack, made when first asked for, with its loopback up; ns NULL: the sandbox's.
 * Not referenced: it lives as long as the namespace. -ENOMEM and what netstack_create says. */
int inet_stack_of(struct net_ns *ns, struct netstack **out);
void inet_stack_destroy(struct net_ns *ns);

struct inet_sock *inet_sock_alloc(void);
void inet_sock_free(struct inet_sock *is);

/* Waits until the endpoint's readiness meets `events` (or an error, a hang-up). 0, or as
 * socket_wait_error. */
int inet_wait(struct inet_sock *is, uint32_t events, int64_t deadline, int64_t timeo);

ssize_t inet_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
ssize_t inet_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags);
int inet_setsockopt(struct socket *sock, int level, int name, const void *val, unsigned len);
int inet_getsockopt(struct socket *sock, int level, int name, void *val, unsigned *len);

#endif
