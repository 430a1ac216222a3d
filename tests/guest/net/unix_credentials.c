/* Who sent it: SCM_CREDENTIALS of unix sockets, sender's names, and what a full send buffer holds
 * (man 7 unix, man 7 socket). */
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define OVERFLOW_ID 65534

static void want_credentials(int fd, int on)
{
	REQUIRE(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
}

/* What one recvmsg gave. */
static struct {
	char data[64];
	ssize_t n;
	int flags, fds, has_cred;
	struct ucred cred;
	struct sockaddr_un name;
	socklen_t namelen;
} got;

static void receive(int fd, size_t room, int flags)
{
	char control[256];
	struct iovec iov = {got.data, room};
	struct msghdr msg = {.msg_name = &got.name,
			     .msg_namelen = sizeof(got.name),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};

	got.has_cred = got.fds = 0;
	memset(got.data, 0, sizeof(got.data));
	got.n = recvmsg(fd, &msg, flags | MSG_DONTWAIT);
	got.flags = msg.msg_flags;
	got.namelen = msg.msg_namelen;
	if (got.n < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_type == SCM_CREDENTIALS) {
			got.has_cred = 1;
			memcpy(&got.cred, CMSG_DATA(c), sizeof(got.cred));
		} else if (c->cmsg_type == SCM_RIGHTS) {
			got.fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			for (int i = 0; i < got.fds; i++)
				close(((int *)(void *)CMSG_DATA(c))[i]);
		}
	}
}

static void expect_from(int line, pid_t pid, uid_t uid, const char *text)
{
	if (!got.has_cred || got.cred.pid != pid || got.cred.uid != uid || strcmp(got.data, text)) {
		printf("line %d: cred %d pid %d uid %u '%s', expected pid %d uid %u '%s'\n", line,
		       got.has_cred, got.cred.pid, got.cred.uid, got.data, pid, uid, text);
		check_failures++;
	}
}
#define EXPECT_FROM(pid, uid, text) expect_from(__LINE__, pid, uid, text)

/* A child sends, and ends. Its pid. */
static pid_t child_sends(int fd, const char *text)
{
	pid_t pid = fork();

	if (!pid)
		_exit(send(fd, text, strlen(text), 0) < 0);
	REQUIRE(pid > 0 && waitpid(pid, NULL, 0) == pid);
	return pid;
}

static void messages_remember_their_sender_only_if_somebody_asks(int type)
{
	int s[2];
	pid_t child;

	REQUIRE(socketpair(AF_UNIX, type, 0, s) == 0);
	send(s[0], "1", 1, 0);
	want_credentials(s[1], 1);
	send(s[0], "2", 1, 0);
	receive(s[1], 1, 0);
	EXPECT_FROM(0, OVERFLOW_ID, "1");
	receive(s[1], 1, 0);
	EXPECT_FROM(getpid(), getuid(), "2");
	/* The sender's own option counts, too. */
	want_credentials(s[1], 0);
	want_credentials(s[0], 1);
	send(s[0], "3", 1, 0);
	want_credentials(s[1], 1);
	receive(s[1], 9, 0);
	EXPECT_FROM(getpid(), getuid(), "3");
	CHECK_EQ(got.flags & MSG_EOR, 0);
	/* A child, which is gone by now (its number is not anybody's, so it is 0). */
	child = child_sends(s[0], "4");
	CHECK(child > 0);
	receive(s[1], 9, 0);
	CHECK(got.has_cred && (got.cred.pid == 0 || got.cred.pid == child));
	close(s[0]);
	close(s[1]);
}

static void streams_do_not_mix_senders(void)
{
	int s[2], hold[2];
	pid_t child;
	char c;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && pipe(hold) == 0);
	want_credentials(s[1], 1);
	send(s[0], "a", 1, 0);
	child = fork();
	if (!child) {
		send(s[0], "b", 1, 0);
		close(hold[1]);
		read(hold[0], &c, 1); /* stays until its message has been looked at */
		_exit(0);
	}
	close(hold[0]);
	receive(s[1], 9, 0);
	EXPECT_FROM(getpid(), getuid(), "a");
	poll(&(struct pollfd){.fd = s[1], .events = POLLIN}, 1, -1);
	receive(s[1], 9, 0);
	EXPECT_FROM(child, getuid(), "b");
	close(hold[1]);
	waitpid(child, NULL, 0);
	/* Of senders who did not say who they are, data is one stream. */
	want_credentials(s[1], 0);
	send(s[0], "c", 1, 0);
	child_sends(s[0], "d");
	want_credentials(s[1], 1);
	receive(s[1], 9, 0);
	EXPECT_FROM(0, OVERFLOW_ID, "cd");
	close(s[0]);
	close(s[1]);
}

