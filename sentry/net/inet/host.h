/* Whether guests' sockets are the stack's or the host's. */
#ifndef MOAT_SENTRY_NET_INET_HOST_H
#define MOAT_SENTRY_NET_INET_HOST_H

struct net_ns;

/* Sockets of TCP and UDP in ns are the host's from now on, of the namespace that the sandbox itself
 * is in. Once, before guests run; ns stays. */
void inet_host_enable(struct net_ns *ns);

#endif
