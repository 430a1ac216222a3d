/* Namespaces: pid, UTS, unshare, setns by pidfd and by file. Needs CAP_SYS_ADMIN. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		status = fn();
		fflush(stdout);
		_exit(status || check_failures);
	}
	waitpid(pid, &status, 0);
	return status;
}

static int uts(void)
{
	char before[100], after[100];

	gethostname(before, sizeof(before));
	CHECK_EQ(unshare(CLONE_NEWUTS), 0);
	CHECK_EQ(sethostname("elsewhere", 9), 0);
	gethostname(after, sizeof(after));
	CHECK(!strcmp(after, "elsewhere"));
	return 0;
}

static pid_t raw_clone(unsigned long flags)
{
	return syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

static void new_pid_namespace(void)
{
	int status, p[2];
	pid_t pid, inner[2] = {0};

	REQUIRE(pipe(p) == 0);
	pid = raw_clone(CLONE_NEWPID);
	if (pid == 0) {
		pid_t child = fork();

		if (child == 0) {
			for (;;)
				pause();
		}
		inner[0] = getpid();
		inner[1] = child;
		/* Init is not killed by what has no handler. */
		kill(getpid(), SIGTERM);
		kill(getpid(), SIGKILL);
		if (getppid() != 0)
			inner[0] = -1;
		write(p[1], inner, sizeof(inner));
		_exit(5);
	}
	REQUIRE(pid > 0);
	close(p[1]);
	CHECK_EQ(read(p[0], inner, sizeof(inner)), sizeof(inner));
	CHECK_EQ(inner[0], 1);
	CHECK_EQ(inner[1], 2);
	/* With init all others of the namespace die: the last write end closes. */
	CHECK_EQ(read(p[0], inner, sizeof(inner)), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 5);
	close(p[0]);
}

static int unshared_pid(void)
{
	int status;
	pid_t pid;

	CHECK_EQ(unshare(CLONE_NEWPID), 0);
	CHECK(getpid() != 1);
	pid = fork();
	if (pid == 0)
		_exit(getpid() == 1 ? 0 : 1);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	/* Its init is gone. */
	CHECK_ERRNO(fork(), ENOMEM);
	return 0;
}

/* Whoever learns of init's end knows that nobody else is left. */
static void init_ends_last(void)
{
	int p[2], status;
	pid_t pid;
	char c;

	REQUIRE(pipe2(p, O_NONBLOCK) == 0);
	pid = raw_clone(CLONE_NEWPID);
	if (pid == 0) {
		for (int i = 0; i < 20; i++)
			if (fork() == 0)
				for (;;)
					pause();
		_exit(7);
	}
	REQUIRE(pid > 0);
	close(p[1]);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	CHECK_EQ(read(p[0], &c, 1), 0); /* no writer, not EAGAIN */
	close(p[0]);
}

/* A member whose parent is outside must be reaped from there first. */
static int init_waits_for_zombies(void)
{
	pid_t init, other;
	siginfo_t info;
	int status;

	CHECK_EQ(unshare(CLONE_NEWPID), 0);
	init = fork();
	if (init == 0)
		for (;;)
			pause();
	other = fork();
	if (other == 0)
		for (;;)
			pause();
	REQUIRE(init > 0 && other > 0);
	CHECK_EQ(kill(init, SIGKILL), 0);
	CHECK_EQ(waitid(P_PID, (id_t)other, &info, WEXITED | WNOWAIT), 0);
	CHECK_EQ(info.si_status, SIGKILL);
	CHECK_EQ(waitpid(init, &status, WNOHANG), 0);
	CHECK_EQ(waitpid(other, &status, 0), other);
	CHECK_EQ(waitpid(init, &status, 0), init);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return 0;
}

/* Nobody reaps the members, and the last of them takes init along. */
static int init_of_ignored_children(void)
{
	pid_t pid;

	signal(SIGCHLD, SIG_IGN);
	CHECK_EQ(unshare(CLONE_NEWPID), 0);
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	for (int i = 0; i < 5; i++)
		if (fork() == 0)
			for (;;)
				pause();
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_ERRNO(waitpid(-1, NULL, 0), ECHILD);
	CHECK_ERRNO(kill(pid, 0), ESRCH);
	return 0;
}

static int init_has_no_sibling(void)
{
	pid_t pid = raw_clone(CLONE_NEWPID);
	int status;

	if (pid == 0)
		_exit(raw_clone(CLONE_PARENT) == -1 && errno == EINVAL ? 0 : 1);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	return 0;
}

