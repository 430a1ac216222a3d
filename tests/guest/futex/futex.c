/* futex(2): wait, wake, bitsets, requeue, wake_op, timeouts, sharing, robust lists, PI. */
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static long futex(_Atomic uint32_t *u, int op, uint32_t val, const void *timeout,
		  _Atomic uint32_t *u2, uint32_t val3)
{
	return syscall(SYS_futex, u, op, val, timeout, u2, val3);
}

static int64_t now_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&ts, NULL);
}

static void errors(void)
{
	static _Atomic uint32_t word = 1;

	CHECK_ERRNO(futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0), EAGAIN);
	CHECK_ERRNO(futex((void *)((char *)&word + 1), FUTEX_WAIT, 1, NULL, NULL, 0), EINVAL);
	CHECK_ERRNO(futex((void *)8, FUTEX_WAIT, 1, NULL, NULL, 0), EFAULT);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0), EINVAL);
	CHECK_ERRNO(futex(&word, 99, 1, NULL, NULL, 0), ENOSYS);
	CHECK_EQ(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
	CHECK_ERRNO(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &word, 7), EAGAIN);
}

static void timeouts(void)
{
	static _Atomic uint32_t word;
	struct timespec ts = {0, 50000000}, bad = {0, 2000000000};
	int64_t t0 = now_ms(CLOCK_MONOTONIC), dt;

	CHECK_ERRNO(futex(&word, FUTEX_WAIT, 0, &ts, NULL, 0), ETIMEDOUT);
	dt = now_ms(CLOCK_MONOTONIC) - t0;
	CHECK(dt >= 49 && dt < 20000);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0), EINVAL);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec -= 5;
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &ts, NULL, ~0U),
		    ETIMEDOUT);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 60000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	t0 = now_ms(CLOCK_MONOTONIC);
	CHECK_ERRNO(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &ts, NULL, ~0U),
		    ETIMEDOUT);
	dt = now_ms(CLOCK_MONOTONIC) - t0;
	CHECK(dt >= 50 && dt < 20000);
}

/* --- waiters in threads ----------------------------------------------------------------------- */

static _Atomic uint32_t cond, other;
static atomic_int asleep, woken;

static void *waiter(void *arg)
{
	uint32_t bits = (uint32_t)(uintptr_t)arg;

	asleep++;
	while (futex(&cond, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, bits) < 0 &&
	       errno == EINTR)
		;
	woken++;
	return NULL;
}

static void start_waiters(pthread_t *t, int n, uint32_t bits)
{
	int target = asleep + n;

	for (int i = 0; i < n; i++)
		pthread_create(&t[i], NULL, waiter, (void *)(uintptr_t)bits);
	while (asleep < target)
		sleep_ms(1);
	sleep_ms(300);
}

static void wait_for(int n)
{
	for (int i = 0; i < 2000 && woken < n; i++)
		sleep_ms(1);
	CHECK_EQ(woken, n);
}

static void waking(void)
{
	pthread_t t[6];

	woken = 0;
	start_waiters(t, 2, 1);
	start_waiters(t + 2, 2, 2);
	CHECK_EQ(futex(&cond, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 10, NULL, NULL, 2), 2);
	wait_for(2);
	CHECK_EQ(futex(&cond, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0), 1);
	wait_for(3);
	/* One is left: move it to the other futex. */
	CHECK_EQ(futex(&cond, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 0, (void *)5, &other, 0), 1);
	CHECK_EQ(futex(&cond, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&other, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 9, NULL, NULL, 0), 1);
	wait_for(4);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	/* wake_op: other += 3; and wake on it as it was 0. */
	woken = 0;
	start_waiters(t, 1, ~0U);
	CHECK_EQ(futex(&other, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &cond,
		       FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0)),
		 1);
	wait_for(1);
	CHECK_EQ(cond, 3);
	cond = 0;
	pthread_join(t[0], NULL);
}

enum { ADDS = 200000 };
static _Atomic uint32_t counter;

static void *adder(void *arg)
{
	for (int i = 0; i < ADDS; i++)
		counter++;
	return NULL;
}

