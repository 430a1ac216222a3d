/* Socket options that programs ask for beside the everyday ones (man 7 socket, ip, tcp). */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"

#ifndef IP_PROTOCOL
#define IP_PROTOCOL 52
#endif
#ifndef TCP_IS_MPTCP
#define TCP_IS_MPTCP 43
#endif

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static int get(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = -1000;

	CHECK_EQ(getsockopt(fd, level, name, &value, &len), 0);
	return value;
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

/* SO_COOKIE: a number that no other socket has, the same for all descriptors of one. */
static void cookies(void)
{
	int fds[] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET6, SOCK_DGRAM, 0),
		     socket(AF_UNIX, SOCK_STREAM, 0), socket(AF_NETLINK, SOCK_RAW, 0)};
	uint64_t cookies[4], again;
	socklen_t len;

	for (int i = 0; i < 4; i++) {
		len = sizeof(cookies[i]);
		CHECK_EQ(getsockopt(fds[i], SOL_SOCKET, SO_COOKIE, &cookies[i], &len), 0);
		CHECK_EQ(len, 8);
		CHECK(cookies[i] != 0);
		for (int j = 0; j < i; j++)
			CHECK(cookies[j] != cookies[i]);
		len = 4;
		CHECK_ERRNO(getsockopt(fds[i], SOL_SOCKET, SO_COOKIE, &again, &len), EINVAL);
		len = sizeof(again);
		CHECK_EQ(getsockopt(dup(fds[i]), SOL_SOCKET, SO_COOKIE, &again, &len), 0);
		CHECK_EQ(again, cookies[i]);
		CHECK_ERRNO(set(fds[i], SOL_SOCKET, SO_COOKIE, 1), ENOPROTOOPT);
	}
}

static void peer_names(void)
{
	struct sockaddr_in want, a;
	socklen_t len = sizeof(want);
	int sv[2];

	tcp_pair(sv);
	REQUIRE(getpeername(sv[0], (struct sockaddr *)&want, &len) == 0);
	len = sizeof(a);
	CHECK_EQ(getsockopt(sv[0], SOL_SOCKET, SO_PEERNAME, &a, &len), 0);
	CHECK_EQ(len, sizeof(a));
	CHECK(!memcmp(&a, &want, sizeof(a)));
	close(sv[0]);
	close(sv[1]);
	sv[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_ERRNO(getsockopt(sv[0], SOL_SOCKET, SO_PEERNAME, &a, &len), ENOTCONN);
	close(sv[0]);
}

/* What IP has for datagrams is refused to streams, each in its own way. */
static void ip_options(void)
{
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	struct in_addr lo = {htonl(INADDR_LOOPBACK)}, other = {inet_addr("192.0.2.77")};
	struct ip_mreq group = {{inet_addr("224.0.0.77")}, lo};

	CHECK_ERRNO(set(tcp, IPPROTO_IP, IP_MULTICAST_TTL, 1), EINVAL);
	CHECK_ERRNO(setsockopt(tcp, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)), EINVAL);
	CHECK_ERRNO(setsockopt(tcp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)), EPROTO);
	CHECK_ERRNO(setsockopt(tcp, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(group)), EPROTO);
	CHECK_EQ(set(udp, IPPROTO_IP, IP_MULTICAST_TTL, 3), 0);
	CHECK_EQ(setsockopt(udp, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof(lo)), 0);
	CHECK_ERRNO(setsockopt(udp, IPPROTO_IP, IP_MULTICAST_IF, &other, sizeof(other)),
		    EADDRNOTAVAIL);
	CHECK_EQ(set(udp, IPPROTO_IP, IP_MULTICAST_ALL, 0), 0);
	CHECK_ERRNO(set(udp, IPPROTO_IP, IP_MULTICAST_ALL, 2), EINVAL);
	close(tcp);
	close(udp);
}

static void tcp_options(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK_EQ(get(fd, IPPROTO_TCP, TCP_LINGER2), 60);
	CHECK_EQ(set(fd, IPPROTO_TCP, TCP_LINGER2, 500), 0);
	CHECK_EQ(get(fd, IPPROTO_TCP, TCP_LINGER2), 120);
	CHECK_EQ(set(fd, IPPROTO_TCP, TCP_LINGER2, 7), 0);
	CHECK_EQ(get(fd, IPPROTO_TCP, TCP_LINGER2), 7);
	CHECK_EQ(set(fd, IPPROTO_TCP, TCP_LINGER2, -5), 0);
	CHECK_EQ(get(fd, IPPROTO_TCP, TCP_LINGER2), -1);
	CHECK_EQ(get(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP), 0);
	CHECK_EQ(set(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 1), 0);
	CHECK(get(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP) >= 1000);
	CHECK_EQ(set(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 0), 0);
	CHECK_EQ(get(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP), 0);
	CHECK_EQ(get(fd, SOL_SOCKET, SO_DEBUG), 0);
	if (!set(fd, SOL_SOCKET, SO_DEBUG, 1)) /* CAP_NET_ADMIN */
		CHECK_EQ(get(fd, SOL_SOCKET, SO_DEBUG), 1);
	close(fd);
}

/* One read; what TCP_INQ says of the rest, -1 without it. */
static int inq_after(int fd, size_t n)
{
	char data[200000], control[CMSG_SPACE(sizeof(int)) * 4];
	struct iovec iov = {data, n};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	int inq = -1;

	CHECK_EQ(recvmsg(fd, &msg, MSG_WAITALL), n);
	c = CMSG_FIRSTHDR(&msg);
	if (c) {
		CHECK_EQ(c->cmsg_level, IPPROTO_TCP);
		CHECK_EQ(c->cmsg_type, TCP_CM_INQ);
		CHECK_EQ(c->cmsg_len, CMSG_LEN(sizeof(int)));
		memcpy(&inq, CMSG_DATA(c), sizeof(inq));
		CHECK(CMSG_NXTHDR(&msg, c) == NULL);
	}
	return inq;
}

static void what_is_left(void)
{
	char data[150000] = {1};
	struct pollfd p = {.events = POLLRDHUP};
	int sv[2];

	tcp_pair(sv);
	CHECK_EQ(write(sv[0], "abcd", 4), 4);
	CHECK_EQ(inq_after(sv[1], 4), -1);
	CHECK_EQ(set(sv[1], IPPROTO_TCP, TCP_INQ, 1), 0);
	CHECK_EQ(get(sv[1], IPPROTO_TCP, TCP_INQ), 1);
	CHECK_ERRNO(set(sv[1], IPPROTO_TCP, TCP_INQ, 2), EINVAL);
	CHECK_EQ(write(sv[0], "abcd", 4), 4);
	CHECK_EQ(inq_after(sv[1], 1), 3);
	CHECK_EQ(inq_after(sv[1], 2), 1);
	CHECK_EQ(inq_after(sv[1], 1), 0);
	/* One message however long the read. */
	CHECK_EQ(write(sv[0], data, sizeof(data)), sizeof(data));
	CHECK_EQ(inq_after(sv[1], sizeof(data)), 0);
	/* The end of the stream is something to read. */
	CHECK_EQ(write(sv[0], "a", 1), 1);
	shutdown(sv[0], SHUT_WR);
	p.fd = sv[1];
	CHECK_EQ(poll(&p, 1, 10000), 1);
	CHECK_EQ(inq_after(sv[1], 1), 1);
	close(sv[0]);
	close(sv[1]);
}

int main(void)
{
	cookies();
	peer_names();
	ip_options();
	tcp_options();
	what_is_left();
	CHECK_DONE();
}
