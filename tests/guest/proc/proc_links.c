/* What stat says of directories in /proc: programs count threads and descriptors by it. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static struct stat status_of(const char *path)
{
	struct stat st = {0};

	REQUIRE(stat(path, &st) == 0);
	return st;
}

static pthread_barrier_t started, end;

static void *idle(void *arg)
{
	pthread_barrier_wait(&started);
	pthread_barrier_wait(&end);
	return arg;
}

static void threads_are_links_of_task(void)
{
	pthread_t t[3];

	CHECK_EQ(status_of("/proc/self/task").st_nlink, 3);
	pthread_barrier_init(&started, NULL, 4);
	pthread_barrier_init(&end, NULL, 4);
	for (int i = 0; i < 3; i++)
		REQUIRE(pthread_create(&t[i], NULL, idle, NULL) == 0);
	pthread_barrier_wait(&started);
	CHECK_EQ(status_of("/proc/self/task").st_nlink, 6);
	pthread_barrier_wait(&end);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

static void processes_are_links_of_proc(void)
{
	unsigned long processes = 0;
	struct dirent *d;
	DIR *dir = opendir("/proc");

	REQUIRE(dir);
	while ((d = readdir(dir)))
		processes += d->d_name[0] >= '0' && d->d_name[0] <= '9';
	closedir(dir);
	/* (Others may come and go meanwhile.) */
	CHECK(status_of("/proc").st_nlink + 20 > processes);
}

/* man 2 pidfd_send_signal: the directory stands for the process. */
static void a_process_directory_is_a_pidfd_for_signals(void)
{
	pid_t pid = fork();
	char path[64];
	int fd, status;

	if (!pid) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	REQUIRE(fd >= 0);
	CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), 0);
	CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
	close(fd);
	fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), EBADF);
	close(fd);
	fd = open("/proc", O_RDONLY | O_DIRECTORY);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), EBADF);
	close(fd);
}

int main(void)
{
	CHECK_EQ(status_of("/proc/self/fd").st_nlink, 2);
	threads_are_links_of_task();
	processes_are_links_of_proc();
	a_process_directory_is_a_pidfd_for_signals();
	CHECK_DONE();
}
