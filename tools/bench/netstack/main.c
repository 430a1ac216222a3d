/*
 * usage: netstack_bench [-s seconds] [-c capture.pcap] [-n] [test ...]
 *
 * Needs root (or a user namespace with CAP_NET_ADMIN and CAP_NET_RAW): makes two network
 * namespaces and a veth between them, both gone when it ends. Tests: loopback send receive rr
 * connect http idle; all by default. Netstack and Linux take turns.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define IDLE_CONNECTIONS 10000

static double seconds = 2;
static pid_t peer;
static int peer_ns, our_ns;

static void run(const char *cmd)
{
	if (system(cmd) != 0) {
		fprintf(stderr, "netstack_bench: failed: %s\n", cmd);
		exit(1);
	}
}

/* Our namespace and the peer's, joined by a veth. */
static void make_namespaces(void)
{
	char cmd[256];
	int sync[2];
	char c;

	if (unshare(CLONE_NEWNET) < 0 || pipe(sync) < 0) {
		perror("netstack_bench: unshare");
		exit(1);
	}
	our_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	peer = fork();
	if (peer == 0) {
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
	run(cmd);
	snprintf(cmd, sizeof(cmd), "/proc/%d/ns/net", peer);
	peer_ns = open(cmd, O_RDONLY | O_CLOEXEC);
	usleep(300000);
}

static int packet_socket(void)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	int size = 16 << 20;
	/* Frames to netstack's address or to a group: not those of the baseline, which shares va.
	 */
	struct sock_filter f[] = {
		{BPF_LD | BPF_B | BPF_ABS, 0, 0, 0}, {BPF_JMP | BPF_JSET | BPF_K, 2, 0, 1},
		{BPF_LD | BPF_W | BPF_ABS, 0, 0, 2}, {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 1},
		{BPF_RET | BPF_K, 0, 0, 0xffffffff}, {BPF_RET | BPF_K, 0, 0, 0}};
	struct sock_fprog prog = {6, f};
	struct packet_mreq mr = {.mr_type = PACKET_MR_PROMISC};

	ll.sll_ifindex = mr.mr_ifindex = if_nametoindex("va");
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
	setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one));
	setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mr, sizeof(mr));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&ll, sizeof(ll)) < 0) {
		perror("netstack_bench: AF_PACKET");
		exit(1);
	}
	return fd;
}

/* Runs a client of the service under test in the peer's namespace while it is being served. */
static void served(const char *name, bool ours, int what, struct result *r)
{
	int stop[2], out[2], ready[2], go[2];
	struct result mine = {0};
	uint32_t addr = ours ? OUR_ADDR : LINUX_ADDR;
	pid_t pid;
	int st;

	if (pipe(stop) || pipe(out) || pipe(ready) || pipe(go))
		exit(1);
	pid = fork();
	if (pid == 0) {
		struct result c = {0};
		int err;

		usleep(100000);
		if (setns(peer_ns, CLONE_NEWNET) < 0)
			_exit(1);
		err = what == 0	  ? linux_connect_rate(addr, seconds, &c)
		      : what == 1 ? linux_http_rate(addr, seconds, &c)
				  : linux_hold(addr, IDLE_CONNECTIONS, stop[1], go[0]);
		(void)!write(out[1], &c, sizeof(c));
		if (what != 2)
			(void)!write(stop[1], "x", 1);
		_exit(err != 0);
	}
	if (ours)
		ours_serve(stop[0], &mine);
	else
		linux_serve(stop[0]);
	(void)!write(go[1], "x", 1);
	waitpid(pid, &st, 0);
	if (st != 0)
		printf("  %s: the client failed\n", name);
	if (read(out[0], r, sizeof(*r)) != sizeof(*r))
		memset(r, 0, sizeof(*r));
	if (what == 2) {
		r->count = mine.count;
		r->bytes_each = mine.bytes_each;
	}
	for (int i = 0; i < 2; i++) {
		close(stop[i]);
		close(out[i]);
		close(ready[i]);
		close(go[i]);
	}
}

