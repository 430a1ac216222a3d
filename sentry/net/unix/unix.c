/* Unix sockets: creation, options, shutdown, the end. */
#include "sentry/net/unix/unix_internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "sentry/kernel/task/pidfd.h"
#include "sentry/kernel/task/task.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#define UNIX_DEFAULT_SNDBUF 212992

struct unix_sock *unix_alloc(int type, struct net_ns *net)
{
	struct unix_sock *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	refcount_init(&u->refs);
	u->type = type;
	u->net = net ? net_ns_get(net) : NULL;
	mutex_init_as(&u->lock, LOCK_BY_ADDRESS);
	mutex_init(&u->iolock);
	wait_queue_init(&u->wait);
	wait_queue_init(&u->peer_wait);
	TAILQ_INIT(&u->queue);
	TAILQ_INIT(&u->backlog_queue);
	u->backlog = UNIX_MAX_DGRAM_QLEN;
	u->sndbuf = UNIX_DEFAULT_SNDBUF;
	u->peercred.uid = (uid_t)-1;
	u->peercred.gid = (gid_t)-1;
	unix_registry_add(u);
	return u;
}

struct unix_sock *unix_get(struct unix_sock *u)
{
	refcount_inc(&u->refs);
	return u;
}

void unix_put(struct unix_sock *u)
{
	if (!u || !refcount_dec(&u->refs))
		return;
	unix_registry_remove(u);
	if (u->addr)
		unix_addr_put(u->addr);
	if (u->peercred.pid)
		pid_put(u->peercred.pid);
	if (u->net)
		net_ns_put(u->net);
	mutex_destroy(&u->lock);
	mutex_destroy(&u->iolock);
	free(u);
}

void unix_lock_two(struct unix_sock *a, struct unix_sock *b)
{
	if (a == b || !b) {
		mutex_lock(&a->lock);
		return;
	}
	mutex_lock((uintptr_t)a < (uintptr_t)b ? &a->lock : &b->lock);
	mutex_lock((uintptr_t)a < (uintptr_t)b ? &b->lock : &a->lock);
}

void unix_unlock_two(struct unix_sock *a, struct unix_sock *b)
{
	mutex_unlock(&a->lock);
	if (a != b && b)
		mutex_unlock(&b->lock);
}

struct unix_sock *unix_peer_get(struct unix_sock *u)
{
	MUTEX_GUARD(&u->lock);
	return u->peer ? unix_get(u->peer) : NULL;
}

void unix_set_cred_current(struct unix_cred *c)
{
	struct pid *old = c->pid;

	c->pid = pid_get(current->group->tgid);
	c->uid = current->cred->euid;
	c->gid = current->cred->egid;
	if (old)
		pid_put(old);
}

void unix_copy_cred(struct unix_cred *to, const struct unix_cred *from)
{
	struct pid *old = to->pid;

	*to = *from;
	if (to->pid)
		pid_get(to->pid);
	if (old)
		pid_put(old);
}

int unix_take_error(struct unix_sock *u)
{
	return u->err ? -atomic_exchange(&u->err, 0) : 0;
}

/* The other side of a connection learns that u ended. */
static void end_peer(struct unix_sock *u, struct unix_sock *peer, bool reset)
{
	if (u->type != SOCK_DGRAM) {
		mutex_lock(&peer->lock);
		peer->shutdown = SHUTDOWN_BOTH;
		if (reset)
			peer->err = ECONNRESET;
		mutex_unlock(&peer->lock);
		wake_up_all(&peer->wait, EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM |
						 EPOLLWRBAND | EPOLLHUP | EPOLLRDHUP |
						 (reset ? EPOLLERR : 0));
	}
	unix_put(peer);
}

static void drop_queue(struct unix_msg_queue *queue)
{
	struct unix_msg *msg;

	while ((msg = TAILQ_FIRST(queue))) {
		TAILQ_REMOVE(queue, msg, link);
		unix_msg_free(msg);
	}
}