/* No addition of either side gets lost. */
static void wake_op_is_atomic(void)
{
	static _Atomic uint32_t dummy;
	pthread_t t;

	pthread_create(&t, NULL, adder, NULL);
	for (int i = 0; i < 300; i++)
		futex(&dummy, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 1, (void *)1, &counter,
		      FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0));
	pthread_join(t, NULL);
	CHECK_EQ(counter, ADDS + 300);
}

/* --- across processes ------------------------------------------------------------------------- */

static void shared_between_processes(void)
{
	_Atomic uint32_t *w =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	long n = 0;
	pid_t pid = fork();

	if (!pid) {
		struct timespec ts = {20, 0};
		long ret;

		w[1] = 1;
		ret = futex(w, FUTEX_WAIT, 0, &ts, NULL, 0);
		_exit(ret == 0 || errno == EAGAIN ? 0 : 1);
	}
	while (!w[1])
		sleep_ms(1);
	sleep_ms(300);
	*w = 1;
	for (int i = 0; i < 100 && !n; i++) {
		n = futex(w, FUTEX_WAKE, 1, NULL, NULL, 0);
		if (waitpid(pid, &status, WNOHANG) == pid) {
			pid = 0;
			break;
		}
		sleep_ms(5);
	}
	if (pid)
		CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(n, 1);
}

/* --- signals ---------------------------------------------------------------------------------- */

static void on_usr1(int sig)
{
}

static _Atomic uint32_t sig_word;
static void *interrupted(void *arg)
{
	long ret = futex(&sig_word, FUTEX_WAIT, 0, NULL, NULL, 0);

	return (void *)(intptr_t)(ret < 0 ? errno : 0);
}

static void signals_interrupt(void)
{
	struct sigaction sa = {.sa_handler = on_usr1};
	pthread_t t;
	void *ret;

	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&t, NULL, interrupted, NULL);
	sleep_ms(300);
	pthread_kill(t, SIGUSR1);
	pthread_join(t, &ret);
	CHECK_EQ((intptr_t)ret, EINTR);
	/* With SA_RESTART the wait goes on. */
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &sa, NULL);
	pthread_create(&t, NULL, interrupted, NULL);
	sleep_ms(300);
	pthread_kill(t, SIGUSR1);
	sleep_ms(50);
	sig_word = 1;
	futex(&sig_word, FUTEX_WAKE, 1, NULL, NULL, 0);
	pthread_join(t, &ret);
	CHECK((intptr_t)ret == 0 || (intptr_t)ret == EAGAIN);
}

/* --- robust and PI mutexes -------------------------------------------------------------------- */

static pthread_mutex_t robust, pi;

static void *dies_with_it(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

static void *locks_briefly(void *arg)
{
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&pi);
		(*(int *)arg)++;
		pthread_mutex_unlock(&pi);
	}
	return NULL;
}

static void robust_mutex(int protocol, int pshared)
{
	pthread_mutexattr_t attr;
	pthread_t t;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&attr, protocol);
	pthread_mutexattr_setpshared(&attr, pshared);
	REQUIRE(pthread_mutex_init(&robust, &attr) == 0);
	pthread_create(&t, NULL, dies_with_it, &robust);
	pthread_join(t, NULL);
	CHECK_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_consistent(&robust), 0);
	CHECK_EQ(pthread_mutex_unlock(&robust), 0);
	pthread_mutex_destroy(&robust);
}

/* The waiter is asleep in the kernel when the owner dies. */
static atomic_int held;

static void *holds_and_dies(void *arg)
{
	pthread_mutex_lock(arg);
	held = 1;
	sleep_ms(700);
	return NULL;
}

static void wait_until_held(void)
{
	while (!held)
		sleep_ms(1);
	held = 0;
}

static void robust_wakes_waiter(int protocol)
{
	pthread_mutexattr_t attr;
	pthread_t t;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&attr, protocol);
	REQUIRE(pthread_mutex_init(&robust, &attr) == 0);
	pthread_create(&t, NULL, holds_and_dies, &robust);
	wait_until_held();
	CHECK_EQ(pthread_mutex_lock(&robust), EOWNERDEAD);
	pthread_mutex_consistent(&robust);
	CHECK_EQ(pthread_mutex_unlock(&robust), 0);
	pthread_join(t, NULL);
}

