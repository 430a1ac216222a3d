#include "device.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef IFLA_INFO_DATA
#include <linux/if_link.h>
#endif

static const uint8_t our_mac[6] = {2, 9, 0, 0, 0, 1};

/* ------------------------------------------------------------------------------ namespace */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

bool device_namespace(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];

	if (uid == 0 && unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		fprintf(stderr, "no network namespace for the test: %s\n", strerror(errno));
		return false;
	}
	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map);
}

/* ------------------------------------------------------------------------------ rtnetlink */

struct request {
	struct nlmsghdr n;
	char body[512];
};

static void *put_attr(struct request *r, int type, const void *data, size_t len)
{
	struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->n.nlmsg_len));

	a->rta_type = type;
	a->rta_len = RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(a), data, len);
	r->n.nlmsg_len = NLMSG_ALIGN(r->n.nlmsg_len) + RTA_ALIGN(a->rta_len);
	return a;
}

static void end_attr(struct request *r, void *start)
{
	((struct rtattr *)start)->rta_len = (char *)r + r->n.nlmsg_len - (char *)start;
}

static void *put_body(struct request *r, int type, int flags, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->n.nlmsg_type = type;
	r->n.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	r->n.nlmsg_len = NLMSG_LENGTH(len);
	return NLMSG_DATA(&r->n);
}

static void send_request(struct request *r)
{
	struct {
		struct nlmsghdr n;
		struct nlmsgerr e;
		char more[1024];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	assert_true(fd >= 0);
	assert_int_equal(send(fd, r, r->n.nlmsg_len, 0), r->n.nlmsg_len);
	assert_true(recv(fd, &answer, sizeof(answer), 0) >=
		    (ssize_t)NLMSG_LENGTH(sizeof(answer.e)));
	assert_int_equal(answer.n.nlmsg_type, NLMSG_ERROR);
	assert_int_equal(answer.e.error, 0);
	close(fd);
}

static void add_veth(const char *a, const char *b)
{
	struct ifinfomsg none = {0};
	void *info, *data, *peer;
	struct request r;

	put_body(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	put_attr(&r, IFLA_IFNAME, a, strlen(a) + 1);
	info = put_attr(&r, IFLA_LINKINFO, NULL, 0);
	put_attr(&r, IFLA_INFO_KIND, "veth", 4);
	data = put_attr(&r, IFLA_INFO_DATA, NULL, 0);
	peer = put_attr(&r, VETH_INFO_PEER, &none, sizeof(none));
	put_attr(&r, IFLA_IFNAME, b, strlen(b) + 1);
	end_attr(&r, peer);
	end_attr(&r, data);
	end_attr(&r, info);
	send_request(&r);
}

static void delete_link(const char *name)
{
	struct ifinfomsg *i;
	struct request r;

	i = put_body(&r, RTM_DELLINK, 0, sizeof(*i));
	i->ifi_index = if_nametoindex(name);
	if (i->ifi_index)
		send_request(&r);
}

static void set_up(const char *name)
{
	struct ifinfomsg *i;
	struct request r;

	i = put_body(&r, RTM_NEWLINK, 0, sizeof(*i));
	i->ifi_index = if_nametoindex(name);
	i->ifi_flags = i->ifi_change = IFF_UP;
	send_request(&r);
}

static void set_link(const char *name, int attribute, unsigned value)
{
	struct ifinfomsg *i;
	struct request r;

	i = put_body(&r, RTM_NEWLINK, 0, sizeof(*i));
	i->ifi_index = if_nametoindex(name);
	put_attr(&r, attribute, &value, 4);
	send_request(&r);
}

/* Until then Linux drops what it would send. */
static void wait_running(const char *name)
{
	struct ifreq ifr = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(ifr.ifr_name, name, strnlen(name, IFNAMSIZ));
	for (int i = 0; i < 10000 && !(ifr.ifr_flags & IFF_RUNNING); i++) {
		usleep(1000);
		assert_return_code(ioctl(fd, SIOCGIFFLAGS, &ifr), errno);
	}
	assert_true(ifr.ifr_flags & IFF_RUNNING);
	close(fd);
}

static void add_address(const char *name, int family)
{
	struct sockaddr_storage a;
	struct ifaddrmsg *m;
	struct request r;
	unsigned flags = IFA_F_NODAD;

	device_addr(family, 1, 0, &a);
	m = put_body(&r, RTM_NEWADDR, NLM_F_CREATE, sizeof(*m));
	m->ifa_family = family;
	m->ifa_prefixlen = family == AF_INET ? 24 : 64;
	m->ifa_index = if_nametoindex(name);
	put_attr(&r, IFA_FLAGS, &flags, 4);
	if (family == AF_INET)
		put_attr(&r, IFA_LOCAL, &((struct sockaddr_in *)&a)->sin_addr, 4);
	else
		put_attr(&r, IFA_LOCAL, &((struct sockaddr_in6 *)&a)->sin6_addr, 16);
	send_request(&r);
}

/* ------------------------------------------------------------------------------ devices */

static void open_tap(struct device *d)
{
	const struct device_config *c = d->c;
	unsigned flags = IFF_TAP | IFF_NO_PI | (c->vnet_hdr ? IFF_VNET_HDR : 0) |
			 (d->queues > 1 ? IFF_MULTI_QUEUE : 0);

	for (unsigned i = 0; i < d->queues; i++) {
		struct ifreq ifr = {.ifr_flags = flags};

		memcpy(ifr.ifr_name, d->near, IFNAMSIZ);
		d->fds[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
		assert_return_code(d->fds[i], errno);
		assert_return_code(ioctl(d->fds[i], TUNSETIFF, &ifr), errno);
		if (c->sndbuf)
			assert_return_code(ioctl(d->fds[i], TUNSETSNDBUF, &c->sndbuf), errno);
	}
	memcpy(d->far, d->near, IFNAMSIZ);
}

static void open_packet(struct device *d)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int one = 1, fanout = 7 | PACKET_FANOUT_HASH << 16, size = 4 << 20;

	add_veth(d->near, d->far);
	ll.sll_ifindex = if_nametoindex(d->near);
	for (unsigned i = 0; i < d->queues; i++) {
		int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

		assert_true(fd >= 0);
		if (d->c->vnet_hdr)
			assert_return_code(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, 4),
					   errno);
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, 4);
		if (d->c->sndbuf)
			setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &d->c->sndbuf, 4);
		assert_return_code(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), errno);
		if (d->queues > 1)
			assert_return_code(setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, 4),
					   errno);
		d->fds[i] = fd;
	}
}

