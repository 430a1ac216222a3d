/*
 * The pool's daemon: one thread serves clients, another one or two start sandboxes, since that
 * blocks. A client gets a sandbox's owning connection as a descriptor, and that is the last that
 * the pool has to do with it, but for reaping its process.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/compiler.h"
#include "boot/sandbox/sandbox.h"
#include "lib/launch.h"
#include "tools/moat/cli.h"
#include "tools/moat/pool.h"

#define STARTERS 2
#define CLIENTS_MAX 1000
#define FAILURE_PAUSE_NS 500000000L

struct member {
	TAILQ_ENTRY(member) link;
	pid_t helper;
	int pidfd;
	int sock; /* -1: a client has it */
};
TAILQ_HEAD(members, member);

struct client {
	TAILQ_ENTRY(client) link;
	int fd;
	bool waiting; /* for a sandbox; in the order of the list */
};

struct pool {
	const struct pool_settings *settings;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t wanted;
	struct members ready, taken;
	unsigned nready, ntaken, starting, waiting;
	unsigned size;
	uint64_t started, failed;
	char failure[512]; /* of the last start; "": it went well */
	bool draining, ending;
	/* the serving thread's */
	TAILQ_HEAD(, client) clients;
	unsigned nclients;
	int listener, wake, signals; /* wake: an eventfd, for the serving thread */
};

/* --- starting --------------------------------------------------------------------------------- */

static bool is_wanted(const struct pool *p)
{
	unsigned want = p->size + p->waiting;

	return !p->draining && p->nready + p->starting < want &&
	       p->nready + p->ntaken + p->starting < p->settings->max;
}

static void wake_server(struct pool *p)
{
	uint64_t one = 1;

	if (write(p->wake, &one, sizeof(one)) < 0)
		cli_error("pool: eventfd: %s", strerror(errno));
}

static struct member *start_member(struct pool *p, struct moat_error *err)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m) {
		snprintf(err->text, sizeof(err->text), "no memory");
		return NULL;
	}
	if (sandbox_launch(&p->settings->config, &m->sock, &m->helper, err)) {
		free(m);
		return NULL;
	}
	m->pidfd = (int)syscall(SYS_pidfd_open, m->helper, 0);
	if (m->pidfd >= 0)
		return m;
	snprintf(err->text, sizeof(err->text), "pidfd: %s", strerror(errno));
	close(m->sock);
	waitpid(m->helper, NULL, 0);
	free(m);
	return NULL;
}

static void *starter_main(void *arg)
{
	const struct timespec pause = {.tv_nsec = FAILURE_PAUSE_NS};
	struct pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct moat_error err = {0};
		struct member *m;

		while (!is_wanted(p) && !p->ending)
			pthread_cond_wait(&p->wanted, &p->lock);
		if (p->ending)
			break;
		p->starting++;
		pthread_mutex_unlock(&p->lock);
		m = start_member(p, &err);
		if (!m)
			cli_error("pool: %s", err.text);
		pthread_mutex_lock(&p->lock);
		p->starting--;
		snprintf(p->failure, sizeof(p->failure), "%s", m ? "" : err.text);
		if (m) {
			TAILQ_INSERT_TAIL(&p->ready, m, link);
			p->nready++;
			p->started++;
		} else {
			p->failed++;
		}
		wake_server(p);
		if (m)
			continue;
		pthread_mutex_unlock(&p->lock);
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* --- giving away (lock held) ------------------------------------------------------------------ */

static int send_with(int fd, const char *text, int passed)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (passed >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &passed, sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void client_close(struct pool *p, struct client *c)
{
	if (c->waiting)
		p->waiting--;
	TAILQ_REMOVE(&p->clients, c, link);
	p->nclients--;
	close(c->fd);
	free(c);
}

/* Whether it came to the client or not: a connection that has been on its way is not given again.
 */
static void give(struct pool *p, struct client *c)
{
	struct member *m = TAILQ_FIRST(&p->ready);

	send_with(c->fd, "sandbox", m->sock);
	close_fd_ptr(&m->sock);
	TAILQ_REMOVE(&p->ready, m, link);
	TAILQ_INSERT_TAIL(&p->taken, m, link);
	p->nready--;
	p->ntaken++;
	client_close(p, c);
	pthread_cond_broadcast(&p->wanted);
}

/* Those that wait, in their order. */
static void give_to_waiting(struct pool *p)
{
	struct client *c, *next;

	for (c = TAILQ_FIRST(&p->clients); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (!c->waiting)
			continue;
		if (p->nready) {
			give(p, c);
		} else if (p->draining || (p->failure[0] && !p->starting)) {
			send_with(c->fd, p->draining ? "error: it is being drained" : p->failure,
				  -1);
			client_close(p, c);
		}
	}
}

static void end_ready(struct pool *p, unsigned keep)
{
	while (p->nready > keep) {
		struct member *m = TAILQ_FIRST(&p->ready);

		close_fd_ptr(&m->sock);
		TAILQ_REMOVE(&p->ready, m, link);
		TAILQ_INSERT_TAIL(&p->taken, m, link);
		p->nready--;
		p->ntaken++;
	}
}

/* --- requests (lock held) --------------------------------------------------------------------- */

static void answer_status(struct pool *p, struct client *c)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"ready\": %u, \"starting\": %u, \"taken\": %u, \"waiting\": %u, \"size\": %u, "
		 "\"max\": %u, \"started\": %llu, \"failed\": %llu, \"draining\": %s}",
		 p->nready, p->starting, p->ntaken, p->waiting, p->size, p->settings->max,
		 (unsigned long long)p->started, (unsigned long long)p->failed,
		 p->draining ? "true" : "false");
	send_with(c->fd, text, -1);
}

