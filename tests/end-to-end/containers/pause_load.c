/*
 * What runs in a container that is paused again and again.
 *
 *	pause_load load		waits and wakes in many ways until SIGTERM comes: nothing may be
 *lost, no call may see that it was interrupted pause_load deadlines	calls that wait for a time:
 *none longer than told, none shorter
 *	pause_load spin MS	uses so much processor time, half of it in a child, then waits
 *	pause_load signal	SIGUSR1 ends a sleep and an epoll_wait, and runs a handler in a read
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 1500

static struct shared {
	_Atomic bool stop, failed;
	_Atomic uint32_t turn;
} * shared;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	shared->failed = true;
}

static bool going(void)
{
	return !shared->stop && !shared->failed;
}

static void nap(long ns)
{
	struct timespec ts = {.tv_nsec = ns};

	if (nanosleep(&ts, NULL))
		fail("nanosleep");
}

/* --- waiting and waking ----------------------------------------------------------------------- */

static uint64_t pipes(void)
{
	int to[2], from[2];
	uint64_t n = 0;
	pid_t pid;
	char c = 0;

	if (pipe(to) || pipe(from))
		fail("pipe");
	pid = fork();
	if (!pid) {
		close(to[1]);
		while (read(to[0], &c, 1) == 1)
			if (write(from[1], &c, 1) != 1)
				_exit(2);
		_exit(0);
	}
	for (; going(); n++)
		if (write(to[1], &c, 1) != 1 || read(from[0], &c, 1) != 1)
			fail("pipe");
	close(to[1]);
	if (waitpid(pid, NULL, 0) != pid)
		fail("waitpid of the pipe's other end");
	return n;
}

static long futex(_Atomic uint32_t *word, int op, uint32_t val, const struct timespec *ts)
{
	return syscall(SYS_futex, word, op, val, ts, NULL, 0);
}

/* Takes turns: waits until the word is `mine`, then makes it the other's. */
static uint64_t futexes(uint32_t mine)
{
	uint64_t n = 0;

	for (; going(); n++) {
		uint32_t now;

		while ((now = shared->turn) != mine && going())
			if (futex(&shared->turn, FUTEX_WAIT, now, NULL) && errno != EAGAIN)
				fail("futex");
		shared->turn = !mine;
		futex(&shared->turn, FUTEX_WAKE, 1, NULL);
	}
	shared->turn = !mine;
	futex(&shared->turn, FUTEX_WAKE, 1, NULL);
	return n;
}

static uint64_t futex_first(void)
{
	return futexes(0);
}

static uint64_t futex_second(void)
{
	return futexes(1);
}

static void *feed(void *arg)
{
	uint64_t one = 1;

	while (going()) {
		nap(300000);
		if (write(*(int *)arg, &one, sizeof(one)) != sizeof(one))
			fail("eventfd");
	}
	write(*(int *)arg, &one, sizeof(one));
	return NULL;
}

static uint64_t epolls(void)
{
	int ep = epoll_create1(0), ev = eventfd(0, 0);
	struct epoll_event e = {.events = EPOLLIN};
	pthread_t feeder;
	uint64_t n = 0, count;

	if (epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) || pthread_create(&feeder, NULL, feed, &ev))
		fail("epoll");
	for (; going(); n++)
		if (epoll_wait(ep, &e, 1, -1) != 1 || read(ev, &count, sizeof(count)) < 0)
			fail("epoll_wait");
	pthread_join(feeder, NULL);
	return n;
}

static uint64_t vforks(void)
{
	volatile uint64_t n = 0;

	for (; going(); n++) {
		int status;
		pid_t pid = vfork();

		if (!pid)
			_exit(7);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 7)
			fail("vfork");
	}
	return n;
}

static uint64_t stops(void)
{
	pid_t pid = fork();
	uint64_t n = 0;
	int status;

	if (!pid)
		for (;;)
			pause();
	for (; going(); n++) {
		if (kill(pid, SIGSTOP) || waitpid(pid, &status, WUNTRACED) != pid ||
		    !WIFSTOPPED(status))
			fail("stop");
		if (kill(pid, SIGCONT) || waitpid(pid, &status, WCONTINUED) != pid ||
		    !WIFCONTINUED(status))
			fail("continue");
	}
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || WTERMSIG(status) != SIGKILL)
		fail("wait for what was stopped");
	return n;
}

static uint64_t computes(void)
{
	volatile uint64_t n = 0;

	while (going())
		n++;
	return n;
}

