/* Options of host sockets: those that are known to touch the socket alone. The sandbox's filter has
 * the same list (filter/generator/sandbox_rules.c). */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/compiler.h"
#include "sentry/net/inet/host_internal.h"

struct option {
	int level, name;
	bool get_only;
};

static const struct option known[] = {
#define SET(level, name) {level, name, false},
#define GET(level, name) {level, name, true},
#include "base/host_options.def"
#undef SET
#undef GET
};

static const struct option *find(int level, int name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].level == level && known[i].name == name)
			return &known[i];
	return NULL;
}

/* The host would hold up whoever closes the socket: waiting is done here. */
static int set_linger(struct host_ep *h, const void *val, socklen_t len)
{
	struct linger l, at_once = {.l_onoff = 1}, off = {.l_onoff = 0};

	if (len < sizeof(l))
		return -EINVAL;
	memcpy(&l, val, sizeof(l));
	h->linger = l;
	h->linger.l_onoff = l.l_onoff != 0;
	return setsockopt(h->fd.fd, SOL_SOCKET, SO_LINGER,
			  l.l_onoff && !l.l_linger ? &at_once : &off, sizeof(l))
		       ? -errno
		       : 0;
}

int host_setsockopt(struct host_ep *h, int level, int name, const void *val, socklen_t len)
{
	const struct option *o = find(level, name);

	if (!o || o->get_only)
		return -ENOPROTOOPT;
	if (level == SOL_SOCKET && name == SO_LINGER)
		return set_linger(h, val, len);
	return setsockopt(h->fd.fd, level, name, val, len) ? -errno : 0;
}

int host_getsockopt(struct host_ep *h, int level, int name, void *val, socklen_t *len)
{
	if (level == SOL_SOCKET && name == SO_LINGER) {
		*len = *len < sizeof(h->linger) ? *len : sizeof(h->linger);
		memcpy(val, &h->linger, *len);
		return 0;
	}
	if (!find(level, name)) {
		int own = h->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

		/* Linux's IPv4 has an answer of its own for levels that nobody knows. */
		return h->family == AF_INET && level != SOL_SOCKET && level != IPPROTO_IP &&
				       level != own
			       ? -EOPNOTSUPP
			       : -ENOPROTOOPT;
	}
	return getsockopt(h->fd.fd, level, name, val, len) ? -errno : 0;
}