static void join_by_pidfd(void)
{
	char name[100];
	int p[2], status, fd;
	char c;
	pid_t pid;

	REQUIRE(pipe(p) == 0);
	pid = fork();
	if (pid == 0) {
		unshare(CLONE_NEWUTS);
		sethostname("joined", 6);
		write(p[1], "r", 1);
		for (;;)
			pause();
	}
	read(p[0], &c, 1);
	fd = syscall(SYS_pidfd_open, pid, 0);
	CHECK(fd >= 0);
	pid_t joiner = fork();
	if (joiner == 0) {
		if (setns(fd, CLONE_NEWUTS))
			_exit(1);
		gethostname(name, sizeof(name));
		_exit(strcmp(name, "joined") ? 2 : 0);
	}
	waitpid(joiner, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_ERRNO(setns(fd, 0), EINVAL);
	CHECK_ERRNO(setns(0x7ff, CLONE_NEWUTS), EBADF);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
}

static int ns_fd(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* setns(2) by the files in /proc/PID/ns, which outlive the process. */
static int join_by_files(void)
{
	static const struct {
		const char *name;
		int type;
	} kinds[] = {{"uts", CLONE_NEWUTS},
		     {"ipc", CLONE_NEWIPC},
		     {"net", CLONE_NEWNET},
		     {"mnt", CLONE_NEWNS},
		     {"pid", CLONE_NEWPID}};
	struct stat st[2];
	int p[2], fd[5], old, status;
	char c, name[100], before[100];
	pid_t pid;

	gethostname(before, sizeof(before));
	REQUIRE(pipe(p) == 0);
	pid = raw_clone(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID);
	if (pid == 0) {
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		sethostname("by-file", 7);
		mount("none", "/mnt", "tmpfs", 0, NULL);
		mkdir("/mnt/in-there", 0755);
		write(p[1], "r", 1);
		for (;;)
			pause();
	}
	REQUIRE(read(p[0], &c, 1) == 1);
	for (int i = 0; i < 5; i++) {
		fd[i] = ns_fd(pid, kinds[i].name);
		CHECK(fd[i] >= 0);
		CHECK_EQ(ioctl(fd[i], NS_GET_NSTYPE), kinds[i].type);
		old = ns_fd(getpid(), kinds[i].name);
		CHECK_EQ(fstat(fd[i], &st[0]), 0);
		CHECK_EQ(fstat(old, &st[1]), 0);
		CHECK(st[0].st_ino != st[1].st_ino);
		close(old);
	}
	CHECK_ERRNO(setns(fd[0], CLONE_NEWIPC), EINVAL);
	CHECK_ERRNO(setns(p[0], 0), EINVAL);
	/* Into the pid namespace go the children, and there is its init. */
	CHECK_EQ(setns(fd[4], CLONE_NEWPID), 0);
	int child = fork();
	if (child == 0)
		_exit(getpid() == 2 && kill(1, 0) == 0 ? 0 : 1);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_ERRNO(fork(), ENOMEM);
	/* The others live on. */
	old = ns_fd(getpid(), "uts");
	CHECK_EQ(setns(fd[0], 0), 0);
	gethostname(name, sizeof(name));
	CHECK(!strcmp(name, "by-file"));
	CHECK_EQ(setns(old, CLONE_NEWUTS), 0);
	gethostname(name, sizeof(name));
	CHECK(!strcmp(name, before));
	for (int i = 1; i < 4; i++)
		CHECK_EQ(setns(fd[i], kinds[i].type), 0);
	CHECK_EQ(access("/mnt/in-there", F_OK), 0);
	CHECK_EQ(setuid(65534), 0);
	CHECK_ERRNO(setns(fd[0], 0), EPERM);
	return 0;
}

/* What `ip netns` does: a name keeps the namespace. */
static int named_by_a_bind(void)
{
	char file[] = "/tmp/moat-ns-XXXXXX", name[100], line[200];
	struct statfs fs;
	int fd = mkstemp(file), p[2];

	REQUIRE(fd >= 0);
	close(fd);
	CHECK_EQ(unshare(CLONE_NEWNS | CLONE_NEWUTS), 0);
	CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CHECK_EQ(sethostname("bound", 5), 0);
	CHECK_EQ(mount("/proc/self/ns/uts", file, NULL, MS_BIND, NULL), 0);
	/* By this programs know that it is one. */
	CHECK_EQ(statfs(file, &fs), 0);
	CHECK_EQ(fs.f_type, NSFS_MAGIC);
	snprintf(line, sizeof(line),
		 "grep -q ' uts:.[0-9]*. %s .* - nsfs nsfs ' /proc/self/mountinfo", file);
	CHECK_EQ(system(line), 0);
	CHECK_ERRNO(mount("/proc/self/ns/mnt", file, NULL, MS_BIND, NULL), EINVAL);
	CHECK_EQ(unshare(CLONE_NEWUTS), 0);
	CHECK_EQ(sethostname("another", 7), 0);
	fd = open(file, O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQ(setns(fd, CLONE_NEWUTS), 0);
	gethostname(name, sizeof(name));
	CHECK(!strcmp(name, "bound"));
	close(fd);
	/* Whatever is said to that: other files without a name are not meant. */
	mount(NULL, file, NULL, MS_REMOUNT | MS_RDONLY, NULL);
	CHECK(pipe(p) == 0 && fchmod(p[0], 0600) == 0);
	CHECK_EQ(umount(file), 0);
	unlink(file);
	return 0;
}

static int mounts_are_private(void)
{
	CHECK_EQ(unshare(CLONE_NEWNS), 0);
	CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CHECK_EQ(mount("none", "/mnt", "tmpfs", 0, NULL), 0);
	CHECK_EQ(mkdir("/mnt/only-here", 0755), 0);
	return 0;
}

static int threads_cannot(void)
{
	CHECK_ERRNO(unshare(0x1), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_NEWPID | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, 0, 0,
			    0, 0),
		    EINVAL);
	return 0;
}

int main(void)
{
	CHECK_EQ(in_child(threads_cannot), 0);
	if (geteuid() == 0) {
		CHECK_EQ(in_child(uts), 0);
		new_pid_namespace();
		CHECK_EQ(in_child(unshared_pid), 0);
		init_ends_last();
		CHECK_EQ(in_child(init_waits_for_zombies), 0);
		CHECK_EQ(in_child(init_of_ignored_children), 0);
		CHECK_EQ(in_child(init_has_no_sibling), 0);
		join_by_pidfd();
		CHECK_EQ(in_child(join_by_files), 0);
		CHECK_EQ(in_child(named_by_a_bind), 0);
		CHECK_EQ(in_child(mounts_are_private), 0);
		CHECK(access("/mnt/only-here", F_OK) != 0);
	}
	CHECK_DONE();
}