static void answer_take(struct pool *p, struct client *c)
{
	if (c->waiting)
		return;
	/* Behind all that wait already. */
	TAILQ_REMOVE(&p->clients, c, link);
	TAILQ_INSERT_TAIL(&p->clients, c, link);
	c->waiting = true;
	p->waiting++;
	pthread_cond_broadcast(&p->wanted);
}

static void answer(struct pool *p, struct client *c, const char *request)
{
	unsigned n;

	if (!strcmp(request, "take")) {
		answer_take(p, c);
	} else if (!strcmp(request, "status")) {
		answer_status(p, c);
	} else if (!strcmp(request, "drain")) {
		p->draining = true;
		end_ready(p, 0);
		send_with(c->fd, "drained", -1);
	} else if (sscanf(request, "resize %u", &n) == 1 && n <= POOL_SIZE_MAX) {
		p->size = n;
		end_ready(p, n);
		pthread_cond_broadcast(&p->wanted);
		send_with(c->fd, "resized", -1);
	} else {
		send_with(c->fd, "error: unknown request", -1);
	}
}

static void serve_client(struct pool *p, struct client *c)
{
	char request[64];
	ssize_t n = recv(c->fd, request, sizeof(request) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(p, c);
		return;
	}
	request[n] = 0;
	answer(p, c, request);
}

static void accept_client(struct pool *p)
{
	int fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c = fd >= 0 && p->nclients < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		close_fd_ptr(&fd);
		return;
	}
	c->fd = fd;
	TAILQ_INSERT_TAIL(&p->clients, c, link);
	p->nclients++;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void member_free(struct members *list, struct member *m)
{
	TAILQ_REMOVE(list, m, link);
	close_fd_ptr(&m->sock);
	close(m->pidfd);
	free(m);
}

static void reap(struct pool *p, struct members *list, unsigned *n)
{
	struct member *m, *next;

	for (m = TAILQ_FIRST(list); m; m = next) {
		next = TAILQ_NEXT(m, link);
		if (waitpid(m->helper, NULL, WNOHANG) != m->helper)
			continue;
		member_free(list, m);
		--*n;
		pthread_cond_broadcast(&p->wanted);
	}
}

/* What is polled: fixed ones, then the clients, then the sandboxes. NULL: no memory. */
static struct pollfd *build_polls(struct pool *p, nfds_t *n)
{
	struct pollfd *fds = calloc(3 + p->nclients + p->nready + p->ntaken, sizeof(*fds));
	const struct member *m;
	const struct client *c;

