/* What the tests of user namespaces share: children in one, and their maps. */
#ifndef MOAT_TESTS_GUEST_NS_USERNS_H
#define MOAT_TESTS_GUEST_NS_USERNS_H

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define USER 12345
#define OTHER 23456
#define OVERFLOW 65534

/* 0 if all checks in the child held; else its exit status or signal. */
__attribute__((unused)) static int in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		check_failures = 0;
		fn();
		fflush(stdout);
		_exit(check_failures ? 1 : 0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* -1 and errno as write(2) had it. */
__attribute__((unused)) static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	err = errno;
	close(fd);
	errno = err;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

__attribute__((unused)) static int write_proc(pid_t pid, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return write_file(path, text);
}

__attribute__((unused)) static void read_proc(const char *name, char *buf, size_t size)
{
	char path[64];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, buf, size - 1) : -1;
	buf[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		close(fd);
}

/* Root becomes an ordinary user, as which it can be told apart from the namespace's root. */
__attribute__((unused)) static void become_user(uid_t uid)
{
	if (geteuid() != 0)
		return;
	REQUIRE(setgroups(0, NULL) == 0);
	REQUIRE(setresgid(uid, uid, uid) == 0);
	REQUIRE(setresuid(uid, uid, uid) == 0);
	/* Or /proc/self would be root's. */
	REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0);
}

/* unshare -r: the caller is root of a new user namespace, with `more` namespaces that it owns. */
__attribute__((unused)) static void become_inner_root(int more)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	REQUIRE(unshare(CLONE_NEWUSER | more) == 0);
	REQUIRE(write_file("/proc/self/setgroups", "deny") == 0);
	snprintf(map, sizeof(map), "0 %u 1", uid);
	REQUIRE(write_file("/proc/self/uid_map", map) == 0);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	REQUIRE(write_file("/proc/self/gid_map", map) == 0);
}

__attribute__((unused)) static int ns_fd(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* A child that fn prepares and that then waits for its end by stop(). */
struct helper {
	pid_t pid;
	int ready[2];
};
__attribute__((unused)) static void start(struct helper *h, void (*fn)(void))
{
	char c;

	REQUIRE(pipe2(h->ready, O_CLOEXEC) == 0);
	h->pid = fork();
	REQUIRE(h->pid >= 0);
	if (h->pid == 0) {
		fn();
		write(h->ready[1], check_failures ? "f" : "r", 1);
		for (;;)
			pause();
	}
	close(h->ready[1]);
	REQUIRE(read(h->ready[0], &c, 1) == 1 && c == 'r');
}
__attribute__((unused)) static void stop(struct helper *h)
{
	close(h->ready[0]);
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
}

#endif
