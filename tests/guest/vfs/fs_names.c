/* mkdir, rmdir, unlink, rename, link, symlink, readlink, mknod, getdents, chdir, getcwd. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "tmpdir.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static void directories(void)
{
	struct stat st;
	char name[300];

	umask(022);
	CHECK_EQ(mkdir("d", 0777), 0);
	CHECK_EQ(stat("d", &st), 0);
	CHECK_EQ(st.st_mode, S_IFDIR | 0755);
	CHECK_ERRNO(mkdir("d", 0755), EEXIST);
	CHECK_ERRNO(mkdir("none/x", 0755), ENOENT);
	CHECK_ERRNO(mkdir("/", 0755), EEXIST);
	CHECK_ERRNO(mkdir("d/.", 0755), EEXIST);
	CHECK_EQ(mkdir("d/e/", 0755), 0);
	CHECK_EQ(stat("d", &st), 0);
	CHECK_ERRNO(rmdir("d"), ENOTEMPTY);
	CHECK_ERRNO(rmdir("d/."), EINVAL);
	CHECK_ERRNO(rmdir("d/e/.."), ENOTEMPTY);
	CHECK_ERRNO(unlink("d"), EISDIR);
	CHECK_EQ(rmdir("d/e"), 0);
	CHECK_EQ(rmdir("d"), 0);
	CHECK_ERRNO(rmdir("d"), ENOENT);
	memset(name, 'n', 256);
	name[256] = 0;
	CHECK_ERRNO(mkdir(name, 0755), ENAMETOOLONG);
	name[255] = 0;
	CHECK_EQ(mkdir(name, 0755), 0);
	CHECK_EQ(rmdir(name), 0);
	/* nothing can be made in a directory that is gone */
	mkdir("dead", 0755);
	int fd = open("dead", O_RDONLY);
	rmdir("dead");
	CHECK_ERRNO(openat(fd, "x", O_CREAT | O_WRONLY, 0644), ENOENT);
	CHECK_ERRNO(mkdirat(fd, "x", 0755), ENOENT);
	close(fd);
	/* setgid directories hand their group on */
	mkdir("sg", 0755);
	CHECK_EQ(chown("sg", -1, 1234), 0);
	CHECK_EQ(chmod("sg", 02775), 0);
	mkdir("sg/in", 0755);
	CHECK_EQ(stat("sg/in", &st), 0);
	CHECK_EQ(st.st_gid, 1234);
	CHECK(st.st_mode & S_ISGID);
}

static void links(void)
{
	struct stat a, b;
	char buf[64];

	make_file("f", "data");
	CHECK_EQ(link("f", "g"), 0);
	stat("f", &a);
	stat("g", &b);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_EQ(a.st_nlink, 2);
	CHECK_ERRNO(link("f", "g"), EEXIST);
	CHECK_ERRNO(link("none", "h"), ENOENT);
	mkdir("ld", 0755);
	CHECK_ERRNO(link("ld", "h"), EPERM);
	CHECK_EQ(unlink("f"), 0);
	stat("g", &b);
	CHECK_EQ(b.st_nlink, 1);
	CHECK_EQ(symlink("some/where", "s"), 0);
	CHECK_ERRNO(symlink("x", "s"), EEXIST);
	CHECK_ERRNO(symlink("", "t"), ENOENT);
	CHECK_EQ(readlink("s", buf, sizeof(buf)), 10);
	CHECK(!memcmp(buf, "some/where", 10));
	CHECK_EQ(readlink("s", buf, 4), 4);
	CHECK_ERRNO(readlink("g", buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO(readlink("s", buf, 0), EINVAL);
	CHECK_EQ(lstat("s", &a), 0);
	CHECK_EQ(a.st_size, 10);
	CHECK(S_ISLNK(a.st_mode));
	CHECK_ERRNO(stat("s", &a), ENOENT);
	/* link(2) takes the symlink itself */
	CHECK_EQ(link("s", "s2"), 0);
	CHECK_EQ(lstat("s2", &b), 0);
	CHECK(S_ISLNK(b.st_mode));
	CHECK_EQ(unlink("s"), 0);
	CHECK_ERRNO(unlink("none"), ENOENT);
	CHECK_ERRNO(unlink("g/"), ENOTDIR);
	CHECK_ERRNO(unlinkat(AT_FDCWD, "g", AT_REMOVEDIR), ENOTDIR);
	CHECK_ERRNO(unlinkat(AT_FDCWD, "g", 1), EINVAL);
}

static void renames(void)
{
	struct stat st;

	make_file("a", "a");
	make_file("b", "bb");
	CHECK_EQ(rename("a", "b"), 0);
	CHECK_ERRNO(stat("a", &st), ENOENT);
	CHECK_EQ(stat("b", &st), 0);
	CHECK_EQ(st.st_size, 1);
	CHECK_EQ(rename("b", "b"), 0);
	CHECK_ERRNO(rename("none", "c"), ENOENT);
	mkdir("rd", 0755);
	mkdir("rd/sub", 0755);
	CHECK_ERRNO(rename("rd", "rd/sub/x"), EINVAL);
	CHECK_ERRNO(rename("b", "rd"), EISDIR);
	CHECK_ERRNO(rename("rd", "b"), ENOTDIR);
	mkdir("re", 0755);
	CHECK_ERRNO(rename("re", "rd"), ENOTEMPTY);
	CHECK_EQ(rename("rd", "re"), 0);
	CHECK_EQ(stat("re/sub", &st), 0);
	CHECK_ERRNO(rename("re/.", "rf"), EBUSY);
	make_file("c", "ccc");
	CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", RENAME_NOREPLACE), EEXIST);
	CHECK_EQ(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE), 0);
	stat("b", &st);
	CHECK_EQ(st.st_size, 3);
	stat("c", &st);
	CHECK_EQ(st.st_size, 1);
	CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE),
		    ENOENT);
	CHECK_ERRNO(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 3), EINVAL);
	CHECK_ERRNO(rename("b/", "x"), ENOTDIR);
	CHECK_ERRNO(rename("b", "x/"), ENOTDIR);
	/* two names of one file: nothing happens */
	CHECK_EQ(link("b", "b2"), 0);
	CHECK_EQ(rename("b", "b2"), 0);
	CHECK_EQ(access("b", F_OK), 0);
	/* an open file keeps its content when it is replaced */
	int fd = open("c", O_RDONLY);
	char buf[8];
	CHECK_EQ(rename("b2", "c"), 0);
	CHECK_EQ(read(fd, buf, 8), 1);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	close(fd);
}

