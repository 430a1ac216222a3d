/* Connections: listen, connect, accept, socketpair. */
#include <errno.h>
#include <sys/epoll.h>

#include "sentry/kernel/task/task.h"
#include "sentry/net/unix/unix_internal.h"

#define UNIX_SOMAXCONN 4096

int unix_listen(struct socket *sock, int backlog)
{
	struct unix_sock *u = sock->sk;

	MUTEX_GUARD(&u->lock);
	if (!u->addr)
		return -EINVAL;
	if (u->state != UNIX_CLOSE && u->state != UNIX_LISTEN)
		return -EINVAL;
	if ((unsigned)backlog > UNIX_SOMAXCONN)
		backlog = UNIX_SOMAXCONN;
	if ((unsigned)backlog > u->backlog)
		wake_up_all(&u->peer_wait, ~0U);
	u->backlog = (unsigned)backlog;
	u->state = UNIX_LISTEN;
	unix_set_cred_current(&u->peercred);
	return 0;
}

static bool has_room(struct unix_sock *listener)
{
	MUTEX_GUARD(&listener->lock);
	return listener->dead || listener->state != UNIX_LISTEN ||
	       (listener->shutdown & RCV_SHUTDOWN) || listener->nbacklog <= listener->backlog;
}

/* May u connect to the listener now? Both locked. -EAGAIN: the backlog is full. */
static int check_connect(struct unix_sock *u, struct unix_sock *listener)
{
	if (listener->dead || listener->state != UNIX_LISTEN || (listener->shutdown & RCV_SHUTDOWN))
		return -ECONNREFUSED;
	if (listener->nbacklog > listener->backlog)
		return -EAGAIN;
	if (u->state == UNIX_ESTABLISHED)
		return -EISCONN;
	return u->state != UNIX_CLOSE || u->dead ? -EINVAL : 0;
}

/* Links u with the new server side, and puts that into the listener's queue. Both u and listener
 * locked. */
static void establish(struct unix_sock *u, struct unix_sock *listener, struct unix_sock *server)
{
	server->state = UNIX_ESTABLISHED;
	server->peer = unix_get(u);
	server->passcred = listener->passcred;
	server->addr = unix_addr_get(listener->addr);
	unix_set_cred_current(&server->peercred);
	unix_copy_cred(&u->peercred, &listener->peercred);
	u->state = UNIX_ESTABLISHED;
	u->peer = unix_get(server);
	TAILQ_INSERT_TAIL(&listener->backlog_queue, server, backlog_link);
	listener->nbacklog++;
}

static int connect_to(struct socket *sock, struct unix_sock *listener, struct unix_sock *server,
		      bool nonblock)
{
	int64_t deadline = socket_deadline(sock->sndtimeo);
	struct unix_sock *u = sock->sk;

	for (;;) {
		int ret;

		unix_lock_two(u, listener);
		ret = check_connect(u, listener); /* (u may be the listener: -EINVAL) */
		if (!ret)
			establish(u, listener, server);
		unix_unlock_two(u, listener);
		if (!ret) {
			wake_up(&listener->wait, EPOLLIN | EPOLLRDNORM);
			return 0;
		}
		if (ret != -EAGAIN || nonblock)
			return ret;
		ret = wait_event_interruptible(&listener->peer_wait, has_room(listener), deadline);
		if (ret)
			return socket_wait_error(ret, sock->sndtimeo);
	}
}

int unix_stream_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
			bool nonblock)
{
	struct unix_sock *u = sock->sk, *listener, *server;
	int ret;

	unix_note_inode(sock);
	if (sock->passcred && !u->addr) {
		ret = unix_autobind(u);
		if (ret)
			return ret;
	}
	ret = unix_find(u, addr, len, u->type, &listener);
	if (ret)
		return ret;
	server = unix_alloc(u->type, listener->net);
	if (!server) {
		unix_put(listener);
		return -ENOMEM;
	}
	ret = connect_to(sock, listener, server, nonblock);
	if (ret)
		unix_put(server);
	unix_put(listener);
	return ret;
}

/* A datagram socket's peer may send to it only if it has no other peer itself. */
static bool may_send(struct unix_sock *u, struct unix_sock *other)
{
	return !other->peer || other->peer == u;
}

int unix_dgram_connect(struct socket *sock, const struct sockaddr_storage *addr, int len,
		       bool nonblock)
{
	struct unix_sock *u = sock->sk, *other = NULL, *old;
	int ret;

	unix_note_inode(sock);
	(void)nonblock;
	if (addr->ss_family != AF_UNSPEC) {
		if (sock->passcred && !u->addr) {
			ret = unix_autobind(u);
			if (ret)
				return ret;
		}
		ret = unix_find(u, addr, len, SOCK_DGRAM, &other);
		if (ret)
			return ret;
	}
	mutex_lock(&u->iolock);
	wait_queue_remove(&u->peer_entry);
	unix_lock_two(u, other);
	if (other && (other->dead || !may_send(u, other))) {
		ret = other->dead ? -ECONNREFUSED : -EPERM;
		unix_unlock_two(u, other);
		mutex_unlock(&u->iolock);
		unix_put(other);
		return ret;
	}
	old = u->peer;
	u->peer = other; /* takes the reference */
	u->state = other ? UNIX_ESTABLISHED : UNIX_CLOSE;
	unix_unlock_two(u, other);
	mutex_unlock(&u->iolock);
	wake_up_all(&u->wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	if (old)
		unix_put(old);
	return 0;
}

static bool acceptable(struct unix_sock *u)
{
	MUTEX_GUARD(&u->lock);
	return !TAILQ_EMPTY(&u->backlog_queue) || (u->shutdown & RCV_SHUTDOWN);
}

int unix_accept(struct socket *sock, struct socket *fresh, bool nonblock)
{
	int64_t deadline = socket_deadline(sock->rcvtimeo);
	struct unix_sock *u = sock->sk, *server;
	int ret;

	for (;;) {
		mutex_lock(&u->lock);
		ret = u->state != UNIX_LISTEN ? -EINVAL : 0;
		server = TAILQ_FIRST(&u->backlog_queue);
		if (!ret && server) {
			TAILQ_REMOVE(&u->backlog_queue, server, backlog_link);
			u->nbacklog--;
		} else if (!ret && (u->shutdown & RCV_SHUTDOWN)) {
			ret = -EINVAL;
		}
		mutex_unlock(&u->lock);
		if (ret)
			return ret;
		if (server)
			break;
		if (nonblock)
			return -EAGAIN;
		ret = wait_event_interruptible(&u->wait, acceptable(u), deadline);
		if (ret)
			return socket_wait_error(ret, sock->rcvtimeo);
	}
	wake_up(&u->peer_wait, EPOLLOUT);
	server->has_socket = true;
	fresh->passcred = server->passcred;
	fresh->sk = server;
	unix_note_inode(fresh);
	return 0;
}

int unix_socketpair(struct socket *a, struct socket *b)
{
	struct unix_sock *ua = a->sk, *ub = b->sk;

	/* Nobody else knows them yet. */
	ua->peer = unix_get(ub);
	ub->peer = unix_get(ua);
	unix_set_cred_current(&ua->peercred);
	unix_set_cred_current(&ub->peercred);
	ua->state = ub->state = UNIX_ESTABLISHED;
	unix_note_inode(a);
	unix_note_inode(b);
	return 0;
}
