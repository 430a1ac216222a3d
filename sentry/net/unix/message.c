/* Messages: made by senders, charged to them, freed by receivers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "sentry/kernel/core/machine.h"
#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"

/* All messages of the sandbox together: an eighth of its memory, and never under this. A sender's
 * own buffer is its own limit, but sockets are many. */
#define MESSAGES_TOTAL_MIN (64L << 20)

static _Atomic long total_bytes;

static bool charge_total(size_t n)
{
	long limit = MAX((long)(machine.total_memory / 8), MESSAGES_TOTAL_MIN);

	if (atomic_fetch_add(&total_bytes, (long)n) + (long)n <= limit)
		return true;
	atomic_fetch_sub(&total_bytes, (long)n);
	return false;
}

/* What Linux charges for a message of n bytes, which is what SO_SNDBUF is compared with: the
 * sk_buff itself, its head with the first bytes, a power of two, and whole pages for the rest. */
#define SKB_STRUCT 256
#define SKB_TAIL ((size_t)320) /* skb_shared_info, behind the data in the head */
#define SKB_HEAD_MIN ((size_t)512)
#define DGRAM_LINEAR (16384 - SKB_TAIL)
#define DGRAM_PAGES_MAX (17 * PAGE_SIZE)

static size_t truesize_of(size_t n, int type)
{
	size_t paged = 0, head = SKB_HEAD_MIN;

	if (type == SOCK_STREAM && n > UNIX_STREAM_LINEAR)
		paged = MIN(n, ROUND_UP(n - UNIX_STREAM_LINEAR, PAGE_SIZE));
	else if (type != SOCK_STREAM && n > DGRAM_LINEAR)
		paged = MIN(ROUND_UP(n - DGRAM_LINEAR, PAGE_SIZE), DGRAM_PAGES_MAX);
	while (head < n - paged + SKB_TAIL)
		head *= 2;
	return SKB_STRUCT + head + ROUND_UP(paged, PAGE_SIZE);
}

static bool may_charge(struct unix_sock *u)
{
	return u->err || (u->shutdown & SEND_SHUTDOWN) || u->wmem < u->sndbuf;
}

/* -EPIPE after shutdown, the socket's error, -EAGAIN. */
static int wait_for_wmem(struct socket *sock, bool nonblock)
{
	struct unix_sock *u = sock->sk;
	int64_t deadline = 0;

	for (;;) {
		int ret = unix_take_error(u);

		if (ret)
			return ret;
		if (u->shutdown & SEND_SHUTDOWN)
			return -EPIPE;
		if (u->wmem < u->sndbuf)
			return 0;
		if (nonblock)
			return -EAGAIN;
		if (!deadline)
			deadline = socket_deadline(sock->sndtimeo);
		ret = wait_event_interruptible(&u->wait, may_charge(u), deadline);
		if (ret)
			return socket_wait_error(ret, sock->sndtimeo);
	}
}

int unix_msg_create(struct socket *sock, struct iov_iter *from, size_t n, bool nonblock,
		    struct unix_msg **out)
{
	struct unix_sock *u = sock->sk;
	size_t truesize = truesize_of(n, u->type);
	struct unix_msg *msg;
	int ret = wait_for_wmem(sock, nonblock);

	if (ret)
		return ret;
	if (!charge_total(truesize))
		return -ENOBUFS;
	msg = malloc(sizeof(*msg) + n);
	if (!msg || (n && copy_from_iter(from, msg->data, n) != (ssize_t)n)) {
		ret = msg ? -EFAULT : -ENOBUFS;
		atomic_fetch_sub(&total_bytes, (long)truesize);
		free(msg);
		return ret;
	}
	memset(msg, 0, sizeof(*msg));
	msg->len = n;
	msg->truesize = truesize;
	msg->sender = unix_get(u);
	u->wmem += (long)msg->truesize;
	*out = msg;
	return 0;
}

void unix_msg_free(struct unix_msg *msg)
{
	struct unix_sock *sender = msg->sender;
	long before = atomic_fetch_sub(&sender->wmem, (long)msg->truesize);
	long now = before - (long)msg->truesize;

	atomic_fetch_sub(&total_bytes, (long)msg->truesize);
	if (before << 2 > sender->sndbuf && now << 2 <= sender->sndbuf)
		wake_up(&sender->wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	unix_put(sender);
	scm_destroy(&msg->scm);
	free(msg);
}

void unix_msg_attach(struct unix_msg *msg, struct scm_cookie *scm, const struct unix_sock *to)
{
	msg->scm = *scm;
	scm->fds = NULL;
	if (msg->scm.pid)
		pid_get(msg->scm.pid); /* the sender may have more messages to make */
	/* Who sends is remembered only if either side wants it to be, or may want it: before accept
	 * the receiver had no way to say so. */
	else if (msg->sender->passcred || to->passcred || !to->has_socket)
		scm_set_current(&msg->scm);
	if (msg->scm.fds)
		unix_fds_inflight(msg->scm.fds);
}

void unix_msg_push(struct unix_sock *other, struct unix_msg *msg)
{
	TAILQ_INSERT_TAIL(&other->queue, msg, link);
	other->nqueued++;
	other->queued_bytes += msg->len;
}

void unix_msg_remove(struct unix_sock *u, struct unix_msg *msg)
{
	MUTEX_GUARD(&u->lock);
	TAILQ_REMOVE(&u->queue, msg, link);
	u->nqueued--;
	u->queued_bytes -= msg->len - msg->off;
}

int unix_msg_fds(struct unix_msg *msg, bool peek, struct scm_fds **out)
{
	*out = NULL;
	if (!msg->scm.fds)
		return 0;
	/* One step for the collector: either they are in the queue and in flight, or neither; and a
	 * peeked file has a reference from outside before anyone can look. */
	unix_gc_lock();
	if (peek) {
		*out = scm_fds_dup(msg->scm.fds);
	} else {
		*out = msg->scm.fds;
		msg->scm.fds = NULL;
		unix_fds_landed_locked(*out);
	}
	unix_gc_unlock();
	return *out ? 0 : -ENOMEM;
}
