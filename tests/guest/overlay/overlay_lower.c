/* Changing files that the root file system's lower layer has. Inside moat that is the host's own
 * tree under /usr, on which every change must work and none may reach the host; elsewhere the same
 * is done to a copy. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"

#define TREE "/usr/lib/x86_64-linux-gnu/perl-base"

static bool in_moat(void)
{
	char buf[256] = "";
	int fd = open("/proc/version", O_RDONLY);

	if (fd >= 0) {
		read(fd, buf, sizeof(buf) - 1);
		close(fd);
	}
	return strstr(buf, "moat@");
}

static ssize_t read_file(const char *name, char *buf, size_t n)
{
	int fd = open(name, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, buf, n);

	close(fd);
	return got;
}

static void write_file(const char *name, int flags, const char *text)
{
	int fd = open(name, O_WRONLY | flags, 0644);

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	CHECK_EQ(close(fd), 0);
}

static int count(const char *dir, const char *name, bool *seen)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	*seen = false;
	if (!d)
		return -1;
	while ((e = readdir(d))) {
		n++;
		if (!strcmp(e->d_name, name))
			*seen = true;
	}
	closedir(d);
	return n;
}

static void content(void)
{
	char before[4096], buf[4096];
	struct stat a, b;
	int rd, rw;
	ssize_t n;

	rd = open("strict.pm", O_RDONLY);
	REQUIRE(rd >= 0);
	CHECK_EQ(fstat(rd, &a), 0);
	n = pread(rd, before, sizeof(before), 0);
	CHECK(n > 100);
	rw = open("strict.pm", O_RDWR);
	CHECK(rw >= 0);
	CHECK_EQ(pread(rw, buf, sizeof(buf), 0), n);
	CHECK(!memcmp(before, buf, n));
	CHECK_EQ(pwrite(rw, "moat", 4, 10), 4);
	CHECK_EQ(pread(rd, buf, sizeof(buf), 0), n);
	CHECK(!memcmp(buf + 10, "moat", 4));
	CHECK(!memcmp(buf, before, 10));
	CHECK(!memcmp(buf + 14, before + 14, n - 14));
	CHECK_EQ(fstat(rd, &b), 0);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_EQ(a.st_dev, b.st_dev);
	CHECK_EQ(a.st_size, b.st_size);
	CHECK_EQ(stat("strict.pm", &b), 0);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_EQ(ftruncate(rw, 12), 0);
	CHECK_EQ(read_file("strict.pm", buf, sizeof(buf)), 12);
	close(rd);
	close(rw);
	write_file("strict.pm", O_APPEND, "+tail");
	CHECK_EQ(read_file("strict.pm", buf, sizeof(buf)), 17);
	CHECK(!memcmp(buf + 12, "+tail", 5));
	write_file("strict.pm", O_TRUNC, "x");
	CHECK_EQ(read_file("strict.pm", buf, sizeof(buf)), 1);
	CHECK_EQ(truncate("vars.pm", 5), 0);
	CHECK_EQ(read_file("vars.pm", buf, sizeof(buf)), 5);
}

static void mappings(void)
{
	char before[4096], buf[4096];
	int fd = open("warnings.pm", O_RDWR);
	char *private, *shared;

	REQUIRE(fd >= 0);
	CHECK_EQ(pread(fd, before, sizeof(before), 0), sizeof(before));
	private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	REQUIRE(private != MAP_FAILED);
	CHECK(!memcmp(private, before, 4096));
	private[0] = '!';
	CHECK_EQ(pread(fd, buf, 1, 0), 1);
	CHECK_EQ(buf[0], before[0]);
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(shared != MAP_FAILED);
	CHECK(!memcmp(shared, before, 4096));
	memcpy(shared + 100, "SHARED", 6);
	CHECK_EQ(pread(fd, buf, 4096, 0), 4096);
	CHECK(!memcmp(buf + 100, "SHARED", 6));
	CHECK_EQ(pwrite(fd, "WRITTEN", 7, 200), 7);
	CHECK(!memcmp(shared + 200, "WRITTEN", 7));
	CHECK_EQ(msync(shared, 4096, MS_SYNC), 0);
	CHECK_EQ(munmap(shared, 8192), 0);
	CHECK_EQ(munmap(private, 4096), 0);
	close(fd);
	CHECK(read_file("warnings.pm", buf, sizeof(buf)) == 4096);
	CHECK(!memcmp(buf + 100, "SHARED", 6));
}

static void attributes(void)
{
	struct timespec times[2] = {{1000, 1}, {2000, 2}};
	char before[4096], after[4096];
	struct stat a, b;
	ssize_t n = read_file("overload.pm", before, sizeof(before));

	CHECK(n > 0);
	CHECK_EQ(stat("overload.pm", &a), 0);
	CHECK_EQ(chmod("overload.pm", 0600), 0);
	CHECK_EQ(utimensat(AT_FDCWD, "overload.pm", times, 0), 0);
	if (geteuid() == 0)
		CHECK_EQ(chown("overload.pm", 12, 34), 0);
	CHECK_EQ(stat("overload.pm", &b), 0);
	CHECK_EQ(b.st_mode, S_IFREG | 0600);
	CHECK_EQ(b.st_mtim.tv_sec, 2000);
	CHECK_EQ(b.st_mtim.tv_nsec, 2);
	CHECK_EQ(b.st_ino, a.st_ino);
	if (geteuid() == 0)
		CHECK_EQ(b.st_uid, 12);
	CHECK_EQ(read_file("overload.pm", after, sizeof(after)), n);
	CHECK(!memcmp(before, after, n));
	CHECK_EQ(stat("overload.pm", &b), 0);
	CHECK_EQ(b.st_mtim.tv_sec, 2000);
}

static void whiteouts(void)
{
	bool seen;
	char buf[16];
	int n = count(".", "constant.pm", &seen), fd;

	CHECK(seen);
	fd = open("constant.pm", O_RDONLY);
	CHECK_EQ(unlink("constant.pm"), 0);
	CHECK_EQ(read(fd, buf, sizeof(buf)), sizeof(buf)); /* still there for who has it */
	close(fd);
	CHECK_ERRNO(access("constant.pm", F_OK), ENOENT);
	CHECK_ERRNO(unlink("constant.pm"), ENOENT);
	CHECK_EQ(count(".", "constant.pm", &seen), n - 1);
	CHECK(!seen);
	write_file("constant.pm", O_CREAT | O_EXCL, "new");
	CHECK_EQ(read_file("constant.pm", buf, sizeof(buf)), 3);
	CHECK_EQ(count(".", "constant.pm", &seen), n);
	CHECK(seen);
	CHECK_EQ(unlink("constant.pm"), 0);
	CHECK_EQ(mkdir("constant.pm", 0755), 0);
	CHECK_EQ(rmdir("constant.pm"), 0);
	CHECK_ERRNO(access("constant.pm", F_OK), ENOENT);
}

