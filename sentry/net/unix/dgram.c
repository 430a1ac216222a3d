/* Sending and receiving on unix datagram and seqpacket sockets. */
#include <errno.h>
#include <sys/epoll.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"

static bool has_room(struct unix_sock *other)
{
	MUTEX_GUARD(&other->lock);
	return other->dead || (other->shutdown & RCV_SHUTDOWN) || other->nqueued <= other->backlog;
}

/* The connected peer is gone: the socket is unconnected again. */
static void disconnect(struct unix_sock *u, struct unix_sock *peer)
{
	bool was;

	mutex_lock(&u->iolock);
	mutex_lock(&u->lock);
	was = u->peer == peer;
	if (was) {
		u->peer = NULL;
		u->state = UNIX_CLOSE;
	}
	mutex_unlock(&u->lock);
	if (was)
		wait_queue_remove(&u->peer_entry);
	mutex_unlock(&u->iolock);
	if (was)
		unix_put(peer);
}

/* One try to queue: 0, -EAGAIN if the receiver is full, -ECONNREFUSED if it is dead, -EPERM,
 * -EPIPE. */
static int try_queue(struct unix_sock *u, struct unix_sock *other, struct unix_msg *msg)
{
	MUTEX_GUARD(&other->lock);
	if (other->dead)
		return -ECONNREFUSED;
	if (other->peer && other->peer != u)
		return -EPERM;
	if (other->shutdown & RCV_SHUTDOWN)
		return -EPIPE;
	/* Two connected sockets are held back by the send buffer alone. */
	if (other != u && other->peer != u && other->nqueued > other->backlog)
		return -EAGAIN;
	unix_msg_push(other, msg);
	return 0;
}

static int deliver(struct socket *sock, struct unix_sock *other, struct unix_msg *msg,
		   bool connected, bool nonblock)
{
	int64_t deadline = socket_deadline(sock->sndtimeo);
	struct unix_sock *u = sock->sk;

	for (;;) {
		int ret = try_queue(u, other, msg);

		if (!ret) {
			wake_up(&other->wait, EPOLLIN | EPOLLRDNORM);
			return 0;
		}
		if (ret == -ECONNREFUSED && connected && u->type == SOCK_DGRAM)
			disconnect(u, other);
		if (ret != -EAGAIN || nonblock)
			return ret;
		ret = wait_event_interruptible(&other->peer_wait, has_room(other), deadline);
		if (ret)
			return socket_wait_error(ret, sock->sndtimeo);
	}
}

/* The receiver: named in the message, or the peer. Referenced. */
static int find_receiver(struct socket *sock, struct socket_msg *msg, struct unix_sock **out)
{
	struct unix_sock *u = sock->sk;

	if (msg->namelen)
		return unix_find(u, &msg->name, msg->namelen, u->type, out);
	*out = unix_peer_get(u);
	return *out ? 0 : -ENOTCONN;
}

ssize_t unix_dgram_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	bool nonblock = flags & MSG_DONTWAIT;
	struct unix_sock *u = sock->sk, *other = NULL;
	size_t len = iov_iter_count(msg->iter);
	struct unix_msg *m = NULL;
	struct scm_cookie scm;
	int ret;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	ret = scm_send(msg, &scm);
	if (ret)
		return ret;
	if (sock->passcred && !u->addr)
		ret = unix_autobind(u);
	if (!ret)
		ret = find_receiver(sock, msg, &other);
	if (!ret && len > (size_t)u->sndbuf - 32)
		ret = -EMSGSIZE;
	if (!ret)
		ret = unix_msg_create(sock, msg->iter, len, nonblock, &m);
	if (!ret) {
		unix_msg_attach(m, &scm, other);
		ret = deliver(sock, other, m, !msg->namelen, nonblock);
		if (ret)
			unix_msg_free(m);
	}
	unix_put(other);
	scm_destroy(&scm);
	return ret ? ret : (ssize_t)len;
}

static bool readable(struct unix_sock *u)
{
	MUTEX_GUARD(&u->lock);
	return !TAILQ_EMPTY(&u->queue) || u->err || (u->shutdown & RCV_SHUTDOWN) ||
	       (u->type == SOCK_SEQPACKET && u->state != UNIX_ESTABLISHED);
}

/* The first message, with iolock held on success (and only then). NULL with *err 0: end of file. */
static struct unix_msg *wait_for_msg(struct socket *sock, bool nonblock, int *err)
{
	int64_t deadline = socket_deadline(sock->rcvtimeo);
	struct unix_sock *u = sock->sk;

	for (;;) {
		struct unix_msg *msg;
		bool eof;

		mutex_lock(&u->iolock);
		mutex_lock(&u->lock);
		*err = unix_take_error(u);
		msg = *err ? NULL : TAILQ_FIRST(&u->queue);
		eof = u->shutdown & RCV_SHUTDOWN;
		mutex_unlock(&u->lock);
		if (msg)
			return msg;
		mutex_unlock(&u->iolock);
		if (*err)
			return NULL;
		if (eof) {
			/* Linux: a datagram socket that may not block says so even then. */
			*err = nonblock && u->type == SOCK_DGRAM ? -EAGAIN : 0;
			return NULL;
		}
		if (nonblock) {
			*err = -EAGAIN;
			return NULL;
		}
		*err = wait_event_interruptible(&u->wait, readable(u), deadline);
		if (*err) {
			*err = socket_wait_error(*err, sock->rcvtimeo);
			return NULL;
		}
	}
}

ssize_t unix_dgram_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct unix_sock *u = sock->sk;
	struct scm_cookie scm = {0};
	struct unix_msg *m;
	size_t n;
	ssize_t ret;
	int err;

	msg->namelen = 0;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	m = wait_for_msg(sock, flags & MSG_DONTWAIT, &err);
	if (!m)
		return err;
	n = MIN(m->len, iov_iter_count(msg->iter));
	if (n < m->len)
		msg->flags |= MSG_TRUNC;
	unix_name_to_msg(msg, m->sender);
	ret = flags & MSG_TRUNC ? (ssize_t)m->len : (ssize_t)n;
	if (n && copy_to_iter(msg->iter, m->data, n) != (ssize_t)n)
		ret = -EFAULT;
	scm.pid = m->scm.pid ? pid_get(m->scm.pid) : NULL;
	scm.uid = m->scm.uid;
	scm.gid = m->scm.gid;
	if (ret >= 0) {
		err = unix_msg_fds(m, flags & MSG_PEEK, &scm.fds);
		if (err)
			ret = err;
	}
	if (!(flags & MSG_PEEK))
		unix_msg_remove(u, m);
	mutex_unlock(&u->iolock);
	if (!(flags & MSG_PEEK)) {
		wake_up(&u->peer_wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
		unix_msg_free(m);
	}
	if (ret >= 0)
		scm_recv(sock, msg, &scm, flags);
	else
		scm_destroy(&scm);
	return ret;
}

ssize_t unix_seqpacket_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct unix_sock *u = sock->sk;

	if (u->state != UNIX_ESTABLISHED) {
		int ret = unix_take_error(u);

		return ret ? ret : -ENOTCONN;
	}
	msg->namelen = 0;
	return unix_dgram_sendmsg(sock, msg, flags);
}

ssize_t unix_seqpacket_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct unix_sock *u = sock->sk;

	if (u->state != UNIX_ESTABLISHED)
		return -ENOTCONN;
	return unix_dgram_recvmsg(sock, msg, flags);
}
