/* AF_UNIX: names, connections, streams, datagrams, sequenced packets (man 7 unix). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

static int revents(int fd, int events)
{
	struct pollfd p = {.fd = fd, .events = (short)events};

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static socklen_t name(struct sockaddr_un *a, const char *s, int abstract)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strcpy(a->sun_path + abstract, s);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(s) + 1);
}

static int get_int(int fd, int opt)
{
	int v = -1;
	socklen_t len = sizeof(v);

	CHECK_EQ(getsockopt(fd, SOL_SOCKET, opt, &v, &len), 0);
	return v;
}

static void stream_pair(void)
{
	char b[64];
	int s[2], n;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	CHECK_EQ(fcntl(s[0], F_GETFD), FD_CLOEXEC);
	CHECK_EQ(write(s[0], "hello", 5), 5);
	CHECK_EQ(send(s[0], "world", 5, 0), 5);
	CHECK_EQ(ioctl(s[1], FIONREAD, &n), 0);
	CHECK_EQ(n, 10);
	CHECK_EQ(recv(s[1], b, 3, MSG_PEEK), 3);
	CHECK_EQ(recv(s[1], b, 64, MSG_PEEK), 10);
	CHECK_EQ(recv(s[1], b, 7, MSG_WAITALL), 7);
	CHECK(memcmp(b, "hellowo", 7) == 0);
	CHECK_EQ(read(s[1], b, 64), 3);
	CHECK_ERRNO(recv(s[1], b, 1, MSG_DONTWAIT), EAGAIN);
	CHECK_EQ(revents(s[0], POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
	CHECK_EQ(get_int(s[0], SO_TYPE), SOCK_STREAM);
	CHECK_EQ(get_int(s[0], SO_DOMAIN), AF_UNIX);
	CHECK_EQ(get_int(s[0], SO_PROTOCOL), 0);
	CHECK_EQ(get_int(s[0], SO_ERROR), 0);
	CHECK_EQ(get_int(s[0], SO_ACCEPTCONN), 0);
	/* Half closed. */
	CHECK_EQ(shutdown(s[0], SHUT_WR), 0);
	CHECK_EQ(read(s[1], b, 1), 0);
	CHECK_EQ(revents(s[1], POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
	CHECK_EQ(write(s[1], "x", 1), 1);
	CHECK_EQ(read(s[0], b, 8), 1);
	CHECK_ERRNO(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	got_signal = 0;
	CHECK_ERRNO(write(s[0], "x", 1), EPIPE);
	CHECK_EQ(got_signal, SIGPIPE);
	CHECK_ERRNO(shutdown(s[0], 7), EINVAL);
	close(s[1]);
	CHECK_EQ(revents(s[0], POLLIN | POLLOUT | POLLRDHUP),
		 POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	close(s[0]);
	/* The peer closes with our data unread: reset. */
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(write(s[0], "lost", 4), 4);
	close(s[1]);
	CHECK(revents(s[0], POLLIN) & POLLERR);
	CHECK_ERRNO(read(s[0], b, 1), ECONNRESET);
	CHECK_EQ(read(s[0], b, 1), 0);
	close(s[0]);
}

static void stream_listen(void)
{
	struct sockaddr_un a, got;
	socklen_t len = name(&a, "moat-test-stream", 1), glen;
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c, s, d;
	char b[8];

	REQUIRE(l >= 0);
	CHECK_ERRNO(listen(l, 1), EINVAL);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_ERRNO(connect(c, (void *)&a, len), ECONNREFUSED);
	CHECK_EQ(revents(c, POLLIN | POLLOUT), POLLOUT | POLLHUP);
	CHECK_ERRNO(send(c, "x", 1, MSG_NOSIGNAL), ENOTCONN);
	CHECK_ERRNO(recv(c, b, 1, 0), EINVAL);
	glen = sizeof(got);
	CHECK_ERRNO(getpeername(c, (void *)&got, &glen), ENOTCONN);
	CHECK_EQ(bind(l, (void *)&a, len), 0);
	CHECK_ERRNO(bind(l, (void *)&a, len), EINVAL);
	d = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_ERRNO(bind(d, (void *)&a, len), EADDRINUSE);
	CHECK_ERRNO(connect(c, (void *)&a, len), ECONNREFUSED); /* not listening yet */
	CHECK_ERRNO(accept(l, NULL, NULL), EINVAL);
	CHECK_EQ(listen(l, 1), 0);
	CHECK_EQ(get_int(l, SO_ACCEPTCONN), 1);
	CHECK_EQ(fcntl(l, F_SETFL, O_NONBLOCK), 0);
	CHECK_ERRNO(accept(l, NULL, NULL), EAGAIN);
	CHECK_EQ(revents(l, POLLIN | POLLOUT), 0);
	CHECK_EQ(connect(c, (void *)&a, len), 0);
	CHECK_ERRNO(connect(c, (void *)&a, len), EISCONN);
	CHECK_EQ(revents(l, POLLIN | POLLOUT), POLLIN);
	CHECK_EQ(write(c, "early", 5), 5);
	/* The backlog is 1, so two wait; the third may not. */
	CHECK_EQ(connect(d, (void *)&a, len), 0);
	int e = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK_ERRNO(connect(e, (void *)&a, len), EAGAIN);
	close(e);
	glen = sizeof(got);
	s = accept4(l, (void *)&got, &glen, SOCK_CLOEXEC | SOCK_NONBLOCK);
	REQUIRE(s >= 0);
	CHECK_EQ(glen, 2); /* the client has no name */
	CHECK_EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(s, F_GETFL) & O_NONBLOCK);
	CHECK_EQ(read(s, b, 8), 5);
	glen = sizeof(got);
	CHECK_EQ(getsockname(s, (void *)&got, &glen), 0);
	CHECK_EQ(glen, len);
	CHECK(memcmp(&got, &a, len) == 0);
	glen = sizeof(got);
	CHECK_EQ(getpeername(c, (void *)&got, &glen), 0);
	CHECK_EQ(glen, len);
	struct ucred cred;
	glen = sizeof(cred);
	CHECK_EQ(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &glen), 0);
	CHECK_EQ(cred.pid, getpid());
	CHECK_EQ(cred.uid, geteuid());
	CHECK_EQ(cred.gid, getegid());
	/* d was not accepted: it is reset. */
	close(l);
	CHECK_ERRNO(read(d, b, 1), ECONNRESET);
	CHECK_EQ(read(c, b, 0), 0);
	CHECK_ERRNO(sendto(c, "x", 1, 0, (void *)&a, len), EISCONN);
	close(s);
	CHECK_EQ(read(c, b, 1), 0);
	close(c);
	close(d);
}

static void path_names(void)
{
	char dir[] = "/tmp/unix_test_XXXXXX";
	struct sockaddr_un a, got;
	socklen_t len, glen = sizeof(got);
	struct stat st;
	int l, c;

	REQUIRE(mkdtemp(dir) && chdir(dir) == 0);
	len = name(&a, "sock", 0);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	umask(022);
	CHECK_EQ(bind(l, (void *)&a, sizeof(a)), 0);
	CHECK_EQ(stat("sock", &st), 0);
	CHECK(S_ISSOCK(st.st_mode));
	CHECK_EQ(st.st_mode & 0777, 0755);
	CHECK_EQ(getsockname(l, (void *)&got, &glen), 0);
	CHECK_EQ(glen, len);
	CHECK(strcmp(got.sun_path, "sock") == 0);
	CHECK_ERRNO(open("sock", O_RDWR), ENXIO);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_ERRNO(bind(c, (void *)&a, len), EADDRINUSE);
	CHECK_ERRNO(connect(c, (void *)&a, len), ECONNREFUSED);
	CHECK_EQ(listen(l, 5), 0);
	CHECK_EQ(connect(c, (void *)&a, len), 0);
	close(c);
	c = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_ERRNO(connect(c, (void *)&a, len), EPROTOTYPE);
	close(c);
	close(l);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_ERRNO(connect(c, (void *)&a, len), ECONNREFUSED); /* the file is left behind */
	CHECK_EQ(unlink("sock"), 0);
	CHECK_ERRNO(connect(c, (void *)&a, len), ENOENT);
	len = name(&a, "no/such", 0);
	CHECK_ERRNO(bind(c, (void *)&a, len), ENOENT);
	a.sun_family = AF_INET;
	CHECK_ERRNO(bind(c, (void *)&a, len), EINVAL);
	CHECK_ERRNO(bind(c, (void *)&a, 200), EINVAL);
	/* Autobind. */
	a.sun_family = AF_UNIX;
	CHECK_EQ(bind(c, (void *)&a, sizeof(sa_family_t)), 0);
	glen = sizeof(got);
	CHECK_EQ(getsockname(c, (void *)&got, &glen), 0);
	CHECK_EQ(glen, 8);
	CHECK_EQ(got.sun_path[0], 0);
	close(c);
	chdir("/");
	rmdir(dir);
}

static void datagrams(void)
{
	struct sockaddr_un a, b, got;
	socklen_t la = name(&a, "moat-test-a", 1), lb = name(&b, "moat-test-b", 1), gl;
	int sa = socket(AF_UNIX, SOCK_DGRAM, 0), sb = socket(AF_UNIX, SOCK_DGRAM, 0), n, sent = 0;
	char buf[16];

	REQUIRE(sa >= 0 && sb >= 0);
	CHECK_EQ(bind(sa, (void *)&a, la), 0);
	CHECK_EQ(bind(sb, (void *)&b, lb), 0);
	CHECK_ERRNO(send(sa, "x", 1, 0), ENOTCONN);
	CHECK_EQ(sendto(sa, "one", 3, 0, (void *)&b, lb), 3);
	CHECK_EQ(sendto(sa, "", 0, 0, (void *)&b, lb), 0);
	CHECK_EQ(sendto(sa, "three!", 6, 0, (void *)&b, lb), 6);
	CHECK_EQ(ioctl(sb, FIONREAD, &n), 0);
	CHECK_EQ(n, 3);
	gl = sizeof(got);
	CHECK_EQ(recvfrom(sb, buf, 16, 0, (void *)&got, &gl), 3);
	CHECK_EQ(gl, la);
	CHECK(memcmp(&got, &a, la) == 0);
	CHECK_EQ(recv(sb, buf, 16, 0), 0);
	struct iovec iov = {buf, 2};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	CHECK_EQ(recvmsg(sb, &m, MSG_PEEK | MSG_TRUNC), 6);
	CHECK_EQ(recvmsg(sb, &m, 0), 2);
	CHECK_EQ(m.msg_flags, MSG_TRUNC);
	CHECK_ERRNO(recv(sb, buf, 1, MSG_DONTWAIT), EAGAIN);
	/* Connected: only from the peer. */
	CHECK_EQ(connect(sb, (void *)&a, la), 0);
	int sc = socket(AF_UNIX, SOCK_DGRAM, 0);
	CHECK_ERRNO(sendto(sc, "x", 1, 0, (void *)&b, lb), EPERM);
	CHECK_ERRNO(connect(sc, (void *)&b, lb), EPERM);
	CHECK_EQ(connect(sc, (void *)&a, la), 0);
	/* A receiver that does not read holds senders back, and poll says so. */
	fcntl(sc, F_SETFL, O_NONBLOCK);
	while (sent < 2000 && send(sc, "x", 1, 0) == 1)
		sent++;
	CHECK_EQ(errno, EAGAIN);
	CHECK(sent > 5);
	CHECK_EQ(revents(sc, POLLOUT), 0);
	for (int i = 0; i < sent; i++)
		CHECK_EQ(recv(sa, buf, 1, 0), 1);
	CHECK_EQ(revents(sc, POLLOUT), POLLOUT);
	close(sa);
	CHECK_ERRNO(send(sc, "x", 1, 0), ECONNREFUSED);
	CHECK_ERRNO(send(sc, "x", 1, 0), ENOTCONN);
	CHECK_ERRNO(listen(sc, 1), EOPNOTSUPP);
	CHECK_ERRNO(accept(sc, NULL, NULL), EOPNOTSUPP);
	static char big[400000];
	int sp[2];
	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, sp) == 0);
	CHECK_ERRNO(send(sp[0], big, sizeof(big), 0), EMSGSIZE);
	struct sockaddr un = {.sa_family = AF_UNSPEC};
	CHECK_EQ(connect(sc, &un, sizeof(un)), 0);
	close(sb);
	close(sc);
	close(sp[0]);
	close(sp[1]);
}

