/* SOL_SOCKET options that mean the same for every family (man 7 socket). */
#include <errno.h>
#include <string.h>
#include <sys/time.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/socket.h"

/* net.core.wmem_max, rmem_max, and the least that Linux allows. */
#define BUFFER_MAX 212992
#define SNDBUF_MIN 4608
#define RCVBUF_MIN 2304

static int clamp_buffer(int val, int min)
{
	if (val < 0 || val > BUFFER_MAX)
		val = BUFFER_MAX;
	return MAX(val * 2, min);
}

static int set_timeout(int64_t *timeo, const void *val, unsigned len)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, val, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0) {
		*timeo = 1; /* Linux: a negative timeout does not wait */
		return 0;
	}
	if (tv.tv_sec > INT64_MAX / NSEC_PER_SEC - 1)
		*timeo = 0;
	else
		*timeo = tv.tv_sec * NSEC_PER_SEC + tv.tv_usec * 1000;
	return 0;
}

static int set_flag(struct socket *sock, int name, int val)
{
	switch (name) {
	case SO_REUSEADDR:
		sock->reuseaddr = val;
		return 0;
	case SO_REUSEPORT:
		sock->reuseport = val;
		return 0;
	case SO_KEEPALIVE:
		sock->keepalive = val;
		return 0;
	case SO_BROADCAST:
		sock->broadcast = val;
		return 0;
	case SO_PASSCRED:
		sock->passcred = val;
		return 0;
	case SO_DONTROUTE:
		sock->dontroute = val;
		return 0;
	case SO_OOBINLINE:
		sock->oobinline = val;
		return 0;
	case SO_TIMESTAMP:
		sock->timestamp = val;
		return 0;
	case SO_TIMESTAMPNS:
		sock->timestampns = val;
		return 0;
	case SO_NO_CHECK:
		sock->no_check = val;
		return 0;
	case SO_DEBUG: /* has no effect but to be remembered: Linux has none left either */
		if (val && !socket_capable(sock, CAP_NET_ADMIN))
			return -EACCES;
		sock->debug = val;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int set_number(struct socket *sock, int name, int val)
{
	switch (name) {
	case SO_SNDBUFFORCE:
	case SO_RCVBUFFORCE:
		if (!socket_capable(sock, CAP_NET_ADMIN))
			return -EPERM;
		val = MIN(MAX(val, 0), 4 << 20);
		if (name == SO_SNDBUFFORCE)
			sock->sndbuf = MAX(val * 2, SNDBUF_MIN);
		else
			sock->rcvbuf = MAX(val * 2, RCVBUF_MIN);
		return 0;
	case SO_SNDBUF:
		sock->sndbuf = clamp_buffer(val, SNDBUF_MIN);
		return 0;
	case SO_RCVBUF:
		sock->rcvbuf = clamp_buffer(val, RCVBUF_MIN);
		return 0;
	case SO_RCVLOWAT:
		sock->rcvlowat = val < 0 ? INT32_MAX : val ? val : 1;
		return 0;
	case SO_PRIORITY:
		if ((val < 0 || val > 6) && !socket_capable(sock, CAP_NET_ADMIN))
			return -EPERM;
		sock->priority = val;
		return 0;
	case SO_MARK:
		if (!socket_capable(sock, CAP_NET_ADMIN))
			return -EPERM;
		sock->mark = val;
		return 0;
	case SO_TYPE:
	case SO_PROTOCOL:
	case SO_DOMAIN:
	case SO_ERROR:
		return -ENOPROTOOPT;
	default:
		return set_flag(sock, name, val != 0);
	}
}

int sockopt_set_generic(struct socket *sock, int name, const void *val, unsigned len)
{
	int number;

	if (len < sizeof(int))
		return -EINVAL;
	memcpy(&number, val, sizeof(number));
	switch (name) {
	case SO_LINGER: {
		struct linger l;

		if (len < sizeof(l))
			return -EINVAL;
		memcpy(&l, val, sizeof(l));
		sock->linger_on = l.l_onoff != 0;
		sock->linger_sec = l.l_linger;
		return 0;
	}
	case SO_RCVTIMEO:
		return set_timeout(&sock->rcvtimeo, val, len);
	case SO_SNDTIMEO:
		return set_timeout(&sock->sndtimeo, val, len);
	default:
		return set_number(sock, name, number);
	}
}

int sockopt_set(struct socket *sock, int level, int name, const void *val, unsigned len)
{
	if (sock->ops->setsockopt) {
		int ret = sock->ops->setsockopt(sock, level, name, val, len);

		if (ret != -ENOIOCTLCMD)
			return ret;
	}
	if (level != SOL_SOCKET)
		return sock->family == AF_UNIX ? -EOPNOTSUPP : -ENOPROTOOPT;
	return sockopt_set_generic(sock, name, val, len);
}

/* Options whose value is an int: true if there is such. */
static bool get_number(struct socket *sock, int name, int *val)
{
	switch (name) {
	case SO_TYPE:
		*val = sock->type;
		return true;
	case SO_DOMAIN:
		*val = sock->family;
		return true;
	case SO_PROTOCOL:
		*val = sock->protocol;
		return true;
	case SO_ERROR:
		*val = -socket_take_error(sock);
		return true;
	case SO_SNDBUF:
		*val = sock->sndbuf;
		return true;
	case SO_RCVBUF:
		*val = sock->rcvbuf;
		return true;
	case SO_RCVLOWAT:
		*val = sock->rcvlowat;
		return true;
	case SO_SNDLOWAT:
		*val = 1;
		return true;
	case SO_PRIORITY:
		*val = sock->priority;
		return true;
	case SO_MARK:
		*val = sock->mark;
		return true;
	case SO_ACCEPTCONN:
		*val = 0;
		return true;
	case SO_REUSEADDR:
		*val = sock->reuseaddr;
		return true;
	case SO_REUSEPORT:
		*val = sock->reuseport;
		return true;
	case SO_KEEPALIVE:
		*val = sock->keepalive;
		return true;
	case SO_BROADCAST:
		*val = sock->broadcast;
		return true;
	case SO_PASSCRED:
		*val = sock->passcred;
		return true;
	case SO_DONTROUTE:
		*val = sock->dontroute;
		return true;
	case SO_OOBINLINE:
		*val = sock->oobinline;
		return true;
	case SO_TIMESTAMP:
		*val = sock->timestamp;
		return true;
	case SO_TIMESTAMPNS:
		*val = sock->timestampns;
		return true;
	case SO_NO_CHECK:
		*val = sock->no_check;
		return true;
	case SO_DEBUG:
		*val = sock->debug;
		return true;
	default:
		return false;
	}
}

static void put_value(void *out, unsigned *len, const void *val, unsigned size)
{
	*len = MIN(*len, size);
	memcpy(out, val, *len);
}

/* SO_COOKIE, SO_PEERNAME: answered alike for all families. -ENOIOCTLCMD: it is another option. */
static int get_identity(struct socket *sock, int name, void *val, unsigned *len)
{
	struct sockaddr_storage peer;
	int n;

	switch (name) {
	case SO_COOKIE:
		if (*len < sizeof(sock->cookie))
			return -EINVAL;
		put_value(val, len, &sock->cookie, sizeof(sock->cookie));
		return 0;
	case SO_PEERNAME:
		n = sock->ops->getname ? sock->ops->getname(sock, &peer, true) : -ENOTCONN;
		if (n < 0)
			return -ENOTCONN;
		if (*len > (unsigned)n)
			return -EINVAL;
		put_value(val, len, &peer, (unsigned)n);
		return 0;
	default:
		return -ENOIOCTLCMD;
	}
}

int sockopt_get(struct socket *sock, int level, int name, void *val, unsigned *len)
{
	int number;

	if (level == SOL_SOCKET) {
		int ret = get_identity(sock, name, val, len);

		if (ret != -ENOIOCTLCMD)
			return ret;
	}
	if (sock->ops->getsockopt) {
		int ret = sock->ops->getsockopt(sock, level, name, val, len);

		if (ret != -ENOIOCTLCMD)
			return ret;
	}
	if (level != SOL_SOCKET)
		return sock->family == AF_UNIX ? -EOPNOTSUPP : -ENOPROTOOPT;
	if (name == SO_LINGER) {
		struct linger l = {sock->linger_on, sock->linger_sec};

		put_value(val, len, &l, sizeof(l));
		return 0;
	}
	if (name == SO_RCVTIMEO || name == SO_SNDTIMEO) {
		int64_t ns = name == SO_RCVTIMEO ? sock->rcvtimeo : sock->sndtimeo;
		struct timeval tv = {ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000};

		put_value(val, len, &tv, sizeof(tv));
		return 0;
	}
	if (!get_number(sock, name, &number))
		return -ENOPROTOOPT;
	put_value(val, len, &number, sizeof(number));
	return 0;
}