static void nodes(void)
{
	struct stat st;

	CHECK_EQ(mknod("fifo", S_IFIFO | 0640, 0), 0);
	CHECK_EQ(stat("fifo", &st), 0);
	CHECK(S_ISFIFO(st.st_mode));
	CHECK_EQ(mknod("reg", 0600, 0), 0);
	CHECK_EQ(stat("reg", &st), 0);
	CHECK(S_ISREG(st.st_mode));
	CHECK_EQ(mknod("sock", S_IFSOCK | 0600, 0), 0);
	CHECK_ERRNO(open("sock", O_RDWR), ENXIO);
	CHECK_ERRNO(mknod("dir", S_IFDIR | 0700, 0), EPERM);
	CHECK_ERRNO(mknod("reg", 0600, 0), EEXIST);
	if (geteuid() == 0 && mknod("null", S_IFCHR | 0666, makedev(1, 3)) == 0) {
		CHECK_EQ(stat("null", &st), 0);
		CHECK_EQ(major(st.st_rdev), 1);
		CHECK_EQ(minor(st.st_rdev), 3);
	}
}

static void reading_directories(void)
{
	enum { COUNT = 300 };
	char name[32], seen[COUNT] = "";
	struct dirent *e;
	int dots = 0, total = 0;
	long where = 0;
	DIR *dir;

	mkdir("many", 0755);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "many/f%d", i);
		make_file(name, "");
	}
	dir = opendir("many");
	REQUIRE(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.') {
			dots++;
			CHECK_EQ(e->d_type, DT_DIR);
			continue;
		}
		CHECK_EQ(e->d_type, DT_REG);
		seen[atoi(e->d_name + 1)]++;
		if (++total == COUNT / 2)
			where = telldir(dir);
	}
	CHECK_EQ(dots, 2);
	CHECK_EQ(total, COUNT);
	for (int i = 0; i < COUNT; i++)
		CHECK_EQ(seen[i], 1);
	seekdir(dir, where);
	total = 0;
	while (readdir(dir))
		total++;
	CHECK(total >= COUNT / 2 && total <= COUNT / 2 + 2);
	rewinddir(dir);
	total = 0;
	while ((e = readdir(dir))) {
		total++;
		/* removing while reading loses none of the rest */
		if (e->d_name[0] != '.')
			CHECK_EQ(unlinkat(dirfd(dir), e->d_name, 0), 0);
	}
	CHECK_EQ(total, COUNT + 2);
	closedir(dir);
	CHECK_EQ(rmdir("many"), 0);
	char buf[8];
	int fd = open(".", O_RDONLY);
	CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO(read(fd, buf, 1), EISDIR);
	close(fd);
	make_file("plain", "");
	fd = open("plain", O_RDONLY);
	CHECK_ERRNO(syscall(SYS_getdents64, fd, buf, sizeof(buf)), ENOTDIR);
	close(fd);
}

/* Where there are no handles the calls say so, after looking at what they were given. */
static void handles(void)
{
	struct file_handle *h = calloc(1, sizeof(*h) + 128);
	int id;

	make_file("handled", "");
	h->handle_bytes = 128;
	CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "handled", h, &id, 0x10000), EINVAL);
	CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "none", h, &id, 0), ENOENT);
	CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "handled/x", h, &id, 0), ENOTDIR);
	CHECK_ERRNO(name_to_handle_at(AT_FDCWD, "/proc/self/status", h, &id, 0), EOPNOTSUPP);
	h->handle_bytes = 0;
	if (geteuid() == 0)
		CHECK_ERRNO(open_by_handle_at(AT_FDCWD, h, O_RDONLY), EINVAL);
	free(h);
	unlink("handled");
}

