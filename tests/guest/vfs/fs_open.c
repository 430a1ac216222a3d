/* open, openat, openat2, creat, close, close_range (man 2). */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tmpdir.h"

static void flags_and_errors(void)
{
	struct stat st;
	char buf[16];
	int fd;

	umask(022);
	fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0666);
	CHECK(fd >= 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0644);
	CHECK_EQ(write(fd, "hello", 5), 5);
	close(fd);
	CHECK_ERRNO(open("f", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
	CHECK_ERRNO(open("none", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("f/x", O_RDONLY), ENOTDIR);
	CHECK_ERRNO(open("f/", O_RDONLY), ENOTDIR);
	CHECK_ERRNO(open("new/", O_WRONLY | O_CREAT, 0644), EISDIR);
	CHECK_ERRNO(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	CHECK_ERRNO(open(".", O_WRONLY), EISDIR);
	CHECK_ERRNO(open(".", O_RDONLY | O_CREAT, 0644), EISDIR);
	CHECK_ERRNO(open((char *)1, O_RDONLY), EFAULT);
	fd = open("f", O_WRONLY | O_TRUNC);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 0);
	CHECK_ERRNO(read(fd, buf, 1), EBADF);
	close(fd);
	CHECK_ERRNO(close(fd), EBADF);
	/* the lowest free number */
	int a = open("f", O_RDONLY), b = open("f", O_RDONLY);
	close(a);
	CHECK_EQ(open("f", O_RDONLY), a);
	close(a);
	close(b);
	/* mode bits do not bind the creator */
	fd = open("ro", O_RDWR | O_CREAT, 0400);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "x", 1), 1);
	close(fd);
	/* append */
	make_file("app", "12345");
	fd = open("app", O_WRONLY | O_APPEND);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	CHECK_EQ(write(fd, "67", 2), 2);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 7);
	close(fd);
}

