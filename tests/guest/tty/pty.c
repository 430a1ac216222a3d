/* Pseudo-terminals: names, data both ways, end of file, hangup, packet mode (man 7 pty, man 4 pts).
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "check.h"

static int open_master(void)
{
	int m = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

	REQUIRE(m >= 0);
	return m;
}

static int open_slave(int m, char *name, size_t size, int flags)
{
	int s;

	CHECK_EQ(ptsname_r(m, name, size), 0);
	CHECK_EQ(grantpt(m), 0);
	CHECK_EQ(unlockpt(m), 0);
	s = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | flags);
	REQUIRE(s >= 0);
	return s;
}

static int readable(int fd, int ms)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, ms) > 0 ? p.revents : 0;
}

/* FIONREAD, once it is what is wanted or after a long time. */
static int wait_chars(int fd, int want)
{
	int n = 0;

	for (int i = 0; i < 20000 && !ioctl(fd, FIONREAD, &n) && n != want; i++)
		usleep(1000);
	return n;
}

static void names(void)
{
	char name[64], link[64], path[64];
	int m = open_master(), s, n, locked, peer;
	struct stat st, st2;

	CHECK_EQ(ioctl(m, TIOCGPTN, &n), 0);
	CHECK_EQ(ioctl(m, TIOCGPTLCK, &locked), 0);
	CHECK_EQ(locked, 1);
	snprintf(name, sizeof(name), "/dev/pts/%d", n);
	CHECK_ERRNO(open(name, O_RDWR | O_NOCTTY), EIO);
	s = open_slave(m, name, sizeof(name), 0);
	CHECK_EQ(fstat(s, &st), 0);
	CHECK_EQ(stat(name, &st2), 0);
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(st.st_ino, st2.st_ino);
	CHECK_EQ(st.st_dev, st2.st_dev);
	CHECK_EQ(major(st.st_rdev), 136);
	CHECK_EQ(minor(st.st_rdev), n);
	CHECK(isatty(s));
	CHECK(isatty(m));
	CHECK_EQ(ttyname_r(s, link, sizeof(link)), 0);
	CHECK(!strcmp(link, name));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s);
	n = readlink(path, link, sizeof(link) - 1);
	REQUIRE(n > 0);
	link[n] = 0;
	CHECK(!strcmp(link, name));

	peer = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(peer >= 0);
	CHECK_EQ(fstat(peer, &st2), 0);
	CHECK_EQ(st.st_ino, st2.st_ino);
	close(peer);
	close(s);
	close(m);
	/* Somebody else's terminal may get the number for a while. */
	for (int i = 0; i < 20000 && stat(name, &st) == 0; i++)
		usleep(1000);
	CHECK_ERRNO(stat(name, &st), ENOENT);
}

