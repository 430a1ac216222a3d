/* The tables of a network namespace's stack as /proc/net shows them (man 5 proc_net). Each function
 * appends a whole file; what comes or goes meanwhile may be missing. */
#ifndef MOAT_SENTRY_NET_INET_SHOW_H
#define MOAT_SENTRY_NET_INET_SHOW_H

#include "netstack/netstack.h"
#include "sentry/fs/pseudo/text.h"

/* protocol: IPPROTO_TCP, IPPROTO_UDP, or IPPROTO_RAW for raw sockets of any protocol. family:
 * AF_INET or AF_INET6. */
void inet_show_sockets(struct text *out, struct netstack *s, int family, int protocol);
void inet_show_sockstat(struct text *out, struct netstack *s);
void inet_show_devices(struct text *out, struct netstack *s);
void inet_show_routes(struct text *out, struct netstack *s);
void inet_show_routes6(struct text *out, struct netstack *s);
void inet_show_addresses6(struct text *out, struct netstack *s);
void inet_show_arp(struct text *out, struct netstack *s);

#endif
