/* O_ASYNC: SIGIO, F_SETOWN, F_SETSIG (man 2 fcntl). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t plain, info_fd_ok;

static int watched_fd;

static void on_io(int sig)
{
	plain++;
}

static void on_rt(int sig, siginfo_t *si, void *uc)
{
	if (si->si_code == POLL_IN && (si->si_band & POLLIN) && si->si_fd == watched_fd)
		info_fd_ok++;
}

static void wait_for(volatile sig_atomic_t *count)
{
	for (int i = 0; i < 4000 && !*count; i++)
		nanosleep(&(struct timespec){0, 5000000}, NULL);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_io};
	int p[2], sv[2];
	char c;

	sigaction(SIGIO, &sa, NULL);
	sa.sa_sigaction = on_rt;
	sa.sa_flags = SA_SIGINFO;
	sigaction(SIGRTMIN, &sa, NULL);
	REQUIRE(pipe(p) == 0);
	CHECK_EQ(fcntl(p[0], F_SETOWN, getpid()), 0);
	write(p[1], "x", 1);
	nanosleep(&(struct timespec){0, 20000000}, NULL);
	CHECK_EQ(plain, 0); /* O_ASYNC is not set */
	read(p[0], &c, 1);
	CHECK_EQ(fcntl(p[0], F_SETFL, O_ASYNC), 0);
	CHECK_EQ(fcntl(p[0], F_GETFL) & O_ASYNC, O_ASYNC);
	write(p[1], "x", 1);
	wait_for(&plain);
	CHECK(plain >= 1);
	read(p[0], &c, 1);
	CHECK_EQ(fcntl(p[0], F_SETFL, 0), 0);
	nanosleep(&(struct timespec){0, 20000000}, NULL);
	plain = 0;
	write(p[1], "x", 1);
	nanosleep(&(struct timespec){0, 20000000}, NULL);
	CHECK_EQ(plain, 0);

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
	CHECK_EQ(fcntl(sv[0], F_SETOWN, getpid()), 0);
	CHECK_EQ(fcntl(sv[0], F_SETSIG, SIGRTMIN), 0);
	watched_fd = sv[0];
	CHECK_EQ(fcntl(sv[0], F_SETFL, O_ASYNC), 0);
	write(sv[1], "x", 1);
	wait_for(&info_fd_ok);
	CHECK(info_fd_ok >= 1);
	close(sv[0]);
	close(sv[1]);
	CHECK_DONE();
}
