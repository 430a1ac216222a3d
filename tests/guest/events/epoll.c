/* epoll: level, edge, one-shot, exclusive, nesting, closing, threads (man 7 epoll). */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int ep;

static int add(int e, int fd, unsigned events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (unsigned)fd};

	return epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev);
}

static int mod(int fd, unsigned events)
{
	struct epoll_event ev = {.events = events, .data.u64 = (unsigned)fd};

	return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
}

/* Events of the first ready file, or 0. */
static unsigned ready(int e)
{
	struct epoll_event ev;
	int n = epoll_wait(e, &ev, 1, 0);

	CHECK(n >= 0);
	return n == 1 ? ev.events : 0;
}

static void level_edge_oneshot(void)
{
	int p[2];
	char b[8];

	REQUIRE(pipe2(p, O_NONBLOCK) == 0);
	CHECK_EQ(add(ep, p[0], EPOLLIN), 0);
	CHECK_ERRNO(add(ep, p[0], EPOLLIN), EEXIST);
	CHECK_EQ(ready(ep), 0);
	CHECK_EQ(write(p[1], "ab", 2), 2);
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(read(p[0], b, 2), 2);
	CHECK_EQ(ready(ep), 0);

	CHECK_EQ(mod(p[0], EPOLLIN | EPOLLET), 0);
	CHECK_EQ(write(p[1], "a", 1), 1);
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(ready(ep), 0);
	CHECK_EQ(write(p[1], "b", 1), 1); /* new data is a new edge, even on data not read */
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(mod(p[0], EPOLLIN | EPOLLET), 0); /* MOD looks again */
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(ready(ep), 0);

	CHECK_EQ(mod(p[0], EPOLLIN | EPOLLONESHOT), 0);
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(write(p[1], "c", 1), 1);
	CHECK_EQ(ready(ep), 0);
	CHECK_EQ(mod(p[0], EPOLLIN | EPOLLONESHOT), 0);
	CHECK_EQ(ready(ep), EPOLLIN);
	CHECK_EQ(mod(p[0], EPOLLIN), 0);
	close(p[1]);
	CHECK_EQ(ready(ep), EPOLLIN | EPOLLHUP);
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), 0);
	CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), ENOENT);
	CHECK_ERRNO(mod(p[0], EPOLLIN), ENOENT);
	close(p[0]);
}

