/* read, write, vectors, positions, holes, sendfile, copy_file_range, truncate, fallocate. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "tmpdir.h"

/* Hidden from the compiler, which would warn. */
static void *volatile bad_pointer = (void *)8;
static volatile int minus_one = -1, too_many = 1025;

static void positions(void)
{
	char buf[32] = "";
	int fd = open("p", O_RDWR | O_CREAT, 0644), p[2];

	CHECK_EQ(write(fd, "0123456789", 10), 10);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10);
	CHECK_EQ(read(fd, buf, 5), 0);
	CHECK_EQ(pread(fd, buf, 4, 3), 4);
	CHECK(!memcmp(buf, "3456", 4));
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10);
	CHECK_EQ(pwrite(fd, "xy", 2, 1), 2);
	CHECK_EQ(lseek(fd, -9, SEEK_END), 1);
	CHECK_EQ(read(fd, buf, 3), 3);
	CHECK(!memcmp(buf, "xy3", 3));
	CHECK_ERRNO(lseek(fd, -1, SEEK_SET), EINVAL);
	CHECK_ERRNO(lseek(fd, 0, 99), EINVAL);
	CHECK_EQ(lseek(fd, 100, SEEK_SET), 100);
	CHECK_EQ(read(fd, buf, 1), 0);
	CHECK_ERRNO(pread(fd, buf, 1, -1), EINVAL);
	CHECK_ERRNO(pread(fd, bad_pointer, 5, 0), EFAULT);
	CHECK_ERRNO(pwrite(fd, bad_pointer, 5, 0), EFAULT);
	CHECK_EQ(pread(fd, NULL, 0, 0), 0);
	CHECK_ERRNO(read(999, buf, 1), EBADF);
	/* dup shares the position */
	int d = dup(fd);
	lseek(fd, 4, SEEK_SET);
	CHECK_EQ(read(d, buf, 2), 2);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 6);
	close(d);
	CHECK_EQ(pipe(p), 0);
	CHECK_ERRNO(lseek(p[0], 0, SEEK_SET), ESPIPE);
	CHECK_ERRNO(pread(p[0], buf, 1, 0), ESPIPE);
	close(p[0]);
	close(p[1]);
	close(fd);
}

static void vectors(void)
{
	char a[4] = "", b[8] = "";
	struct iovec w[3] = {{"abc", 3}, {"", 0}, {"defgh", 5}}, r[2] = {{a, 3}, {b, 8}};
	int fd = open("v", O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK_EQ(writev(fd, w, 3), 8);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(readv(fd, r, 2), 8);
	CHECK(!strcmp(a, "abc") && !strcmp(b, "defgh"));
	CHECK_EQ(pwritev(fd, w, 3, 8), 8);
	CHECK_EQ(preadv(fd, r, 2, 13), 3);
	CHECK_EQ(preadv2(fd, r, 2, 0, 0), 11);
	CHECK_EQ(pwritev2(fd, w, 1, 0, RWF_APPEND), 3);
	CHECK_EQ(lseek(fd, 0, SEEK_END), 19);
	CHECK_ERRNO(preadv2(fd, r, 2, 0, 0x4000), EOPNOTSUPP);
	CHECK_ERRNO(readv(fd, r, minus_one), EINVAL);
	CHECK_ERRNO(readv(fd, r, too_many), EINVAL);
	CHECK_EQ(readv(fd, r, 0), 0);
	w[0].iov_len = SIZE_MAX;
	CHECK_ERRNO(writev(fd, w, 3), EINVAL);
	CHECK_ERRNO(writev(fd, bad_pointer, 3), EFAULT);
	close(fd);
}

static void holes(void)
{
	char buf[4096], zero[4096] = "";
	struct stat st;
	int fd = open("h", O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK_EQ(pwrite(fd, "end", 3, 1 << 20), 3);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, (1 << 20) + 3);
	CHECK(st.st_blocks < 256);
	CHECK_EQ(pread(fd, buf, 4096, 65536), 4096);
	CHECK(!memcmp(buf, zero, 4096));
	CHECK_EQ(lseek(fd, 0, SEEK_DATA), 1 << 20);
	CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 0);
	CHECK_EQ(lseek(fd, 1 << 20, SEEK_HOLE), (1 << 20) + 3);
	CHECK_ERRNO(lseek(fd, 2 << 20, SEEK_DATA), ENXIO);
	close(fd);
}

