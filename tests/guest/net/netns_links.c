/* Links between network namespaces (man 4 veth, man 7 rtnetlink, man 7 network_namespaces): made
 * across, moved, told of, gone with their namespace; who may do that; the numbers of namespaces. */
#include "net/rtnl.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static int here, there;	   /* descriptors of two namespaces */
static int ask, ask_there; /* sockets of these */

static int own_ns(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0);
	return fd;
}

static void wait_for(int s, int type, const char *name)
{
	struct pollfd p = {.fd = s, .events = POLLIN};
	char buf[8192];

	while (poll(&p, 1, 20000) == 1 && recv(s, buf, sizeof(buf), 0) > 0) {
		struct rtattr *a = rtnl_find(buf, sizeof(struct ifinfomsg), IFLA_IFNAME);

		if (((struct nlmsghdr *)buf)->nlmsg_type == type && a && !strcmp(RTA_DATA(a), name))
			return;
	}
	printf("nobody tells of %s (%d)\n", name, type);
	check_failures++;
}

static void links_are_made_across(void)
{
	char buf[8192];
	int index;

	CHECK_EQ(rtnl_add_veth(ask, "v0", "v1", IFLA_NET_NS_FD, there), 0);
	CHECK(rtnl_exists(ask, "v0") && !rtnl_exists(ask, "v1"));
	CHECK(rtnl_exists(ask_there, "v1") && !rtnl_exists(ask_there, "v0"));
	/* Each says where the other is: by its index there, and the number of the namespace. */
	REQUIRE(rtnl_get(ask_there, "v1", buf, sizeof(buf)) == 0);
	index = ((struct ifinfomsg *)NLMSG_DATA((struct nlmsghdr *)buf))->ifi_index;
	REQUIRE(rtnl_get(ask, "v0", buf, sizeof(buf)) == 0);
	CHECK_EQ(rtnl_value(buf, sizeof(struct ifinfomsg), IFLA_LINK), index);
	CHECK_EQ(rtnl_value(buf, sizeof(struct ifinfomsg), IFLA_LINK_NETNSID), 0);
	CHECK_EQ(rtnl_add_veth(ask, "v2", "v1", IFLA_NET_NS_FD, there), -EEXIST);
	CHECK(!rtnl_exists(ask, "v2"));
	/* One end takes the other with it. */
	CHECK_EQ(rtnl_del(ask_there, "v1"), 0);
	CHECK(!rtnl_exists(ask, "v0"));
	CHECK_EQ(rtnl_del(ask, "v0"), -ENODEV);
}

static void links_move(void)
{
	int told = rtnl_open(RTMGRP_LINK), told_there;
	char buf[8192];

	REQUIRE(setns(there, CLONE_NEWNET) == 0);
	told_there = rtnl_open(RTMGRP_LINK);
	REQUIRE(setns(here, CLONE_NEWNET) == 0);
	CHECK_EQ(rtnl_add_veth(ask, "m0", "m1", 0, 0), 0);
	wait_for(told, RTM_NEWLINK, "m1");
	CHECK_EQ(rtnl_move(ask, "m1", IFLA_NET_NS_FD, there), 0);
	wait_for(told, RTM_DELLINK, "m1");
	wait_for(told_there, RTM_NEWLINK, "m1");
	CHECK(rtnl_exists(ask_there, "m1") && !rtnl_exists(ask, "m1"));
	CHECK_EQ(rtnl_move(ask, "m1", IFLA_NET_NS_FD, there), -ENODEV);
	/* And back, by a process that is there; both ends are then in one namespace. */
	CHECK_EQ(rtnl_move(ask_there, "m1", IFLA_NET_NS_PID, getpid()), 0);
	wait_for(told_there, RTM_DELLINK, "m1");
	REQUIRE(rtnl_get(ask, "m1", buf, sizeof(buf)) == 0);
	CHECK(!rtnl_find(buf, sizeof(struct ifinfomsg), IFLA_LINK_NETNSID));
	/* To where it is. */
	CHECK_EQ(rtnl_move(ask, "m1", IFLA_NET_NS_FD, here), 0);
	CHECK(rtnl_exists(ask, "m1"));
	close(told);
	close(told_there);
}

static void what_is_no_namespace(void)
{
	int null = open("/dev/null", O_RDONLY), uts = open("/proc/self/ns/uts", O_RDONLY);

	CHECK_EQ(rtnl_move(ask, "m0", IFLA_NET_NS_FD, 987), -EBADF);
	CHECK_EQ(rtnl_move(ask, "m0", IFLA_NET_NS_FD, null), -EINVAL);
	CHECK_EQ(rtnl_move(ask, "m0", IFLA_NET_NS_FD, uts), -EINVAL);
	CHECK_EQ(rtnl_move(ask, "m0", IFLA_NET_NS_PID, 0x3ffffff0), -ESRCH);
	CHECK_EQ(rtnl_add_veth(ask, "n0", "n1", IFLA_NET_NS_PID, 0x3ffffff0), -ESRCH);
	CHECK_EQ(rtnl_move(ask, "lo", IFLA_NET_NS_FD, there), -EINVAL);
	CHECK(rtnl_exists(ask, "m0") && !rtnl_exists(ask, "n0"));
	/* The name is in use there. */
	CHECK_EQ(rtnl_add_veth(ask_there, "m0", "m9", 0, 0), 0);
	CHECK_EQ(rtnl_move(ask, "m0", IFLA_NET_NS_FD, there), -EEXIST);
	CHECK(rtnl_exists(ask, "m0"));
	CHECK_EQ(rtnl_del(ask_there, "m9"), 0);
	close(null);
	close(uts);
}

