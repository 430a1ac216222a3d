/* Options: the endpoint's own, but for what blocks (timeouts) and what takes a privilege. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "sentry/kernel/task.h"
#include "sentry/net/inet/inet.h"

/* 0, or the error for who may not set it. */
static int check_privilege(int level, int name, const void *val, unsigned len)
{
	int number = 0;

	memcpy(&number, val, MIN(len, (unsigned)sizeof(number)));
	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_DEBUG:
			return number && !capable(CAP_NET_ADMIN) ? -EACCES : 0;
		case SO_PRIORITY:
			return (number < 0 || number > 6) && !capable(CAP_NET_ADMIN) ? -EPERM : 0;
		case SO_MARK:
		case SO_SNDBUFFORCE:
		case SO_RCVBUFFORCE:
			return capable(CAP_NET_ADMIN) ? 0 : -EPERM;
		case SO_BINDTODEVICE:
		case SO_BINDTOIFINDEX:
			return capable(CAP_NET_RAW) ? 0 : -EPERM;
		}
	} else if ((level == IPPROTO_IP && name == IP_TRANSPARENT) ||
		   (level == IPPROTO_IPV6 && name == IPV6_TRANSPARENT)) {
		return number && !capable(CAP_NET_ADMIN) && !capable(CAP_NET_RAW) ? -EPERM : 0;
	}
	return 0;
}

/* Those the blocking layer needs itself: the generic code keeps them. */
static bool is_ours(int level, int name)
{
	return level == SOL_SOCKET &&
	       (name == SO_RCVTIMEO || name == SO_SNDTIMEO || name == SO_PASSCRED);
}

int inet_setsockopt(struct socket *sock, int level, int name, const void *val, unsigned len)
{
	struct inet_sock *is = sock->sk;
	int ret;

	if (is_ours(level, name))
		return -ENOIOCTLCMD;
	/* Its value points to a program in the guest's memory. */
	if (level == SOL_SOCKET &&
	    (name == SO_ATTACH_FILTER || name == SO_ATTACH_BPF ||
	     name == SO_ATTACH_REUSEPORT_CBPF || name == SO_ATTACH_REUSEPORT_EBPF))
		return -EPERM;
	ret = check_privilege(level, name, val, len);
	if (ret)
		return ret;
	ret = net_ep_setsockopt(is->ep, level, name, val, MIN(len, (unsigned)SOCKOPT_MAX));
	if (!ret && level == SOL_SOCKET && name == SO_RCVLOWAT && len >= sizeof(int))
		memcpy(&sock->rcvlowat, val, sizeof(int));
	return ret;
}

int inet_getsockopt(struct socket *sock, int level, int name, void *val, unsigned *len)
{
	struct inet_sock *is = sock->sk;
	socklen_t size = *len;
	int ret;

	if (is_ours(level, name))
		return -ENOIOCTLCMD;
	ret = net_ep_getsockopt(is->ep, level, name, val, &size);
	if (!ret)
		*len = MIN((unsigned)size, *len);
	return ret;
}