static void pi_mutex(void)
{
	pthread_mutexattr_t attr;
	struct timespec ts;
	pthread_t t[4];
	int count = 0;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	REQUIRE(pthread_mutex_init(&pi, &attr) == 0);
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, locks_briefly, &count);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(count, 800);
	pthread_mutex_lock(&pi);
	pthread_create(&t[0], NULL, holds_and_dies, &pi);
	sleep_ms(100);
	pthread_mutex_unlock(&pi);
	wait_until_held();
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 20000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	CHECK_EQ(pthread_mutex_timedlock(&pi, &ts), ETIMEDOUT);
	CHECK_EQ(pthread_mutex_trylock(&pi), EBUSY);
	pthread_join(t[0], NULL);
}

static void pi_errors(void)
{
	static _Atomic uint32_t word;
	uint32_t tid = (uint32_t)syscall(SYS_gettid);

	CHECK_EQ(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK_EQ(word, tid);
	CHECK_ERRNO(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), EDEADLK);
	CHECK_EQ(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK_EQ(word, 0);
	CHECK_ERRNO(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), EPERM);
	CHECK_EQ(futex(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	word = 0x3ffffff0; /* nobody */
	CHECK_ERRNO(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), ESRCH);
}

/* --- mutex and condition variable under load ----------------------------------------------------
 */

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int turn, rounds;

static void *ping_pong(void *arg)
{
	int me = (int)(intptr_t)arg;

	pthread_mutex_lock(&m);
	while (rounds < 2000) {
		while (turn != me && rounds < 2000)
			pthread_cond_wait(&c, &m);
		turn = !me;
		rounds++;
		pthread_cond_signal(&c);
	}
	pthread_cond_broadcast(&c);
	pthread_mutex_unlock(&m);
	return NULL;
}

static void condition_variables(void)
{
	pthread_t t[2];

	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, ping_pong, (void *)(intptr_t)i);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	CHECK(rounds >= 2000);
}

/* --- words in files -----------------------------------------------------------------------------
 */

static int map_file(_Atomic uint32_t **word)
{
	char name[] = "/tmp/moat-futex-XXXXXX";
	int fd = mkstemp(name);

	REQUIRE(fd >= 0 && unlink(name) == 0 && ftruncate(fd, 4096) == 0);
	*word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(*word != MAP_FAILED);
	return fd;
}

/* The kernel's changes and those of another process do not undo each other. */
static void wake_op_on_a_file_is_atomic(void)
{
	const int add_one = FUTEX_OP_ADD << 28 | FUTEX_OP_CMP_EQ << 24 | 1 << 12;
	enum { KERNEL = 3000 };
	_Atomic uint32_t *word, dummy = 0;
	int fd = map_file(&word);
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid) {
		for (int i = 0; i < KERNEL; i++)
			if (futex(&dummy, FUTEX_WAKE_OP, 1, NULL, word, (uint32_t)add_one))
				_exit(1);
		atomic_store(&word[2], 1);
		_exit(0);
	}
	uint32_t own = 0;
	for (; !atomic_load(&word[2]); own++)
		atomic_fetch_add(word, 1);
	int status;
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(*word, own + KERNEL);
	munmap(word, 4096);
	close(fd);
}

/* Where the file has ended there is no word. */
static void words_of_truncated_files(void)
{
	_Atomic uint32_t *word, dummy = 0;
	int fd = map_file(&word);

	word[0] = 0;
	REQUIRE(ftruncate(fd, 0) == 0);
	CHECK_ERRNO(futex(word, FUTEX_WAIT, 0, NULL, NULL, 0), EFAULT);
	CHECK_ERRNO(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), EFAULT);
	CHECK_ERRNO(futex(&dummy, FUTEX_WAKE_OP, 1, NULL, word,
			  FUTEX_OP_ADD << 28 | FUTEX_OP_CMP_EQ << 24 | 1 << 12),
		    EFAULT);
	REQUIRE(ftruncate(fd, 4096) == 0);
	CHECK_EQ(futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK_EQ(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
	CHECK_EQ(word[0], 0);
	munmap(word, 4096);
	close(fd);
}

/* The file under the word comes and goes while the kernel changes it. */
static void truncated_meanwhile(void)
{
	_Atomic uint32_t *word, dummy = 0;
	int fd = map_file(&word), status;
	pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid)
		for (;;)
			if (ftruncate(fd, 0) || ftruncate(fd, 4096))
				_exit(1);
	for (int i = 0; i < 5000; i++) {
		long r = futex(&dummy, FUTEX_WAKE_OP, 1, NULL, word,
			       FUTEX_OP_ADD << 28 | FUTEX_OP_CMP_EQ << 24 | 1 << 12);

		if (r)
			CHECK_EQ(errno, EFAULT);
	}
	kill(pid, SIGKILL);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status));
	munmap(word, 4096);
	close(fd);
}

