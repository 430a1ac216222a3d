/* Packet buffers: a linear part and fragments, see nbuf.h. */
#include "netstack/buffer/nbuf.h"

#include <errno.h>
#include <string.h>

#include "netstack/buffer/checksum.h"
#include "netstack/netstack.h"
#include "netstack/buffer/npool_internal.h"

static struct nbuf *buf_object(struct npool *p)
{
	struct nbuf *b;

	if (!npool_charge(p, sizeof(*b)))
		return NULL;
	mutex_lock(&p->buf_lock);
	b = STAILQ_FIRST(&p->bufs_head);
	if (b) {
		STAILQ_REMOVE_HEAD(&p->bufs_head, next);
		p->nbufs--;
	}
	mutex_unlock(&p->buf_lock);
	if (!b)
		b = p->alloc(p->ctx, sizeof(*b));
	if (!b) {
		npool_uncharge(p, sizeof(*b));
		return NULL;
	}
	memset(b, 0, offsetof(struct nbuf, frags));
	refcount_init(&b->refs);
	b->pool = p;
	npool_get(p);
	return b;
}

struct nbuf *nbuf_alloc(struct npool *p, size_t headroom, size_t size)
{
	struct nbuf *b = buf_object(p);

	if (!b)
		return NULL;
	if (headroom + size <= NBUF_INLINE) {
		b->head = b->inl;
		b->end = b->inl + NBUF_INLINE;
	} else {
		b->mem = nmem_alloc(p, headroom + size);
		if (!b->mem) {
			nbuf_put(b);
			return NULL;
		}
		b->head = b->mem->bytes;
		b->end = b->head + b->mem->size;
	}
	b->data = b->head + headroom;
	return b;
}

struct nbuf *nbuf_from_nmem(struct nmem *m, size_t off, size_t len)
{
	struct nbuf *b = buf_object(m->pool);

	if (!b)
		return NULL;
	b->mem = m;
	b->head = m->bytes;
	b->end = m->bytes + m->size;
	b->data = m->bytes + off;
	b->lin = b->len = len;
	return b;
}

void nbuf_put(struct nbuf *b)
{
	struct npool *p;

	if (!b || !refcount_dec(&b->refs))
		return;
	p = b->pool;
	for (int i = 0; i < b->nfrags; i++)
		nmem_put(b->frags[i].mem);
	nmem_put(b->mem);
	if (b->link)
		net_link_put(b->link);
	npool_uncharge(p, sizeof(*b));
	mutex_lock(&p->buf_lock);
	if (p->nbufs < p->nbufs_max) {
		STAILQ_INSERT_HEAD(&p->bufs_head, b, next);
		p->nbufs++;
		b = NULL;
	}
	mutex_unlock(&p->buf_lock);
	if (b)
		p->free(p->ctx, b);
	npool_put(p);
}

void nbuf_set_link(struct nbuf *b, struct net_link *l)
{
	struct net_link *old = b->link;

	b->link = l ? net_link_get(l) : NULL;
	if (old)
		net_link_put(old);
}

struct nbuf *nbuf_clone(struct nbuf *b)
{
	struct nbuf *n = buf_object(b->pool);

	if (!n)
		return NULL;
	memcpy((char *)n + offsetof(struct nbuf, data), (char *)b + offsetof(struct nbuf, data),
	       offsetof(struct nbuf, frags) - offsetof(struct nbuf, data));
	n->link = NULL;
	if (b->link)
		nbuf_set_link(n, b->link);
	if (b->mem) {
		nmem_get(b->mem);
	} else {
		ptrdiff_t d = (char *)n - (char *)b;

		memcpy(n->inl, b->inl, NBUF_INLINE);
		n->data += d;
		n->head += d;
		n->end += d;
		if (n->mac)
			n->mac += d;
		if (n->net)
			n->net += d;
	}
	memcpy(n->frags, b->frags, b->nfrags * sizeof(b->frags[0]));
	for (int i = 0; i < n->nfrags; i++)
		nmem_get(n->frags[i].mem);
	return n;
}

struct nbuf *nbuf_copy(struct nbuf *b, size_t headroom)
{
	struct nbuf *n = nbuf_alloc(b->pool, headroom, b->len);

