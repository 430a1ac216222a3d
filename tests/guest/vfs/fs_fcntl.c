/* dup family, fcntl, ioctl, POSIX, OFD and flock locks, seals of memfds. */
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tmpdir.h"

static void dups(void)
{
	int fd = open("d", O_RDWR | O_CREAT, 0644), a, b;

	a = dup(fd);
	CHECK(a > fd);
	CHECK_EQ(dup2(fd, 50), 50);
	CHECK_EQ(fcntl(50, F_GETFD), 0);
	CHECK_EQ(dup2(50, 50), 50);
	CHECK_ERRNO(dup2(999, 999), EBADF);
	CHECK_ERRNO(dup3(fd, fd, 0), EINVAL);
	CHECK_ERRNO(dup3(fd, 51, 1), EINVAL);
	CHECK_EQ(dup3(fd, 51, O_CLOEXEC), 51);
	CHECK_EQ(fcntl(51, F_GETFD), FD_CLOEXEC);
	b = fcntl(fd, F_DUPFD, 60);
	CHECK_EQ(b, 60);
	CHECK_EQ(fcntl(fd, F_DUPFD_CLOEXEC, 60), 61);
	CHECK_EQ(fcntl(61, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(61, F_SETFD, 0), 0);
	CHECK_EQ(fcntl(61, F_GETFD), 0);
	CHECK_ERRNO(fcntl(fd, F_DUPFD, -1), EINVAL);
	CHECK_ERRNO(dup(999), EBADF);
	for (int i = 50; i < 62; i++)
		close(i);
	close(a);
	close(fd);
}

static void flags(void)
{
	int fd = open("fl", O_WRONLY | O_CREAT | O_APPEND, 0644), on = 1, p[2];

	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND), O_WRONLY | O_APPEND);
	CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_WRONLY | O_NONBLOCK);
	CHECK_EQ(fcntl(fd, F_SETFL, O_RDWR | O_CREAT), 0); /* neither can change */
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_WRONLY);
	CHECK_ERRNO(fcntl(fd, 9999, 0), EINVAL);
	CHECK_EQ(ioctl(fd, FIOCLEX), 0);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(ioctl(fd, FIONCLEX), 0);
	CHECK_EQ(ioctl(fd, FIONBIO, &on), 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	CHECK_ERRNO(ioctl(fd, 0x12345), ENOTTY);
	CHECK_ERRNO(ioctl(fd, TCGETS, &on), ENOTTY);
	close(fd);
	make_file("fr", "hello");
	fd = open("fr", O_RDONLY);
	CHECK_EQ(ioctl(fd, FIONREAD, &on), 0);
	CHECK_EQ(on, 5);
	CHECK_EQ(fcntl(fd, F_GETLEASE), F_UNLCK);
	close(fd);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(fcntl(p[0], F_SETOWN, getpid()), 0);
	CHECK_EQ(fcntl(p[0], F_GETOWN), getpid());
	CHECK_EQ(fcntl(p[0], F_SETOWN, -getpgrp()), 0);
	CHECK_EQ(fcntl(p[0], F_GETOWN), -getpgrp());
	CHECK_ERRNO(fcntl(p[0], F_SETOWN, 0x7fffffff), ESRCH);
	CHECK_EQ(fcntl(p[0], F_SETSIG, SIGUSR1), 0);
	CHECK_EQ(fcntl(p[0], F_GETSIG), SIGUSR1);
	CHECK_ERRNO(fcntl(p[0], F_SETSIG, 100), EINVAL);
	close(p[0]);
	close(p[1]);
}

static int lock(int fd, int cmd, int type, off_t start, off_t len)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, cmd, &l);
}

