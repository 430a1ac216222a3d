/* POSIX message queues (man 7 mq_overview). */
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define NAME "/moat-guest-test"

static mqd_t fresh(int flags, long msgs, long size)
{
	struct mq_attr a = {.mq_maxmsg = msgs, .mq_msgsize = size};
	mqd_t q;

	mq_unlink(NAME);
	q = mq_open(NAME, O_RDWR | O_CREAT | O_EXCL | flags, 0600, &a);
	REQUIRE(q >= 0);
	return q;
}

static struct timespec in_ms(int ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += ms * 1000000L;
	ts.tv_sec += ts.tv_nsec / 1000000000L;
	ts.tv_nsec %= 1000000000L;
	return ts;
}

static void order_and_limits(void)
{
	char buf[64];
	unsigned prio;
	struct mq_attr a;
	struct timespec soon;
	mqd_t q = fresh(0, 3, 16), other;

	CHECK_ERRNO(mq_open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600, NULL), EEXIST);
	CHECK_ERRNO(mq_open("/moat-no-such", O_RDWR), ENOENT);
	CHECK_ERRNO(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL), EACCES);
	CHECK_EQ(mq_send(q, "low", 3, 1), 0);
	CHECK_EQ(mq_send(q, "high1", 5, 9), 0);
	CHECK_EQ(mq_send(q, "high2", 5, 9), 0);
	CHECK_EQ(mq_getattr(q, &a), 0);
	CHECK_EQ(a.mq_curmsgs, 3);
	CHECK_EQ(a.mq_maxmsg, 3);
	CHECK_EQ(a.mq_msgsize, 16);
	soon = in_ms(30);
	CHECK_ERRNO(mq_timedsend(q, "x", 1, 0, &soon), ETIMEDOUT);
	CHECK_ERRNO(mq_send(q, "0123456789abcdefg", 17, 0), EMSGSIZE);
	CHECK_ERRNO(mq_send(q, "x", 1, 32768), EINVAL);
	CHECK_ERRNO(mq_receive(q, buf, 8, NULL), EMSGSIZE);
	CHECK_EQ(mq_receive(q, buf, sizeof(buf), &prio), 5);
	CHECK(!memcmp(buf, "high1", 5) && prio == 9);
	CHECK_EQ(mq_receive(q, buf, sizeof(buf), &prio), 5);
	CHECK(!memcmp(buf, "high2", 5));
	CHECK_EQ(mq_receive(q, buf, sizeof(buf), &prio), 3);
	CHECK_EQ(prio, 1);
	soon = in_ms(30);
	CHECK_ERRNO(mq_timedreceive(q, buf, sizeof(buf), NULL, &soon), ETIMEDOUT);
	soon.tv_nsec = -1;
	CHECK_ERRNO(mq_timedreceive(q, buf, sizeof(buf), NULL, &soon), EINVAL);
	a.mq_flags = O_NONBLOCK;
	CHECK_EQ(mq_setattr(q, &a, NULL), 0);
	CHECK_ERRNO(mq_receive(q, buf, sizeof(buf), NULL), EAGAIN);
	other = mq_open(NAME, O_WRONLY);
	CHECK(other >= 0);
	CHECK_ERRNO(mq_receive(other, buf, sizeof(buf), NULL), EBADF);
	CHECK_ERRNO(mq_send(0, "x", 1, 0), EBADF);
	mq_close(other);
	CHECK_EQ(mq_unlink(NAME), 0);
	CHECK_ERRNO(mq_unlink(NAME), ENOENT);
	CHECK_EQ(mq_send(q, "still", 5, 0), 0); /* works on until closed */
	CHECK_EQ(mq_receive(q, buf, sizeof(buf), NULL), 5);
	mq_close(q);
}

static void blocking(void)
{
	char buf[8192];
	int status;
	mqd_t q = fresh(0, 1, 8192);
	struct pollfd p = {q, POLLIN | POLLOUT, 0};
	pid_t pid;

	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLOUT);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 200; i++)
			if (mq_receive(q, buf, sizeof(buf), NULL) != 4 || memcmp(buf, &i, 4))
				_exit(1);
		_exit(0);
	}
	for (int i = 0; i < 200; i++)
		CHECK_EQ(mq_send(q, (char *)&i, 4, 0), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	mq_close(q);
}

static volatile sig_atomic_t got;
static volatile int got_value, got_code;

static void on_message(int sig, siginfo_t *info, void *ctx)
{
	got_value = info->si_value.sival_int;
	got_code = info->si_code;
	got = sig;
}

static void notification(void)
{
	struct sigaction sa = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	char buf[64];
	mqd_t q = fresh(0, 4, 16);

	ev.sigev_value.sival_int = 77;
	sigaction(SIGUSR1, &sa, NULL);
	CHECK_EQ(mq_notify(q, &ev), 0);
	CHECK_ERRNO(mq_notify(q, &ev), EBUSY);
	CHECK_EQ(mq_send(q, "a", 1, 0), 0);
	CHECK_EQ(got, SIGUSR1);
	CHECK_EQ(got_value, 77);
	CHECK_EQ(got_code, SI_MESGQ);
	got = 0;
	CHECK_EQ(mq_send(q, "b", 1, 0), 0); /* once, and only for the first message */
	CHECK_EQ(got, 0);
	CHECK_EQ(mq_notify(q, &ev), 0);
	CHECK_EQ(mq_notify(q, NULL), 0);
	CHECK_EQ(mq_receive(q, buf, sizeof(buf), NULL), 1);
	CHECK_EQ(mq_receive(q, buf, sizeof(buf), NULL), 1);
	CHECK_EQ(mq_send(q, "c", 1, 0), 0);
	CHECK_EQ(got, 0);
	mq_close(q);
}

int main(void)
{
	alarm(58);
	order_and_limits();
	blocking();
	notification();
	mq_unlink(NAME);
	CHECK_DONE();
}
