/* O_ASYNC and its relations, kind by kind (man 2 fcntl, man 2 ioctl_fionbio, man 7 socket). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

#ifndef SIOCSPGRP
#define SIOCSPGRP 0x8902
#define SIOCGPGRP 0x8904
#define FIOGETOWN 0x8903
#endif

static int is_async(int fd)
{
	return !!(fcntl(fd, F_GETFL) & O_ASYNC);
}

static void expect_kind(int fd, int can)
{
	int on = 1, off = 0, flags = fcntl(fd, F_GETFL);

	REQUIRE(fd >= 0);
	if (can)
		CHECK_EQ(ioctl(fd, FIOASYNC, &on), 0);
	else
		CHECK_ERRNO(ioctl(fd, FIOASYNC, &on), ENOTTY);
	CHECK_EQ(is_async(fd), can);
	CHECK_EQ(ioctl(fd, FIOASYNC, &off), 0);
	CHECK_EQ(fcntl(fd, F_SETFL, flags | O_ASYNC), 0);
	CHECK_EQ(is_async(fd), can);
	CHECK_EQ(fcntl(fd, F_SETFL, flags), 0);
	CHECK_EQ(is_async(fd), 0);
	close(fd);
}

static void kinds(void)
{
	uint64_t hint = 2;
	int p[2], s[2], fd;

	REQUIRE(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(fcntl(p[0], F_SETFL, O_DIRECT), 0);
	CHECK_ERRNO(fcntl(s[0], F_SETFL, O_DIRECT), EINVAL);
	expect_kind(p[0], 1);
	expect_kind(p[1], 1);
	expect_kind(s[0], 1);
	expect_kind(s[1], 1);
	expect_kind(inotify_init(), 1);
	expect_kind(eventfd(0, 0), 0);
	expect_kind(open("/dev/null", O_RDWR), 0);
	expect_kind(open("/proc/self/exe", O_RDONLY), 0);
	fd = open("/tmp", O_RDONLY | O_DIRECTORY);
	CHECK_ERRNO(fcntl(fd, F_SETFL, O_DIRECT), EINVAL);
	expect_kind(fd, 0);
	fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0) {
		CHECK_EQ(fcntl(fd, F_SET_RW_HINT, &hint), 0);
		hint = 0;
		CHECK_EQ(fcntl(fd, F_GET_RW_HINT, &hint), 0);
		CHECK_EQ(hint, 2);
		hint = 99;
		CHECK_ERRNO(fcntl(fd, F_SET_RW_HINT, &hint), EINVAL);
		close(fd);
	}
}

static void sockets_have_owners_by_ioctl(void)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0), pid = getpid(), got = 1, p[2];

	CHECK_EQ(ioctl(s, SIOCGPGRP, &got), 0);
	CHECK_EQ(got, 0);
	CHECK_EQ(ioctl(s, SIOCSPGRP, &pid), 0);
	CHECK_EQ(ioctl(s, FIOGETOWN, &got), 0);
	CHECK_EQ(got, pid);
	CHECK_EQ(fcntl(s, F_GETOWN), pid);
	close(s);
	REQUIRE(pipe(p) == 0);
	CHECK_ERRNO(ioctl(p[0], FIOGETOWN, &got), ENOTTY);
	close(p[0]);
	close(p[1]);
}

/* The next SIGRTMIN's code, descriptor and band. */
static void expect_signal(int line, int code, int fd, int band)
{
	sigset_t set;
	siginfo_t info = {0};

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	if (sigtimedwait(&set, &info, &(struct timespec){20, 0}) != SIGRTMIN ||
	    info.si_code != code || info.si_fd != fd || info.si_band != band) {
		printf("line %d: code %d fd %d band %lx, expected %d %d %x\n", line, info.si_code,
		       info.si_fd, info.si_band, code, fd, band);
		check_failures++;
	}
}
#define EXPECT_SIGNAL(code, fd, band) expect_signal(__LINE__, code, fd, band)

static void signals_name_the_descriptor_that_asked(void)
{
	sigset_t set;
	int s[2], copy;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	fcntl(s[0], F_SETOWN, getpid());
	fcntl(s[0], F_SETSIG, SIGRTMIN);
	fcntl(s[0], F_SETFL, O_ASYNC);
	write(s[1], "x", 1);
	EXPECT_SIGNAL(POLL_IN, s[0], POLLIN | POLLRDNORM);
	copy = dup(s[0]);
	write(s[1], "x", 1);
	EXPECT_SIGNAL(POLL_IN, s[0], POLLIN | POLLRDNORM);
	/* It is on already: nothing changes. */
	fcntl(copy, F_SETFL, O_ASYNC);
	write(s[1], "x", 1);
	EXPECT_SIGNAL(POLL_IN, s[0], POLLIN | POLLRDNORM);
	fcntl(copy, F_SETFL, 0);
	fcntl(copy, F_SETFL, O_ASYNC);
	write(s[1], "x", 1);
	EXPECT_SIGNAL(POLL_IN, copy, POLLIN | POLLRDNORM);
	close(s[0]);
	close(s[1]);
	EXPECT_SIGNAL(POLL_HUP, copy, POLLHUP | POLLERR);
	close(copy);
}

int main(void)
{
	kinds();
	sockets_have_owners_by_ioctl();
	signals_name_the_descriptor_that_asked();
	CHECK_DONE();
}
