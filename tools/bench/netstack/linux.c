/* The kernel's side of the benchmarks: peer services, and the baseline. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define CHUNK (256 << 10)

double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/*
 * Before the connection begins: one that began with BBR keeps pacing, whatever it uses later.
 * Accepted sockets have it from their listener.
 */
const char *linux_congestion = "cubic";

static void set_congestion(int fd)
{
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, linux_congestion,
		       strlen(linux_congestion)) < 0)
		perror("netstack_bench: TCP_CONGESTION");
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	set_congestion(fd);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
		return -1;
	return fd;
}

static int connect_to(uint32_t addr, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	a.sin_addr.s_addr = htonl(addr);
	set_congestion(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

struct conn {
	int fd;
	uint16_t port;
};

static void *serve_conn(void *arg)
{
	struct conn c = *(struct conn *)arg;
	char *buf = calloc(1, CHUNK);
	ssize_t n;
	int one = 1;

	free(arg);
	setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (c.port == PORT_SINK)
		while (recv(c.fd, buf, CHUNK, 0) > 0)
			;
	else if (c.port == PORT_SOURCE)
		while (send(c.fd, buf, CHUNK, MSG_NOSIGNAL) > 0)
			;
	else
		while ((n = recv(c.fd, buf, 64, 0)) > 0 && send(c.fd, buf, n, MSG_NOSIGNAL) == n)
			;
	close(c.fd);
	free(buf);
	return NULL;
}

void linux_peer(void)
{
	static const uint16_t ports[] = {PORT_SINK, PORT_SOURCE, PORT_ECHO};
	struct pollfd p[3];

	for (int i = 0; i < 3; i++) {
		p[i].fd = listen_on(ports[i]);
		p[i].events = POLLIN;
	}
	for (;;) {
		poll(p, 3, -1);
		for (int i = 0; i < 3; i++) {
			struct conn *c;
			pthread_t t;

			if (!(p[i].revents & POLLIN))
				continue;
			c = malloc(sizeof(*c));
			c->fd = accept(p[i].fd, NULL, NULL);
			c->port = ports[i];
			pthread_create(&t, NULL, serve_conn, c);
			pthread_detach(t);
		}
	}
}

int linux_bulk(uint32_t from, bool send_it, double seconds, struct result *r)
{
	int fd = connect_to(PEER_ADDR, send_it ? PORT_SINK : PORT_SOURCE);
	char *buf = calloc(1, CHUNK);
	double start = now_seconds(), end;
	uint64_t bytes = 0;

	(void)from;
	if (fd < 0)
		return -1;
	do {
		ssize_t n = send_it ? send(fd, buf, CHUNK, MSG_NOSIGNAL) : recv(fd, buf, CHUNK, 0);

		if (n <= 0)
			break;
		bytes += n;
		end = now_seconds();
	} while (end - start < seconds);
	r->gbit = bytes * 8 / (now_seconds() - start) / 1e9;
	close(fd);
	free(buf);
	return 0;
}

int linux_rr(double seconds, struct result *r)
{
	int fd = connect_to(PEER_ADDR, PORT_ECHO);
	double start = now_seconds(), *samples = malloc(1000000 * sizeof(double));
	unsigned long n = 0;
	char buf[64] = "";

	if (fd < 0)
		return -1;
	while (now_seconds() - start < seconds && n < 1000000) {
		double t = now_seconds();

		if (send(fd, buf, 64, 0) != 64 || recv(fd, buf, 64, MSG_WAITALL) != 64)
			break;
		samples[n++] = (now_seconds() - t) * 1e6;
	}
	r->mean_us = (now_seconds() - start) / n * 1e6;
	qsort(samples, n, sizeof(double), cmp_double);
	r->p99_us = samples[n * 99 / 100];
	r->count = n;
	free(samples);
	close(fd);
	return 0;
}

static const char http_head[] = "HTTP/1.0 200 OK\r\nContent-Length: 4096\r\n\r\n";

/* The baseline's server: epoll, one thread. */
int linux_serve(int stop_fd)
{
	int ep = epoll_create1(0), la = listen_on(PORT_ACCEPT), lh = listen_on(PORT_HTTP);
	static char body[4096];
	struct epoll_event ev[256], e = {.events = EPOLLIN};

	if (ep < 0 || la < 0 || lh < 0)
		return -1;
	e.data.fd = la;
	epoll_ctl(ep, EPOLL_CTL_ADD, la, &e);
	e.data.fd = lh;
	epoll_ctl(ep, EPOLL_CTL_ADD, lh, &e);
	e.data.fd = stop_fd;
	epoll_ctl(ep, EPOLL_CTL_ADD, stop_fd, &e);
	for (;;) {
		int n = epoll_wait(ep, ev, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd = ev[i].data.fd;
			char buf[512];

			if (fd == stop_fd) {
				close(la);
				close(lh);
				close(ep);
				return 0;
			}
			if (fd == la || fd == lh) {
				int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK);

				if (c < 0)
					continue;
				e.data.fd = c;
				epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
				continue;
			}
			if (recv(fd, buf, sizeof(buf), 0) > 0) {
				struct iovec iov[2] = {{(void *)http_head, sizeof(http_head) - 1},
						       {body, sizeof(body)}};
				struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};

				sendmsg(fd, &m, MSG_NOSIGNAL);
			}
			close(fd);
		}
	}
}

int linux_connect_rate(uint32_t addr, double seconds, struct result *r)
{
	struct linger lg = {1, 0};
	double start = now_seconds();
	unsigned long n = 0;

	while (now_seconds() - start < seconds) {
		int fd = connect_to(addr, PORT_ACCEPT);

		if (fd < 0)
			return -1;
		/* No TIME-WAIT, or the ports would run out. */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
		close(fd);
		n++;
	}
	r->per_second = n / (now_seconds() - start);
	r->count = n;
	return 0;
}

int linux_http_rate(uint32_t addr, double seconds, struct result *r)
{
	double start = now_seconds();
	unsigned long n = 0;
	char buf[8192];

	while (now_seconds() - start < seconds) {
		int fd = connect_to(addr, PORT_HTTP);
		size_t got = 0;
		ssize_t k;

		if (fd < 0 || send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) != 18)
			return -1;
		while ((k = recv(fd, buf, sizeof(buf), 0)) > 0)
			got += k;
		close(fd);
		if (got != sizeof(http_head) - 1 + 4096)
			return -1;
		n++;
	}
	r->per_second = n / (now_seconds() - start);
	r->count = n;
	return 0;
}

int linux_hold(uint32_t addr, unsigned n, int ready_fd, int go_fd)
{
	int *fds = calloc(n, sizeof(int));
	char c = 'r';
	unsigned i;

	for (i = 0; i < n; i++) {
		fds[i] = connect_to(addr, PORT_ACCEPT);
		if (fds[i] < 0) {
			c = 'f';
			break;
		}
	}
	(void)!write(ready_fd, &c, 1);
	(void)!read(go_fd, &c, 1);
	for (unsigned k = 0; k < i; k++)
		close(fds[k]);
	free(fds);
	return i == n ? 0 : -1;
}