static void directory_renames(void)
{
	struct stat a, b, dir;
	char before[4096], after[4096];
	ssize_t n = read_file("File/Spec/Unix.pm", before, sizeof(before));
	bool seen;
	int entries = count("File", "Spec", &seen);

	CHECK(n > 0);
	CHECK(seen);
	CHECK_EQ(stat("File/Spec/Unix.pm", &a), 0);
	CHECK_EQ(rename("File", "File2"), 0);
	CHECK_ERRNO(access("File", F_OK), ENOENT);
	CHECK_ERRNO(access("File/Spec/Unix.pm", F_OK), ENOENT);
	CHECK_EQ(read_file("File2/Spec/Unix.pm", after, sizeof(after)), n);
	CHECK(!memcmp(before, after, n));
	CHECK_EQ(stat("File2/Spec/Unix.pm", &b), 0);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_EQ(count("File2", "Spec", &seen), entries);
	CHECK(seen);
	/* What is made in its place is empty. */
	CHECK_EQ(mkdir("File", 0755), 0);
	CHECK_EQ(count("File", "Spec", &seen), 2);
	CHECK(!seen);
	CHECK_EQ(rename("File2/Spec", "File/Moved"), 0);
	CHECK_EQ(read_file("File/Moved/Unix.pm", after, sizeof(after)), n);
	CHECK_EQ(count("File2", "Spec", &seen), entries - 1);
	CHECK_ERRNO(rename("File2", "File"), ENOTEMPTY);
	CHECK_ERRNO(rename("File", "File/Moved/x"), EINVAL);
	CHECK_EQ(stat("File", &dir), 0);
	CHECK_EQ(stat("File/Moved/..", &b), 0);
	CHECK_EQ(dir.st_ino, b.st_ino);
	CHECK_EQ(rename("File2", "File/Moved/Back"), 0);
	CHECK_EQ(count("File/Moved/Back", "Spec", &seen), entries - 1);
}

static void file_renames(void)
{
	char a[4096], b[4096], buf[4096];
	ssize_t na = read_file("Carp.pm", a, sizeof(a));
	ssize_t nb = read_file("Symbol.pm", b, sizeof(b));

	CHECK(na > 0 && nb > 0);
	CHECK_EQ(renameat2(AT_FDCWD, "Carp.pm", AT_FDCWD, "Symbol.pm", RENAME_EXCHANGE), 0);
	CHECK_EQ(read_file("Carp.pm", buf, sizeof(buf)), nb);
	CHECK(!memcmp(buf, b, nb));
	CHECK_EQ(read_file("Symbol.pm", buf, sizeof(buf)), na);
	CHECK(!memcmp(buf, a, na));
	CHECK_ERRNO(renameat2(AT_FDCWD, "Carp.pm", AT_FDCWD, "Symbol.pm", RENAME_NOREPLACE),
		    EEXIST);
	CHECK_EQ(rename("Carp.pm", "Symbol.pm"), 0);
	CHECK_ERRNO(access("Carp.pm", F_OK), ENOENT);
	CHECK_EQ(read_file("Symbol.pm", buf, sizeof(buf)), nb);
	write_file("upper", O_CREAT | O_EXCL, "upper");
	CHECK_EQ(rename("upper", "Symbol.pm"), 0);
	CHECK_EQ(read_file("Symbol.pm", buf, sizeof(buf)), 5);
}

