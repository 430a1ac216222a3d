/* The sandbox's links: Network.CreateLinksAndRoutes, in the sandbox. */
#ifndef MOAT_BOOT_NET_LINKS_H
#define MOAT_BOOT_NET_LINKS_H

#include "control/backend.h"

struct net_ns;

struct link_set;

/* Gives the namespace links, addresses and routes. Descriptors that links use are taken out of fds.
 * 0, or -errno with an error that names the field; nothing of it is there then. *out: those over
 * descriptors, the caller's. */
int links_create(struct net_ns *ns, const Moat__CreateLinksAndRoutes *links, int *fds,
		 unsigned nfds, struct link_set **out, struct control_error *err);
/* Takes them away, and lets go of the host's interfaces. Consumes set. */
void links_remove(struct link_set *set);

#endif
