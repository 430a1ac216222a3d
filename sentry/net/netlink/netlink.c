/* Netlink sockets. */
#include "sentry/net/netlink/netlink_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/show.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif
#define MAX_REQUEST 65536U
#define DUMP_PIECE 4000U

struct nl_dgram {
	TAILQ_ENTRY(nl_dgram) link;
	size_t len;
	char *data;	 /* owned */
	bool dump;	 /* a part of one */
	uint32_t groups; /* that it was told to */
};

struct netlink_sock {
	struct mutex lock;
	struct wait_queue wait;
	TAILQ_HEAD(, nl_dgram) queue;
	size_t queued;
	_Atomic uint32_t portid; /* 0: not bound; set once, with ports_lock */
	const struct net_ns *net;
	int protocol;
	TAILQ_ENTRY(netlink_sock) bound_link; /* while it is bound; ports_lock */
	uint32_t groups;
	LIST_ENTRY(netlink_sock) member; /* members, once it has been in a group; members_lock */
	struct socket *sock;		 /* likewise */
	struct netstack *stack;		 /* whose changes it is told of; NULL: not a member */
	unsigned dumps;			 /* datagrams of a dump in the queue */
	bool overrun;			 /* answers were lost: the next receive says ENOBUFS */
};

/* Every bound socket; a leaf. */
static struct mutex ports_lock = MUTEX_INIT;
static TAILQ_HEAD(, netlink_sock) bound = TAILQ_HEAD_INITIALIZER(bound);
static struct mutex members_lock = MUTEX_INIT;
static LIST_HEAD(, netlink_sock) members = LIST_HEAD_INITIALIZER(members);

/* ports_lock held. False: another socket of the family and network namespace has the number. */
static bool take_port(struct netlink_sock *nl, uint32_t portid)
{
	struct netlink_sock *other;

	TAILQ_FOREACH (other, &bound, bound_link)
		if (other->portid == portid && other->net == nl->net &&
		    other->protocol == nl->protocol)
			return false;
	nl->portid = portid;
	TAILQ_INSERT_TAIL(&bound, nl, bound_link);
	return true;
}

/* The process's own number for its first socket, then some that no process has (man 7 netlink). */
static void netlink_bind_auto(struct netlink_sock *nl)
{
	static uint32_t next = 0x80000000U;
	MUTEX_GUARD(&ports_lock);

	if (nl->portid || take_port(nl, (uint32_t)task_tgid(current)))
		return;
	while (!take_port(nl, ++next | 0x80000000U))
		;
}

static int bind_port(struct netlink_sock *nl, uint32_t portid)
{
	MUTEX_GUARD(&ports_lock);
	if (nl->portid)
		return portid && portid != nl->portid ? -EINVAL : 0;
	return !portid || take_port(nl, portid) ? 0 : -EADDRINUSE;
}

/* The groups that it is to be told of: 0 or -errno. */
static int join(struct socket *sock, uint32_t groups)
{
	struct netlink_sock *nl = sock->sk;
	struct netstack *s = NULL;
	int ret = groups && sock->protocol == NETLINK_ROUTE ? inet_stack_of(sock->net, &s) : 0;

	if (ret)
		return ret;
	netlink_listen();
	MUTEX_GUARD(&members_lock);
	if (s && !nl->stack) {
		nl->stack = s;
		nl->sock = sock;
		LIST_INSERT_HEAD(&members, nl, member);
	}
	mutex_lock(&nl->lock);
	nl->groups = groups;
	mutex_unlock(&nl->lock);
	return 0;
}

bool netlink_anybody(struct netstack *s)
{
	struct netlink_sock *nl;
	MUTEX_GUARD(&members_lock);

	LIST_FOREACH (nl, &members, member)
		if (nl->stack == s)
			return true;
	return false;
}

static int netlink_bind(struct socket *sock, const struct sockaddr_storage *addr, int len)
{
	const struct sockaddr_nl *nladdr = (const struct sockaddr_nl *)(const void *)addr;
	struct netlink_sock *nl = sock->sk;
	int err;

	if (len < (int)sizeof(*nladdr) || nladdr->nl_family != AF_NETLINK)
		return -EINVAL;
	err = bind_port(nl, nladdr->nl_pid);
	if (err)
		return err;
	netlink_bind_auto(nl);
	return join(sock, nladdr->nl_groups);
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
		*d = (struct nl_dgram){.data = b->data, .len = b->len};
		nl->queued += d->len;
		TAILQ_INSERT_TAIL(&nl->queue, d, link);
	} else {
		free(b->data);
	}
	mutex_unlock(&nl->lock);
	wake_up(&nl->wait, EPOLLIN | EPOLLRDNORM);
	*b = (struct nl_buf){0};
}