/* What a child finds: the errno of its try, 0 when it got the lock. */
static int child_tries(int cmd, int type, off_t start, off_t len)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open("lk", O_RDWR);

		_exit(lock(fd, cmd, type, start, len) ? errno : 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void posix_locks(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd, other, status;
	pid_t pid;

	make_file("lk", "0123456789");
	fd = open("lk", O_RDWR);
	CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 0, 10), 0);
	CHECK_EQ(child_tries(F_SETLK, F_RDLCK, 5, 1), EAGAIN);
	CHECK_EQ(child_tries(F_SETLK, F_RDLCK, 10, 1), 0);
	CHECK_EQ(lock(fd, F_SETLK, F_UNLCK, 3, 2), 0); /* cut in two */
	CHECK_EQ(child_tries(F_SETLK, F_WRLCK, 3, 2), 0);
	CHECK_EQ(child_tries(F_SETLK, F_WRLCK, 3, 3), EAGAIN);
	CHECK_EQ(child_tries(F_SETLK, F_WRLCK, 2, 1), EAGAIN);
	CHECK_EQ(lock(fd, F_SETLK, F_RDLCK, 0, 0), 0); /* one read lock over all */
	CHECK_EQ(child_tries(F_SETLK, F_RDLCK, 0, 0), 0);
	CHECK_EQ(child_tries(F_SETLK, F_WRLCK, 100, 1), EAGAIN);
	pid = fork();
	if (pid == 0) {
		int f = open("lk", O_RDWR);

		if (fcntl(f, F_GETLK, &l) || l.l_type != F_RDLCK || l.l_pid != getppid() ||
		    l.l_start != 0 || l.l_len != 0)
			_exit(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	/* closing any fd of the file drops them */
	other = open("lk", O_RDONLY);
	close(other);
	CHECK_EQ(child_tries(F_SETLK, F_WRLCK, 0, 0), 0);
	other = open("lk", O_RDONLY);
	CHECK_ERRNO(lock(other, F_SETLK, F_WRLCK, 0, 1), EBADF);
	CHECK_ERRNO(lock(fd, F_SETLK, 77, 0, 1), EINVAL);
	CHECK_ERRNO(lock(fd, F_SETLK, F_WRLCK, -1, 1), EINVAL);
	close(other);
	/* waiting */
	CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 0, 1), 0);
	pid = fork();
	if (pid == 0) {
		int f = open("lk", O_RDWR);

		_exit(lock(f, F_SETLKW, F_WRLCK, 0, 1) ? 1 : 0);
	}
	usleep(50000);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	CHECK_EQ(lock(fd, F_SETLK, F_UNLCK, 0, 1), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	close(fd);
}

static void deadlock(void)
{
	int fd, p[2], status;
	char c;
	pid_t pid;

	make_file("lk", "0123456789");
	fd = open("lk", O_RDWR);
	pipe(p);
	CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 0, 1), 0);
	pid = fork();
	if (pid == 0) {
		int f = open("lk", O_RDWR);

		lock(f, F_SETLK, F_WRLCK, 1, 1);
		write(p[1], "x", 1);
		_exit(lock(f, F_SETLKW, F_WRLCK, 0, 1) ? errno : 0);
	}
	read(p[0], &c, 1);
	usleep(100000);
	/* Whoever waits last is told; usually that is the parent. */
	int mine = lock(fd, F_SETLKW, F_WRLCK, 1, 1);
	if (mine)
		CHECK_EQ(errno, EDEADLK);
	lock(fd, F_SETLK, F_UNLCK, 0, 1);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, mine ? 0 : EDEADLK << 8);
	close(p[0]);
	close(p[1]);
	close(fd);
}

static void on_alarm(int sig)
{
}

static void description_locks(void)
{
	struct sigaction sa = {.sa_handler = on_alarm};
	int a = open("lk", O_RDWR), b = open("lk", O_RDWR), c;

	CHECK_EQ(lock(a, F_OFD_SETLK, F_WRLCK, 0, 5), 0);
	CHECK_ERRNO(lock(b, F_OFD_SETLK, F_WRLCK, 4, 5), EAGAIN);
	CHECK_EQ(lock(b, F_OFD_SETLK, F_WRLCK, 5, 5), 0);
	c = dup(a);
	close(a); /* the description lives on in c */
	CHECK_ERRNO(lock(b, F_OFD_SETLK, F_RDLCK, 0, 1), EAGAIN);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &(struct itimerval){{0, 200000}, {0, 200000}}, NULL);
	CHECK_ERRNO(lock(b, F_OFD_SETLKW, F_RDLCK, 0, 1), EINTR);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	close(c);
	CHECK_EQ(lock(b, F_OFD_SETLK, F_RDLCK, 0, 1), 0);
	a = open("lk", O_RDWR);
	CHECK_EQ(flock(a, LOCK_EX), 0);
	CHECK_ERRNO(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK_EQ(flock(a, LOCK_SH), 0);
	CHECK_EQ(flock(b, LOCK_SH | LOCK_NB), 0);
	CHECK_ERRNO(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	CHECK_EQ(flock(b, LOCK_UN), 0);
	CHECK_EQ(flock(a, LOCK_EX | LOCK_NB), 0);
	CHECK_ERRNO(flock(a, 77), EINVAL);
	close(a);
	CHECK_EQ(flock(b, LOCK_EX | LOCK_NB), 0);
	close(b);
}

static void seals(void)
{
	char buf[8];
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	char *map;

	REQUIRE(fd >= 0);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(fd, F_GET_SEALS), 0);
	CHECK_EQ(write(fd, "12345678", 8), 8);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(map != MAP_FAILED);
	CHECK(!memcmp(map, "12345678", 8));
	map[0] = 'x';
	CHECK_EQ(pread(fd, buf, 1, 0), 1);
	CHECK_EQ(buf[0], 'x');
	CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	munmap(map, 4096);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	CHECK_ERRNO(ftruncate(fd, 4), EPERM);
	CHECK_ERRNO(ftruncate(fd, 16), EPERM);
	CHECK_EQ(pwrite(fd, "abcd", 4, 0), 4);
	CHECK_ERRNO(pwrite(fd, "abcd", 4, 8), EPERM);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CHECK_ERRNO(pwrite(fd, "a", 1, 0), EPERM);
	CHECK_EQ(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED, 1);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	CHECK_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
	CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	close(fd);
	fd = memfd_create("plain", 0);
	CHECK_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL);
	char link[64], path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	CHECK(!strcmp(link, "/memfd:plain (deleted)"));
	close(fd);
	CHECK_ERRNO(syscall(SYS_memfd_create, "x", 0x8000), EINVAL);
}