static void errors(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int p[2], file;

	REQUIRE(pipe(p) == 0);
	CHECK_ERRNO(epoll_create(0), EINVAL);
	CHECK_ERRNO(epoll_create1(1), EINVAL);
	CHECK_ERRNO(add(ep, ep, EPOLLIN), EINVAL);
	CHECK_ERRNO(add(p[0], p[1], EPOLLIN), EINVAL);
	CHECK_ERRNO(add(ep, 999, EPOLLIN), EBADF);
	CHECK_ERRNO(add(999, p[0], EPOLLIN), EBADF);
	file = open("/proc/self/exe", O_RDONLY);
	REQUIRE(file >= 0);
	CHECK_ERRNO(add(ep, file, EPOLLIN), EPERM);
	CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], (void *)8), EFAULT);
	CHECK_ERRNO(epoll_ctl(ep, 77, p[0], &ev), EINVAL);
	CHECK_ERRNO(epoll_wait(ep, &ev, 0, 0), EINVAL);
	CHECK_ERRNO(epoll_wait(p[0], &ev, 1, 0), EINVAL);
	CHECK_EQ(add(ep, p[1], EPOLLOUT), 0);
	CHECK_ERRNO(syscall(SYS_epoll_wait, ep, 8, 1, 0), EFAULT);
	CHECK_EQ(ready(ep), EPOLLOUT); /* not lost by the fault */
	CHECK_ERRNO(add(ep, p[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
	CHECK_EQ(add(ep, p[0], EPOLLIN | EPOLLEXCLUSIVE), 0);
	CHECK_ERRNO(mod(p[0], EPOLLIN), EINVAL);
	close(p[0]);
	close(p[1]);
	CHECK_EQ(ready(ep), 0); /* closing takes them out */
	close(file);
}

static void dup_keeps_the_watch(void)
{
	int p[2], d;

	REQUIRE(pipe(p) == 0);
	d = dup(p[0]);
	CHECK_EQ(add(ep, p[0], EPOLLIN), 0);
	close(p[0]);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK_EQ(ready(ep), EPOLLIN); /* the description is still open */
	close(d);
	CHECK_EQ(ready(ep), 0);
	close(p[1]);
}

static void nesting(void)
{
	int a = epoll_create1(0), b = epoll_create1(0), e[6], ev = eventfd(0, 0);

	CHECK_EQ(add(a, b, EPOLLIN), 0);
	CHECK_ERRNO(add(b, a, EPOLLIN), ELOOP);
	CHECK_EQ(add(b, ev, EPOLLIN), 0);
	CHECK_EQ(ready(a), 0);
	CHECK_EQ(eventfd_write(ev, 1), 0);
	CHECK_EQ(ready(a), EPOLLIN);
	CHECK_EQ(ready(b), EPOLLIN);
	struct pollfd pfd = {.fd = a, .events = POLLIN};
	CHECK_EQ(poll(&pfd, 1, 0), 1);
	eventfd_t v;
	eventfd_read(ev, &v);
	CHECK_EQ(ready(a), 0);
	CHECK_EQ(poll(&pfd, 1, 0), 0);
	for (int i = 0; i < 6; i++)
		e[i] = epoll_create1(0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(add(e[i], e[i + 1], EPOLLIN), 0);
	CHECK_ERRNO(add(e[4], e[5], EPOLLIN), ELOOP);
	for (int i = 0; i < 6; i++)
		close(e[i]);
	close(a);
	close(b);
	close(ev);
}

static void many_ready(void)
{
	enum { N = 150 };
	struct epoll_event evs[N + 10];
	int fds[N], seen = 0;

	for (int i = 0; i < N; i++) {
		fds[i] = eventfd(1, 0);
		REQUIRE(fds[i] >= 0);
		CHECK_EQ(add(ep, fds[i], EPOLLIN | EPOLLET), 0);
	}
	CHECK_EQ(epoll_wait(ep, evs, 100, -1), 100);
	seen = epoll_wait(ep, evs, N + 10, -1);
	CHECK_EQ(seen, 50);
	CHECK_EQ(epoll_wait(ep, evs, N, 0), 0);
	for (int i = 0; i < N; i++)
		close(fds[i]);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void waiting(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct timespec ts = {0, 30000000}, t0, t1;
	struct epoll_event ev;
	sigset_t none, block;

	sigaction(SIGALRM, &sa, NULL);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	CHECK_EQ(epoll_wait(ep, &ev, 1, 40), 0);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	CHECK((t1.tv_sec - t0.tv_sec) * 1000000000L + t1.tv_nsec - t0.tv_nsec >= 40000000L);
	ualarm(30000, 0);
	CHECK_ERRNO(epoll_wait(ep, &ev, 1, 5000), EINTR);
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGALRM);
	CHECK_ERRNO(epoll_pwait(ep, &ev, 1, 5000, &none), EINTR);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	long r = syscall(SYS_epoll_pwait2, ep, &ev, 1, &ts, NULL, 8);
	CHECK(r == 0 || (r == -1 && errno == ENOSYS));
}

/* One producer, several consumers on one edge-triggered semaphore eventfd: every post is taken. */
static int sem_fd, stop_fd;
static _Atomic int taken;

static void *consumer(void *arg)
{
	int e = epoll_create1(0);

	(void)arg;
	add(e, sem_fd, EPOLLIN);
	add(e, stop_fd, EPOLLIN);
	for (;;) {
		struct epoll_event ev;
		eventfd_t v;

		if (epoll_wait(e, &ev, 1, -1) != 1)
			continue;
		if (ev.data.u64 == (unsigned)sem_fd) {
			if (read(sem_fd, &v, 8) == 8)
				taken++;
		} else {
			break;
		}
	}
	close(e);
	return NULL;
}

static void concurrent_waiters(void)
{
	enum { THREADS = 4, POSTS = 2000 };
	pthread_t threads[THREADS];

	sem_fd = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK);
	stop_fd = eventfd(0, EFD_NONBLOCK);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, consumer, NULL);
	for (int i = 0; i < POSTS; i++)
		eventfd_write(sem_fd, 1);
	for (int i = 0; i < 500 && taken < POSTS; i++)
		usleep(10000);
	CHECK_EQ(taken, POSTS);
	eventfd_write(stop_fd, 1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	close(sem_fd);
	close(stop_fd);
}

/* Threads that add, change, remove and close what others wait for. */
static _Atomic int done;

static void *churn(void *arg)
{
	(void)arg;
	while (!done) {
		int e = eventfd(1, EFD_NONBLOCK);

		if (e < 0)
			continue;
		add(ep, e, EPOLLIN | EPOLLET);
		mod(e, EPOLLIN | EPOLLONESHOT);
		if (e & 1)
			epoll_ctl(ep, EPOLL_CTL_DEL, e, NULL);
		close(e);
	}
	return NULL;
}

static void *wait_loop(void *arg)
{
	(void)arg;
	while (!done) {
		struct epoll_event evs[8];

		epoll_wait(ep, evs, 8, 1);
	}
	return NULL;
}

static void concurrent_changes(void)
{
	pthread_t t[5];

	for (int i = 0; i < 5; i++)
		pthread_create(&t[i], NULL, i < 3 ? churn : wait_loop, NULL);
	usleep(300000);
	done = 1;
	for (int i = 0; i < 5; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(ready(ep), 0);
}

int main(void)
{
	ep = epoll_create1(EPOLL_CLOEXEC);
	REQUIRE(ep >= 0);
	level_edge_oneshot();
	errors();
	dup_keeps_the_watch();
	nesting();
	many_ready();
	waiting();
	concurrent_waiters();
	concurrent_changes();
	CHECK_DONE();
}
