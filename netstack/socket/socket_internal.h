/* Inside of the socket room. */
#ifndef MOAT_NETSTACK_SOCKET_SOCKET_INTERNAL_H
#define MOAT_NETSTACK_SOCKET_SOCKET_INTERNAL_H

#include "netstack/socket/socket.h"

/* Multicast membership. (membership.c) */
int ep_join(struct net_ep *ep, const struct in6_addr *group, int ifindex,
	    const struct in_addr *ifa);
int ep_leave(struct net_ep *ep, const struct in6_addr *group, int ifindex,
	     const struct in_addr *ifa);
/* Source filters of RFC 3376 §2 / RFC 3678: block, unblock, add, drop one source. */
int ep_group_source(struct net_ep *ep, const struct in6_addr *group, int ifindex,
		    const struct in_addr *ifa, const struct in6_addr *source, bool include,
		    bool add);

/* SO_ATTACH_FILTER, SO_DETACH_FILTER. (option_socket.c) */
int ep_attach_filter(struct net_ep *ep, const void *val, socklen_t len);
int ep_detach_filter(struct net_ep *ep);

#endif
