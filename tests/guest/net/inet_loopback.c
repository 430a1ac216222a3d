/* TCP and UDP over the loopback, IPv4 and IPv6 (man 7 tcp, udp, ip). */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

static socklen_t loopback(int family, int port, struct sockaddr_storage *a)
{
	memset(a, 0, sizeof(*a));
	a->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		struct sockaddr_in *in = (void *)a;

		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in->sin_port = htons((uint16_t)port);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (void *)a;

	in6->sin6_addr = in6addr_loopback;
	in6->sin6_port = htons((uint16_t)port);
	return sizeof(*in6);
}

static int port_of(int s)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	CHECK_EQ(getsockname(s, (void *)&a, &len), 0);
	return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
}

static int revents(int fd, int events)
{
	struct pollfd p = {.fd = fd, .events = (short)events};

	CHECK(poll(&p, 1, 2000) >= 0);
	return p.revents;
}

static void tcp_pair(int family, int *c, int *s)
{
	struct sockaddr_storage a;
	socklen_t len = loopback(family, 0, &a);
	int l = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(l >= 0);
	CHECK_EQ(bind(l, (void *)&a, len), 0);
	CHECK_EQ(listen(l, 5), 0);
	loopback(family, port_of(l), &a);
	*c = socket(family, SOCK_STREAM, 0);
	REQUIRE(connect(*c, (void *)&a, len) == 0);
	*s = accept(l, NULL, NULL);
	REQUIRE(*s >= 0);
	close(l);
}

static void tcp_basics(int family)
{
	struct sockaddr_storage a, b;
	socklen_t la = sizeof(a), lb = sizeof(b);
	struct timeval tv = {0, 30000};
	char buf[64];
	int c, s, n, one = 1;

	tcp_pair(family, &c, &s);
	CHECK_EQ(getpeername(c, (void *)&a, &la), 0);
	CHECK_EQ(getsockname(s, (void *)&b, &lb), 0);
	CHECK(la == lb && memcmp(&a, &b, la) == 0);
	CHECK_EQ(send(c, "hello", 5, 0), 5);
	CHECK(revents(s, POLLIN) & POLLIN);
	CHECK_EQ(ioctl(s, FIONREAD, &n), 0);
	CHECK_EQ(n, 5);
	CHECK_EQ(recv(s, buf, 64, MSG_PEEK), 5);
	CHECK_EQ(recv(s, buf, 64, 0), 5);
	CHECK_ERRNO(recv(s, buf, 64, MSG_DONTWAIT), EAGAIN);
	CHECK_EQ(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	CHECK_ERRNO(recv(s, buf, 64, 0), EAGAIN);
	CHECK_EQ(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	CHECK_EQ(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)), 0);
	CHECK_EQ(revents(c, POLLIN | POLLOUT), POLLOUT);
	CHECK_ERRNO(connect(c, (void *)&a, la), EISCONN);
	CHECK_EQ(shutdown(c, SHUT_WR), 0);
	CHECK(revents(s, POLLIN | POLLRDHUP) & POLLRDHUP);
	CHECK_EQ(recv(s, buf, 64, 0), 0);
	CHECK_EQ(send(s, "back", 4, 0), 4);
	CHECK_EQ(recv(c, buf, 64, 0), 4);
	CHECK_ERRNO(send(c, "x", 1, MSG_NOSIGNAL), EPIPE);
	got_signal = 0;
	CHECK_ERRNO(write(c, "x", 1), EPIPE);
	CHECK_EQ(got_signal, SIGPIPE);
	close(s);
	CHECK_EQ(recv(c, buf, 64, 0), 0);
	close(c);
}