void unix_release_sock(struct unix_sock *u, bool embryo)
{
	struct unix_msg_queue queue = TAILQ_HEAD_INITIALIZER(queue);
	struct unix_sock_queue backlog = TAILQ_HEAD_INITIALIZER(backlog);
	struct unix_sock *peer, *waiting;
	struct path path;
	bool reset;

	unix_unname(u);
	wait_queue_remove(&u->peer_entry);
	mutex_lock(&u->lock);
	u->dead = true;
	u->shutdown = SHUTDOWN_BOTH;
	u->state = UNIX_CLOSE;
	peer = u->peer;
	u->peer = NULL;
	path = u->path;
	memset(&u->path, 0, sizeof(u->path));
	reset = embryo || u->queued_bytes || (u->type != SOCK_STREAM && !TAILQ_EMPTY(&u->queue));
	u->oob = NULL;
	TAILQ_CONCAT(&queue, &u->queue, link);
	u->nqueued = 0;
	u->queued_bytes = 0;
	TAILQ_CONCAT(&backlog, &u->backlog_queue, backlog_link);
	u->nbacklog = 0;
	mutex_unlock(&u->lock);

	wake_up_all(&u->peer_wait, ~0U);
	if (peer)
		end_peer(u, peer, reset);
	while ((waiting = TAILQ_FIRST(&backlog))) {
		TAILQ_REMOVE(&backlog, waiting, backlog_link);
		unix_release_sock(waiting, true);
	}
	drop_queue(&queue);
	if (path.dentry)
		path_put(&path);
	unix_put(u);
}

void unix_release(struct socket *sock)
{
	struct unix_sock *u = sock->sk;

	if (!u)
		return;
	sock->sk = NULL;
	unix_gc_forget(u);
	unix_release_sock(u, false);
	if (unix_total_inflight())
		unix_gc();
}

int unix_shutdown(struct socket *sock, int how)
{
	struct unix_sock *u = sock->sk, *peer;
	unsigned mode = (unsigned)how + 1, peer_mode = 0;
	uint32_t events = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLRDHUP | EPOLLHUP;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	mutex_lock(&u->lock);
	u->shutdown |= mode;
	peer = u->peer && u->type != SOCK_DGRAM ? unix_get(u->peer) : NULL;
	mutex_unlock(&u->lock);
	wake_up_all(&u->wait, events);
	wake_up_all(&u->peer_wait, ~0U);
	if (!peer)
		return 0;
	if (mode & RCV_SHUTDOWN)
		peer_mode |= SEND_SHUTDOWN;
	if (mode & SEND_SHUTDOWN)
		peer_mode |= RCV_SHUTDOWN;
	mutex_lock(&peer->lock);
	peer->shutdown |= peer_mode;
	mutex_unlock(&peer->lock);
	wake_up_all(&peer->wait, events);
	unix_put(peer);
	return 0;
}

long unix_ioctl(struct socket *sock, unsigned cmd, uint64_t arg)
{
	struct unix_sock *u = sock->sk;
	int n;

	switch (cmd) {
	case SIOCINQ: {
		struct unix_msg *msg;

		MUTEX_GUARD(&u->lock);
		if (u->state == UNIX_LISTEN)
			return -EINVAL;
		msg = TAILQ_FIRST(&u->queue);
		n = u->type == SOCK_DGRAM ? (msg ? (int)msg->len : 0) : (int)u->queued_bytes;
		break;
	}
	case SIOCOUTQ:
		n = (int)u->wmem;
		break;
	case SIOCATMARK:
		if (u->type != SOCK_STREAM)
			return -ENOIOCTLCMD;
		n = unix_at_mark(u);
		break;
	default:
		return -ENOIOCTLCMD;
	}
	return put_user(arg, n);
}

int unix_setsockopt(struct socket *sock, int level, int name, const void *val, unsigned len)
{
	struct unix_sock *u = sock->sk;
	int number;

	if (level != SOL_SOCKET || len < sizeof(number))
		return -ENOIOCTLCMD;
	memcpy(&number, val, sizeof(number));
	if (name == SO_REUSEPORT && number)
		return -EOPNOTSUPP;
	if (name == SO_PASSCRED) {
		sock->passcred = u->passcred = number != 0;
		return 0;
	}
	if (name == SO_SNDBUF || name == SO_SNDBUFFORCE) {
		/* The generic code clamps it; what it comes to is what senders are held to. */
		int ret = sockopt_set_generic(sock, name, val, len);

		u->sndbuf = sock->sndbuf;
		return ret;
	}
	return -ENOIOCTLCMD;
}