static int nsid(int type, int attr, int value, int id, int *out)
{
	struct rtnl_request r;
	char buf[4096];
	int ret;

	rtnl_begin(&r, type, 0, sizeof(struct rtgenmsg));
	if (type == RTM_GETNSID)
		r.h.nlmsg_flags = NLM_F_REQUEST;
	if (attr)
		rtnl_u32(&r, attr, value);
	if (type == RTM_NEWNSID)
		rtnl_u32(&r, NETNSA_NSID, id);
	ret = rtnl_ask(ask, &r, buf, sizeof(buf));
	if (!ret && out)
		*out = rtnl_value(buf, sizeof(struct rtgenmsg), NETNSA_NSID);
	return ret;
}

static void namespaces_have_numbers(void)
{
	int fd, id = 99;

	REQUIRE(unshare(CLONE_NEWNET) == 0);
	fd = own_ns();
	REQUIRE(setns(here, CLONE_NEWNET) == 0);
	CHECK_EQ(nsid(RTM_GETNSID, NETNSA_FD, fd, 0, &id), 0);
	CHECK_EQ(id, -1);
	CHECK_EQ(nsid(RTM_NEWNSID, NETNSA_FD, fd, 41, NULL), 0);
	CHECK_EQ(nsid(RTM_GETNSID, NETNSA_FD, fd, 0, &id), 0);
	CHECK_EQ(id, 41);
	CHECK_EQ(nsid(RTM_GETNSID, NETNSA_NSID, 41, 0, &id), 0);
	CHECK_EQ(nsid(RTM_NEWNSID, NETNSA_FD, fd, 42, NULL), -EEXIST);
	CHECK_EQ(nsid(RTM_NEWNSID, NETNSA_PID, getpid(), 41, NULL), -EEXIST);
	CHECK_EQ(nsid(RTM_GETNSID, NETNSA_NSID, 1234, 0, &id), -ENOENT);
	CHECK_EQ(nsid(RTM_GETNSID, NETNSA_FD, 987, 0, &id), -EBADF);
	CHECK_EQ(nsid(RTM_GETNSID, 0, 0, 0, &id), -EINVAL);
	CHECK_EQ(nsid(RTM_NEWNSID, 0, 0, 5, NULL), -EINVAL);
	/* It goes with the namespace, which Linux takes apart a little later. */
	close(fd);
	while (nsid(RTM_GETNSID, NETNSA_NSID, 41, 0, &id) != -ENOENT)
		usleep(10000);
}

/* The end of the only process of a namespace takes its links away, and the pairs that lead there.
 */
static void namespace_ends(void)
{
	int told = rtnl_open(RTMGRP_LINK), ready[2], status;
	pid_t pid;
	char c;

	REQUIRE(pipe(ready) == 0);
	pid = fork();
	if (!pid) {
		REQUIRE(unshare(CLONE_NEWNET) == 0);
		REQUIRE(write(ready[1], "x", 1) == 1);
		pause();
		_exit(0);
	}
	REQUIRE(read(ready[0], &c, 1) == 1);
	CHECK_EQ(rtnl_add_veth(ask, "e0", "e1", IFLA_NET_NS_PID, pid), 0);
	CHECK_EQ(rtnl_move(ask, "m0", IFLA_NET_NS_PID, pid), 0);
	kill(pid, SIGKILL);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	wait_for(told, RTM_DELLINK, "e0");
	while (rtnl_exists(ask, "e0") || rtnl_exists(ask, "m1"))
		usleep(10000);
	close(told);
}

/* Capabilities count over the owner of a namespace, the one where links come from and the one where
 * they are to be. */
static void who_may(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int mine, old = ask;

		if (unshare(CLONE_NEWUSER))
			_exit(0); /* not even that, here */
		CHECK_EQ(rtnl_add_veth(old, "p0", "p1", 0, 0), -EPERM);
		CHECK_EQ(nsid(RTM_NEWNSID, NETNSA_FD, there, 5, NULL), -EPERM);
		REQUIRE(unshare(CLONE_NEWNET) == 0);
		mine = rtnl_open(0);
		CHECK_EQ(rtnl_add_veth(mine, "p0", "p1", 0, 0), 0);
		CHECK_EQ(rtnl_move(mine, "p0", IFLA_NET_NS_FD, here), -EPERM);
		CHECK_EQ(rtnl_move(mine, "p0", IFLA_NET_NS_PID, getppid()), -EPERM);
		CHECK(rtnl_exists(mine, "p0"));
		_exit(check_failures != 0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	CHECK(!rtnl_exists(ask, "p0"));
}

int main(void)
{
	if (geteuid() || unshare(CLONE_NEWNET))
		return 0; /* it would be the host's */
	there = own_ns();
	ask_there = rtnl_open(0);
	REQUIRE(unshare(CLONE_NEWNET) == 0);
	here = own_ns();
	ask = rtnl_open(0);
	links_are_made_across();
	links_move();
	what_is_no_namespace();
	namespaces_have_numbers();
	namespace_ends();
	who_may();
	CHECK_DONE();
}
