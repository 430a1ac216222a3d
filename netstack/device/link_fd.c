/*
 * Links over file descriptors: AF_PACKET sockets and TAP devices. Adding and removing them,
 * polling, and the queues of frames that wait to be sent.
 */
#include "netstack/device/link_fd_internal.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include "netstack/link/link_upcalls.h"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif
#define AUTO_URING false	  /* measured: docs/NETSTACK.md */
#define RETRY_DELAY NSEC_PER_MSEC /* until a full device is tried again */
#define SPIN_TRIES 4		  /* spinning in vain: so often in a row, */
#define SPIN_TRIES_MAX 10	  /* then not for 1, 2, 4 ... 64 calls */

void fd_count_error(struct net_link *l, bool tx)
{
	atomic_fetch_add_explicit(tx ? &l->stats.tx_errors : &l->stats.rx_errors, 1,
				  memory_order_relaxed);
}

/* ------------------------------------------------------------------------------ transmit */

int fd_tx_iov(struct fd_link *f, struct fd_queue *q, unsigned i, struct iovec iov[NBUF_FRAGS + 2])
{
	int n = 0;

	if (f->vnet_hdr) {
		vnet_from_nbuf(&q->tx_vnet[i], q->tx[i]);
		iov[n++] = (struct iovec){&q->tx_vnet[i], FD_VNET_LEN};
	}
	return n + nbuf_iov(q->tx[i], iov + n, NBUF_FRAGS + 1);
}

void fd_tx_done(struct fd_queue *q, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		nbuf_put(q->tx[i]);
	q->ntx -= n;
	memmove(q->tx, q->tx + n, q->ntx * sizeof(q->tx[0]));
}

/* Has the queue looked at again when the fd may take more. tx_lock held. */
static void arm_retry(struct fd_link *f, struct fd_queue *q)
{
	atomic_store_explicit(&q->tx_kept, true, memory_order_relaxed);
	if (q->retry_armed)
		return;
	q->retry_armed = true;
	net_link_get(q->link);
	net_timer_arm(f->stack, &q->retry, net_now(f->stack) + RETRY_DELAY);
}

/* Sends what waits. tx_lock held. */
static void drain(struct fd_link *f, struct fd_queue *q)
{
	while (q->ntx && !q->gone) {
		/* A ring pays from two frames on. */
		if (!(q->uring_tx && q->ntx > 1 ? uring_send(f, q) : mmsg_send(f, q))) {
			arm_retry(f, q);
			return;
		}
	}
	atomic_store_explicit(&q->tx_kept, false, memory_order_relaxed);
}

