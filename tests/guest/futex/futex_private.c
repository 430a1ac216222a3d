/*
 * Futexes of one process: what wakes, sleeps and interrupts, when signals come in between, and that
 * private and shared calls on one word have nothing to do with each other.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static _Atomic uint32_t word, other;
static _Atomic int handled;

static long futex(_Atomic uint32_t *w, int op, uint32_t val, const void *val2, _Atomic uint32_t *w2,
		  uint32_t val3)
{
	return syscall(SYS_futex, w, op, val, val2, w2, val3);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void handler(int sig)
{
	handled++;
}

static void set_handler(int sig, int flags)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};

	handled = 0;
	CHECK(!sigaction(sig, &sa, NULL));
}

/* True once thread tid of this process sleeps, as its stat file says. */
static int sleeps(pid_t tid)
{
	for (int i = 0; i < 5000; i++) {
		char path[64], line[256], state = '?';
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
		f = fopen(path, "r");
		if (f && fgets(line, sizeof(line), f)) {
			char *p = strrchr(line, ')');

			state = p ? p[2] : '?';
		}
		if (f)
			fclose(f);
		if (state == 'S')
			return 1;
		usleep(1000);
	}
	return 0;
}

struct waiter {
	pthread_t thread;
	_Atomic pid_t tid;
	int op;
	uint32_t bitset;
	long result;
	int error;
};

static void *waits(void *arg)
{
	struct waiter *w = arg;

	w->tid = (pid_t)syscall(SYS_gettid);
	w->result = futex(&word, w->op, 0, NULL, NULL, w->bitset);
	w->error = errno;
	return NULL;
}

/* Starts a thread that sleeps in the call. */
static void start(struct waiter *w, int op, uint32_t bitset)
{
	*w = (struct waiter){.op = op, .bitset = bitset};
	CHECK(!pthread_create(&w->thread, NULL, waits, w));
	while (!w->tid)
		sched_yield();
	CHECK(sleeps(w->tid));
}

static void end(struct waiter *w, long result)
{
	CHECK(!pthread_join(w->thread, NULL));
	CHECK_EQ(w->result, result);
}

static void wake_counts_who_sleeps(void)
{
	struct waiter w[3];

	for (int i = 0; i < 3; i++)
		start(&w[i], FUTEX_WAIT_PRIVATE, 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	for (int i = 0; i < 3; i++)
		end(&w[i], 0);
}

static void wait_compares_the_word(void)
{
	word = 5;
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0), EAGAIN);
	word = 0;
	CHECK_ERRNO(futex((void *)16, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
	CHECK_ERRNO(futex((void *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0),
		    EINVAL);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
}

static void bitsets_choose(void)
{
	struct waiter a, b;

	start(&a, FUTEX_WAIT_BITSET_PRIVATE, 1);
	start(&b, FUTEX_WAIT_BITSET_PRIVATE, 6);
	CHECK_EQ(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 8), 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 2), 1);
	end(&b, 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
	end(&a, 0);
}

static void requeue_moves(void)
{
	struct waiter w[3];

	for (int i = 0; i < 3; i++)
		start(&w[i], FUTEX_WAIT_PRIVATE, 0);
	CHECK_ERRNO(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &other, 1), EAGAIN);
	CHECK_EQ(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &other, 0), 3);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&other, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
	for (int i = 0; i < 3; i++)
		end(&w[i], 0);
}

static void private_and_shared_are_different_futexes(void)
{
	struct waiter w;

	start(&w, FUTEX_WAIT_PRIVATE, 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
	end(&w, 0);
	start(&w, FUTEX_WAIT, 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0), 1);
	end(&w, 0);
}

static void handler_without_restart_interrupts(void)
{
	struct waiter w;

	set_handler(SIGUSR1, 0);
	start(&w, FUTEX_WAIT_PRIVATE, 0);
	CHECK(!pthread_kill(w.thread, SIGUSR1));
	end(&w, -1);
	CHECK_EQ(w.error, EINTR);
	CHECK_EQ(handled, 1);
}

static void handler_with_restart_goes_on(void)
{
	struct waiter w;

	set_handler(SIGUSR1, SA_RESTART);
	start(&w, FUTEX_WAIT_PRIVATE, 0);
	for (int i = 1; i <= 20; i++) {
		CHECK(!pthread_kill(w.thread, SIGUSR1));
		while (handled < i)
			sched_yield();
	}
	CHECK(sleeps(w.tid));
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	end(&w, 0);
}

static void *stops_and_continues(void *arg)
{
	pid_t self = *(pid_t *)arg;

	for (int i = 0; i < 4; i++) {
		usleep(20000);
		kill(self, SIGSTOP);
		usleep(20000);
		kill(self, SIGCONT);
	}
	return NULL;
}