static void symlinks(void)
{
	int fd;

	CHECK_EQ(symlink("target", "l"), 0);
	CHECK_ERRNO(open("l", O_RDONLY), ENOENT);
	CHECK_ERRNO(open("l", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK_ERRNO(open("l", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK_ERRNO(open("l", O_WRONLY | O_CREAT | O_NOFOLLOW, 0600), ELOOP);
	fd = open("l", O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(access("target", F_OK), 0);
	CHECK_EQ(symlink("self", "self"), 0);
	CHECK_ERRNO(open("self", O_RDONLY), ELOOP);
	CHECK_ERRNO(open("self/x", O_RDONLY), ELOOP);
}

static void path_fds(void)
{
	char buf[8];
	struct stat st;
	int fd, dir;

	make_file("pf", "x");
	fd = open("pf", O_PATH);
	CHECK(fd >= 0);
	CHECK_ERRNO(read(fd, buf, 1), EBADF);
	CHECK_ERRNO(fchmod(fd, 0600), EBADF);
	CHECK_ERRNO(ftruncate(fd, 0), EBADF);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_PATH, O_PATH);
	CHECK_EQ(fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
	close(fd);
	mkdir("pd", 0755);
	make_file("pd/in", "y");
	dir = open("pd", O_PATH | O_DIRECTORY);
	fd = openat(dir, "in", O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQ(read(fd, buf, 8), 1);
	close(fd);
	CHECK_ERRNO(openat(fd, "in", O_RDONLY), EBADF);
	close(dir);
	symlink("pf", "plink");
	fd = open("plink", O_PATH | O_NOFOLLOW);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	CHECK_EQ(readlinkat(fd, "", buf, sizeof(buf)), 2);
	close(fd);
}

/* EAGAIN: something was renamed or mounted somewhere on the machine during a walk over "..". */
static int openat2_(int dfd, const char *name, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
	int fd, tries = 1000;

	do
		fd = syscall(SYS_openat2, dfd, name, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && --tries);
	return fd;
}

static void resolve_flags(void)
{
	struct open_how how = {.flags = O_RDONLY};
	int dir, fd;

	mkdir("box", 0755);
	mkdir("box/sub", 0755);
	make_file("box/sub/f", "f");
	make_file("outside", "o");
	symlink("sub/f", "box/good");
	symlink("../outside", "box/bad");
	symlink("/sub/f", "box/abs");
	dir = open("box", O_RDONLY | O_DIRECTORY);
	CHECK(openat2_(dir, "good", O_RDONLY, 0, RESOLVE_BENEATH) >= 0);
	CHECK(openat2_(dir, "sub/../good", O_RDONLY, 0, RESOLVE_BENEATH) >= 0);
	CHECK_ERRNO(openat2_(dir, "../outside", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	CHECK_ERRNO(openat2_(dir, "bad", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	CHECK_ERRNO(openat2_(dir, "/etc", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	CHECK_ERRNO(openat2_(dir, "abs", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
	CHECK(openat2_(dir, "abs", O_RDONLY, 0, RESOLVE_IN_ROOT) >= 0);
	CHECK(openat2_(dir, "/sub/f", O_RDONLY, 0, RESOLVE_IN_ROOT) >= 0);
	CHECK(openat2_(dir, "../../sub/f", O_RDONLY, 0, RESOLVE_IN_ROOT) >= 0);
	CHECK_ERRNO(openat2_(dir, "bad", O_RDONLY, 0, RESOLVE_IN_ROOT), ENOENT);
	CHECK_ERRNO(openat2_(dir, "good", O_RDONLY, 0, RESOLVE_NO_SYMLINKS), ELOOP);
	CHECK(openat2_(dir, "sub/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS) >= 0);
	CHECK_ERRNO(openat2_(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS),
		    ELOOP);
	CHECK_ERRNO(openat2_(AT_FDCWD, "/proc/self", O_RDONLY, 0, RESOLVE_NO_XDEV), EXDEV);
	CHECK_ERRNO(openat2_(dir, "good", O_RDONLY, 0, 1ULL << 40), EINVAL);
	CHECK_ERRNO(openat2_(dir, "good", O_RDONLY, 0600, 0), EINVAL);
	CHECK_ERRNO(openat2_(dir, "good", 1ULL << 40, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_openat2, dir, "good", &how, 8), EINVAL);
	struct {
		struct open_how how;
		uint64_t more;
	} big = {.how = how};
	CHECK(syscall(SYS_openat2, dir, "good", &big, sizeof(big)) >= 0);
	big.more = 1;
	CHECK_ERRNO(syscall(SYS_openat2, dir, "good", &big, sizeof(big)), E2BIG);
	for (fd = dir; fd < dir + 20; fd++)
		close(fd);
}

static void tmpfile_and_linkat(void)
{
	char proc[64], buf[8] = "";
	struct stat st;
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);

	CHECK(fd >= 0);
	if (fd < 0)
		return;
	CHECK_EQ(write(fd, "tmp", 3), 3);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(st.st_mode & 07777, 0640);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CHECK_EQ(linkat(AT_FDCWD, proc, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW), 0);
	close(fd);
	fd = open("linked", O_RDONLY);
	CHECK_EQ(read(fd, buf, 8), 3);
	CHECK(!strcmp(buf, "tmp"));
	close(fd);
	CHECK_ERRNO(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	/* Named once, it is a file like others: deleted ones cannot be linked. */
	fd = open("linked", O_RDONLY);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CHECK_EQ(unlink("linked"), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	CHECK_ERRNO(linkat(AT_FDCWD, proc, AT_FDCWD, "again", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	CHECK(fd >= 0);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	CHECK_ERRNO(linkat(AT_FDCWD, proc, AT_FDCWD, "again", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
	CHECK_ERRNO(access("again", F_OK), ENOENT);
}

static void ranges_of_fds(void)
{
	int fds[6];

	for (int i = 0; i < 6; i++)
		fds[i] = open("/dev/null", O_RDONLY);
	CHECK_EQ(syscall(SYS_close_range, fds[1], fds[2], 0), 0);
	CHECK_ERRNO(fcntl(fds[1], F_GETFD), EBADF);
	CHECK_ERRNO(fcntl(fds[2], F_GETFD), EBADF);
	CHECK_EQ(fcntl(fds[3], F_GETFD), 0);
	CHECK_EQ(syscall(SYS_close_range, fds[3], fds[4], CLOSE_RANGE_CLOEXEC), 0);
	CHECK_EQ(fcntl(fds[3], F_GETFD), FD_CLOEXEC);
	CHECK_EQ(syscall(SYS_close_range, fds[3], ~0U, CLOSE_RANGE_UNSHARE), 0);
	CHECK_ERRNO(fcntl(fds[5], F_GETFD), EBADF);
	CHECK_ERRNO(syscall(SYS_close_range, 5, 3, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_close_range, 3, 5, 64), EINVAL);
	close(fds[0]);
}

static void nofile_limit(void)
{
	struct rlimit old, lim;
	int first = open("/dev/null", O_RDONLY);

	getrlimit(RLIMIT_NOFILE, &old);
	lim = old;
	lim.rlim_cur = first + 1;
	setrlimit(RLIMIT_NOFILE, &lim);
	CHECK_ERRNO(open("/dev/null", O_RDONLY), EMFILE);
	CHECK_ERRNO(open("not-made", O_WRONLY | O_CREAT, 0600), EMFILE);
	CHECK_ERRNO(access("not-made", F_OK), ENOENT);
	CHECK_ERRNO(dup(first), EMFILE);
	CHECK_ERRNO(dup2(first, first + 1), EBADF);
	CHECK_ERRNO(fcntl(first, F_DUPFD, first + 1), EINVAL);
	setrlimit(RLIMIT_NOFILE, &old);
	close(first);
}

/* ".." of a directory that has just been moved must not lead out of what the walk is held in. */
static void scope_against_renames(void)
{
	char beneath[4000] = "", clamped[4000] = "";
	int dir, n = 0, refused = 0, outside = 0;
	struct stat a, st;
	pid_t pid;

	REQUIRE(mkdir("scope", 0755) == 0 && mkdir("scope/a", 0755) == 0);
	REQUIRE(mkdir("scope/a/c", 0755) == 0 && mkdir("scope/b", 0755) == 0);
	dir = open("scope/a", O_PATH | O_DIRECTORY);
	REQUIRE(dir >= 0 && fstat(dir, &a) == 0);
	for (int i = 0; i < 400; i++) {
		strcat(beneath, "c/../");
		strcat(clamped, "c/../../");
	}
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid)
		for (;;) /* c leaves a, and comes back */
			renameat2(AT_FDCWD, "scope/a/c", AT_FDCWD, "scope/b", RENAME_EXCHANGE);
	for (; n < 2000; n++) {
		int fd = n % 2 ? openat2_(dir, beneath, O_PATH, 0, RESOLVE_BENEATH)
			       : openat2_(dir, clamped, O_PATH, 0, RESOLVE_IN_ROOT);

		if (fd < 0) {
			refused++;
			if (errno != EAGAIN && errno != EXDEV)
				CHECK_EQ(errno, EAGAIN);
			continue;
		}
		CHECK_EQ(fstat(fd, &st), 0);
		outside += st.st_ino != a.st_ino;
		close(fd);
	}
	kill(pid, SIGKILL);
	REQUIRE(waitpid(pid, NULL, 0) == pid);
	CHECK_EQ(outside, 0);
	CHECK(refused < n);
	close(dir);
	CHECK_EQ(openat2_(AT_FDCWD, "scope/a/none", O_PATH, 0, RESOLVE_BENEATH), -1);
	CHECK_EQ(errno, ENOENT);
	rmdir("scope/a/c");
	rmdir("scope/a");
	rmdir("scope/b");
	rmdir("scope");
}

static void all(void)
{
	flags_and_errors();
	symlinks();
	path_fds();
	resolve_flags();
	scope_against_renames();
	tmpfile_and_linkat();
	ranges_of_fds();
	nofile_limit();
}

int main(void)
{
	on_each_fs(all);
	CHECK_DONE();
}