/* Puts one piece of a dump into the queue. False: no memory. */
static bool queue_piece(struct netlink_sock *nl, const char *data, size_t len)
{
	struct nl_dgram *d = malloc(sizeof(*d));

	if (!d)
		return false;
	*d = (struct nl_dgram){.data = malloc(len), .len = len, .dump = true};
	if (!d->data) {
		free(d);
		return false;
	}
	memcpy(d->data, data, len);
	mutex_lock(&nl->lock);
	nl->queued += len;
	nl->dumps++;
	TAILQ_INSERT_TAIL(&nl->queue, d, link);
	mutex_unlock(&nl->lock);
	return true;
}

void netlink_tell(struct netstack *s, unsigned group, const void *data, size_t len)
{
	uint32_t bit = 1U << (group - 1);
	struct netlink_sock *nl;
	MUTEX_GUARD(&members_lock);

	LIST_FOREACH (nl, &members, member) {
		struct nl_dgram *d;

		if (nl->stack != s || !(nl->groups & bit))
			continue;
		d = malloc(sizeof(*d));
		if (d) {
			*d = (struct nl_dgram){.data = malloc(len), .len = len, .groups = bit};
			if (d->data)
				memcpy(d->data, data, len);
		}
		mutex_lock(&nl->lock);
		if (d && d->data && nl->queued + len <= (size_t)nl->sock->rcvbuf) {
			nl->queued += len;
			TAILQ_INSERT_TAIL(&nl->queue, d, link);
		} else {
			nl->overrun = true;
			if (d)
				free(d->data);
			free(d);
		}
		mutex_unlock(&nl->lock);
		wake_up(&nl->wait, EPOLLIN | EPOLLRDNORM);
	}
}

/* A dump comes in datagrams of whole messages, as large as glibc can read them. Linux makes them as
 * they are read, so that none is lost; here there is one dump at a time. */
static void queue_dump(struct socket *sock, struct nl_buf *b)
{
	struct netlink_sock *nl = sock->sk;
	size_t from = 0, to = 0;
	bool lost = b->error != 0;

	while (!lost && from < b->len) {
		uint32_t len = 0;

		if (to < b->len)
			memcpy(&len, b->data + to, sizeof(len));
		len = NLMSG_ALIGN(len);
		if (to < b->len && (to == from || to + len - from <= DUMP_PIECE)) {
			to += len;
			continue;
		}
		lost = !queue_piece(nl, b->data + from, to - from);
		from = to;
	}
	if (lost) {
		mutex_lock(&nl->lock);
		nl->overrun = true;
		mutex_unlock(&nl->lock);
	}
	free(b->data);
	*b = (struct nl_buf){0};
	wake_up(&nl->wait, EPOLLIN | EPOLLRDNORM);
}

static bool dump_under_way(struct netlink_sock *nl)
{
	MUTEX_GUARD(&nl->lock);
	return nl->dumps != 0;
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

	out.dump = (req->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	if (!(req->nlmsg_flags & NLM_F_REQUEST) || req->nlmsg_type < NLMSG_MIN_TYPE)
		ret = 0;
	else if (out.dump && dump_under_way(nl))
		ret = -EBUSY;
	else
		ret = (sock->protocol == NETLINK_SOCK_DIAG ? sock_diag_request : rtnetlink_request)(
			sock, req, nl->portid, &out, &dump);
	if (ret) {
		out.len = 0;
		answer_error(&out, req, nl->portid, ret);
	} else if (dump) {
		int done = 0;

		queue_dump(sock, &out);
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
		nl->dumps -= d->dump;
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
	from.nl_groups = d->groups;
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
		if (v <= 0 || v > RTNLGRP_MAX)
			return -EINVAL;
		/* Of those beyond nothing is ever told. */
		if (v > 32)
			return 0;
		return join(sock, name == NETLINK_ADD_MEMBERSHIP ? nl->groups | 1U << (v - 1)
								 : nl->groups & ~(1U << (v - 1)));
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

	mutex_lock(&ports_lock);
	if (nl->portid)
		TAILQ_REMOVE(&bound, nl, bound_link);
	mutex_unlock(&ports_lock);
	mutex_lock(&members_lock);
	if (nl->stack)
		LIST_REMOVE(nl, member);
	mutex_unlock(&members_lock);
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
	if (protocol != NETLINK_ROUTE && protocol != NETLINK_SOCK_DIAG)
		return -EPROTONOSUPPORT;
	nl = calloc(1, sizeof(*nl));
	if (!nl)
		return -ENOMEM;
	mutex_init(&nl->lock);
	wait_queue_init(&nl->wait);
	TAILQ_INIT(&nl->queue);
	nl->net = sock->net;
	nl->protocol = protocol;
	sock->sk = nl;
	sock->ops = &netlink_ops;
	return 0;
}

extern const struct socket_family netlink_family;
const struct socket_family netlink_family = {.family = AF_NETLINK, .create = netlink_create};