/* F_SEAL_FUTURE_WRITE: what was mapped for writing before stays so, nothing else becomes it. */
static void sealed_mappings(void)
{
	int fd = memfd_create("future", MFD_ALLOW_SEALING);
	char *old, *new;

	REQUIRE(fd >= 0 && ftruncate(fd, 4096) == 0);
	old = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(old != MAP_FAILED);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	old[0] = 'x';
	CHECK_EQ(mprotect(old, 4096, PROT_READ), 0);
	CHECK_EQ(mprotect(old, 4096, PROT_READ | PROT_WRITE), 0);
	old[1] = 'y';
	CHECK_ERRNO((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EPERM);
	new = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	REQUIRE(new != MAP_FAILED);
	CHECK_EQ(new[1], 'y');
	CHECK_ERRNO(mprotect(new, 4096, PROT_READ | PROT_WRITE), EACCES);
	CHECK_EQ(munmap(new, 4096), 0);
	new = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	REQUIRE(new != MAP_FAILED);
	CHECK_EQ(mprotect(new, 4096, PROT_READ | PROT_WRITE), 0);
	new[0] = 'z';
	CHECK_EQ(old[0], 'x');
	munmap(new, 4096);
	munmap(old, 4096);
	close(fd);
}

/* Whether a file of /proc has a line with `text`, in which "INO" stands for the file's number. */
static int proc_line(const char *path, const char *text, int fd)
{
	char want[128], line[256];
	struct stat st;
	const char *ino = strstr(text, "INO");
	int found = 0;
	FILE *f = fopen(path, "r");

	REQUIRE(f && fstat(fd, &st) == 0 && ino);
	snprintf(want, sizeof(want), "%.*s%lu%s", (int)(ino - text), text, st.st_ino, ino + 3);
	while (fgets(line, sizeof(line), f))
		found += strstr(line, want) != NULL;
	fclose(f);
	return found;
}

static void locks_in_proc(void)
{
	char info[64];
	int fd, other;

	make_file("shown", "0123456789");
	fd = open("shown", O_RDWR);
	other = open("shown", O_RDWR);
	REQUIRE(fd >= 0 && other >= 0);
	CHECK_EQ(proc_line("/proc/locks", ":INO ", fd), 0);
	CHECK_EQ(lock(fd, F_SETLK, F_WRLCK, 2, 3), 0);
	CHECK_EQ(lock(other, F_OFD_SETLK, F_RDLCK, 7, 0), 0);
	CHECK_EQ(flock(fd, LOCK_SH), 0);
	CHECK_EQ(proc_line("/proc/locks", ":INO 2 4\n", fd), 1);
	CHECK_EQ(proc_line("/proc/locks", ":INO 7 EOF\n", fd), 1);
	CHECK_EQ(proc_line("/proc/locks", ":INO 0 EOF\n", fd), 1);
	snprintf(info, sizeof(info), "/proc/self/fdinfo/%d", fd);
	CHECK_EQ(proc_line(info, ":INO ", fd), 2); /* the process's, and flock's */
	snprintf(info, sizeof(info), "/proc/self/fdinfo/%d", other);
	CHECK_EQ(proc_line(info, ":INO 7 EOF\n", fd), 1);
	CHECK_EQ(proc_line(info, ":INO 0 EOF\n", fd), 0);
	CHECK_EQ(flock(fd, LOCK_UN), 0);
	CHECK_EQ(proc_line("/proc/locks", ":INO 0 EOF\n", fd), 0);
	close(other);
	close(fd);
}

static void all(void)
{
	dups();
	flags();
	posix_locks();
	deadlock();
	description_locks();
	locks_in_proc();
	seals();
	sealed_mappings();
}

int main(void)
{
	on_each_fs(all);
	CHECK_DONE();
}
