/*
 * Data that arrived out of order: a tree by sequence number without overlaps, so that no order of
 * arrival makes an insertion dear; and the SACK blocks that tell of it (RFC 2018 §4, RFC 2883).
 *
 * A buffer covers [seq, end_seq); a FIN behind its last byte is in its flags. One without data, a
 * bare FIN, may be in the tree too; where data has the same sequence number, the data stays.
 */
#include "netstack/tcp/tcp_internal.h"

static int ooo_cmp(const struct nbuf *a, const struct nbuf *b)
{
	return a->seq == b->seq ? 0 : seq_lt(a->seq, b->seq) ? -1 : 1;
}
RB_GENERATE(tcp_ooo_tree, nbuf, node, ooo_cmp)

/* ------------------------------------------------------------------------------ SACK blocks */

void tcp_fill_sack(struct tcp_ep *tp, struct tcp_options *o, unsigned max)
{
	unsigned n = 0;

	if (tp->dsack[0] != tp->dsack[1]) {
		o->sack[n][0] = tp->dsack[0];
		o->sack[n][1] = tp->dsack[1];
		tp->dsack[0] = tp->dsack[1] = 0;
		n++;
	}
	for (unsigned i = 0; i < tp->nsacks && n < max; i++, n++) {
		o->sack[n][0] = tp->sacks[i][0];
		o->sack[n][1] = tp->sacks[i][1];
	}
	o->nsack = n;
}

void tcp_set_dsack(struct tcp_ep *tp, uint32_t seq, uint32_t end)
{
	if (!tp->sack_ok || !tcp_stack(tp)->sysctl.tcp_dsack || !seq_lt(seq, end))
		return;
	net_count(tcp_stack(tp), NET_TcpExt_TCPDSACKOldSent);
	tp->dsack[0] = seq;
	tp->dsack[1] = end;
}

/* [seq, end) arrived out of order: its block comes first, merged with those that it touches. */
static void sack_add(struct tcp_ep *tp, uint32_t seq, uint32_t end)
{
	unsigned n = 0;
	uint32_t keep[4][2];

	for (unsigned i = 0; i < tp->nsacks; i++) {
		uint32_t a = tp->sacks[i][0], b = tp->sacks[i][1];

		if (seq_le(a, end) && seq_le(seq, b)) {
			seq = seq_lt(a, seq) ? a : seq;
			end = seq_max(b, end);
		} else if (n < 3) {
			keep[n][0] = a;
			keep[n++][1] = b;
		}
	}
	tp->sacks[0][0] = seq;
	tp->sacks[0][1] = end;
	memcpy(tp->sacks + 1, keep, n * sizeof(keep[0]));
	tp->nsacks = n + 1;
}

/* rcv_nxt moved: blocks behind it are history. */
static void sack_trim(struct tcp_ep *tp)
{
	unsigned n = 0;

	for (unsigned i = 0; i < tp->nsacks; i++)
		if (seq_lt(tp->rcv_nxt, tp->sacks[i][0])) {
			memmove(tp->sacks[n], tp->sacks[i], sizeof(tp->sacks[0]));
			n++;
		}
	tp->nsacks = RB_EMPTY(&tp->ooo) ? 0 : n;
}

/* ------------------------------------------------------------------------------ the tree */

static void ooo_unlink(struct tcp_ep *tp, struct nbuf *b)
{
	RB_REMOVE(tcp_ooo_tree, &tp->ooo, b);
	tp->ooo_bytes -= b->len;
	tp->ep.rmem -= b->truesize;
}

void tcp_ooo_purge(struct tcp_ep *tp)
{
	struct nbuf *b;

	while ((b = RB_ROOT(&tp->ooo))) {
		ooo_unlink(tp, b);
		nbuf_put(b);
	}
	tp->nsacks = 0;
}

/* The last buffer that begins at or before seq. */
static struct nbuf *ooo_before(struct tcp_ep *tp, struct nbuf *key)
{
	struct nbuf *n = RB_NFIND(tcp_ooo_tree, &tp->ooo, key);

	if (!n)
		return RB_MAX(tcp_ooo_tree, &tp->ooo);
	return n->seq == key->seq ? n : RB_PREV(tcp_ooo_tree, &tp->ooo, n);
}

/* Drops what b covers, and what of b its neighbours cover. False: all of b is there already. */
static bool ooo_fit(struct tcp_ep *tp, struct nbuf *b)
{
	struct nbuf *prev = ooo_before(tp, b), *f;

	f = prev ? RB_NEXT(tcp_ooo_tree, &tp->ooo, prev) : RB_MIN(tcp_ooo_tree, &tp->ooo);
	if (prev && prev->seq == b->seq && !prev->len) {
		if (!b->len)
			return false;
		ooo_unlink(tp, prev);
		nbuf_put(prev);
	} else if (prev && seq_lt(b->seq, prev->end_seq)) {
		uint32_t dup = MIN(prev->end_seq - b->seq, (uint32_t)b->len);

		tcp_set_dsack(tp, b->seq, b->seq + dup);
		if (dup == b->len)
			return false;
		nbuf_pull(b, dup);
		b->seq += dup;
	}
	while (f && seq_lt(f->seq, b->end_seq)) {
		struct nbuf *n = RB_NEXT(tcp_ooo_tree, &tp->ooo, f);

		if (seq_lt(b->end_seq, f->end_seq)) {
			tcp_set_dsack(tp, f->seq, b->end_seq);
			nbuf_trim(b, f->seq - b->seq);
			b->end_seq = f->seq;
			b->tcp_flags = 0; /* data follows: a FIN here would be nonsense */
			break;
		}
		tcp_set_dsack(tp, f->seq, f->end_seq);
		b->tcp_flags |= f->tcp_flags & TF_FIN;
		ooo_unlink(tp, f);
		nbuf_put(f);
		f = n;
	}
	return b->len > 0 || (b->tcp_flags & TF_FIN);
}

void tcp_ooo_queue(struct tcp_ep *tp, struct nbuf *b)
{
	if (!tcp_rx_room(tp, b, false)) {
		net_count(tcp_stack(tp), NET_TcpExt_TCPOFODrop);
		nbuf_put(b);
		return;
	}
	net_count(tcp_stack(tp), NET_TcpExt_TCPOFOQueue);
	if (!ooo_fit(tp, b)) {
		net_count(tcp_stack(tp), NET_TcpExt_TCPOFOMerge);
		nbuf_put(b);
		return;
	}
	nbuf_set_link(b, NULL);
	tcp_rx_charge(tp, b);
	tp->ooo_bytes += b->len;
	RB_INSERT(tcp_ooo_tree, &tp->ooo, b);
	if (tp->sack_ok)
		sack_add(tp, b->seq, b->end_seq);
}

bool tcp_ooo_drain(struct tcp_ep *tp)
{
	struct nbuf *b;
	bool fin = false;

	while ((b = RB_MIN(tcp_ooo_tree, &tp->ooo)) && seq_le(b->seq, tp->rcv_nxt)) {
		uint32_t dup = tp->rcv_nxt - b->seq;

		ooo_unlink(tp, b);
		fin |= b->tcp_flags & TF_FIN && seq_le(tp->rcv_nxt, b->end_seq);
		if (dup && dup >= b->len) { /* known, or an empty FIN that data has overtaken */
			tcp_set_dsack(tp, b->seq, b->end_seq);
			nbuf_put(b);
			continue;
		}
		nbuf_pull(b, dup);
		b->seq += dup;
		tcp_rx_in_order(tp, b);
	}
	sack_trim(tp);
	return fin;
}