	if (!n)
		return NULL;
	nbuf_read(b, 0, nbuf_append(n, b->len), b->len);
	n->csum = b->csum;
	n->csum_start = b->csum_start;
	n->csum_offset = b->csum_offset;
	n->gso = b->gso;
	n->gso_size = b->gso_size;
	n->pkt_type = b->pkt_type;
	n->protocol = b->protocol;
	n->tstamp = b->tstamp;
	return n;
}

void *nbuf_append(struct nbuf *b, size_t n)
{
	uint8_t *p = b->data + b->lin;

	BUG_ON(b->nfrags || (size_t)(b->end - p) < n);
	b->lin += n;
	b->len += n;
	return p;
}

void *nbuf_push(struct nbuf *b, size_t n)
{
	BUG_ON((size_t)(b->data - b->head) < n);
	b->data -= n;
	b->lin += n;
	b->len += n;
	b->csum_start += n;
	return b->data;
}

void nbuf_pull(struct nbuf *b, size_t n)
{
	size_t lin = MIN(n, (size_t)b->lin);
	int drop = 0;

	BUG_ON(n > b->len);
	b->data += lin;
	b->lin -= lin;
	b->len -= n;
	b->csum_start -= n;
	n -= lin;
	while (n) {
		struct nfrag *f = &b->frags[drop];

		if (n < f->len) {
			f->off += n;
			f->len -= n;
			break;
		}
		n -= f->len;
		nmem_put(f->mem);
		drop++;
	}
	if (drop) {
		b->nfrags -= drop;
		memmove(b->frags, b->frags + drop, b->nfrags * sizeof(b->frags[0]));
	}
}

void nbuf_trim(struct nbuf *b, size_t n)
{
	size_t at;
	int i;

	if (n >= b->len)
		return;
	b->len = n;
	if (n <= b->lin) {
		b->lin = n;
		for (i = 0; i < b->nfrags; i++)
			nmem_put(b->frags[i].mem);
		b->nfrags = 0;
		return;
	}
	at = b->lin;
	for (i = 0; i < b->nfrags; i++) {
		if (at >= n) {
			nmem_put(b->frags[i].mem);
			continue;
		}
		b->frags[i].len = MIN((size_t)b->frags[i].len, n - at);
		at += b->frags[i].len;
	}
	for (at = b->lin, i = 0; at < n; i++)
		at += b->frags[i].len;
	b->nfrags = i;
}

/* Moves the linear part to fresh memory that has room for `size` bytes after the same headroom. */
static int relocate(struct nbuf *b, size_t headroom, size_t size)
{
	struct nmem *m = nmem_alloc(b->pool, headroom + size);
	uint8_t *old_data = b->data;
	size_t keep;

	if (!m)
		return -ENOBUFS;
	/* Headers before data stay reachable through mac and net. */
	keep = MIN(headroom, (size_t)(b->data - b->head));
	memcpy(m->bytes + headroom - keep, b->data - keep, keep + b->lin);
	nmem_put(b->mem);
	b->mem = m;
	b->head = m->bytes;
	b->end = b->head + m->size;
	b->data = b->head + headroom;
	if (b->mac)
		b->mac = b->data - (old_data - b->mac);
	if (b->net)
		b->net = b->data - (old_data - b->net);
	return 0;
}

bool nbuf_linear(struct nbuf *b, size_t n)
{
	size_t need, got = 0;
	int drop = 0;

	if (likely(n <= b->lin))
		return true;
	if (n > b->len)
		return false;
	need = n - b->lin;
	if (need > (size_t)(b->end - b->data - b->lin) ||
	    (b->mem && refcount_read(&b->mem->refs) > 1))
		if (relocate(b, b->data - b->head, n) < 0)
			return false;
	nbuf_read(b, b->lin, b->data + b->lin, need);
	while (got < need) {
		struct nfrag *f = &b->frags[drop];
		size_t c = MIN(need - got, (size_t)f->len);

		got += c;
		if (c < f->len) {
			f->off += c;
			f->len -= c;
			break;
		}
		nmem_put(f->mem);
		drop++;
	}
	b->nfrags -= drop;
	memmove(b->frags, b->frags + drop, b->nfrags * sizeof(b->frags[0]));
	b->lin = n;
	return true;
}

int nbuf_unshare(struct nbuf *b, size_t headroom)
{
	if ((!b->mem || refcount_read(&b->mem->refs) == 1) && nbuf_headroom(b) >= headroom)
		return 0;
	return relocate(b, MAX(headroom, nbuf_headroom(b)), b->lin);
}

