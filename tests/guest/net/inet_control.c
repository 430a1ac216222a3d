/* Control messages of sendmsg and recvmsg on TCP and UDP: man 7 ip, ipv6, udp; RFC 3542. */
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { V4, V6, MAPPED, KINDS }; /* IPv4; IPv6; an IPv6 socket that sends to IPv4 */

struct received {
	int tos, ttl;	  /* by IP_TOS, IP_TTL */
	int tclass, hops; /* by IPV6_TCLASS, IPV6_HOPLIMIT */
	int pktinfo4, pktinfo6;
	int flags;
};

static socklen_t address(int kind, int port, struct sockaddr_storage *a)
{
	struct sockaddr_in6 *in6 = (void *)a;
	struct sockaddr_in *in = (void *)a;

	memset(a, 0, sizeof(*a));
	if (kind == V4) {
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in->sin_port = (in_port_t)port;
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = (in_port_t)port;
	if (kind == V6) {
		in6->sin6_addr = in6addr_loopback;
	} else {
		in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
		in6->sin6_addr.s6_addr[12] = 127;
		in6->sin6_addr.s6_addr[15] = 1;
	}
	return sizeof(*in6);
}

/* A bound socket that asks for everything it can be told. *a: where it is. */
static int receiver(int kind, struct sockaddr_storage *a)
{
	socklen_t len = address(kind, 0, a);
	int s = socket(a->ss_family, SOCK_DGRAM, 0), one = 1;
	struct timeval tv = {10, 0};

	REQUIRE(s >= 0);
	REQUIRE(bind(s, (void *)a, len) == 0 && getsockname(s, (void *)a, &len) == 0);
	CHECK_EQ(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	CHECK_EQ(setsockopt(s, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one)), 0);
	CHECK_EQ(setsockopt(s, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one)), 0);
	CHECK_EQ(setsockopt(s, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)), 0);
	if (kind == V4)
		return s;
	CHECK_EQ(setsockopt(s, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof(one)), 0);
	CHECK_EQ(setsockopt(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof(one)), 0);
	CHECK_EQ(setsockopt(s, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)), 0);
	return s;
}

static ssize_t send_with(int s, struct sockaddr_storage *to, int level, int type, const void *data,
			 size_t n)
{
	char payload[3000] = "payload", control[256] __attribute__((aligned(8))) = "";
	struct iovec iov = {payload, type == UDP_SEGMENT && level == IPPROTO_UDP ? 2500 : 7};
	struct msghdr m = {.msg_name = to,
			   .msg_namelen = to ? sizeof(struct sockaddr_in6) : 0,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_SPACE(n)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	if (to && to->ss_family == AF_INET)
		m.msg_namelen = sizeof(struct sockaddr_in);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type};
	memcpy(CMSG_DATA(c), data, n);
	return sendmsg(s, &m, MSG_NOSIGNAL);
}

static ssize_t receive(int s, size_t room, struct received *r)
{
	char payload[3000], control[256] __attribute__((aligned(8)));
	struct iovec iov = {payload, sizeof(payload)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
	ssize_t n = recvmsg(s, &m, 0);

	*r = (struct received){-1, -1, -1, -1, 0, 0, m.msg_flags};
	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);
		int v = 0;

		memcpy(&v, CMSG_DATA(c), len < sizeof(v) ? len : sizeof(v));
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			r->tos = len == 1 ? v : -2;
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
			r->ttl = len == 4 ? v : -2;
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			r->pktinfo4 = len == sizeof(struct in_pktinfo) ? v : -2;
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			r->tclass = len == 4 ? v : -2;
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)
			r->hops = len == 4 ? v : -2;
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			r->pktinfo6 = len == sizeof(struct in6_pktinfo) ? 1 : -2;
	}
	return n;
}

/* What one message does: refused with err, or shown by the receiver. tos -1: anything. */
struct expected {
	int level, type, value;
	size_t len;
	int err, tos, ttl;
};

