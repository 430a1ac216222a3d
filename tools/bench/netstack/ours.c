/* Netstack's side of the benchmarks: one thread that drives the link, the timers and the work. */
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "bench.h"
#include "netstack/netstack.h"

#define CHUNK (256 << 10)

static struct net_env env;
static struct net_wheel *wheel;
static struct netstack *stack;
static struct net_link *link0;
static atomic_size_t allocated;
unsigned ours_spin_us = 100;

static void *count_alloc(void *ctx, size_t n)
{
	size_t *p = malloc(n + 16);

	if (!p)
		return NULL;
	*p = n;
	atomic_fetch_add(&allocated, n + 16);
	return p + 2;
}

static void count_free(void *ctx, void *p)
{
	size_t *q = p;

	if (!p)
		return;
	q -= 2;
	atomic_fetch_sub(&allocated, *q + 16);
	free(q);
}

static int up(struct net_link *l)
{
	return net_link_set_flags(l, IFF_UP, IFF_UP);
}

int ours_open(int packet_fd, int pcap_fd, unsigned mtu, enum net_fd_mode mode, bool tap)
{
	struct net_fd_config fc = {.link = {.name = "eth0",
					    .mtu = mtu,
					    .addr = {2, 9, 0, 0, 0, 1},
					    .features = NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6},
				   .fds = {packet_fd},
				   .nfds = 1,
				   .is_tap = tap,
				   .vnet_hdr = true,
				   .mode = mode};
	struct net_addr_info a = {.family = AF_INET, .prefix = 24};
	uint32_t be = htonl(OUR_ADDR);
	struct net_config c;
	struct net_link *lo;

	if (net_wheel_create(&env, NULL, NULL, &wheel) < 0)
		return -1;
	env.alloc = count_alloc;
	env.free = count_free;
	c = (struct net_config){.env = env, .memory_limit = 512u << 20, .hash_buckets = 16384};
	if (netstack_create(&c, &stack) < 0)
		return -1;
	lo = net_link_by_name(stack, "lo");
	up(lo);
	net_link_put(lo);
	if (packet_fd < 0)
		return 0;
	if (net_link_add_fd(stack, &fc, &link0) < 0 || up(link0) < 0)
		return -1;
	if (mode == NET_FD_URING && net_link_fd_mode(link0, NULL) != mode) {
		fprintf(stderr, "netstack_bench: the kernel refuses io_uring\n");
		return -1;
	}
	if (pcap_fd >= 0)
		net_link_capture(link0, pcap_fd, 256);
	memcpy(&a.addr, &be, 4);
	a.ifindex = 2;
	return net_addr_add(stack, &a);
}

void ours_close(void)
{
	netstack_destroy(stack);
	if (link0)
		net_link_put(link0);
	link0 = NULL;
	net_wheel_destroy(wheel);
}

void ours_counters(FILE *f)
{
	const char *name;
	uint64_t v;

	for (int i = 0; netstack_counter(stack, i, &name, &v); i++)
		if (v)
			fprintf(f, "    %s %lu\n", name, v);
}

/* Waits for frames or the next timer and processes them. */
static void turn_for(int extra_fd, int ms)
{
	struct pollfd p[2] = {{.fd = net_link_fd_wait_fd(link0, 0), .events = POLLIN},
			      {.fd = extra_fd, .events = POLLIN}};
	int64_t next, now;
	int max = ms;

	if (net_link_fd_poll(link0, 0, 256) <= 0 &&
	    !(ours_spin_us && net_link_fd_spin(link0, 0, ours_spin_us * 1000ll))) {
		next = net_wheel_next(wheel);
		now = monotonic_ns();
		if (next != INT64_MAX)
			ms = next <= now ? 0 : (int)((next - now) / 1000000 + 1);
		poll(p, extra_fd >= 0 ? 2 : 1, ms < max ? ms : max);
	}
	net_wheel_run(wheel);
}

static void turn(int extra_fd)
{
	turn_for(extra_fd, 1000);
}

static struct net_ep *connect_peer(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct net_ep *ep;
	int one = 1, err;

	a.sin_addr.s_addr = htonl(PEER_ADDR);
	if (net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &ep) < 0)
		return NULL;
	net_ep_setsockopt(ep, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	err = net_ep_connect(ep, (struct sockaddr *)&a, sizeof(a));
	while (err == -EINPROGRESS || err == -EALREADY) {
		turn(-1);
		err = net_ep_connect(ep, (struct sockaddr *)&a, sizeof(a));
	}
	if (err) {
		net_ep_close(ep);
		return NULL;
	}
	return ep;
}