	if (!fds)
		return NULL;
	*n = 0;
	fds[(*n)++] = (struct pollfd){.fd = p->listener, .events = POLLIN};
	fds[(*n)++] = (struct pollfd){.fd = p->wake, .events = POLLIN};
	fds[(*n)++] = (struct pollfd){.fd = p->signals, .events = POLLIN};
	TAILQ_FOREACH (c, &p->clients, link)
		fds[(*n)++] = (struct pollfd){.fd = c->fd, .events = POLLIN};
	TAILQ_FOREACH (m, &p->ready, link)
		fds[(*n)++] = (struct pollfd){.fd = m->pidfd, .events = POLLIN};
	TAILQ_FOREACH (m, &p->taken, link)
		fds[(*n)++] = (struct pollfd){.fd = m->pidfd, .events = POLLIN};
	return fds;
}

static void look(struct pool *p, const struct pollfd *fds)
{
	nfds_t i = 3;
	struct client *c, *next;
	uint64_t n;

	if (fds[1].revents && read(p->wake, &n, sizeof(n)) < 0)
		cli_error("pool: eventfd: %s", strerror(errno));
	/* Requests move clients to the end, which the vector does not know: by their descriptor. */
	for (c = TAILQ_FIRST(&p->clients); c && i < 3 + p->nclients; c = next, i++) {
		next = TAILQ_NEXT(c, link);
		if (fds[i].fd == c->fd && fds[i].revents)
			serve_client(p, c);
	}
	if (fds[0].revents)
		accept_client(p);
	reap(p, &p->ready, &p->nready);
	reap(p, &p->taken, &p->ntaken);
	give_to_waiting(p);
}

static int serve(struct pool *p)
{
	for (;;) {
		struct pollfd *__free fds = NULL;
		nfds_t n;

		pthread_mutex_lock(&p->lock);
		fds = build_polls(p, &n);
		pthread_mutex_unlock(&p->lock);
		if (!fds)
			return cli_error("pool: no memory");
		if (poll(fds, n, -1) < 0) {
			if (errno != EINTR)
				return cli_error("pool: poll: %s", strerror(errno));
			continue;
		}
		if (fds[2].revents)
			return 0;
		pthread_mutex_lock(&p->lock);
		look(p, fds);
		pthread_mutex_unlock(&p->lock);
	}
}

/* --- life ------------------------------------------------------------------------------------- */

static int listen_at(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int __close_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old;
	int ret;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	/* One that nobody listens at was left behind. */
	if (!connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -EADDRINUSE;
	if (errno == ECONNREFUSED)
		unlink(path);
	old = umask(0177);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 256) ? -errno : 0;
	umask(old);
	return ret ? ret : steal_fd(&fd);
}

static int set_up(struct pool *p)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	p->signals = signalfd(-1, &ends, SFD_CLOEXEC);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->signals < 0 || p->wake < 0)
		return cli_error("pool: %s", strerror(errno));
	p->listener = listen_at(p->settings->socket);
	if (p->listener < 0)
		return cli_error("pool: %s: %s", p->settings->socket, strerror(-p->listener));
	return 0;
}

static void tear_down(struct pool *p, pthread_t *threads, unsigned n)
{
	struct client *c;
	struct member *m;

	unlink(p->settings->socket);
	pthread_mutex_lock(&p->lock);
	p->ending = true;
	pthread_cond_broadcast(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	while ((c = TAILQ_FIRST(&p->clients)))
		client_close(p, c);
	/* Those that wait end; those that clients have stay theirs. */
	while ((m = TAILQ_FIRST(&p->ready))) {
		close_fd_ptr(&m->sock);
		waitpid(m->helper, NULL, 0);
		member_free(&p->ready, m);
	}
	while ((m = TAILQ_FIRST(&p->taken)))
		member_free(&p->taken, m);
	close(p->listener);
	close(p->wake);
	close(p->signals);
}

int pool_serve(const struct pool_settings *settings)
{
	struct pool p = {.settings = settings, .size = settings->size};
	pthread_t threads[STARTERS];
	unsigned n = 0;
	int status;

	pthread_mutex_init(&p.lock, NULL);
	pthread_cond_init(&p.wanted, NULL);
	TAILQ_INIT(&p.ready);
	TAILQ_INIT(&p.taken);
	TAILQ_INIT(&p.clients);
	status = set_up(&p);
	if (status)
		return status;
	while (n < STARTERS && !pthread_create(&threads[n], NULL, starter_main, &p))
		n++;
	if (n) {
		printf("ready %s\n", settings->socket);
		fflush(stdout);
	}
	status = n ? serve(&p) : cli_error("pool: no threads");
	tear_down(&p, threads, n);
	return status;
}
