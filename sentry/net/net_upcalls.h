/* What sockets of all families ask of one: of AF_UNIX, which alone passes descriptors, and of
 * AF_INET, which has the interfaces. */
#ifndef MOAT_SENTRY_NET_NET_UPCALLS_H
#define MOAT_SENTRY_NET_NET_UPCALLS_H

#include <stdint.h>

struct scm_fds;
struct socket;

/* Charges the descriptors to the sender: -ETOOMANYREFS beyond RLIMIT_NOFILE of them in flight. */
int unix_fds_charge(struct scm_fds *fds);

/* ioctls about interfaces and routes, the same on sockets of all families; -ENOIOCTLCMD for others:
 * inet/ifreq.c. */
long socket_interface_ioctl(struct socket *sock, unsigned cmd, uint64_t arg);

#endif
