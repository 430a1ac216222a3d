/* What fd links do beside carrying data: VLAN tags, merging, removal, and what rings may do. */
#include "device.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/seccomp.h>
#include <linux/tcp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "netstack/device/link_uring_internal.h"

#define LIMIT (60 * SEC)
#define OFFLOADS (NET_F_CSUM | NET_F_TSO4 | NET_F_TSO6 | NET_F_USO)

static ssize_t receive_ours(struct net_ep *ep, void *p, size_t n)
{
	int64_t end = monotonic_ns() + LIMIT;
	ssize_t k;

	while ((k = ep_recv(ep, p, n)) == -EAGAIN && monotonic_ns() < end)
		usleep(200);
	return k;
}

static struct net_ep *udp_ours(struct device *d, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len = device_addr(AF_INET, 0, port, &a);
	struct net_ep *ep;

	assert_int_equal(net_ep_create(d->stack, AF_INET, SOCK_DGRAM, 0, NULL, NULL, &ep), 0);
	assert_int_equal(net_ep_bind(ep, (struct sockaddr *)&a, len), 0);
	return ep;
}

/* ------------------------------------------------------------------------------ VLAN */

static uint16_t ip_sum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t sum = 0;

	for (size_t i = 0; i < n; i += 2)
		sum += b[i] << 8 | b[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum & 0xffff);
}

/* A datagram with one byte for 10.9.0.1:7200, behind a VLAN tag unless vlan is negative. */
static void send_tagged(struct device *d, int fd, int vlan, char byte)
{
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .ttl = 64,
			   .protocol = IPPROTO_UDP,
			   .tot_len = htons(29),
			   .saddr = htonl(0x0a090002),
			   .daddr = htonl(0x0a090001)};
	struct udphdr uh = {.source = htons(1), .dest = htons(7200), .len = htons(9)};
	uint8_t frame[64] = {2, 9, 0, 0, 0, 1};
	size_t n = 12;

	ip.check = ip_sum(&ip, sizeof(ip));
	memcpy(frame + 6, d->far_mac, 6);
	if (vlan >= 0) {
		frame[n++] = 0x81;
		frame[n++] = 0x00;
		frame[n++] = vlan >> 8;
		frame[n++] = vlan & 0xff;
	}
	frame[n++] = 0x08;
	frame[n++] = 0x00;
	memcpy(frame + n, &ip, sizeof(ip));
	memcpy(frame + n + 20, &uh, sizeof(uh));
	frame[n + 28] = byte;
	assert_int_equal(send(fd, frame, sizeof(frame), 0), sizeof(frame));
}

static void vlan_tags_are_passed_or_dropped(void **state)
{
	struct device *d = device_open(*state);
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(d->far)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct net_ep *ep = udp_ours(d, 7200);
	struct net_link_info before, after;
	char c = 0;

	assert_return_code(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), errno);
	net_link_info(d->link, &before);
	send_tagged(d, fd, 5, 'a');
	send_tagged(d, fd, 0x6000, 'b'); /* priority only */
	send_tagged(d, fd, -1, 'c');
	if (d->c->features & NET_F_VLAN) {
		assert_int_equal(receive_ours(ep, &c, 1), 1);
		assert_int_equal(c, 'a');
	}
	assert_int_equal(receive_ours(ep, &c, 1), 1);
	assert_int_equal(c, 'b');
	assert_int_equal(receive_ours(ep, &c, 1), 1);
	assert_int_equal(c, 'c');
	net_link_info(d->link, &after);
	if (!(d->c->features & NET_F_VLAN))
		assert_true(after.stats.rx_dropped > before.stats.rx_dropped);
	net_ep_close(ep);
	close(fd);
	device_close(d);
}

/* ------------------------------------------------------------------------------ GRO */

static struct net_ep *connect_ours(struct device *d, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len = device_addr(AF_INET, 1, port, &a);
	int64_t end = monotonic_ns() + LIMIT;
	struct net_ep *ep;
	int err;

	assert_int_equal(net_ep_create(d->stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &ep), 0);
	do {
		err = net_ep_connect(ep, (struct sockaddr *)&a, len);
		usleep(100);
	} while ((err == -EINPROGRESS || err == -EALREADY) && monotonic_ns() < end);
	assert_int_equal(err, 0);
	return ep;
}