static ssize_t ep_io(struct net_ep *ep, bool send, void *p, size_t n)
{
	struct iovec iov = {p, n};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};

	return send ? net_ep_sendmsg(ep, &m, 0) : net_ep_recvmsg(ep, &m, 0);
}

int ours_bulk(bool send, double seconds, struct result *r)
{
	struct net_ep *ep = connect_peer(send ? PORT_SINK : PORT_SOURCE);
	char *buf = calloc(1, CHUNK);
	double start = now_seconds();
	uint64_t bytes = 0;

	if (!ep)
		return -1;
	while (now_seconds() - start < seconds) {
		ssize_t n = ep_io(ep, send, buf, CHUNK);

		if (n > 0)
			bytes += n;
		else if (n == -EAGAIN)
			do /* as poll(2) would have the application wait */
				turn(-1);
			while (!(net_ep_readiness(ep) & (send ? EPOLLOUT : EPOLLIN)) &&
			       now_seconds() - start < seconds);
		else
			return -1;
		if (n > 0 && send)
			net_link_fd_poll(link0, 0, 64);
	}
	r->gbit = bytes * 8 / (now_seconds() - start) / 1e9;
	net_ep_close(ep);
	for (int i = 0; i < 20; i++)
		turn_for(-1, 5);
	free(buf);
	return 0;
}

int ours_rr(double seconds, struct result *r)
{
	struct net_ep *ep = connect_peer(PORT_ECHO);
	double start = now_seconds(), *samples = malloc(1000000 * sizeof(double));
	unsigned long n = 0;
	char buf[64] = "";

	if (!ep)
		return -1;
	while (now_seconds() - start < seconds && n < 1000000) {
		double t = now_seconds();
		size_t got = 0;

		if (ep_io(ep, true, buf, 64) != 64)
			return -1;
		while (got < 64) {
			ssize_t k = ep_io(ep, false, buf, 64 - got);

			if (k > 0)
				got += k;
			else if (k == -EAGAIN)
				turn(-1);
			else
				return -1;
		}
		samples[n++] = (now_seconds() - t) * 1e6;
	}
	r->mean_us = (now_seconds() - start) / n * 1e6;
	qsort(samples, n, sizeof(double), cmp_double);
	r->p99_us = samples[n * 99 / 100];
	r->count = n;
	free(samples);
	net_ep_close(ep);
	return 0;
}

