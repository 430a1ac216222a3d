/* TCP, UDP, ping and raw sockets: making, naming, connecting, closing. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/inet_internal.h"

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
	is->host = NULL;
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
	return inet_readiness(is, true) & (events | EPOLLERR | EPOLLHUP);
}

int inet_wait(struct inet_sock *is, uint32_t events, int64_t deadline, int64_t timeo)
{
	int ret = wait_event_interruptible(inet_queue(is), ready_for(is, events), deadline);

	return ret ? socket_wait_error(ret, timeo) : 0;
}

static int port_of(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
	return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

/* Of the socket's namespace: ip_unprivileged_port_start (man 7 ip). */
static int privileged_ports(const struct socket *sock)
{
	struct netstack *s;
	long start = 1024;

	if (!inet_stack_of(sock->net, &s))
		netstack_sysctl_get(s, "ipv4.ip_unprivileged_port_start", &start, 1);
	return (int)start;
}

static int inet_bind(struct socket *sock, const struct sockaddr_storage *addr, int len)
{
	struct inet_sock *is = sock->sk;
	int port;

	if (len >= (int)sizeof(struct sockaddr_in) && sock->type != SOCK_RAW &&
	    sock->family != AF_PACKET) {
		port = port_of(addr);
		if (port && port < privileged_ports(sock) &&
		    !socket_capable(sock, CAP_NET_BIND_SERVICE))
			return -EACCES;
	}
	return is->host ? host_bind(is->host, (const struct sockaddr *)addr, (socklen_t)len)
			: net_ep_bind(is->ep, (const struct sockaddr *)addr, (socklen_t)len);
}

static int inet_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
			bool nonblock)
{
	int64_t deadline = socket_deadline(sock->sndtimeo);
	struct inet_sock *is = sock->sk;
	struct sockaddr_storage to = *addr;

	inet_redirect_out(sock, &to, len);
	for (;;) {
		const struct sockaddr *at = (const struct sockaddr *)&to;
		int ret = is->host ? host_connect(is->host, at, (socklen_t)len)
				   : net_ep_connect(is->ep, at, (socklen_t)len);

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

	return is->host ? host_listen(is->host, backlog) : net_ep_listen(is->ep, backlog);
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
	struct host_ep *host = NULL;
	struct net_ep *ep = NULL;
	int ret;

	for (;;) {
		ret = is->host ? host_accept(is->host, &host) : net_ep_accept(is->ep, &ep);
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
		if (host)
			host_close(host);
		else
			net_ep_close(ep);
		return -ENOMEM;
	}
	child->ep = ep;
	child->host = host;
	child->redirect = is->redirect;
	fresh->sk = child;
	inet_opened(fresh);
	if (ep)
		net_ep_set_ops(ep, &inet_ep_ops, child);
	return 0;
}

static int inet_getname(struct socket *sock, struct sockaddr_storage *addr, bool peer)
{
	struct inet_sock *is = sock->sk;
	socklen_t len = sizeof(*addr);
	int ret;

	memset(addr, 0, sizeof(*addr));
	if (is->host)
		ret = host_name(is->host, (struct sockaddr *)addr, &len, peer);
	else
		ret = peer ? net_ep_remote(is->ep, (struct sockaddr *)addr, &len)
			   : net_ep_local(is->ep, (struct sockaddr *)addr, &len);
	if (!ret && peer)
		inet_redirect_in(sock, addr, (int)len);
	return ret ? ret : (int)len;
}

static uint32_t inet_poll(struct socket *sock, struct poll_table *pt)
{
	struct inet_sock *is = sock->sk;

	poll_wait(pt, inet_queue(is));
	return inet_readiness(is, (pt && pt->queue_fn) || wait_queue_active(inet_queue(is)));
}

static long inet_ioctl(struct socket *sock, unsigned cmd, uint64_t arg)
{
	struct inet_sock *is = sock->sk;
	int ret, value = 0;

	if (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCATMARK && cmd != SIOCOUTQNSD)
		return -ENOIOCTLCMD;
	ret = is->host ? host_ioctl(is->host, cmd, &value) : net_ep_ioctl(is->ep, cmd, &value);
	return ret ? ret : put_user(arg, value);
}

static int inet_shutdown(struct socket *sock, int how)
{
	struct inet_sock *is = sock->sk;
	int ret = is->host ? host_shutdown(is->host, how) : net_ep_shutdown(is->ep, how);

	if (!ret)
		wake_up_all(inet_queue(is),
			    EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | EPOLLRDNORM);
	return ret;
}

#define LINGER_STEP (20 * 1000000LL)

static bool lingering(struct inet_sock *is)
{
	return is->host ? host_lingering(is->host) : net_ep_lingering(is->ep);
}

/* SO_LINGER (man 7 socket): close waits until the peer has everything, or the time is over. That it
 * has is no readiness, so it is looked for now and then, too. */
static void linger(struct socket *sock, struct inet_sock *is)
{
	struct linger opt = {0};
	unsigned len = sizeof(opt);
	int64_t deadline;
	int ret = 0;

	if (sock->type != SOCK_STREAM || !current)
		return;
	if (inet_getsockopt(sock, SOL_SOCKET, SO_LINGER, &opt, &len) || !opt.l_onoff ||
	    opt.l_linger <= 0)
		return;
	if (is->host ? host_shutdown(is->host, SHUT_RDWR) : net_ep_shutdown(is->ep, SHUT_RDWR))
		return;
	deadline = socket_deadline(opt.l_linger * NSEC_PER_SEC);
	while (ret != -ERESTARTSYS && lingering(is) && monotonic_ns() < deadline) {
		int64_t step = monotonic_ns() + LINGER_STEP;

		ret = wait_event_interruptible(inet_queue(is), !lingering(is), MIN(step, deadline));
	}
}

static void inet_release(struct socket *sock)
{
	struct inet_sock *is = sock->sk;

	if (!is)
		return;
	linger(sock, is);
	if (is->host)
		host_close(is->host);
	else
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
	unsigned len = sizeof(sock->protocol);
	int ret;

	if ((type == SOCK_RAW || family == AF_PACKET) && !socket_capable(sock, CAP_NET_RAW))
		return -EPERM;
	ret = inet_stack_of(sock->net, &s);
	if (ret)
		return ret;
	is = inet_sock_alloc();
	if (!is)
		return -ENOMEM;
	is->redirect = inet_redirect_of(s);
	if (host_wanted(sock->net, family, type, protocol))
		ret = host_create(s, family, type, protocol, &is->host);
	else
		ret = net_ep_create(s, family, type, protocol, &inet_ep_ops, is, &is->ep);
	if (ret) {
		inet_sock_free(is);
		return ret;
	}
	sock->sk = is;
	inet_getsockopt(sock, SOL_SOCKET, SO_PROTOCOL, &sock->protocol, &len);
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

static int packet_create(struct socket *sock, int type, int protocol)
{
	return create_family(sock, AF_PACKET, type, protocol);
}

extern const struct socket_family inet_family, inet6_family, packet_family;
const struct socket_family inet_family = {
	.family = AF_INET, .create = inet4_create, .ns_destroy = inet_stack_destroy};
const struct socket_family inet6_family = {.family = AF_INET6, .create = inet6_create};
const struct socket_family packet_family = {.family = AF_PACKET, .create = packet_create};
