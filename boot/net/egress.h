/* The egress policy (netstack/egress.h) on the control socket, and in the sandbox. */
#ifndef MOAT_BOOT_NET_EGRESS_H
#define MOAT_BOOT_NET_EGRESS_H

#include "control/backend.h"
#include "netstack/egress.h"

/* For the control socket. Freed by moat__egress_policy__free_unpacked(); NULL: no memory. */
Moat__EgressPolicy *egress_to_wire(const struct net_egress_config *c);
/* Form has been checked by the service; sense is checked by net_egress_set(). -ENOMEM. */
int egress_from_wire(const Moat__EgressPolicy *wire, struct net_egress_config *out);

/*
 * In the sandbox: sets the policy (NULL: that of a new stack), and has refusals written to fd (-1:
 * to the log), a JSON object a line. id: the sandbox's, which stays. 0 or -errno.
 */
int egress_start(struct netstack *s, const struct net_egress_config *c, int fd, const char *id);
/* What the control server asks for: see control/backend.h. */
int egress_change(struct netstack *s, const Moat__EgressPolicy *policy, struct control_error *err);
Moat__EgressStatus *egress_status(struct netstack *s); /* NULL: no memory */

#endif