static void sizes(void)
{
	char buf[16] = "";
	struct stat st;
	int fd = open("t", O_RDWR | O_CREAT | O_TRUNC, 0644), ro;

	CHECK_EQ(write(fd, "0123456789", 10), 10);
	CHECK_EQ(ftruncate(fd, 4), 0);
	CHECK_EQ(ftruncate(fd, 8), 0);
	CHECK_EQ(pread(fd, buf, 16, 0), 8);
	CHECK(!memcmp(buf, "0123\0\0\0\0", 8));
	CHECK_EQ(truncate("t", 100000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 100000);
	CHECK_EQ(pread(fd, buf, 4, 99998), 2);
	CHECK_EQ(truncate("t", 0), 0);
	CHECK_ERRNO(ftruncate(fd, -1), EINVAL);
	CHECK_ERRNO(truncate(".", 0), EISDIR);
	CHECK_ERRNO(truncate("none", 0), ENOENT);
	ro = open("t", O_RDONLY);
	CHECK_ERRNO(ftruncate(ro, 0), EINVAL);
	CHECK_ERRNO(fallocate(ro, 0, 0, 10), EBADF);
	close(ro);
	CHECK_EQ(fallocate(fd, 0, 0, 10000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 10000);
	CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 50000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 10000);
	CHECK_EQ(st.st_blocks >= 96, 1);
	pwrite(fd, "abcdefgh", 8, 4096);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4), 0);
	CHECK_EQ(pread(fd, buf, 8, 4096), 8);
	CHECK(!memcmp(buf, "\0\0\0\0efgh", 8));
	CHECK_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
	CHECK_ERRNO(fallocate(fd, 0, -1, 10), EINVAL);
	CHECK_ERRNO(fallocate(fd, 0, 0, 0), EINVAL);
	CHECK_ERRNO(fallocate(fd, 0, INT64_MAX, 10), EFBIG);
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(fdatasync(fd), 0);
	CHECK_EQ(syncfs(fd), 0);
	CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED), 0);
	CHECK_EQ(posix_fadvise(fd, 0, 0, 77), EINVAL);
	CHECK_EQ(readahead(fd, 0, 100), 0);
	CHECK_EQ(sync_file_range(fd, 0, 100, SYNC_FILE_RANGE_WRITE), 0);
	CHECK_ERRNO(sync_file_range(fd, -1, 100, 0), EINVAL);
	close(fd);
}

static volatile sig_atomic_t got_xfsz;

static void on_xfsz(int sig)
{
	got_xfsz++;
}

static void file_size_limit(void)
{
	struct rlimit old, lim;
	char buf[100] = "";
	int fd = open("lim", O_RDWR | O_CREAT | O_TRUNC, 0644);

	getrlimit(RLIMIT_FSIZE, &old);
	got_xfsz = 0;
	signal(SIGXFSZ, on_xfsz);
	lim = old;
	lim.rlim_cur = 50;
	setrlimit(RLIMIT_FSIZE, &lim);
	CHECK_EQ(write(fd, buf, 100), 50);
	CHECK_ERRNO(write(fd, buf, 100), EFBIG);
	CHECK_EQ(got_xfsz, 1);
	CHECK_ERRNO(ftruncate(fd, 60), EFBIG);
	CHECK_EQ(got_xfsz, 2);
	setrlimit(RLIMIT_FSIZE, &old);
	close(fd);
}

static void from_file_to_file(void)
{
	enum { SIZE = 300000 };
	char *data = malloc(SIZE), *back = malloc(SIZE);
	loff_t in_off = 10, out_off = 5;
	off_t off = 100;
	int in = open("in", O_RDWR | O_CREAT | O_TRUNC, 0644);
	int out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0644), p[2];

	for (int i = 0; i < SIZE; i++)
		data[i] = i * 7 + i / 256;
	CHECK_EQ(write(in, data, SIZE), SIZE);
	CHECK_EQ(sendfile(out, in, &off, SIZE), SIZE - 100);
	CHECK_EQ(off, SIZE);
	CHECK_EQ(lseek(in, 0, SEEK_CUR), SIZE);
	CHECK_EQ(pread(out, back, SIZE, 0), SIZE - 100);
	CHECK(!memcmp(back, data + 100, SIZE - 100));
	CHECK_EQ(ftruncate(out, 0), 0);
	CHECK_EQ(copy_file_range(in, &in_off, out, &out_off, 1000, 0), 1000);
	CHECK_EQ(in_off, 1010);
	CHECK_EQ(out_off, 1005);
	CHECK_EQ(pread(out, back, 1000, 5), 1000);
	CHECK(!memcmp(back, data + 10, 1000));
	in_off = SIZE;
	CHECK_EQ(copy_file_range(in, &in_off, out, NULL, 1000, 0), 0);
	in_off = 0;
	out_off = 10;
	CHECK_ERRNO(copy_file_range(in, &in_off, in, &out_off, 1000, 0), EINVAL);
	CHECK_ERRNO(copy_file_range(in, &in_off, out, NULL, 10, 1), EINVAL);
	CHECK_EQ(pipe(p), 0);
	off = 0;
	CHECK_EQ(sendfile(p[1], in, &off, 1000), 1000);
	CHECK_EQ(read(p[0], back, SIZE), 1000);
	CHECK(!memcmp(back, data, 1000));
	CHECK_ERRNO(sendfile(out, 999, NULL, 10), EBADF);
	close(p[0]);
	close(p[1]);
	close(in);
	close(out);
	free(data);
	free(back);
}

/* A file that passes every size at which a file system may keep it differently. */
static void growing(void)
{
	enum { CHUNK = 1000, TIMES = 400 };
	char chunk[CHUNK], back[CHUNK];
	int fd = open("grow", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644), bad = 0;

	for (int i = 0; i < TIMES; i++) {
		memset(chunk, i, CHUNK);
		CHECK_EQ(write(fd, chunk, CHUNK), CHUNK);
	}
	for (int i = 0; i < TIMES; i++) {
		memset(chunk, i, CHUNK);
		CHECK_EQ(pread(fd, back, CHUNK, (off_t)i * CHUNK), CHUNK);
		bad += !!memcmp(chunk, back, CHUNK);
	}
	CHECK_EQ(bad, 0);
	close(fd);
}

static void all(void)
{
	positions();
	vectors();
	holes();
	sizes();
	file_size_limit();
	from_file_to_file();
	growing();
}

int main(void)
{
	on_each_fs(all);
	CHECK_DONE();
}
