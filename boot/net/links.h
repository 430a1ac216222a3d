/* The sandbox's links: Network.CreateLinksAndRoutes, in the sandbox. */
#ifndef MOAT_BOOT_NET_LINKS_H
#define MOAT_BOOT_NET_LINKS_H

#include "control/backend.h"

struct net_ns;

/* Gives the namespace links, addresses and routes. Descriptors that links use are taken out of fds.
 * 0, or -errno with an error that names the field; nothing of it is there then. */
int links_create(struct net_ns *ns, const Moat__CreateLinksAndRoutes *links, int *fds,
		 unsigned nfds, struct control_error *err);

#endif
