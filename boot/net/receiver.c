#include "boot/net/receiver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "netstack/netstack.h"

#define STACK ((size_t)256 << 10)
#define BUDGET 256
#define PAUSE_NS 10000000L

struct receiver {
	struct net_link *link; /* counted */
	unsigned q;
	int fd; /* owned */
};

/* Out of memory, or the device is broken: neither is better at once. */
static void pause_after(int error)
{
	struct timespec t = {.tv_nsec = PAUSE_NS};

	log_debug("receiving: %s", strerror(-error));
	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void *receive(void *arg)
{
	struct receiver *r = arg;
	int n;

	while ((n = net_link_fd_poll(r->link, r->q, BUDGET)) != -ENETDOWN) {
		struct pollfd p = {.fd = r->fd, .events = POLLIN};

		if (n < 0)
			pause_after(n);
		else if (n == 0)
			poll(&p, 1, -1);
	}
	close(r->fd);
	net_link_put(r->link);
	free(r);
	return NULL;
}

int receiver_start(struct net_link *link, unsigned q, int fd)
{
	struct receiver *r = malloc(sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	*r = (struct receiver){.link = net_link_get(link), .q = q, .fd = fd};
	ret = thread_start_quiet(receive, r, STACK);
	if (ret) {
		net_link_put(link);
		free(r);
	}
	return ret;
}
