/* A fork bomb under RLIMIT_NPROC ends in EAGAIN, and what started it goes on working. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* A uid that nobody has: the limit counts all processes of a user. */
#define BOMBER 54321
#define LIMIT 60

static volatile int *refused;

static void bomb(void)
{
	for (int i = 0; i < LIMIT * 4; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			if (errno == EAGAIN)
				__atomic_add_fetch(refused, 1, __ATOMIC_RELAXED);
			break;
		}
	}
	for (;;)
		pause();
}

int main(void)
{
	struct rlimit limit = {LIMIT, LIMIT};
	pid_t pid;

	if (geteuid() != 0) {
		printf("skipped: needs root\n");
		return 0;
	}
	refused = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(refused != MAP_FAILED);
	/* The bomb's orphans are ours to wait for. */
	REQUIRE(!prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
	pid = fork();
	REQUIRE(pid >= 0);
	if (pid == 0) {
		setpgid(0, 0);
		if (setrlimit(RLIMIT_NPROC, &limit) || setgid(BOMBER) || setuid(BOMBER))
			_exit(1);
		bomb();
	}
	for (int i = 0; i < 5000 && !*refused; i++)
		usleep(10000);
	CHECK(*refused > 0);
	/* Others may start processes as before. */
	pid_t other = fork();

	REQUIRE(other >= 0);
	if (other == 0)
		_exit(7);
	int status;

	CHECK_EQ(waitpid(other, &status, 0), other);
	CHECK_EQ(WEXITSTATUS(status), 7);
	for (int i = 0; i < 50; i++) {
		kill(-pid, SIGKILL);
		usleep(1000);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	while (waitpid(-1, &status, 0) > 0 || errno == EINTR)
		CHECK(WIFSIGNALED(status));
	/* All gone: the user may start processes again. */
	pid = fork();
	if (pid == 0) {
		if (setrlimit(RLIMIT_NPROC, &limit) || setgid(BOMBER) || setuid(BOMBER))
			_exit(1);
		for (int i = 0; i < 100; i++) {
			pid = fork();
			if (pid == 0)
				_exit(0);
			if (pid > 0)
				_exit(3);
			usleep(10000);
		}
		_exit(4);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(WEXITSTATUS(status), 3);
	CHECK_DONE();
}
