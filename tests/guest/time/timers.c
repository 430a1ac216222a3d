/* Clocks, sleeping, interval timers, POSIX timers. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static int64_t ns(clockid_t clock)
{
	struct timespec ts = {0};

	CHECK(clock_gettime(clock, &ts) == 0);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void sleep_ms(int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L}, left;

	while (nanosleep(&ts, &left) && errno == EINTR)
		ts = left;
}

static void burn_ms(int ms)
{
	int64_t until = ns(CLOCK_THREAD_CPUTIME_ID) + ms * 1000000LL;
	volatile unsigned x = 0;

	while (ns(CLOCK_THREAD_CPUTIME_ID) < until)
		for (int i = 0; i < 10000; i++)
			x++;
}

static void clocks(void)
{
	static const clockid_t ids[] = {CLOCK_REALTIME,		  CLOCK_MONOTONIC,
					CLOCK_MONOTONIC_RAW,	  CLOCK_REALTIME_COARSE,
					CLOCK_MONOTONIC_COARSE,	  CLOCK_BOOTTIME,
					CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
	struct timespec ts;
	struct timeval tv;
	clockid_t own;
	int64_t a, b;

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		CHECK(syscall(SYS_clock_gettime, ids[i], &ts) == 0);
		CHECK(ts.tv_sec >= 0 && ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
		CHECK(clock_getres(ids[i], &ts) == 0 && ts.tv_sec == 0 && ts.tv_nsec > 0);
	}
	a = ns(CLOCK_MONOTONIC);
	sleep_ms(20);
	b = ns(CLOCK_MONOTONIC);
	CHECK(b - a >= 20000000);
	CHECK(syscall(SYS_gettimeofday, &tv, NULL) == 0);
	CHECK(llabs(tv.tv_sec - ns(CLOCK_REALTIME) / 1000000000) <= 1);
	CHECK(llabs(syscall(SYS_time, NULL) - tv.tv_sec) <= 1);
	CHECK_ERRNO(clock_gettime(77, &ts), EINVAL);
	CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_REALTIME, 1), EFAULT);
	/* CPU time goes on when burned and stands when not. */
	a = ns(CLOCK_PROCESS_CPUTIME_ID);
	sleep_ms(50);
	b = ns(CLOCK_PROCESS_CPUTIME_ID);
	CHECK(b - a < 40000000);
	burn_ms(30);
	CHECK(ns(CLOCK_PROCESS_CPUTIME_ID) - b >= 29000000);
	CHECK(clock_getcpuclockid(0, &own) == 0 && clock_gettime(own, &ts) == 0);
	CHECK(pthread_getcpuclockid(pthread_self(), &own) == 0 && clock_gettime(own, &ts) == 0);
	CHECK(times(NULL) != (clock_t)-1);
}

static volatile int got;
static volatile siginfo_t last;
static void on_signal(int sig, siginfo_t *info, void *uc)
{
	got++;
	last = *info;
}

static void on(int sig, int flags)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags};

	sigaction(sig, &sa, NULL);
	got = 0;
}

static void sleeping(void)
{
	struct itimerval it = {.it_value = {0, 200000}, .it_interval = {1, 0}};
	struct timespec ts = {20, 0}, left = {9, 9}, bad = {0, -1};

	CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
	CHECK_ERRNO(syscall(SYS_nanosleep, 1, 0), EFAULT);
	on(SIGALRM, SA_RESTART);
	setitimer(ITIMER_REAL, &it, NULL);
	CHECK_ERRNO(nanosleep(&ts, &left), EINTR); /* SA_RESTART or not */
	CHECK(left.tv_sec < 20 && left.tv_sec > 0);
	CHECK(got >= 1);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += 30000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL), 0);
	CHECK(ns(CLOCK_MONOTONIC) >= ts.tv_sec * 1000000000 + ts.tv_nsec);
	ts = (struct timespec){1, 0};
	CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL), 0); /* long ago */
	CHECK_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL), EINVAL);
}