int nbuf_align(struct nbuf *b)
{
	if (!((uintptr_t)b->data & 3))
		return 0;
	return relocate(b, ROUND_UP(nbuf_headroom(b), (size_t)4), b->lin);
}

int nbuf_add_frag(struct nbuf *b, struct nmem *m, uint32_t off, uint32_t len)
{
	struct nfrag *f = b->nfrags ? &b->frags[b->nfrags - 1] : NULL;

	if (f && f->mem == m && f->off + f->len == off) {
		f->len += len;
		b->len += len;
		nmem_put(m);
		return 0;
	}
	if (b->nfrags == NBUF_FRAGS)
		return -EMSGSIZE;
	b->frags[b->nfrags++] = (struct nfrag){m, off, len};
	b->len += len;
	return 0;
}

int nbuf_add_range(struct nbuf *b, struct nbuf *src, size_t off, size_t len)
{
	struct nfrag save[NBUF_FRAGS];
	int n = b->nfrags, err = 0;
	uint32_t blen = b->len;
	size_t at = src->lin;

	memcpy(save, b->frags, n * sizeof(save[0]));
	if (off < src->lin && len) {
		size_t c = MIN(len, src->lin - off);
		struct nmem *m = src->mem;
		uint32_t moff;

		if (m) {
			nmem_get(m);
			moff = src->data + off - m->bytes;
		} else {
			m = nmem_alloc(b->pool, c);
			if (!m)
				return -ENOBUFS;
			memcpy(m->bytes, src->data + off, c);
			moff = 0;
		}
		err = nbuf_add_frag(b, m, moff, c);
		if (err)
			nmem_put(m);
		off += c;
		len -= c;
	}
	for (int i = 0; i < src->nfrags && len && !err; i++) {
		struct nfrag *f = &src->frags[i];

		if (off < at + f->len) {
			size_t skip = off - at, c = MIN(len, f->len - skip);

			err = nbuf_add_frag(b, nmem_get(f->mem), f->off + skip, c);
			if (err)
				nmem_put(f->mem);
			off += c;
			len -= c;
		}
		at += f->len;
	}
	if (err) {
		for (int i = n; i < b->nfrags; i++)
			nmem_put(b->frags[i].mem);
		memcpy(b->frags, save, n * sizeof(save[0]));
		b->nfrags = n;
		b->len = blen;
	}
	return err;
}

void nbuf_read(const struct nbuf *b, size_t off, void *to, size_t n)
{
	uint8_t *out = to;
	size_t at = b->lin;

	if (off < b->lin && n) {
		size_t c = MIN(n, b->lin - off);

		memcpy(out, b->data + off, c);
		out += c;
		off += c;
		n -= c;
	}
	for (int i = 0; i < b->nfrags && n; i++) {
		const struct nfrag *f = &b->frags[i];

		if (off < at + f->len) {
			size_t skip = off - at, c = MIN(n, f->len - skip);

			memcpy(out, f->mem->bytes + f->off + skip, c);
			out += c;
			off += c;
			n -= c;
		}
		at += f->len;
	}
	BUG_ON(n);
}

void nbuf_write(struct nbuf *b, size_t off, const void *from, size_t n)
{
	const uint8_t *in = from;
	size_t at = b->lin;

	if (off < b->lin && n) {
		size_t c = MIN(n, b->lin - off);

		memcpy(b->data + off, in, c);
		in += c;
		off += c;
		n -= c;
	}
	for (int i = 0; i < b->nfrags && n; i++) {
		struct nfrag *f = &b->frags[i];

		if (off < at + f->len) {
			size_t skip = off - at, c = MIN(n, f->len - skip);

			memcpy(f->mem->bytes + f->off + skip, in, c);
			in += c;
			off += c;
			n -= c;
		}
		at += f->len;
	}
	BUG_ON(n);
}

static void iov_read(const struct iovec **iov, size_t *skip, uint8_t *to, size_t n)
{
	while (n) {
		size_t c = MIN(n, (*iov)->iov_len - *skip);

		memcpy(to, (uint8_t *)(*iov)->iov_base + *skip, c);
		to += c;
		n -= c;
		*skip += c;
		while (n && *skip == (*iov)->iov_len) {
			(*iov)++;
			*skip = 0;
		}
	}
}

