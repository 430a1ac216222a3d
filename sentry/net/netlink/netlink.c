/* Netlink sockets. */
#include "sentry/net/netlink/netlink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/task.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#define MAX_REQUEST 65536U

struct nl_dgram {
	TAILQ_ENTRY(nl_dgram) link;
	size_t len;
	char *data; /* owned */
};

struct netlink_sock {
	struct mutex lock;
	struct wait_queue wait;
	TAILQ_HEAD(, nl_dgram) queue;
	size_t queued;
	uint32_t portid; /* 0: not bound */
	uint32_t groups;
	bool overrun; /* answers were lost: the next receive says ENOBUFS */
};

/* Port numbers: the process's own for its first socket is what Linux gives; that it is unique is
 * all that programs rely on. */
static uint32_t next_portid(void)
{
	static _Atomic uint32_t next = 0x80000000U;

	return ++next;
}

static void netlink_bind_auto(struct netlink_sock *nl)
{
	MUTEX_GUARD(&nl->lock);
	if (!nl->portid)
		nl->portid = next_portid();
}

static int netlink_bind(struct socket *sock, const struct sockaddr_storage *addr, int len)
{
	const struct sockaddr_nl *nladdr = (const struct sockaddr_nl *)(const void *)addr;
	struct netlink_sock *nl = sock->sk;

	if (len < (int)sizeof(*nladdr) || nladdr->nl_family != AF_NETLINK)
		return -EINVAL;
	mutex_lock(&nl->lock);
	if (nl->portid && nladdr->nl_pid && nladdr->nl_pid != nl->portid) {
		mutex_unlock(&nl->lock);
		return -EINVAL;
	}
	if (!nl->portid)
		nl->portid = nladdr->nl_pid;
	nl->groups = nladdr->nl_groups;
	mutex_unlock(&nl->lock);
	netlink_bind_auto(nl);
	return 0;
}

/* Only the kernel can be talked to. */
static int netlink_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
			   bool nonblock)
{
	const struct sockaddr_nl *nladdr = (const struct sockaddr_nl *)(const void *)addr;

	(void)nonblock;
	if (addr->ss_family == AF_UNSPEC)
		return 0;
	if (len < (int)sizeof(*nladdr) || nladdr->nl_family != AF_NETLINK)
		return -EINVAL;
	if (nladdr->nl_pid || nladdr->nl_groups)
		return -EPERM;
	netlink_bind_auto(sock->sk);
	return 0;
}

static int netlink_getname(struct socket *sock, struct sockaddr_storage *addr, bool peer)
{
	struct netlink_sock *nl = sock->sk;
	struct sockaddr_nl name = {.nl_family = AF_NETLINK};

	if (!peer) {
		name.nl_pid = nl->portid;
		name.nl_groups = nl->groups;
	}
	memcpy(addr, &name, sizeof(name));
	return sizeof(name);
}

static uint32_t netlink_poll(struct socket *sock, struct poll_table *pt)
{
	struct netlink_sock *nl = sock->sk;
	uint32_t mask = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

	poll_wait(pt, &nl->wait);
	MUTEX_GUARD(&nl->lock);
	if (!TAILQ_EMPTY(&nl->queue))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (nl->overrun)
		mask |= EPOLLERR;
	return mask;
}

/* Puts what was written into the queue, as one datagram; consumes b->data. */
static void queue_answer(struct socket *sock, struct nl_buf *b)
{
	struct netlink_sock *nl = sock->sk;
	struct nl_dgram *d = b->len ? malloc(sizeof(*d)) : NULL;

	mutex_lock(&nl->lock);
	if (b->len && (!d || b->error || nl->queued + b->len > (size_t)sock->rcvbuf)) {
		nl->overrun = true;
		free(b->data);
		free(d);
	} else if (d) {
		d->data = b->data;
		d->len = b->len;
		nl->queued += d->len;
		TAILQ_INSERT_TAIL(&nl->queue, d, link);
	} else {
		free(b->data);
	}
	mutex_unlock(&nl->lock);
	wake_up(&nl->wait, EPOLLIN | EPOLLRDNORM);
	*b = (struct nl_buf){0};
}

