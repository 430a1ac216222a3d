/* The address families. */
#include <stddef.h>

#include "base/compiler.h"
#include "sentry/net/socket.h"

/* Weak: a family is there when its file is linked in. */
extern const struct socket_family unix_family __weak_symbol;
extern const struct socket_family netlink_family __weak_symbol;
extern const struct socket_family inet_family __weak_symbol;
extern const struct socket_family inet6_family __weak_symbol;
extern const struct socket_family packet_family __weak_symbol;

const struct socket_family *socket_family_find(int family)
{
	const struct socket_family *f = NULL;

	switch (family) {
	case AF_UNIX:
		f = &unix_family;
		break;
	case AF_NETLINK:
		f = &netlink_family;
		break;
	case AF_INET:
		f = &inet_family;
		break;
	case AF_INET6:
		f = &inet6_family;
		break;
	case AF_PACKET:
		f = &packet_family;
		break;
	}
	return f;
}
