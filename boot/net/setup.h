/* Giving a sandbox that has been created the links of its network namespace: the caller's side. */
#ifndef MOAT_BOOT_NET_SETUP_H
#define MOAT_BOOT_NET_SETUP_H

#include <stdbool.h>
#include <stddef.h>

#include "boot/net/namespace.h"
#include "control/client.h"

/* Takes the namespace's links over and passes them by CreateLinksAndRoutes, for the container id.
 * rootless: the namespace belongs to the sandbox's user namespace, of which the caller is the
 * owner. *resolver: the process that asks the name server of the namespace, if there is one, or 0.
 * 0, or -errno with a message.
 */
int network_set_up(const struct network_place *place, bool rootless, char *id,
		   struct control_client *client, pid_t *resolver, char *err, size_t errlen);

#endif
