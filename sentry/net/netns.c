/* What socket families keep in a network namespace goes with it. */
#include <stdlib.h>

#include "sentry/net/inet/inet.h"
#include "sentry/net/socket.h"

void socket_ns_destroy(struct net_ns *ns)
{
	/* Every socket of it is gone, so the table of names is empty. */
	free(ns->unix_sockets);
	ns->unix_sockets = NULL;
	inet_stack_destroy(ns);
}
