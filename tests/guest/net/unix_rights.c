/* SCM_RIGHTS and SCM_CREDENTIALS (man 7 unix, man 3 cmsg). */
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static int send_fds(int s, const int *fds, int n, const char *data, size_t len)
{
	char control[CMSG_SPACE(300 * sizeof(int))] = {0};
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, (size_t)n * sizeof(int));
	return (int)sendmsg(s, &m, MSG_NOSIGNAL);
}

/* Receives at most max descriptors; how many came. */
static int recv_fds(int s, int *fds, int max, int flags, int *msg_flags)
{
	char control[CMSG_SPACE(300 * sizeof(int))] = {0}, data[64];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = max ? CMSG_LEN((size_t)max * sizeof(int)) : 0};
	struct cmsghdr *c;
	int n = 0;

	if (recvmsg(s, &m, flags) < 0)
		return -1;
	*msg_flags = m.msg_flags;
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), (size_t)n * sizeof(int));
		}
	return n;
}

static int count_open(void)
{
	int n = 0;

	for (int i = 0; i < 1024; i++)
		if (fcntl(i, F_GETFD) >= 0)
			n++;
	return n;
}

static void descriptors_travel(int type)
{
	int s[2], p[2], got[8], flags, before;
	char b[8];

	REQUIRE(socketpair(AF_UNIX, type, 0, s) == 0);
	REQUIRE(pipe(p) == 0);
	CHECK_EQ(send_fds(s[0], p, 2, "fds", 3), 3);
	CHECK_EQ(recv_fds(s[1], got, 8, MSG_CMSG_CLOEXEC, &flags), 2);
	CHECK_EQ(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	CHECK_EQ(write(got[1], "through", 7), 7);
	CHECK_EQ(read(p[0], b, 8), 7);
	close(got[0]);
	close(got[1]);
	/* Too little room: what does not fit is closed. */
	before = count_open();
	CHECK_EQ(send_fds(s[0], p, 2, "fds", 3), 3);
	CHECK_EQ(recv_fds(s[1], got, 1, 0, &flags), 1);
	CHECK(flags & MSG_CTRUNC);
	close(got[0]);
	CHECK_EQ(send_fds(s[0], p, 2, "fds", 3), 3);
	CHECK_EQ(recv_fds(s[1], got, 0, 0, &flags), 0);
	CHECK(flags & MSG_CTRUNC);
	CHECK_EQ(count_open(), before);
	/* Peeking gives copies. */
	CHECK_EQ(send_fds(s[0], p, 1, "fds", 3), 3);
	CHECK_EQ(recv_fds(s[1], got, 8, MSG_PEEK, &flags), 1);
	close(got[0]);
	CHECK_EQ(recv_fds(s[1], got, 8, 0, &flags), 1);
	close(got[0]);
	/* Read without room for control data. */
	CHECK_EQ(send_fds(s[0], p, 1, "fds", 3), 3);
	CHECK_EQ(read(s[1], b, 8), 3);
	CHECK_EQ(count_open(), before);
	got[0] = 999;
	CHECK_EQ(send_fds(s[0], got, 1, "x", 1), -1);
	CHECK_EQ(errno, EBADF);
	int many[254];
	for (int i = 0; i < 254; i++)
		many[i] = p[0];
	CHECK_EQ(send_fds(s[0], many, 254, "x", 1), -1);
	CHECK_EQ(errno, EINVAL);
	/* In flight, the pipe lives on. */
	CHECK_EQ(send_fds(s[0], &p[1], 1, "x", 1), 1);
	close(p[1]);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	CHECK_ERRNO(read(p[0], b, 1), EAGAIN);
	close(s[1]);
	close(s[0]);
	CHECK_EQ(read(p[0], b, 1), 0);
	close(p[0]);
}

static void stream_stops_after_descriptors(void)
{
	int s[2], got[8], flags, fd = 0;
	char b[16];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(write(s[0], "aa", 2), 2);
	CHECK_EQ(send_fds(s[0], &fd, 1, "bb", 2), 2);
	CHECK_EQ(write(s[0], "cc", 2), 2);
	CHECK_EQ(recv_fds(s[1], got, 8, 0, &flags), 1); /* with "aabb" */
	close(got[0]);
	CHECK_EQ(read(s[1], b, 16), 2);
	CHECK(memcmp(b, "cc", 2) == 0);
	close(s[0]);
	close(s[1]);
}

static void cycles_are_collected(void)
{
	int s[2], t[2], p[2];
	char b;

	for (int i = 0; i < 50; i++) {
		REQUIRE(pipe2(p, O_NONBLOCK) == 0);
		REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
		REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, t) == 0);
		/* s in its own queue, t in s's, s in t's; with the pipe's end. */
		CHECK_EQ(send_fds(s[0], s, 2, "x", 1), 1);
		CHECK_EQ(send_fds(s[0], t, 2, "x", 1), 1);
		CHECK_EQ(send_fds(t[0], s, 2, "x", 1), 1);
		CHECK_EQ(send_fds(t[0], &p[1], 1, "x", 1), 1);
		close(s[0]);
		close(s[1]);
		close(t[0]);
		close(t[1]);
		close(p[1]);
		/* Closing any unix socket collects, perhaps a little later. */
		for (int k = 0; k < 10000; k++) {
			REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
			close(s[0]);
			close(s[1]);
			if (read(p[0], &b, 1) == 0)
				break;
			usleep(1000);
		}
		CHECK_EQ(read(p[0], &b, 1), 0);
		close(p[0]);
	}
}

