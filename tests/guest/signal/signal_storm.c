/* Signals that come at any moment of system calls in a loop, results of all kinds under way. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static volatile int handled;

static void on_alarm(int sig)
{
	/* The handler's own calls and floating-point use must leave no trace. */
	volatile double x = 1.5;

	getppid();
	x *= 3;
	if (x == 4.5)
		handled++;
}

/* Calls that succeed and fail, checked each time, while alarms come every millisecond. */
static int storm(void)
{
	struct itimerval it = {.it_value = {0, 1000}, .it_interval = {0, 1000}};
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char vec[8];
	double sum = 0, factor = 0.5;
	pid_t parent = getppid();

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	for (long i = 0; handled < 100; i++) {
		errno = 0;
		if (mincore(p, 4096, vec))
			return 1;
		if (mincore(p, 4096, (void *)8) != -1 || errno != EFAULT)
			return 2;
		if (mincore(p + 1, 0, vec) != -1 || errno != EINVAL)
			return 3;
		if (getppid() != parent)
			return 4;
		sum = sum * factor + 1;
		if (i > 100 && (sum < 1.99 || sum > 2.01))
			return 5;
	}
	return 0;
}

int main(void)
{
	int status;

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 2; i++)
			if (!fork())
				_exit(storm());
		for (int i = 0; i < 2; i++) {
			CHECK(wait(&status) > 0);
			CHECK_EQ(status, 0);
		}
	}
	CHECK_DONE();
}
