/* The tables of a network namespace's stack as /proc/net shows them (man 5 proc_net). Each function
 * appends a whole file; what comes or goes meanwhile may be missing. */
#ifndef MOAT_SENTRY_NET_INET_SHOW_H
#define MOAT_SENTRY_NET_INET_SHOW_H

#include <sys/types.h>

#include "base/text.h"
#include "netstack/netstack.h"

struct net_ns;

/* The namespace's stack, made when first asked for, with its loopback up; ns NULL: the sandbox's.
 * Not referenced: it lives as long as the namespace. -ENOMEM and what netstack_create says. */
int inet_stack_of(struct net_ns *ns, struct netstack **out);

/*
 * The numbers by which a network namespace knows others (man 8 ip-netns: set); `of` is their inode
 * number. Given by the user, or, with `assign`, when first one is needed. NSID_NONE: there is none.
 */
#define NSID_NONE (-1)
int inet_nsid(struct netstack *s, uint64_t of, bool assign);
/* id NSID_NONE: the next free one. -EEXIST: it has one, or the number is another's; -ENOSPC: too
 * many; -ENOMEM. */
int inet_nsid_set(struct netstack *s, uint64_t of, int id);
/* All of them, in no order. Freed by the caller. */
int inet_nsids_list(struct netstack *s, int **ids, size_t *n);

/* Has fn told of every change of a stack's configuration, on the thread that has caused it, with no
 * lock of the stack's held; perhaps that of the namespace, so that inet_stack_of() is not for it.
 */
void inet_set_listener(void (*fn)(struct netstack *s, const struct net_event *ev));

/* What guests send to the name server at 127.0.0.11, port 53, goes to these ports of the same
 * address, and what comes from there seems to come from port 53; 0: no more. (As Docker has it by
 * NAT rules of the namespace.) */
void inet_resolver_set(struct netstack *s, unsigned udp_port, unsigned tcp_port);

/* A tunable by its name in netstack.h, its values parted by spaces or tabs. -ENOENT, -EINVAL. */
int inet_sysctl_show(struct text *out, struct netstack *s, const char *name);
int inet_sysctl_set(struct netstack *s, const char *name, const char *text);

/* protocol: IPPROTO_TCP, IPPROTO_UDP, or IPPROTO_RAW for raw sockets of any protocol. family:
 * AF_INET or AF_INET6. */
void inet_show_sockets(struct text *out, struct netstack *s, int family, int protocol);
void inet_show_sockstat(struct text *out, struct netstack *s);
void inet_show_devices(struct text *out, struct netstack *s);
/* All routes, those of local addresses among them, as Linux sorts them; freed by the caller. */
int inet_routes(struct netstack *s, struct net_route_info **out, size_t *n);
/* Inode number and uid of the guest's socket that an endpoint is of; 0 for others. */
void inet_socket_owner(const struct net_ep_info *i, uint64_t *ino, uid_t *uid);
void inet_show_routes(struct text *out, struct netstack *s);
void inet_show_routes6(struct text *out, struct netstack *s);
void inet_show_addresses6(struct text *out, struct netstack *s);
void inet_show_arp(struct text *out, struct netstack *s);

#endif
