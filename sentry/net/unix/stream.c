/* Sending and receiving on unix stream sockets. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"

/* One message of the stream to the peer. -EPIPE when it is gone. */
static int send_chunk(struct socket *sock, struct unix_sock *other, struct iov_iter *from, size_t n,
		      struct scm_cookie *scm, bool nonblock)
{
	struct unix_msg *msg;
	int ret = unix_msg_create(sock, from, n, nonblock, &msg);

	if (ret)
		return ret;
	unix_msg_attach(msg, scm, other);
	mutex_lock(&other->lock);
	if (other->dead || (other->shutdown & RCV_SHUTDOWN)) {
		mutex_unlock(&other->lock);
		unix_msg_free(msg);
		return -EPIPE;
	}
	unix_msg_push(other, msg);
	mutex_unlock(&other->lock);
	wake_up(&other->wait, EPOLLIN | EPOLLRDNORM);
	return 0;
}

static ssize_t stream_send(struct socket *sock, struct unix_sock *other, struct socket_msg *msg,
			   struct scm_cookie *scm, bool nonblock)
{
	struct unix_sock *u = sock->sk;
	size_t left = iov_iter_count(msg->iter), chunk = UNIX_STREAM_CHUNK;
	ssize_t sent = 0;
	int ret;

	if (u->shutdown & SEND_SHUTDOWN)
		return -EPIPE;
	chunk = MIN(chunk, (size_t)u->sndbuf / 2 - 64);
	while (left) {
		size_t n = MIN(left, chunk);

		ret = send_chunk(sock, other, msg->iter, n, scm, nonblock);
		if (ret)
			return sent ? sent : ret;
		sent += (ssize_t)n;
		left -= n;
	}
	return sent;
}

ssize_t unix_stream_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct unix_sock *u = sock->sk, *other = NULL;
	struct scm_cookie scm;
	ssize_t ret;

	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	ret = scm_send(msg, &scm);
	if (ret)
		return ret;
	if (msg->namelen) {
		ret = u->state == UNIX_ESTABLISHED ? -EISCONN : -EOPNOTSUPP;
	} else {
		other = unix_peer_get(u);
		if (!other)
			ret = -ENOTCONN;
	}
	if (!ret)
		ret = stream_send(sock, other, msg, &scm, flags & MSG_DONTWAIT);
	unix_put(other);
	scm_destroy(&scm);
	if (ret == -EPIPE && !(flags & MSG_NOSIGNAL))
		task_send_sigpipe();
	return ret;
}

/* A receive under way. */
struct stream_reader {
	struct socket *sock;
	struct socket_msg *msg;
	struct scm_cookie scm;
	unsigned flags;
	size_t left, target;
	ssize_t copied;
	size_t skip; /* MSG_PEEK: bytes of the queue already seen */
	bool have_cred;
};

static bool readable(struct unix_sock *u)
{
	MUTEX_GUARD(&u->lock);
	return !TAILQ_EMPTY(&u->queue) || u->err || (u->shutdown & RCV_SHUTDOWN);
}

/* The message to read from: the first, or with MSG_PEEK the one that was not seen yet, and how much
 * of it is to be skipped. u->lock held. */
static struct unix_msg *next_msg(struct unix_sock *u, const struct stream_reader *r, size_t *skip)
{
	struct unix_msg *msg;

	*skip = r->skip;
	TAILQ_FOREACH (msg, &u->queue, link) {
		if (!(r->flags & MSG_PEEK) || *skip < msg->len - msg->off || r->skip == 0)
			return msg;
		*skip -= msg->len - msg->off;
	}
	return NULL;
}

static bool same_cred(const struct stream_reader *r, const struct unix_msg *msg)
{
	return r->scm.pid == msg->scm.pid && r->scm.uid == msg->scm.uid &&
	       r->scm.gid == msg->scm.gid;
}