static void links(void)
{
	struct stat a, b;
	char buf[4096];
	ssize_t n;

	CHECK_EQ(link("lib.pm", "lib2.pm"), 0);
	CHECK_EQ(stat("lib.pm", &a), 0);
	CHECK_EQ(stat("lib2.pm", &b), 0);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_EQ(a.st_nlink, 2);
	write_file("lib2.pm", O_TRUNC, "both");
	CHECK_EQ(read_file("lib.pm", buf, sizeof(buf)), 4);
	CHECK_EQ(unlink("lib.pm"), 0);
	CHECK_EQ(stat("lib2.pm", &b), 0);
	CHECK_EQ(b.st_nlink, 1);
	CHECK_EQ(read_file("lib2.pm", buf, sizeof(buf)), 4);
	CHECK_EQ(symlink("lib2.pm", "soft"), 0);
	n = readlink("soft", buf, sizeof(buf));
	CHECK_EQ(n, 7);
	CHECK_EQ(lstat("soft", &a), 0);
	CHECK_EQ(a.st_size, 7);
	CHECK_EQ(read_file("soft", buf, sizeof(buf)), 4);
}

static void xattrs(void)
{
	char buf[64];

	CHECK_ERRNO(getxattr("feature.pm", "user.none", buf, sizeof(buf)), ENODATA);
	if (setxattr("feature.pm", "user.x", "abc", 3, 0) < 0) {
		CHECK_EQ(errno, EOPNOTSUPP);
		return;
	}
	CHECK_EQ(getxattr("feature.pm", "user.x", buf, sizeof(buf)), 3);
	CHECK_ERRNO(setxattr("feature.pm", "user.x", "abc", 3, XATTR_CREATE), EEXIST);
	CHECK_EQ(removexattr("feature.pm", "user.x"), 0);
	CHECK_ERRNO(getxattr("feature.pm", "user.x", buf, sizeof(buf)), ENODATA);
}

/* As rm -r does it: removing while reading. */
static int remove_tree(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void tree_removal(void)
{
	DIR *d = opendir("unicore/lib");
	struct dirent *e;
	bool seen;
	int removed = 0;

	CHECK_ERRNO(rmdir("unicore"), ENOTEMPTY);
	if (d) { /* every entry is met once, though each goes as it is met */
		while ((e = readdir(d))) {
			char path[512];

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "unicore/lib/%s", e->d_name);
			CHECK_EQ(nftw(path, remove_tree, 16, FTW_DEPTH | FTW_PHYS), 0);
			removed++;
		}
		closedir(d);
		CHECK(removed > 0);
		CHECK_EQ(rmdir("unicore/lib"), 0);
	}
	CHECK_EQ(nftw("unicore", remove_tree, 16, FTW_DEPTH | FTW_PHYS), 0);
	CHECK_ERRNO(access("unicore", F_OK), ENOENT);
	CHECK_EQ(mkdir("unicore", 0755), 0);
	CHECK_EQ(count("unicore", "lib", &seen), 2);
	CHECK(!seen);
}

static void execution(void)
{
	char buf[65536];
	int from = open("/proc/self/exe", O_RDONLY), to, status;
	ssize_t n;
	pid_t pid;

	to = open("prog", O_WRONLY | O_CREAT | O_EXCL, 0755);
	CHECK(from >= 0 && to >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		CHECK_EQ(write(to, buf, n), n);
	close(from);
	close(to);
	pid = fork();
	if (pid == 0) {
		execl("./prog", "prog", "child", (char *)NULL);
		_exit(1);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 42 << 8);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/overlay-lower-XXXXXX", command[128];
	bool moat = in_moat();

	if (argc > 1)
		return 42;
	if (access(TREE, F_OK)) {
		printf("skipped: no %s\n", TREE);
		return 0;
	}
	if (moat) {
		REQUIRE(chdir(TREE) == 0);
	} else {
		REQUIRE(mkdtemp(dir));
		snprintf(command, sizeof(command), "cp -a %s/. %s", TREE, dir);
		REQUIRE(system(command) == 0);
		REQUIRE(chdir(dir) == 0);
	}
	content();
	mappings();
	attributes();
	whiteouts();
	directory_renames();
	file_renames();
	links();
	xattrs();
	tree_removal();
	execution();
	if (!moat) {
		REQUIRE(chdir("/") == 0);
		CHECK_EQ(nftw(dir, remove_tree, 16, FTW_DEPTH | FTW_PHYS), 0);
	}
	CHECK_DONE();
}
