/* TCP, UDP, ping and raw sockets: making, naming, connecting, closing. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "sentry/kernel/task.h"
#include "sentry/net/inet/inet.h"

#define PORT_UNPRIVILEGED 1024

static struct mutex pool_lock = MUTEX_INIT;
static struct inet_sock *pool;

struct inet_sock *inet_sock_alloc(void)
{
	struct inet_sock *is;

	mutex_lock(&pool_lock);
	is = pool;
	if (is)
		pool = is->next_free;
	mutex_unlock(&pool_lock);
	if (!is) {
		is = calloc(1, sizeof(*is));
		if (!is)
			return NULL;
		wait_queue_init(&is->wait);
	}
	__atomic_store_n(&is->ino, 0, __ATOMIC_RELAXED);
	is->uid = vfs_cred()->fsuid;
	return is;
}

void inet_sock_free(struct inet_sock *is)
{
	is->ep = NULL;
	MUTEX_GUARD(&pool_lock);
	is->next_free = pool;
	pool = is;
}

static void inet_ready(struct net_ep *ep, void *user, uint32_t events)
{
	struct inet_sock *is = user;

	(void)ep;
	if (events & EPOLLIN)
		events |= EPOLLRDNORM;
	if (events & EPOLLOUT)
		events |= EPOLLWRNORM | EPOLLWRBAND;
	wake_up(&is->wait, events);
}

const struct net_ep_ops inet_ep_ops = {.ready = inet_ready};

static bool ready_for(struct inet_sock *is, uint32_t events)
{
	return net_ep_readiness(is->ep) & (events | EPOLLERR | EPOLLHUP);
}

int inet_wait(struct inet_sock *is, uint32_t events, int64_t deadline, int64_t timeo)
{
	int ret = wait_event_interruptible(&is->wait, ready_for(is, events), deadline);

	return ret ? socket_wait_error(ret, timeo) : 0;
}

static int port_of(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

static int inet_bind(struct socket *sock, const struct sockaddr_storage *addr, int len)
{
	struct inet_sock *is = sock->sk;
	int port;

	if (len >= (int)sizeof(struct sockaddr_in) && sock->type != SOCK_RAW) {
		port = port_of(addr);
		if (port && port < PORT_UNPRIVILEGED && !capable(CAP_NET_BIND_SERVICE))
			return -EACCES;
	}
	return net_ep_bind(is->ep, (const struct sockaddr *)addr, (socklen_t)len);
}

static int inet_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
			bool nonblock)
{
	int64_t deadline = socket_deadline(sock->sndtimeo);
	struct inet_sock *is = sock->sk;

	for (;;) {
		int ret = net_ep_connect(is->ep, (const struct sockaddr *)addr, (socklen_t)len);

		if ((ret != -EINPROGRESS && ret != -EALREADY) || nonblock)
			return ret;
		ret = inet_wait(is, EPOLLOUT, deadline, sock->sndtimeo);
		if (ret == -EAGAIN)
			return -EINPROGRESS; /* SO_SNDTIMEO */
		if (ret)
			return ret;
	}
}

static int inet_listen(struct socket *sock, int backlog)
{
	struct inet_sock *is = sock->sk;

	return net_ep_listen(is->ep, backlog);
}

static void inet_opened(struct socket *sock)
{
	struct inet_sock *is = sock->sk;

	__atomic_store_n(&is->ino, sock->file->inode->ino, __ATOMIC_RELAXED);
}

static int inet_accept(struct socket *sock, struct socket *fresh, bool nonblock)
{
	int64_t deadline = socket_deadline(sock->rcvtimeo);
	struct inet_sock *is = sock->sk, *child;
	struct net_ep *ep;
	int ret;

	for (;;) {
		ret = net_ep_accept(is->ep, &ep);
		if (!ret)
			break;
		if (ret != -EAGAIN || nonblock)
			return ret;
		ret = inet_wait(is, EPOLLIN, deadline, sock->rcvtimeo);
		if (ret)
			return ret;
	}
	child = inet_sock_alloc();
	if (!child) {
		net_ep_close(ep);
		return -ENOMEM;
	}
	child->ep = ep;
	fresh->sk = child;
	inet_opened(fresh);
	net_ep_set_ops(ep, &inet_ep_ops, child);
	return 0;
}

