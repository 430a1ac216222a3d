/* Pipes: atomicity, capacity, packets, SIGPIPE, polling, fifos (man 7 pipe, man 7 fifo). */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

static int revents(int fd, int events)
{
	struct pollfd p = {.fd = fd, .events = (short)events};

	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void pipe_moves_bytes_in_order(void)
{
	char out[100000], in[100000];
	size_t got = 0;
	int fd[2];

	REQUIRE(pipe(fd) == 0);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7);
	if (fork() == 0) {
		_exit(write(fd[1], out, sizeof(out)) == sizeof(out) ? 0 : 1);
	}
	close(fd[1]);
	while (got < sizeof(in)) {
		ssize_t n = read(fd[0], in + got, 3001);

		REQUIRE(n > 0);
		got += (size_t)n;
	}
	CHECK_EQ(read(fd[0], in, 1), 0);
	CHECK(memcmp(in, out, sizeof(in)) == 0);
	int status;
	wait(&status);
	CHECK_EQ(status, 0);
	close(fd[0]);
}

static void capacity_and_nonblocking(void)
{
	static char buf[1 << 20];
	int fd[2], n;
	ssize_t total = 0, r;

	REQUIRE(pipe2(fd, O_NONBLOCK | O_CLOEXEC) == 0);
	CHECK_EQ(fcntl(fd[0], F_GETFD), FD_CLOEXEC);
	CHECK(fcntl(fd[1], F_GETFL) & O_NONBLOCK);
	CHECK_ERRNO(read(fd[0], buf, 1), EAGAIN);
	CHECK_EQ(fcntl(fd[0], F_GETPIPE_SZ), 65536);
	CHECK_EQ(revents(fd[0], POLLIN), 0);
	CHECK_EQ(revents(fd[1], POLLOUT), POLLOUT);
	while ((r = write(fd[1], buf, 4096)) > 0)
		total += r;
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(total, 65536);
	CHECK_EQ(revents(fd[1], POLLOUT), 0);
	CHECK_EQ(revents(fd[0], POLLIN), POLLIN);
	CHECK_EQ(ioctl(fd[0], FIONREAD, &n), 0);
	CHECK_EQ(n, 65536);
	CHECK_ERRNO(fcntl(fd[0], F_SETPIPE_SZ, 4096), EBUSY);
	CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 200000), 262144);
	CHECK_EQ(read(fd[0], buf, 70000), 65536);
	/* Larger than PIPE_BUF: what fits is written. */
	CHECK_EQ(write(fd[1], buf, 300000), 262144);
	CHECK_EQ(read(fd[0], buf, 262144), 262144);
	CHECK_EQ(fcntl(fd[0], F_SETPIPE_SZ, 1), 4096);
	CHECK_EQ(write(fd[1], buf, 4000), 4000);
	/* Not all of it fits, so none is written: writes of up to PIPE_BUF are atomic. */
	CHECK_ERRNO(write(fd[1], buf, 4096), EAGAIN);
	CHECK_EQ(read(fd[0], buf, 8192), 4000);
	close(fd[0]);
	close(fd[1]);
	CHECK_ERRNO(pipe2(fd, 0x1), EINVAL);
	CHECK_ERRNO(syscall(SYS_pipe, 8L), EFAULT);
}

static void write_to_closed_reader_raises_sigpipe(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	int fd[2];

	sigaction(SIGPIPE, &sa, NULL);
	REQUIRE(pipe(fd) == 0);
	close(fd[0]);
	got_signal = 0;
	CHECK_ERRNO(write(fd[1], "x", 1), EPIPE);
	CHECK_EQ(got_signal, SIGPIPE);
	CHECK_EQ(revents(fd[1], POLLOUT), POLLOUT | POLLERR);
	close(fd[1]);
	REQUIRE(pipe(fd) == 0);
	CHECK_EQ(write(fd[1], "abc", 3), 3);
	close(fd[1]);
	CHECK_EQ(revents(fd[0], POLLIN), POLLIN | POLLHUP);
	char b[8];
	CHECK_EQ(read(fd[0], b, 8), 3);
	CHECK_EQ(revents(fd[0], POLLIN), POLLHUP);
	CHECK_EQ(read(fd[0], b, 8), 0);
	close(fd[0]);
}

