#include "boot/net/receiver.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "base/refcount.h"
#include "base/thread.h"
#include "netstack/netstack.h"

#define STACK ((size_t)256 << 10)
#define BUDGET 256
#define PAUSE_NS 10000000L

struct receivers {
	struct refcount refs;
	int wake; /* owned; readable for ever once they are to end */
};

struct receiver {
	struct receivers *all; /* counted */
	struct net_link *link; /* counted */
	unsigned q;
	int fd; /* owned */
};

struct receivers *receivers_new(void)
{
	struct receivers *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	refcount_init(&all->refs);
	all->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (all->wake >= 0)
		return all;
	free(all);
	return NULL;
}

void receivers_put(struct receivers *all)
{
	if (!refcount_dec(&all->refs))
		return;
	close(all->wake);
	free(all);
}

void receivers_stop(struct receivers *all)
{
	uint64_t one = 1;

	(void)!write(all->wake, &one, sizeof(one));
}

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
		struct pollfd p[] = {
			{.fd = r->fd, .events = POLLIN},
			{.fd = r->all->wake, .events = POLLIN},
		};

		if (n < 0)
			pause_after(n);
		else if (n == 0)
			poll(p, ARRAY_SIZE(p), -1);
	}
	close(r->fd);
	net_link_put(r->link);
	receivers_put(r->all);
	free(r);
	return NULL;
}

int receiver_start(struct receivers *all, struct net_link *link, unsigned q, int fd)
{
	struct receiver *r = malloc(sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	*r = (struct receiver){.all = all, .link = net_link_get(link), .q = q, .fd = fd};
	refcount_inc(&all->refs);
	ret = thread_start_quiet(receive, r, STACK);
	if (ret) {
		net_link_put(link);
		receivers_put(all);
		free(r);
	}
	return ret;
}
