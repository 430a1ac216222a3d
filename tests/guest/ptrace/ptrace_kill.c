/* Ends at any moment: tracees that are killed in their stops, tracers that die with many of them,
 * also while requests are under way. Nothing may hang, nothing may be left. */
#include <pthread.h>
#include <sched.h>
#include <sys/uio.h>

#include "tracer.h"

static void calls_for_ever(void)
{
	for (;;) {
		syscall(SYS_getppid);
		sched_yield();
	}
}

static int stop_of(pid_t pid, int round)
{
	static const int ways[] = {PTRACE_CONT, PTRACE_SYSCALL, PTRACE_SINGLESTEP, PTRACE_SYSEMU};

	return ptrace(ways[round % 4], pid, 0, 0);
}

static void killed_at_any_stop(void)
{
	for (int round = 0; round < 40; round++) {
		pid_t pid = start_traced(calls_for_ever);
		int status, stops = round / 4;

		for (int i = 0; i < stops && round % 4; i++) {
			REQUIRE(!stop_of(pid, round));
			REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		}
		if (round % 3)
			stop_of(pid, round);
		kill(pid, SIGKILL);
		do
			REQUIRE(waitpid(pid, &status, __WALL) == pid);
		while (WIFSTOPPED(status));
		CHECK_EQ(status, SIGKILL);
	}
}

/* Another process kills the tracee while its tracer asks for its registers. */
static void killed_while_looked_at(void)
{
	for (int round = 0; round < 20; round++) {
		pid_t pid = start_traced(calls_for_ever), killer;
		struct user_regs_struct regs;
		struct user_fpregs_struct fp;
		int status;

		killer = fork_bound();
		if (!killer) {
			for (int i = 0; i < round * 5; i++)
				sched_yield();
			kill(pid, SIGKILL);
			_exit(0);
		}
		while (!ptrace(PTRACE_GETREGS, pid, 0, &regs) &&
		       !ptrace(PTRACE_GETFPREGS, pid, 0, &fp) &&
		       !ptrace(PTRACE_SETFPREGS, pid, 0, &fp))
			;
		CHECK_EQ(errno, ESRCH);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, SIGKILL);
		CHECK_EQ(waitpid(killer, &status, 0), killer);
	}
}

static void *spin(void *arg)
{
	calls_for_ever();
	return NULL;
}

static void with_threads(void)
{
	pthread_t t;

	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, spin, NULL);
	calls_for_ever();
}

/* A tracer of processes with threads, all of which it stops at calls, until it is killed. */
static void trace_many(int ready)
{
	long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	int status, stops = 0;
	pid_t pid;

	for (int i = 0; i < 4; i++) {
		pid = start_traced(with_threads);
		ptrace(PTRACE_SETOPTIONS, pid, 0, options);
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
	}
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (++stops == 300)
			write(ready, "", 1);
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
	}
	_exit(1);
}

static void tracers_are_killed(void)
{
	for (int round = 0; round < 3; round++) {
		int ready[2], status;
		pid_t tracer;
		char c;

		pipe(ready);
		tracer = fork_bound();
		if (!tracer) {
			close(ready[0]);
			trace_many(ready[1]);
		}
		close(ready[1]);
		CHECK_EQ(read(ready[0], &c, 1), 1);
		kill(tracer, SIGKILL);
		CHECK_EQ(waitpid(tracer, &status, 0), tracer);
		CHECK_EQ(status, SIGKILL);
		/* Its tracees hold the other end: it closes when they are all gone. */
		CHECK_EQ(read(ready[0], &c, 1), 0);
		close(ready[0]);
	}
}

/* A process of several threads, each stopped or not, is killed as one. */
static void groups_are_killed(void)
{
	for (int round = 0; round < 6; round++) {
		pid_t pid = start_traced(with_threads), each;
		int status, stops = 0, ends = 0;

		/* Orphans of others may come to us. */
		setpgid(pid, pid);
		ptrace(PTRACE_SETOPTIONS, pid, 0, (long)PTRACE_O_TRACECLONE);
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		while (stops < 50 + round) {
			each = waitpid(-pid, &status, __WALL);
			REQUIRE(each > 0 && WIFSTOPPED(status));
			stops++;
			if (round % 2 || each == pid)
				ptrace(PTRACE_SYSCALL, each, 0, 0);
			else if (stops < 20)
				ptrace(PTRACE_CONT, each, 0, 0);
		}
		kill(pid, SIGKILL);
		while ((each = waitpid(-pid, &status, __WALL)) > 0) {
			if (WIFSTOPPED(status))
				continue;
			CHECK_EQ(status, SIGKILL);
			ends++;
			if (each == pid)
				break;
		}
		CHECK_EQ(each, pid);
		CHECK(ends >= 1);
		CHECK_ERRNO(waitpid(-pid, &status, __WALL), ECHILD);
	}
}

int main(void)
{
	killed_at_any_stop();
	killed_while_looked_at();
	tracers_are_killed();
	groups_are_killed();
	CHECK_DONE();
}
