/* waitid for stops and continues, of children that are dead (man 2 waitid). */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

int main(void)
{
	siginfo_t info;
	pid_t pid = fork(), other;

	if (!pid)
		_exit(7);
	REQUIRE(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0);
	/* The dead stop and continue no more: there is nothing to wait for. */
	CHECK_ERRNO(waitid(P_ALL, 0, &info, WSTOPPED), ECHILD);
	CHECK_ERRNO(waitid(P_PID, (id_t)pid, &info, WCONTINUED), ECHILD);
	CHECK_ERRNO(waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG), ECHILD);
	other = fork();
	if (!other) {
		pause();
		_exit(0);
	}
	/* With a living one there is. */
	CHECK_EQ(waitid(P_ALL, 0, &info, WSTOPPED | WNOHANG), 0);
	CHECK_EQ(info.si_pid, 0);
	kill(other, SIGSTOP);
	CHECK_EQ(waitid(P_ALL, 0, &info, WSTOPPED), 0);
	CHECK_EQ(info.si_pid, other);
	CHECK_EQ(info.si_code, CLD_STOPPED);
	CHECK_EQ(info.si_status, SIGSTOP);
	kill(other, SIGCONT);
	CHECK_EQ(waitid(P_ALL, 0, &info, WCONTINUED), 0);
	CHECK_EQ(info.si_pid, other);
	CHECK_EQ(info.si_code, CLD_CONTINUED);
	CHECK_EQ(info.si_status, SIGCONT);
	kill(other, SIGSTOP);
	CHECK_EQ(waitid(P_PID, (id_t)other, &info, WSTOPPED), 0);
	/* Killed while it is stopped. */
	kill(other, SIGKILL);
	CHECK_EQ(waitid(P_PID, (id_t)other, &info, WEXITED | WSTOPPED), 0);
	CHECK_EQ(info.si_code, CLD_KILLED);
	CHECK_EQ(info.si_status, SIGKILL);
	CHECK_EQ(waitid(P_ALL, 0, &info, WEXITED), 0);
	CHECK_EQ(info.si_pid, pid);
	CHECK_EQ(info.si_status, 7);
	CHECK_ERRNO(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
	CHECK_DONE();
}