static void answer_error(struct nl_buf *b, const struct nlmsghdr *req, uint32_t portid, int error)
{
	struct nlmsgerr err = {.error = error, .msg = *req};

	nl_begin(b, NLMSG_ERROR, error ? 0 : NLM_F_CAPPED, req->nlmsg_seq, portid);
	nl_put(b, &err, sizeof(err));
	/* An error carries the whole request back. */
	if (error && req->nlmsg_len > NLMSG_HDRLEN)
		nl_put(b, (const char *)req + NLMSG_HDRLEN, req->nlmsg_len - NLMSG_HDRLEN);
	nl_end(b);
}

static void handle(struct socket *sock, const struct nlmsghdr *req)
{
	struct netlink_sock *nl = sock->sk;
	struct nl_buf out = {0};
	bool dump = false;
	int ret;

	if (!(req->nlmsg_flags & NLM_F_REQUEST) || req->nlmsg_type < NLMSG_MIN_TYPE)
		ret = 0;
	else
		ret = rtnetlink_request(sock, req, nl->portid, &out, &dump);
	if (ret) {
		out.len = 0;
		answer_error(&out, req, nl->portid, ret);
	} else if (dump) {
		int done = 0;

		queue_answer(sock, &out);
		nl_begin(&out, NLMSG_DONE, NLM_F_MULTI, req->nlmsg_seq, nl->portid);
		nl_put(&out, &done, sizeof(done));
		nl_end(&out);
	} else if (req->nlmsg_flags & NLM_F_ACK) {
		answer_error(&out, req, nl->portid, 0);
	}
	queue_answer(sock, &out);
}

static ssize_t netlink_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	const struct sockaddr_nl *to = (const struct sockaddr_nl *)(const void *)&msg->name;
	size_t len = iov_iter_count(msg->iter), at = 0;
	char *__free buf = NULL;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (msg->namelen) {
		if (msg->namelen < (int)sizeof(*to) || to->nl_family != AF_NETLINK)
			return -EINVAL;
		if (to->nl_groups)
			return -EPERM;
		if (to->nl_pid)
			return -ECONNREFUSED;
	}
	if (len > MAX_REQUEST)
		return -EMSGSIZE;
	netlink_bind_auto(sock->sk);
	/* One header more than there is: what is read of the last one is ours. */
	buf = calloc(1, len + sizeof(struct nlmsghdr));
	if (!buf)
		return -ENOBUFS;
	if (len && copy_from_iter(msg->iter, buf, len) != (ssize_t)len)
		return -EFAULT;
	while (len - at >= NLMSG_HDRLEN) {
		const struct nlmsghdr *req = (const struct nlmsghdr *)(const void *)(buf + at);

		if (req->nlmsg_len < NLMSG_HDRLEN || req->nlmsg_len > len - at)
			break;
		handle(sock, req);
		at += MIN(NLMSG_ALIGN((size_t)req->nlmsg_len), len - at);
	}
	return (ssize_t)len;
}

static bool readable(struct netlink_sock *nl)
{
	MUTEX_GUARD(&nl->lock);
	return !TAILQ_EMPTY(&nl->queue) || nl->overrun;
}

/* The next datagram: taken out of the queue, or copied for MSG_PEEK. Owned by the caller. */
static struct nl_dgram *next_dgram(struct netlink_sock *nl, bool peek, int *err)
{
	struct nl_dgram *d, *copy;

	MUTEX_GUARD(&nl->lock);
	*err = nl->overrun ? -ENOBUFS : -EAGAIN;
	nl->overrun = false;
	d = *err == -ENOBUFS ? NULL : TAILQ_FIRST(&nl->queue);
	if (!d)
		return NULL;
	if (!peek) {
		TAILQ_REMOVE(&nl->queue, d, link);
		nl->queued -= d->len;
		return d;
	}
	*err = -ENOMEM;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return NULL;
	*copy = *d;
	copy->data = malloc(d->len);
	if (!copy->data) {
		free(copy);
		return NULL;
	}
	memcpy(copy->data, d->data, d->len);
	return copy;
}

