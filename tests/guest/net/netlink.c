/* What programs ask about network interfaces: rtnetlink, and the ioctls. Other interfaces than the
 * loopback may exist. */
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static void libc_functions(void)
{
	struct if_nameindex *names = if_nameindex();
	struct ifaddrs *all, *a;
	int lo = 0, v4 = 0;

	REQUIRE(names);
	for (int i = 0; names[i].if_index; i++)
		if (!strcmp(names[i].if_name, "lo"))
			lo = (int)names[i].if_index;
	CHECK(lo > 0);
	if_freenameindex(names);
	REQUIRE(getifaddrs(&all) == 0);
	for (a = all; a; a = a->ifa_next)
		if (!strcmp(a->ifa_name, "lo") && a->ifa_addr &&
		    a->ifa_addr->sa_family == AF_INET) {
			v4++;
			CHECK(a->ifa_flags & IFF_LOOPBACK);
			CHECK_EQ(
				ntohl(((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr.s_addr),
				INADDR_LOOPBACK);
		}
	CHECK_EQ(v4, 1);
	freeifaddrs(all);
}

static void raw_requests(void)
{
	struct {
		struct nlmsghdr hdr;
		struct ifinfomsg info;
	} req = {{sizeof(req), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 77, 0}, {0}};
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	socklen_t len = sizeof(addr);
	static char buf[65536] __attribute__((aligned(8)));
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), done = 0;

	REQUIRE(s >= 0);
	CHECK_EQ(bind(s, (void *)&addr, sizeof(addr)), 0);
	CHECK_EQ(getsockname(s, (void *)&addr, &len), 0);
	CHECK_EQ(len, sizeof(addr));
	CHECK(addr.nl_pid != 0);
	CHECK_ERRNO(recv(s, buf, 10, MSG_DONTWAIT), EAGAIN);
	CHECK_EQ(send(s, &req, sizeof(req), 0), sizeof(req));
	while (!done) {
		ssize_t n = recv(s, buf, sizeof(buf), 0);

		REQUIRE(n > 0);
		for (struct nlmsghdr *m = h; NLMSG_OK(m, (unsigned)n); m = NLMSG_NEXT(m, n)) {
			CHECK_EQ(m->nlmsg_seq, 77);
			CHECK_EQ(m->nlmsg_pid, addr.nl_pid);
			if (m->nlmsg_type == NLMSG_DONE)
				done = 1;
			else
				CHECK_EQ(m->nlmsg_type, RTM_NEWLINK);
		}
	}
	/* One link that does not exist. */
	req.hdr.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	req.info.ifi_index = 99999;
	CHECK_EQ(send(s, &req, sizeof(req), 0), sizeof(req));
	CHECK(recv(s, buf, sizeof(buf), 0) > 0);
	CHECK_EQ(h->nlmsg_type, NLMSG_ERROR);
	CHECK_EQ(((struct nlmsgerr *)NLMSG_DATA(h))->error, -ENODEV);
	close(s);
	CHECK_ERRNO(socket(AF_NETLINK, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
	CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, 99), EPROTONOSUPPORT);
}

static void ioctls(void)
{
	struct ifreq r = {0};
	int s = socket(AF_UNIX, SOCK_DGRAM, 0);

	strcpy(r.ifr_name, "lo");
	CHECK_EQ(ioctl(s, SIOCGIFFLAGS, &r), 0);
	CHECK(r.ifr_flags & IFF_LOOPBACK);
	CHECK_EQ(ioctl(s, SIOCGIFINDEX, &r), 0);
	CHECK_EQ(r.ifr_ifindex, (int)if_nametoindex("lo"));
	CHECK_EQ(ioctl(s, SIOCGIFMTU, &r), 0);
	CHECK_EQ(r.ifr_mtu, 65536);
	strcpy(r.ifr_name, "nope0");
	CHECK_ERRNO(ioctl(s, SIOCGIFFLAGS, &r), ENODEV);
	close(s);
}

int main(void)
{
	libc_functions();
	raw_requests();
	ioctls();
	CHECK_DONE();
}
