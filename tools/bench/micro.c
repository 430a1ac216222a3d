/*
 * What single operations cost. Prints "NAME<TAB>NANOSECONDS" per case: the mean over a fixed number
 * of operations. The same static binary runs natively and in any sandbox; tools/bench/bench
 *compares.
 *
 *	micro [SCALE]	SCALE multiplies the number of operations (default 1)
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DATA_FILE "/tmp/moat-bench.data"
#define NEW_FILE "/tmp/moat-bench.new"

static char buffer[65536];
static struct stat st;
static int data_fd, pipe_fds[2], ping[2], pong[2], sockets[2], epoll_fd;

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void do_getppid(long i)
{
	syscall(SYS_getppid);
}
static void do_getpid(long i)
{
	syscall(SYS_getpid);
}
static void do_gettid(long i)
{
	syscall(SYS_gettid);
}
static void do_clock(long i)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
}
static void do_stat(long i)
{
	if (stat("/bin", &st))
		fail("stat");
}
static void do_stat_missing(long i)
{
	stat("/no/such/name", &st);
}
static void do_open_close(long i)
{
	int fd = open("/bin", O_RDONLY);

	if (fd < 0)
		fail("open");
	close(fd);
}
static void do_pwrite(long i)
{
	if (pwrite(data_fd, buffer, 4096, i % 100 * 4096) != 4096)
		fail("pwrite");
}
static void do_pread(long i)
{
	if (pread(data_fd, buffer, 4096, i % 100 * 4096) != 4096)
		fail("pread");
}
static void do_pread_64k(long i)
{
	if (pread(data_fd, buffer, sizeof(buffer), 0) != sizeof(buffer))
		fail("pread");
}
static void do_fstat(long i)
{
	fstat(data_fd, &st);
}
static void do_lseek(long i)
{
	lseek(data_fd, i, SEEK_SET);
}
static void do_create_unlink(long i)
{
	int fd = open(NEW_FILE, O_CREAT | O_RDWR, 0600);

	if (fd < 0)
		fail(NEW_FILE);
	close(fd);
	unlink(NEW_FILE);
}
static void do_pipe(long i)
{
	if (write(pipe_fds[1], buffer, 1) != 1 || read(pipe_fds[0], buffer, 1) != 1)
		fail("pipe");
}
static void do_ping_pong(long i)
{
	if (write(ping[1], buffer, 1) != 1 || read(pong[0], buffer, 1) != 1)
		fail("ping-pong");
}
static void do_socket(long i)
{
	if (write(sockets[1], buffer, 1) != 1 || read(sockets[0], buffer, 1) != 1)
		fail("socket");
}
static void do_epoll(long i)
{
	struct epoll_event event;

	if (epoll_wait(epoll_fd, &event, 1, -1) != 1)
		fail("epoll_wait");
}
static void do_mmap(long i)
{
	char *m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED)
		fail("mmap");
	for (int page = 0; page < 65536; page += 4096)
		m[page] = 1;
	munmap(m, 65536);
}
static void wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		fail("child");
}
static void do_fork(long i)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	wait_for(pid);
}
static void do_fork_exec(long i)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "micro", "exit", NULL);
		_exit(1);
	}
	wait_for(pid);
}
static void do_vfork_exec(long i)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execl("/proc/self/exe", "micro", "exit", NULL);
		_exit(1);
	}
	wait_for(pid);
}
static void *thread_main(void *arg)
{
	return arg;
}
static void do_thread(long i)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_main, NULL))
		fail("pthread_create");
	pthread_join(thread, NULL);
}

static void measure(const char *name, long n, void (*operation)(long i))
{
	double start;

	for (long i = 0; i < n / 20 + 1; i++)
		operation(i);
	start = now_ns();
	for (long i = 0; i < n; i++)
		operation(i);
	printf("%s\t%.1f\n", name, (now_ns() - start) / n);
	fflush(stdout);
}

static void measure_page_fault(void)
{
	size_t len = 64 << 20;
	char *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double start;

	if (m == MAP_FAILED)
		fail("mmap");
	/* One fault a page, whatever the host's policy for huge pages is. */
	madvise(m, len, MADV_NOHUGEPAGE);
	start = now_ns();
	for (size_t i = 0; i < len; i += 4096)
		m[i] = 1;
	printf("page fault\t%.1f\n", (now_ns() - start) / (len / 4096));
	munmap(m, len);
}

/* The other end of ping-pong; ends when the pipe is closed. */
static pid_t start_echo(void)
{
	pid_t pid = fork();
	char c;

	if (pid)
		return pid;
	close(ping[1]);
	close(pong[0]);
	while (read(ping[0], &c, 1) == 1)
		if (write(pong[1], &c, 1) != 1)
			break;
	_exit(0);
}

int main(int argc, char **argv)
{
	long k = argc > 1 ? atol(argv[1]) : 1;
	struct epoll_event event = {.events = EPOLLIN};
	pid_t echo;
	int ready;

	if (argc > 1 && !strcmp(argv[1], "exit"))
		return 0;
	if (k < 1)
		k = 1;
	data_fd = open(DATA_FILE, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (data_fd < 0)
		fail(DATA_FILE);
	if (pipe(pipe_fds) || pipe(ping) || pipe(pong) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		fail("pipe, socketpair");
	epoll_fd = epoll_create1(0);
	ready = eventfd(1, 0);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ready, &event))
		fail("epoll_ctl");

	measure("getppid", 20000 * k, do_getppid);
	measure("getpid", 20000 * k, do_getpid);
	measure("gettid", 20000 * k, do_gettid);
	measure("clock_gettime", 20000 * k, do_clock);
	measure("stat", 5000 * k, do_stat);
	measure("stat missing", 5000 * k, do_stat_missing);
	measure("open+close", 5000 * k, do_open_close);
	measure("pwrite 4 KiB", 5000 * k, do_pwrite);
	measure("pread 4 KiB", 5000 * k, do_pread);
	measure("pread 64 KiB", 2000 * k, do_pread_64k);
	measure("fstat", 5000 * k, do_fstat);
	measure("lseek", 5000 * k, do_lseek);
	measure("create+unlink", 1000 * k, do_create_unlink);
	measure("pipe write+read", 5000 * k, do_pipe);
	echo = start_echo();
	measure("pipe ping-pong", 2000 * k, do_ping_pong);
	close(ping[1]);
	waitpid(echo, NULL, 0);
	measure("unix socket write+read", 5000 * k, do_socket);
	measure("epoll_wait ready", 5000 * k, do_epoll);
	measure("mmap+touch+munmap 64 KiB", 2000 * k, do_mmap);
	measure_page_fault();
	measure("fork+exit+wait", 100 * k, do_fork);
	measure("fork+exec+wait", 50 * k, do_fork_exec);
	measure("vfork+exec+wait", 50 * k, do_vfork_exec);
	measure("thread create+join", 200 * k, do_thread);
	unlink(DATA_FILE);
	return 0;
}
