/*
 * Waiting for host fds. A waiter first looks for a millisecond itself, which is the whole wait when
 * data streams; then it leaves the watching to one thread for all hostfds, with a one-shot epoll
 * registration, and sleeps on its wait queue, where guest signals reach it.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/thread.h"
#include "sentry/fs/hostfd/hostfd.h"
#include "sentry/fs/hostfd/hostfd_internal.h"
#include "sentry/kernel/core/restart.h"
#include "sentry/kernel/core/signals.h"
#include "sentry/kernel/task/task.h"
#include "sentry/platform/platform.h"

/* Interrupts a host call of one of our threads; its handler does nothing. */
#define INTERRUPT_SIGNAL SIGURG
#define INTERRUPT_MS 10
#define IDLE_ROUNDS 20
#define DIRECT_WAIT_MS 1

struct mutex hostfd_lives = MUTEX_INIT;
static LIST_HEAD(, hostfd) lives = LIST_HEAD_INITIALIZER(lives);

static struct {
	struct mutex lock; /* start-up, and the in-flight list */
	int epfd, kickfd;
	bool initialised, running;
	bool ticking; /* wakes every INTERRUPT_MS by itself: needs no kick */
	LIST_HEAD(, hostfd_inflight) inflight;
} poller = {.lock = MUTEX_INIT, .epfd = -1, .kickfd = -1};

static void on_interrupt(int sig)
{
	(void)sig;
}

int hostfd_init(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt};
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	MUTEX_GUARD(&poller.lock);
	if (poller.initialised)
		return 0;
	/* A write to a closed pipe must be -EPIPE for us, the guest gets its own SIGPIPE. The
	 * same for the caller's file size limit. */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
	    sigaction(INTERRUPT_SIGNAL, &sa, NULL))
		return -errno;
	int __close_fd epfd = epoll_create1(EPOLL_CLOEXEC);
	int __close_fd kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (epfd < 0 || kickfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, kickfd, &ev))
		return -errno;
	poller.epfd = steal_fd(&epfd);
	poller.kickfd = steal_fd(&kickfd);
	poller.initialised = true;
	return 0;
}

/* Interrupts every watched call that is there at the end of a round: it has lasted up to one. Goes
 * on ticking for a while after the last, so that a stream of calls costs no kick each. */
static void interrupt_inflight(bool round_over)
{
	static int idle_rounds;
	struct hostfd_inflight *in;

	MUTEX_GUARD(&poller.lock);
	if (round_over)
		LIST_FOREACH (in, &poller.inflight, link)
			syscall(SYS_tgkill, getpid(), in->tid, INTERRUPT_SIGNAL);
	if (!LIST_EMPTY(&poller.inflight))
		idle_rounds = 0;
	else if (round_over)
		idle_rounds++;
	if (idle_rounds >= IDLE_ROUNDS) {
		idle_rounds = 0;
		poller.ticking = false;
	}
}

static void report(struct hostfd *which, uint32_t events)
{
	struct hostfd *h;

	MUTEX_GUARD(&hostfd_lives);
	LIST_FOREACH (h, &lives, live)
		if (h == which)
			break;
	if (!h)
		return;
	if (events & (EPOLLHUP | EPOLLERR))
		events = ~0u;
	mutex_lock(&h->lock);
	h->armed &= ~events;
	if (h->armed) { /* one-shot disarmed all */
		struct epoll_event ev = {.events = h->armed | EPOLLONESHOT, .data.ptr = h};

		epoll_ctl(poller.epfd, EPOLL_CTL_MOD, h->fd, &ev);
	}
	mutex_unlock(&h->lock);
	wake_up_all(&h->wait, events);
}

static bool ticking(void)
{
	MUTEX_GUARD(&poller.lock);
	return poller.ticking;
}

static void *poller_main(void *arg)
{
	struct epoll_event ev[16];

	pthread_setname_np(pthread_self(), "moat-hostfd");
	for (;;) {
		int n = epoll_wait(poller.epfd, ev, ARRAY_SIZE(ev), ticking() ? INTERRUPT_MS : -1);

		for (int i = 0; i < n; i++) {
			uint64_t drain;

			if (ev[i].data.ptr)
				report(ev[i].data.ptr, ev[i].events);
			else if (read(poller.kickfd, &drain, sizeof(drain)) < 0)
				continue;
		}
		interrupt_inflight(n == 0);
	}
	return NULL;
}

/* With poller.lock held. */
static void start_thread(void)
{
	int err;

	if (poller.running)
		return;
	err = thread_start_quiet(poller_main, NULL, 0);
	if (err)
		log_error("hostfd: no thread to watch host files: %s", strerror(-err));
	else
		poller.running = true;
}

void hostfd_poll_add(struct hostfd *h)
{
	MUTEX_GUARD(&hostfd_lives);
	LIST_INSERT_HEAD(&lives, h, live);
}

void hostfd_poll_remove(struct hostfd *h)
{
	LIST_REMOVE(h, live);
	if (h->registered)
		epoll_ctl(poller.epfd, EPOLL_CTL_DEL, h->fd, NULL);
}

void hostfd_arm(struct hostfd *h, uint32_t events)
{
	struct epoll_event ev = {.data.ptr = h};

	mutex_lock(&poller.lock);
	start_thread();
	mutex_unlock(&poller.lock);

	MUTEX_GUARD(&h->lock);
	if ((h->armed & events) == events)
		return;
	h->armed |= events;
	ev.events = h->armed | EPOLLONESHOT;
	if (epoll_ctl(poller.epfd, h->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, h->fd, &ev) == 0)
		h->registered = true;
	else
		log_warn("hostfd: cannot watch fd %d: errno %d", h->fd, errno);
}

uint32_t hostfd_ready(const struct hostfd *h, uint32_t events)
{
	struct pollfd p = {.fd = h->fd, .events = (short)events};

	if (h->type == S_IFREG || h->type == S_IFDIR)
		return events;
	if (poll(&p, 1, 0) <= 0)
		return 0;
	return (uint32_t)(unsigned short)p.revents;
}

/* Ready, or the poller will tell. */
static bool ready_or_armed(struct hostfd *h, uint32_t events)
{
	if (hostfd_ready(h, events))
		return true;
	hostfd_arm(h, events);
	return false;
}

int hostfd_wait(struct hostfd *h, uint32_t events)
{
	struct pollfd p = {.fd = h->fd, .events = (short)events};
	int n;

	platform_block_begin();
	n = poll(&p, 1, DIRECT_WAIT_MS);
	platform_block_end();
	if (n > 0)
		return 0;
	return wait_event_ex(&h->wait, ready_or_armed(h, events), NO_DEADLINE, true,
			     events | EPOLLHUP | EPOLLERR);
}

void hostfd_inflight_begin(struct hostfd_inflight *in)
{
	uint64_t one = 1;
	bool kick;

	in->tid = (int)syscall(SYS_gettid);
	mutex_lock(&poller.lock);
	start_thread();
	kick = !poller.ticking;
	poller.ticking = true;
	LIST_INSERT_HEAD(&poller.inflight, in, link);
	mutex_unlock(&poller.lock);
	if (kick && write(poller.kickfd, &one, sizeof(one)) < 0)
		log_warn_once("hostfd: eventfd: %d", errno);
}

void hostfd_inflight_end(struct hostfd_inflight *in)
{
	MUTEX_GUARD(&poller.lock);
	LIST_REMOVE(in, link);
}
