/* Offsets and lengths at the edges: pread, pwrite, lseek, sendfile, splice, copy_file_range,
 * getdents, eventfds; and what a write takes away (man 2 each, man 7 capabilities). */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "check.h"
#include "tmpdir.h"

static char buf[4096];

static void reads_and_writes(void)
{
	int f = open("f", O_RDWR | O_CREAT, 0600);
	struct iovec iov = {buf, 10};

	CHECK_EQ(write(f, "hello world", 11), 11);
	CHECK_ERRNO(pread(f, buf, 10, -1), EINVAL);
	CHECK_ERRNO(pread(f, buf, 10, INT64_MAX), EINVAL);
	CHECK_ERRNO(pread(f, buf, 10, INT64_MAX - 5), EINVAL);
	CHECK_EQ(pread(f, buf, 10, INT64_MAX - 10), 0);
	CHECK_EQ(pread(f, buf, 0, INT64_MAX), 0);
	CHECK_ERRNO(pwrite(f, buf, 10, INT64_MAX), EINVAL);
	CHECK_ERRNO(pwrite(f, buf, 10, INT64_MAX - 5), EINVAL);
	CHECK_EQ(pwrite(f, buf, 0, INT64_MAX), 0);
	CHECK_ERRNO(pwritev(f, &iov, 1, INT64_MAX), EINVAL);
	CHECK_ERRNO(syscall(SYS_read, f, buf, (size_t)SSIZE_MAX + 1), EFAULT);
	CHECK_ERRNO(syscall(SYS_write, f, buf, (size_t)SSIZE_MAX + 1), EFAULT);
	CHECK_ERRNO(syscall(SYS_read, f, -1L, 0UL), EFAULT);
	CHECK_ERRNO(lseek(f, INT64_MAX, SEEK_END), EINVAL);
	CHECK_ERRNO(lseek(f, INT64_MIN, SEEK_CUR), EINVAL);
	CHECK_ERRNO(lseek(f, -100, SEEK_END), EINVAL);
	CHECK_EQ(lseek(f, 0, SEEK_END), 11);
	close(f);
}

static void copies(void)
{
	int f = open("f", O_RDWR), g = open("g", O_RDWR | O_CREAT, 0600), p[2];
	loff_t in, out;

	REQUIRE(pipe2(p, O_NONBLOCK) == 0);
	CHECK_ERRNO(sendfile(g, f, &(off_t){INT64_MAX}, 10), EINVAL);
	CHECK_ERRNO(sendfile(g, f, &(off_t){INT64_MAX - 5}, 10), EINVAL);
	CHECK_ERRNO(sendfile(g, f, &(off_t){0}, SIZE_MAX), EINVAL);
	CHECK_ERRNO(sendfile(g, p[0], NULL, 10), EINVAL);
	in = INT64_MAX;
	CHECK_ERRNO(splice(f, &in, p[1], NULL, 10, 0), EINVAL);
	in = INT64_MAX - 5;
	CHECK_ERRNO(splice(f, &in, p[1], NULL, 10, 0), EINVAL);
	in = 0;
	CHECK_ERRNO(splice(f, &in, p[1], NULL, SIZE_MAX, 0), EINVAL);
	out = INT64_MAX;
	CHECK_ERRNO(splice(p[0], NULL, g, &out, 10, 0), EINVAL);
	in = -1, out = 0;
	CHECK_ERRNO(copy_file_range(f, &in, g, &out, 10, 0), EOVERFLOW);
	in = INT64_MAX, out = 0;
	CHECK_EQ(copy_file_range(f, &in, g, &out, 10, 0), 0);
	in = 0, out = INT64_MAX;
	CHECK_ERRNO(copy_file_range(f, &in, g, &out, 10, 0), EFBIG);
	in = 0, out = 5;
	CHECK_ERRNO(copy_file_range(f, &in, f, &out, 10, 0), EINVAL);
	in = 0, out = 0;
	CHECK_EQ(copy_file_range(f, &in, g, &out, INT64_MAX, 0), 11);
	close(p[0]);
	close(p[1]);
	close(f);
	close(g);
}