static const struct expected ip4[] = {
	{IPPROTO_IP, IP_TOS, 0x20, 4, 0, 0x20, 64},
	{IPPROTO_IP, IP_TOS, 0x28, 1, 0, 0x28, 64},
	{IPPROTO_IP, IP_TOS, 0x28, 2, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TOS, 0x28, 5, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TOS, 256, 4, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TOS, -1, 4, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TTL, 3, 4, 0, 0, 3},
	{IPPROTO_IP, IP_TTL, 255, 4, 0, 0, 255},
	{IPPROTO_IP, IP_TTL, 3, 1, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TTL, 3, 5, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TTL, 0, 4, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TTL, 256, 4, EINVAL, 0, 0},
	{IPPROTO_IP, IP_PKTINFO, 0, 4, EINVAL, 0, 0},
	{IPPROTO_IP, 9999, 0, 4, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_TCLASS, 5, 4, 0, 0, 64}, /* passed over */
	{IPPROTO_IPV6, IPV6_HOPLIMIT, 999, 3, 0, 0, 64},
	{IPPROTO_TCP, 1, 1, 4, 0, 0, 64},
	{SOL_SOCKET, 9999, 1, 4, EINVAL, 0, 0},
};
static const struct expected ip6[] = {
	{IPPROTO_IPV6, IPV6_TCLASS, 0x20, 4, 0, 0x20, 64},
	{IPPROTO_IPV6, IPV6_TCLASS, -1, 4, 0, -1, 64}, /* RFC 3542: default; Linux 6.18: 255 */
	{IPPROTO_IPV6, IPV6_TCLASS, -2, 4, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_TCLASS, 256, 4, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_TCLASS, 1, 1, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_TCLASS, 1, 5, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_HOPLIMIT, 3, 4, 0, 0, 3},
	{IPPROTO_IPV6, IPV6_HOPLIMIT, 0, 4, 0, 0, 0},
	{IPPROTO_IPV6, IPV6_HOPLIMIT, -1, 4, 0, 0, 64},
	{IPPROTO_IPV6, IPV6_HOPLIMIT, -2, 4, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_HOPLIMIT, 256, 4, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_HOPLIMIT, 3, 3, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_PKTINFO, 0, 19, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_DONTFRAG, 1, 4, 0, 0, 64},
	{IPPROTO_IPV6, IPV6_DONTFRAG, 2, 4, EINVAL, 0, 0},
	{IPPROTO_IPV6, IPV6_DONTFRAG, 1, 2, EINVAL, 0, 0},
	{IPPROTO_IPV6, 9999, 0, 4, EINVAL, 0, 0},
	{IPPROTO_IP, IP_TOS, 999, 4, 0, 0, 64}, /* passed over */
	{IPPROTO_IP, IP_TTL, 0, 1, 0, 0, 64},
	{SOL_SOCKET, 9999, 1, 4, EINVAL, 0, 0},
};

static void one_message(int kind, int s, int r, struct sockaddr_storage *to,
			const struct expected *e)
{
	char data[32] = "";
	struct received got;

	memcpy(data, &e->value, 4);
	errno = 0;
	if (send_with(s, to, e->level, e->type, data, e->len) != (e->err ? -1 : 7) ||
	    (e->err && errno != e->err)) {
		printf("kind %d level %d type %d value %d length %zu: errno %d, expected %d\n",
		       kind, e->level, e->type, e->value, e->len, errno, e->err);
		check_failures++;
		return;
	}
	if (e->err)
		return;
	CHECK_EQ(receive(r, 256, &got), 7);
	CHECK(e->tos < 0 || (kind == V6 ? got.tclass : got.tos) == e->tos);
	CHECK_EQ(kind == V6 ? got.hops : got.ttl, e->ttl);
	/* An IPv6 socket shows an IPv4 packet's IPv4 side, and where it was sent to. */
	CHECK_EQ(kind == V6 ? got.tos : got.tclass, -1);
	CHECK_EQ(kind == V6 ? got.ttl : got.hops, -1);
	CHECK_EQ(got.pktinfo6, kind != V4);
	CHECK_EQ(got.pktinfo4 > 0, kind != V6);
	CHECK_EQ(got.flags & MSG_CTRUNC, 0);
}

static void header_fields(int kind)
{
	const struct expected *e = kind == V6 ? ip6 : ip4;
	size_t n = kind == V6 ? sizeof(ip6) / sizeof(*ip6) : sizeof(ip4) / sizeof(*ip4);
	struct sockaddr_storage to;
	int r = receiver(kind, &to), s = socket(to.ss_family, SOCK_DGRAM, 0);
	struct received got;

	for (size_t i = 0; i < n; i++)
		one_message(kind, s, r, &to, &e[i]);
	/* The message is for one packet only. */
	CHECK_EQ(sendto(s, "plain", 5, 0, (void *)&to,
			kind == V4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)),
		 5);
	CHECK_EQ(receive(r, CMSG_SPACE(4), &got), 5);
	CHECK_EQ(got.flags & MSG_CTRUNC, MSG_CTRUNC);
	close(s);
	close(r);
}