static void tcp_errors(void)
{
	struct sockaddr_storage a;
	struct pollfd p;
	socklen_t len = loopback(AF_INET, 0, &a), el = sizeof(int);
	int s = socket(AF_INET, SOCK_STREAM, 0), port, err = 0;
	char b;

	/* A port where nobody listens. */
	CHECK_EQ(bind(s, (void *)&a, len), 0);
	port = port_of(s);
	close(s);
	loopback(AF_INET, port, &a);
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_ERRNO(recv(s, &b, 1, 0), ENOTCONN);
	CHECK_ERRNO(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
	CHECK_ERRNO(getsockopt(s, 500, 1, &err, &el), EOPNOTSUPP);
	CHECK_ERRNO(getsockopt(s, IPPROTO_UDP, 1, &err, &el), EOPNOTSUPP);
	CHECK_ERRNO(getsockopt(s, IPPROTO_IP, -1, &err, &el), ENOPROTOOPT);
	CHECK_ERRNO(getsockopt(s, IPPROTO_TCP, -1, &err, &el), ENOPROTOOPT);
	CHECK_ERRNO(setsockopt(s, 500, 1, &err, el), ENOPROTOOPT);
	CHECK_ERRNO(getpeername(s, (void *)&a, &(socklen_t){sizeof(a)}), ENOTCONN);
	CHECK_ERRNO(connect(s, (void *)&a, len), ECONNREFUSED);
	close(s);
	s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(connect(s, (void *)&a, len) == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
	p = (struct pollfd){.fd = s, .events = POLLOUT};
	CHECK_EQ(poll(&p, 1, 2000), 1);
	CHECK(p.revents & (POLLERR | POLLHUP));
	CHECK_EQ(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &el), 0);
	CHECK(err == ECONNREFUSED || err == 0);
	close(s);
	/* In use. */
	int l = socket(AF_INET, SOCK_STREAM, 0), m = socket(AF_INET, SOCK_STREAM, 0);
	loopback(AF_INET, 0, &a);
	CHECK_EQ(bind(l, (void *)&a, len), 0);
	CHECK_EQ(listen(l, 1), 0);
	loopback(AF_INET, port_of(l), &a);
	CHECK_ERRNO(bind(m, (void *)&a, len), EADDRINUSE);
	CHECK_ERRNO(accept4(l, NULL, NULL, 0x7), EINVAL);
	fcntl(l, F_SETFL, O_NONBLOCK);
	CHECK_ERRNO(accept(l, NULL, NULL), EAGAIN);
	close(l);
	close(m);
	CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
}

static void tcp_bulk(void)
{
	enum { TOTAL = 8000000 };
	static char buf[100000];
	long got = 0;
	int c, s, status;

	tcp_pair(AF_INET, &c, &s);
	if (fork() == 0) {
		long left = TOTAL;

		close(s);
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (char)(i % 251);
		while (left) {
			ssize_t n = write(c, buf, left < 100000 ? (size_t)left : 100000);

			if (n <= 0)
				_exit(1);
			left -= n;
		}
		_exit(0);
	}
	close(c);
	for (;;) {
		ssize_t n = read(s, buf, sizeof(buf));

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i += 997)
			if (buf[i] != (char)((got + i) % 100000 % 251)) {
				CHECK(0);
				i = n;
			}
		got += n;
	}
	CHECK_EQ(got, TOTAL);
	wait(&status);
	CHECK_EQ(status, 0);
	close(s);
}

