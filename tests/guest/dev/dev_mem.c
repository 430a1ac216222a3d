/* /dev/null, zero, full, random, and the links (man 4 null, full, random). */
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char buf[300000];

static int all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return 0;
	return 1;
}

static void nodes(void)
{
	static const struct {
		const char *path;
		unsigned maj, min;
	} want[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},	   {"/dev/full", 1, 7},
		    {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
	struct stat st;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		CHECK_EQ(stat(want[i].path, &st), 0);
		CHECK(S_ISCHR(st.st_mode));
		CHECK_EQ(st.st_mode & 0777, 0666);
		CHECK_EQ(major(st.st_rdev), want[i].maj);
		CHECK_EQ(minor(st.st_rdev), want[i].min);
	}
	CHECK_EQ(readlink("/dev/fd", buf, sizeof(buf)), 13);
	CHECK(!memcmp(buf, "/proc/self/fd", 13));
	CHECK_EQ(stat("/dev/shm", &st), 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 01777);
}

static void null(void)
{
	int fd = open("/dev/null", O_RDWR);
	struct pollfd p = {fd, POLLIN | POLLOUT, 0};

	CHECK(fd >= 0);
	CHECK_EQ(read(fd, buf, 10), 0);
	CHECK_EQ(write(fd, buf, sizeof(buf)), (long long)sizeof(buf));
	CHECK_EQ(write(fd, "x", 0), 0);
	CHECK_EQ(lseek(fd, 100, SEEK_SET), 0);
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLIN | POLLOUT);
	CHECK_EQ(pwrite(fd, "x", 1, 100), 1);
	CHECK_EQ(ftruncate(fd, 0), -1);
	CHECK_EQ(ioctl(fd, 0x5401, buf), -1);
	CHECK_EQ(errno, ENOTTY);
	close(fd);
	fd = open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC, 0666);
	CHECK(fd >= 0);
	close(fd);
}

static void zero(void)
{
	int fd = open("/dev/zero", O_RDWR), status;
	char *p;
	pid_t pid;

	memset(buf, 1, sizeof(buf));
	CHECK_EQ(read(fd, buf, sizeof(buf)), (long long)sizeof(buf));
	CHECK(all_zero(buf, sizeof(buf)));
	CHECK_EQ(write(fd, "abc", 3), 3);
	CHECK_ERRNO(syscall(SYS_read, fd, 8L, 10L), EFAULT);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	REQUIRE(p != MAP_FAILED);
	CHECK(all_zero(p, 8192));
	p[5000] = 1;
	munmap(p, 8192);
	/* shared: one memory for parent and child, zero at first, nobody else's */
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(p != MAP_FAILED);
	CHECK(all_zero(p, 8192));
	pid = fork();
	if (pid == 0) {
		p[4096] = 77;
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(p[4096], 77);
	close(fd);
}

static void full(void)
{
	int fd = open("/dev/full", O_RDWR);

	memset(buf, 1, 100);
	CHECK_EQ(read(fd, buf, 100), 100);
	CHECK(all_zero(buf, 100));
	CHECK_ERRNO(write(fd, "x", 1), ENOSPC);
	close(fd);
}

static void random_bytes(void)
{
	static char other[5000];
	int fd = open("/dev/urandom", O_RDONLY), bits = 0;

	CHECK_EQ(read(fd, buf, 5000), 5000);
	CHECK_EQ(read(fd, other, 5000), 5000);
	CHECK(memcmp(buf, other, 5000));
	CHECK(!all_zero(buf, 5000));
	close(fd);
	fd = open("/dev/random", O_RDWR);
	CHECK_EQ(read(fd, buf, 16), 16);
	CHECK_EQ(write(fd, buf, 16), 16);
	CHECK_EQ(ioctl(fd, RNDGETENTCNT, &bits), 0);
	CHECK(bits >= 128);
	close(fd);
}

static void standard_links(void)
{
	int p[2], fd, saved = dup(1);
	char path[64];

	REQUIRE(pipe(p) == 0);
	dup2(p[1], 1);
	fd = open("/dev/stdout", O_WRONLY);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "via", 3), 3);
	dup2(saved, 1);
	CHECK_EQ(read(p[0], buf, 10), 3);
	close(fd);
	snprintf(path, sizeof(path), "/dev/fd/%d", p[0]);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQ(write(p[1], "z", 1), 1);
	CHECK_EQ(read(fd, buf, 10), 1);
}

int main(void)
{
	alarm(58);
	nodes();
	null();
	zero();
	full();
	random_bytes();
	standard_links();
	CHECK_DONE();
}