/* --- futex_waitv --------------------------------------------------------------------------------
 */

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

struct entry {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};

static _Atomic uint32_t words[130];

static long waitv(struct entry *e, unsigned nr, unsigned flags, struct timespec *ts, int clock)
{
	return syscall(SYS_futex_waitv, e, nr, flags, ts, clock);
}

static void *wake_one_of_many(void *arg)
{
	long woken = 0;

	for (int i = 0; i < 10000 && !woken; i++) {
		woken = futex(&words[77], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		usleep(1000);
	}
	return (void *)woken;
}

static void waiting_for_several(void)
{
	static struct entry e[130];
	struct timespec past = {0, 0}, soon;
	pthread_t t;
	void *woken;

	for (int i = 0; i < 130; i++)
		e[i] = (struct entry){0, (uint64_t)(uintptr_t)&words[i], 2 | 128, 0};
	CHECK_ERRNO(waitv(e, 0, 0, NULL, 0), EINVAL);
	CHECK_ERRNO(waitv(e, 129, 0, NULL, 0), EINVAL);
	CHECK_ERRNO(waitv(e, 3, 1, NULL, 0), EINVAL);
	CHECK_ERRNO(waitv(NULL, 3, 0, NULL, 0), EINVAL);
	CHECK_ERRNO(waitv((void *)8, 3, 0, NULL, 0), EFAULT);
	CHECK_ERRNO(waitv(e, 3, 0, &past, CLOCK_BOOTTIME), EINVAL);
	CHECK_ERRNO(waitv(e, 3, 0, &past, CLOCK_REALTIME), ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &soon);
	soon.tv_sec += soon.tv_nsec >= 970000000;
	soon.tv_nsec = (soon.tv_nsec + 30000000) % 1000000000;
	CHECK_ERRNO(waitv(e, 128, 0, &soon, CLOCK_MONOTONIC), ETIMEDOUT);
	e[2].reserved = 1;
	CHECK_ERRNO(waitv(e, 3, 0, NULL, 0), EINVAL);
	e[2].reserved = 0;
	e[2].flags = 64 | 2;
	CHECK_ERRNO(waitv(e, 3, 0, NULL, 0), EINVAL);
	e[2].flags = 2 | 128;
	e[2].val = 1;
	CHECK_ERRNO(waitv(e, 3, 0, NULL, 0), EAGAIN);
	e[2].val = 0;
	REQUIRE(pthread_create(&t, NULL, wake_one_of_many, NULL) == 0);
	CHECK_EQ(waitv(e, 128, 0, NULL, 0), 77);
	pthread_join(t, &woken);
	CHECK_EQ((intptr_t)woken, 1);
	/* Nothing is left in the queues. */
	for (int i = 0; i < 128; i++)
		CHECK_EQ(futex(&words[i], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
}

int main(void)
{
	alarm(600);
	errors();
	timeouts();
	waking();
	wake_op_is_atomic();
	shared_between_processes();
	signals_interrupt();
	robust_mutex(PTHREAD_PRIO_NONE, PTHREAD_PROCESS_PRIVATE);
	robust_mutex(PTHREAD_PRIO_NONE, PTHREAD_PROCESS_SHARED);
	robust_mutex(PTHREAD_PRIO_INHERIT, PTHREAD_PROCESS_PRIVATE);
	robust_wakes_waiter(PTHREAD_PRIO_NONE);
	robust_wakes_waiter(PTHREAD_PRIO_INHERIT);
	pi_mutex();
	pi_errors();
	condition_variables();
	waiting_for_several();
	wake_op_on_a_file_is_atomic();
	words_of_truncated_files();
	truncated_meanwhile();
	CHECK_DONE();
}