static unsigned segments_sent(int fd)
{
	struct tcp_info i = {0};
	socklen_t len = sizeof(i);

	assert_return_code(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len), errno);
	return i.tcpi_data_segs_out;
}

/* Linux sends its first flight while nobody looks; then it is read in one batch. */
static void segments_of_a_batch_are_merged(void **state)
{
	struct device *d = device_open(*state);
	int listener = linux_socket(AF_INET, SOCK_STREAM, 7300), fd;
	struct net_ep *ep = connect_ours(d, 7300);
	struct net_link_info before, after;
	static char out[8 * 1448], in[sizeof(out)];
	size_t got = 0;

	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = i * 7 + (i >> 8);
	usleep(50000); /* the handshake's last words */
	device_pause(d);
	net_link_info(d->link, &before);
	assert_int_equal(send(fd, out, sizeof(out), 0), sizeof(out));
	for (int i = 0; i < 10000 && segments_sent(fd) < 8; i++)
		usleep(1000);
	assert_true(segments_sent(fd) >= 8);
	device_resume(d);
	while (got < sizeof(in)) {
		ssize_t n = receive_ours(ep, in + got, sizeof(in) - got);

		assert_true(n > 0);
		got += n;
	}
	assert_memory_equal(in, out, sizeof(in));
	net_link_info(d->link, &after);
	/* Eight segments of 1448 bytes in one or two packets; a stray one is allowed for. */
	if (d->c->features & NET_F_GRO)
		assert_in_range(after.stats.rx_packets - before.stats.rx_packets, 1, 4);
	else
		assert_true(after.stats.rx_packets - before.stats.rx_packets >= 8);
	net_ep_close(ep);
	close(fd);
	close(listener);
	device_close(d);
}

/* ------------------------------------------------------------------------------ removal */

struct flood {
	pthread_t thread;
	struct net_ep *ep; /* ours, or: */
	int fd;
	bool sends;
	atomic_bool *stop;
	atomic_size_t bytes;
};

static void *flood(void *arg)
{
	struct flood *f = arg;
	static char zero[65536];
	char *buf = malloc(65536);
	ssize_t n;

	while (!atomic_load(f->stop)) {
		if (f->ep)
			n = f->sends ? ep_send(f->ep, zero, 65536) : ep_recv(f->ep, buf, 65536);
		else
			n = f->sends ? send(f->fd, zero, 65536, MSG_DONTWAIT | MSG_NOSIGNAL)
				     : recv(f->fd, buf, 65536, MSG_DONTWAIT);
		if (n > 0)
			atomic_fetch_add(&f->bytes, n);
		else
			usleep(100);
	}
	free(buf);
	return NULL;
}

/* Who has the numbers of the link's fds next must not get frames, or lose anything. */
static void check_fds_are_left_alone(int near[2], int far[2])
{
	struct pollfd p = {.fd = far[1], .events = POLLIN};
	char c;

	assert_int_equal(poll(&p, 1, 100), 0);
	assert_int_equal(write(far[1], "x", 1), 1);
	assert_int_equal(poll(&p, 1, 100), 0);
	assert_int_equal(recv(near[0], &c, 1, MSG_DONTWAIT), 1);
}

static void remove_once(const struct device_config *c, int wait_us)
{
	struct device *d = device_open(c);
	int listener = linux_socket(AF_INET, SOCK_STREAM, 7400), pair[2], fd[2];
	struct net_ep *ep[2];
	struct flood f[4] = {0};
	atomic_bool stop = false;

	for (int i = 0; i < 2; i++) {
		ep[i] = connect_ours(d, 7400);
		fd[i] = accept(listener, NULL, NULL);
		assert_true(fd[i] >= 0);
		f[2 * i].ep = ep[i];
		f[2 * i + 1].fd = fd[i];
		f[2 * i].sends = i;
		f[2 * i + 1].sends = !i;
	}
	for (int i = 0; i < 4; i++) {
		f[i].stop = &stop;
		pthread_create(&f[i].thread, NULL, flood, &f[i]);
	}
	for (int i = 0; i < 60000 && (!f[0].bytes || !f[3].bytes); i++)
		usleep(1000);
	usleep(wait_us);
	assert_int_equal(net_link_remove(d->link), 0);
	for (unsigned i = 0; i < d->queues; i++)
		close(d->fds[i]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pair[0], d->fds[0]);
	check_fds_are_left_alone(pair, pair);
	close(pair[0]);
	close(pair[1]);
	memset(d->fds, -1, sizeof(d->fds));
	assert_int_equal(net_link_remove(d->link), -ENODEV);
	/* Every thread that polls hears of it, also those that wait on the link's fd. */
	for (int i = 0; i < 60000 && atomic_load(&d->removed) < (int)d->queues; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&d->removed), d->queues);
	atomic_store(&stop, true);
	for (int i = 0; i < 4; i++)
		pthread_join(f[i].thread, NULL);
	assert_true(f[0].bytes && f[3].bytes);
	for (int i = 0; i < 2; i++) {
		net_ep_close(ep[i]);
		close(fd[i]);
	}
	close(listener);
	device_close(d);
}