static void seqpackets(void)
{
	char b[16];
	struct iovec iov = {b, 16};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int s[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0);
	CHECK_EQ(write(s[0], "abc", 3), 3);
	CHECK_EQ(write(s[0], "defg", 4), 4);
	CHECK_EQ(recvmsg(s[1], &m, 0), 3);
	CHECK_EQ(read(s[1], b, 2), 2);
	CHECK_ERRNO(recv(s[1], b, 2, MSG_DONTWAIT), EAGAIN);
	close(s[0]);
	CHECK_EQ(read(s[1], b, 2), 0);
	CHECK_ERRNO(send(s[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	close(s[1]);
	int n = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	CHECK_ERRNO(write(n, "x", 1), ENOTCONN);
	CHECK_ERRNO(read(n, b, 1), ENOTCONN);
	close(n);
}

static void buffers_and_timeouts(void)
{
	struct timeval tv = {0, 30000};
	char b[4096] = {0};
	int s[2], v = 8192;
	long total = 0;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)), 0);
	CHECK_EQ(get_int(s[0], SO_SNDBUF), 16384);
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	CHECK_EQ(setsockopt(s[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	CHECK_ERRNO(read(s[0], b, 1), EAGAIN);
	for (;;) {
		ssize_t n = write(s[0], b, sizeof(b));

		if (n < 0)
			break;
		total += n;
	}
	CHECK_EQ(errno, EAGAIN);
	CHECK(total >= 8192 && total <= 32768);
	CHECK_EQ(revents(s[0], POLLOUT), 0);
	while (total > 0) {
		ssize_t n = read(s[1], b, sizeof(b));

		REQUIRE(n > 0);
		total -= n;
	}
	CHECK_EQ(revents(s[0], POLLOUT), POLLOUT);
	CHECK_ERRNO(setsockopt(s[0], SOL_SOCKET, SO_TYPE, &v, sizeof(v)), ENOPROTOOPT);
	CHECK_ERRNO(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &v, 1), EINVAL);
	CHECK_ERRNO(getsockopt(s[0], SOL_SOCKET, 9999, &v, &(socklen_t){4}), ENOPROTOOPT);
	CHECK_ERRNO(send(s[0], "x", 1, MSG_OOB | MSG_NOSIGNAL) == 1 ? (errno = EOPNOTSUPP, -1) : -1,
		    EOPNOTSUPP);
	close(s[0]);
	close(s[1]);
}

static void big_transfer(void)
{
	enum { TOTAL = 5000000 };
	static char buf[70000];
	int s[2], status;
	long got = 0;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	if (fork() == 0) {
		long left = TOTAL;

		close(s[1]);
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (char)i;
		while (left) {
			size_t n = left < (long)sizeof(buf) ? (size_t)left : sizeof(buf);

			if (write(s[0], buf, n) != (ssize_t)n)
				_exit(1);
			left -= (long)n;
		}
		_exit(0);
	}
	close(s[0]);
	for (;;) {
		ssize_t n = read(s[1], buf, sizeof(buf));

		if (n <= 0)
			break;
		if (buf[0] != (char)(got % (long)sizeof(buf)))
			CHECK(0);
		got += n;
	}
	CHECK_EQ(got, TOTAL);
	wait(&status);
	CHECK_EQ(status, 0);
	close(s[1]);
}

static void many_messages(void)
{
	struct mmsghdr v[4] = {0};
	struct iovec iov[4];
	char b[4][8];
	int s[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){"message", (size_t)i + 2};
		v[i].msg_hdr.msg_iov = &iov[i];
		v[i].msg_hdr.msg_iovlen = 1;
	}
	CHECK_EQ(sendmmsg(s[0], v, 3, 0), 3);
	CHECK_EQ(v[2].msg_len, 4);
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){b[i], 8};
		v[i].msg_hdr.msg_iov = &iov[i];
		v[i].msg_hdr.msg_iovlen = 1;
	}
	CHECK_EQ(recvmmsg(s[1], v, 4, MSG_WAITFORONE, NULL), 3);
	CHECK_EQ(v[0].msg_len, 2);
	CHECK_EQ(v[2].msg_len, 4);
	CHECK_ERRNO(recvmmsg(s[1], v, 4, MSG_DONTWAIT, NULL), EAGAIN);
	close(s[0]);
	close(s[1]);
}

