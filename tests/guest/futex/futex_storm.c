/* Futex waits that end in every way at once: wake, requeue, timeout, signals, stop, death. */
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define THREADS 24
#define ROUNDS 400

static _Atomic uint32_t word, other;
static _Atomic int stop, handled;
static _Atomic long woken, timed_out, interrupted, changed;

static long futex(_Atomic uint32_t *w, int op, uint32_t val, void *arg, void *w2, uint32_t val3)
{
	return syscall(SYS_futex, w, op, val, arg, w2, val3);
}

static void handler(int sig)
{
	handled++;
}

static void count(long ret)
{
	if (!ret)
		woken++;
	else if (errno == ETIMEDOUT)
		timed_out++;
	else if (errno == EINTR)
		interrupted++;
	else if (errno == EAGAIN)
		changed++;
	else
		CHECK(!"an errno that futex(2) does not have here");
}

static void *waiter(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!stop) {
		struct timespec ts = {0, 0}, *timeout = &ts;

		seed = seed * 1103515245 + 12345;
		ts.tv_nsec = (seed >> 8) % 2000000;
		if ((seed >> 4) % 4 == 0)
			timeout = NULL; /* a wake-up comes: see main */
		count(futex(&word, FUTEX_WAIT_PRIVATE, word, timeout, NULL, 0));
	}
	return NULL;
}

static void storm(void)
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		REQUIRE(!pthread_create(&t[i], NULL, waiter, (void *)(uintptr_t)(i + 1)));
	for (int i = 0; i < ROUNDS; i++) {
		word++;
		futex(&word, FUTEX_WAKE_PRIVATE, i % 5, NULL, NULL, 0);
		if (i % 3 == 0)
			futex(&word, FUTEX_REQUEUE_PRIVATE, 1, (void *)2L, &other, 0);
		if (i % 4 == 0)
			pthread_kill(t[i % THREADS], SIGUSR1);
		if (i % 8 == 0)
			usleep(500);
		futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0);
	}
	stop = 1;
	/* Those that have read the old word may still come. */
	for (int i = 0; i < THREADS; i++) {
		for (;;) {
			struct timespec soon;

			word++;
			futex(&word, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0);
			futex(&other, FUTEX_WAKE_PRIVATE, 1000, NULL, NULL, 0);
			clock_gettime(CLOCK_REALTIME, &soon);
			soon.tv_nsec += 1000000;
			if (soon.tv_nsec >= 1000000000)
				soon = (struct timespec){soon.tv_sec + 1, 0};
			if (!pthread_timedjoin_np(t[i], NULL, &soon))
				break;
		}
	}
	CHECK(woken > 0);
	CHECK(timed_out > 0);
	CHECK(interrupted > 0);
	CHECK(handled > 0);
}

static void *sleeper(void *arg)
{
	struct timespec ts = {100, 0};

	for (;;)
		futex(&word, FUTEX_WAIT_PRIVATE, word, arg ? &ts : NULL, NULL, 0);
	return NULL;
}

/* A process whose threads all wait: it can be stopped, continued, killed, and end by itself. */
static void processes(void)
{
	for (int how = 0; how < 30; how++) {
		int status = 0;
		pid_t pid = fork();

		REQUIRE(pid >= 0);
		if (!pid) {
			pthread_t t;

			for (int i = 0; i < 20; i++)
				if (pthread_create(&t, NULL, sleeper, (void *)(uintptr_t)(i % 2)))
					_exit(9);
			usleep(how % 3 * 300);
			if (how % 2)
				_exit(7);
			sleeper(NULL);
		}
		usleep(how % 5 * 400);
		if (how % 2 == 0) {
			if (how % 4 == 0) {
				CHECK(!kill(pid, SIGSTOP));
				CHECK(waitpid(pid, &status, WUNTRACED) == pid);
				CHECK(WIFSTOPPED(status));
				CHECK(!kill(pid, SIGCONT));
			}
			CHECK(!kill(pid, SIGKILL));
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		if (how % 2)
			CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
		else
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

/* Between processes: each round trip wakes the other. */
static void ping_pong(void)
{
	_Atomic uint32_t *w =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	REQUIRE(w != MAP_FAILED);
	pid = fork();
	REQUIRE(pid >= 0);
	for (uint32_t i = pid ? 0 : 1; i < 2000; i += 2) {
		for (uint32_t now = *w; now != i; now = *w)
			futex(w, FUTEX_WAIT, now, NULL, NULL, 0);
		*w = i + 1;
		futex(w, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	if (!pid)
		_exit(0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
	CHECK(*w == 2000);
}

/* A handler that restarts the wait, with what is left of its time. */
static void restarts(void)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	struct timespec ts = {0, 150000000}, t0, t1;
	struct itimerval it = {{0, 20000}, {0, 20000}};
	int before = handled;
	long ms;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	/* Linux does not restart a wait that has a timeout (man 7 signal): EINTR. */
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, word, &ts, NULL, 0), EINTR);
	memset(&it, 0, sizeof(it));
	setitimer(ITIMER_REAL, &it, NULL);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	ms = (t1.tv_sec - t0.tv_sec) * 1000 + (t1.tv_nsec - t0.tv_nsec) / 1000000;
	CHECK(ms >= 15);
	CHECK(handled > before);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = handler};

	sigaction(SIGUSR1, &sa, NULL);
	storm();
	processes();
	ping_pong();
	restarts();
	CHECK_DONE();
}
