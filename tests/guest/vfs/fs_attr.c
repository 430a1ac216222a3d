/* stat, statx, statfs, access, chmod, chown, utimes, umask, xattrs. */
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <utime.h>

#include "tmpdir.h"

static void stats(void)
{
	struct statx x;
	struct stat st, st2;
	struct statfs fs;
	time_t now = time(NULL);
	int fd;

	make_file("f", "12345");
	CHECK_EQ(stat("f", &st), 0);
	CHECK_EQ(st.st_size, 5);
	CHECK_EQ(st.st_nlink, 1);
	CHECK_EQ(st.st_uid, geteuid());
	CHECK(S_ISREG(st.st_mode));
	CHECK(st.st_mtime >= now - 60 && st.st_mtime <= now + 60);
	CHECK(st.st_blksize >= 512);
	fd = open("f", O_RDONLY);
	CHECK_EQ(fstat(fd, &st2), 0);
	CHECK_EQ(st.st_ino, st2.st_ino);
	CHECK_EQ(st.st_dev, st2.st_dev);
	CHECK_EQ(fstatat(fd, "", &st2, AT_EMPTY_PATH), 0);
	CHECK_EQ(st.st_ino, st2.st_ino);
	CHECK_ERRNO(fstatat(AT_FDCWD, "", &st2, 0), ENOENT);
	CHECK_ERRNO(fstatat(AT_FDCWD, "f", &st2, 0x40000), EINVAL);
	CHECK_EQ(statx(AT_FDCWD, "f", 0, STATX_ALL, &x), 0);
	CHECK_EQ(x.stx_ino, st.st_ino);
	CHECK_EQ(x.stx_size, 5);
	CHECK((x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	CHECK_EQ(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x), 0);
	CHECK_ERRNO(statx(AT_FDCWD, "f", 0x40000, STATX_ALL, &x), EINVAL);
	CHECK_ERRNO(statx(AT_FDCWD, "f", 0, 0x80000000U, &x), EINVAL);
	CHECK_EQ(statfs("f", &fs), 0);
	CHECK(fs.f_bsize > 0 && fs.f_blocks > 0);
	CHECK_EQ(fs.f_namelen, 255);
	CHECK_EQ(fstatfs(fd, &fs), 0);
	CHECK_ERRNO(stat((char *)8, &st), EFAULT);
	CHECK_ERRNO(syscall(SYS_newfstatat, AT_FDCWD, "f", (void *)8, 0), EFAULT);
	close(fd);
	CHECK_ERRNO(fstat(fd, &st), EBADF);
}

static void modes(void)
{
	struct stat st;
	int fd;

	make_file("m", "");
	CHECK_EQ(chmod("m", 04751), 0);
	stat("m", &st);
	CHECK_EQ(st.st_mode & 07777, 04751);
	fd = open("m", O_RDONLY);
	CHECK_EQ(fchmod(fd, 0600), 0);
	close(fd);
	stat("m", &st);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(fchmodat(AT_FDCWD, "m", 0640, 0), 0);
	CHECK_ERRNO(chmod("none", 0600), ENOENT);
	CHECK_EQ(umask(027), 022);
	close(open("masked", O_CREAT | O_WRONLY, 0666));
	stat("masked", &st);
	CHECK_EQ(st.st_mode & 07777, 0640);
	CHECK_EQ(umask(022), 027);
	if (geteuid())
		return;
	/* a change of owner takes the privileges away */
	CHECK_EQ(chmod("m", 06755), 0);
	CHECK_EQ(chown("m", 1000, 1000), 0);
	stat("m", &st);
	CHECK_EQ(st.st_uid, 1000);
	CHECK_EQ(st.st_gid, 1000);
	CHECK_EQ(st.st_mode & 07777, 0755);
	CHECK_EQ(chown("m", -1, 7), 0);
	stat("m", &st);
	CHECK_EQ(st.st_uid, 1000);
	CHECK_EQ(st.st_gid, 7);
	symlink("m", "ml");
	CHECK_EQ(lchown("ml", 5, 6), 0);
	lstat("ml", &st);
	CHECK_EQ(st.st_uid, 5);
	stat("ml", &st);
	CHECK_EQ(st.st_uid, 1000);
}

static void times(void)
{
	struct timespec ts[2] = {{1000, 5}, {2000, 6}};
	struct timeval tv[2] = {{3000, 7}, {4000, 8}};
	struct utimbuf ub = {5000, 6000};
	struct stat st;
	int fd;

	make_file("t", "");
	CHECK_EQ(utimensat(AT_FDCWD, "t", ts, 0), 0);
	stat("t", &st);
	CHECK_EQ(st.st_atim.tv_sec, 1000);
	CHECK_EQ(st.st_atim.tv_nsec, 5);
	CHECK_EQ(st.st_mtim.tv_sec, 2000);
	CHECK(st.st_ctim.tv_sec > 100000);
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_nsec = UTIME_NOW;
	fd = open("t", O_WRONLY);
	CHECK_EQ(futimens(fd, ts), 0);
	stat("t", &st);
	CHECK_EQ(st.st_atim.tv_sec, 1000);
	CHECK(st.st_mtim.tv_sec > 100000);
	CHECK_EQ(utimes("t", tv), 0);
	stat("t", &st);
	CHECK_EQ(st.st_atim.tv_sec, 3000);
	CHECK_EQ(st.st_mtim.tv_nsec, 8000);
	CHECK_EQ(utime("t", &ub), 0);
	stat("t", &st);
	CHECK_EQ(st.st_mtim.tv_sec, 6000);
	ts[0].tv_nsec = 2000000000;
	CHECK_ERRNO(utimensat(AT_FDCWD, "t", ts, 0), EINVAL);
	/* a write moves mtime, reading past it moves atime (relatime) */
	CHECK_EQ(write(fd, "x", 1), 1);
	fstat(fd, &st);
	CHECK(st.st_mtim.tv_sec > 100000);
	close(fd);
	symlink("t", "tl");
	ts[0] = ts[1] = (struct timespec){777, 0};
	CHECK_EQ(utimensat(AT_FDCWD, "tl", ts, AT_SYMLINK_NOFOLLOW), 0);
	lstat("tl", &st);
	CHECK_EQ(st.st_mtim.tv_sec, 777);
	stat("t", &st);
	CHECK(st.st_mtim.tv_sec != 777);
}

static void as_nobody(void)
{
	struct stat st;

	CHECK_EQ(access("priv", R_OK), -1);
	CHECK_EQ(errno, EACCES);
	CHECK_EQ(access("priv", F_OK), 0);
	CHECK_ERRNO(open("priv", O_RDONLY), EACCES);
	CHECK_ERRNO(chmod("pub", 0777), EPERM);
	CHECK_ERRNO(chown("pub", 65534, -1), EPERM);
	CHECK_ERRNO(utimes("pub", (struct timeval[2]){{1, 0}, {1, 0}}), EPERM);
	CHECK_ERRNO(utimes("pub", NULL), EACCES);
	CHECK_ERRNO(unlink("pub"), EACCES);
	CHECK_ERRNO(open("priv_dir/f", O_RDONLY), EACCES);
	CHECK_ERRNO(stat("priv_dir/f", &st), EACCES);
	CHECK_ERRNO(mknod("x", S_IFCHR, 0), EACCES);
	CHECK_ERRNO(chroot("."), EPERM);
	/* a sticky directory protects what others own */
	CHECK_ERRNO(unlink("sticky/root"), EPERM);
	CHECK_ERRNO(rename("sticky/root", "sticky/x"), EPERM);
	CHECK_EQ(make_file("sticky/mine", "m"), 0);
	CHECK_EQ(unlink("sticky/mine"), 0);
	CHECK_EQ(make_file("sticky/suid", "m"), 0);
	CHECK_EQ(chmod("sticky/suid", 04755), 0);
	int fd = open("sticky/suid", O_WRONLY);
	CHECK_EQ(write(fd, "x", 1), 1);
	fstat(fd, &st);
	CHECK_EQ(st.st_mode & 07777, 0755);
	close(fd);
	CHECK_EQ(unlink("sticky/suid"), 0);
}

static void permissions(void)
{
	pid_t pid;
	int status;

	if (geteuid())
		return;
	make_file("priv", "p");
	chmod("priv", 0600);
	make_file("pub", "p");
	chmod("pub", 0644);
	mkdir("priv_dir", 0700);
	make_file("priv_dir/f", "p");
	mkdir("sticky", 0700);
	chmod("sticky", 01777);
	make_file("sticky/root", "r");
	pid = fork();
	if (pid == 0) {
		check_failures = 0;
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			_exit(2);
		as_nobody();
		_exit(check_failures ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	/* access(2) asks for the real user, faccessat2 with AT_EACCESS for the effective one */
	pid = fork();
	if (pid == 0) {
		if (setresuid(65534, 0, 0))
			_exit(2);
		if (access("priv", R_OK) != -1 || errno != EACCES)
			_exit(3);
		if (syscall(SYS_faccessat2, AT_FDCWD, "priv", R_OK, AT_EACCESS))
			_exit(4);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_ERRNO(access("pub", X_OK), EACCES);
	CHECK_ERRNO(access("pub", 8), EINVAL);
	CHECK_ERRNO(access("none", F_OK), ENOENT);
}

static void xattrs(void)
{
	char buf[256];
	int fd;

	make_file("x", "");
	if (setxattr("x", "user.a", "value", 5, 0) && errno == EOPNOTSUPP)
		return; /* the host's file system has none */
	CHECK_EQ(getxattr("x", "user.a", buf, sizeof(buf)), 5);
	CHECK(!memcmp(buf, "value", 5));
	CHECK_EQ(getxattr("x", "user.a", NULL, 0), 5);
	CHECK_ERRNO(getxattr("x", "user.a", buf, 3), ERANGE);
	CHECK_ERRNO(getxattr("x", "user.none", buf, 3), ENODATA);
	CHECK_ERRNO(setxattr("x", "user.a", "v", 1, XATTR_CREATE), EEXIST);
	CHECK_ERRNO(setxattr("x", "user.b", "v", 1, XATTR_REPLACE), ENODATA);
	CHECK_ERRNO(setxattr("x", "user.b", "v", 1, 8), EINVAL);
	fd = open("x", O_RDWR);
	CHECK_EQ(fsetxattr(fd, "user.b", "", 0, 0), 0);
	CHECK_EQ(fgetxattr(fd, "user.b", buf, sizeof(buf)), 0);
	CHECK_EQ(flistxattr(fd, buf, sizeof(buf)), 14);
	CHECK_EQ(listxattr("x", NULL, 0), 14);
	CHECK_ERRNO(listxattr("x", buf, 3), ERANGE);
	CHECK_EQ(removexattr("x", "user.a"), 0);
	CHECK_ERRNO(fremovexattr(fd, "user.a"), ENODATA);
	CHECK_EQ(listxattr("x", buf, sizeof(buf)), 7);
	CHECK_ERRNO(setxattr("x", "", "v", 1, 0), ERANGE);
	CHECK_ERRNO(setxattr("x", "nodot", "v", 1, 0), EOPNOTSUPP);
	symlink("x", "xl");
	CHECK_ERRNO(lsetxattr("xl", "user.a", "v", 1, 0), EPERM);
	close(fd);
}

/* A group that the creator is not in must not come with setgid; the umask does not hide it. */
static void setgid_files(void)
{
	gid_t none = 65533;
	struct stat st;
	int status;

	if (geteuid())
		return;
	REQUIRE(mkdir("sgid", 0777) == 0);
	CHECK_EQ(chown("sgid", 65534, 1234), 0);
	CHECK_EQ(chmod("sgid", 02777), 0);
	if (!fork()) {
		check_failures = 0;
		REQUIRE(setgroups(1, &none) == 0 && setresgid(none, none, none) == 0);
		REQUIRE(setresuid(65534, 65534, 65534) == 0);
		for (int mask = 0; mask <= 010; mask += 010) {
			umask((mode_t)mask);
			close(open("sgid/f", O_CREAT | O_WRONLY, 02777));
			CHECK_EQ(stat("sgid/f", &st), 0);
			CHECK_EQ(st.st_gid, 1234);
			CHECK_EQ(st.st_mode & 07777, 0777 & ~mask);
			CHECK_EQ(unlink("sgid/f"), 0);
		}
		/* Without execution the bit means something else. */
		close(open("sgid/f", O_CREAT | O_WRONLY, 02660));
		CHECK_EQ(stat("sgid/f", &st), 0);
		CHECK_EQ(st.st_mode & 07777, 02660);
		_exit(check_failures != 0);
	}
	wait(&status);
	CHECK_EQ(status, 0);
}

static void all(void)
{
	umask(022);
	stats();
	modes();
	times();
	permissions();
	xattrs();
	setgid_files();
}

int main(void)
{
	on_each_fs(all);
	CHECK_DONE();
}
