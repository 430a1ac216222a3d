/* When a unix socket is ready. */
#include <errno.h>
#include <sys/epoll.h>

#include "sentry/net/unix/unix_internal.h"

bool unix_writable(struct unix_sock *u)
{
	/* Linux: a quarter of the buffer, so that a poller is not woken for every message. */
	return u->wmem << 2 <= u->sndbuf;
}

/* u->lock held. */
static uint32_t common_mask(struct unix_sock *u)
{
	uint32_t mask = 0;

	if (u->err)
		mask |= EPOLLERR;
	if (u->shutdown == SHUTDOWN_BOTH)
		mask |= EPOLLHUP;
	if (u->shutdown & RCV_SHUTDOWN)
		mask |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
	if (!TAILQ_EMPTY(&u->queue) || !TAILQ_EMPTY(&u->backlog_queue))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (u->type != SOCK_DGRAM && u->state == UNIX_CLOSE)
		mask |= EPOLLHUP;
	return mask;
}

uint32_t unix_stream_poll(struct socket *sock, struct poll_table *pt)
{
	struct unix_sock *u = sock->sk;
	uint32_t mask;

	poll_wait(pt, &u->wait);
	MUTEX_GUARD(&u->lock);
	mask = common_mask(u);
	if (u->oob)
		mask |= EPOLLPRI;
	if (u->state != UNIX_LISTEN && unix_writable(u))
		mask |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	return mask;
}

/* Runs on the full receiver's peer_wait: its sender's pollers look again. */
static bool peer_has_room(struct wait_entry *entry, uint32_t events)
{
	struct unix_sock *u = entry->data;

	(void)events;
	wake_up(&u->wait, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND);
	return false;
}

/* Is u connected to a receiver that is full? Then its room will wake u->wait. */
static bool wait_for_peer_room(struct unix_sock *u, bool arm)
{
	struct unix_sock *peer = unix_peer_get(u);
	bool full;

	if (!peer)
		return false;
	mutex_lock(&peer->lock);
	full = peer->peer != u && !peer->dead && peer->nqueued > peer->backlog;
	mutex_unlock(&peer->lock);
	if (full && arm) {
		/* u's peer cannot change under us without unix_dgram_connect or release taking the
		 * entry out; iolock keeps two pollers from arming the one entry at once. */
		MUTEX_GUARD(&u->iolock);
		mutex_lock(&u->lock);
		full = u->peer == peer;
		mutex_unlock(&u->lock);
		if (full && u->peer_entry.queue != &peer->peer_wait) {
			wait_queue_remove(&u->peer_entry);
			wait_entry_init_func(&u->peer_entry, peer_has_room, u, ~0U);
			wait_queue_add(&peer->peer_wait, &u->peer_entry);
		}
		/* It may have been drained before the entry was there. */
		mutex_lock(&peer->lock);
		full = full && !peer->dead && peer->nqueued > peer->backlog;
		mutex_unlock(&peer->lock);
	}
	unix_put(peer);
	return full;
}

uint32_t unix_dgram_poll(struct socket *sock, struct poll_table *pt)
{
	struct unix_sock *u = sock->sk;
	bool writable;
	uint32_t mask;

	poll_wait(pt, &u->wait);
	mutex_lock(&u->lock);
	mask = common_mask(u);
	writable = u->state != UNIX_LISTEN && unix_writable(u);
	mutex_unlock(&u->lock);
	if (writable && u->type == SOCK_DGRAM &&
	    (!pt || pt->events & (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)))
		writable = !wait_for_peer_room(u, true);
	if (writable)
		mask |= EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
	return mask;
}
