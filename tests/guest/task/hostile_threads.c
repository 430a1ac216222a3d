/* Threads that fork, exec, exit and kill each other at random: the process dies as it should, and
 * the kernel goes on. Linux is the judge of the outcome: every child can be waited for. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define THREADS 6
static const char *self;

static unsigned next(unsigned *s)
{
	*s = *s * 1103515245 + 12345;
	return *s >> 16;
}

static void handler(int sig)
{
}

static void short_vfork(void)
{
	if (vfork() == 0)
		_exit(0);
}

static void *wild(void *arg)
{
	unsigned seed = (unsigned)(long)arg;

	for (int i = 0; i < 200; i++) {
		pid_t pid;

		switch (next(&seed) % 12) {
		case 0:
		case 1:
			pid = fork();
			if (pid == 0)
				_exit(0);
			if (next(&seed) % 2)
				waitpid(pid, NULL, 0);
			break;
		case 2:
			short_vfork();
			break;
		case 3:
			if (next(&seed) % 20 == 0)
				execl(self, "hostile", "child", NULL);
			break;
		case 4:
			if (next(&seed) % 40 == 0)
				syscall(SYS_exit_group, 0);
			break;
		case 5:
			syscall(SYS_tgkill, getpid(), getpid() + next(&seed) % 8, SIGUSR1);
			break;
		case 6: {
			void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (p != MAP_FAILED) {
				*(volatile char *)p = 1;
				munmap(p, 65536);
			}
			break;
		}
		case 7:
			if (next(&seed) % 30 == 0)
				return NULL;
			break;
		case 8:
			kill(getpid(), SIGUSR2);
			break;
		case 9:
			if (next(&seed) % 60 == 0)
				*(volatile int *)8 = 1;
			break;
		case 10:
			kill(getpid(), next(&seed) % 2 ? SIGSTOP : SIGCONT);
			break;
		default:
			sched_yield();
		}
	}
	return NULL;
}

static void run_wild(unsigned seed)
{
	pthread_t th;

	signal(SIGUSR1, handler);
	signal(SIGUSR2, handler);
	alarm(20);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&th, NULL, wild, (void *)(long)(seed * 100 + i));
	wild((void *)(long)(seed * 100 + 99));
	_exit(0);
}

int main(int argc, char **argv)
{
	static char exe[4096];
	enum { RUNS = 30, PARALLEL = 3 };
	int started = 0, ended = 0, status;
	time_t end = time(NULL) + 55;

	if (argc > 1)
		return 0;
	REQUIRE(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	self = exe;
	while (ended < RUNS) {
		pid_t pid;

		if (started < RUNS && started - ended < PARALLEL) {
			pid = fork();
			if (pid == 0) {
				setpgid(0, 0);
				run_wild(started);
			}
			REQUIRE(pid > 0);
			started++;
			continue;
		}
		pid = waitpid(-1, &status, WUNTRACED | WNOHANG);
		if (pid > 0 && WIFSTOPPED(status)) {
			kill(pid, SIGCONT);
		} else if (pid > 0) {
			kill(-pid, SIGKILL);
			ended++;
		} else {
			usleep(1000);
		}
		REQUIRE(time(NULL) < end);
	}
	CHECK_EQ(ended, RUNS);
	CHECK_DONE();
}
