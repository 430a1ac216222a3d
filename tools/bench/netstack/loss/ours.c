/* Netstack's end: one thread drives the link, the timers and one connection. */
#include <errno.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "loss.h"
#include "netstack/netstack.h"

#define CHUNK (64 << 10)

static struct net_wheel *wheel;
static struct netstack *stack;
static struct net_link *eth;

int loss_ours_open(int packet_fd, int pcap_fd)
{
	struct net_fd_config fc = {.link = {.name = "eth0",
					    .mtu = 1500,
					    .addr = {2, 10, 0, 0, 0, 1},
					    .features = NET_F_CSUM | NET_F_TSO4},
				   .fds = {packet_fd},
				   .nfds = 1,
				   .vnet_hdr = true};
	struct net_addr_info a = {.family = AF_INET, .prefix = 24};
	struct net_config c = {.memory_limit = 256u << 20};
	uint32_t be = htonl(LOSS_OUR_ADDR);

	if (net_wheel_create(&c.env, NULL, NULL, &wheel) < 0 || netstack_create(&c, &stack) < 0 ||
	    net_link_add_fd(stack, &fc, &eth) < 0 || net_link_set_flags(eth, IFF_UP, IFF_UP) < 0)
		return -1;
	if (pcap_fd >= 0)
		net_link_capture(eth, pcap_fd, 128);
	memcpy(&a.addr, &be, 4);
	a.ifindex = 2;
	return net_addr_add(stack, &a);
}

void loss_ours_close(void)
{
	netstack_destroy(stack);
	net_link_put(eth);
	net_wheel_destroy(wheel);
}

/* Waits for frames or the next timer, at most 20 ms, and processes them. */
static void turn(void)
{
	struct pollfd p = {.fd = net_link_fd_wait_fd(eth, 0), .events = POLLIN};
	int64_t left;

	if (net_link_fd_poll(eth, 0, 256) <= 0) {
		left = net_wheel_next(wheel) - monotonic_ns();
		poll(&p, 1, left <= 0 ? 0 : left > 20000000 ? 20 : (int)(left / 1000000) + 1);
	}
	net_wheel_run(wheel);
}

static struct net_ep *connect_peer(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct net_ep *ep;
	int err;

	a.sin_addr.s_addr = htonl(LOSS_PEER_ADDR);
	if (net_ep_create(stack, AF_INET, SOCK_STREAM, 0, NULL, NULL, &ep) < 0)
		return NULL;
	net_ep_setsockopt(ep, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
	err = net_ep_connect(ep, (struct sockaddr *)&a, sizeof(a));
	while (err == -EINPROGRESS || err == -EALREADY) {
		turn();
		err = net_ep_connect(ep, (struct sockaddr *)&a, sizeof(a));
	}
	if (!err)
		return ep;
	net_ep_close(ep);
	return NULL;
}

static ssize_t transfer(struct net_ep *ep, bool send, void *buf)
{
	struct iovec iov = {buf, CHUNK};
	struct net_msg m = {.iov = &iov, .iovcnt = 1};

	return send ? net_ep_sendmsg(ep, &m, 0) : net_ep_recvmsg(ep, &m, 0);
}

int loss_ours_flow(bool send, double seconds, struct loss_flow *f)
{
	struct net_ep *ep = connect_peer(send ? LOSS_PORT_SINK : LOSS_PORT_SOURCE);
	char *buf = calloc(1, CHUNK);
	struct tcp_info info = {0};
	struct linger lg = {1, 0};
	socklen_t len = sizeof(info);
	double start = loss_now();
	ssize_t n = 0;

	f->bytes = 0;
	while (ep && buf && loss_now() - start < seconds) {
		n = transfer(ep, send, buf);
		if (n == -EAGAIN)
			turn();
		else if (n <= 0)
			break;
		else
			f->bytes += n;
	}
	f->seconds = loss_now() - start;
	free(buf);
	if (!ep)
		return -1;
	net_ep_getsockopt(ep, IPPROTO_TCP, TCP_INFO, &info, &len);
	if (send)
		f->bytes = info.tcpi_bytes_acked;
	f->retransmitted = info.tcpi_total_retrans;
	f->rtt_ms = info.tcpi_rtt / 1e3;
	/* Aborts: what is queued must not get into the next flow's way. */
	net_ep_setsockopt(ep, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	net_ep_close(ep);
	for (int i = 0; i < 10; i++)
		turn();
	return n < 0 && n != -EAGAIN ? -1 : 0;
}