static void packets_keep_their_bounds(void)
{
	char buf[100];
	int fd[2];

	REQUIRE(pipe2(fd, O_DIRECT) == 0);
	CHECK_EQ(write(fd[1], "hello", 5), 5);
	CHECK_EQ(write(fd[1], "world!", 6), 6);
	CHECK_EQ(read(fd[0], buf, 100), 5);
	CHECK_EQ(read(fd[0], buf, 3), 3); /* the rest of the packet is lost */
	CHECK(memcmp(buf, "wor", 3) == 0);
	CHECK_EQ(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
	CHECK_ERRNO(read(fd[0], buf, 100), EAGAIN);
	close(fd[0]);
	close(fd[1]);
}

static void signal_interrupts_read(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	char b;
	int fd[2];

	sigaction(SIGALRM, &sa, NULL);
	REQUIRE(pipe(fd) == 0);
	alarm(1);
	CHECK_ERRNO(read(fd[0], &b, 1), EINTR);
	CHECK_EQ(got_signal, SIGALRM);
	close(fd[0]);
	close(fd[1]);
}

static void readv_writev(void)
{
	char a[3], b[4];
	struct iovec out[] = {{"ab", 2}, {"cde", 3}, {"", 0}}, in[] = {{a, 3}, {b, 4}};
	int fd[2];

	REQUIRE(pipe(fd) == 0);
	CHECK_EQ(writev(fd[1], out, 3), 5);
	CHECK_EQ(readv(fd[0], in, 2), 5);
	CHECK(memcmp(a, "abc", 3) == 0 && memcmp(b, "de", 2) == 0);
	CHECK_ERRNO(lseek(fd[0], 0, SEEK_SET), ESPIPE);
	CHECK_ERRNO(pread(fd[0], a, 1, 0), ESPIPE);
	CHECK_ERRNO(write(fd[0], a, 1), EBADF);
	CHECK_ERRNO(syscall(SYS_write, fd[1], 16L, 1L), EFAULT);
	close(fd[0]);
	close(fd[1]);
}

static void fifo_open_rules(void)
{
	char path[] = "/tmp/fifo_test_XXXXXX", b[8];
	int rd, wr;

	REQUIRE(mkdtemp(path));
	REQUIRE(chdir(path) == 0);
	REQUIRE(mkfifo("f", 0600) == 0);
	CHECK_ERRNO(open("f", O_WRONLY | O_NONBLOCK), ENXIO);
	rd = open("f", O_RDONLY | O_NONBLOCK);
	CHECK(rd >= 0);
	CHECK_EQ(revents(rd, POLLIN), 0); /* no hang-up before there was a writer */
	CHECK_EQ(read(rd, b, 8), 0);
	wr = open("f", O_WRONLY | O_NONBLOCK);
	CHECK(wr >= 0);
	CHECK_ERRNO(read(rd, b, 8), EAGAIN);
	CHECK_EQ(write(wr, "hi", 2), 2);
	close(wr);
	CHECK_EQ(revents(rd, POLLIN), POLLIN | POLLHUP);
	CHECK_EQ(read(rd, b, 8), 2);
	close(rd);
	/* Each waits for the other. */
	if (fork() == 0) {
		usleep(50000);
		wr = open("f", O_WRONLY);
		_exit(write(wr, "child", 5) == 5 ? 0 : 1);
	}
	rd = open("f", O_RDONLY);
	CHECK(rd >= 0);
	CHECK_EQ(read(rd, b, 8), 5);
	CHECK_EQ(read(rd, b, 8), 0);
	close(rd);
	wait(NULL);
	rd = open("f", O_RDWR);
	CHECK(rd >= 0);
	CHECK_EQ(write(rd, "self", 4), 4);
	CHECK_EQ(read(rd, b, 8), 4);
	close(rd);
	unlink("f");
	chdir("/");
	rmdir(path);
}

static void both_ends_are_one_inode(void)
{
	struct stat a, b;
	char link1[64], link2[64], path[64];
	ssize_t n1, n2;
	int fd[2], again;

	REQUIRE(pipe(fd) == 0);
	CHECK_EQ(fstat(fd[0], &a), 0);
	CHECK_EQ(fstat(fd[1], &b), 0);
	CHECK(S_ISFIFO(a.st_mode));
	CHECK_EQ(a.st_ino, b.st_ino);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[0]);
	n1 = readlink(path, link1, sizeof(link1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[1]);
	n2 = readlink(path, link2, sizeof(link2));
	CHECK(n1 > 6 && n1 == n2 && memcmp(link1, link2, (size_t)n1) == 0);
	CHECK(memcmp(link1, "pipe:[", 6) == 0);
	again = open(path, O_WRONLY);
	CHECK(again >= 0);
	CHECK_EQ(write(again, "x", 1), 1);
	CHECK_EQ(read(fd[0], link1, 8), 1);
	/* Opening a pipe's end again does not wait, even if the other side is gone. */
	close(again);
	close(fd[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd[0]);
	again = open(path, O_RDONLY);
	CHECK(again >= 0);
	CHECK_EQ(read(again, link1, 8), 0);
	close(again);
	close(fd[0]);
}

int main(void)
{
	pipe_moves_bytes_in_order();
	capacity_and_nonblocking();
	write_to_closed_reader_raises_sigpipe();
	packets_keep_their_bounds();
	signal_interrupts_read();
	readv_writev();
	fifo_open_rules();
	both_ends_are_one_inode();
	CHECK_DONE();
}