/* A stop and continue does not cut a sleep short (restart_syscall). */
static void sleep_survives_stop(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct timespec ts = {0, 200000000};
		int64_t t0 = ns(CLOCK_MONOTONIC);
		int ret = nanosleep(&ts, NULL);

		_exit(ret == 0 && ns(CLOCK_MONOTONIC) - t0 >= 199000000 ? 0 : 1);
	}
	sleep_ms(50);
	kill(pid, SIGSTOP);
	sleep_ms(20);
	kill(pid, SIGCONT);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void interval_timers(void)
{
	struct itimerval it = {.it_value = {0, 20000}, .it_interval = {0, 20000}}, old;
	struct itimerval off = {{0, 0}, {0, 0}}, bad = {.it_value = {0, 1000000}};

	on(SIGALRM, SA_RESTART);
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	CHECK(getitimer(ITIMER_REAL, &old) == 0);
	CHECK(old.it_interval.tv_usec == 20000);
	for (int i = 0; i < 200 && got < 4; i++)
		sleep_ms(5);
	CHECK(got >= 4);
	CHECK(setitimer(ITIMER_REAL, &off, &old) == 0);
	CHECK_EQ(old.it_interval.tv_usec, 20000);
	CHECK_ERRNO(setitimer(ITIMER_REAL, &bad, NULL), EINVAL);
	CHECK_ERRNO(getitimer(7, &old), EINVAL);
	CHECK_EQ(alarm(100), 0);
	CHECK(alarm(0) >= 99);
	on(SIGPROF, SA_RESTART);
	CHECK(setitimer(ITIMER_PROF, &it, NULL) == 0);
	burn_ms(100);
	CHECK(got >= 2 && got <= 6);
	CHECK(setitimer(ITIMER_PROF, &off, NULL) == 0);
	on(SIGVTALRM, SA_RESTART);
	CHECK(setitimer(ITIMER_VIRTUAL, &it, NULL) == 0);
	sleep_ms(60);
	CHECK_EQ(got, 0);
	for (int i = 0; i < 20 && !got; i++)
		burn_ms(50);
	CHECK(got >= 1);
	CHECK(setitimer(ITIMER_VIRTUAL, &off, NULL) == 0);
	/* Not inherited. */
	setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {100, 0}}, NULL);
	if (!fork()) {
		getitimer(ITIMER_REAL, &old);
		_exit(old.it_value.tv_sec != 0);
	}
	int status;
	CHECK(wait(&status) > 0 && status == 0);
	alarm(0);
}

static void posix_timers(void)
{
	struct itimerspec it = {.it_value = {0, 20000000}, .it_interval = {0, 10000000}}, old;
	struct itimerspec off = {{0, 0}, {0, 0}};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	sigset_t set;
	timer_t id;

	ev.sigev_value.sival_int = 1234;
	on(SIGRTMIN, SA_RESTART);
	REQUIRE(timer_create(CLOCK_MONOTONIC, &ev, &id) == 0);
	CHECK(timer_gettime(id, &old) == 0 && old.it_value.tv_nsec == 0);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	for (int i = 0; i < 200 && got < 3; i++)
		sleep_ms(5);
	CHECK(got >= 3);
	CHECK(last.si_code == SI_TIMER && last.si_value.sival_int == 1234);
	/* Overruns: blocked for several periods. */
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sleep_ms(100);
	got = 0;
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	for (int i = 0; i < 100 && !got; i++)
		sleep_ms(1);
	CHECK(timer_settime(id, 0, &off, &old) == 0);
	CHECK_EQ(old.it_interval.tv_nsec, 10000000);
	CHECK(timer_delete(id) == 0);
	CHECK_ERRNO(syscall(SYS_timer_delete, (long)4711), EINVAL);
	/* Absolute, and to one thread. */
	ev.sigev_notify = SIGEV_THREAD_ID;
	ev._sigev_un._tid = (int)syscall(SYS_gettid);
	on(SIGRTMIN, SA_RESTART);
	REQUIRE(timer_create(CLOCK_REALTIME, &ev, &id) == 0);
	clock_gettime(CLOCK_REALTIME, &it.it_value);
	it.it_interval = (struct timespec){0, 0};
	CHECK(timer_settime(id, TIMER_ABSTIME, &it, NULL) == 0);
	for (int i = 0; i < 100 && !got; i++)
		sleep_ms(2);
	CHECK_EQ(got, 1);
	timer_delete(id);
	ev.sigev_notify = 77;
	CHECK_ERRNO(timer_create(CLOCK_REALTIME, &ev, &id), EINVAL);
	ev.sigev_notify = SIGEV_NONE;
	CHECK_ERRNO(timer_create(99, &ev, &id), EINVAL);
	/* CPU time. */
	ev.sigev_notify = SIGEV_SIGNAL;
	on(SIGRTMIN, SA_RESTART);
	REQUIRE(timer_create(CLOCK_PROCESS_CPUTIME_ID, &ev, &id) == 0);
	it.it_value = (struct timespec){0, 20000000};
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	sleep_ms(50);
	CHECK_EQ(got, 0);
	for (int i = 0; i < 20 && !got; i++)
		burn_ms(20);
	CHECK_EQ(got, 1);
	timer_delete(id);
}

static void thread_fn(union sigval v)
{
	(*(atomic_int *)v.sival_ptr)++;
}

static void sigev_thread(void)
{
	static atomic_int calls;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD};
	struct itimerspec it = {.it_value = {0, 10000000}};
	timer_t id;

	ev.sigev_notify_function = thread_fn;
	ev.sigev_value.sival_ptr = &calls;
	REQUIRE(timer_create(CLOCK_MONOTONIC, &ev, &id) == 0);
	CHECK(timer_settime(id, 0, &it, NULL) == 0);
	for (int i = 0; i < 400 && !calls; i++)
		sleep_ms(5);
	CHECK_EQ(calls, 1);
	timer_delete(id);
}

static void cpu_limit(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct rlimit lim = {1, 10};

		signal(SIGXCPU, SIG_DFL);
		setrlimit(RLIMIT_CPU, &lim);
		burn_ms(5000);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU);
}

int main(void)
{
	clocks();
	sleeping();
	sleep_survives_stop();
	interval_timers();
	posix_timers();
	sigev_thread();
	cpu_limit();
	CHECK_DONE();
}