/* A process stopped and continued: no handler runs, and the time that is left is kept. */
static void relative_timeout_survives_stops(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct timespec timeout = {0, 300000000};
		int64_t from = now_ms(), passed;

		errno = 0;
		futex(&word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0);
		passed = now_ms() - from;
		_exit(errno != ETIMEDOUT ? 1 : passed < 290 ? 2 : passed > 3000 ? 3 : 0);
	}
	stops_and_continues(&pid);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

static void timeouts_with_a_handler_are_interrupted_even_with_restart(void)
{
	struct itimerval timer = {.it_value = {0, 50000}};
	struct timespec timeout = {5, 0};

	set_handler(SIGALRM, SA_RESTART);
	CHECK(!setitimer(ITIMER_REAL, &timer, NULL));
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0), EINTR);
	CHECK_EQ(handled, 1);
	clock_gettime(CLOCK_MONOTONIC, &timeout);
	timeout.tv_sec += 5;
	CHECK(!setitimer(ITIMER_REAL, &timer, NULL));
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &timeout, NULL, 1), EINTR);
	CHECK_EQ(handled, 2);
}

static void timeouts_end(void)
{
	struct timespec timeout = {0, 20000000}, bad = {0, 2000000000};
	int64_t from = now_ms();

	CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, &timeout, NULL, 0), ETIMEDOUT);
	CHECK(now_ms() - from >= 19);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 0, &bad, NULL, 0), EINVAL);
	clock_gettime(CLOCK_REALTIME, &timeout);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &timeout,
			  NULL, 1),
		    ETIMEDOUT);
}

static void registers_are_kept(void)
{
	uint64_t rdi, rsi, rdx, r10, r8, r9, rbx;
	long ret;
	register uint64_t a10 __asm__("r10") = 4, a8 __asm__("r8") = 5, a9 __asm__("r9") = 6;

	__asm__ volatile("mov $77, %%rbx\n\tsyscall\n\tmov %%rbx, %1"
			 : "=a"(ret), "=r"(rbx), "=D"(rdi), "=S"(rsi), "=d"(rdx), "+r"(a10),
			   "+r"(a8), "+r"(a9)
			 : "a"(SYS_futex), "D"(&word), "S"(FUTEX_WAKE_PRIVATE), "d"(1)
			 : "rcx", "r11", "rbx", "memory");
	r10 = a10;
	r8 = a8;
	r9 = a9;
	CHECK_EQ(ret, 0);
	CHECK_EQ(rbx, 77);
	CHECK_EQ(rdi, (uint64_t)&word);
	CHECK_EQ(rsi, FUTEX_WAKE_PRIVATE);
	CHECK_EQ(rdx, 1);
	CHECK(r10 == 4 && r8 == 5 && r9 == 6);
}

