/* mount, umount2, bind, move, propagation, pivot_root in a mount namespace of its own. */
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tmpdir.h"

static int in_mountinfo(const char *text)
{
	char line[4096];
	FILE *f = fopen("/proc/self/mountinfo", "r");
	int found = 0;

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		found |= !!strstr(line, text);
	fclose(f);
	return found;
}

static void tmpfs_options(void)
{
	struct statfs fs;
	struct stat st;
	char big[65536] = "";
	ssize_t total = 0, n;
	int fd;

	mkdir("t", 0755);
	CHECK_ERRNO(mount("none", "t", "tmpfs", 0, "size=oops"), EINVAL);
	CHECK_ERRNO(mount("none", "t", "no-such-fs", 0, NULL), ENODEV);
	CHECK_ERRNO(mount("none", "missing", "tmpfs", 0, NULL), ENOENT);
	CHECK_EQ(mount("src", "t", "tmpfs", MS_NOSUID, "size=1m,mode=711,uid=5,gid=6,nr_inodes=10"),
		 0);
	CHECK_EQ(stat("t", &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0711);
	CHECK_EQ(st.st_uid, 5);
	CHECK_EQ(st.st_gid, 6);
	CHECK_EQ(statfs("t", &fs), 0);
	CHECK_EQ(fs.f_type, 0x01021994);
	CHECK_EQ(fs.f_blocks * fs.f_bsize, 1 << 20);
	CHECK_EQ(fs.f_files, 10);
	fd = open("t/big", O_RDWR | O_CREAT, 0644);
	while ((n = write(fd, big, sizeof(big))) > 0)
		total += n;
	CHECK_EQ(n, -1);
	CHECK_EQ(errno, ENOSPC);
	CHECK(total > (1 << 20) - 70000 && total <= 1 << 20);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(write(fd, big, 1000), 1000);
	CHECK_ERRNO(umount("t"), EBUSY);
	close(fd);
	char name[16];
	int made = 0;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "t/i%d", i);
		made += mkdir(name, 0755) == 0;
	}
	CHECK_EQ(made, 8);
	CHECK_EQ(errno, ENOSPC);
	CHECK_EQ(mount(NULL, "t", NULL, MS_REMOUNT, "size=2m"), 0);
	statfs("t", &fs);
	CHECK_EQ(fs.f_blocks * fs.f_bsize, 2 << 20);
	CHECK_EQ(mount(NULL, "t", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	CHECK_ERRNO(mkdir("t/x", 0755), EROFS);
	CHECK_ERRNO(open("t/new", O_CREAT | O_WRONLY, 0644), EROFS);
	CHECK_ERRNO(open("t/big", O_WRONLY), EROFS);
	CHECK_ERRNO(access("t/big", W_OK), EROFS);
	CHECK_ERRNO(unlink("t/big"), EROFS);
	if (fork() == 0) {
		/* Read-only comes before who may. */
		check_failures = 0;
		REQUIRE(setresuid(65534, 65534, 65534) == 0);
		CHECK_ERRNO(chmod("t/big", 0600), EROFS);
		CHECK_ERRNO(chown("t/big", 1, 1), EROFS);
		CHECK_ERRNO(utimensat(AT_FDCWD, "t/big", NULL, 0), EROFS);
		_exit(check_failures != 0);
	}
	wait(&fd);
	CHECK_EQ(fd, 0);
	CHECK_EQ(umount("t"), 0);
	CHECK_ERRNO(umount("t"), EINVAL);
	CHECK_ERRNO(umount2("t", 0x1000), EINVAL);
}

static void binds(void)
{
	struct stat a, b;

	mkdir("a", 0755);
	mkdir("a/sub", 0755);
	mkdir("b", 0755);
	make_file("a/f", "bound");
	make_file("plain", "plain");
	make_file("cover", "cover");
	CHECK_EQ(mount("a", "b", NULL, MS_BIND, NULL), 0);
	stat("a/f", &a);
	stat("b/f", &b);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_ERRNO(rename("a/f", "b/g"), EXDEV);
	CHECK_ERRNO(link("a/f", "b/g"), EXDEV);
	CHECK_ERRNO(rmdir("b"), EBUSY);
	CHECK_EQ(mount("none", "a/sub", "tmpfs", 0, NULL), 0);
	make_file("a/sub/deep", "");
	CHECK_ERRNO(access("b/sub/deep", F_OK), ENOENT);
	CHECK_EQ(umount("b"), 0);
	CHECK_EQ(mount("a", "b", NULL, MS_BIND | MS_REC, NULL), 0);
	CHECK_EQ(access("b/sub/deep", F_OK), 0);
	CHECK_ERRNO(umount("b"), EBUSY);
	CHECK_EQ(umount2("b", MNT_DETACH), 0);
	CHECK_EQ(umount("a/sub"), 0);
	CHECK_EQ(mount("cover", "plain", NULL, MS_BIND, NULL), 0);
	stat("plain", &a);
	stat("cover", &b);
	CHECK_EQ(a.st_ino, b.st_ino);
	CHECK_ERRNO(mount("a", "plain", NULL, MS_BIND, NULL), ENOTDIR);
	CHECK_EQ(umount("plain"), 0);
	CHECK_ERRNO(mount(NULL, "a", NULL, MS_BIND, NULL), EINVAL);
}

static void moves(void)
{
	mkdir("m1", 0755);
	mkdir("m2", 0755);
	CHECK_EQ(mount("none", "m1", "tmpfs", 0, NULL), 0);
	make_file("m1/f", "");
	mkdir("m1/d", 0755);
	CHECK_ERRNO(mount("m1", "m1/d", NULL, MS_MOVE, NULL), ELOOP);
	CHECK_ERRNO(mount("m2", "m1", NULL, MS_MOVE, NULL), EINVAL);
	CHECK_EQ(mount("m1", "m2", NULL, MS_MOVE, NULL), 0);
	CHECK_EQ(access("m2/f", F_OK), 0);
	CHECK_ERRNO(access("m1/f", F_OK), ENOENT);
	int fd = open("m2/f", O_RDONLY);
	CHECK_ERRNO(umount2("m2", MNT_EXPIRE), EBUSY);
	CHECK_EQ(umount2("m2", MNT_DETACH), 0);
	char c;
	CHECK_EQ(read(fd, &c, 1), 0); /* the file lives on */
	close(fd);
	CHECK_EQ(mount("none", "m1", "tmpfs", 0, NULL), 0);
	CHECK_ERRNO(umount2("m1", MNT_EXPIRE), EAGAIN);
	CHECK_EQ(umount2("m1", MNT_EXPIRE), 0);
}

static void propagation(void)
{
	mkdir("s", 0755);
	mkdir("p", 0755);
	mkdir("l", 0755);
	CHECK_EQ(mount("shared-one", "s", "tmpfs", 0, NULL), 0);
	CHECK_EQ(mount(NULL, "s", NULL, MS_SHARED, NULL), 0);
	mkdir("s/in", 0755);
	CHECK_EQ(mount("s", "p", NULL, MS_BIND, NULL), 0);
	CHECK_EQ(mount("s", "l", NULL, MS_BIND, NULL), 0);
	CHECK_EQ(mount(NULL, "l", NULL, MS_SLAVE, NULL), 0);
	CHECK(in_mountinfo(" shared:"));
	CHECK(in_mountinfo(" master:"));
	CHECK_EQ(mount("none", "s/in", "tmpfs", 0, NULL), 0);
	make_file("p/in/f", "");
	CHECK_EQ(access("s/in/f", F_OK), 0);
	CHECK_EQ(access("l/in/f", F_OK), 0);
	CHECK_EQ(umount("p/in"), 0);
	CHECK_ERRNO(access("s/in/f", F_OK), ENOENT);
	CHECK_ERRNO(access("l/in/f", F_OK), ENOENT);
	CHECK_EQ(mount("none", "l/in", "tmpfs", 0, NULL), 0);
	make_file("l/in/g", "");
	CHECK_ERRNO(access("s/in/g", F_OK), ENOENT);
	CHECK_EQ(mount(NULL, "s", NULL, MS_UNBINDABLE, NULL), 0);
	mkdir("q", 0755);
	CHECK_ERRNO(mount("s", "q", NULL, MS_BIND, NULL), EINVAL);
	CHECK_ERRNO(mount(NULL, "s", NULL, MS_SHARED | MS_PRIVATE, NULL), EINVAL);
	CHECK_EQ(umount("l/in"), 0);
	CHECK_EQ(umount("l"), 0);
	CHECK_EQ(umount("p"), 0);
	CHECK_EQ(umount("s"), 0);
}

static int bind_mount(const char *from, const char *to, unsigned long flags)
{
	return mount(from, to, NULL, MS_BIND | flags, NULL);
}

static int change_type(const char *at, unsigned long type)
{
	return mount(NULL, at, NULL, type, NULL);
}

/* A directory that is a shared mount of its own. */
static void shared_dir(const char *name)
{
	CHECK_EQ(mkdir(name, 0755), 0);
	CHECK_EQ(bind_mount(name, name, 0), 0);
	CHECK_EQ(change_type(name, MS_SHARED), 0);
}

/* g1: whole; g2, its slave: only a part that does not show the place; whole again: g2's slave. */
static void events_pass_through_partial_mounts(void)
{
	shared_dir("e");
	mkdir("e/sub", 0755);
	mkdir("e/place", 0755);
	mkdir("e1", 0755);
	mkdir("e2", 0755);
	CHECK_EQ(bind_mount("e", "e1", 0), 0);
	CHECK_EQ(change_type("e", MS_SLAVE), 0);
	CHECK_EQ(change_type("e", MS_SHARED), 0);
	CHECK_EQ(bind_mount("e/sub", "e2", 0), 0);
	CHECK_EQ(change_type("e", MS_SLAVE), 0);
	CHECK_EQ(mount("none", "e1/place", "tmpfs", 0, NULL), 0);
	make_file("e1/place/f", "");
	CHECK_EQ(access("e/place/f", F_OK), 0);
	CHECK_EQ(umount("e1/place"), 0);
	CHECK_ERRNO(access("e/place/f", F_OK), ENOENT);
	CHECK_EQ(umount("e2"), 0);
	CHECK_EQ(umount("e1"), 0);
	CHECK_EQ(umount("e"), 0);
}

/* What is moved into a peer of itself is told of its own arrival. */
static void moves_into_peers(void)
{
	CHECK_EQ(mkdir("v1", 0755), 0);
	CHECK_EQ(mkdir("v2", 0755), 0);
	CHECK_EQ(mount("none", "v1", "tmpfs", 0, NULL), 0);
	CHECK_EQ(change_type("v1", MS_SHARED), 0);
	mkdir("v1/a", 0755);
	make_file("v1/f", "");
	CHECK_EQ(bind_mount("v1", "v2", 0), 0);
	CHECK_EQ(mount("v1", "v2/a", NULL, MS_MOVE, NULL), 0);
	CHECK_ERRNO(access("v1/f", F_OK), ENOENT);
	CHECK_EQ(access("v2/a/f", F_OK), 0);
	CHECK_EQ(access("v2/a/a/f", F_OK), 0);
	CHECK_ERRNO(access("v2/a/a/a/f", F_OK), ENOENT);
	CHECK_EQ(umount("v2/a/a"), 0);
	CHECK_EQ(umount("v2"), 0);
	CHECK_ERRNO(umount("v2"), EINVAL);
}

/* Copies come beneath what is mounted already; what covers a mount that goes comes down. */
static void stacked_mounts(bool lazily)
{
	shared_dir("k");
	shared_dir("k/c1");
	shared_dir("k/c2");
	CHECK_EQ(mount("none", "k/c1", "tmpfs", 0, NULL), 0);
	make_file("k/c1/f", "");
	CHECK_EQ(bind_mount("k", "k/c2", MS_REC), 0);
	CHECK_EQ(access("k/c2/c1/f", F_OK), 0);
	CHECK_EQ(umount("k/c2/c1"), 0);
	CHECK_ERRNO(access("k/c1/f", F_OK), ENOENT);
	if (lazily) {
		CHECK_EQ(umount2("k/c2", MNT_DETACH), 0);
		CHECK_EQ(umount2("k", MNT_DETACH), 0);
	} else {
		CHECK_EQ(umount("k/c1"), 0);
		CHECK_EQ(umount("k/c2/c2"), 0);
		CHECK_EQ(umount("k/c2"), 0);
		CHECK_EQ(umount("k"), 0);
	}
	CHECK_ERRNO(umount("k"), EINVAL);
	CHECK_EQ(rmdir("k/c1"), 0);
	CHECK_EQ(rmdir("k/c2"), 0);
	CHECK_EQ(rmdir("k"), 0);
}

static void namespaces(void)
{
	int status;
	pid_t pid;

	mkdir("n", 0755);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "n", "tmpfs", 0, NULL) || make_file("n/hidden", "x") ||
		    access("n/hidden", F_OK))
			_exit(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_ERRNO(access("n/hidden", F_OK), ENOENT);
	pid = fork();
	if (pid == 0) {
		char cwd[64];

		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "n", "tmpfs", 0, NULL) || mkdir("n/old", 0755) ||
		    make_file("n/here", "x") || chdir("n"))
			_exit(1);
		if (syscall(SYS_pivot_root, ".", "old") || chdir("/"))
			_exit(2);
		if (access("/here", F_OK) || access("/old/etc", F_OK) || access("/etc", F_OK) == 0)
			_exit(3);
		if (umount2("/old", MNT_DETACH) || access("/old/etc", F_OK) == 0)
			_exit(4);
		if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, "/"))
			_exit(5);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

