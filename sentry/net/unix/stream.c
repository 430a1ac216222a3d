/* Sending and receiving on unix stream sockets. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"

/* One message of the stream to the peer, flags: MSG_DONTWAIT, MSG_OOB. -EPIPE when it is gone. */
static int send_chunk(struct socket *sock, struct unix_sock *other, struct iov_iter *from, size_t n,
		      struct scm_cookie *scm, unsigned flags)
{
	uint32_t events = EPOLLIN | EPOLLRDNORM;
	struct unix_msg *msg;
	int ret = unix_msg_create(sock, from, n, flags & MSG_DONTWAIT, &msg);

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
	if (flags & MSG_OOB) {
		other->oob = msg; /* the one before it, if any, is data like all others now */
		events |= EPOLLPRI;
	}
	mutex_unlock(&other->lock);
	wake_up(&other->wait, events);
	return 0;
}

static ssize_t stream_send(struct socket *sock, struct unix_sock *other, struct socket_msg *msg,
			   struct scm_cookie *scm, unsigned flags)
{
	struct unix_sock *u = sock->sk;
	size_t left = iov_iter_count(msg->iter) - !!(flags & MSG_OOB), chunk = UNIX_STREAM_CHUNK;
	ssize_t sent = 0;
	int ret;

	if (u->shutdown & SEND_SHUTDOWN)
		return -EPIPE;
	chunk = MIN(chunk, (size_t)u->sndbuf / 2 - 64);
	while (left) {
		size_t n = MIN(left, chunk);

		ret = send_chunk(sock, other, msg->iter, n, scm, flags & MSG_DONTWAIT);
		if (ret)
			return sent ? sent : ret;
		sent += (ssize_t)n;
		left -= n;
	}
	if (flags & MSG_OOB) { /* the last byte */
		ret = send_chunk(sock, other, msg->iter, 1, scm, flags);
		if (ret)
			return sent ? sent : ret;
		sent++;
	}
	return sent;
}

ssize_t unix_stream_sendmsg(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct unix_sock *u = sock->sk, *other = NULL;
	struct scm_cookie scm;
	ssize_t ret;

	if ((flags & MSG_OOB) && !iov_iter_count(msg->iter))
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
		ret = stream_send(sock, other, msg, &scm, flags);
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

/*
 * The message to read from, and how much of it is to be skipped because MSG_PEEK has seen it. NULL:
 * there is none, or, with *end set, what was read ends at a mark: the byte of MSG_OOB, or its place
 * (a message of which nothing is left) if it was read. Reading that begins at the mark goes on
 * behind it; the byte itself is in the stream with SO_OOBINLINE only. u->lock held.
 */
static struct unix_msg *next_msg(struct unix_sock *u, const struct stream_reader *r, size_t *skip,
				 bool *end)
{
	size_t seen = r->flags & MSG_PEEK ? r->skip : 0;
	struct unix_msg *msg;

	*end = false;
	TAILQ_FOREACH (msg, &u->queue, link) {
		size_t n = msg->len - msg->off;

		if (msg == u->oob || !n) {
			*end = r->copied && !seen && (n || !u->oob);
			if (*end)
				return NULL;
			if (!n || !r->sock->oobinline)
				continue;
		}
		if (seen < n) {
			*skip = seen;
			return msg;
		}
		seen -= n;
	}
	return NULL;
}

static bool readable(struct unix_sock *u, const struct stream_reader *r)
{
	size_t skip;
	bool end;
	MUTEX_GUARD(&u->lock);

	return next_msg(u, r, &skip, &end) || end || u->err || (u->shutdown & RCV_SHUTDOWN);
}

/* Reading begins at the mark: what is out of band there is dropped. iolock held. */
static void pass_marks(struct unix_sock *u, const struct stream_reader *r)
{
	struct unix_msg *msg;

	for (;;) {
		mutex_lock(&u->lock);
		msg = TAILQ_FIRST(&u->queue);
		if (msg && msg->off < msg->len && (msg != u->oob || r->sock->oobinline))
			msg = NULL;
		if (msg && msg == u->oob)
			u->oob = NULL;
		mutex_unlock(&u->lock);
		if (!msg)
			return;
		unix_msg_remove(u, msg);
		unix_msg_free(msg);
	}
}

bool unix_at_mark(struct unix_sock *u)
{
	struct unix_msg *msg, *next;
	MUTEX_GUARD(&u->lock);

	msg = TAILQ_FIRST(&u->queue);
	if (!msg)
		return false;
	next = TAILQ_NEXT(msg, link);
	return msg == u->oob || (msg->off == msg->len && (!u->oob || u->oob == next));
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
		if (msg == u->oob && got)
			u->oob = NULL;
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

static bool has_next(struct unix_sock *u, const struct stream_reader *r)
{
	size_t skip;
	bool end;
	MUTEX_GUARD(&u->lock);

	return next_msg(u, r, &skip, &end) != NULL;
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
		return has_next(u, r) ? 1 : 0;
	if (r->flags & MSG_DONTWAIT)
		return -EAGAIN;
	ret = wait_event_interruptible(&u->wait, readable(u, r), deadline);
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
		bool end;

		if (!r->copied && !(r->flags & MSG_PEEK))
			pass_marks(u, r);
		mutex_lock(&u->lock);
		msg = next_msg(u, r, &skip, &end);
		mutex_unlock(&u->lock);
		if (msg) {
			ret = read_msg(u, r, msg, skip);
			continue;
		}
		ret = 0;
		if (end)
			break;
		mutex_unlock(&u->iolock);
		ret = wait_for_data(u, r, deadline);
		mutex_lock(&u->iolock);
	} while (ret > 0 && r->left);
	mutex_unlock(&u->iolock);
	return ret > 0 ? 0 : ret;
}

/* MSG_OOB: the byte, which leaves its place in the queue as the mark. */
static ssize_t read_oob(struct socket *sock, struct socket_msg *msg, unsigned flags)
{
	struct unix_msg *oob, *before = NULL;
	struct unix_sock *u = sock->sk;
	char c;

	mutex_lock(&u->iolock);
	mutex_lock(&u->lock);
	oob = sock->oobinline ? NULL : u->oob;
	if (oob) {
		c = oob->data[0];
		if (!(flags & MSG_PEEK)) {
			u->oob = NULL;
			u->queued_bytes--;
			oob->off = oob->len;
			/* An older mark right before it says nothing any more. */
			before = TAILQ_PREV(oob, unix_msg_queue, link);
			if (before && before->off < before->len)
				before = NULL;
		}
	}
	mutex_unlock(&u->lock);
	if (before) {
		unix_msg_remove(u, before);
		unix_msg_free(before);
	}
	mutex_unlock(&u->iolock);
	if (!oob)
		return -EINVAL;
	if (iov_iter_count(msg->iter) && copy_to_iter(msg->iter, &c, 1) != 1)
		return -EFAULT;
	msg->flags |= MSG_OOB;
	return 1;
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
		return read_oob(sock, msg, flags);
	r.left = iov_iter_count(msg->iter);
	r.target = flags & MSG_WAITALL ? r.left : MIN((size_t)sock->rcvlowat, r.left);
	if (!r.target)
		r.target = 1;
	ret = read_loop(u, &r);
	scm_recv(sock, msg, &r.scm, flags);
	return r.copied ? r.copied : ret;
}
