/*
 * Frames to be sent are copied into a buffer, which is written as far as the socket takes it: by
 * the sender, when its locks are gone, and by the thread, once the socket has room again. What does
 * not fit is dropped, as by a full device.
 *
 * stream->lock guards the buffer; it is a leaf. The structure stays as long as link or thread.
 */
#include "boot/net/stream.h"

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/refcount.h"
#include "base/thread.h"
#include "netstack/buffer/nbuf.h"

#define STACK ((size_t)256 << 10)
#define OUTPUT ((size_t)1 << 20)
#define INPUT ((size_t)256 << 10)
#define FRAME_MAX 65553u /* 65535 of IP, Ethernet header, one VLAN tag */
#define PIECES 32

struct stream {
	struct refcount refs;  /* the link's, the thread's */
	struct net_link *link; /* the thread's, counted */
	int fd, wake;	       /* owned */
	struct mutex lock;
	unsigned char *out; /* owned; OUTPUT bytes */
	size_t begin, end;  /* what is in it */
	bool blocked;	    /* the socket takes no more: the thread waits for it */
	unsigned char *in;  /* owned; INPUT bytes; the thread's */
	size_t have;
};

static void stream_put(struct stream *s)
{
	if (!refcount_dec(&s->refs))
		return;
	close_fd_ptr(&s->fd);
	close_fd_ptr(&s->wake);
	mutex_destroy(&s->lock);
	free(s->out);
	free(s->in);
	free(s);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Room for n bytes behind what is there, or NULL. Lock held. */
static unsigned char *make_room(struct stream *s, size_t n)
{
	if (s->begin == s->end)
		s->begin = s->end = 0;
	if (OUTPUT - s->end < n && OUTPUT - (s->end - s->begin) >= n) {
		memmove(s->out, s->out + s->begin, s->end - s->begin);
		s->end -= s->begin;
		s->begin = 0;
	}
	return OUTPUT - s->end < n ? NULL : s->out + s->end;
}

static int stream_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct iovec iov[PIECES];
	struct stream *s = priv;
	size_t n = b->len;
	unsigned char *at;
	int pieces;
	MUTEX_GUARD(&s->lock);

	(void)l;
	at = n <= FRAME_MAX ? make_room(s, n + 4) : NULL;
	pieces = at ? nbuf_iov(b, iov, PIECES) : 0;
	if (at) {
		at[0] = (unsigned char)(n >> 24);
		at[1] = (unsigned char)(n >> 16);
		at[2] = (unsigned char)(n >> 8);
		at[3] = (unsigned char)n;
		at += 4;
		for (int i = 0; i < pieces; i++) {
			memcpy(at, iov[i].iov_base, iov[i].iov_len);
			at += iov[i].iov_len;
		}
		s->end += n + 4;
	}
	nbuf_put(b);
	return at ? 0 : -ENOBUFS;
}

/* Writes what the socket takes. */
static void drain(struct stream *s)
{
	MUTEX_GUARD(&s->lock);
	s->blocked = false;
	while (s->begin < s->end) {
		ssize_t n = send(s->fd, s->out + s->begin, s->end - s->begin,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0) {
			s->begin += (size_t)n;
		} else if (errno == EAGAIN) {
			s->blocked = true;
			return;
		} else if (errno != EINTR) {
			/* The other side is gone, and the thread will see it. */
			s->begin = s->end = 0;
		}
	}
}

static void stream_flush(struct net_link *l, void *priv)
{
	struct stream *s = priv;
	uint64_t one = 1;
	bool was, is;

	(void)l;
	mutex_lock(&s->lock);
	was = s->blocked;
	mutex_unlock(&s->lock);
	if (was)
		return;
	drain(s);
	mutex_lock(&s->lock);
	is = s->blocked;
	mutex_unlock(&s->lock);
	if (is && write(s->wake, &one, sizeof(one)) < 0)
		log_debug("stream link: %s", strerror(errno));
}

static void stream_release(void *priv)
{
	stream_put(priv);
}

static const struct net_link_ops ops = {
	.xmit = stream_xmit,
	.flush = stream_flush,
	.release = stream_release,
};

/* --- receiving -------------------------------------------------------------------------------- */

/* Takes the whole frames out of the buffer. False: what came is no stream of frames. */
static bool take_frames(struct stream *s)
{
	size_t at = 0;

	while (s->have - at >= 4) {
		const unsigned char *p = s->in + at;
		size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];

		if (n > FRAME_MAX)
			return false;
		if (s->have - at < 4 + n)
			break;
		net_link_input_mem(s->link, p + 4, n);
		at += 4 + n;
	}
	memmove(s->in, s->in + at, s->have - at);
	s->have -= at;
	return true;
}

/* False at the end of the stream. */
static bool receive(struct stream *s)
{
	ssize_t n = recv(s->fd, s->in + s->have, INPUT - s->have, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	s->have += (size_t)n;
	return take_frames(s);
}

static void *run(void *arg)
{
	struct stream *s = arg;
	bool alive = true;
	uint64_t n;

	while (alive) {
		struct pollfd fds[] = {
			{.fd = s->fd, .events = POLLIN},
			{.fd = s->wake, .events = POLLIN},
		};

		mutex_lock(&s->lock);
		if (s->blocked)
			fds[0].events |= POLLOUT;
		mutex_unlock(&s->lock);
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[1].revents && read(s->wake, &n, sizeof(n)) < 0)
			break;
		if (fds[0].revents & POLLOUT)
			drain(s);
		if (fds[0].revents & ~POLLOUT)
			alive = receive(s);
	}
	log_warn("the user-mode network is gone");
	net_link_set_flags(s->link, 0, IFF_UP);
	net_link_put(s->link);
	stream_put(s);
	return NULL;
}

int stream_link_add(struct netstack *stack, const struct net_link_config *config, int fd,
		    struct net_link **out)
{
	struct stream *s = calloc(1, sizeof(*s));
	struct net_link *l;
	int ret = -ENOMEM;

	if (!s)
		return -ENOMEM;
	refcount_init(&s->refs);
	mutex_init(&s->lock);
	s->fd = -1;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->out = malloc(OUTPUT);
	s->in = malloc(INPUT);
	if (s->wake >= 0 && s->out && s->in)
		ret = net_link_add_custom(stack, config, &ops, s, &l);
	if (ret) {
		stream_put(s);
		return ret;
	}
	/* The link's reference is there; now the thread's. */
	refcount_inc(&s->refs);
	s->fd = fd;
	s->link = net_link_get(l);
	ret = thread_start_quiet(run, s, STACK);
	if (ret) {
		s->fd = -1;
		net_link_put(s->link);
		stream_put(s);
		net_link_remove(l);
		net_link_put(l);
		return ret;
	}
	*out = l;
	return 0;
}
