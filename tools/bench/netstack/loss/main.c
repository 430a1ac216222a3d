/*
 * usage: netstack_loss_bench [-s seconds] [-r rounds] [-S seed] [-d send|receive]
 *	[-c capture.pcap] [profile ...]
 *
 * Goodput of netstack against Linux's CUBIC over a link that loses packets. Needs root: makes
 * three network namespaces in a row (netstack and Linux side by side, the link, Linux), all gone
 * when it ends. In each round both stacks send to Linux, and Linux sends to both, over the same
 * link with the same seed: the n-th segment of a flow is lost for both or for neither. Prints the
 * medians. Exit status 1: netstack is below 0.8 of Linux in a profile of independent losses.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../packet_socket.h"
#include "loss.h"

#define CHUNK (64 << 10)
#define MAX_ROUNDS 99

/* The first two are what is asked for; the others inform. */
static const struct loss_profile profiles[] = {
	{"1%-10ms", 10000, 1, 5000, 100, 256},	  {"1%-40ms", 10000, 1, 20000, 100, 512},
	{"0.1%-10ms", 1000, 1, 5000, 100, 256},	  {"0.1%-40ms", 1000, 1, 20000, 100, 512},
	{"3%-10ms", 30000, 1, 5000, 100, 256},	  {"3%-40ms", 30000, 1, 20000, 100, 512},
	{"burst-10ms", 10000, 4, 5000, 100, 256}, {"burst-40ms", 10000, 4, 20000, 100, 512},
	{"clean-10ms", 0, 1, 5000, 100, 128},	  {"clean-40ms", 0, 1, 20000, 100, 512},
};
#define NPROFILES (sizeof(profiles) / sizeof(profiles[0]))

static struct loss_link *link_state;
static pid_t children[2];

double loss_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void stop(int status)
{
	for (int i = 0; i < 2; i++)
		if (children[i] > 0) {
			kill(children[i], SIGKILL);
			waitpid(children[i], NULL, 0);
		}
	exit(status);
}

static void run(const char *cmd)
{
	if (system(cmd) != 0) {
		fprintf(stderr, "netstack_loss_bench: failed: %s\n", cmd);
		stop(1);
	}
}

/* ------------------------------------------------------------------------------ Linux's ends */

static void use_cubic(int fd)
{
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0) {
		perror("netstack_loss_bench: cubic");
		exit(1);
	}
}

static void *serve(void *arg)
{
	int *p = arg, fd = p[0];
	bool source = p[1];
	char *buf = calloc(1, CHUNK);

	free(p);
	while ((source ? send(fd, buf, CHUNK, MSG_NOSIGNAL) : recv(fd, buf, CHUNK, 0)) > 0)
		;
	close(fd);
	free(buf);
	return NULL;
}