int nbuf_append_iov(struct nbuf *b, const struct iovec *iov, size_t iovcnt, size_t off, size_t n)
{
	const struct iovec *end = iov + iovcnt;
	size_t room = MIN(nbuf_tailroom(b), n);

	while (iov < end && off >= iov->iov_len) {
		off -= iov->iov_len;
		iov++;
	}
	if (room)
		iov_read(&iov, &off, nbuf_append(b, room), room);
	n -= room;
	while (n) {
		size_t c = MIN(n, (size_t)65536);
		struct nmem *m = nmem_alloc(b->pool, c);

		if (!m)
			return -ENOBUFS;
		while (off == iov->iov_len) {
			iov++;
			off = 0;
		}
		iov_read(&iov, &off, m->bytes, c);
		if (nbuf_add_frag(b, m, 0, c) < 0) {
			nmem_put(m);
			return -EMSGSIZE;
		}
		n -= c;
	}
	return 0;
}

size_t nbuf_to_iov(const struct nbuf *b, size_t off, const struct iovec *iov, size_t iovcnt,
		   size_t iov_off, size_t n)
{
	size_t done = 0;

	for (size_t i = 0; i < iovcnt && n; i++) {
		size_t c;

		if (iov_off >= iov[i].iov_len) {
			iov_off -= iov[i].iov_len;
			continue;
		}
		c = MIN(n, iov[i].iov_len - iov_off);
		nbuf_read(b, off, (uint8_t *)iov[i].iov_base + iov_off, c);
		iov_off = 0;
		off += c;
		n -= c;
		done += c;
	}
	return done;
}

int nbuf_iov(const struct nbuf *b, struct iovec *iov, int max)
{
	int n = 0;

	if (b->lin && n < max)
		iov[n++] = (struct iovec){b->data, b->lin};
	for (int i = 0; i < b->nfrags && n < max; i++)
		iov[n++] =
			(struct iovec){b->frags[i].mem->bytes + b->frags[i].off, b->frags[i].len};
	return n;
}

uint32_t nbuf_csum(const struct nbuf *b, size_t off, size_t n, uint32_t sum)
{
	size_t at = b->lin, done = 0;

	if (off < b->lin && n) {
		size_t c = MIN(n, b->lin - off);

		sum = csum_add_bytes(b->data + off, c, sum);
		off += c;
		n -= c;
		done = c;
	}
	for (int i = 0; i < b->nfrags && n; i++) {
		const struct nfrag *f = &b->frags[i];

		if (off < at + f->len) {
			size_t skip = off - at, c = MIN(n, f->len - skip);
			uint32_t s = csum_add_bytes(f->mem->bytes + f->off + skip, c, 0);

			sum = csum_add(sum, done & 1 ? csum_swap(s) : s);
			off += c;
			n -= c;
			done += c;
		}
		at += f->len;
	}
	return sum;
}

int nbuf_finish_csum(struct nbuf *b)
{
	size_t field = (size_t)b->csum_start + b->csum_offset;
	uint16_t v;

	if (b->csum != NBUF_CSUM_PARTIAL)
		return 0;
	if (b->csum_start > b->len || field + 2 > b->lin)
		return -EINVAL;
	v = csum_fold(nbuf_csum(b, b->csum_start, b->len - b->csum_start, 0));
	if (!v)
		v = 0xffff;
	memcpy(b->data + field, &v, 2);
	b->csum = NBUF_CSUM_NONE;
	return 0;
}

size_t nbuf_truesize(const struct nbuf *b)
{
	size_t n = sizeof(*b);

	/* Memory that several buffers share is counted by what each of them uses of it. */
	if (b->mem)
		n += refcount_read(&b->mem->refs) > 1 ? b->lin : b->mem->size;
	for (int i = 0; i < b->nfrags; i++) {
		struct nmem *m = b->frags[i].mem;

		n += refcount_read(&m->refs) > 1 ? b->frags[i].len : m->size;
	}
	return n;
}

void nbuf_queue_purge(struct nbuf_queue *q)
{
	struct nbuf *b;

	while ((b = STAILQ_FIRST(q))) {
		STAILQ_REMOVE_HEAD(q, next);
		nbuf_put(b);
	}
}
