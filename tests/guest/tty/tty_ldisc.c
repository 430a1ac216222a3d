/* The line discipline: editing, echo, signals' characters, raw reads (man 3 termios). */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int m, s;

static void type(const char *p)
{
	CHECK_EQ(write(m, p, strlen(p)), (long long)strlen(p));
}

/* What the master sees: at least `n` bytes, however long a busy machine takes. */
static const char *shown_bytes(size_t want)
{
	static char buf[1024];
	size_t n = 0;

	for (;;) {
		struct pollfd p = {m, POLLIN, 0};
		ssize_t r;

		if (poll(&p, 1, n < want ? 20000 : 30) <= 0)
			break;
		r = read(m, buf + n, sizeof(buf) - 1 - n);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	buf[n] = 0;
	return buf;
}

/* Until so many characters can be read. */
static void wait_chars(int want)
{
	int n = 0;

	for (int i = 0; i < 20000; i++) {
		if (ioctl(s, FIONREAD, &n) == 0 && n >= want)
			break;
		usleep(1000);
	}
	CHECK_EQ(n, want);
}

static const char *line(void)
{
	static char buf[1024];
	struct pollfd p = {s, POLLIN, 0};
	ssize_t n = 0;

	if (poll(&p, 1, 20000) > 0)
		n = read(s, buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = 0;
	return buf;
}

#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *got_ = (got);                                                          \
		if (strcmp(got_, want)) {                                                          \
			printf("%s:%d: got \"%s\", expected \"%s\"\n", __FILE__, __LINE__, got_,   \
			       want);                                                              \
			check_failures++;                                                          \
		}                                                                                  \
	} while (0)

#define CHECK_SHOWN(want) CHECK_STR(shown_bytes(sizeof(want) - 1), want)

static void defaults(void)
{
	struct termios t;

	CHECK_EQ(tcgetattr(s, &t), 0);
	CHECK_EQ(t.c_iflag, ICRNL | IXON);
	CHECK_EQ(t.c_oflag, OPOST | ONLCR);
	CHECK_EQ(t.c_lflag, ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN);
	CHECK_EQ(t.c_cflag, B38400 | CS8 | CREAD);
	CHECK_EQ(t.c_cc[VINTR], 3);
	CHECK_EQ(t.c_cc[VERASE], 0177);
	CHECK_EQ(t.c_cc[VMIN], 1);
	CHECK_EQ(cfgetospeed(&t), B38400);
}

static void editing(void)
{
	type("abc\177\177x\r");
	CHECK_STR(line(), "ax\n");
	CHECK_SHOWN("abc\b \b\b \bx\r\n");
	type("one two\027three\n");
	CHECK_STR(line(), "one three\n");
	CHECK_SHOWN("one two\b \b\b \b\b \bthree\r\n");
	type("gone\025kept\n");
	CHECK_STR(line(), "kept\n");
	CHECK_SHOWN("gone\b \b\b \b\b \b\b \bkept\r\n");
	type("a\026\003b\n"); /* VLNEXT quotes the interrupt character */
	CHECK_STR(line(), "a\003b\n");
	CHECK_SHOWN("a^\b^Cb\r\n");
	type("ab\022c\n"); /* VREPRINT */
	CHECK_STR(line(), "abc\n");
	CHECK_SHOWN("ab^R\r\nabc\r\n");
	type("a\tb\177\177c\n"); /* erasing a tab goes back to its column */
	CHECK_STR(line(), "ac\n");
	CHECK_SHOWN("a\tb\b \b\b\b\b\b\b\b\bc\r\n");
	type("\001\177ok\n"); /* control characters take two columns */
	CHECK_STR(line(), "ok\n");
	CHECK_SHOWN("^A\b \b\b \bok\r\n");
	type("\177\025\027z\n"); /* nothing to erase */
	CHECK_STR(line(), "z\n");
	CHECK_SHOWN("z\r\n");
}

static void utf8(void)
{
	struct termios t, old;

	tcgetattr(s, &old);
	t = old;
	t.c_iflag |= IUTF8;
	tcsetattr(s, TCSANOW, &t);
	type("x\303\244\177y\n");
	CHECK_STR(line(), "xy\n");
	CHECK_SHOWN("x\303\244\b \by\r\n");
	tcsetattr(s, TCSANOW, &old);
}

static void flags(void)
{
	struct termios t, old;

	tcgetattr(s, &old);
	t = old;
	t.c_lflag &= ~(unsigned)ECHO;
	t.c_lflag |= ECHONL;
	t.c_oflag &= ~(unsigned)ONLCR;
	tcsetattr(s, TCSANOW, &t);
	type("quiet\n");
	CHECK_STR(line(), "quiet\n");
	CHECK_SHOWN("\n");
	t.c_lflag &= ~(unsigned)ECHONL;
	t.c_iflag = INLCR | IGNCR | ISTRIP;
	tcsetattr(s, TCSANOW, &t);
	t.c_lflag &= ~(unsigned)ICANON;
	tcsetattr(s, TCSANOW, &t);
	type("a\rb\n\301");
	wait_chars(4);
	CHECK_STR(line(), "ab\rA");
	t.c_oflag = OPOST | OCRNL | ONLRET | XTABS;
	tcsetattr(s, TCSANOW, &t);
	CHECK_EQ(write(s, "a\r\tb", 4), 4);
	CHECK_SHOWN("a\n        b");
	tcsetattr(s, TCSAFLUSH, &old);
	shown_bytes(0);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void raw_reads(void)
{
	struct termios t, old;
	char buf[16];
	struct pollfd p = {s, POLLIN, 0};
	double start;

	tcgetattr(s, &old);
	t = old;
	cfmakeraw(&t);
	t.c_cc[VMIN] = 3;
	t.c_cc[VTIME] = 0;
	tcsetattr(s, TCSANOW, &t);
	type("ab");
	CHECK_EQ(poll(&p, 1, 20), 0); /* fewer than VMIN */
	wait_chars(2);
	type("\003d");
	CHECK_EQ(poll(&p, 1, 20000), 1);
	wait_chars(4);
	CHECK_EQ(read(s, buf, sizeof(buf)), 4);
	CHECK(!memcmp(buf, "ab\003d", 4));
	CHECK_SHOWN("");

	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	tcsetattr(s, TCSANOW, &t);
	CHECK_EQ(read(s, buf, sizeof(buf)), 0);
	t.c_cc[VTIME] = 2;
	tcsetattr(s, TCSANOW, &t);
	start = now();
	CHECK_EQ(read(s, buf, sizeof(buf)), 0);
	CHECK(now() - start > 0.15 && now() - start < 30);
	/* VMIN and VTIME: the time between bytes */
	t.c_cc[VMIN] = 5;
	t.c_cc[VTIME] = 1;
	tcsetattr(s, TCSANOW, &t);
	type("xy");
	start = now();
	CHECK_EQ(read(s, buf, sizeof(buf)), 2);
	CHECK(now() - start > 0.05 && now() - start < 30);
	/* back to lines: what was typed before becomes readable as it is */
	type("left");
	wait_chars(4);
	tcsetattr(s, TCSANOW, &old);
	CHECK_STR(line(), "left");
}

static void flow(void)
{
	struct pollfd p = {m, POLLIN, 0};
	int n, on = 1;
	char status = 0;

	/* Packet mode tells when the terminal has stopped and started. */
	CHECK_EQ(ioctl(m, TIOCPKT, &on), 0);
	type("\023"); /* ^S */
	CHECK_EQ(read(m, &status, 1), 1);
	CHECK(status & TIOCPKT_STOP);
	CHECK_EQ(fcntl(s, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	CHECK_ERRNO(write(s, "held", 4), EAGAIN);
	CHECK_EQ(poll(&p, 1, 20), 0);
	type("\021"); /* ^Q */
	CHECK_EQ(read(m, &status, 1), 1);
	CHECK(status & TIOCPKT_START);
	on = 0;
	CHECK_EQ(ioctl(m, TIOCPKT, &on), 0);
	CHECK_EQ(write(s, "free", 4), 4);
	CHECK_SHOWN("free");
	CHECK_EQ(fcntl(s, F_SETFL, O_RDWR), 0);
	type("typed");
	CHECK_SHOWN("typed");
	CHECK_EQ(tcflush(s, TCIFLUSH), 0);
	type("\n");
	CHECK_STR(line(), "\n");
	CHECK_SHOWN("\r\n");
	CHECK_ERRNO(ioctl(s, TCFLSH, 77), EINVAL);
	CHECK_EQ(ioctl(s, TIOCOUTQ, &n), 0);
	CHECK_EQ(n, 0);
}

/* A line longer than the buffer: 4095 characters and the newline are kept. */
static void long_line(void)
{
	static char big[5000], got[8192];
	struct termios t, old;
	ssize_t n;

	tcgetattr(s, &old);
	t = old;
	t.c_lflag &= ~(unsigned)ECHO;
	tcsetattr(s, TCSANOW, &t);
	memset(big, 'L', sizeof(big));
	CHECK_EQ(write(m, big, sizeof(big)), (long long)sizeof(big));
	type("\n");
	n = read(s, got, sizeof(got));
	CHECK_EQ(n, 4096);
	CHECK(n > 0 && got[n - 1] == '\n');
	tcsetattr(s, TCSANOW, &old);
}

/* What ends a line that fills the buffer must not run over what is unread. */
static void full_line_then_newlines(void)
{
	static char big[5000], got[8192];
	struct termios t, old;
	int status, others = 0;
	ssize_t n;
	pid_t pid;

	tcgetattr(s, &old);
	t = old;
	t.c_lflag &= ~(unsigned)ECHO;
	tcsetattr(s, TCSANOW, &t);
	memset(big, 'L', sizeof(big));
	memset(big + sizeof(big) - 4, '\n', 4);
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) /* may have to wait for room */
		_exit(write(m, big, sizeof(big)) != (ssize_t)sizeof(big));
	n = read(s, got, sizeof(got));
	CHECK_EQ(n, 4096);
	CHECK(n > 0 && got[n - 1] == '\n');
	for (ssize_t i = 0; i < n - 1; i++)
		others += got[i] != 'L';
	CHECK_EQ(others, 0);
	for (int i = 0; i < 3; i++)
		CHECK_STR(line(), "\n");
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(ioctl(s, FIONREAD, &status), 0);
	CHECK_EQ(status, 0);
	tcsetattr(s, TCSANOW, &old);
}

int main(void)
{
	alarm(58);
	REQUIRE(openpty(&m, &s, NULL, NULL, NULL) == 0);
	defaults();
	editing();
	utf8();
	flags();
	raw_reads();
	flow();
	long_line();
	full_line_then_newlines();
	CHECK_DONE();
}
