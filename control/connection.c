/* One connection: what it reads, what it still has to send, its end. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "control/internal.h"

struct connection *connection_new(struct control_server *s, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	if (!c) {
		close(fd);
		return NULL;
	}
	refcount_init(&c->refs);
	c->watch.kind = WATCH_CONNECTION;
	c->server = s;
	c->id = ++s->last_id;
	c->fd = c->watch.fd = fd;
	c->since = monotonic_ns();
	mutex_init(&c->lock);
	STAILQ_INIT(&c->outputs);
	frame_reader_init(&c->reader, false);
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		connection_put(c);
		return NULL;
	}
	LIST_INSERT_HEAD(&s->connections, c, link);
	s->nconnections++;
	return c;
}

void connection_get(struct connection *c)
{
	refcount_inc(&c->refs);
}

static void drop_outputs(struct connection *c)
{
	struct output *o;

	while ((o = STAILQ_FIRST(&c->outputs))) {
		STAILQ_REMOVE_HEAD(&c->outputs, link);
		free(o->data);
		free(o);
	}
	c->queued = 0;
}

void connection_put(struct connection *c)
{
	if (!refcount_dec(&c->refs))
		return;
	if (c->fd >= 0)
		close(c->fd);
	drop_outputs(c);
	frame_reader_reset(&c->reader);
	mutex_destroy(&c->lock);
	free(c);
}

void connection_close(struct connection *c)
{
	struct control_server *s = c->server;

	LIST_REMOVE(c, link);
	s->nconnections--;
	frame_reader_reset(&c->reader);
	mutex_lock(&c->lock);
	close(c->fd); /* leaves the epoll set with it */
	c->fd = -1;
	drop_outputs(c);
	mutex_unlock(&c->lock);
	s->backend->disconnected(s->ctx, c->id);
	if (c->owner)
		s->backend->abandoned(s->ctx);
}

/* --- output ----------------------------------------------------------------------------------- */

static void ask_for_write(struct connection *c, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c};

	if (c->want_write == on)
		return;
	c->want_write = on;
	epoll_ctl(c->server->epoll, EPOLL_CTL_MOD, c->fd, &ev);
}

/* lock held */
static bool send_queued(struct connection *c)
{
	struct output *o;

	while ((o = STAILQ_FIRST(&c->outputs))) {
		ssize_t n = frame_send(c->fd, o->data + o->sent, o->size - o->sent, NULL, 0);

		if (n < 0)
			return false;
		if (n == 0)
			break;
		o->sent += (size_t)n;
		c->queued -= (size_t)n;
		if (o->sent < o->size)
			break;
		STAILQ_REMOVE_HEAD(&c->outputs, link);
		free(o->data);
		free(o);
	}
	ask_for_write(c, o != NULL);
	return true;
}

void connection_send(struct connection *c, unsigned char *data, size_t size)
{
	struct output *o = calloc(1, sizeof(*o));
	MUTEX_GUARD(&c->lock);

	if (!o || c->fd < 0 || c->broken || c->queued + size > CONTROL_OUTPUT_MAX) {
		/* Too slow a reader, or no memory for its answer: it cannot go on. */
		if (c->fd >= 0 && !c->broken) {
			c->broken = true;
			ask_for_write(c, true); /* the loop comes by */
		}
		free(o);
		free(data);
		return;
	}
	o->data = data;
	o->size = size;
	STAILQ_INSERT_TAIL(&c->outputs, o, link);
	c->queued += size;
	if (!send_queued(c)) {
		c->broken = true;
		ask_for_write(c, true);
	}
}

void connection_break(struct connection *c)
{
	MUTEX_GUARD(&c->lock);
	c->broken = true;
}

bool connection_output(struct connection *c)
{
	MUTEX_GUARD(&c->lock);
	return !c->broken && send_queued(c);
}

/* --- input ------------------------------------------------------------------------------------ */

static bool token_is_right(const struct control_server *s, const ProtobufCBinaryData *token)
{
	unsigned char diff = 0;

	if (token->len != CONTROL_TOKEN_SIZE)
		return false;
	/* In constant time: a peer may measure. */
	for (size_t i = 0; i < CONTROL_TOKEN_SIZE; i++)
		diff |= (unsigned char)(token->data[i] ^ s->token[i]);
	return diff == 0;
}

static bool greet(struct connection *c, const Moat__Frame *frame)
{
	Moat__Frame answer = MOAT__FRAME__INIT;
	Moat__Hello hello = MOAT__HELLO__INIT;
	unsigned char *data;
	size_t size;

	if (frame->kind_case != MOAT__FRAME__KIND_HELLO || c->reader.nfds)
		return false;
	hello.version = CONTROL_VERSION;
	answer.kind_case = MOAT__FRAME__KIND_HELLO;
	answer.hello = &hello;
	data = frame_pack(&answer, &size);
	if (!data)
		return false;
	/* A client of another version learns ours before it loses the connection. */
	connection_send(c, data, size);
	if (frame->hello->version != CONTROL_VERSION)
		return false;
	if (c->needs_token && !token_is_right(c->server, &frame->hello->token))
		return false;
	c->greeted = true;
	return true;
}

static bool take_frame(struct connection *c)
{
	Moat__Frame *frame = frame_unpack(c->reader.payload, c->reader.size);
	bool ok = false;

	if (!frame)
		return false;
	if (!c->greeted) {
		ok = greet(c, frame);
	} else if (frame->kind_case == MOAT__FRAME__KIND_REQUEST && frame->request->id) {
		mutex_lock(&c->lock);
		ok = c->npending < CONTROL_PENDING_MAX && !c->broken;
		for (unsigned i = 0; ok && i < c->npending; i++)
			ok = c->pending[i] != frame->request->id;
		if (ok)
			c->pending[c->npending++] = frame->request->id;
		mutex_unlock(&c->lock);
		if (ok) {
			dispatch_request(c, frame, c->reader.fds, c->reader.nfds);
			c->reader.nfds = 0;
			frame = NULL;
		}
	}
	frame_free(frame);
	return ok;
}

bool connection_input(struct connection *c)
{
	/* Not for ever: others are waiting. */
	for (int i = 0; i < 16; i++) {
		int ret = frame_reader_read(&c->reader, c->fd);

		if (ret == -EAGAIN)
			break;
		if (ret < 0)
			return false;
		if (!take_frame(c))
			return false;
		frame_reader_reset(&c->reader);
	}
	if (!frame_reader_partial(&c->reader))
		c->since = c->greeted ? 0 : c->since;
	else if (!c->since)
		c->since = monotonic_ns();
	return true;
}
