/*
 * AF_NETLINK (man 7 netlink): requests are answered while they are sent; the answers wait in the
 * socket's queue.
 *
 * Lock: members_lock -> nl->lock (queue, names) -> nl->wait.lock. Answers are built without it.
 */
#ifndef MOAT_SENTRY_NET_NETLINK_NETLINK_INTERNAL_H
#define MOAT_SENTRY_NET_NETLINK_NETLINK_INTERNAL_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "netstack/netstack.h"
#include "sentry/net/socket.h"

/* A datagram that is being written: netlink messages one after the other. Grows up to a limit;
 * `error` sticks. Freed with free(data). */
struct nl_buf {
	char *data;
	size_t len, size;
	int error;
	size_t msg; /* where the open message starts */
	bool dump;  /* may grow to NL_DUMP_MAX */
};
#define NL_BUF_MAX 65536U
#define NL_DUMP_MAX (4U << 20)

/* Begins a message; nl_end() writes its length. Attributes and headers go between. */
void nl_begin(struct nl_buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint32_t portid);
void nl_put(struct nl_buf *b, const void *data, size_t len);
void nl_attr(struct nl_buf *b, uint16_t type, const void *data, size_t len);
void nl_end(struct nl_buf *b);

/* event.c: has changes told from now on. */
void netlink_listen(void);
/* netlink.c: puts a message into the queues of those who are members of the group in the stack's
 * namespace. Is there anybody in any group? */
void netlink_tell(struct netstack *s, unsigned group, const void *data, size_t len);
bool netlink_anybody(struct netstack *s);

/* Answers one NETLINK_ROUTE request, whose payload follows *req (its length has been checked):
 * messages into `out`, or -errno for an error message. *dump: the answer ends with NLMSG_DONE. */
int rtnetlink_request(struct socket *sock, const struct nlmsghdr *req, uint32_t portid,
		      struct nl_buf *out, bool *dump);
/* The same for NETLINK_SOCK_DIAG. */
int sock_diag_request(struct socket *sock, const struct nlmsghdr *req, uint32_t portid,
		      struct nl_buf *out, bool *dump);

#endif
