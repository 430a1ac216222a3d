/* The send queue: bytes from the application into chunks; room and readiness. */
#include "netstack/tcp/tcp_internal.h"

#define COPY_UNLOCKED 4096 /* larger copies are made without the endpoint's lock */

void tcp_chunks_free(struct tcp_ep *tp, uint32_t before)
{
	struct tcp_chunk *c;

	while ((c = TAILQ_FIRST(&tp->chunks)) && seq_le(c->seq + c->len, before)) {
		if (tp->next_chunk == c)
			tp->next_chunk = TAILQ_NEXT(c, next);
		TAILQ_REMOVE(&tp->chunks, c, next);
		tp->ep.wmem -= MIN(tp->ep.wmem, c->len);
		nmem_put(c->mem);
		net_free(tcp_stack(tp), c);
	}
}

void tcp_chunks_purge(struct tcp_ep *tp)
{
	struct tcp_chunk *c;

	while ((c = TAILQ_FIRST(&tp->chunks))) {
		TAILQ_REMOVE(&tp->chunks, c, next);
		nmem_put(c->mem);
		net_free(tcp_stack(tp), c);
	}
	tp->next_chunk = NULL;
	tp->ep.wmem = 0;
}

/* Bytes that the application has given and the peer has not acknowledged. */
static uint32_t unacknowledged(const struct tcp_ep *tp)
{
	return seq_lt(tp->snd_una, tp->write_seq) ? tp->write_seq - tp->snd_una : 0;
}

/* Room for the application's bytes. The limit counts payload, twice as dear as it is (Linux's
 * truesize accounting does about that). */
static uint32_t room(const struct tcp_ep *tp)
{
	uint32_t limit = tp->ep.sndbuf / 2 * 2, used = unacknowledged(tp);
	uint32_t notsent = tp->write_seq - tp->snd_nxt;

	if (used >= limit)
		return 0;
	if (tp->notsent_lowat && notsent >= tp->notsent_lowat)
		return 0;
	return limit - used;
}

bool tcp_write_space(const struct tcp_ep *tp)
{
	/* As Linux: writable when a third of the buffer is free. */
	return room(tp) > 0 && unacknowledged(tp) <= tp->ep.sndbuf / 3 * 2;
}

static struct tcp_chunk *chunk_new(struct tcp_ep *tp, struct nmem *mem, uint32_t off, uint32_t len)
{
	struct tcp_chunk *c = net_alloc(tcp_stack(tp), sizeof(*c));

	if (c) {
		c->mem = mem;
		c->off = off;
		c->len = len;
	}
	return c;
}

static void chunk_append(struct tcp_ep *tp, struct tcp_chunk *c)
{
	c->seq = tp->write_seq;
	TAILQ_INSERT_TAIL(&tp->chunks, c, next);
	if (!tp->next_chunk)
		tp->next_chunk = c;
	tp->write_seq += c->len;
	tp->ep.wmem += c->len;
}

struct iov_at {
	const struct iovec *iov;
	size_t cnt, off;
};

static void copy_in(struct iov_at *at, uint8_t *to, size_t n)
{
	while (n) {
		size_t c = MIN(n, at->iov->iov_len - at->off);

		memcpy(to, (const uint8_t *)at->iov->iov_base + at->off, c);
		to += c;
		n -= c;
		at->off += c;
		while (at->cnt && at->off == at->iov->iov_len) {
			at->iov++;
			at->cnt--;
			at->off = 0;
			if (!at->cnt)
				break;
		}
	}
}

/* Fills the free end of the last chunk. Lock held. Returns bytes taken. */
static size_t fill_last(struct tcp_ep *tp, struct iov_at *at, size_t n)
{
	struct tcp_chunk *c = TAILQ_LAST(&tp->chunks, tcp_chunk_list);
	size_t space;

	if (!c || !c->appendable)
		return 0;
	space = c->mem->size - c->off - c->len;
	n = MIN(n, space);
	if (!n)
		return 0;
	copy_in(at, c->mem->bytes + c->off + c->len, n);
	c->len += n;
	tp->write_seq += n;
	tp->ep.wmem += n;
	if (!tp->next_chunk)
		tp->next_chunk = c;
	return n;
}

/* A fresh chunk with up to n bytes; NULL when memory is short. */
static struct tcp_chunk *chunk_copy(struct tcp_ep *tp, struct iov_at *at, size_t n)
{
	size_t size = MIN(n, (size_t)TCP_CHUNK);
	struct nmem *m = nmem_alloc(tcp_stack(tp)->pool, size);
	struct tcp_chunk *c;

	if (!m)
		return NULL;
	c = chunk_new(tp, m, 0, size);
	if (!c) {
		nmem_put(m);
		return NULL;
	}
	c->appendable = true;
	copy_in(at, m->bytes, size);
	return c;
}

/* -EAGAIN, -EPIPE ... or 0 when data may be queued. Lock held. What was never connected is EPIPE as
 * well: Linux, not POSIX. */
