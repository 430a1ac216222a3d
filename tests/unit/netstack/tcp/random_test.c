/*
 * Random packet sequences with a checker after every step: counts agree with the queues that they
 * count, sequence numbers are in order, timers are armed, memory is within its limit, and when the
 * stack is gone nothing is left. NETSTACK_SEQUENCES sets how many (100,000 under ASan in CI).
 */
#include "world.h"

#include "chaos.h"
#include "netstack/tcp/tcp_internal.h"

#define STEPS 8 /* per sequence */

static uint8_t random_byte(struct chaos *c)
{
	c->seed = c->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return c->seed >> 56;
}

static void check_segs(struct tcp_ep *tp)
{
	uint32_t sacked = 0, lost = 0, retrans = 0, n = 0, at = tp->snd_una;
	struct tcp_seg *g;

	RB_FOREACH (g, tcp_seg_tree, &tp->segs) {
		uint32_t len = g->end - g->seq;

		assert_true(seq_lt(g->seq, g->end));
		assert_int_equal(g->seq, at);
		at = g->end;
		n++;
		sacked += g->flags & SEG_SACKED ? len : 0;
		lost += g->flags & SEG_LOST ? len : 0;
		retrans += g->flags & SEG_RETRANS ? len : 0;
		assert_false((g->flags & SEG_SACKED) && (g->flags & (SEG_LOST | SEG_RETRANS)));
	}
	assert_int_equal(n, tp->nsegs);
	if (n)
		assert_int_equal(at, tp->snd_nxt);
	if (tp->sack_ok)
		assert_int_equal(sacked, tp->sacked);
	assert_int_equal(lost, tp->lost);
	assert_int_equal(retrans, tp->retrans);
}

static void check_receive(struct tcp_ep *tp)
{
	uint32_t rmem = 0, at = tp->copied_seq, bytes = 0;
	struct nbuf *b;

	STAILQ_FOREACH(b, &tp->ep.rxq, next)
	{
		rmem += b->truesize;
		if (tp->state != TCP_CLOSE)
			assert_int_equal(b->seq, at);
		assert_int_equal(b->end_seq - b->seq, b->len);
		at = b->end_seq;
	}
	at = tp->rcv_nxt;
	RB_FOREACH (b, tcp_ooo_tree, &tp->ooo) {
		rmem += b->truesize;
		bytes += b->len;
		assert_true(seq_lt(at, b->seq) || at == b->seq);
		at = b->end_seq;
	}
	assert_int_equal(bytes, tp->ooo_bytes);
	assert_int_equal(rmem, tp->ep.rmem);
}

static void check_tcp(struct tcp_ep *tp)
{
	struct tcp_chunk *c;
	uint32_t bytes = 0;
	int64_t first = INT64_MAX;

	if (tp->state == TCP_LISTEN) {
		assert_true(tp->listener->queued <= tp->listener->backlog + 1);
		return;
	}
	TAILQ_FOREACH (c, &tp->chunks, next)
		bytes += c->len;
	assert_int_equal(bytes, tp->ep.wmem);
	check_receive(tp);
	if (tp->state == TCP_CLOSE)
		return;
	check_segs(tp);
	assert_true(seq_le(tp->snd_una, tp->snd_nxt));
	assert_true(seq_le(tp->snd_nxt, tp->write_seq + 1));
	assert_true(tp->cwnd > 0);
	for (int i = 0; i < TT_COUNT; i++)
		first = MIN(first, tp->deadline[i]);
	if (first != INT64_MAX) {
		assert_true(tp->timer.armed);
		assert_true(tp->timer_at <= first);
	}
	/* Data is out, or waits: something must be going to happen. */
	if (tp->snd_una != tp->snd_nxt && tp->state != TCP_TIME_WAIT)
		assert_true(tp->deadline[TT_RTX] != INT64_MAX);
}

static void check(struct chaos *c)
{
	struct net_ep *ep;
	size_t peak;

	TAILQ_FOREACH (ep, &c->stack->eps, all_link)
		if (ep->proto == &tcp_proto)
			check_tcp(tcp(ep));
	assert_true(netstack_memory(c->stack, &peak) <= 8 << 20);
	assert_true(peak <= 8 << 20);
}

static void random_sequences_keep_the_invariants(void **st)
{
	const char *env = getenv("NETSTACK_SEQUENCES");
	long sequences = env ? atol(env) : 4000;
	struct chaos c;

	for (long i = 0; i < sequences; i += 200) {
		memset(&c, 0, sizeof(c));
		c.byte = random_byte;
		c.seed = i * 2654435761u + 17;
		chaos_open(&c, i);
		for (long k = 0; k < 200 * STEPS; k++) {
			chaos_step(&c);
			check(&c);
		}
		chaos_close(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_sequences_keep_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
