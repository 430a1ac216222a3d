/* eventfd, timerfd, signalfd (man 2 eventfd, timerfd_create, signalfd). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int revents(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void eventfd_counts(void)
{
	uint64_t v;
	int fd = eventfd(3, EFD_NONBLOCK), sem;
	char small[4];

	REQUIRE(fd >= 0);
	CHECK_EQ(revents(fd), POLLIN | POLLOUT);
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK_EQ(v, 3);
	CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
	CHECK_EQ(revents(fd), POLLOUT);
	v = UINT64_MAX;
	CHECK_ERRNO(write(fd, &v, 8), EINVAL);
	v = UINT64_MAX - 1;
	CHECK_EQ(write(fd, &v, 8), 8);
	CHECK_EQ(revents(fd), POLLIN);
	v = 1;
	CHECK_ERRNO(write(fd, &v, 8), EAGAIN);
	CHECK_ERRNO(read(fd, small, 4), EINVAL);
	CHECK_ERRNO(write(fd, small, 4), EINVAL);
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK(v == UINT64_MAX - 1);
	close(fd);
	sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK_EQ(fcntl(sem, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(read(sem, &v, 8), 8);
	CHECK_EQ(v, 1);
	CHECK_EQ(read(sem, &v, 8), 8);
	CHECK_ERRNO(read(sem, &v, 8), EAGAIN);
	close(sem);
	CHECK_ERRNO(eventfd(0, 0x10), EINVAL);
	/* A blocked reader is woken by another process. */
	fd = eventfd(0, 0);
	if (fork() == 0) {
		usleep(20000);
		v = 9;
		_exit(write(fd, &v, 8) != 8);
	}
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK_EQ(v, 9);
	wait(NULL);
	close(fd);
}

static void timerfd_fires(void)
{
	struct itimerspec its = {.it_value = {0, 20000000}}, cur;
	struct timespec now;
	uint64_t v;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);

	REQUIRE(fd >= 0);
	CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
	CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
	CHECK_EQ(timerfd_gettime(fd, &cur), 0);
	CHECK(cur.it_value.tv_sec == 0 && cur.it_value.tv_nsec > 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 2000), 1);
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	CHECK_EQ(timerfd_gettime(fd, &cur), 0);
	CHECK_EQ(cur.it_value.tv_nsec, 0);
	/* Periodic, read late. */
	its = (struct itimerspec){{0, 10000000}, {0, 10000000}};
	CHECK_EQ(timerfd_settime(fd, 0, &its, &cur), 0);
	usleep(55000);
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK(v >= 4 && v < 50);
	CHECK_EQ(poll(&p, 1, 2000), 1);
	/* Absolute, in the past: at once. Disarming. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	its = (struct itimerspec){{0, 0}, {now.tv_sec > 1 ? now.tv_sec - 1 : 0, 1}};
	CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL), 0);
	CHECK_EQ(poll(&p, 1, 2000), 1);
	memset(&its, 0, sizeof(its));
	CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
	CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
	its.it_value.tv_nsec = 1000000000;
	CHECK_ERRNO(timerfd_settime(fd, 0, &its, NULL), EINVAL);
	its.it_value.tv_nsec = 1;
	CHECK_ERRNO(timerfd_settime(fd, 8, &its, NULL), EINVAL);
	CHECK_ERRNO(timerfd_settime(0, 0, &its, NULL), EINVAL);
	CHECK_ERRNO(read(fd, &v, 4), EINVAL);
	close(fd);
	CHECK_ERRNO(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
	CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL);
	fd = timerfd_create(CLOCK_REALTIME, 0);
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_nsec += 30000000;
	if (now.tv_nsec >= 1000000000) {
		now.tv_nsec -= 1000000000;
		now.tv_sec++;
	}
	its = (struct itimerspec){{0, 0}, now};
	CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL), 0);
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	close(fd);
	fd = timerfd_create(CLOCK_BOOTTIME, 0);
	its = (struct itimerspec){{0, 0}, {0, 1000000}};
	CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
	CHECK_EQ(read(fd, &v, 8), 8);
	close(fd);
}

static void signalfd_reads(void)
{
	struct signalfd_siginfo info[3];
	sigset_t set, all;
	int fd, ep;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	REQUIRE(fd >= 0);
	CHECK_ERRNO(read(fd, info, sizeof(info)), EAGAIN);
	CHECK_EQ(revents(fd), 0);
	kill(getpid(), SIGUSR1);
	sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 42});
	CHECK_EQ(revents(fd), POLLIN);
	CHECK_EQ(read(fd, info, sizeof(info)), 2 * sizeof(info[0]));
	CHECK_EQ(info[0].ssi_signo, SIGUSR1);
	CHECK_EQ(info[0].ssi_code, SI_USER);
	CHECK_EQ(info[0].ssi_pid, getpid());
	CHECK_EQ(info[0].ssi_uid, getuid());
	CHECK_EQ(info[1].ssi_signo, SIGRTMIN);
	CHECK_EQ(info[1].ssi_code, SI_QUEUE);
	CHECK_EQ(info[1].ssi_int, 42);
	CHECK_ERRNO(read(fd, info, 4), EINVAL);
	/* By way of epoll, from another process. */
	ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	pid_t self = getpid();
	if (fork() == 0) {
		usleep(20000);
		kill(self, SIGUSR2);
		_exit(0);
	}
	CHECK_EQ(epoll_wait(ep, &ev, 1, 5000), 1);
	CHECK_EQ(read(fd, info, sizeof(info[0])), sizeof(info[0]));
	CHECK_EQ(info[0].ssi_signo, SIGUSR2);
	wait(NULL);
	/* Another mask. */
	sigemptyset(&all);
	sigaddset(&all, SIGUSR2);
	CHECK_EQ(signalfd(fd, &all, 0), fd);
	kill(getpid(), SIGUSR1);
	CHECK_EQ(revents(fd), 0);
	CHECK_ERRNO(read(fd, info, sizeof(info)), EAGAIN);
	CHECK_ERRNO(signalfd(0, &all, 0), EINVAL);
	CHECK_ERRNO(signalfd(999, &all, 0), EBADF);
	CHECK_ERRNO(signalfd(-1, &all, 1), EINVAL);
	close(fd);
	close(ep);
}

int main(void)
{
	eventfd_counts();
	timerfd_fires();
	signalfd_reads();
	CHECK_DONE();
}