static void far_end(void)
{
	static const uint16_t ports[2] = {LOSS_PORT_SINK, LOSS_PORT_SOURCE};
	struct pollfd p[2];
	int one = 1;

	for (int i = 0; i < 2; i++) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(ports[i])};

		p[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		p[i].events = POLLIN;
		setsockopt(p[i].fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		use_cubic(p[i].fd); /* accepted sockets inherit it */
		if (bind(p[i].fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(p[i].fd, 16) < 0)
			_exit(1);
	}
	for (;;) {
		poll(p, 2, -1);
		for (int i = 0; i < 2; i++) {
			int *arg;
			pthread_t t;

			if (!(p[i].revents & POLLIN))
				continue;
			arg = malloc(2 * sizeof(int));
			arg[0] = accept(p[i].fd, NULL, NULL);
			arg[1] = i;
			if (pthread_create(&t, NULL, serve, arg) == 0)
				pthread_detach(t);
		}
	}
}

static int linux_flow(bool send_it, double seconds, struct loss_flow *f)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval tv = {0, 20000};
	struct linger lg = {1, 0};
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	char *buf = calloc(1, CHUNK);
	double start;
	ssize_t n = 0;

	a.sin_port = htons(send_it ? LOSS_PORT_SINK : LOSS_PORT_SOURCE);
	a.sin_addr.s_addr = htonl(LOSS_PEER_ADDR);
	use_cubic(fd);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || !buf) {
		close(fd);
		free(buf);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	f->bytes = 0;
	start = loss_now();
	while (loss_now() - start < seconds) {
		n = send_it ? send(fd, buf, CHUNK, MSG_NOSIGNAL) : recv(fd, buf, CHUNK, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		f->bytes += n > 0 ? n : 0;
		n = 1;
	}
	f->seconds = loss_now() - start;
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	if (send_it)
		f->bytes = info.tcpi_bytes_acked;
	f->retransmitted = info.tcpi_total_retrans;
	f->rtt_ms = info.tcpi_rtt / 1e3;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	close(fd);
	free(buf);
	return n == 1 ? 0 : -1;
}

/* ------------------------------------------------------------------------------ namespaces */

/* Frames on the link are what a wire would carry: no larger than the MTU, checksums in place. */
static void no_offload(const char *ifname)
{
	static const uint32_t off[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_STXCSUM};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (unsigned i = 0; i < 4; i++) {
		struct ethtool_value v = {off[i], 0};
		struct ifreq r = {0};

		snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", ifname);
		r.ifr_data = (char *)&v;
		if (ioctl(fd, SIOCETHTOOL, &r) < 0) {
			perror("netstack_loss_bench: ethtool");
			exit(1);
		}
	}
	close(fd);
}

/* Connections must not learn from those before them. */
static void forget_metrics(void)
{
	int fd = open("/proc/sys/net/ipv4/tcp_no_metrics_save", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		perror("netstack_loss_bench: tcp_no_metrics_save");
	close(fd);
}

/* A child in a namespace of its own that goes on when `ifname` has appeared there. */
static pid_t in_namespace(const char *ifname, const char *setup, void (*then)(void))
{
	int sync[2];
	pid_t pid;
	char c;

	if (pipe(sync) < 0 || (pid = fork()) < 0) {
		perror("netstack_loss_bench: fork");
		stop(1);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0 || write(sync[1], "x", 1) != 1)
			_exit(1);
		forget_metrics();
		while (if_nametoindex(ifname) == 0)
			usleep(1000);
		if (system(setup) != 0)
			_exit(1);
		then();
		_exit(1);
	}
	close(sync[1]);
	if (read(sync[0], &c, 1) != 1) {
		fprintf(stderr, "netstack_loss_bench: cannot make a network namespace\n");
		stop(1);
	}
	close(sync[0]);
	return pid;
}

static void relay(void)
{
	loss_relay(link_state);
}

static void far_end_of_link(void)
{
	no_offload("vb");
	far_end();
}

static void make_namespaces(void)
{
	char cmd[256];

	if (unshare(CLONE_NEWNET) < 0) {
		perror("netstack_loss_bench: unshare");
		exit(1);
	}
	forget_metrics();
	children[0] = in_namespace("rb", "ip link set ra up && ip link set rb up", relay);
	children[1] = in_namespace("vb", "ip addr add 10.10.0.2/24 dev vb && ip link set vb up",
				   far_end_of_link);
	snprintf(cmd, sizeof(cmd),
		 "ip link add va type veth peer name ra netns %d && "
		 "ip addr add 10.10.0.3/24 dev va && ip link set va up && "
		 "ip link add vb netns %d type veth peer name rb netns %d",
		 children[0], children[1], children[0]);
	run(cmd);
	no_offload("va");
	usleep(500000);
}

/* ------------------------------------------------------------------------------ measuring */

static void restart_link(const struct loss_profile *p, uint32_t seed)
{
	unsigned g = atomic_load(&link_state->generation) + 1;

	usleep(150000); /* what the last flow has left on its way */
	link_state->profile = *p;
	link_state->seed = seed;
	atomic_store(&link_state->generation, g);
	while (atomic_load(&link_state->running) != g)
		usleep(1000);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Both stacks in turn, `rounds` times. Returns the ratio of the medians, -1 on failure. */
static double compare(const struct loss_profile *p, bool send_it, int rounds, double seconds,
		      uint32_t seed)
{
	double mbit[2][MAX_ROUNDS], m[2], sum[2] = {0};
	unsigned long lost[2] = {0}, over[2] = {0}, frames[2] = {0};
	uint64_t retrans[2] = {0};
	double rtt[2] = {0};

	for (int i = 0; i < rounds; i++)
		for (int k = 0; k < 2; k++) {
			int ours = k ^ (i & 1), dir = !send_it;
			struct loss_flow f;

			restart_link(p, seed + i);
			if ((ours ? loss_ours_flow(send_it, seconds, &f)
				  : linux_flow(send_it, seconds, &f)) < 0) {
				printf("%s: %s failed\n", p->name, ours ? "netstack" : "Linux");
				return -1;
			}
			mbit[ours][i] = f.bytes * 8 / f.seconds / 1e6;
			sum[ours] += mbit[ours][i];
			retrans[ours] += f.retransmitted;
			rtt[ours] += f.rtt_ms / rounds;
			lost[ours] += atomic_load(&link_state->lost[dir]);
			over[ours] += atomic_load(&link_state->overflowed[dir]);
			frames[ours] += atomic_load(&link_state->frames[dir]);
		}
	for (int k = 0; k < 2; k++)
		m[k] = median(mbit[k], rounds);
	printf("%-10s %-7s netstack %6.2f Mbit/s (%.2f-%.2f)  Linux %6.2f (%.2f-%.2f)  ratio "
	       "%.2f (of sums %.2f)  lost %lu+%lu/%lu, %lu+%lu/%lu  retransmitted %lu, %lu  rtt "
	       "%.1f, %.1f ms\n",
	       p->name, send_it ? "send" : "receive", m[1], mbit[1][0], mbit[1][rounds - 1], m[0],
	       mbit[0][0], mbit[0][rounds - 1], m[1] / m[0], sum[1] / sum[0], lost[1], over[1],
	       frames[1], lost[0], over[0], frames[0], retrans[1], retrans[0], rtt[1], rtt[0]);
	return m[1] / m[0];
}

static bool wanted(int argc, char **argv, const char *name)
{
	for (int i = optind; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return optind >= argc;
}

int main(int argc, char **argv)
{
	int rounds = 5, pcap = -1, fd, c, status = 0;
	const char *only = NULL;
	double seconds = 6;
	uint32_t seed = 1;

	while ((c = getopt(argc, argv, "s:r:S:c:d:")) != -1) {
		if (c == 's')
			seconds = atof(optarg);
		else if (c == 'r')
			rounds = atoi(optarg);
		else if (c == 'S')
			seed = strtoul(optarg, NULL, 0);
		else if (c == 'd')
			only = optarg;
		else if (c == 'c')
			pcap = open(optarg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		else
			return 2;
	}
	if (rounds < 1 || rounds > MAX_ROUNDS || seconds <= 0)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	link_state = mmap(NULL, sizeof(*link_state), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (link_state == MAP_FAILED)
		return 1;
	link_state->profile = profiles[0];
	make_namespaces();
	fd = packet_socket();
	if (fd < 0) {
		fprintf(stderr, "netstack_loss_bench: AF_PACKET: %s\n", strerror(-fd));
		stop(1);
	}
	if (loss_ours_open(fd, pcap) < 0) {
		fprintf(stderr, "netstack_loss_bench: cannot start the stack\n");
		stop(1);
	}
	for (unsigned i = 0; i < NPROFILES; i++) {
		if (!wanted(argc, argv, profiles[i].name))
			continue;
		for (int send_it = 1; send_it >= 0; send_it--) {
			double r;

			if (only && strcmp(only, send_it ? "send" : "receive"))
				continue;
			r = compare(&profiles[i], send_it, rounds, seconds, seed);

			if (r < 0 || (r < 0.8 && profiles[i].burst == 1))
				status = 1;
		}
	}
	loss_ours_close();
	stop(status);
}