static void working_directory(void)
{
	char start[PATH_MAX], buf[PATH_MAX];
	int fd;

	REQUIRE(getcwd(start, sizeof(start)));
	CHECK(!strcmp(start, tmpdir_path));
	mkdir("w", 0755);
	mkdir("w/x", 0755);
	CHECK_EQ(chdir("w/x"), 0);
	CHECK(getcwd(buf, sizeof(buf)));
	CHECK_EQ(strlen(buf), strlen(start) + 4);
	CHECK_EQ(syscall(SYS_getcwd, buf, sizeof(buf)), (long)strlen(buf) + 1);
	CHECK_ERRNO(syscall(SYS_getcwd, buf, 3), ERANGE);
	CHECK_EQ(rename("../x", "../y"), 0);
	CHECK(getcwd(buf, sizeof(buf)));
	CHECK(!strcmp(buf + strlen(start), "/w/y"));
	CHECK_EQ(rmdir("../y"), 0);
	CHECK_ERRNO(syscall(SYS_getcwd, buf, sizeof(buf)), ENOENT);
	CHECK_ERRNO(open("x", O_CREAT | O_WRONLY, 0644), ENOENT);
	CHECK_EQ(chdir(".."), 0);
	CHECK_EQ(chdir(start), 0);
	CHECK_ERRNO(chdir("plain"), ENOTDIR);
	CHECK_ERRNO(chdir("none"), ENOENT);
	fd = open("w", O_RDONLY);
	CHECK_EQ(fchdir(fd), 0);
	close(fd);
	CHECK_EQ(chdir(start), 0);
	if (geteuid() == 0) {
		pid_t pid = fork();
		if (pid == 0) {
			mkdir("jail", 0755);
			mkdir("jail/in", 0755);
			if (chroot("jail") || chdir("/") || access("/in", F_OK) ||
			    access("/../in", F_OK) || !getcwd(buf, sizeof(buf)) || strcmp(buf, "/"))
				_exit(1);
			_exit(0);
		}
		int status;
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
	}
}

/* protected_symlinks (man 5 proc): others' links in sticky directories do not lead astray. */
static void links_in_sticky_directories(void)
{
	FILE *f = fopen("/proc/sys/fs/protected_symlinks", "r");
	int on = 0, fd;

	if (f) {
		CHECK_EQ(fscanf(f, "%d", &on), 1);
		fclose(f);
	}
	if (geteuid())
		return;
	REQUIRE(mkdir("sticky", 0755) == 0 && chmod("sticky", 01777) == 0);
	make_file("sticky-target", "x");
	mkdir("sticky-dir", 0755);
	make_file("sticky-dir/f", "x");
	CHECK_EQ(symlink("../sticky-target", "sticky/theirs"), 0);
	CHECK_EQ(symlink("../sticky-target", "sticky/mine"), 0);
	CHECK_EQ(symlink("../sticky-dir", "sticky/dir"), 0);
	CHECK_EQ(symlink("sticky/theirs", "by-way"), 0);
	CHECK_EQ(lchown("sticky/theirs", 1000, 1000), 0);
	CHECK_EQ(lchown("sticky/dir", 1000, 1000), 0);
	for (int twice = 0; twice < 2; twice++) {
		fd = open("sticky/theirs", O_RDONLY);
		CHECK_EQ(fd >= 0, !on);
		CHECK(fd >= 0 || errno == EACCES);
		close(fd);
		fd = open("sticky/theirs", O_RDWR | O_CREAT, 0644);
		CHECK_EQ(fd >= 0, !on);
		close(fd);
		CHECK_EQ(access("by-way", F_OK), on ? -1 : 0);
		CHECK_EQ(access("sticky/dir/", F_OK), on ? -1 : 0);
		CHECK_EQ(access("sticky/dir/f", F_OK), 0); /* not at the end of the name */
		CHECK_EQ(access("sticky/mine", F_OK), 0);
	}
	/* The directory's owner's links are good for all; so are those elsewhere. */
	CHECK_EQ(chown("sticky", 1000, 1000), 0);
	CHECK_EQ(access("sticky/theirs", F_OK), 0);
	CHECK_EQ(access("sticky/mine", F_OK), 0); /* the caller's own */
	CHECK_EQ(chown("sticky", 0, 0), 0);
	CHECK_EQ(chmod("sticky", 0777), 0);
	CHECK_EQ(access("sticky/theirs", F_OK), 0);
}

static void all(void)
{
	directories();
	links();
	renames();
	nodes();
	reading_directories();
	handles();
	working_directory();
	links_in_sticky_directories();
}

int main(void)
{
	on_each_fs(all);
	CHECK_DONE();
}
