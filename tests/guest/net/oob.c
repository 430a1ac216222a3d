/* Out-of-band data: TCP's urgent byte and that of AF_UNIX streams (man 7 tcp, man 7 unix, man 3
 * sockatmark). What both have in common is checked on both. */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t urgent;

static void on_urgent(int sig)
{
	urgent++;
}

static void tcp_pair(int sv[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	REQUIRE(bind(l, (struct sockaddr *)&a, len) == 0);
	REQUIRE(listen(l, 1) == 0);
	REQUIRE(getsockname(l, (struct sockaddr *)&a, &len) == 0);
	sv[0] = socket(AF_INET, SOCK_STREAM, 0);
	REQUIRE(connect(sv[0], (struct sockaddr *)&a, len) == 0);
	sv[1] = accept(l, NULL, NULL);
	REQUIRE(sv[1] >= 0);
	close(l);
}

static void unix_pair(int sv[2])
{
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
}

static int at_mark(int fd)
{
	int answer = -1;

	CHECK_EQ(ioctl(fd, SIOCATMARK, &answer), 0);
	return answer;
}

static int waiting(int fd, int ms)
{
	struct pollfd p = {fd, POLLIN | POLLPRI, 0};

	return poll(&p, 1, ms) < 0 ? -1 : p.revents;
}

/* Waits until this many bytes can be read in all, by what FIONREAD says or by a peek. */
static void wait_bytes(int fd, int n)
{
	char buf[64];

	for (int i = 0; i < 4000; i++) {
		if (recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT) >= n)
			return;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	REQUIRE(!"the bytes came");
}

static void send_parts(int fd, const char *before, const char *oob, const char *after)
{
	CHECK_EQ(send(fd, before, strlen(before), 0), (long)strlen(before));
	CHECK_EQ(send(fd, oob, strlen(oob), MSG_OOB), (long)strlen(oob));
	if (*after)
		CHECK_EQ(send(fd, after, strlen(after), 0), (long)strlen(after));
}

/* Reading stops at the mark, where the byte is not, and goes on behind it. */
static void beside_the_stream(void (*pair)(int *))
{
	char buf[16] = "";
	int sv[2];

	pair(sv);
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_OOB | MSG_DONTWAIT), EINVAL);
	send_parts(sv[0], "abc", "xY", "def");
	CHECK(waiting(sv[1], 4000) & POLLPRI);
	wait_bytes(sv[1], 4);
	CHECK_EQ(at_mark(sv[1]), 0);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), MSG_PEEK), 4);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 4);
	CHECK(!memcmp(buf, "abcx", 4));
	CHECK_EQ(at_mark(sv[1]), 1);
	CHECK_EQ(recv(sv[1], buf, 1, MSG_OOB | MSG_PEEK), 1);
	CHECK_EQ(buf[0], 'Y');
	buf[0] = 0;
	CHECK_EQ(recv(sv[1], buf, 1, MSG_OOB), 1);
	CHECK_EQ(buf[0], 'Y');
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_OOB), EINVAL);
	CHECK(!(waiting(sv[1], 0) & POLLPRI));
	CHECK_EQ(at_mark(sv[1]), 1);
	wait_bytes(sv[1], 1);
	CHECK_EQ(recv(sv[1], buf, 3, MSG_WAITALL), 3);
	CHECK(!memcmp(buf, "def", 3));
	CHECK_EQ(at_mark(sv[1]), 0);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), MSG_DONTWAIT), -1);
	close(sv[0]);
	close(sv[1]);
}

/* Without being asked for, the byte is dropped where reading passes it. */
static void passed_by(void (*pair)(int *))
{
	char buf[16];
	int sv[2];

	pair(sv);
	send_parts(sv[0], "ab", "Y", "cd");
	wait_bytes(sv[1], 2);
	CHECK(waiting(sv[1], 4000) & POLLPRI);
	CHECK_EQ(read(sv[1], buf, sizeof(buf)), 2);
	CHECK_EQ(at_mark(sv[1]), 1);
	CHECK_EQ(recv(sv[1], buf, 2, MSG_WAITALL), 2);
	CHECK(!memcmp(buf, "cd", 2));
	CHECK_EQ(at_mark(sv[1]), 0);
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_OOB), EINVAL);
	CHECK(!(waiting(sv[1], 0) & POLLPRI));
	close(sv[0]);
	close(sv[1]);
}