/* A directory that leaves what is bound takes nobody along. */
static void out_of_a_bind(void)
{
	int fd;

	REQUIRE(mkdir("src", 0755) == 0 && mkdir("src/sub", 0755) == 0);
	REQUIRE(mkdir("src/sub/deep", 0755) == 0 && mkdir("bound", 0755) == 0);
	REQUIRE(mount("src/sub", "bound", NULL, MS_BIND, NULL) == 0);
	fd = open("bound/deep", O_RDONLY | O_DIRECTORY);
	REQUIRE(fd >= 0);
	CHECK_EQ(faccessat(fd, "../deep", F_OK, 0), 0);
	REQUIRE(rename("src/sub/deep", "src/deep") == 0);
	CHECK_ERRNO(faccessat(fd, "../sub", F_OK, 0), ENOENT);
	close(fd);
	CHECK_EQ(umount("bound"), 0);
	rmdir("bound");
	rmdir("src/deep");
	rmdir("src/sub");
	rmdir("src");
}

/* A new root above the root of who asks: the two would hang on each other. */
static void pivot_above_root(void)
{
	int status;
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mkdir("up", 0755) || mount("none", "up", "tmpfs", 0, NULL) ||
		    mkdir("up/b", 0755) || mkdir("up/put", 0755) ||
		    mount("none", "up/b", "tmpfs", 0, NULL) || chdir("up") || chroot("b"))
			_exit(1);
		_exit(syscall(SYS_pivot_root, ".", "put") == -1 && errno == EINVAL ? 0 : 2);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	rmdir("up");
}