static void data(void)
{
	char name[64], buf[256];
	int m = open_master(), s = open_slave(m, name, sizeof(name), 0);
	struct termios t;

	CHECK_EQ(tcgetattr(s, &t), 0);
	t.c_lflag &= ~(unsigned)ECHO;
	CHECK_EQ(tcsetattr(s, TCSANOW, &t), 0);

	CHECK_EQ(write(s, "out\n", 4), 4);
	CHECK(readable(m, 20000) & POLLIN);
	CHECK_EQ(wait_chars(m, 5), 5);
	CHECK_EQ(read(m, buf, sizeof(buf)), 5);
	CHECK(!memcmp(buf, "out\r\n", 5));

	CHECK_EQ(readable(s, 0), 0);
	CHECK_EQ(write(m, "par", 3), 3);
	CHECK_EQ(readable(s, 20), 0); /* no line yet */
	CHECK_EQ(write(m, "tial\nnext\n", 10), 10);
	CHECK(readable(s, 20000) & POLLIN);
	CHECK_EQ(wait_chars(s, 13), 13);
	CHECK_EQ(read(s, buf, sizeof(buf)), 8);
	CHECK(!memcmp(buf, "partial\n", 8));
	CHECK_EQ(read(s, buf, 2), 2);
	CHECK_EQ(read(s, buf, sizeof(buf)), 3);
	CHECK(!memcmp(buf, "xt\n", 3));
	CHECK_EQ(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	CHECK_ERRNO(read(s, buf, 1), EAGAIN);
	CHECK_EQ(fcntl(m, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	CHECK_ERRNO(read(m, buf, 1), EAGAIN);
	/* VEOF at the start of a line is end of file */
	CHECK_EQ(write(m, "\004", 1), 1);
	CHECK(readable(s, 20000) & POLLIN);
	CHECK_EQ(read(s, buf, sizeof(buf)), 0);
	CHECK_EQ(write(m, "ab\004", 3), 3);
	CHECK(readable(s, 20000) & POLLIN);
	CHECK_EQ(read(s, buf, sizeof(buf)), 2);
	CHECK_ERRNO(read(s, buf, 1), EAGAIN);
	CHECK_ERRNO(lseek(s, 0, SEEK_SET), ESPIPE);
	close(s);
	close(m);
}

static void closing(void)
{
	char name[64], buf[16];
	int m = open_master(), s = open_slave(m, name, sizeof(name), 0);

	CHECK_EQ(write(s, "x", 1), 1);
	close(s);
	CHECK_EQ(read(m, buf, sizeof(buf)), 1); /* what was written is still there */
	CHECK_ERRNO(read(m, buf, sizeof(buf)), EIO);
	CHECK(readable(m, 0) & POLLHUP);
	s = open(name, O_RDWR | O_NOCTTY);
	CHECK(s >= 0);
	CHECK(!(readable(m, 0) & POLLHUP));
	close(m);
	CHECK_EQ(read(s, buf, sizeof(buf)), 0);
	CHECK_ERRNO(write(s, "y", 1), EIO);
	CHECK(readable(s, 0) & POLLHUP);
	close(s);
}

static void packets(void)
{
	char name[64], buf[64];
	int m = open_master(), s = open_slave(m, name, sizeof(name), 0), on = 1;

	CHECK_EQ(ioctl(m, TIOCPKT, &on), 0);
	CHECK_EQ(write(s, "hello", 5), 5);
	CHECK_EQ(wait_chars(m, 5), 5);
	CHECK_EQ(read(m, buf, sizeof(buf)), 6);
	CHECK_EQ(buf[0], TIOCPKT_DATA);
	CHECK(!memcmp(buf + 1, "hello", 5));
	CHECK_EQ(tcflush(s, TCIFLUSH), 0);
	CHECK_EQ(read(m, buf, sizeof(buf)), 1);
	CHECK(buf[0] & TIOCPKT_FLUSHREAD);
	/* Room for the packet's first byte alone. */
	CHECK_EQ(write(s, "x", 1), 1);
	CHECK_EQ(wait_chars(m, 1), 1);
	CHECK_EQ(read(m, buf, 1), 1);
	CHECK_EQ(buf[0], TIOCPKT_DATA);
	CHECK_EQ(read(m, buf, sizeof(buf)), 2);
	close(s);
	close(m);
}

static volatile sig_atomic_t winches;

static void on_winch(int sig)
{
	winches++;
}

static void window_size(void)
{
	char name[64];
	int m = open_master(), s, status;
	struct winsize ws = {24, 80, 0, 0}, got;
	pid_t pid;

	s = open_slave(m, name, sizeof(name), 0);
	CHECK_EQ(ioctl(s, TIOCGWINSZ, &got), 0);
	CHECK_EQ(got.ws_row, 0);
	CHECK_EQ(ioctl(m, TIOCSWINSZ, &ws), 0);
	CHECK_EQ(ioctl(s, TIOCGWINSZ, &got), 0);
	CHECK_EQ(got.ws_row, 24);
	CHECK_EQ(got.ws_col, 80);
	pid = fork();
	if (pid == 0) {
		char c;

		signal(SIGWINCH, on_winch);
		setsid();
		if (ioctl(s, TIOCSCTTY, 0))
			_exit(2);
		if (write(s, "R", 1) != 1)
			_exit(3);
		while (!winches)
			usleep(1000);
		if (read(s, &c, 1) != 1)
			_exit(4);
		_exit(0);
	}
	CHECK_EQ(read(m, name, 1), 1);
	ws.ws_col = 132;
	CHECK_EQ(ioctl(m, TIOCSWINSZ, &ws), 0);
	CHECK_EQ(write(m, "\n", 1), 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	close(s);
	close(m);
}

int main(void)
{
	alarm(58);
	names();
	data();
	closing();
	packets();
	window_size();
	CHECK_DONE();
}