static socklen_t abstract(struct sockaddr_un *a, const char *what)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "moat-cred-%d-%s", getpid(), what);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
}

static void before_accept_everybody_is_remembered(void)
{
	struct sockaddr_un a;
	socklen_t len = abstract(&a, "listen");
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s;

	REQUIRE(bind(l, (void *)&a, len) == 0 && listen(l, 1) == 0);
	REQUIRE(connect(c, (void *)&a, len) == 0);
	send(c, "1", 1, 0);
	s = accept(l, NULL, NULL);
	REQUIRE(s >= 0);
	send(c, "2", 1, 0);
	want_credentials(s, 1);
	receive(s, 9, 0);
	EXPECT_FROM(getpid(), getuid(), "1");
	receive(s, 9, 0);
	EXPECT_FROM(0, OVERFLOW_ID, "2");
	close(s);
	close(c);
	close(l);
}

static void the_senders_name_is_the_one_it_has_now(int type)
{
	struct sockaddr_un a, b;
	socklen_t alen = abstract(&a, "to"), blen = abstract(&b, "from");
	int to = socket(AF_UNIX, type, 0), from = socket(AF_UNIX, type, 0), fd = to;

	REQUIRE(bind(to, (void *)&a, alen) == 0);
	if (type != SOCK_DGRAM)
		REQUIRE(listen(to, 1) == 0);
	REQUIRE(connect(from, (void *)&a, alen) == 0);
	if (type != SOCK_DGRAM)
		fd = accept(to, NULL, NULL);
	send(from, "x", 1, 0);
	REQUIRE(bind(from, (void *)&b, blen) == 0);
	receive(fd, 9, 0);
	CHECK_EQ(got.n, 1);
	CHECK_EQ(got.namelen, blen);
	CHECK(!memcmp(&got.name, &b, blen));
	if (fd != to)
		close(fd);
	close(to);
	close(from);
}

static void no_socket_connects_to_itself(int type)
{
	struct sockaddr_un a;
	socklen_t len = abstract(&a, "self");
	int l = socket(AF_UNIX, type, 0);

	REQUIRE(bind(l, (void *)&a, len) == 0);
	CHECK_ERRNO(connect(l, (void *)&a, len), ECONNREFUSED);
	REQUIRE(listen(l, 1) == 0);
	CHECK_ERRNO(connect(l, (void *)&a, len), EINVAL);
	close(l);
}

static int messages_until_full(int type, int sndbuf, size_t size)
{
	static char data[65536];
	int s[2], n = 0;

	REQUIRE(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, s) == 0);
	setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	while (send(s[0], data, size, 0) > 0)
		n++;
	CHECK(errno == EAGAIN);
	close(s[0]);
	close(s[1]);
	return n;
}

static void a_send_buffer_holds_what_linux_puts_into_it(void)
{
	CHECK_EQ(messages_until_full(SOCK_STREAM, 10000, 1), 27);
	CHECK_EQ(messages_until_full(SOCK_STREAM, 10000, 1000), 9);
	CHECK_EQ(messages_until_full(SOCK_STREAM, 212992, 4000), 88);
	CHECK_EQ(messages_until_full(SOCK_STREAM, 212992, 10000), 34);
	CHECK_EQ(messages_until_full(SOCK_STREAM, 212992, 40000), 11);
	CHECK_EQ(messages_until_full(SOCK_DGRAM, 212992, 4000), 51);
	CHECK_EQ(messages_until_full(SOCK_SEQPACKET, 212992, 10000), 26);
	CHECK_EQ(messages_until_full(SOCK_DGRAM, 212992, 40000), 11);
	CHECK_EQ(messages_until_full(SOCK_DGRAM, 0, 1000), 2);
}

int main(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

	for (int i = 0; i < 3; i++) {
		messages_remember_their_sender_only_if_somebody_asks(types[i]);
		the_senders_name_is_the_one_it_has_now(types[i]);
		if (types[i] != SOCK_DGRAM)
			no_socket_connects_to_itself(types[i]);
	}
	streams_do_not_mix_senders();
	before_accept_everybody_is_remembered();
	a_send_buffer_holds_what_linux_puts_into_it();
	CHECK_DONE();
}
