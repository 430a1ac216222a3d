/*
 * usage: netstack_bench [-s seconds] [-r rounds] [-m] [-o] [-u | -y] [-t] [-C congestion]
 *                       [-p microseconds] [-c capture.pcap] [-n] [test ...]
 *
 * Needs root (or a user namespace with CAP_NET_ADMIN and CAP_NET_RAW): makes two network
 * namespaces and a veth between them, both gone when it ends. Tests: loopback send receive rr
 * connect connect4 dial http idle; all by default. Netstack and Linux take turns, `rounds` times,
 * and medians are printed: as text, or with -m as the table of docs/NETSTACK.md. -o leaves Linux
 * out (to profile netstack), -u (--uring) has netstack's link use io_uring both ways, -y
 * (--syscalls) not at all, -t (--tap) has it be a TAP of the peer's instead of a veth (and leaves
 * Linux out, which has none), -n prints netstack's counters, -c captures its packets, -C sets the
 * congestion control of Linux's sockets (cubic), -p how long netstack looks for frames before its
 * thread sleeps (100; 0: not at all).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "packet_socket.h"

static pid_t peer;
static int peer_ns;

static void run(const char *cmd)
{
	if (system(cmd) != 0) {
		fprintf(stderr, "netstack_bench: failed: %s\n", cmd);
		exit(1);
	}
}

/* Our namespace and the peer's, joined by a veth unless there is to be a TAP. */
static void make_namespaces(bool tap)
{
	char cmd[256];
	int sync[2];
	char c;

	if (unshare(CLONE_NEWNET) < 0 || pipe(sync) < 0) {
		perror("netstack_bench: unshare");
		exit(1);
	}
	peer = fork();
	if (peer == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0)
			_exit(1);
		(void)!write(sync[1], "x", 1);
		close(sync[1]);
		while (if_nametoindex("vb") == 0)
			usleep(1000);
		if (system("ip addr add 10.9.0.2/24 dev vb && ip link set vb up") != 0)
			_exit(1);
		linux_peer();
	}
	(void)!read(sync[0], &c, 1);
	snprintf(cmd, sizeof(cmd),
		 "ip link add va type veth peer name vb netns %d && "
		 "ip addr add 10.9.0.3/24 dev va && ip link set va up",
		 peer);
	if (!tap)
		run(cmd);
	snprintf(cmd, sizeof(cmd), "/proc/%d/ns/net", peer);
	peer_ns = open(cmd, O_RDONLY | O_CLOEXEC);
}

/* A TAP in the peer's namespace. */
static int tap_fd(void)
{
	struct ifreq ifr = {.ifr_name = "vb", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	if (setns(peer_ns, CLONE_NEWNET) < 0)
		exit(1);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 || setns(ours, CLONE_NEWNET) < 0) {
		perror("netstack_bench: TAP");
		exit(1);
	}
	close(ours);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"uring", no_argument, NULL, 'u'},
					      {"syscalls", no_argument, NULL, 'y'},
					      {"tap", no_argument, NULL, 't'},
					      {0}};
	struct plan plan = {.seconds = 2, .rounds = 2};
	struct rlimit rl;
	bool counters = false, tap = false;
	enum net_fd_mode mode = NET_FD_AUTO;
	struct tpacket_stats st = {0};
	socklen_t stlen = sizeof(st);
	int pcap = -1, fd, c;

	while ((c = getopt_long(argc, argv, "s:r:c:C:p:mnotuy", longs, NULL)) != -1) {
		if (c == 's')
			plan.seconds = atof(optarg);
		else if (c == 'r')
			plan.rounds = atoi(optarg);
		else if (c == 'C')
			linux_congestion = optarg;
		else if (c == 'p')
			ours_spin_us = atoi(optarg);
		else if (c == 'm')
			plan.markdown = true;
		else if (c == 'o')
			plan.only_ours = true;
		else if (c == 'c')
			pcap = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		else if (c == 'n')
			counters = true;
		else if (c == 'u')
			mode = NET_FD_URING;
		else if (c == 'y')
			mode = NET_FD_MMSG;
		else if (c == 't')
			tap = plan.only_ours = true;
		else
			return 2;
	}
	if (plan.seconds <= 0 || plan.rounds < 1 || plan.rounds > MAX_ROUNDS)
		return 2;
	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_namespaces(tap);
	fd = tap ? tap_fd() : packet_socket();
	if (fd < 0) {
		fprintf(stderr, "netstack_bench: AF_PACKET: %s\n", strerror(-fd));
		return 1;
	}
	usleep(300000);
	if (ours_open(fd, pcap, 1500, mode, tap) < 0) {
		fprintf(stderr, "netstack_bench: cannot start the stack\n");
		return 1;
	}
	plan.tests = argv + optind;
	plan.peer = peer;
	plan.peer_ns = peer_ns;
	c = run_plan(&plan);
	if (counters) {
		ours_counters(stdout);
		if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &stlen) == 0)
			printf("    packet socket dropped %u\n", st.tp_drops);
	}
	ours_close();
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	return c;
}
