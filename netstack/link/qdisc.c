/*
 * Queueing disciplines: none (a link has no queue and drops what the device refuses) or fifo (up
 * to txqlen packets wait while the device answers -EAGAIN, and are sent before later ones).
 */
#include "netstack/link/link_internal.h"

struct qdisc {
	struct nbuf_queue queue;
	unsigned len, limit;
};

struct qdisc *qdisc_create(struct netstack *s, unsigned limit)
{
	struct qdisc *q = net_alloc(s, sizeof(*q));

	if (q) {
		STAILQ_INIT(&q->queue);
		q->limit = limit;
	}
	return q;
}

void qdisc_destroy(struct netstack *s, struct qdisc *q)
{
	nbuf_queue_purge(&q->queue);
	net_free(s, q);
}

/* With tx_lock held. A device that is full returns -EAGAIN and leaves the packet to us. */
static void run_locked(struct net_link *l)
{
	struct qdisc *q = l->qdisc;
	struct nbuf *b;

	while (q && (b = STAILQ_FIRST(&q->queue))) {
		STAILQ_REMOVE_HEAD(&q->queue, next);
		/* xmit consumes its reference; ours lets us try the same packet again. */
		if (link_xmit_now(l, nbuf_get(b)) == -EAGAIN) {
			STAILQ_INSERT_HEAD(&q->queue, b, next);
			return;
		}
		q->len--;
		nbuf_put(b);
	}
}

int qdisc_enqueue(struct net_link *l, struct nbuf *b)
{
	struct qdisc *q;
	MUTEX_GUARD(&l->tx_lock);

	q = l->qdisc;
	if (!q)
		return link_xmit_now(l, b);
	if (q->len >= q->limit) {
		atomic_fetch_add_explicit(&l->stats.tx_dropped, 1, memory_order_relaxed);
		nbuf_put(b);
		run_locked(l);
		return -ENOBUFS;
	}
	STAILQ_INSERT_TAIL(&q->queue, b, next);
	q->len++;
	run_locked(l);
	return 0;
}

void qdisc_run(struct net_link *l)
{
	/* Who holds the lock runs the queue, and may be this very thread. */
	if (!mutex_trylock(&l->tx_lock))
		return;
	run_locked(l);
	mutex_unlock(&l->tx_lock);
}

int net_link_set_txqlen(struct net_link *l, unsigned packets)
{
	struct qdisc *new = packets ? qdisc_create(l->stack, packets) : NULL, *old;

	if (packets > 1000000)
		return -EINVAL;
	if (packets && !new)
		return -ENOMEM;
	mutex_lock(&l->tx_lock);
	old = l->qdisc;
	l->qdisc = new;
	l->txqlen = packets;
	mutex_unlock(&l->tx_lock);
	if (old)
		qdisc_destroy(l->stack, old);
	return 0;
}
