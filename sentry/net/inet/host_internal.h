/*
 * A guest's socket that is one of the host's. It never blocks: what would wait is -EAGAIN, and the
 * thread that watches host descriptors wakes the queue. Functions and errors are those of net_ep_*
 * (netstack/netstack.h), so that the rest of this folder need not know which kind it has.
 */
#ifndef MOAT_SENTRY_NET_INET_HOST_INTERNAL_H
#define MOAT_SENTRY_NET_INET_HOST_INTERNAL_H

#include "netstack/netstack.h"
#include "sentry/fs/hostfd/hostfd_io.h"
#include "sentry/kernel/ns/namespaces.h"

struct host_ep {
	struct hostfd fd;
	int family, type;
	uint16_t id;		 /* tells its flows from others' in the egress policy */
	struct netstack *policy; /* whose egress policy holds */
	struct linger linger;	 /* of which the host's socket only knows "at once" */
	struct sockaddr_storage peer;
	socklen_t peer_len; /* UDP: where it is connected to; 0: nowhere */
};

/* Are sockets of this family and type in this namespace the host's? */
bool host_wanted(const struct net_ns *ns, int family, int type, int protocol);
/* policy: a stack. -errno of socket(2). */
int host_create(struct netstack *policy, int family, int type, int protocol, struct host_ep **out);
void host_close(struct host_ep *h);
int host_bind(struct host_ep *h, const struct sockaddr *addr, socklen_t len);
int host_connect(struct host_ep *h, const struct sockaddr *addr, socklen_t len);
int host_listen(struct host_ep *h, int backlog);
int host_accept(struct host_ep *h, struct host_ep **out);
int host_shutdown(struct host_ep *h, int how);
int host_name(struct host_ep *h, struct sockaddr *addr, socklen_t *len, bool peer);
int host_ioctl(struct host_ep *h, unsigned long request, int *value);
bool host_lingering(struct host_ep *h);
/* What is ready; arm: and have the queue woken for what is not. */
uint32_t host_readiness(struct host_ep *h, bool arm);
ssize_t host_sendmsg(struct host_ep *h, const struct net_msg *m, int flags);
ssize_t host_recvmsg(struct host_ep *h, struct net_msg *m, int flags);

/* host_option.c */
int host_setsockopt(struct host_ep *h, int level, int name, const void *val, socklen_t len);
int host_getsockopt(struct host_ep *h, int level, int name, void *val, socklen_t *len);

#endif
