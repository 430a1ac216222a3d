/* Job control: controlling terminals, foreground groups, SIGTTIN, SIGTTOU, SIGINT, hangup. */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "check.h"

static int m, s;

/* Runs fn in a new session whose controlling terminal is the slave; its check failures count. */
static void in_session(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (pid == 0) {
		check_failures = 0;
		REQUIRE(setsid() == getpid());
		REQUIRE(ioctl(s, TIOCSCTTY, 0) == 0);
		fn();
		exit(check_failures ? 1 : 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void fresh_pty(void)
{
	if (m > 0)
		close(m);
	if (s > 0)
		close(s);
	REQUIRE(openpty(&m, &s, NULL, NULL, NULL) == 0);
}

static void controlling(void)
{
	int fd, sid;

	CHECK_EQ(tcgetpgrp(s), getpgrp());
	CHECK_EQ(tcgetsid(s), getsid(0));
	CHECK_EQ(ioctl(m, TIOCGSID, &sid), 0);
	CHECK_EQ(sid, getsid(0));
	fd = open("/dev/tty", O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(tcgetpgrp(fd), getpgrp());
	close(fd);
	CHECK_ERRNO(tcsetpgrp(s, 999999), ESRCH);
	CHECK_ERRNO(tcsetpgrp(s, -1), EINVAL);
	signal(SIGHUP, SIG_IGN);
	CHECK_EQ(ioctl(s, TIOCNOTTY), 0);
	CHECK_ERRNO(open("/dev/tty", O_RDWR), ENXIO);
	CHECK_ERRNO(tcgetpgrp(s), ENOTTY);
	CHECK_ERRNO(ioctl(s, TIOCNOTTY), ENOTTY);
}

static volatile sig_atomic_t got_signal;

static void note(int sig)
{
	got_signal = sig;
}

static void wait_signal(int sig)
{
	for (int i = 0; i < 20000 && got_signal != sig; i++)
		usleep(1000);
	CHECK_EQ(got_signal, sig);
}

static void typed_signals(void)
{
	struct sigaction sa = {.sa_handler = note};
	int status;
	pid_t child;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGQUIT, &sa, NULL);
	CHECK_EQ(write(m, "\003", 1), 1);
	wait_signal(SIGINT);
	CHECK_EQ(write(m, "\034", 1), 1);
	wait_signal(SIGQUIT);
	child = fork();
	if (child == 0) { /* in the middle of a read: one of them will be */
		for (;;) {
			usleep(100000);
			CHECK_EQ(write(m, "\003", 1), 1);
		}
	}
	got_signal = 0;
	CHECK_ERRNO(read(s, &(char){0}, 1), EINTR);
	CHECK_EQ(got_signal, SIGINT);
	signal(SIGINT, SIG_IGN); /* those that are still on their way */
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);

	/* ^Z stops the foreground group, which is a child's here. */
	child = fork();
	if (child == 0) {
		setpgid(0, 0);
		for (;;)
			pause();
	}
	setpgid(child, child);
	CHECK_EQ(tcsetpgrp(s, child), 0);
	CHECK_EQ(tcgetpgrp(s), child);
	CHECK_EQ(write(m, "\032", 1), 1);
	CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTSTP);
	signal(SIGTTOU, SIG_IGN);
	CHECK_EQ(tcsetpgrp(s, getpgrp()), 0); /* from the background, SIGTTOU ignored */
	kill(child, SIGCONT);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
}

static void background(void)
{
	int status;
	struct termios t;
	pid_t child = fork();

	if (child == 0) {
		char c;

		setpgid(0, 0);
		if (read(s, &c, 1) != 1 || c != 'k') /* SIGTTIN, until in the foreground */
			_exit(1);
		_exit(0);
	}
	setpgid(child, child);
	CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
	CHECK_EQ(tcsetpgrp(s, child), 0);
	CHECK_EQ(kill(-child, SIGCONT), 0);
	CHECK_EQ(write(m, "k\n", 2), 2);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	signal(SIGTTOU, SIG_IGN);
	CHECK_EQ(tcsetpgrp(s, getpgrp()), 0);
	signal(SIGTTOU, SIG_DFL);

	/* Changing the modes from the background raises SIGTTOU; ignoring SIGTTIN makes reads fail.
	 */
	child = fork();
	if (child == 0) {
		char c;

		setpgid(0, 0);
		signal(SIGTTIN, SIG_IGN);
		if (read(s, &c, 1) != -1 || errno != EIO)
			_exit(2);
		if (write(s, "w", 1) != 1) /* allowed without TOSTOP */
			_exit(3);
		tcgetattr(s, &t);
		tcsetattr(s, TCSANOW, &t);
		_exit(4);
	}
	setpgid(child, child);
	CHECK_EQ(waitpid(child, &status, WUNTRACED), child);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTOU);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
}

/* The session leader's exit takes the terminal away from the rest of the session. */
static void hangup_on_exit(void)
{
	int ready[2], status;
	pid_t leader;
	char c;

	fresh_pty();
	REQUIRE(pipe(ready) == 0);
	leader = fork();
	if (leader == 0) {
		signal(SIGHUP, note);
		setsid();
		ioctl(s, TIOCSCTTY, 0);
		if (fork() == 0) {
			if (write(ready[1], "r", 1) != 1)
				_exit(1);
			for (int i = 0; i < 20000 && !got_signal; i++)
				usleep(1000);
			/* A pty goes on working for those who have it open. */
			c = got_signal == SIGHUP && write(s, "x", 1) == 1 &&
					    open("/dev/tty", O_RDWR) == -1 && errno == ENXIO
				    ? 'y'
				    : 'n';
			if (write(ready[1], &c, 1) != 1)
				_exit(1);
			_exit(0);
		}
		usleep(50000);
		_exit(0);
	}
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(waitpid(leader, &status, 0), leader);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	CHECK_EQ(c, 'y');
}

static void master_close(void)
{
	int status;
	pid_t leader;
	char c;

	fresh_pty();
	leader = fork();
	if (leader == 0) {
		close(m);
		setsid();
		ioctl(s, TIOCSCTTY, 0);
		if (write(s, "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	CHECK_EQ(read(m, &c, 1), 1);
	close(s);
	s = -1;
	close(m);
	m = -1;
	CHECK_EQ(waitpid(leader, &status, 0), leader);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
}

int main(void)
{
	alarm(58);
	fresh_pty();
	in_session(controlling);
	fresh_pty();
	in_session(typed_signals);
	fresh_pty();
	in_session(background);
	hangup_on_exit();
	master_close();
	CHECK_DONE();
}
