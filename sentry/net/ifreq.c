/* The ioctls about network interfaces (man 7 netdevice). Without a network there is the loopback.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

#include "sentry/kernel/task.h"
#include "sentry/net/socket.h"

#define LO_INDEX 1
#define LO_MTU 65536

static void set_ipv4(struct sockaddr *sa, uint32_t addr)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	in.sin_addr.s_addr = htonl(addr);
	memcpy(sa, &in, sizeof(in));
}

static int fill(struct ifreq *req, unsigned cmd)
{
	switch (cmd) {
	case SIOCGIFINDEX:
		req->ifr_ifindex = LO_INDEX;
		return 0;
	case SIOCGIFFLAGS:
		req->ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
		return 0;
	case SIOCGIFADDR:
		set_ipv4(&req->ifr_addr, INADDR_LOOPBACK);
		return 0;
	case SIOCGIFNETMASK:
		set_ipv4(&req->ifr_netmask, 0xff000000);
		return 0;
	case SIOCGIFBRDADDR:
	case SIOCGIFDSTADDR:
		set_ipv4(&req->ifr_addr, cmd == SIOCGIFDSTADDR ? INADDR_LOOPBACK : 0);
		return 0;
	case SIOCGIFMTU:
		req->ifr_mtu = LO_MTU;
		return 0;
	case SIOCGIFMETRIC:
		req->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		req->ifr_qlen = 1000;
		return 0;
	case SIOCGIFHWADDR:
		memset(&req->ifr_hwaddr, 0, sizeof(req->ifr_hwaddr));
		req->ifr_hwaddr.sa_family = ARPHRD_LOOPBACK;
		return 0;
	default:
		return -ENOIOCTLCMD;
	}
}

static long get_conf(uint64_t arg)
{
	struct {
		int len, pad;
		uint64_t buf;
	} conf;
	struct ifreq req = {0};

	if (get_user(&conf, arg))
		return -EFAULT;
	strcpy(req.ifr_name, "lo");
	set_ipv4(&req.ifr_addr, INADDR_LOOPBACK);
	if (!conf.buf) {
		conf.len = sizeof(req);
	} else if (conf.len >= (int)sizeof(req)) {
		if (copy_to_user(conf.buf, &req, sizeof(req)))
			return -EFAULT;
		conf.len = sizeof(req);
	} else {
		conf.len = 0;
	}
	return copy_to_user(arg, &conf, sizeof(conf));
}

long socket_interface_ioctl(struct socket *sock, unsigned cmd, uint64_t arg)
{
	struct ifreq req;
	int ret;

	(void)sock;
	if (cmd == SIOCGIFCONF)
		return get_conf(arg);
	if (cmd < SIOCGIFNAME || cmd > SIOCSIFTXQLEN)
		return -ENOIOCTLCMD;
	if (get_user(&req, arg))
		return -EFAULT;
	req.ifr_name[IFNAMSIZ - 1] = 0;
	if (cmd == SIOCGIFNAME) {
		if (req.ifr_ifindex != LO_INDEX)
			return -ENODEV;
		memset(req.ifr_name, 0, sizeof(req.ifr_name));
		strcpy(req.ifr_name, "lo");
		return copy_to_user(arg, &req, sizeof(req));
	}
	ret = fill(&req, cmd);
	if (ret == -ENOIOCTLCMD)
		return capable(CAP_NET_ADMIN) ? -EOPNOTSUPP : -EPERM;
	if (strcmp(req.ifr_name, "lo"))
		return -ENODEV;
	return copy_to_user(arg, &req, sizeof(req));
}