/* One queue per flow, so that no frame overtakes another of its flow. */
static uint32_t flow_hash(const struct net_link *l, const struct nbuf *b)
{
	size_t at = link_has_ether(l) ? sizeof(struct ether_header) : 0, end;
	uint64_t h = 0;

	if (b->lin < at + 20)
		return 0;
	if (b->data[at] >> 4 == 4) {
		bool fragment = (b->data[at + 6] & 0x3f) || b->data[at + 7];

		end = at + 20 + (fragment || b->data[at] != 0x45 ? 0 : 4);
		at += 12;
	} else if (b->data[at] >> 4 == 6) {
		end = at + 40 +
		      (b->data[at + 6] == IPPROTO_TCP || b->data[at + 6] == IPPROTO_UDP ? 4 : 0);
		at += 8;
	} else {
		return 0;
	}
	for (; at + 4 <= MIN(end, (size_t)b->lin); at += 4) {
		uint32_t v;

		memcpy(&v, b->data + at, 4);
		h = (h ^ v) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return h >> 8;
}

static int fd_xmit(struct net_link *l, void *priv, struct nbuf *b)
{
	struct fd_link *f = priv;
	struct fd_queue *q = f->queue[f->nqueues > 1 ? flow_hash(l, b) % f->nqueues : 0];
	MUTEX_GUARD(&q->tx_lock);

	if (q->gone) {
		nbuf_put(b);
		return -ENETDOWN;
	}
	if (q->ntx == FD_TX_BATCH)
		drain(f, q);
	if (q->ntx == FD_TX_BATCH) {
		nbuf_put(b);
		return -EAGAIN;
	}
	q->tx[q->ntx++] = b;
	return 0;
}

static void fd_flush(struct net_link *l, void *priv)
{
	struct fd_link *f = priv;

	for (unsigned i = 0; i < f->nqueues; i++) {
		struct fd_queue *q = f->queue[i];
		MUTEX_GUARD(&q->tx_lock);

		drain(f, q);
	}
	if (l->qdisc)
		qdisc_run(l);
}

static void retry(struct net_timer *t)
{
	struct fd_queue *q = container_of(t, struct fd_queue, retry);
	struct net_link *l = q->link;

	net_enter();
	mutex_lock(&q->tx_lock);
	q->retry_armed = false;
	mutex_unlock(&q->tx_lock);
	fd_flush(l, l->priv);
	net_leave();
	net_link_put(l);
}

/* ------------------------------------------------------------------------------ receive */

/*
 * How many frames to ask for next: twice as many when all of the last ones were there, fewer when
 * most were not, for each costs its preparation; and no more than FD_RX_BYTES, for what is not
 * read soon has left the CPU's cache when it is.
 */
static unsigned next_batch(unsigned batch, unsigned got, size_t bytes)
{
	unsigned most = FD_RX_BATCH;

	if (bytes > FD_RX_BYTES / FD_RX_BATCH * got)
		most = FD_RX_BYTES / (bytes / got);

	if (got == batch)
		batch *= 2;
	else if (got < batch / 4)
		batch /= 2;
	batch = MIN(batch, most);
	return MAX(batch, 4u);
}

/* *bytes: what was received. *more: there may be more. */
static int receive(struct fd_link *f, struct fd_queue *q, int max, struct nbuf_queue *out,
		   size_t *bytes, bool *more)
{
	struct nbuf *b;
	int n;
	MUTEX_GUARD(&q->rx_lock);

	*bytes = 0;
	if (q->gone)
		return -ENODEV;
	max = MIN(max, (int)q->rx_batch);
	n = q->uring_rx ? uring_receive(f, q, max, out) : mmsg_receive(f, q, max, out);
	STAILQ_FOREACH(b, out, next)
	*bytes += b->len;
	*more = n == max;
	if (n >= 0 && max == (int)q->rx_batch)
		q->rx_batch = next_batch(max, n, *bytes);
	/* A device that the host has taken down gives no frames until it is up again. */
	return n == -EAGAIN || n == -EINTR || n == -ENETDOWN ? 0 : n;
}

int net_link_fd_poll(struct net_link *l, unsigned qi, int budget)
{
	struct fd_link *f = l->priv;
	size_t total = 0, bytes;
	bool more = true;
	int done = 0;

	if (l->kind != NET_LINK_FD || qi >= f->nqueues)
		return -EINVAL;
	if (atomic_load_explicit(&f->queue[qi]->tx_kept, memory_order_relaxed)) {
		NET_CONTEXT();
		fd_flush(l, f);
	}
	while (more && done < budget && total < FD_RX_BYTES) {
		struct nbuf_queue batch = STAILQ_HEAD_INITIALIZER(batch);
		struct nbuf *b;
		int n;
		NET_CONTEXT();

		n = receive(f, f->queue[qi], budget - done, &batch, &bytes, &more);
		if (n == -ENODEV)
			return -ENETDOWN;
		if (n <= 0)
			return done ? done : n;
		if (l->features & NET_F_GRO)
			gro_batch(l, &batch);
		while ((b = STAILQ_FIRST(&batch))) {
			STAILQ_REMOVE_HEAD(&batch, next);
			net_link_input(l, b);
		}
		done += n;
		total += bytes;
	}
	return done;
}

bool net_link_fd_spin(struct net_link *l, unsigned qi, int64_t ns)
{
	struct fd_link *f = l->priv;
	struct pollfd p = {.events = POLLIN};
	struct fd_queue *q;
	unsigned pause;
	int64_t end;

	if (l->kind != NET_LINK_FD || qi >= f->nqueues)
		return false;
	q = f->queue[qi];
	pause = atomic_load_explicit(&q->spin_pause, memory_order_relaxed);
	if (pause) {
		atomic_store_explicit(&q->spin_pause, pause - 1, memory_order_relaxed);
		return false;
	}
	p.fd = f->wait_fd[qi];
	end = net_now(f->stack) + ns;
	do {
		if (poll(&p, 1, 0) > 0) {
			atomic_store_explicit(&q->spin_failed, 0, memory_order_relaxed);
			return true;
		}
		for (int i = 0; i < 16; i++)
			__builtin_ia32_pause();
	} while (net_now(f->stack) < end);
	pause = atomic_load_explicit(&q->spin_failed, memory_order_relaxed);
	pause = MIN(pause + 1, (unsigned)SPIN_TRIES_MAX);
	atomic_store_explicit(&q->spin_failed, pause, memory_order_relaxed);
	atomic_store_explicit(&q->spin_pause, pause < SPIN_TRIES ? 0 : 1u << (pause - SPIN_TRIES),
			      memory_order_relaxed);
	return false;
}

int net_link_fd_wait_fd(struct net_link *l, unsigned q)
{
	struct fd_link *f = l->priv;

	if (l->kind != NET_LINK_FD || q >= f->nqueues)
		return -EINVAL;
	return f->wait_fd[q];
}

enum net_fd_mode net_link_fd_mode(struct net_link *l, int *why)
{
	struct fd_link *f = l->priv;
	int err = l->kind == NET_LINK_FD ? f->uring_error : -EINVAL;

	if (why)
		*why = err;
	if (l->kind != NET_LINK_FD || !f->sends_by_ring)
		return NET_FD_MMSG;
	return f->receives_by_ring ? NET_FD_URING : NET_FD_AUTO;
}

/* ------------------------------------------------------------------------------ life */

void link_fd_detach(struct net_link *l)
{
	struct fd_link *f = l->priv;

	for (unsigned i = 0; i < f->nqueues; i++) {
		struct fd_queue *q = f->queue[i];
		bool armed;

		mutex_lock(&q->rx_lock);
		mutex_lock(&q->tx_lock);
		q->gone = true;
		while (q->ntx)
			nbuf_put(q->tx[--q->ntx]);
		armed = q->retry_armed && net_timer_cancel(f->stack, &q->retry);
		if (armed)
			q->retry_armed = false;
		uring_stop(f, q);
		mutex_unlock(&q->tx_lock);
		mutex_unlock(&q->rx_lock);
		if (armed)
			net_link_put(l);
	}
}

static void fd_release(void *priv)
{
	struct fd_link *f = priv;

	for (unsigned i = 0; i < f->nqueues; i++) {
		struct fd_queue *q = f->queue[i];

		uring_close(f, q);
		for (unsigned k = 0; k < FD_RX_BATCH; k++) {
			nbuf_put(q->slot[k].b);
			nmem_put(q->slot[k].large);
		}
		mutex_destroy(&q->rx_lock);
		mutex_destroy(&q->tx_lock);
		net_free(f->stack, q);
	}
	net_free(f->stack, f);
}

static const struct net_link_ops fd_ops = {
	.xmit = fd_xmit, .flush = fd_flush, .release = fd_release};

/* Linux cuts UDP for the sender of a virtio-net header since 6.2. */
static bool kernel_has_uso(void)
{
	unsigned major, minor;
	struct utsname u;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 2));
}