static void open_devices(struct device *d)
{
	struct ifreq ifr = {0};
	static unsigned serial;
	int fd;

	snprintf(d->near, sizeof(d->near), "near%u", serial);
	snprintf(d->far, sizeof(d->far), "far%u", serial++);
	if (d->c->tap)
		open_tap(d);
	else
		open_packet(d);
	if (d->c->mtu) {
		set_link(d->near, IFLA_MTU, d->c->mtu);
		set_link(d->far, IFLA_MTU, d->c->mtu);
	}
	if (d->c->no_gso)
		set_link(d->far, IFLA_GSO_MAX_SEGS, 1);
	set_up(d->near);
	set_up(d->far);
	wait_running(d->near);
	wait_running(d->far);
	add_address(d->far, AF_INET);
	add_address(d->far, AF_INET6);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(ifr.ifr_name, d->far, IFNAMSIZ);
	assert_return_code(ioctl(fd, SIOCGIFHWADDR, &ifr), errno);
	memcpy(d->far_mac, ifr.ifr_hwaddr.sa_data, 6);
	close(fd);
}

/* ------------------------------------------------------------------------------ pumps */

static void *pump(void *arg)
{
	struct device_pump *p = arg;
	struct device *d = p->d;
	struct pollfd w = {.fd = -1, .events = POLLIN};

	while (!atomic_load(&d->stop)) {
		int n;

		if (atomic_load(&d->pause)) {
			atomic_fetch_add(&d->paused, 1);
			while (atomic_load(&d->pause))
				usleep(200);
			atomic_fetch_sub(&d->paused, 1);
		}
		n = net_link_fd_poll(d->link, p->queue, 256);
		if (p->queue == 0)
			net_wheel_run(d->wheel);
		if (n == -ENETDOWN) {
			atomic_fetch_add(&d->removed, 1);
			break;
		}
		w.fd = net_link_fd_wait_fd(d->link, p->queue);
		if (n <= 0)
			poll(&w, 1, 1);
	}
	/* The timers go on when the link is gone. */
	while (p->queue == 0 && !atomic_load(&d->stop)) {
		net_wheel_run(d->wheel);
		usleep(1000);
	}
	return NULL;
}

void device_pause(struct device *d)
{
	atomic_store(&d->pause, true);
	while (atomic_load(&d->paused) != (int)d->queues)
		usleep(200);
}

void device_resume(struct device *d)
{
	atomic_store(&d->pause, false);
	while (atomic_load(&d->paused))
		usleep(200);
}

/* ------------------------------------------------------------------------------ life */

/* The open device, of which there is one at a time. */
static struct device *current;

static void *count_alloc(void *ctx, size_t n)
{
	atomic_fetch_add(&current->allocated, 1);
	return malloc(n);
}

static void count_free(void *ctx, void *p)
{
	if (p)
		atomic_fetch_sub(&current->allocated, 1);
	free(p);
}

static void add_our_address(struct device *d, int family)
{
	struct net_addr_info a = {.ifindex = 2, .family = family, .flags = IFA_F_NODAD};
	struct sockaddr_storage s;

	device_addr(family, 0, 0, &s);
	a.prefix = family == AF_INET ? 24 : 64;
	if (family == AF_INET)
		memcpy(&a.addr, &((struct sockaddr_in *)&s)->sin_addr, 4);
	else
		memcpy(&a.addr, &((struct sockaddr_in6 *)&s)->sin6_addr, 16);
	assert_int_equal(net_addr_add(d->stack, &a), 0);
}

