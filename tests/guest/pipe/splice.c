/* splice, tee, vmsplice (man 2 splice, tee, vmsplice). */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "check.h"

int main(void)
{
	char path[] = "/tmp/splice_test_XXXXXX", b[64];
	int a[2], c[2], s[2], fd = mkstemp(path);
	loff_t off;

	REQUIRE(fd >= 0 && pipe(a) == 0 && pipe(c) == 0);
	CHECK_EQ(write(fd, "0123456789", 10), 10);
	/* File to pipe, at an offset: the file's own stays. */
	off = 3;
	CHECK_EQ(splice(fd, &off, a[1], NULL, 4, 0), 4);
	CHECK_EQ(off, 7);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10);
	CHECK_EQ(read(a[0], b, 64), 4);
	CHECK(memcmp(b, "3456", 4) == 0);
	CHECK_EQ(splice(fd, NULL, a[1], NULL, 4, 0), 0); /* end of file */
	CHECK_EQ(lseek(fd, 2, SEEK_SET), 2);
	CHECK_EQ(splice(fd, NULL, a[1], NULL, 100, SPLICE_F_MOVE), 8);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10);
	/* tee leaves the source, splice moves. */
	CHECK_EQ(tee(a[0], c[1], 5, 0), 5);
	CHECK_EQ(tee(a[0], c[1], 100, SPLICE_F_NONBLOCK), 8);
	CHECK_EQ(read(c[0], b, 64), 13);
	CHECK(memcmp(b, "2345623456789", 13) == 0);
	CHECK_EQ(splice(a[0], NULL, c[1], NULL, 3, 0), 3);
	CHECK_EQ(read(c[0], b, 64), 3);
	CHECK(memcmp(b, "234", 3) == 0);
	/* Pipe to file. */
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(splice(a[0], NULL, fd, NULL, 100, 0), 5);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 5);
	CHECK_EQ(pread(fd, b, 64, 0), 10);
	CHECK(memcmp(b, "5678956789", 10) == 0);
	CHECK_ERRNO(splice(a[0], NULL, c[1], NULL, 3, SPLICE_F_NONBLOCK), EAGAIN);
	/* Sockets. */
	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	CHECK_EQ(write(a[1], "socket", 6), 6);
	CHECK_EQ(splice(a[0], NULL, s[0], NULL, 100, 0), 6);
	CHECK_EQ(splice(s[1], NULL, a[1], NULL, 100, 0), 6);
	CHECK_EQ(read(a[0], b, 64), 6);
	/* vmsplice, both ways. */
	struct iovec iov[] = {{"ab", 2}, {"cde", 3}};
	CHECK_EQ(vmsplice(a[1], iov, 2, 0), 5);
	struct iovec in = {b, 64};
	CHECK_EQ(vmsplice(a[0], &in, 1, 0), 5);
	CHECK(memcmp(b, "abcde", 5) == 0);
	CHECK_ERRNO(vmsplice(fd, iov, 2, 0), EBADF);

	/* More than fits: what fits, without waiting for the rest. */
	static char big[1 << 17];
	struct iovec whole = {big, sizeof(big)};
	ssize_t n = vmsplice(a[1], &whole, 1, 0);
	CHECK(n > 0 && n < (ssize_t)sizeof(big));
	while (n > 0) {
		ssize_t got = read(a[0], big, sizeof(big));
		REQUIRE(got > 0);
		n -= got;
	}
	CHECK_EQ(n, 0);

	/* No streams: refused at once, though the pipe is empty. */
	int ev = eventfd(0, 0), tm = timerfd_create(CLOCK_MONOTONIC, 0), in_fd = inotify_init();
	CHECK_ERRNO(splice(a[0], NULL, ev, NULL, 8, 0), EINVAL);
	CHECK_ERRNO(splice(ev, NULL, a[1], NULL, 8, 0), EINVAL);
	CHECK_ERRNO(splice(tm, NULL, a[1], NULL, 8, 0), EINVAL);
	CHECK_ERRNO(splice(in_fd, NULL, a[1], NULL, 8, 0), EINVAL);
	CHECK_ERRNO(splice(fd, NULL, fd, NULL, 1, 0), EINVAL);
	CHECK_ERRNO(splice(a[0], NULL, a[1], NULL, 1, 0), EINVAL);
	CHECK_ERRNO(splice(a[0], &off, fd, NULL, 1, 0), ESPIPE);
	CHECK_ERRNO(splice(a[1], NULL, fd, NULL, 1, 0), EBADF);
	CHECK_ERRNO(splice(fd, NULL, a[1], NULL, 1, 0x100), EINVAL);
	CHECK_ERRNO(tee(a[0], fd, 1, 0), EINVAL);
	CHECK_EQ(splice(fd, NULL, a[1], NULL, 0, 0), 0);
	fcntl(fd, F_SETFL, O_APPEND);
	CHECK_EQ(write(a[1], "x", 1), 1);
	CHECK_ERRNO(splice(a[0], NULL, fd, NULL, 1, 0), EINVAL);
	unlink(path);
	CHECK_DONE();
}