int ours_dial(double seconds, struct result *r)
{
	struct linger lg = {1, 0};
	double start = now_seconds();
	unsigned long n = 0;

	while (now_seconds() - start < seconds) {
		struct net_ep *ep = connect_peer(PORT_ACCEPT);

		if (!ep)
			return -1;
		net_ep_setsockopt(ep, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
		net_ep_close(ep);
		n++;
	}
	r->per_second = n / (now_seconds() - start);
	r->count = n;
	return 0;
}

/* ------------------------------------------------------------------------------ server */

struct client {
	LIST_ENTRY(client) link;
	struct net_ep *ep;
	bool http, queued;
	struct client *next_ready;
};

static LIST_HEAD(, client) client_list;
static struct client *ready_list;
static unsigned long open_now, open_max;
static size_t mem_at_max, mem_before;

static void on_ready(struct net_ep *ep, void *user, uint32_t events)
{
	struct client *c = user;

	if (c->queued)
		return;
	c->queued = true;
	c->next_ready = ready_list;
	ready_list = c;
}

static const struct net_ep_ops client_ops = {.ready = on_ready};

static void end_client(struct client *c)
{
	net_ep_close(c->ep);
	LIST_REMOVE(c, link);
	free(c);
	open_now--;
}

static void serve_client(struct client *c)
{
	static char body[4096 + 64];
	static size_t len;
	char buf[512];
	ssize_t n = ep_io(c->ep, false, buf, sizeof(buf));

	if (!len)
		len = sprintf(body, "HTTP/1.0 200 OK\r\nContent-Length: 4096\r\n\r\n") + 4096;
	if (n == -EAGAIN)
		return;
	if (n > 0 && c->http)
		ep_io(c->ep, true, body, len);
	end_client(c);
}

static struct net_ep *serve_on(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct net_ep *ep;
	int one = 1;

	if (net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &ep) < 0 ||
	    net_ep_setsockopt(ep, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    net_ep_bind(ep, (struct sockaddr *)&a, sizeof(a)) < 0 || net_ep_listen(ep, 4096) < 0)
		return NULL;
	return ep;
}

static void accept_all(struct net_ep *l, bool http)
{
	struct net_ep *ep;

	while (net_ep_accept(l, &ep) == 0) {
		struct client *c = calloc(1, sizeof(*c));

		c->ep = ep;
		c->http = http;
		LIST_INSERT_HEAD(&client_list, c, link);
		net_ep_set_ops(ep, &client_ops, c);
		open_now++;
		if (net_ep_readiness(ep) & EPOLLIN)
			on_ready(ep, c, EPOLLIN);
		if (open_now > open_max) {
			open_max = open_now;
			mem_at_max = atomic_load(&allocated);
		}
	}
}

int ours_serve(int stop_fd, struct result *r)
{
	struct net_ep *la = serve_on(PORT_ACCEPT), *lh = serve_on(PORT_HTTP);
	struct pollfd p = {.fd = stop_fd, .events = POLLIN};
	struct linger lg = {1, 0}; /* nothing of this round is left for the next */

	if (!la || !lh)
		return -1;
	mem_before = atomic_load(&allocated);
	open_max = 0;
	while (poll(&p, 1, 0) == 0) {
		turn(stop_fd);
		accept_all(la, false);
		accept_all(lh, true);
		while (ready_list) {
			struct client *c = ready_list;

			ready_list = c->next_ready;
			c->queued = false;
			serve_client(c);
		}
	}
	r->count = open_max;
	r->bytes_each = open_max > 1000 ? (double)(mem_at_max - mem_before) / open_max : 0;
	while (!LIST_EMPTY(&client_list)) {
		struct client *c = LIST_FIRST(&client_list);

		net_ep_setsockopt(c->ep, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
		end_client(c);
	}
	ready_list = NULL;
	net_ep_close(la);
	net_ep_close(lh);
	return 0;
}

/* ------------------------------------------------------------------------------ loopback */

struct wake {
	pthread_mutex_t m;
	pthread_cond_t c;
	bool set;
};

static void wake_up(struct net_ep *ep, void *user, uint32_t events)
{
	struct wake *w = user;

	pthread_mutex_lock(&w->m);
	w->set = true;
	pthread_cond_signal(&w->c);
	pthread_mutex_unlock(&w->m);
}

static void wake_wait(struct wake *w)
{
	/* A little spinning saves a context switch, as the sentry's waiters do. */
	for (int i = 0; i < 2000; i++) {
		if (__atomic_load_n(&w->set, __ATOMIC_RELAXED))
			break;
		__builtin_ia32_pause();
	}
	pthread_mutex_lock(&w->m);
	while (!w->set)
		pthread_cond_wait(&w->c, &w->m);
	w->set = false;
	pthread_mutex_unlock(&w->m);
}

static const struct net_ep_ops wake_ops = {.ready = wake_up};
static struct wake wakes[2] = {{PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false},
			       {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false}};
static double stop_at;

static void *loop_sender(void *arg)
{
	char *buf = calloc(1, CHUNK);

	while (now_seconds() < stop_at) {
		ssize_t n = ep_io(arg, true, buf, CHUNK);

		if (n == -EAGAIN)
			wake_wait(&wakes[0]);
		else if (n < 0)
			break;
	}
	net_ep_shutdown(arg, SHUT_WR);
	free(buf);
	return NULL;
}

int ours_loopback(double seconds, struct result *r)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct net_ep *l, *c, *s;
	char *buf = malloc(CHUNK);
	uint64_t bytes = 0;
	double start;
	pthread_t t;
	ssize_t n;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &l);
	net_ep_create(stack, AF_INET, SOCK_STREAM, 0, &wake_ops, &wakes[0], &c);
	if (net_ep_bind(l, (struct sockaddr *)&a, sizeof(a)) || net_ep_listen(l, 1))
		return -1;
	net_ep_connect(c, (struct sockaddr *)&a, sizeof(a));
	if (net_ep_accept(l, &s))
		return -1;
	net_ep_set_ops(s, &wake_ops, &wakes[1]);
	start = now_seconds();
	stop_at = start + seconds;
	pthread_create(&t, NULL, loop_sender, c);
	for (;;) {
		n = ep_io(s, false, buf, CHUNK);
		if (n == -EAGAIN)
			wake_wait(&wakes[1]);
		else if (n <= 0)
			break;
		else
			bytes += n;
	}
	r->gbit = bytes * 8 / (now_seconds() - start) / 1e9;
	pthread_join(t, NULL);
	net_ep_close(c);
	net_ep_close(s);
	net_ep_close(l);
	free(buf);
	return 0;
}