static void accept_without_a_free_descriptor(void)
{
	struct sockaddr_un a;
	socklen_t len = name(&a, "moat-test-emfile", 1);
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s;
	struct rlimit old, low;
	char b;

	CHECK_EQ(bind(l, (void *)&a, len), 0);
	CHECK_EQ(listen(l, 5), 0);
	CHECK_EQ(connect(c, (void *)&a, len), 0);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = (rlim_t)c + 1;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
	CHECK_ERRNO(accept(l, NULL, NULL), EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	/* The connection is still there. */
	s = accept(l, NULL, NULL);
	CHECK(s >= 0);
	CHECK_EQ(write(s, "x", 1), 1);
	CHECK_EQ(read(c, &b, 1), 1);
	close(s);
	close(c);
	close(l);
}

/* There is less than is asked for, and no more will come. */
static void peek_at_the_end(void)
{
	char b[8];
	int s[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(write(s[0], "abc", 3), 3);
	close(s[0]);
	CHECK_EQ(recv(s[1], b, sizeof(b), MSG_PEEK | MSG_WAITALL), 3);
	CHECK_EQ(recv(s[1], b, sizeof(b), MSG_WAITALL), 3);
	close(s[1]);
}

static void wrong_arguments(void)
{
	int p[2], s[2];

	CHECK_ERRNO(socket(AF_UNIX, 77, 0), EINVAL);
	CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 99), EPROTONOSUPPORT);
	CHECK_ERRNO(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
	CHECK_ERRNO(socket(77, SOCK_STREAM, 0), EAFNOSUPPORT);
	CHECK_ERRNO(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT);
	REQUIRE(pipe(p) == 0);
	CHECK_ERRNO(listen(p[0], 1), ENOTSOCK);
	CHECK_ERRNO(send(p[1], "x", 1, 0), ENOTSOCK);
	CHECK_ERRNO(listen(999, 1), EBADF);
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_ERRNO(accept4(s[0], NULL, NULL, 0x1), EINVAL);
	CHECK_ERRNO(lseek(s[0], 0, SEEK_SET), ESPIPE);
	close(p[0]);
	close(p[1]);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGPIPE, &sa, NULL);
	stream_pair();
	stream_listen();
	path_names();
	datagrams();
	seqpackets();
	buffers_and_timeouts();
	big_transfer();
	many_messages();
	accept_without_a_free_descriptor();
	peek_at_the_end();
	wrong_arguments();
	CHECK_DONE();
}
