/* What runs inside the namespace. */
#ifndef MOAT_BOOT_NET_READ_H
#define MOAT_BOOT_NET_READ_H

#include <stddef.h>

#include "control/frame.h"

/* Of one namespace; all memory lives until the process ends. */
struct network_read {
	Moat__CreateLinksAndRoutes links;
	int fds[CONTROL_FDS_MAX];
	unsigned nfds;
	char err[300];
};

/* Fills r from the calling process's network namespace: links with addresses, routes, permanent
 * neighbours; opens the sockets; then takes the addresses off. 0, or -errno with r->err. */
int network_read(struct network_read *r);

#endif
