/* The link: two AF_PACKET sockets and a queue each way. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loss.h"

#define SLOTS 16384
#define FRAME_MAX 2048

struct frame {
	int64_t leaves; /* ns: when its last bit has been sent */
	unsigned len;
	uint8_t data[FRAME_MAX];
};

struct way {
	int in, out;
	struct frame *ring;
	unsigned head, tail; /* taken out at head */
	int64_t wire_free;   /* ns: when what was accepted so far will have been sent */
	uint64_t random;
	bool bursting;
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* Uniform in 0..999999 (xorshift64*). */
static unsigned draw(struct way *w)
{
	w->random ^= w->random >> 12;
	w->random ^= w->random << 25;
	w->random ^= w->random >> 27;
	return (unsigned)((w->random * 2685821657736338717ull >> 33) % 1000000);
}

static bool is_tcp(const uint8_t *f, unsigned len)
{
	return len > 34 && f[12] == 8 && f[13] == 0 && f[23] == IPPROTO_TCP;
}

/*
 * Independent losses, or Gilbert's model: a run goes on with probability 1 - 1/burst, and begins
 * so often that drop_ppm are lost on the whole. One draw for each TCP frame, so that the same
 * seed loses the same ones, by number.
 */
static bool loses(struct way *w, const struct loss_profile *p)
{
	unsigned r = draw(w);
	double all = p->drop_ppm / 1e6;

	if (p->burst <= 1)
		return r < p->drop_ppm;
	if (w->bursting)
		w->bursting = r < 1000000 - 1000000 / p->burst;
	else
		w->bursting = r < 1e6 * all / (1 - all) / p->burst;
	return w->bursting;
}

static void take_in(struct loss_link *l, struct way *w, int dir)
{
	const struct loss_profile *p = &l->profile;
	double ns_per_byte = 8000.0 / p->rate_mbit;
	int64_t now = now_ns();

	for (int i = 0; i < 64; i++) {
		struct frame *f = &w->ring[w->tail % SLOTS], spare;
		bool full = w->tail - w->head == SLOTS;
		ssize_t n = recv(w->in, full ? spare.data : f->data, FRAME_MAX, MSG_DONTWAIT);
		int64_t backlog;

		if (n <= 0)
			return;
		atomic_fetch_add(&l->frames[dir], 1);
		if (is_tcp(full ? spare.data : f->data, n) && loses(w, p)) {
			atomic_fetch_add(&l->lost[dir], 1);
			continue;
		}
		w->wire_free = w->wire_free > now ? w->wire_free : now;
		backlog = (int64_t)((double)(w->wire_free - now) / ns_per_byte);
		if (full || backlog + n > (int64_t)p->queue_kb * 1024) {
			atomic_fetch_add(&l->overflowed[dir], 1);
			continue;
		}
		w->wire_free += (int64_t)(n * ns_per_byte);
		f->len = n;
		f->leaves = w->wire_free + p->delay_us * 1000ll;
		w->tail++;
	}
}

/* Delivers what is due. Returns when the next frame is, or INT64_MAX. */
static int64_t let_out(struct way *w)
{
	while (w->head != w->tail) {
		struct frame *f = &w->ring[w->head % SLOTS];

		if (f->leaves > now_ns())
			return f->leaves;
		while (send(w->out, f->data, f->len, 0) < 0 && errno == EINTR)
			;
		w->head++;
	}
	return INT64_MAX;
}

static int open_on(const char *name)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	struct packet_mreq mr = {.mr_type = PACKET_MR_PROMISC};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1, size = 32 << 20;

	ll.sll_ifindex = mr.mr_ifindex = if_nametoindex(name);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0) {
		perror("netstack_loss_bench: relay");
		_exit(1);
	}
	return fd;
}

static void start_over(struct loss_link *l, struct way w[2], unsigned generation)
{
	for (int i = 0; i < 2; i++) {
		uint8_t junk[FRAME_MAX];

		while (recv(w[i].in, junk, sizeof(junk), MSG_DONTWAIT) > 0)
			;
		w[i].head = w[i].tail;
		w[i].wire_free = 0;
		w[i].bursting = false;
		w[i].random = (l->seed * 2654435761ull + i) | 1ull << 40;
		for (int k = 0; k < 8; k++)
			draw(&w[i]);
		atomic_store(&l->frames[i], 0);
		atomic_store(&l->lost[i], 0);
		atomic_store(&l->overflowed[i], 0);
	}
	atomic_store(&l->running, generation);
}

void loss_relay(struct loss_link *l)
{
	/* Others' work must not show as jitter of the link; without the right, it will. */
	struct sched_param sp = {.sched_priority = 10};
	struct way w[2] = {{0}};
	int a = open_on("ra"), b = open_on("rb");

	sched_setscheduler(0, SCHED_FIFO, &sp);
	prctl(PR_SET_TIMERSLACK, 1000);
	for (int i = 0; i < 2; i++) {
		w[i].in = i ? b : a;
		w[i].out = i ? a : b;
		w[i].ring = calloc(SLOTS, sizeof(struct frame));
		if (!w[i].ring)
			_exit(1);
	}
	for (;;) {
		unsigned generation = atomic_load(&l->generation);
		struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
		int64_t next = INT64_MAX, wait;
		struct timespec ts;

		if (generation != atomic_load(&l->running))
			start_over(l, w, generation);
		for (int i = 0; i < 2; i++) {
			int64_t t;

			take_in(l, &w[i], i);
			t = let_out(&w[i]);
			next = t < next ? t : next;
		}
		wait = next == INT64_MAX ? 10000000 : next - now_ns();
		wait = wait < 0 ? 0 : wait > 10000000 ? 10000000 : wait;
		ts = (struct timespec){0, wait};
		ppoll(p, 2, &ts, NULL);
	}
}