static int int_option(int fd, int level, int name, int *v)
{
	socklen_t len = sizeof(*v);

	return getsockopt(fd, level, name, v, &len) < 0 ? -errno : 0;
}

/* Checks that the socket is what c says, and sets it up. May take features away. */
static int prepare_socket(const struct net_fd_config *c, int fd, unsigned *features)
{
	int domain, type, vnet, size, one = 1;

	if (int_option(fd, SOL_SOCKET, SO_DOMAIN, &domain) ||
	    int_option(fd, SOL_SOCKET, SO_TYPE, &type) || domain != AF_PACKET || type != SOCK_RAW)
		return -EINVAL;
	if (int_option(fd, SOL_PACKET, PACKET_VNET_HDR, &vnet) || !!vnet != c->vnet_hdr)
		return -EINVAL;
	if (vnet && !int_option(fd, SOL_PACKET, PACKET_VNET_HDR_SZ, &size) && size != FD_VNET_LEN)
		return -EINVAL;
	if (!kernel_has_uso())
		*features &= ~NET_F_USO;
	/* What others send on the interface is not for us. Older kernels lack this. */
	(void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

/* The same for a TAP (or, without link header, TUN) queue. */
static int prepare_tap(const struct net_fd_config *c, int fd, unsigned *features)
{
	unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int kind = c->link.type == ARPHRD_NONE ? IFF_TUN : IFF_TAP, size = FD_VNET_LEN, flags;
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return -EINVAL;
	flags = ifr.ifr_flags;
	if (!(flags & kind) || !(flags & IFF_NO_PI) || !!(flags & IFF_VNET_HDR) != c->vnet_hdr)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	if (!c->vnet_hdr)
		return 0;
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return -errno;
	if (ioctl(fd, TUNSETOFFLOAD, offload | TUN_F_USO4 | TUN_F_USO6) == 0)
		return 0;
	*features &= ~NET_F_USO;
	return ioctl(fd, TUNSETOFFLOAD, offload) < 0 ? -errno : 0;
}

static bool add_queue(struct netstack *s, struct fd_link *f, int fd)
{
	struct fd_queue *q = net_alloc(s, sizeof(*q));

	if (!q)
		return false;
	q->fd = fd;
	f->wait_fd[f->nqueues] = fd;
	q->retry.fn = retry;
	q->rx_batch = 8;
	mutex_init(&q->rx_lock);
	mutex_init(&q->tx_lock);
	f->queue[f->nqueues++] = q;
	return true;
}

static int add_queues(const struct net_fd_config *c, struct fd_link *f, unsigned *features)
{
	for (unsigned i = 0; i < c->nfds; i++) {
		int err = c->is_tap ? prepare_tap(c, c->fds[i], features)
				    : prepare_socket(c, c->fds[i], features);

		if (err)
			return err;
		if (!add_queue(f->stack, f, c->fds[i]))
			return -ENOMEM;
	}
	return 0;
}

/* True when every queue got its ring; those without go on with system calls. */
static bool open_rings(struct fd_link *f, bool receive)
{
	for (unsigned i = 0; i < f->nqueues; i++) {
		int err = uring_open(f, f->queue[i], receive);

		if (err) {
			f->uring_error = err;
			return false;
		}
		if (receive)
			f->wait_fd[i] = uring_wait_fd(f->queue[i]);
	}
	return true;
}

int net_link_add_fd(struct netstack *s, const struct net_fd_config *c, struct net_link **out)
{
	struct net_link_config cfg = c->link;
	struct fd_link *f;
	struct net_link *l;
	int err;

	NET_CONTEXT();
	if (!c->nfds || c->nfds > NET_FD_MAX_QUEUES)
		return -EINVAL;
	f = net_alloc(s, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->stack = s;
	f->is_tap = c->is_tap;
	f->vnet_hdr = c->vnet_hdr;
	f->ether = c->link.type != ARPHRD_NONE;
	if (!c->vnet_hdr)
		cfg.features &= ~(NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_USO);
	/* A packet socket tells of unfinished checksums with and without a header. */
	if (c->vnet_hdr || !c->is_tap)
		cfg.features |= NET_F_TRUSTED;
	err = add_queues(c, f, &cfg.features);
	/* Which is faster has been measured: docs/NETSTACK.md. */
	if (!err && c->mode != NET_FD_MMSG)
		f->sends_by_ring = open_rings(f, false);
	if (!err && c->mode == NET_FD_URING && f->sends_by_ring)
		f->receives_by_ring = open_rings(f, true);
	if (!err)
		err = link_register(s, NET_LINK_FD, &cfg, "eth", &fd_ops, f, &l);
	if (err) {
		fd_release(f);
		return err;
	}
	/* Before the event that tells of the link, and so before anybody can set it up. */
	for (unsigned i = 0; i < f->nqueues; i++)
		f->queue[i]->link = l;
	if (out)
		*out = l;
	else
		net_link_put(l);
	return 0;
}