/* Does this kernel have all that rings need, and let us? */
static bool rings_must_work(void)
{
	unsigned major, minor;
	struct utsname u;
	struct io_uring ring;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2 ||
	    major * 100 + minor < 607 || io_uring_queue_init(4, &ring, 0) < 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

static void open_stack(struct device *d)
{
	const struct device_config *c = d->c;
	struct net_fd_config fc = {
		.link = {.features = c->features, .txqlen = c->txqlen, .mtu = c->mtu},
		.nfds = d->queues,
		.is_tap = c->tap,
		.vnet_hdr = c->vnet_hdr,
		.mode = c->mode};
	struct net_config nc;
	int why;

	assert_int_equal(net_wheel_create(&d->env, NULL, NULL, &d->wheel), 0);
	d->env.alloc = count_alloc;
	d->env.free = count_free;
	nc = (struct net_config){.env = d->env, .memory_limit = c->memory_limit};
	assert_int_equal(netstack_create(&nc, &d->stack), 0);
	memcpy(fc.fds, d->fds, sizeof(d->fds));
	memcpy(fc.link.addr, our_mac, 6);
	assert_int_equal(net_link_add_fd(d->stack, &fc, &d->link), 0);
	if (net_link_fd_mode(d->link, &why) != c->mode) {
		assert_false(rings_must_work());
		print_message("[  NOTE    ] %s: without io_uring: %s\n", c->name, strerror(-why));
	}
	assert_int_equal(net_link_set_flags(d->link, IFF_UP, IFF_UP), 0);
	add_our_address(d, AF_INET);
	add_our_address(d, AF_INET6);
}

static void stop_pumps(struct device *d)
{
	atomic_store(&d->pause, false);
	atomic_store(&d->stop, true);
	for (unsigned i = 0; i < d->running; i++)
		pthread_join(d->pump[i].thread, NULL);
	d->running = 0;
}

struct device *device_open(const struct device_config *c)
{
	struct device *d = calloc(1, sizeof(*d));

	/* A test that failed has left its device behind. */
	if (current) {
		stop_pumps(current);
		delete_link(current->far);
	}
	assert_non_null(d);
	d->c = c;
	d->queues = c->queues ? c->queues : 1;
	memset(d->fds, -1, sizeof(d->fds));
	current = d;
	open_devices(d);
	open_stack(d);
	for (unsigned i = 0; i < d->queues; i++) {
		d->pump[i] = (struct device_pump){.d = d, .queue = i};
		pthread_create(&d->pump[i].thread, NULL, pump, &d->pump[i]);
		d->running++;
	}
	return d;
}

void device_close(struct device *d)
{
	stop_pumps(d);
	netstack_destroy(d->stack);
	net_link_put(d->link);
	assert_int_equal(atomic_load(&d->allocated), 0);
	net_wheel_destroy(d->wheel);
	for (unsigned i = 0; i < d->queues; i++)
		if (d->fds[i] >= 0)
			close(d->fds[i]);
	if (!d->c->tap)
		delete_link(d->far);
	current = NULL;
	free(d);
}

const char *device_mode_name(enum net_fd_mode mode)
{
	static const char *const names[] = {[NET_FD_AUTO] = "automatic",
					    [NET_FD_MMSG] = "system calls",
					    [NET_FD_URING] = "io_uring"};

	return names[mode];
}

void device_set_mtu(struct device *d, unsigned mtu)
{
	set_link(d->far, IFLA_MTU, mtu);
	if (!d->c->tap)
		set_link(d->near, IFLA_MTU, mtu);
	assert_int_equal(net_link_set_mtu(d->link, mtu), 0);
}

socklen_t device_addr(int family, int side, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	out->ss_family = family;
	if (family == AF_INET) {
		struct sockaddr_in *a = (struct sockaddr_in *)out;

		a->sin_port = htons(port);
		a->sin_addr.s_addr = htonl(0x0a090001u + side);
		return sizeof(*a);
	}
	struct sockaddr_in6 *a = (struct sockaddr_in6 *)out;

	a->sin6_port = htons(port);
	a->sin6_addr.s6_addr[0] = 0xfd;
	a->sin6_addr.s6_addr[1] = 0x09;
	a->sin6_addr.s6_addr[15] = 1 + side;
	return sizeof(*a);
}

int linux_socket(int family, int type, uint16_t port)
{
	struct timeval limit = {.tv_sec = 30};
	struct sockaddr_storage a;
	socklen_t len = device_addr(family, 1, port, &a);
	int fd = socket(family, type | SOCK_CLOEXEC, 0), one = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert_return_code(bind(fd, (struct sockaddr *)&a, len), errno);
	if (type == SOCK_STREAM)
		assert_return_code(listen(fd, 4), errno);
	return fd;
}
