/* Members of rtnetlink's groups are told of changes in their network namespace (man 7 rtnetlink).
 */
#include "check.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_netlink(unsigned groups)
{
	struct sockaddr_nl at = {.nl_family = AF_NETLINK, .nl_groups = groups};
	int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	REQUIRE(s >= 0);
	REQUIRE(bind(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	return s;
}

/* Adds 127.0.0.5/8 to the loopback, or removes it. */
static void change_address(int s, bool add)
{
	struct {
		struct nlmsghdr h;
		struct ifaddrmsg m;
		struct rtattr a;
		struct in_addr addr;
	} r = {
		.h = {.nlmsg_len = sizeof(r),
		      .nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE : 0)},
		.m = {.ifa_family = AF_INET,
		      .ifa_prefixlen = 8,
		      .ifa_scope = RT_SCOPE_HOST,
		      .ifa_index = 1},
		.a = {.rta_len = RTA_LENGTH(4), .rta_type = IFA_LOCAL},
	};
	struct nlmsgerr *e;
	char buf[4096];

	inet_pton(AF_INET, "127.0.0.5", &r.addr);
	REQUIRE(send(s, &r, sizeof(r), 0) == (ssize_t)sizeof(r));
	REQUIRE(recv(s, buf, sizeof(buf), 0) > 0);
	e = NLMSG_DATA((struct nlmsghdr *)buf);
	CHECK_EQ(((struct nlmsghdr *)buf)->nlmsg_type, NLMSG_ERROR);
	CHECK_EQ(e->error, 0);
}

static void set_mtu(int s, int mtu)
{
	struct ifreq ifr = {.ifr_name = "lo", .ifr_mtu = mtu};

	CHECK_EQ(ioctl(s, SIOCSIFMTU, &ifr), 0);
}

/* Waits for a message of the type about 127.0.0.5 (or a link's of that MTU); others are passed
 * over. Checks who it is from. 0: there is none. */
static int wait_for(int s, int type, unsigned group, uint32_t value)
{
	struct pollfd p = {.fd = s, .events = POLLIN};
	struct sockaddr_nl from;
	socklen_t len = sizeof(from);
	char buf[8192];
	ssize_t n;

	while (poll(&p, 1, 10000) == 1 &&
	       (n = recvfrom(s, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len)) > 0) {
		struct nlmsghdr *h = (struct nlmsghdr *)buf;
		size_t body =
			type == RTM_NEWLINK ? sizeof(struct ifinfomsg) : sizeof(struct ifaddrmsg);
		struct rtattr *a = (struct rtattr *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(body));
		int left = (int)h->nlmsg_len - (int)NLMSG_SPACE(body);

		if (h->nlmsg_type != type)
			continue;
		for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
			if (a->rta_type == (type == RTM_NEWLINK ? IFLA_MTU : IFA_LOCAL) &&
			    !memcmp(RTA_DATA(a), &value, 4)) {
				CHECK_EQ(from.nl_pid, 0);
				CHECK_EQ(from.nl_groups, group);
				return 1;
			}
	}
	return 0;
}

int main(void)
{
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	uint32_t address = inet_addr("127.0.0.5");
	int addresses, links, asks, later, group = RTNLGRP_LINK;
	char c;

	if (geteuid() || unshare(CLONE_NEWNET))
		return 0; /* it would be the host's */
	asks = open_netlink(0);
	later = open_netlink(0);
	CHECK_EQ(ioctl(asks, SIOCSIFFLAGS, &up), 0);
	addresses = open_netlink(RTMGRP_IPV4_IFADDR);
	links = open_netlink(RTMGRP_LINK);

	change_address(asks, true);
	CHECK(wait_for(addresses, RTM_NEWADDR, RTMGRP_IPV4_IFADDR, address));
	change_address(asks, false);
	CHECK(wait_for(addresses, RTM_DELADDR, RTMGRP_IPV4_IFADDR, address));

	set_mtu(asks, 1400);
	CHECK(wait_for(links, RTM_NEWLINK, RTMGRP_LINK, 1400));
	/* Not to those who are in other groups, or in none. */
	CHECK_ERRNO(recv(addresses, &c, 1, MSG_DONTWAIT), EAGAIN);
	CHECK_ERRNO(recv(later, &c, 1, MSG_DONTWAIT), EAGAIN);

	/* A group that is joined, and left. */
	CHECK_EQ(setsockopt(later, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
	set_mtu(asks, 1500);
	CHECK(wait_for(later, RTM_NEWLINK, RTMGRP_LINK, 1500));
	CHECK_EQ(setsockopt(later, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, &group, sizeof(group)), 0);
	while (recv(later, &c, 1, MSG_DONTWAIT) > 0)
		;
	set_mtu(asks, 1600);
	CHECK(wait_for(links, RTM_NEWLINK, RTMGRP_LINK, 1600));
	CHECK_ERRNO(recv(later, &c, 1, MSG_DONTWAIT), EAGAIN);

	/* Another namespace's changes are not told. */
	while (recv(links, &c, 1, MSG_DONTWAIT) > 0)
		;
	REQUIRE(unshare(CLONE_NEWNET) == 0);
	set_mtu(open_netlink(0), 1700);
	CHECK_ERRNO(recv(links, &c, 1, MSG_DONTWAIT), EAGAIN);
	CHECK_DONE();
}