static ssize_t netlink_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	int64_t deadline = socket_deadline(sock->rcvtimeo);
	struct sockaddr_nl from = {.nl_family = AF_NETLINK};
	struct netlink_sock *nl = sock->sk;
	struct nl_dgram *d;
	ssize_t ret;
	size_t n;
	int err;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	while (!(d = next_dgram(nl, flags & MSG_PEEK, &err))) {
		if (err != -EAGAIN || (flags & MSG_DONTWAIT))
			return err;
		err = wait_event_interruptible(&nl->wait, readable(nl), deadline);
		if (err)
			return socket_wait_error(err, sock->rcvtimeo);
	}
	n = MIN(d->len, iov_iter_count(msg->iter));
	if (n < d->len)
		msg->flags |= MSG_TRUNC;
	ret = flags & MSG_TRUNC ? (ssize_t)d->len : (ssize_t)n;
	if (n && copy_to_iter(msg->iter, d->data, n) != (ssize_t)n)
		ret = -EFAULT;
	memcpy(&msg->name, &from, sizeof(from));
	msg->namelen = sizeof(from);
	free(d->data);
	free(d);
	return ret;
}

static int netlink_setsockopt(struct socket *sock, int level, int name, const void *val,
			      unsigned len)
{
	struct netlink_sock *nl = sock->sk;
	int v;

	if (level != SOL_NETLINK)
		return -ENOIOCTLCMD;
	if (len < sizeof(v))
		return -EINVAL;
	memcpy(&v, val, sizeof(v));
	switch (name) {
	case NETLINK_ADD_MEMBERSHIP:
	case NETLINK_DROP_MEMBERSHIP:
		/* The groups are there; nothing that they tell of changes. */
		if (v <= 0 || v > RTNLGRP_MAX)
			return -EINVAL;
		if (v <= 32)
			nl->groups = name == NETLINK_ADD_MEMBERSHIP ? nl->groups | 1U << (v - 1)
								    : nl->groups & ~(1U << (v - 1));
		return 0;
	case NETLINK_EXT_ACK:	     /* allows, does not require */
	case NETLINK_GET_STRICT_CHK: /* what is asked is answered exactly as it is */
	case NETLINK_NO_ENOBUFS:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static void netlink_release(struct socket *sock)
{
	struct netlink_sock *nl = sock->sk;
	struct nl_dgram *d;

	while ((d = TAILQ_FIRST(&nl->queue))) {
		TAILQ_REMOVE(&nl->queue, d, link);
		free(d->data);
		free(d);
	}
	mutex_destroy(&nl->lock);
	free(nl);
}

static const struct socket_ops netlink_ops = {
	.bind = netlink_bind,
	.connect = netlink_connect,
	.getname = netlink_getname,
	.poll = netlink_poll,
	.setsockopt = netlink_setsockopt,
	.sendmsg = netlink_sendmsg,
	.recvmsg = netlink_recvmsg,
	.release = netlink_release,
};

static int netlink_create(struct socket *sock, int type, int protocol)
{
	struct netlink_sock *nl;

	if (type != SOCK_RAW && type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (protocol != NETLINK_ROUTE)
		return -EPROTONOSUPPORT;
	nl = calloc(1, sizeof(*nl));
	if (!nl)
		return -ENOMEM;
	mutex_init(&nl->lock);
	wait_queue_init(&nl->wait);
	TAILQ_INIT(&nl->queue);
	sock->sk = nl;
	sock->ops = &netlink_ops;
	return 0;
}

extern const struct socket_family netlink_family;
const struct socket_family netlink_family = {.family = AF_NETLINK, .create = netlink_create};