static uint64_t sockets(void)
{
	int sv[2], status;
	uint64_t n = 0;
	char c = 0;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, sv))
		fail("socketpair");
	pid = fork();
	if (!pid) {
		while (recv(sv[1], &c, 1, 0) == 1 && c != 'q')
			if (send(sv[1], &c, 1, 0) != 1)
				_exit(2);
		_exit(0);
	}
	for (; going(); n++) {
		struct pollfd p = {.fd = sv[0], .events = POLLIN};

		if (send(sv[0], &c, 1, 0) != 1 || poll(&p, 1, -1) != 1 ||
		    recv(sv[0], &c, 1, 0) != 1)
			fail("datagram");
	}
	send(sv[0], "q", 1, 0);
	if (waitpid(pid, &status, 0) != pid || status)
		fail("the socket's other end");
	return n;
}

static const struct job {
	const char *name;
	uint64_t (*run)(void);
} jobs[] = {
	{"pipes", pipes},
	{"futex, first", futex_first},
	{"futex, second", futex_second},
	{"epoll", epolls},
	{"vfork", vforks},
	{"stop and continue", stops},
	{"computing", computes},
	{"sockets", sockets},
};
#define NJOBS (sizeof(jobs) / sizeof(jobs[0]))

static int load(void)
{
	pid_t pids[NJOBS];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (unsigned i = 0; i < NJOBS; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			uint64_t n = jobs[i].run();

			printf("%s: %s\n", jobs[i].name, n ? "went on" : "stood still");
			exit(!n || shared->failed);
		}
	}
	printf("ready\n");
	fflush(stdout);
	if (sigwaitinfo(&set, NULL) != SIGTERM)
		fail("sigwaitinfo");
	shared->stop = true;
	for (unsigned i = 0; i < NJOBS; i++) {
		int status;

		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			shared->failed = true;
	}
	return shared->failed;
}

/* --- waiting for a time ----------------------------------------------------------------------- */

static const struct timespec wait_ts = {.tv_sec = WAIT_MS / 1000,
					.tv_nsec = WAIT_MS % 1000 * 1000000};

static bool timed_epoll(void)
{
	struct epoll_event e;

	return epoll_wait(epoll_create1(0), &e, 1, WAIT_MS) == 0;
}

static bool timed_epoll_pwait(void)
{
	struct epoll_event e;
	sigset_t set;

	sigemptyset(&set);
	return epoll_pwait(epoll_create1(0), &e, 1, WAIT_MS, &set) == 0;
}

static bool timed_poll(void)
{
	return poll(NULL, 0, WAIT_MS) == 0;
}

static bool timed_ppoll(void)
{
	sigset_t set;

	sigemptyset(&set);
	return ppoll(NULL, 0, &wait_ts, &set) == 0;
}

static bool timed_select(void)
{
	struct timeval tv = {.tv_sec = WAIT_MS / 1000, .tv_usec = WAIT_MS % 1000 * 1000};

	return select(0, NULL, NULL, NULL, &tv) == 0;
}

static bool timed_pselect(void)
{
	return pselect(0, NULL, NULL, NULL, &wait_ts, NULL) == 0;
}

static bool timed_sigwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return sigtimedwait(&set, NULL, &wait_ts) == -1 && errno == EAGAIN;
}

static bool timed_semop(void)
{
	int id = semget(IPC_PRIVATE, 1, 0600);
	struct sembuf op = {.sem_op = -1};
	bool good = semtimedop(id, &op, 1, &wait_ts) == -1 && errno == EAGAIN;

	semctl(id, 0, IPC_RMID);
	return good;
}

static bool timed_recv(void)
{
	struct timeval tv = {.tv_sec = WAIT_MS / 1000, .tv_usec = WAIT_MS % 1000 * 1000};
	int sv[2];
	char c;

	return !socketpair(AF_UNIX, SOCK_STREAM, 0, sv) &&
	       !setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) &&
	       recv(sv[0], &c, 1, 0) == -1 && errno == EAGAIN;
}

static bool timed_nanosleep(void)
{
	return !nanosleep(&wait_ts, NULL);
}

static bool timed_futex(void)
{
	_Atomic uint32_t word = 0;

	return futex(&word, FUTEX_WAIT_PRIVATE, 0, &wait_ts) == -1 && errno == ETIMEDOUT;
}

