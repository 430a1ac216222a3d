/* File leases (man 2 fcntl: F_SETLEASE, F_GETLEASE). */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "tmpdir.h"

static volatile sig_atomic_t told, told_fd, told_code;

static void on_io(int sig)
{
	told++;
}

static void on_rt(int sig, siginfo_t *si, void *uc)
{
	told++;
	told_fd = si->si_fd;
	told_code = si->si_code;
}

static void wait_told(void)
{
	for (int i = 0; i < 5000 && !told; i++)
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	CHECK_EQ(told, 1);
	told = 0;
}

static int make(const char *name, int flags)
{
	int fd = open(name, O_CREAT | flags, 0644);

	REQUIRE(fd >= 0);
	return fd;
}

/* Who may have which lease. */
static void taken(void)
{
	int rd, other, wr, p[2];

	close(make("f", O_RDWR));
	rd = make("f", O_RDONLY);
	CHECK_EQ(fcntl(rd, F_GETLEASE), F_UNLCK);
	CHECK_ERRNO(fcntl(rd, F_SETLEASE, F_UNLCK), EAGAIN);
	CHECK_ERRNO(fcntl(rd, F_SETLEASE, 17), EINVAL);
	CHECK_EQ(fcntl(rd, F_SETLEASE, F_RDLCK), 0);
	CHECK_EQ(fcntl(rd, F_GETLEASE), F_RDLCK);
	other = dup(rd);
	CHECK_EQ(fcntl(other, F_GETLEASE), F_RDLCK); /* of the description */
	close(other);
	CHECK_EQ(fcntl(rd, F_GETOWN), getpid());
	other = make("f", O_RDONLY);
	CHECK_EQ(fcntl(other, F_GETLEASE), F_UNLCK);
	CHECK_EQ(fcntl(other, F_SETLEASE, F_RDLCK), 0);
	CHECK_ERRNO(fcntl(other, F_SETLEASE, F_WRLCK), EAGAIN);
	CHECK_EQ(fcntl(other, F_SETLEASE, F_UNLCK), 0);
	close(other);
	CHECK_EQ(fcntl(rd, F_SETLEASE, F_UNLCK), 0);
	CHECK_EQ(fcntl(rd, F_GETLEASE), F_UNLCK);
	close(rd);

	wr = make("g", O_RDWR);
	CHECK_ERRNO(fcntl(wr, F_SETLEASE, F_RDLCK), EAGAIN);
	CHECK_EQ(fcntl(wr, F_SETLEASE, F_WRLCK), 0);
	CHECK_EQ(fcntl(wr, F_GETLEASE), F_WRLCK);
	CHECK_EQ(fcntl(wr, F_SETLEASE, F_UNLCK), 0);
	other = make("g", O_RDONLY);
	CHECK_ERRNO(fcntl(wr, F_SETLEASE, F_WRLCK), EAGAIN);
	CHECK_ERRNO(fcntl(other, F_SETLEASE, F_RDLCK), EAGAIN);
	close(wr);
	CHECK_EQ(fcntl(other, F_SETLEASE, F_WRLCK), 0); /* read-only, but the only one */
	close(other);

	REQUIRE(pipe(p) == 0);
	CHECK_ERRNO(fcntl(p[0], F_SETLEASE, F_RDLCK), EINVAL);
	other = open(".", O_RDONLY);
	CHECK_ERRNO(fcntl(other, F_SETLEASE, F_RDLCK), EINVAL);
	close(other);
}

