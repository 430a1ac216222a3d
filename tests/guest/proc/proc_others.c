/* /proc/PID of other processes: they come, show their states, and go; permissions. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char state_of(pid_t pid)
{
	char path[64], buf[512] = "", *p;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	if (read(fd, buf, sizeof(buf) - 1) <= 0)
		buf[0] = 0;
	close(fd);
	p = strrchr(buf, ')');
	return p ? p[2] : 0;
}

static void expect_state(pid_t pid, char want)
{
	char got = 0;

	for (int i = 0; i < 15000 && got != want; i++) {
		got = state_of(pid);
		if (got != want)
			usleep(1000);
	}
	if (got != want) {
		printf("state %c, expected %c\n", got ? got : '?', want);
		check_failures++;
	}
}

static int listed(pid_t pid)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int found = 0;

	REQUIRE(d);
	while ((e = readdir(d)))
		found += atoi(e->d_name) == pid;
	closedir(d);
	return found;
}

static void life(void)
{
	char path[64], buf[64];
	pid_t pid = fork();
	int dir, fd, status;

	if (pid == 0)
		for (;;)
			pause();
	CHECK_EQ(listed(pid), 1);
	expect_state(pid, 'S');
	kill(pid, SIGSTOP);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	expect_state(pid, 'T');
	snprintf(path, sizeof(path), "/proc/%d", pid);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	CHECK(dir >= 0);
	fd = openat(dir, "stat", O_RDONLY);
	CHECK(fd >= 0);
	kill(pid, SIGKILL);
	expect_state(pid, 'Z');
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	{
		int c = open(path, O_RDONLY);

		CHECK_EQ(read(c, buf, sizeof(buf)), 0);
		close(c);
	}
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	CHECK_ERRNO(readlink(path, buf, sizeof(buf)), ENOENT);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_ERRNO(read(fd, buf, sizeof(buf)), ESRCH);
	CHECK(openat(dir, "stat", O_RDONLY) < 0);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	CHECK_ERRNO(access(path, F_OK), ENOENT);
	CHECK_EQ(listed(pid), 0);
	close(fd);
	close(dir);
}

/* Another user may see that a process is there, but not into it. */
static void permissions(void)
{
	char path[64], buf[64];
	struct stat st;
	pid_t pid = fork(), other;
	int status;

	if (pid == 0)
		for (;;)
			pause();
	if (getuid() == 0) {
		other = fork();
		if (other == 0) {
			if (setgid(12345) || setuid(12345))
				_exit(2);
			snprintf(path, sizeof(path), "/proc/%d/stat", pid);
			CHECK_EQ(access(path, R_OK), 0);
			snprintf(path, sizeof(path), "/proc/%d/environ", pid);
			CHECK_ERRNO(open(path, O_RDONLY), EACCES);
			snprintf(path, sizeof(path), "/proc/%d/maps", pid);
			CHECK(open(path, O_RDONLY) < 0);
			snprintf(path, sizeof(path), "/proc/%d/cwd", pid);
			CHECK_ERRNO(readlink(path, buf, sizeof(buf)), EACCES);
			snprintf(path, sizeof(path), "/proc/%d/fd", pid);
			CHECK(!opendir(path) && errno == EACCES);
			_exit(check_failures ? 1 : 0);
		}
		CHECK_EQ(waitpid(other, &status, 0), other);
		CHECK_EQ(status, 0);
	}
	snprintf(path, sizeof(path), "/proc/%d", pid);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_uid, getuid());
	CHECK_EQ(st.st_mode, S_IFDIR | 0555);
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	{
		int fd = open(path, O_RDWR);

		CHECK(fd >= 0);
		CHECK_EQ(write(fd, "500\n", 4), 4);
		CHECK_EQ(pread(fd, buf, sizeof(buf), 0), 4);
		CHECK_ERRNO(write(fd, "1001", 4), EINVAL);
		CHECK_ERRNO(write(fd, "x", 1), EINVAL);
		close(fd);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

/* Many at once. */
static void many(void)
{
	pid_t pids[50];
	int status;

	for (int i = 0; i < 50; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			pause();
			_exit(0);
		}
	}
	for (int i = 0; i < 50; i++)
		CHECK_EQ(listed(pids[i]), 1);
	for (int i = 0; i < 50; i++) {
		kill(pids[i], SIGKILL);
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
	}
	for (int i = 0; i < 50; i++)
		CHECK_EQ(state_of(pids[i]), 0);
}

int main(void)
{
	alarm(58);
	life();
	permissions();
	many();
	CHECK_DONE();
}