static int inet_getname(struct socket *sock, struct sockaddr_storage *addr, bool peer)
{
	struct inet_sock *is = sock->sk;
	socklen_t len = sizeof(*addr);
	int ret;

	memset(addr, 0, sizeof(*addr));
	ret = peer ? net_ep_remote(is->ep, (struct sockaddr *)addr, &len)
		   : net_ep_local(is->ep, (struct sockaddr *)addr, &len);
	return ret ? ret : (int)len;
}

static uint32_t inet_poll(struct socket *sock, struct poll_table *pt)
{
	struct inet_sock *is = sock->sk;

	poll_wait(pt, &is->wait);
	return net_ep_readiness(is->ep);
}

static long inet_ioctl(struct socket *sock, unsigned cmd, uint64_t arg)
{
	struct inet_sock *is = sock->sk;
	int ret, value = 0;

	if (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCATMARK && cmd != SIOCOUTQNSD)
		return -ENOIOCTLCMD;
	ret = net_ep_ioctl(is->ep, cmd, &value);
	return ret ? ret : put_user(arg, value);
}

static int inet_shutdown(struct socket *sock, int how)
{
	struct inet_sock *is = sock->sk;
	int ret = net_ep_shutdown(is->ep, how);

	if (!ret)
		wake_up_all(&is->wait, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLRDNORM);
	return ret;
}

#define LINGER_STEP (20 * 1000000LL)

/* SO_LINGER (man 7 socket): close waits until the peer has everything, or the time is over. That it
 * has is no readiness, so it is looked for now and then, too. */
static void linger(struct socket *sock, struct inet_sock *is)
{
	struct linger opt = {0};
	socklen_t len = sizeof(opt);
	int64_t deadline;
	int ret = 0;

	if (sock->type != SOCK_STREAM || !current)
		return;
	if (net_ep_getsockopt(is->ep, SOL_SOCKET, SO_LINGER, &opt, &len) || !opt.l_onoff ||
	    opt.l_linger <= 0)
		return;
	if (net_ep_shutdown(is->ep, SHUT_RDWR))
		return;
	deadline = socket_deadline(opt.l_linger * NSEC_PER_SEC);
	while (ret != -ERESTARTSYS && net_ep_lingering(is->ep) && monotonic_ns() < deadline) {
		int64_t step = monotonic_ns() + LINGER_STEP;

		ret = wait_event_interruptible(&is->wait, !net_ep_lingering(is->ep),
					       MIN(step, deadline));
	}
}

static void inet_release(struct socket *sock)
{
	struct inet_sock *is = sock->sk;

	if (!is)
		return;
	linger(sock, is);
	net_ep_close(is->ep);
	inet_sock_free(is);
}

const struct socket_ops inet_ops = {
	.bind = inet_bind,
	.connect = inet_connect,
	.accept = inet_accept,
	.listen = inet_listen,
	.getname = inet_getname,
	.poll = inet_poll,
	.ioctl = inet_ioctl,
	.shutdown = inet_shutdown,
	.setsockopt = inet_setsockopt,
	.getsockopt = inet_getsockopt,
	.sendmsg = inet_sendmsg,
	.recvmsg = inet_recvmsg,
	.opened = inet_opened,
	.release = inet_release,
};

static int create_family(struct socket *sock, int family, int type, int protocol)
{
	struct inet_sock *is;
	struct netstack *s;
	socklen_t len = sizeof(sock->protocol);
	int ret;

	if (type == SOCK_RAW && !capable(CAP_NET_RAW))
		return -EPERM;
	ret = inet_stack_of(sock->net, &s);
	if (ret)
		return ret;
	is = inet_sock_alloc();
	if (!is)
		return -ENOMEM;
	ret = net_ep_create(s, family, type, protocol, &inet_ep_ops, is, &is->ep);
	if (ret) {
		inet_sock_free(is);
		return ret;
	}
	net_ep_getsockopt(is->ep, SOL_SOCKET, SO_PROTOCOL, &sock->protocol, &len);
	sock->sk = is;
	sock->ops = &inet_ops;
	return 0;
}

static int inet4_create(struct socket *sock, int type, int protocol)
{
	return create_family(sock, AF_INET, type, protocol);
}

static int inet6_create(struct socket *sock, int type, int protocol)
{
	return create_family(sock, AF_INET6, type, protocol);
}

extern const struct socket_family inet_family, inet6_family;
const struct socket_family inet_family = {.family = AF_INET, .create = inet4_create};
const struct socket_family inet6_family = {.family = AF_INET6, .create = inet6_create};