static void lingering_close(void)
{
	struct linger l = {1, 5};
	static char buf[100000];
	struct timeval t0, t1;
	int c, s, status, sync[2];

	tcp_pair(AF_INET, &c, &s);
	CHECK_EQ(setsockopt(c, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	REQUIRE(pipe(sync) == 0);
	if (fork() == 0) {
		long got = 0;
		ssize_t n;

		close(c);
		close(sync[1]);
		usleep(100000);
		while ((n = read(s, buf, sizeof(buf))) > 0)
			got += n;
		_exit(got == 100000 && n == 0 ? 0 : 1);
	}
	close(s);
	/* Ours must be the last descriptor, or the child would linger, for what it is to read. */
	close(sync[1]);
	CHECK_EQ(read(sync[0], buf, 1), 0);
	close(sync[0]);
	CHECK_EQ(write(c, buf, sizeof(buf)), sizeof(buf));
	gettimeofday(&t0, NULL);
	close(c);
	gettimeofday(&t1, NULL);
	CHECK(t1.tv_sec - t0.tv_sec < 4);
	wait(&status);
	CHECK_EQ(status, 0);
	/* Linger time 0: reset. */
	tcp_pair(AF_INET, &c, &s);
	l.l_linger = 0;
	CHECK_EQ(setsockopt(c, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	close(c);
	CHECK_ERRNO(read(s, buf, 1), ECONNRESET);
	close(s);
}

static void epoll_server(void)
{
	struct sockaddr_storage a;
	socklen_t len = loopback(AF_INET, 0, &a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0), served = 0;
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = l};

	CHECK_EQ(bind(l, (void *)&a, len), 0);
	CHECK_EQ(listen(l, 64), 0);
	loopback(AF_INET, port_of(l), &a);
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev), 0);
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			for (int k = 0; k < 20; k++) {
				char b[8];
				int s = socket(AF_INET, SOCK_STREAM, 0);

				if (connect(s, (void *)&a, len) || write(s, "ping", 4) != 4 ||
				    read(s, b, 8) != 4)
					_exit(1);
				close(s);
			}
			_exit(0);
		}
	while (served < 80) {
		if (epoll_wait(ep, &ev, 1, 5000) != 1) {
			CHECK(0);
			break;
		}
		if (ev.data.fd == l) {
			int s = accept4(l, NULL, NULL, SOCK_NONBLOCK);

			if (s < 0)
				continue;
			ev = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = s};
			CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev), 0);
		} else {
			char b[8];
			ssize_t n = read(ev.data.fd, b, 8);

			if (n == 4) {
				CHECK_EQ(write(ev.data.fd, "pong", 4), 4);
				served++;
			} else if (n == 0) {
				close(ev.data.fd);
			}
		}
	}
	for (int i = 0; i < 4; i++) {
		int status;

		wait(&status);
		CHECK_EQ(status, 0);
	}
	close(l);
	close(ep);
}

static void udp(int family)
{
	struct sockaddr_storage a, from;
	socklen_t len = loopback(family, 0, &a), fl = sizeof(from);
	int s = socket(family, SOCK_DGRAM, 0), c = socket(family, SOCK_DGRAM, 0);
	char b[64];

	CHECK_EQ(bind(s, (void *)&a, len), 0);
	loopback(family, port_of(s), &a);
	CHECK_ERRNO(send(c, "x", 1, 0), EDESTADDRREQ);
	CHECK_EQ(sendto(c, "one", 3, 0, (void *)&a, len), 3);
	CHECK_EQ(recvfrom(s, b, 64, 0, (void *)&from, &fl), 3);
	CHECK_EQ(fl, len);
	CHECK_EQ(sendto(s, "reply", 5, 0, (void *)&from, fl), 5);
	CHECK_EQ(recv(c, b, 2, MSG_TRUNC), 5);
	CHECK_EQ(connect(c, (void *)&a, len), 0);
	CHECK_EQ(send(c, "two", 3, 0), 3);
	CHECK_EQ(recv(s, b, 64, 0), 3);
	CHECK_ERRNO(recv(s, b, 64, MSG_DONTWAIT), EAGAIN);
	close(s);
	CHECK_EQ(send(c, "gone", 4, 0), 4);
	CHECK_ERRNO(recv(c, b, 1, 0), ECONNREFUSED);
	close(c);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGPIPE, &sa, NULL);
	tcp_basics(AF_INET);
	tcp_basics(AF_INET6);
	tcp_errors();
	tcp_bulk();
	lingering_close();
	epoll_server();
	udp(AF_INET);
	udp(AF_INET6);
	CHECK_DONE();
}