static void source_address(void)
{
	struct sockaddr_storage to, from;
	struct in_pktinfo pi = {.ipi_spec_dst.s_addr = htonl(0x7f000002)};
	struct in6_pktinfo pi6 = {.ipi6_addr = IN6ADDR_LOOPBACK_INIT};
	int r = receiver(V4, &to), s = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(from);
	char b[16];

	CHECK_EQ(send_with(s, &to, IPPROTO_IP, IP_PKTINFO, &pi, sizeof(pi)), 7);
	CHECK_EQ(recvfrom(r, b, sizeof(b), 0, (void *)&from, &len), 7);
	CHECK_EQ(((struct sockaddr_in *)(void *)&from)->sin_addr.s_addr, htonl(0x7f000002));
	pi.ipi_spec_dst.s_addr = htonl(0xc6336401); /* 198.51.100.1: not ours */
	/* EINVAL from older kernels */
	CHECK_EQ(send_with(s, &to, IPPROTO_IP, IP_PKTINFO, &pi, sizeof(pi)), -1);
	CHECK(errno == ENETUNREACH || errno == EINVAL);
	close(r);
	close(s);
	r = receiver(V6, &to);
	s = socket(AF_INET6, SOCK_DGRAM, 0);
	CHECK_EQ(send_with(s, &to, IPPROTO_IPV6, IPV6_PKTINFO, &pi6, sizeof(pi6)), 7);
	CHECK_EQ(recv(r, b, sizeof(b), 0), 7);
	pi6.ipi6_ifindex = 54321;
	CHECK_ERRNO(send_with(s, &to, IPPROTO_IPV6, IPV6_PKTINFO, &pi6, sizeof(pi6)), ENODEV);
	pi6 = (struct in6_pktinfo){.ipi6_addr.s6_addr = {0x20, 1, 0xd, 0xb8, [15] = 1}};
	CHECK_ERRNO(send_with(s, &to, IPPROTO_IPV6, IPV6_PKTINFO, &pi6, sizeof(pi6)), EINVAL);
	pi6 = (struct in6_pktinfo){.ipi6_addr.s6_addr = {0xfe, 0x80, [15] = 1}};
	CHECK_ERRNO(send_with(s, &to, IPPROTO_IPV6, IPV6_PKTINFO, &pi6, sizeof(pi6)), EINVAL);
	close(r);
	close(s);
}

static void segments(int kind)
{
	struct sockaddr_storage to;
	int r = receiver(kind, &to), s = socket(to.ss_family, SOCK_DGRAM, 0), size = 1000;
	uint16_t half = 1000;
	struct received got;

	CHECK_EQ(send_with(s, &to, IPPROTO_UDP, UDP_SEGMENT, &half, sizeof(half)), 2500);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(receive(r, 256, &got), i < 2 ? 1000 : 500);
	CHECK_ERRNO(send_with(s, &to, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), EINVAL);
	CHECK_ERRNO(send_with(s, &to, IPPROTO_UDP, 9999, &half, sizeof(half)), EINVAL);
	half = 5000; /* more than there is: one datagram */
	CHECK_EQ(send_with(s, &to, IPPROTO_UDP, UDP_SEGMENT, &half, sizeof(half)), 2500);
	CHECK_EQ(receive(r, 256, &got), 2500);
	close(r);
	close(s);
}

/* TCP looks at SOL_SOCKET's only. */
static void tcp(void)
{
	struct sockaddr_storage a;
	socklen_t len = address(V4, 0, &a);
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), v = 999;

	REQUIRE(bind(l, (void *)&a, len) == 0 && listen(l, 1) == 0);
	REQUIRE(getsockname(l, (void *)&a, &len) == 0 && connect(c, (void *)&a, len) == 0);
	CHECK_EQ(send_with(c, NULL, IPPROTO_IP, IP_TTL, &v, sizeof(v)), 7);
	CHECK_EQ(send_with(c, NULL, IPPROTO_IP, 9999, &v, 1), 7);
	CHECK_ERRNO(send_with(c, NULL, SOL_SOCKET, 9999, &v, sizeof(v)), EINVAL);
	close(c);
	close(l);
}

/* Lengths that do not add up. */
static void malformed(int kind)
{
	struct cmsghdr c[4] = {{.cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT}};
	struct sockaddr_storage to;
	int r = receiver(kind, &to), s = socket(to.ss_family, SOCK_DGRAM, 0);
	struct iovec iov = {"x", 1};
	struct msghdr m = {.msg_name = &to,
			   .msg_namelen = address(kind, 0, &(struct sockaddr_storage){0}),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = c,
			   .msg_controllen = sizeof(c)};

	c[0].cmsg_len = sizeof(c[0]) - 1;
	CHECK_ERRNO(sendmsg(s, &m, 0), EINVAL);
	c[0].cmsg_len = sizeof(c) + 1;
	CHECK_ERRNO(sendmsg(s, &m, 0), EINVAL);
	c[0].cmsg_len = SIZE_MAX;
	CHECK_ERRNO(sendmsg(s, &m, 0), EINVAL);
	m.msg_controllen = sizeof(c[0]) - 1; /* too short to hold any: none */
	CHECK_EQ(sendmsg(s, &m, 0), 1);
	close(r);
	close(s);
}

int main(void)
{
	for (int kind = 0; kind < KINDS; kind++) {
		header_fields(kind);
		segments(kind);
		malformed(kind);
	}
	source_address();
	tcp();
	CHECK_DONE();
}
