/*
 * A stack on a real device in a network namespace of the test's own, with Linux as the peer:
 * on one end of a veth pair through AF_PACKET, or behind a TAP. Threads poll the link's queues and
 * run the timers; the test itself calls the stack and Linux's sockets.
 */
#ifndef MOAT_TEST_NETSTACK_DEVICE_H
#define MOAT_TEST_NETSTACK_DEVICE_H

#include "world.h"

#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#define DEVICE_QUEUES 4

struct device_config {
	const char *name;
	bool tap, vnet_hdr;
	bool no_gso;	 /* Linux cuts trains itself: without a header nothing tells of them */
	unsigned queues; /* 0: 1 */
	unsigned features, txqlen, mtu;
	size_t memory_limit;
	int sndbuf; /* of the packet socket or TAP; 0: the default */
	enum net_fd_mode mode;
};

struct device;
struct device_pump {
	struct device *d;
	unsigned queue;
	pthread_t thread;
};

struct device {
	const struct device_config *c;
	struct net_env env;
	struct net_wheel *wheel;
	struct netstack *stack;
	struct net_link *link;
	int fds[DEVICE_QUEUES];
	unsigned queues;
	char near[IFNAMSIZ]; /* the device that netstack uses, or the TAP */
	char far[IFNAMSIZ];  /* the device that has Linux's addresses */
	uint8_t far_mac[6];
	struct device_pump pump[DEVICE_QUEUES];
	unsigned running; /* pumps */
	atomic_bool stop, pause;
	atomic_int paused;  /* pumps that stand still */
	atomic_int removed; /* pumps that were told that the link is gone */
	atomic_size_t allocated;
};

/*
 * Puts the process into a namespace of its own, with a user namespace if it is not root. False,
 * and the reason on standard error, when the system does not let it.
 */
bool device_namespace(void);
/* 10.9.0.1 and fd09::1 are netstack, 10.9.0.2 and fd09::2 are Linux. */
const char *device_mode_name(enum net_fd_mode mode);
struct device *device_open(const struct device_config *c);
/* Stops the pumps, takes all down, checks that no memory is left. */
void device_close(struct device *d);
/* Returns when no pump is inside of the stack; lets them go on. */
void device_pause(struct device *d);
void device_resume(struct device *d);
void device_set_mtu(struct device *d, unsigned mtu);

/* side 0: netstack, 1: Linux. */
socklen_t device_addr(int family, int side, uint16_t port, struct sockaddr_storage *out);
/* Linux's sockets, with time limits on all that waits. */
int linux_socket(int family, int type, uint16_t port);

#endif