static const struct timed {
	const char *name;
	bool (*run)(void);
} timed[] = {
	{"epoll_wait", timed_epoll},
	{"epoll_pwait", timed_epoll_pwait},
	{"poll", timed_poll},
	{"ppoll", timed_ppoll},
	{"select", timed_select},
	{"pselect", timed_pselect},
	{"sigtimedwait", timed_sigwait},
	{"semtimedop", timed_semop},
	{"recv", timed_recv},
	{"nanosleep", timed_nanosleep},
	{"futex", timed_futex},
};
#define NTIMED (sizeof(timed) / sizeof(timed[0]))

static void *wait_once(void *arg)
{
	const struct timed *what = arg;
	struct timespec from, to;
	long ms;
	bool good;

	clock_gettime(CLOCK_MONOTONIC, &from);
	errno = 0;
	good = what->run();
	if (!good)
		fail(what->name);
	clock_gettime(CLOCK_MONOTONIC, &to);
	ms = (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000;
	if (ms < WAIT_MS - 20) {
		fprintf(stderr, "%s: %ld ms\n", what->name, ms);
		shared->failed = true;
	}
	return NULL;
}

static int deadlines(void)
{
	pthread_t threads[NTIMED];

	printf("ready\n");
	fflush(stdout);
	for (unsigned i = 0; i < NTIMED; i++)
		if (pthread_create(&threads[i], NULL, wait_once, (void *)(uintptr_t)&timed[i]))
			fail("pthread_create");
	for (unsigned i = 0; i < NTIMED; i++)
		pthread_join(threads[i], NULL);
	printf("all ended\n");
	return shared->failed;
}

/* --- a signal while paused -------------------------------------------------------------------- */

static int signal_pipe[2];

static void on_signal(int sig)
{
	write(signal_pipe[1], &sig, 1);
}

static bool first_thread_sleeps(void)
{
	char path[64], buf[256] = "", *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	f = fopen(path, "r");
	if (!f)
		return false;
	state = fgets(buf, sizeof(buf), f) ? strrchr(buf, ')') : NULL;
	fclose(f);
	return state && !strncmp(state, ") S", 3);
}

/* Says for each step that the first thread has come to it, and waits. */
static void *watch(void *arg)
{
	static const char *const steps[] = {"ready\n", "slept\n", "polled\n"};

	for (uint32_t i = 0; i < 3; i++) {
		while (shared->turn != i + 1 || !first_thread_sleeps())
			nap(1000000);
		write(STDOUT_FILENO, steps[i], strlen(steps[i]));
	}
	return arg;
}

static int interrupted(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct timespec left, hour = {.tv_sec = 3600};
	struct epoll_event e;
	pthread_t watcher;
	sigset_t set;
	char c;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (pipe(signal_pipe) || sigaction(SIGUSR1, &sa, NULL) ||
	    pthread_create(&watcher, NULL, watch, NULL))
		fail("set-up");
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	shared->turn = 1;
	if (nanosleep(&hour, &left) != -1 || errno != EINTR || left.tv_sec < 3000)
		fail("nanosleep");
	if (read(signal_pipe[0], &c, 1) != 1)
		fail("read of what the handler wrote");
	shared->turn = 2;
	if (epoll_wait(epoll_create1(0), &e, 1, -1) != -1 || errno != EINTR)
		fail("epoll_wait");
	if (read(signal_pipe[0], &c, 1) != 1)
		fail("read of what the handler wrote");
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &sa, NULL);
	shared->turn = 3;
	/* Blocks until the handler has run, and is entered again then. */
	if (read(signal_pipe[0], &c, 1) != 1 || c != SIGUSR1)
		fail("read");
	pthread_join(watcher, NULL);
	return shared->failed;
}

/* --- processor time --------------------------------------------------------------------------- */

static void spin(long ms)
{
	struct timespec ts;

	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	while (ts.tv_sec * 1000 + ts.tv_nsec / 1000000 < ms);
}

static int spin_and_wait(long ms)
{
	pid_t pid = fork();

	if (!pid) {
		spin(ms / 2);
		_exit(0);
	}
	spin(ms / 2);
	if (waitpid(pid, NULL, 0) != pid)
		fail("waitpid");
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 3;
	if (argc > 1 && !strcmp(argv[1], "deadlines"))
		return deadlines();
	if (argc > 2 && !strcmp(argv[1], "spin"))
		return spin_and_wait(atol(argv[2]));
	return argc > 1 && !strcmp(argv[1], "signal") ? interrupted() : load();
}