/* CPU time of this process so far, in seconds. */
static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void bulk(const char *name, bool send, double ours_g[2])
{
	struct result o = {0}, l = {0};
	double sum_o = 0, sum_l = 0, cpu_o = 0, cpu_l = 0, t;

	for (int i = 0; i < 2; i++) {
		t = cpu_seconds();
		if (linux_bulk(LINUX_ADDR, send, seconds / 2, &l) < 0) {
			printf("%s: Linux failed\n", name);
			return;
		}
		cpu_l += (cpu_seconds() - t) / (l.gbit * seconds / 2 / 8);
		t = cpu_seconds();
		if (ours_bulk(send, seconds / 2, &o) < 0) {
			printf("%s: netstack failed\n", name);
			return;
		}
		cpu_o += (cpu_seconds() - t) / (o.gbit * seconds / 2 / 8);
		sum_o += o.gbit / 2;
		sum_l += l.gbit / 2;
	}
	ours_g[0] = sum_o;
	ours_g[1] = sum_l;
	printf("%-8s netstack %6.2f Gbit/s (%.2f CPU s/GB)   Linux %6.2f Gbit/s (%.2f)   ratio "
	       "%.2f\n",
	       name, sum_o, cpu_o / 2, sum_l, cpu_l / 2, sum_o / sum_l);
}

static bool wanted(int argc, char **argv, const char *name)
{
	if (optind >= argc)
		return true;
	for (int i = optind; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return false;
}

static void run_tests(int argc, char **argv)
{
	struct result o = {0}, l = {0};
	double g[2];

	if (wanted(argc, argv, "loopback")) {
		if (ours_loopback(seconds, &o) == 0)
			printf("loopback netstack %6.2f Gbit/s (2 threads)\n", o.gbit);
	}
	if (wanted(argc, argv, "send"))
		bulk("send", true, g);
	if (wanted(argc, argv, "receive"))
		bulk("receive", false, g);
	if (wanted(argc, argv, "rr") && linux_rr(seconds, &l) == 0 && ours_rr(seconds, &o) == 0)
		printf("rr       netstack %6.2f us (p99 %.1f)   Linux %6.2f us (p99 %.1f)   ratio "
		       "%.2f\n",
		       o.mean_us, o.p99_us, l.mean_us, l.p99_us, o.mean_us / l.mean_us);
	if (wanted(argc, argv, "connect")) {
		served("connect", false, 0, &l);
		served("connect", true, 0, &o);
		printf("connect  netstack %8.0f /s   Linux %8.0f /s   ratio %.2f\n", o.per_second,
		       l.per_second, o.per_second / l.per_second);
	}
	if (wanted(argc, argv, "http")) {
		served("http", false, 1, &l);
		served("http", true, 1, &o);
		printf("http     netstack %8.0f /s   Linux %8.0f /s   ratio %.2f\n", o.per_second,
		       l.per_second, o.per_second / l.per_second);
	}
	if (wanted(argc, argv, "idle")) {
		served("idle", true, 2, &o);
		printf("idle     netstack %lu connections, %.0f bytes each\n", o.count,
		       o.bytes_each);
	}
}

int main(int argc, char **argv)
{
	struct rlimit rl = {65536, 65536};
	bool counters = false;
	int pcap = -1, c;

	while ((c = getopt(argc, argv, "s:c:n")) != -1) {
		if (c == 's')
			seconds = atof(optarg);
		else if (c == 'c')
			pcap = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		else if (c == 'n')
			counters = true;
		else
			return 2;
	}
	setrlimit(RLIMIT_NOFILE, &rl);
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_namespaces();
	if (ours_open(packet_socket(), pcap, 1500) < 0) {
		fprintf(stderr, "netstack_bench: cannot start the stack\n");
		return 1;
	}
	run_tests(argc, argv);
	if (counters)
		ours_counters(stdout);
	ours_close();
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	return 0;
}