/* SO_PEERPIDFD: a descriptor of the peer's process in the caller's table. */
static int get_peer_pidfd(struct unix_sock *u, void *val, unsigned *len)
{
	struct file *file;
	struct pid *pid;
	int fd;

	mutex_lock(&u->lock);
	pid = u->peercred.pid ? pid_get(u->peercred.pid) : NULL;
	mutex_unlock(&u->lock);
	if (!pid)
		return -ENODATA;
	fd = pidfd_create(pid, 0, &file);
	pid_put(pid);
	if (fd)
		return fd;
	fd = fd_install(file, true);
	if (fd < 0) {
		file_put(file);
		return fd;
	}
	*len = MIN(*len, (unsigned)sizeof(fd));
	memcpy(val, &fd, *len);
	return 0;
}

int unix_getsockopt(struct socket *sock, int level, int name, void *val, unsigned *len)
{
	struct unix_sock *u = sock->sk;

	if (level != SOL_SOCKET)
		return -ENOIOCTLCMD;
	switch (name) {
	case SO_PEERCRED: {
		struct ucred cred = {0};

		mutex_lock(&u->lock);
		/* Without a peer they are -1. */
		cred.uid = u->peercred.uid;
		cred.gid = u->peercred.gid;
		if (cred.uid != INVALID_ID) {
			cred.uid = uid_shown_here(cred.uid);
			cred.gid = gid_shown_here(cred.gid);
		}
		if (u->peercred.pid)
			cred.pid = pid_nr_ns(u->peercred.pid, task_pid_ns(current));
		mutex_unlock(&u->lock);
		*len = MIN(*len, (unsigned)sizeof(cred));
		memcpy(val, &cred, *len);
		return 0;
	}
	case SO_PEERPIDFD:
		return get_peer_pidfd(u, val, len);
	case SO_ERROR:
	case SO_ACCEPTCONN: {
		int n = name == SO_ERROR ? -unix_take_error(u) : u->state == UNIX_LISTEN;

		*len = MIN(*len, (unsigned)sizeof(n));
		memcpy(val, &n, *len);
		return 0;
	}
	default:
		return -ENOIOCTLCMD;
	}
}

static int unix_create(struct socket *sock, int type, int protocol)
{
	struct unix_sock *u;

	if (protocol && protocol != PF_UNIX)
		return -EPROTONOSUPPORT;
	switch (type) {
	case SOCK_STREAM:
		sock->ops = &unix_stream_ops;
		break;
	case SOCK_RAW: /* Linux: for old programs */
		type = SOCK_DGRAM;
		/* fall through */
	case SOCK_DGRAM:
		sock->ops = &unix_dgram_ops;
		break;
	case SOCK_SEQPACKET:
		sock->ops = &unix_seqpacket_ops;
		break;
	default:
		return -ESOCKTNOSUPPORT;
	}
	u = unix_alloc(type, sock->net);
	if (!u)
		return -ENOMEM;
	u->has_socket = true;
	sock->type = type;
	sock->sk = u;
	return 0;
}

extern const struct socket_family unix_family;
const struct socket_family unix_family = {
	.family = AF_UNIX, .create = unix_create, .ns_destroy = unix_names_destroy};

static int unix_no_connection(struct socket *sock, int backlog)
{
	(void)sock;
	(void)backlog;
	return -EOPNOTSUPP;
}

static int unix_no_accept(struct socket *sock, struct socket *fresh, bool nonblock)
{
	(void)sock;
	(void)fresh;
	(void)nonblock;
	return -EOPNOTSUPP;
}

#define UNIX_OPS_COMMON                                                                            \
	.bind = unix_bind, .socketpair = unix_socketpair, .getname = unix_getname,                 \
	.ioctl = unix_ioctl, .shutdown = unix_shutdown, .setsockopt = unix_setsockopt,             \
	.getsockopt = unix_getsockopt, .release = unix_release

const struct socket_ops unix_stream_ops = {
	UNIX_OPS_COMMON,
	.connect = unix_stream_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.poll = unix_stream_poll,
	.sendmsg = unix_stream_sendmsg,
	.recvmsg = unix_stream_recvmsg,
};
const struct socket_ops unix_seqpacket_ops = {
	UNIX_OPS_COMMON,
	.connect = unix_stream_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.poll = unix_dgram_poll,
	.sendmsg = unix_seqpacket_sendmsg,
	.recvmsg = unix_seqpacket_recvmsg,
};
const struct socket_ops unix_dgram_ops = {
	UNIX_OPS_COMMON,
	.connect = unix_dgram_connect,
	.listen = unix_no_connection,
	.accept = unix_no_accept,
	.poll = unix_dgram_poll,
	.sendmsg = unix_dgram_sendmsg,
	.recvmsg = unix_dgram_recvmsg,
};
