/* Moving data: by way of a buffer here, since endpoints read and write the sentry's memory. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/inet/inet_internal.h"

#define REFUSED_PAUSE_NS 5000000

#define SMALL 2048
#define STREAM_CHUNK 65536UL
#define DGRAM_MAX 65536UL
#define CONTROL_BUF 1024UL

/* Sends all of buf, or as much as goes without blocking. Bytes, or -errno if none. */
static ssize_t send_buffer(struct socket *sock, struct net_msg *nm, char *buf, size_t n,
			   unsigned flags, int64_t deadline)
{
	struct inet_sock *is = sock->sk;
	unsigned refusals = 0;
	size_t done = 0;

	do {
		struct iovec iov = {buf + done, n - done};
		ssize_t ret;

		nm->iov = &iov;
		nm->iovcnt = 1;
		ret = is->host ? host_sendmsg(is->host, nm, (int)flags)
			       : net_ep_sendmsg(is->ep, nm, (int)flags | MSG_NOSIGNAL);
		if (ret >= 0) {
			done += (size_t)ret;
			refusals = 0;
			if (sock->type != SOCK_STREAM)
				break;
			continue;
		}
		if (ret != -EAGAIN || (flags & MSG_DONTWAIT))
			return done ? (ssize_t)done : ret;
		ret = inet_wait(is, EPOLLOUT, deadline, sock->sndtimeo);
		/* Room, yet refused again and again: the stack is out of memory. Polling it would
		 * never look at signals. */
		if (!ret && ++refusals > 3) {
			wait_prepare();
			ret = wait_block(monotonic_ns() + REFUSED_PAUSE_NS, true);
			if (ret == -ETIMEDOUT)
				ret = 0;
		}
		if (ret)
			return done ? (ssize_t)done : ret;
	} while (done < n);
	return (ssize_t)done;
}

static ssize_t send_all(struct socket *sock, struct socket_msg *msg, unsigned flags, char *buf,
			size_t size)
{
	int64_t deadline = socket_deadline(sock->sndtimeo);
	struct net_msg nm = {0};
	ssize_t done = 0;

	if (msg->namelen) {
		inet_redirect_out(sock, &msg->name, msg->namelen);
		nm.name = (struct sockaddr *)&msg->name;
		nm.namelen = (socklen_t)msg->namelen;
	}
	if (msg->control_in_len) {
		nm.control = (void *)(uintptr_t)msg->control_in;
		nm.controllen = msg->control_in_len;
	}
	do {
		size_t n = MIN(iov_iter_count(msg->iter), size);
		ssize_t ret;

		if (n && copy_from_iter(msg->iter, buf, n) != (ssize_t)n)
			return done ? done : -EFAULT;
		ret = send_buffer(sock, &nm, buf, n, flags, deadline);
		if (ret < 0)
			return done ? done : ret;
		done += ret;
		if ((size_t)ret < n)
			break;
	} while (iov_iter_count(msg->iter));
	return done;
}

ssize_t inet_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	size_t len = iov_iter_count(msg->iter), size = SMALL;
	char small[SMALL], *__free heap = NULL;
	ssize_t ret;

	if (sock->type != SOCK_STREAM && len > DGRAM_MAX)
		return -EMSGSIZE;
	if (len > SMALL) {
		size = sock->type == SOCK_STREAM ? MIN(len, STREAM_CHUNK) : len;
		heap = malloc(size);
		if (!heap)
			return -ENOBUFS;
	}
	ret = send_all(sock, msg, flags, heap ? heap : small, size);
	if (ret == -EPIPE && sock->type == SOCK_STREAM && !(flags & MSG_NOSIGNAL))
		task_send_sigpipe();
	return ret;
}

/* Control messages that the endpoint wrote: to the guest. */
static void export_control(struct socket_msg *msg, const void *control, size_t len)
{
	if (!len)
		return;
	if (copy_to_user(msg->control, control, len)) {
		msg->flags |= MSG_CTRUNC;
		return;
	}
	msg->control += len;
	msg->control_space -= len;
	msg->control_used += len;
}