static int may_send(struct tcp_ep *tp)
{
	int err = ep_take_error(&tp->ep);

	if (err)
		return err;
	if (tp->ep.shut & 2)
		return -EPIPE;
	switch (tp->state) {
	case TCP_ESTABLISHED:
	case TCP_CLOSE_WAIT:
		return 0;
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return -EAGAIN;
	default:
		return -EPIPE;
	}
}

/* RFC 5681 §4.1's cousin: buffer grows with the window so that it never is the limit. */
void tcp_sndbuf_grow(struct tcp_ep *tp);
void tcp_sndbuf_grow(struct tcp_ep *tp)
{
	uint64_t want = tp->cwnd * 2 + TCP_CHUNK;
	uint64_t max = tcp_stack(tp)->sysctl.tcp_wmem[2];

	if (tp->ep.opt.sndbuf_locked || npool_pressure(tcp_stack(tp)->pool))
		return;
	if (want > tp->ep.sndbuf)
		tp->ep.sndbuf = MIN(want, max);
}

static void pushed(struct tcp_ep *tp, int flags, size_t n)
{
	tp->more = flags & MSG_MORE;
	if (n && (flags & MSG_OOB))
		tp->snd_up = tp->write_seq; /* the last byte is the urgent one */
	if (n)
		tcp_output(tp);
}

ssize_t tcp_sendmsg(struct net_ep *ep, const struct net_msg *m, int flags)
{
	struct tcp_ep *tp = tcp(ep);
	struct iov_at at = {m->iov, m->iovcnt, 0};
	size_t total = 0, done = 0;
	int err;

	if (m->controllen && socket_check_control(m))
		return -EINVAL;
	for (size_t i = 0; i < m->iovcnt; i++)
		if (__builtin_add_overflow(total, m->iov[i].iov_len, &total))
			return -EINVAL;
	total = MIN(total, (size_t)0x7ffff000);
	while (at.cnt && !at.iov->iov_len) {
		at.iov++;
		at.cnt--;
	}
	MUTEX_GUARD(&ep->wr_lock);
	mutex_lock(&ep->lock);
	err = may_send(tp);
	while (!err && done < total) {
		size_t n = MIN(total - done, (size_t)room(tp));
		struct tcp_chunk *c;

		if (!n) {
			err = -EAGAIN;
			break;
		}
		n = MIN(n, (size_t)TCP_CHUNK);
		if (n < COPY_UNLOCKED) {
			size_t k = fill_last(tp, &at, n);

			done += k;
			if (k == n)
				continue;
			n -= k;
			/* A small write begins a chunk with room for the next ones. */
			c = chunk_copy(tp, &at, n);
			if (!c) {
				err = -ENOBUFS;
				break;
			}
			chunk_append(tp, c);
			done += n;
			continue;
		}
		mutex_unlock(&ep->lock);
		c = chunk_copy(tp, &at, n);
		mutex_lock(&ep->lock);
		err = c ? may_send(tp) : -ENOBUFS;
		if (err) {
			if (c) {
				nmem_put(c->mem);
				net_free(tcp_stack(tp), c);
			}
			break;
		}
		chunk_append(tp, c);
		done += n;
		/* Let full segments go while the rest is copied: it continues the last one. */
		if (done < total) {
			tp->more = true;
			tcp_output(tp);
		}
	}
	tp->write_was_short = err == -EAGAIN;
	pushed(tp, flags, done);
	mutex_unlock(&ep->lock);
	/* Out of memory is a full buffer for the application: RFC 9293 §3.9.1.2 has no error. */
	return done ? (ssize_t)done : err == -ENOBUFS ? -EAGAIN : err;
}

ssize_t tcp_send_nbuf(struct net_ep *ep, const struct sockaddr *to, socklen_t tolen, struct nbuf *b,
		      int flags)
{
	struct tcp_ep *tp = tcp(ep);
	struct tcp_chunk *c, *list[NBUF_FRAGS + 1];
	int err, n = 0, want = (b->lin > 0) + b->nfrags;
	MUTEX_GUARD(&ep->wr_lock);
	MUTEX_GUARD(&ep->lock);

	err = may_send(tp);
	if (!err && room(tp) < b->len)
		err = -EAGAIN;
	if (!err && b->lin) {
		struct nmem *m =
			b->mem ? nmem_get(b->mem) : nmem_alloc(tcp_stack(tp)->pool, b->lin);

		if (m && !b->mem)
			memcpy(m->bytes, b->data, b->lin);
		c = m ? chunk_new(tp, m, b->mem ? b->data - m->bytes : 0, b->lin) : NULL;
		if (c)
			list[n++] = c;
		else
			nmem_put(m);
	}
	for (int i = 0; i < b->nfrags && !err; i++) {
		c = chunk_new(tp, b->frags[i].mem, b->frags[i].off, b->frags[i].len);
		if (c) {
			nmem_get(c->mem);
			list[n++] = c;
		}
	}
	if (!err && n < want)
		err = -ENOBUFS;
	for (int i = 0; i < n; i++) {
		if (!err) {
			chunk_append(tp, list[i]);
		} else {
			nmem_put(list[i]->mem);
			net_free(tcp_stack(tp), list[i]);
		}
	}
	if (err)
		return err;
	n = b->len;
	pushed(tp, flags, n);
	nbuf_put(b);
	return n;
}
