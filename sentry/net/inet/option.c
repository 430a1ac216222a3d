/* Options: the endpoint's own, but for what blocks (timeouts) and what takes a privilege. */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/inet_internal.h"

/* 0, or the error for who may not set it. */
static int check_privilege(const struct socket *sock, int level, int name, const void *val,
			   unsigned len)
{
	int number = 0;

	memcpy(&number, val, MIN(len, (unsigned)sizeof(number)));
	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_DEBUG:
			return number && !socket_capable(sock, CAP_NET_ADMIN) ? -EACCES : 0;
		case SO_PRIORITY:
			return (number < 0 || number > 6) && !socket_capable(sock, CAP_NET_ADMIN)
				       ? -EPERM
				       : 0;
		case SO_MARK:
		case SO_SNDBUFFORCE:
		case SO_RCVBUFFORCE:
			return socket_capable(sock, CAP_NET_ADMIN) ? 0 : -EPERM;
		case SO_BINDTODEVICE:
		case SO_BINDTOIFINDEX:
			return socket_capable(sock, CAP_NET_RAW) ? 0 : -EPERM;
		}
	} else if ((level == IPPROTO_IP && name == IP_TRANSPARENT) ||
		   (level == IPPROTO_IPV6 && name == IPV6_TRANSPARENT)) {
		return number && !socket_capable(sock, CAP_NET_ADMIN) &&
				       !socket_capable(sock, CAP_NET_RAW)
			       ? -EPERM
			       : 0;
	}
	return 0;
}

/* Those the blocking layer needs itself: the generic code keeps them. */
static bool is_ours(int level, int name)
{
	return level == SOL_SOCKET &&
	       (name == SO_RCVTIMEO || name == SO_SNDTIMEO || name == SO_PASSCRED);
}

/* Its value points to a program in the guest's memory: the endpoint gets a copy, which it checks.
 */
static int attach_filter(struct inet_sock *is, const void *val, unsigned len)
{
	struct sock_filter *__free program = NULL;
	struct sock_fprog fprog;
	size_t size;

	if (len < sizeof(fprog))
		return -EINVAL;
	memcpy(&fprog, val, sizeof(fprog));
	if (!fprog.len || fprog.len > BPF_MAXINSNS)
		return -EINVAL;
	size = fprog.len * sizeof(*program);
	program = malloc(size);
	if (!program)
		return -ENOMEM;
	if (copy_from_user(program, (uaddr_t)(uintptr_t)fprog.filter, size))
		return -EFAULT;
	fprog.filter = program;
	return net_ep_setsockopt(is->ep, SOL_SOCKET, SO_ATTACH_FILTER, &fprog, sizeof(fprog));
}

int inet_setsockopt(struct socket *sock, int level, int name, const void *val, unsigned len)
{
	struct inet_sock *is = sock->sk;
	int ret;

	if (is_ours(level, name))
		return -ENOIOCTLCMD;
	if (level == SOL_SOCKET && name == SO_ATTACH_FILTER && !is->host)
		return attach_filter(is, val, len);
	if (level == SOL_SOCKET && (name == SO_ATTACH_BPF || name == SO_ATTACH_REUSEPORT_CBPF ||
				    name == SO_ATTACH_REUSEPORT_EBPF))
		return -EPERM;
	ret = check_privilege(sock, level, name, val, len);
	if (ret)
		return ret;
	len = MIN(len, (unsigned)SOCKOPT_MAX);
	ret = is->host ? host_setsockopt(is->host, level, name, val, len)
		       : net_ep_setsockopt(is->ep, level, name, val, len);
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
	ret = is->host ? host_getsockopt(is->host, level, name, val, &size)
		       : net_ep_getsockopt(is->ep, level, name, val, &size);
	if (!ret)
		*len = MIN((unsigned)size, *len);
	return ret;
}
