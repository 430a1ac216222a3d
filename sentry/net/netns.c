/* What socket families keep in a network namespace goes with it. */
#include <stddef.h>

#include "sentry/net/socket.h"

void socket_ns_destroy(struct net_ns *ns)
{
	for (int i = 0; i < AF_MAX; i++) {
		const struct socket_family *family = socket_family_find(i);

		if (family && family->ns_destroy)
			family->ns_destroy(ns);
	}
}

bool socket_capable(const struct socket *sock, int cap)
{
	return ns_capable(sock->net ? sock->net->user_ns : &root_user_ns, cap);
}