/* A namespace of its own with two tmpfs in it, "far" and "far/in", which keeps until its pipe
 * is closed. */
static pid_t far_namespace(int *hold)
{
	int ready[2], keep[2];
	char c = 0;
	pid_t pid;

	REQUIRE(pipe(ready) == 0 && pipe(keep) == 0);
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		close(keep[1]);
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("none", "far", "tmpfs", 0, NULL) || mkdir("far/in", 0755) ||
		    mount("none", "far/in", "tmpfs", 0, NULL) || write(ready[1], &c, 1) != 1)
			_exit(1);
		read(keep[0], &c, 1);
		/* Nothing of it has gone or changed. */
		_exit(mkdir("far/in/still", 0755) || umount("far/in") || umount("far"));
	}
	close(ready[1]);
	close(keep[0]);
	REQUIRE(read(ready[0], &c, 1) == 1);
	close(ready[0]);
	*hold = keep[1];
	return pid;
}

/* What is mounted in another namespace can be looked at, but not changed or taken from there. */
static void mounts_of_another_namespace(void)
{
	char far[PATH_MAX + 64], in[PATH_MAX + 80], cwd[PATH_MAX];
	int hold, status;
	struct stat st;
	pid_t pid;

	REQUIRE(mkdir("far", 0755) == 0 && mkdir("here", 0755) == 0);
	REQUIRE(getcwd(cwd, sizeof(cwd)));
	pid = far_namespace(&hold);
	snprintf(far, sizeof(far), "/proc/%d/root%s/far", pid, cwd);
	snprintf(in, sizeof(in), "%s/in", far);
	CHECK_EQ(stat(in, &st), 0);
	CHECK_ERRNO(stat("far/in", &st), ENOENT);
	CHECK_ERRNO(umount(in), EINVAL);
	CHECK_ERRNO(umount2(in, MNT_DETACH), EINVAL);
	CHECK_ERRNO(umount2(in, MNT_EXPIRE), EINVAL);
	CHECK_ERRNO(mount(NULL, in, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), EINVAL);
	CHECK_ERRNO(mount(NULL, in, NULL, MS_REMOUNT | MS_RDONLY, NULL), EINVAL);
	CHECK_EQ(mount(NULL, in, NULL, MS_PRIVATE, NULL), 0); /* Linux allows this alone */
	CHECK_ERRNO(mount("none", in, "tmpfs", 0, NULL), EINVAL);
	CHECK_ERRNO(mount(in, "here", NULL, MS_BIND, NULL), EINVAL);
	CHECK_ERRNO(mount("here", in, NULL, MS_BIND, NULL), EINVAL);
	CHECK_ERRNO(mount(in, "here", NULL, MS_MOVE, NULL), EINVAL);
	REQUIRE(mount("none", "here", "tmpfs", 0, NULL) == 0);
	CHECK_ERRNO(mount("here", in, NULL, MS_MOVE, NULL), EINVAL);
	CHECK_EQ(umount("here"), 0);
	CHECK_ERRNO(syscall(SYS_pivot_root, far, in), EINVAL);
	close(hold);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	/* What has been taken off the tree is nobody's. */
	REQUIRE(mount("none", "here", "tmpfs", 0, NULL) == 0 && chdir("here") == 0);
	REQUIRE(umount2(".", MNT_DETACH) == 0);
	CHECK_ERRNO(mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), EINVAL);
	CHECK_ERRNO(mount(NULL, ".", NULL, MS_PRIVATE, NULL), EINVAL);
	CHECK_ERRNO(umount2(".", MNT_DETACH), EINVAL);
	REQUIRE(chdir(cwd) == 0);
}

static void all(void)
{
	tmpfs_options();
	binds();
	moves();
	propagation();
	events_pass_through_partial_mounts();
	moves_into_peers();
	stacked_mounts(false);
	stacked_mounts(true);
	namespaces();
	out_of_a_bind();
	pivot_above_root();
	mounts_of_another_namespace();
}

int main(void)
{
	if (unshare(CLONE_NEWNS)) {
		printf("no permission to make a mount namespace: skipped\n");
		return 0;
	}
	REQUIRE(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	umask(022);
	on_each_fs(all);
	/* Without the capability nothing can be mounted. */
	REQUIRE(setuid(65534) == 0);
	CHECK_ERRNO(mount("none", "/tmp", "tmpfs", 0, NULL), EPERM);
	CHECK_ERRNO(umount("/tmp"), EPERM);
	CHECK_DONE();
}