/* SO_OOBINLINE: the byte is in the stream, and reading still stops before it. */
static void in_line(void (*pair)(int *))
{
	int sv[2], one = 1;
	char buf[16];

	pair(sv);
	CHECK_EQ(setsockopt(sv[1], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)), 0);
	send_parts(sv[0], "ab", "Y", "cd");
	wait_bytes(sv[1], 2);
	CHECK(waiting(sv[1], 4000) & POLLPRI);
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_OOB), EINVAL);
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 2);
	CHECK_EQ(at_mark(sv[1]), 1);
	CHECK_EQ(recv(sv[1], buf, 3, MSG_WAITALL), 3);
	CHECK(!memcmp(buf, "Ycd", 3));
	CHECK_EQ(at_mark(sv[1]), 0);
	CHECK(!(waiting(sv[1], 0) & POLLPRI));
	close(sv[0]);
	close(sv[1]);
}

/* A later mark makes the earlier byte one of the stream. */
static void two_marks(void (*pair)(int *))
{
	char buf[16];
	int sv[2];

	pair(sv);
	send_parts(sv[0], "a", "X", "b");
	send_parts(sv[0], "c", "Y", "");
	for (int i = 0; i < 4000 && recv(sv[1], buf, 1, MSG_OOB | MSG_PEEK) != 1; i++)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	for (int i = 0; i < 4000 && buf[0] != 'Y'; i++) {
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		recv(sv[1], buf, 1, MSG_OOB | MSG_PEEK);
	}
	CHECK_EQ(recv(sv[1], buf, sizeof(buf), 0), 4);
	CHECK(!memcmp(buf, "aXbc", 4));
	CHECK_EQ(at_mark(sv[1]), 1);
	CHECK_EQ(recv(sv[1], buf, 1, MSG_OOB), 1);
	CHECK_EQ(buf[0], 'Y');
	close(sv[0]);
	close(sv[1]);
}

/* SIGURG goes to the owner, O_ASYNC or not (man 7 socket). */
static void signals_the_owner(void (*pair)(int *))
{
	struct sigaction sa = {.sa_handler = on_urgent};
	int sv[2];

	pair(sv);
	sigaction(SIGURG, &sa, NULL);
	urgent = 0;
	CHECK_EQ(fcntl(sv[1], F_SETOWN, getpid()), 0);
	CHECK_EQ(send(sv[0], "abc", 3, 0), 3);
	wait_bytes(sv[1], 3);
	CHECK_EQ(urgent, 0);
	CHECK_EQ(send(sv[0], "Y", 1, MSG_OOB), 1);
	for (int i = 0; i < 4000 && !urgent; i++)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	CHECK_EQ(urgent, 1);
	/* Nobody owns it: nobody is told. */
	CHECK_EQ(fcntl(sv[1], F_SETOWN, 0), 0);
	CHECK_EQ(send(sv[0], "Z", 1, MSG_OOB), 1);
	for (char c = 0; c != 'Z';)
		recv(sv[1], &c, 1, MSG_OOB | MSG_PEEK);
	CHECK_EQ(urgent, 1);
	close(sv[0]);
	close(sv[1]);
}

static void unix_only(void)
{
	int sv[2], n = -1;
	char buf[4];

	unix_pair(sv);
	CHECK_ERRNO(send(sv[0], "", 0, MSG_OOB), EOPNOTSUPP);
	/* Over and over: what was read leaves nothing behind that would fill the buffer. */
	for (int i = 0; i < 5000; i++) {
		if (send(sv[0], "Y", 1, MSG_OOB | MSG_DONTWAIT) != 1 ||
		    recv(sv[1], buf, 1, MSG_OOB) != 1) {
			CHECK(!"sent and received out of band");
			break;
		}
	}
	CHECK_EQ(ioctl(sv[1], FIONREAD, &n), 0);
	CHECK_EQ(n, 0);
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_DONTWAIT), EAGAIN);
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
	/* The end of the connection comes after it. */
	CHECK_EQ(send(sv[0], "Y", 1, MSG_OOB), 1);
	close(sv[0]);
	CHECK_EQ(recv(sv[1], buf, 1, MSG_OOB), 1);
	CHECK_EQ(recv(sv[1], buf, 1, 0), 0);
	close(sv[1]);
	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) == 0);
	CHECK_ERRNO(send(sv[0], "Y", 1, MSG_OOB), EOPNOTSUPP);
	CHECK_ERRNO(recv(sv[1], buf, 1, MSG_OOB), EOPNOTSUPP);
	close(sv[0]);
	close(sv[1]);
}

static void all(void (*pair)(int *))
{
	beside_the_stream(pair);
	passed_by(pair);
	in_line(pair);
	two_marks(pair);
	signals_the_owner(pair);
}

int main(void)
{
	signal(SIGALRM, SIG_DFL);
	alarm(30);
	all(tcp_pair);
	all(unix_pair);
	unix_only();
	CHECK_DONE();
}
