#include "control/server.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <fcntl.h>
#include "base/clock.h"
#include "base/log.h"
#include "control/internal.h"

/* How long the end waits for clients to take their answers, and for workers. */
#define FLUSH_NS 1000000000LL
#define TICK_MS 1000

static int add_watch(struct control_server *s, struct watch *w)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = w};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, w->fd, &ev) ? -errno : 0;
}

static int set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

static int add_listener(struct control_server *s, int i, int fd, bool abstract)
{
	struct watch *w = &s->listeners[i];
	int ret;

	*w = (struct watch){.kind = WATCH_LISTENER, .fd = fd, .abstract = abstract};
	if (fd < 0)
		return 0;
	ret = set_nonblocking(fd);
	return ret ? ret : add_watch(s, w);
}

static int add_owner(struct control_server *s, int fd)
{
	struct connection *c;
	int ret = set_nonblocking(fd);

	if (ret) {
		close(fd);
		return ret;
	}
	c = connection_new(s, fd);
	if (!c)
		return -ENOMEM;
	c->owner = true;
	c->since = 0; /* it takes its time */
	return 0;
}

int server_attach(struct control_server *s, int fd)
{
	int ret = s->nconnections >= CONTROL_CONNECTIONS_MAX ? -EMFILE : set_nonblocking(fd);

	if (ret) {
		close(fd);
		return ret;
	}
	return connection_new(s, fd) ? 0 : -ENOMEM;
}

int control_server_new(const struct control_server_config *config, struct control_server **out)
{
	struct control_server *s = calloc(1, sizeof(*s));
	int ret;

	if (!s) {
		int fds[] = {config->path_listener, config->abstract_listener, config->owner};

		close_fds(fds, 3);
		return -ENOMEM;
	}
	s->backend = config->backend;
	s->ctx = config->ctx;
	s->uid = config->uid;
	memcpy(s->token, config->token, sizeof(s->token));
	LIST_INIT(&s->connections);
	LIST_INIT(&s->watches);
	workers_init(&s->workers);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->stop = (struct watch){.kind = WATCH_STOP, .fd = eventfd(0, EFD_CLOEXEC)};
	ret = add_listener(s, 0, config->path_listener, false);
	if (!ret)
		ret = add_listener(s, 1, config->abstract_listener, true);
	else
		s->listeners[1].fd = config->abstract_listener;
	if (!ret)
		ret = add_watch(s, &s->stop);
	if (!ret && config->owner >= 0)
		ret = add_owner(s, config->owner);
	else if (config->owner >= 0)
		close(config->owner);
	if (ret) {
		control_server_free(s);
		return ret;
	}
	*out = s;
	return 0;
}

int control_server_watch(struct control_server *s, int fd, bool (*fn)(void *arg), void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return -ENOMEM;
	*w = (struct watch){.kind = WATCH_OTHER, .fd = fd, .fn = fn, .arg = arg};
	ret = add_watch(s, w);
	if (ret) {
		free(w);
		return ret;
	}
	LIST_INSERT_HEAD(&s->watches, w, link);
	return 0;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void poll_listeners(struct control_server *s, bool on)
{
	for (int i = 0; i < 2; i++) {
		struct epoll_event ev = {.events = on ? EPOLLIN : 0, .data.ptr = &s->listeners[i]};

		if (s->listeners[i].fd >= 0)
			epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->listeners[i].fd, &ev);
	}
	s->deaf = !on;
}

static bool peer_is_owner(const struct control_server *s, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && len == sizeof(peer) &&
	       peer.uid == s->uid;
}

static void accept_one(struct control_server *s, const struct watch *w)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			poll_listeners(s, false); /* until the next tick */
		return;
	}
	if (!peer_is_owner(s, fd) || s->nconnections >= CONTROL_CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	c = connection_new(s, fd);
	if (c)
		c->needs_token = w->abstract;
}

static void serve_connection(struct connection *c, uint32_t events)
{
	bool ok = true;

	if (events & EPOLLOUT)
		ok = connection_output(c);
	if (ok && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		ok = connection_input(c);
	if (ok)
		return;
	connection_close(c);
	connection_put(c);
}

static void serve_other(struct control_server *s, struct watch *w)
{
	if (w->fn(w->arg))
		return;
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	LIST_REMOVE(w, link);
	free(w);
}

/* Closes connections that have been in the middle of a frame, or without Hello, for too long. True
 * if there are any in that state. */
static bool tick(struct control_server *s)
{
	int64_t now = monotonic_ns();
	struct connection *c, *next;
	bool some = s->deaf;

	if (s->deaf)
		poll_listeners(s, true);
	for (c = LIST_FIRST(&s->connections); c; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->since)
			continue;
		if (now - c->since < CONTROL_FRAME_NS) {
			some = true;
			continue;
		}
		connection_close(c);
		connection_put(c);
	}
	return some;
}

void control_server_run(struct control_server *s)
{
	struct epoll_event events[1];
	uint64_t n;

	s->stopping = false;
	while (!s->stopping) {
		int timeout = tick(s) ? TICK_MS : -1;
		/* One at a time: what an event is about may end another. */
		struct watch *w;

		if (epoll_wait(s->epoll, events, 1, timeout) < 1)
			continue;
		w = events[0].data.ptr;
		switch (w->kind) {
		case WATCH_LISTENER:
			accept_one(s, w);
			break;
		case WATCH_CONNECTION:
			serve_connection((struct connection *)w, events[0].events);
			break;
		case WATCH_OTHER:
			serve_other(s, w);
			break;
		case WATCH_STOP:
			s->stopping = true;
			if (read(w->fd, &n, sizeof(n)) < 0)
				log_error("control: eventfd: %s", strerror(errno));
			break;
		}
	}
}

void control_server_stop(struct control_server *s)
{
	uint64_t one = 1;

	if (write(s->stop.fd, &one, sizeof(one)) < 0)
		log_error("control: cannot stop the server: %s", strerror(errno));
}

/* --- the end ---------------------------------------------------------------------------------- */

static bool something_queued(struct control_server *s)
{
	struct connection *c;
	bool some = false;

	LIST_FOREACH (c, &s->connections, link) {
		mutex_lock(&c->lock);
		some = some || (c->queued && !c->broken);
		mutex_unlock(&c->lock);
	}
	return some;
}

static void flush(struct control_server *s)
{
	int64_t end = monotonic_ns() + FLUSH_NS;
	struct connection *c;

	while (something_queued(s) && monotonic_ns() < end) {
		struct timespec pause = {.tv_nsec = 2000000};

		LIST_FOREACH (c, &s->connections, link)
			if (!connection_output(c))
				connection_break(c);
		if (something_queued(s))
			nanosleep(&pause, NULL);
	}
}

void control_server_free(struct control_server *s)
{
	struct connection *c;
	struct watch *w;
	bool idle = workers_end(&s->workers);

	flush(s);
	while ((c = LIST_FIRST(&s->connections))) {
		c->owner = false;
		connection_close(c);
		connection_put(c);
	}
	while ((w = LIST_FIRST(&s->watches))) {
		LIST_REMOVE(w, link);
		free(w);
	}
	for (int i = 0; i < 2; i++)
		close_fd_ptr(&s->listeners[i].fd);
	close_fd_ptr(&s->stop.fd);
	close_fd_ptr(&s->epoll);
	/* A worker that is busy still looks at the server; the process is about to end. */
	if (idle)
		free(s);
}
