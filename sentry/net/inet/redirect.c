/* The name server at 127.0.0.11: see inet_resolver_set(). */
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "sentry/net/inet/inet_internal.h"

#define ADDRESS 0x7f00000b
#define PORT 53

/* Where the port of 127.0.0.11 lies in the address, or NULL if it is another address. */
static in_port_t *resolver_port(struct sockaddr_storage *addr, int len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)addr;

	if (len >= (int)sizeof(*in) && addr->ss_family == AF_INET)
		return in->sin_addr.s_addr == htonl(ADDRESS) ? &in->sin_port : NULL;
	if (len >= (int)offsetof(struct sockaddr_in6, sin6_scope_id) &&
	    addr->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return in6->sin6_addr.s6_addr32[3] == htonl(ADDRESS) ? &in6->sin6_port : NULL;
	return NULL;
}

static unsigned port_of(const struct socket *sock)
{
	const struct inet_sock *is = sock->sk;

	if (sock->family == AF_PACKET || sock->type == SOCK_RAW)
		return 0;
	if (sock->protocol == IPPROTO_UDP)
		return atomic_load_explicit(&is->redirect->udp, memory_order_relaxed);
	if (sock->protocol == IPPROTO_TCP)
		return atomic_load_explicit(&is->redirect->tcp, memory_order_relaxed);
	return 0;
}

void inet_redirect_out(const struct socket *sock, struct sockaddr_storage *addr, int len)
{
	unsigned port = port_of(sock);
	in_port_t *at = port ? resolver_port(addr, len) : NULL;

	if (at && *at == htons(PORT))
		*at = htons((in_port_t)port);
}

void inet_redirect_in(const struct socket *sock, struct sockaddr_storage *addr, int len)
{
	unsigned port = port_of(sock);
	in_port_t *at = port ? resolver_port(addr, len) : NULL;

	if (at && *at == htons((in_port_t)port))
		*at = htons(PORT);
}
