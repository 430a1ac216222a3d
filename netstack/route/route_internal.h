/* Inside of the route room. */
#ifndef MOAT_NETSTACK_ROUTE_ROUTE_INTERNAL_H
#define MOAT_NETSTACK_ROUTE_ROUTE_INTERNAL_H

#include "netstack/route/route.h"

/* Are the first bits of both the same? (addr.c) */
bool prefix_match(const struct in6_addr *a, const struct in6_addr *b, unsigned bits);
/* What is known of the MTU towards dst, at most link_mtu. (pmtu.c) */
uint32_t pmtu_lookup(struct netstack *s, const struct in6_addr *dst, uint32_t link_mtu);
/*
 * Removes the routes whose preferred source is gone. With config_lock held for writing. (route.c)
 */
void route_flush_src_locked(struct netstack *s, const struct in6_addr *src);

#endif