static void directories(void)
{
	int d = open(".", O_RDONLY | O_DIRECTORY);

	CHECK_ERRNO(syscall(SYS_getdents64, d, buf, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_getdents64, d, buf, 16), EINVAL);
	CHECK_ERRNO(syscall(SYS_getdents64, d, buf, -1), EINVAL);
	CHECK(syscall(SYS_getdents64, d, buf, sizeof(buf)) > 0);
	CHECK_EQ(syscall(SYS_getdents64, d, buf, -1), 0);
	close(d);
}

static ssize_t capability(int f)
{
	char got[64];

	errno = 0;
	return fgetxattr(f, "security.capability", got, sizeof(got));
}

/* Who changes a file's content or owner takes its capabilities away. */
static void file_capabilities(void)
{
	/* struct vfs_cap_data, version 2: CAP_NET_RAW permitted. */
	static const uint32_t cap[5] = {0x02000000, 1 << 13};
	int f = open("f", O_RDWR);

	if (fsetxattr(f, "security.capability", cap, sizeof(cap), 0)) {
		close(f); /* not root */
		return;
	}
	CHECK_EQ(capability(f), 20);
	CHECK_EQ(pread(f, buf, 1, 0), 1);
	CHECK_EQ(capability(f), 20);
	CHECK_EQ(pwrite(f, "x", 1, 0), 1);
	CHECK_ERRNO(capability(f), ENODATA);
	CHECK_EQ(fsetxattr(f, "security.capability", cap, sizeof(cap), 0), 0);
	CHECK_EQ(fchown(f, (uid_t)-1, (gid_t)-1), 0);
	CHECK_ERRNO(capability(f), ENODATA);
	CHECK_EQ(fsetxattr(f, "security.capability", cap, sizeof(cap), 0), 0);
	CHECK_EQ(ftruncate(f, 3), 0);
	CHECK_ERRNO(capability(f), ENODATA);
	CHECK_ERRNO(fsetxattr(f, "security.capability", cap, 12, 0), EINVAL);
	CHECK_ERRNO(fsetxattr(f, "security.capability", cap, 19, 0), EINVAL);
	close(f);
}

static void on_files(void)
{
	reads_and_writes();
	copies();
	directories();
	file_capabilities();
}

static void streams(void)
{
	uint64_t two[2] = {1, 1};
	struct iovec halves[2] = {{two, 4}, {(char *)two + 4, 4}};
	int e = eventfd(0, EFD_NONBLOCK), p[2], s;

	CHECK_ERRNO(write(e, two, 4), EINVAL);
	CHECK_ERRNO(writev(e, halves, 2), EINVAL);
	CHECK_EQ(write(e, two, 8), 8);
	CHECK_EQ(lseek(e, 0, SEEK_SET), 0);
	CHECK_ERRNO(pread(e, buf, 8, 0), ESPIPE);
	CHECK_EQ(read(e, buf, 16), 8);
	close(e);
	REQUIRE(pipe(p) == 0);
	CHECK_ERRNO(lseek(p[0], 0, SEEK_SET), ESPIPE);
	CHECK_EQ(fchmod(p[0], 0600), 0);
	close(p[0]);
	close(p[1]);
	s = open("/proc/sys/kernel/hostname", O_RDONLY);
	CHECK_ERRNO(fcntl(s, F_GETPIPE_SZ), EBADF);
	/* sysctls can be polled. */
	e = epoll_create1(0);
	CHECK_EQ(epoll_ctl(e, EPOLL_CTL_ADD, s, &(struct epoll_event){.events = EPOLLIN}), 0);
	CHECK_EQ(epoll_wait(e, &(struct epoll_event){0}, 1, 0), 1);
	close(e);
	close(s);
}

int main(void)
{
	on_each_fs(on_files);
	streams();
	CHECK_DONE();
}