/* One receive that waits until there is something. */
static ssize_t recv_buffer(struct socket *sock, struct socket_msg *msg, char *buf, size_t n,
			   unsigned flags, int64_t deadline)
{
	char control[CONTROL_BUF] __attribute__((aligned(8)));
	struct inet_sock *is = sock->sk;

	for (;;) {
		struct iovec iov = {buf, n};
		struct net_msg nm = {.name = (struct sockaddr *)&msg->name,
				     .namelen = sizeof(msg->name),
				     .iov = &iov,
				     .iovcnt = 1};
		ssize_t ret;

		if (msg->control) {
			nm.control = control;
			nm.controllen = MIN(msg->control_space, CONTROL_BUF);
		}
		ret = is->host ? host_recvmsg(is->host, &nm, (int)flags)
			       : net_ep_recvmsg(is->ep, &nm, (int)flags);
		if (ret >= 0) {
			msg->namelen = sock->type == SOCK_STREAM
					       ? 0
					       : (int)MIN((size_t)nm.namelen, sizeof(msg->name));
			inet_redirect_in(sock, &msg->name, msg->namelen);
			msg->flags |= (unsigned)nm.flags;
			if (msg->control)
				export_control(msg, control, MIN(nm.controllen, CONTROL_BUF));
			return ret;
		}
		/* MSG_OOB never waits, as on Linux: its mark may be ready long before its byte. */
		if (ret != -EAGAIN || (flags & (MSG_DONTWAIT | MSG_ERRQUEUE | MSG_OOB)))
			return ret;
		ret = inet_wait(is, EPOLLIN | EPOLLRDHUP, deadline, sock->rcvtimeo);
		if (ret)
			return ret;
	}
}

static ssize_t recv_stream(struct socket *sock, struct socket_msg *msg, unsigned flags, char *buf,
			   size_t size)
{
	int64_t deadline = socket_deadline(sock->rcvtimeo);
	size_t want = iov_iter_count(msg->iter), target = 1;
	size_t done = 0, space = msg->control_space, used = 0;
	uaddr_t control = msg->control;

	if (flags & MSG_WAITALL)
		target = want;
	else if (sock->rcvlowat > 1)
		target = MIN(want, (size_t)sock->rcvlowat);
	do {
		/* What is beyond the target is taken only if it is there. */
		unsigned f = done >= target ? flags | MSG_DONTWAIT : flags;
		size_t n = MIN(want - done, size);
		ssize_t ret;

		/* The last piece's control messages are the call's. */
		msg->control = control;
		msg->control_space = space;
		msg->control_used = 0;
		ret = recv_buffer(sock, msg, buf, n, f & ~(unsigned)MSG_WAITALL, deadline);

		if (ret <= 0) {
			msg->control_used = MAX(msg->control_used, used);
			return done ? (ssize_t)done : ret;
		}
		used = msg->control_used;
		if (!(flags & MSG_TRUNC) && copy_to_iter(msg->iter, buf, (size_t)ret) != ret)
			return done ? (ssize_t)done : -EFAULT;
		done += (size_t)ret;
		if ((flags & (MSG_PEEK | MSG_OOB)) || ((size_t)ret < n && done >= target))
			break;
	} while (done < want);
	return (ssize_t)done;
}

static ssize_t recv_dgram(struct socket *sock, struct socket_msg *msg, unsigned flags, char *buf,
			  size_t size)
{
	int64_t deadline = socket_deadline(sock->rcvtimeo);
	ssize_t ret = recv_buffer(sock, msg, buf, size, flags, deadline);
	size_t n;

	if (ret <= 0)
		return ret;
	n = MIN((size_t)ret, size); /* with MSG_TRUNC the result is the datagram's length */
	if (n && copy_to_iter(msg->iter, buf, n) != (ssize_t)n)
		return -EFAULT;
	return ret;
}

ssize_t inet_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	size_t len = iov_iter_count(msg->iter), size = MIN(len, (size_t)SMALL);
	char small[SMALL], *__free heap = NULL;

	flags &= ~(unsigned)MSG_CMSG_CLOEXEC;
	msg->namelen = 0;
	if (len > SMALL) {
		size = MIN(len, sock->type == SOCK_STREAM ? STREAM_CHUNK : DGRAM_MAX);
		heap = malloc(size);
		if (!heap)
			return -ENOBUFS;
	}
	if (sock->type == SOCK_STREAM && !(flags & MSG_ERRQUEUE))
		return recv_stream(sock, msg, flags, heap ? heap : small, size);
	return recv_dgram(sock, msg, flags, heap ? heap : small, size);
}
