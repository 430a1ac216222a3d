/* poll, ppoll, select, pselect6: readiness, timeouts, masks, restarts (man 2 poll, select). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void arm(int ms, int flags)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags};
	struct itimerval it = {.it_value = {ms / 1000, ms % 1000 * 1000}};

	sigaction(SIGALRM, &sa, NULL);
	got_signal = 0;
	setitimer(ITIMER_REAL, &it, NULL);
}

static void poll_reports_each(void)
{
	int p[2];
	struct pollfd fds[4];
	double t;

	REQUIRE(pipe(p) == 0);
	fds[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
	fds[1] = (struct pollfd){.fd = p[1], .events = POLLOUT};
	fds[2] = (struct pollfd){.fd = 999, .events = POLLIN};
	fds[3] = (struct pollfd){.fd = -1, .events = POLLIN, .revents = 7};
	CHECK_EQ(poll(fds, 4, -1), 2);
	CHECK_EQ(fds[0].revents, 0);
	CHECK_EQ(fds[1].revents, POLLOUT);
	CHECK_EQ(fds[2].revents, POLLNVAL);
	CHECK_EQ(fds[3].revents, 0);
	t = now();
	CHECK_EQ(poll(fds, 1, 60), 0);
	t = now() - t;
	CHECK(t >= 0.059 && t < 1);
	CHECK_EQ(poll(NULL, 0, 1), 0);
	CHECK_ERRNO(syscall(SYS_poll, 8L, 1L, 0L), EFAULT);
	/* A write in another process ends the wait. */
	if (fork() == 0) {
		usleep(30000);
		_exit(write(p[1], "x", 1) == 1 ? 0 : 1);
	}
	t = now();
	CHECK_EQ(poll(fds, 1, 5000), 1);
	CHECK_EQ(fds[0].revents, POLLIN);
	CHECK(now() - t < 4);
	wait(NULL);
	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur < 1 << 20)
		CHECK_ERRNO(syscall(SYS_poll, fds, rl.rlim_cur + 1, 0), EINVAL);
	close(p[0]);
	close(p[1]);
}

static void poll_is_interrupted(void)
{
	double t;

	arm(30, 0);
	CHECK_ERRNO(poll(NULL, 0, 5000), EINTR);
	CHECK_EQ(got_signal, SIGALRM);
	/* SA_RESTART does not restart poll. */
	arm(30, SA_RESTART);
	CHECK_ERRNO(poll(NULL, 0, 5000), EINTR);
	arm(30, SA_RESTART);
	CHECK_ERRNO(select(0, NULL, NULL, NULL, NULL), EINTR);
	/* Stopped and continued, poll goes on, and only for the rest of its time. */
	pid_t child = fork();
	if (child == 0) {
		t = now();
		int r = poll(NULL, 0, 300);
		t = now() - t;
		_exit(r == 0 && t < 0.9 && t > 0.29 ? 0 : 1);
	}
	usleep(50000);
	kill(child, SIGSTOP);
	usleep(100000);
	kill(child, SIGCONT);
	int status;
	waitpid(child, &status, 0);
	CHECK_EQ(status, 0);
}

static void ppoll_masks(void)
{
	struct timespec ts = {5, 0};
	sigset_t block, none;
	double t;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGALRM, &sa, NULL);
	sigprocmask(SIG_BLOCK, &block, NULL);
	got_signal = 0;
	raise(SIGALRM);
	CHECK_EQ(got_signal, 0);
	t = now();
	CHECK_ERRNO(ppoll(NULL, 0, &ts, &none), EINTR);
	CHECK_EQ(got_signal, SIGALRM);
	CHECK(now() - t < 2);
	/* The mask is back. */
	sigset_t cur;
	sigprocmask(SIG_SETMASK, NULL, &cur);
	CHECK(sigismember(&cur, SIGALRM));
	/* The raw call writes the time left back. */
	ts = (struct timespec){0, 20000000};
	CHECK_EQ(syscall(SYS_ppoll, NULL, 0, &ts, NULL, 8), 0);
	CHECK_EQ(ts.tv_sec, 0);
	CHECK_EQ(ts.tv_nsec, 0);
	ts = (struct timespec){0, -1};
	CHECK_ERRNO(syscall(SYS_ppoll, NULL, 0, &ts, NULL, 8), EINVAL);
	ts = (struct timespec){0, 0};
	CHECK_ERRNO(syscall(SYS_ppoll, NULL, 0, &ts, &none, 4), EINVAL);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
}

static void select_sets(void)
{
	struct timeval tv;
	fd_set rd, wr, ex;
	int p[2], high;

	REQUIRE(pipe(p) == 0);
	high = fcntl(p[1], F_DUPFD, 200);
	REQUIRE(high >= 200);
	FD_ZERO(&rd);
	FD_ZERO(&wr);
	FD_ZERO(&ex);
	FD_SET(p[0], &rd);
	FD_SET(high, &wr);
	FD_SET(p[0], &ex);
	CHECK_EQ(select(high + 1, &rd, &wr, &ex, NULL), 1);
	CHECK(!FD_ISSET(p[0], &rd) && FD_ISSET(high, &wr) && !FD_ISSET(p[0], &ex));
	CHECK_EQ(write(p[1], "x", 1), 1);
	FD_SET(p[0], &rd);
	FD_SET(p[0], &wr);
	FD_SET(high, &rd);
	CHECK(select(high + 1, &rd, NULL, NULL, NULL) >= 1);
	CHECK(FD_ISSET(p[0], &rd));
	FD_ZERO(&rd);
	tv = (struct timeval){0, 30000};
	CHECK_EQ(select(0, NULL, NULL, NULL, &tv), 0);
	CHECK_EQ(tv.tv_sec, 0);
	CHECK_EQ(tv.tv_usec, 0);
	close(high);
	FD_ZERO(&rd);
	FD_SET(p[0], &rd);
	close(p[0]);
	CHECK_ERRNO(select(p[0] + 1, &rd, NULL, NULL, NULL), EBADF);
	CHECK_ERRNO(select(-1, NULL, NULL, NULL, NULL), EINVAL);
	tv = (struct timeval){-1, 0};
	CHECK_ERRNO(select(0, NULL, NULL, NULL, &tv), EINVAL);
	/* End of file counts as readable. */
	REQUIRE(pipe(p) == 0);
	close(p[1]);
	FD_ZERO(&rd);
	FD_SET(p[0], &rd);
	CHECK_EQ(select(p[0] + 1, &rd, NULL, NULL, NULL), 1);
	close(p[0]);
}

static void pselect_masks(void)
{
	struct timespec ts = {5, 0};
	sigset_t block, none;

	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	sigprocmask(SIG_BLOCK, &block, NULL);
	arm(30, 0);
	CHECK_ERRNO(pselect(0, NULL, NULL, NULL, &ts, &none), EINTR);
	CHECK_EQ(got_signal, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
}

static void poll_many(void)
{
	enum { N = 100 };
	struct pollfd fds[N];
	int p[2];

	REQUIRE(pipe(p) == 0);
	for (int i = 0; i < N; i++)
		fds[i] = (struct pollfd){.fd = p[0], .events = POLLIN};
	CHECK_EQ(poll(fds, N, 10), 0);
	if (fork() == 0) {
		usleep(20000);
		_exit(write(p[1], "x", 1) != 1);
	}
	CHECK_EQ(poll(fds, N, 5000), N);
	wait(NULL);
}

int main(void)
{
	poll_reports_each();
	poll_is_interrupted();
	ppoll_masks();
	select_sets();
	pselect_masks();
	poll_many();
	CHECK_DONE();
}