static void link_is_removed_with_traffic_in_flight(void **state)
{
	for (int i = 0; i < 3; i++)
		remove_once(*state, i * 1777);
}

/* A thread that only waits, and never polled, finds the fd readable after removal. */
static void removal_wakes_who_waits(void **state)
{
	struct device *d = device_open(*state);
	struct pollfd p = {.events = POLLIN};

	device_pause(d);
	p.fd = net_link_fd_wait_fd(d->link, 0);
	assert_int_equal(net_link_remove(d->link), 0);
	if (net_link_fd_mode(d->link, NULL) == NET_FD_URING) {
		assert_int_equal(poll(&p, 1, 0), 1);
		assert_int_equal(fcntl(p.fd, F_GETFD), FD_CLOEXEC);
	}
	assert_int_equal(net_link_fd_poll(d->link, 0, 1), -ENETDOWN);
	device_resume(d);
	device_close(d);
}

/* ------------------------------------------------------------------------------ io_uring */

static int one_result(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int r;

	assert_true(io_uring_submit(ring) >= 0);
	do {
		assert_int_equal(io_uring_wait_cqe(ring, &cqe), 0);
		r = cqe->user_data == 77 ? cqe->res : 1;
		io_uring_cqe_seen(ring, cqe);
	} while (r == 1);
	return r;
}

static int attempt(struct io_uring *ring, int op, unsigned flags, int fd)
{
	static struct msghdr m;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	assert_non_null(sqe);
	io_uring_prep_rw(op, sqe, fd, &m, 0, 0);
	sqe->flags = flags;
	sqe->user_data = 77;
	return one_result(ring);
}

static void rings_do_what_they_must_and_nothing_else(void **state)
{
	struct device *d = device_open(*state);
	struct fd_link *f = d->link->priv;
	struct io_uring *ring[2];
	bool tap = d->c->tap;
	int why, fd = d->fds[0];

	if (net_link_fd_mode(d->link, &why) != NET_FD_URING) {
		/* The one reason for it: an old kernel. */
		assert_true(why == -EOPNOTSUPP || why == -ENOSYS || why == -EINVAL ||
			    why == -EPERM);
		device_close(d);
		return;
	}
	device_pause(d);
	ring[0] = &f->queue[0]->uring_rx->ring;
	ring[1] = &f->queue[0]->uring_tx->ring;
	for (int i = 0; i < 2; i++) {
		static const int ops[] = {
			IORING_OP_NOP,	    IORING_OP_OPENAT, IORING_OP_READ,
			IORING_OP_WRITE,    IORING_OP_SOCKET, IORING_OP_CONNECT,
			IORING_OP_ACCEPT,   IORING_OP_SEND,   IORING_OP_RECV,
			IORING_OP_POLL_ADD, IORING_OP_CLOSE,  IORING_OP_FILES_UPDATE,
			IORING_OP_URING_CMD};

		for (size_t k = 0; k < ARRAY_SIZE(ops); k++)
			assert_int_equal(attempt(ring[i], ops[k], IOSQE_FIXED_FILE, 0), -EACCES);
		/* Another file than the link's; another ring's work. */
		assert_int_equal(
			attempt(ring[i], tap ? IORING_OP_WRITEV : IORING_OP_SENDMSG, 0, fd),
			-EACCES);
		assert_int_equal(attempt(ring[i], i ? IORING_OP_RECVMSG : IORING_OP_SENDMSG,
					 IOSQE_FIXED_FILE, 0),
				 -EACCES);
		assert_int_equal(io_uring_register_files_update(ring[i], 0, &fd, 1), -EACCES);
		assert_int_equal(io_uring_register_files(ring[i], &fd, 1), -EACCES);
		assert_int_equal(io_uring_register_personality(ring[i]), -EACCES);
	}
	assert_int_equal(attempt(ring[1], tap ? IORING_OP_WRITEV : IORING_OP_SENDMSG,
				 IOSQE_FIXED_FILE | IOSQE_ASYNC, 0),
			 -EACCES);
	device_resume(d);
	device_close(d);
}

