/* What tests of tracers share. */
#ifndef MOAT_TESTS_GUEST_PTRACE_TRACER_H
#define MOAT_TESTS_GUEST_PTRACE_TRACER_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

#ifndef PR_SET_PTRACER
#define PR_SET_PTRACER 0x59616d61
#define PR_SET_PTRACER_ANY ((unsigned long)-1)
#endif

#define EVENT(e) (SIGTRAP | (e) << 8)

/* A child that its parent, should it fail, takes along. */
static inline pid_t fork_bound(void)
{
	pid_t pid = fork();

	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

/* A child that runs fn, traced from its first stop, SIGSTOP. */
static inline pid_t start_traced(void (*fn)(void))
{
	int status;
	pid_t pid = fork_bound();

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		fn();
		_exit(0);
	}
	REQUIRE(pid > 0);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	return pid;
}

/* The status of its next stop, shifted: signal, or signal and event; -1 - status if it has ended.
 */
static inline int next_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, __WALL) != pid)
		return -100000 - errno;
	return WIFSTOPPED(status) ? status >> 8 : -1 - status;
}

/* What next_stop() says of one that has exited so. */
#define EXITED(code) (-1 - ((code) << 8))
#define KILLED(sig) (-1 - (sig))

static inline int go(int request, pid_t pid, int sig)
{
	if (ptrace(request, pid, 0, (long)sig))
		return -200000 - errno;
	return next_stop(pid);
}

static inline void end_tracee(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		;
}

/* The letter of /proc/PID/status's State, and its TracerPid. */
static inline char proc_state(pid_t pid, int *tracer)
{
	char path[64], line[256], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	if (!f)
		return state;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &state);
		if (tracer)
			sscanf(line, "TracerPid: %d", tracer);
	}
	fclose(f);
	return state;
}

/* Until it is in this state: for what has no wait. */
static inline void await_state(pid_t pid, char state)
{
	while (proc_state(pid, NULL) != state)
		usleep(1000);
}

#endif