/* Moves bytes of one message. 1: go on with the next; 0: done; -errno. iolock held. */
static int read_msg(struct unix_sock *u, struct stream_reader *r, struct unix_msg *msg, size_t skip)
{
	size_t at = msg->off + skip, n = MIN(msg->len - at, r->left);
	bool peek = r->flags & MSG_PEEK;
	ssize_t got;

	/* Data of different senders is not mixed for who asked for their credentials. */
	if (r->have_cred && r->sock->passcred && !same_cred(r, msg))
		return 0;
	if (!r->have_cred) {
		r->have_cred = true;
		r->scm.pid = msg->scm.pid ? pid_get(msg->scm.pid) : NULL;
		r->scm.uid = msg->scm.uid;
		r->scm.gid = msg->scm.gid;
		unix_name_to_msg(r->msg, msg->sender);
	}
	got = n ? copy_to_iter(r->msg->iter, msg->data + at, n) : 0;
	if (got < 0)
		return (int)got;
	r->copied += got;
	r->left -= (size_t)got;
	if (peek) {
		r->skip += (size_t)got;
	} else {
		mutex_lock(&u->lock);
		msg->off += (size_t)got;
		u->queued_bytes -= (size_t)got;
		mutex_unlock(&u->lock);
	}
	if (msg->scm.fds && !r->scm.fds) {
		int ret = unix_msg_fds(msg, peek, &r->scm.fds);

		if (ret)
			return ret;
	}
	if ((size_t)got < n)
		return -EFAULT;
	if (!peek && msg->off == msg->len) {
		unix_msg_remove(u, msg);
		unix_msg_free(msg);
	}
	/* Descriptors end a read, so that two sets of them are never mixed. */
	return r->scm.fds ? 0 : 1;
}

/* Nothing is there: 1 when to look again, 0 when the read is over, -errno. No locks held. */
static int wait_for_data(struct unix_sock *u, struct stream_reader *r, int64_t deadline)
{
	int ret;

	if (r->copied >= (ssize_t)r->target)
		return 0;
	ret = unix_take_error(u);
	if (ret)
		return ret;
	/* MSG_PEEK does not wait for more than it has seen: nothing takes that out of the queue. */
	if ((r->flags & MSG_PEEK) && r->copied)
		return 0;
	if (u->shutdown & RCV_SHUTDOWN)
		return readable(u) && !TAILQ_EMPTY(&u->queue) ? 1 : 0;
	if (r->flags & MSG_DONTWAIT)
		return -EAGAIN;
	ret = wait_event_interruptible(&u->wait, readable(u), deadline);
	return ret ? socket_wait_error(ret, r->sock->rcvtimeo) : 1;
}

static int read_loop(struct unix_sock *u, struct stream_reader *r)
{
	int64_t deadline = socket_deadline(r->sock->rcvtimeo);
	int ret;

	mutex_lock(&u->iolock);
	do {
		struct unix_msg *msg;
		size_t skip;

		mutex_lock(&u->lock);
		msg = next_msg(u, r, &skip);
		mutex_unlock(&u->lock);
		if (msg) {
			ret = read_msg(u, r, msg, skip);
			continue;
		}
		mutex_unlock(&u->iolock);
		ret = wait_for_data(u, r, deadline);
		mutex_lock(&u->iolock);
	} while (ret > 0 && r->left);
	mutex_unlock(&u->iolock);
	return ret > 0 ? 0 : ret;
}

ssize_t unix_stream_recvmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct stream_reader r = {.sock = sock, .msg = msg, .flags = flags};
	struct unix_sock *u = sock->sk;
	int ret;

	msg->namelen = 0;
	if (u->state != UNIX_ESTABLISHED)
		return -EINVAL;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	r.left = iov_iter_count(msg->iter);
	r.target = flags & MSG_WAITALL ? r.left : MIN((size_t)sock->rcvlowat, r.left);
	if (!r.target)
		r.target = 1;
	ret = read_loop(u, &r);
	scm_recv(sock, msg, &r.scm, flags);
	return r.copied ? r.copied : ret;
}