/* From here on the system call fails with `error` for this thread and its children. */
static void forbid(int number, int error)
{
	struct sock_filter p[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {ARRAY_SIZE(p), p};

	assert_return_code(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), errno);
	assert_return_code(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), errno);
}

static void use_without_rings(const struct device_config *c, int error)
{
	struct device *d;
	struct net_ep *ep;
	int why = 0, fd;

	forbid(SYS_io_uring_setup, error);
	d = device_open(c);
	assert_int_equal(net_link_fd_mode(d->link, &why), NET_FD_MMSG);
	assert_int_equal(why, -error);
	assert_int_equal(net_link_fd_wait_fd(d->link, 0), d->fds[0]);
	fd = linux_socket(AF_INET, SOCK_STREAM, 7500);
	ep = connect_ours(d, 7500);
	net_ep_close(ep);
	close(fd);
	device_close(d);
}

static void refused_rings_are_done_without(void **state)
{
	static const int errors[] = {EPERM, ENOSYS, ENOMEM};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		pid_t pid = fork();
		int st;

		if (pid == 0) {
			use_without_rings(*state, errors[i]);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &st, 0), pid);
		assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 0);
	}
}

/* A filter that came after the link and forgot about rings: frames go on without. */
static void send_without_enter(const struct device_config *c)
{
	struct device *d = device_open(c);
	int listener = linux_socket(AF_INET, SOCK_STREAM, 7700), fd;
	struct net_ep *ep = connect_ours(d, 7700);
	static char out[200000], in[sizeof(out)];
	struct fd_link *f = d->link->priv;
	int64_t end = monotonic_ns() + LIMIT;
	size_t sent = 0;

	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = i * 5 + (i >> 9);
	device_pause(d); /* so that this thread sends, and not one that may use rings */
	forbid(SYS_io_uring_enter, EPERM);
	sent = ep_send(ep, out, 30000);
	assert_int_equal(sent, 30000);
	device_resume(d);
	while (sent < sizeof(out) && monotonic_ns() < end) {
		ssize_t n = ep_send(ep, out + sent, sizeof(out) - sent);

		if (n > 0)
			sent += n;
		else
			usleep(200);
	}
	assert_int_equal(sent, sizeof(out));
	assert_int_equal(recv(fd, in, sizeof(in), MSG_WAITALL), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	if (f->sends_by_ring)
		assert_true(f->queue[0]->uring_tx->broken);
	net_ep_close(ep);
	close(fd);
	close(listener);
	device_close(d);
}

static void refused_enter_is_done_without(void **state)
{
	pid_t pid = fork();
	int st;

	if (pid == 0) {
		send_without_enter(*state);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFEXITED(st) && WEXITSTATUS(st) == 0);
}

/* ------------------------------------------------------------------------------ refusals */

static int try_add(struct device *d, int fd, bool tap, bool vnet)
{
	struct net_fd_config c = {.fds = {fd}, .nfds = 1, .is_tap = tap, .vnet_hdr = vnet};

	return net_link_add_fd(d->stack, &c, NULL);
}

/* What is chosen when nobody says how. */
static void mode_is_the_measured_one(void **state)
{
	struct device *d = device_open(*state);
	int why;

	if (net_link_fd_mode(d->link, &why) == NET_FD_AUTO)
		assert_int_equal(why, 0);
	else
		assert_true(why < 0); /* and device_open knows whether that may be */
	assert_int_equal(net_link_fd_wait_fd(d->link, 0), d->fds[0]);
	assert_int_equal(net_link_fd_wait_fd(d->link, d->queues), -EINVAL);
	device_close(d);
}

static void fds_of_another_kind_are_refused(void **state)
{
	struct device *d = device_open(*state);
	int udp = linux_socket(AF_INET, SOCK_DGRAM, 7600);
	struct net_fd_config none = {.nfds = 0}, many = {.nfds = NET_FD_MAX_QUEUES + 1};

	assert_int_equal(try_add(d, -1, false, false), -EINVAL);
	assert_int_equal(try_add(d, -1, true, false), -EINVAL);
	assert_int_equal(try_add(d, udp, false, false), -EINVAL);
	assert_int_equal(try_add(d, udp, true, false), -EINVAL);
	/* The link's own fd, said to be of the other kind or to have another header. */
	assert_int_equal(try_add(d, d->fds[0], !d->c->tap, d->c->vnet_hdr), -EINVAL);
	assert_int_equal(try_add(d, d->fds[0], d->c->tap, !d->c->vnet_hdr), -EINVAL);
	assert_int_equal(net_link_add_fd(d->stack, &none, NULL), -EINVAL);
	assert_int_equal(net_link_add_fd(d->stack, &many, NULL), -EINVAL);
	close(udp);
	device_close(d);
}

/* ------------------------------------------------------------------------------ the list */

#define EACH_MODE(...)                                                                             \
	{__VA_ARGS__, .mode = NET_FD_MMSG},                                                        \
	{                                                                                          \
		__VA_ARGS__, .mode = NET_FD_URING                                                  \
	}

static const struct device_config all[] = {
	EACH_MODE(.name = "packet", .vnet_hdr = true, .features = OFFLOADS),
	EACH_MODE(.name = "packet, no header", .no_gso = true),
	EACH_MODE(.name = "tap", .tap = true, .vnet_hdr = true, .features = OFFLOADS),
	EACH_MODE(.name = "tap, no header", .tap = true),
	EACH_MODE(.name = "tap, four queues", .tap = true, .queues = 4, .vnet_hdr = true,
		  .features = OFFLOADS),
};
static const struct device_config vlan[] = {
	EACH_MODE(.name = "packet, with tags", .vnet_hdr = true, .features = NET_F_VLAN),
	EACH_MODE(.name = "packet, no header, with tags", .features = NET_F_VLAN),
	EACH_MODE(.name = "tap, with tags", .tap = true, .features = NET_F_VLAN),
};
static const struct device_config gro[] = {
	EACH_MODE(.name = "tap, with GRO", .tap = true, .features = NET_F_GRO),
	EACH_MODE(.name = "tap, without GRO", .tap = true),
};

static const struct device_config automatic[] = {
	{.name = "packet", .vnet_hdr = true, .features = OFFLOADS},
	{.name = "tap", .tap = true, .vnet_hdr = true, .features = OFFLOADS},
};

static const struct device_config plain[] = {
	{.name = "packet, no offloads", .vnet_hdr = true},
	{.name = "tap, no offloads", .tap = true},
};

static struct CMUnitTest tests[128];
static size_t ntests;

static void add(const char *what, CMUnitTestFunction fn, const struct device_config *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *name;

		if (asprintf(&name, "%s: %s, %s", what, c[i].name, device_mode_name(c[i].mode)) < 0)
			abort();
		tests[ntests++] =
			(struct CMUnitTest){name, fn, NULL, NULL, (void *)(uintptr_t)&c[i]};
	}
}

int main(int argc, char **argv)
{
	if (!device_namespace())
		return 1;
	add("vlan", vlan_tags_are_passed_or_dropped, vlan, ARRAY_SIZE(vlan));
	add("vlan", vlan_tags_are_passed_or_dropped, all, 8);
	add("merging", segments_of_a_batch_are_merged, gro, ARRAY_SIZE(gro));
	add("removal", link_is_removed_with_traffic_in_flight, all, ARRAY_SIZE(all));
	add("removal while waiting", removal_wakes_who_waits, all, 8);
	add("restricted rings", rings_do_what_they_must_and_nothing_else, all + 1, 1);
	add("restricted rings", rings_do_what_they_must_and_nothing_else, all + 5, 1);
	add("refused rings", refused_rings_are_done_without, all + 1, 1);
	add("refused rings", refused_rings_are_done_without, all + 5, 1);
	add("refused enter", refused_enter_is_done_without, plain, 2);
	add("automatic", mode_is_the_measured_one, automatic, 2);
	add("removal", link_is_removed_with_traffic_in_flight, automatic, 2);
	add("refused fds", fds_of_another_kind_are_refused, all, 8);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("fd links", tests, ntests, NULL, NULL);
}