static void of_others(void)
{
	int fd = make("f", O_RDONLY), status = -1;
	pid_t pid;

	if (geteuid())
		return;
	pid = fork();
	if (!pid) {
		REQUIRE(setgid(65534) == 0 && setuid(65534) == 0);
		CHECK_ERRNO(fcntl(fd, F_SETLEASE, F_RDLCK), EACCES);
		_exit(check_failures);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	close(fd);
}

/* What does not wait starts the break, and is told so. */
static void broken_without_waiting(void)
{
	int rd = make("f", O_RDONLY), fd;

	CHECK_EQ(fcntl(rd, F_SETLEASE, F_RDLCK), 0);
	fd = open("f", O_RDONLY | O_NONBLOCK); /* readers do not mind each other */
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(told, 0);
	CHECK_ERRNO(open("f", O_WRONLY | O_NONBLOCK), EWOULDBLOCK);
	wait_told();
	CHECK_EQ(fcntl(rd, F_GETLEASE), F_UNLCK); /* what it is to become */
	CHECK_ERRNO(open("f", O_WRONLY | O_NONBLOCK), EWOULDBLOCK);
	CHECK_EQ(told, 0); /* once is enough */
	fd = open("f", O_PATH);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(fcntl(rd, F_SETLEASE, F_UNLCK), 0);
	fd = open("f", O_WRONLY | O_NONBLOCK);
	CHECK(fd >= 0);
	close(fd);
	close(rd);
}

/* The child opens, or truncates, and ends: its status 0. It has no part in the description. */
static pid_t opener(int holder, const char *name, int flags)
{
	pid_t pid = fork();

	if (!pid) {
		close(holder);
		_exit(flags < 0 ? truncate(name, 0) != 0 : open(name, flags) < 0);
	}
	return pid;
}

/* Not before the holder lets go. */
static void waits_for(int fd, const char *name, int flags, int becomes)
{
	int status = -1;
	pid_t pid = opener(fd, name, flags);

	wait_told();
	CHECK_EQ(fcntl(fd, F_GETLEASE), becomes);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK_EQ(fcntl(fd, F_SETLEASE, becomes), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(fcntl(fd, F_GETLEASE), becomes);
}

static void waited_for(void)
{
	int rd = make("f", O_RDONLY), wr, status = -1;
	pid_t pid;

	CHECK_EQ(fcntl(rd, F_SETLEASE, F_RDLCK), 0);
	waits_for(rd, "f", O_WRONLY, F_UNLCK);
	CHECK_EQ(fcntl(rd, F_SETLEASE, F_RDLCK), 0);
	waits_for(rd, "f", -1, F_UNLCK);
	close(rd);
	/* A reader leaves the holder of a write lease a read lease, if it only reads. */
	rd = make("f", O_RDONLY);
	CHECK_EQ(fcntl(rd, F_SETLEASE, F_WRLCK), 0);
	waits_for(rd, "f", O_RDONLY, F_RDLCK);
	close(rd);
	/* The last close ends it, too. */
	wr = make("f", O_RDWR);
	CHECK_EQ(fcntl(wr, F_SETLEASE, F_WRLCK), 0);
	pid = opener(wr, "f", O_RDONLY);
	wait_told();
	close(wr);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

/* A signal that is caught ends the wait of who opens. */
static void interrupted(void)
{
	int rd = make("f", O_RDONLY), status = -1;
	pid_t pid;

	CHECK_EQ(fcntl(rd, F_SETLEASE, F_RDLCK), 0);
	pid = fork();
	if (!pid) {
		struct sigaction sa = {.sa_handler = on_io};

		sigaction(SIGUSR1, &sa, NULL);
		_exit(open("f", O_WRONLY) < 0 && errno == EINTR ? 0 : 1);
	}
	wait_told(); /* it is in open */
	while (!waitpid(pid, &status, WNOHANG)) {
		kill(pid, SIGUSR1);
		nanosleep(&(struct timespec){0, 5000000}, NULL);
	}
	CHECK_EQ(status, 0);
	close(rd);
}

static void by_another_signal(void)
{
	struct sigaction sa = {.sa_sigaction = on_rt, .sa_flags = SA_SIGINFO};
	int rd = make("f", O_RDONLY);

	sigaction(SIGRTMIN, &sa, NULL);
	CHECK_EQ(fcntl(rd, F_SETSIG, SIGRTMIN), 0);
	CHECK_EQ(fcntl(rd, F_SETLEASE, F_RDLCK), 0);
	CHECK_ERRNO(open("f", O_WRONLY | O_NONBLOCK), EWOULDBLOCK);
	wait_told();
	CHECK_EQ(told_fd, rd);
	CHECK_EQ(told_code, POLL_MSG);
	close(rd);
}

static void test(void)
{
	struct sigaction sa = {.sa_handler = on_io};

	sigaction(SIGIO, &sa, NULL);
	taken();
	of_others();
	broken_without_waiting();
	waited_for();
	interrupted();
	by_another_signal();
}

int main(void)
{
	alarm(50);
	on_each_fs(test);
	CHECK_DONE();
}