/* The calls of main become hot while the waiter sleeps at a site of its own. */
static void sites_become_hot_while_threads_sleep(void)
{
	struct waiter w;

	start(&w, FUTEX_WAIT_PRIVATE, 0);
	for (int i = 0; i < 2000; i++) {
		CHECK(getppid() == getppid());
		CHECK_EQ(futex(&other, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
		CHECK(sched_getcpu() >= 0);
		CHECK(!kill(getpid(), 0));
	}
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	end(&w, 0);
}

static void *exits(void *arg)
{
	usleep(50000);
	_exit(7);
}

static void sleepers_die_with_the_process(void)
{
	pthread_t thread;
	pid_t pid = fork();
	int status;

	if (!pid) {
		pthread_create(&thread, NULL, exits, NULL);
		futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	pid = fork();
	if (!pid) {
		futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		_exit(1);
	}
	usleep(30000);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void *execs(void *arg)
{
	usleep(30000);
	execl("/proc/self/exe", "futex_private", "exec", NULL);
	_exit(1);
}

static void sleepers_end_at_exec(void)
{
	pthread_t thread;
	pid_t pid = fork();
	int status;

	if (!pid) {
		pthread_create(&thread, NULL, execs, NULL);
		futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

struct waitv {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

static void *wakes_other(void *arg)
{
	int op = *(int *)arg;

	for (;;) {
		usleep(10000);
		other = 1;
		if (futex(&other, op, 1, NULL, NULL, 0) == 1)
			return NULL;
		if (op == FUTEX_WAKE && word == 9)
			return NULL;
	}
}

/* The waker may come before the sleeper: then once more. */
static long waits_for_other(struct waitv v[2])
{
	long ret;

	do {
		other = 0;
		ret = syscall(SYS_futex_waitv, v, 2, 0, NULL, 0);
	} while (ret == -1 && errno == EAGAIN);
	return ret;
}

static void waitv_tells_which(void)
{
	struct waitv v[2] = {{0, (uint64_t)&word, 2 | FUTEX_PRIVATE_FLAG, 0},
			     {0, (uint64_t)&other, 2 | FUTEX_PRIVATE_FLAG, 0}};
	int op = FUTEX_WAKE_PRIVATE;
	pthread_t thread;

	if (syscall(SYS_futex_waitv, v, 0, 0, NULL, 0) == -1 && errno == ENOSYS)
		return;
	CHECK_ERRNO(syscall(SYS_futex_waitv, v, 0, 0, NULL, 0), EINVAL);
	CHECK(!pthread_create(&thread, NULL, wakes_other, &op));
	CHECK_EQ(waits_for_other(v), 1);
	CHECK(!pthread_join(thread, NULL));
	other = 0;
	/* One of each kind. */
	v[1].flags = 2;
	op = FUTEX_WAKE;
	CHECK(!pthread_create(&thread, NULL, wakes_other, &op));
	CHECK_EQ(waits_for_other(v), 1);
	word = 9;
	CHECK(!pthread_join(thread, NULL));
	word = other = 0;
}

static _Atomic int turns;

static void *plays(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;

	for (int i = 0; i < 2000; i++) {
		uint32_t now;

		while ((now = word) != me)
			futex(&word, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
		turns++;
		word = !me;
		futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
	return NULL;
}

static void ping_pong_under_signals_loses_nothing(void)
{
	struct itimerval timer = {{0, 500}, {0, 500}}, none = {{0, 0}, {0, 0}};
	pthread_t threads[2];

	word = 0;
	set_handler(SIGALRM, SA_RESTART);
	CHECK(!setitimer(ITIMER_REAL, &timer, NULL));
	for (uintptr_t i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, plays, (void *)i));
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(!setitimer(ITIMER_REAL, &none, NULL));
	CHECK_EQ(turns, 4000);
	word = 0;
}

static void ids_follow_what_changes_them(void)
{
	int pipes[2], seen[2];
	pid_t middle, ids[2];
	int status;
	char c;

	for (int i = 0; i < 50; i++)
		CHECK(getpid() == syscall(SYS_getpid) && getppid() == syscall(SYS_getppid));
	REQUIRE(!pipe(pipes) && !pipe(seen));
	middle = fork();
	if (!middle) {
		pid_t me = getpid(), parent = getppid();

		for (int i = 0; i < 50; i++)
			if (syscall(SYS_getpid) != me || syscall(SYS_getppid) != parent)
				_exit(1);
		if (!fork()) {
			ids[0] = getppid();
			if (write(seen[1], "", 1) != 1)
				_exit(1);
			for (int i = 0; i < 5000 && syscall(SYS_getppid) == ids[0]; i++)
				usleep(1000);
			ids[1] = (pid_t)syscall(SYS_getppid);
			if (write(pipes[1], ids, sizeof(ids)) < 0)
				_exit(1);
			_exit(0);
		}
		_exit(read(seen[0], &c, 1) == 1 ? 0 : 3);
	}
	CHECK(waitpid(middle, &status, 0) == middle);
	CHECK_EQ(status, 0);
	CHECK(read(pipes[0], ids, sizeof(ids)) == sizeof(ids));
	CHECK_EQ(ids[0], middle);
	CHECK(ids[1] != middle && ids[1] > 0);
	close(pipes[0]);
	close(pipes[1]);
	close(seen[0]);
	close(seen[1]);
	if (geteuid() != 0)
		return;
	middle = fork();
	if (!middle) {
		for (int i = 0; i < 50; i++)
			if (syscall(SYS_getuid) != 0 || syscall(SYS_getegid) != getegid())
				_exit(1);
		if (setgid(12) || setuid(34))
			_exit(2);
		for (int i = 0; i < 50; i++)
			if (syscall(SYS_getuid) != 34 || syscall(SYS_geteuid) != 34 ||
			    syscall(SYS_getgid) != 12 || syscall(SYS_getegid) != 12)
				_exit(3);
		_exit(0);
	}
	CHECK(waitpid(middle, &status, 0) == middle);
	CHECK_EQ(status, 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 0;
	alarm(0);
	wake_counts_who_sleeps();
	wait_compares_the_word();
	bitsets_choose();
	requeue_moves();
	private_and_shared_are_different_futexes();
	handler_without_restart_interrupts();
	handler_with_restart_goes_on();
	relative_timeout_survives_stops();
	timeouts_with_a_handler_are_interrupted_even_with_restart();
	timeouts_end();
	registers_are_kept();
	sites_become_hot_while_threads_sleep();
	sleepers_die_with_the_process();
	sleepers_end_at_exec();
	waitv_tells_which();
	ping_pong_under_signals_loses_nothing();
	ids_follow_what_changes_them();
	CHECK_DONE();
}