static void deep_chain_is_dropped(void)
{
	int carry[2], s[2];

	/* Each socket holds the one before: closing the last drops them all. */
	REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, carry) == 0);
	for (int i = 0; i < 300; i++) {
		REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
		if (send_fds(s[0], carry, 2, "x", 1) != 1) {
			CHECK(errno == ETOOMANYREFS);
			close(s[0]);
			close(s[1]);
			break;
		}
		close(carry[0]);
		close(carry[1]);
		carry[0] = s[0];
		carry[1] = s[1];
	}
	close(carry[0]);
	close(carry[1]);
}

static void credentials(void)
{
	char control[CMSG_SPACE(sizeof(struct ucred))] = {0}, data[8];
	struct iovec iov = {data, sizeof(data)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
	struct cmsghdr *c;
	struct ucred cred;
	int s[2], on = 1, status;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	pid_t child = fork();
	if (child == 0)
		_exit(write(s[0], "hi", 2) != 2);
	m.msg_controllen = sizeof(control);
	CHECK_EQ(recvmsg(s[1], &m, 0), 2);
	c = CMSG_FIRSTHDR(&m);
	REQUIRE(c && c->cmsg_type == SCM_CREDENTIALS);
	memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	CHECK_EQ(cred.pid, child);
	CHECK_EQ(cred.uid, getuid());
	wait(&status);
	/* A false claim; as root the kernel believes it if the process exists. */
	iov.iov_len = 1;
	m.msg_controllen = sizeof(control);
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(cred));
	cred = (struct ucred){getpid(), getuid(), getgid()};
	memcpy(CMSG_DATA(c), &cred, sizeof(cred));
	CHECK_EQ(sendmsg(s[0], &m, 0), 1);
	if (fork() == 0) {
		if (geteuid() == 0 && setuid(1000) != 0)
			_exit(1);
		cred.uid = 12345;
		memcpy(CMSG_DATA(c), &cred, sizeof(cred));
		_exit(sendmsg(s[0], &m, 0) == -1 && errno == EPERM ? 0 : 1);
	}
	wait(&status);
	CHECK_EQ(status, 0);
	c->cmsg_type = 99;
	CHECK_ERRNO(sendmsg(s[0], &m, 0), EINVAL);
	c->cmsg_len = 3;
	CHECK_ERRNO(sendmsg(s[0], &m, 0), EINVAL);
	close(s[0]);
	close(s[1]);
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static void peer_pidfd(void)
{
	int s[2], fd = -1;
	socklen_t len = sizeof(fd);
	char path[64], line[128];
	long pid = -1;
	FILE *f;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	if (getsockopt(s[0], SOL_SOCKET, SO_PEERPIDFD, &fd, &len) != 0) {
		CHECK_EQ(errno, ENOPROTOOPT); /* kernels before 6.5 */
		return;
	}
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "Pid: %ld", &pid);
	fclose(f);
	CHECK_EQ(pid, getpid());
	close(fd);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	descriptors_travel(SOCK_STREAM);
	descriptors_travel(SOCK_DGRAM);
	descriptors_travel(SOCK_SEQPACKET);
	stream_stops_after_descriptors();
	cycles_are_collected();
	deep_chain_is_dropped();
	credentials();
	peer_pidfd();
	CHECK_DONE();
}
