/* fork, vfork, exit, wait4, waitid, reparenting. */
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static pid_t child_that(void (*fn)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		fn();
		_exit(0);
	}
	REQUIRE(pid > 0);
	return pid;
}

static void exit_3(void)
{
	_exit(3);
}

static void sleep_forever(void)
{
	for (;;)
		pause();
}

static void statuses(void)
{
	int status;
	pid_t pid = child_that(exit_3);

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
	CHECK_ERRNO(waitpid(-1, &status, 0), ECHILD);
	pid = child_that(sleep_forever);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGTERM);
	CHECK_EQ(wait(&status), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK_ERRNO(waitpid(-1, &status, 0x1234), EINVAL);
}

static void memory_is_private(void)
{
	static int value = 1;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		value = 2;
		_exit(value);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(WEXITSTATUS(status), 2);
	CHECK_EQ(value, 1);
}

static void vfork_shares_and_waits(void)
{
	static volatile int value;
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		value = 5;
		_exit(4);
	}
	CHECK_EQ(value, 5);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(WEXITSTATUS(status), 4);
}

static void stops_and_continues(void)
{
	int status;
	siginfo_t info;
	pid_t pid = child_that(sleep_forever);

	/* In a group of its own it is not orphaned: SIGTSTP works. */
	CHECK_EQ(setpgid(pid, pid), 0);
	kill(pid, SIGSTOP);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	CHECK_EQ(waitpid(pid, &status, WUNTRACED | WNOHANG), 0);
	kill(pid, SIGCONT);
	CHECK_EQ(waitpid(pid, &status, WCONTINUED), pid);
	CHECK(WIFCONTINUED(status));
	kill(pid, SIGTSTP);
	CHECK_EQ(waitid(P_PID, pid, &info, WSTOPPED | WNOWAIT), 0);
	CHECK_EQ(info.si_code, CLD_STOPPED);
	CHECK_EQ(info.si_status, SIGTSTP);
	CHECK_EQ(waitid(P_PID, pid, &info, WSTOPPED), 0);
	CHECK_EQ(info.si_pid, pid);
	/* A stopped process dies by SIGKILL, but not by SIGTERM before it goes on. */
	kill(pid, SIGTERM);
	usleep(20000);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGCONT);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	pid = child_that(sleep_forever);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGKILL);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(WTERMSIG(status), SIGKILL);
}

static void waitid_forms(void)
{
	siginfo_t info = {0};
	pid_t pid = child_that(exit_3);
	struct rusage ru;

	CHECK_EQ(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	CHECK_EQ(info.si_signo, SIGCHLD);
	CHECK_EQ(info.si_code, CLD_EXITED);
	CHECK_EQ(info.si_status, 3);
	CHECK_EQ(info.si_pid, pid);
	CHECK_EQ(syscall(SYS_waitid, P_ALL, 0, &info, WEXITED, &ru), 0);
	CHECK_ERRNO(waitid(P_ALL, 0, &info, WEXITED), ECHILD);
	CHECK_ERRNO(waitid(P_ALL, 0, &info, 0), EINVAL);
	pid = child_that(sleep_forever);
	info.si_pid = 99;
	CHECK_EQ(waitid(P_PGID, 0, &info, WEXITED | WNOHANG), 0);
	CHECK_EQ(info.si_pid, 0);
	int fd = syscall(SYS_pidfd_open, pid, 0);
	CHECK(fd >= 0);
	CHECK_EQ(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0), 0);
	CHECK_EQ(waitid(3 /* P_PIDFD */, fd, &info, WEXITED), 0);
	CHECK_EQ(info.si_code, CLD_KILLED);
	CHECK_EQ(info.si_status, SIGKILL);
	CHECK_ERRNO(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
	close(fd);
}

static void ignored_children_are_not_zombies(void)
{
	pid_t pid;

	signal(SIGCHLD, SIG_IGN);
	pid = child_that(exit_3);
	CHECK_ERRNO(waitpid(pid, NULL, 0), ECHILD);
	signal(SIGCHLD, SIG_DFL);
}

static volatile sig_atomic_t chld;
static siginfo_t chld_info;

static void on_chld(int sig, siginfo_t *info, void *uc)
{
	chld++;
	chld_info = *info;
}

static void sigchld_tells(void)
{
	struct sigaction sa = {.sa_sigaction = on_chld, .sa_flags = SA_SIGINFO | SA_RESTART};
	pid_t pid;
	int status;

	sigaction(SIGCHLD, &sa, NULL);
	pid = child_that(exit_3);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(chld, 1);
	CHECK_EQ(chld_info.si_pid, pid);
	CHECK_EQ(chld_info.si_code, CLD_EXITED);
	CHECK_EQ(chld_info.si_status, 3);
	signal(SIGCHLD, SIG_DFL);
}

static void orphans_go_to_the_subreaper(void)
{
	int p[2], status;
	pid_t mid, grandchild;

	REQUIRE(pipe(p) == 0);
	CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	mid = fork();
	if (mid == 0) {
		pid_t g = fork();

		if (g == 0) {
			pid_t before = getppid();

			write(p[1], "r", 1);
			while (getppid() == before)
				usleep(1000);
			before = getppid();
			write(p[1], &before, sizeof(before));
			_exit(9);
		}
		char ready;

		read(p[0], &ready, 1);
		_exit(0);
	}
	CHECK_EQ(waitpid(mid, &status, 0), mid);
	pid_t parent = 0;
	CHECK_EQ(read(p[0], &parent, sizeof(parent)), sizeof(parent));
	CHECK_EQ(parent, getpid());
	grandchild = wait(&status);
	CHECK(grandchild > 0);
	CHECK_EQ(WEXITSTATUS(status), 9);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(p[0]);
	close(p[1]);
}

static void parent_death_signal(void)
{
	int p[2];
	char c = 0;
	pid_t mid;

	REQUIRE(pipe(p) == 0);
	mid = fork();
	if (mid == 0) {
		int ready[2];

		pipe(ready);
		if (fork() == 0) {
			signal(SIGUSR1, SIG_DFL);
			prctl(PR_SET_PDEATHSIG, SIGUSR1);
			write(ready[1], "r", 1);
			for (;;)
				pause();
		}
		read(ready[0], &c, 1);
		_exit(0);
	}
	close(p[1]);
	waitpid(mid, NULL, 0);
	/* The grandchild held the only other write end. */
	CHECK_EQ(read(p[0], &c, 1), 0);
	close(p[0]);
}

static int ready[2], made[2], go_on[2];

static void *fork_and_end(void *arg)
{
	pid_t pid = fork();
	char c = 0;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGUSR1);
		write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	write(made[1], "m", 1);
	read(go_on[0], &c, 1);
	return (void *)(intptr_t)pid;
}

/* The parent that dies is the thread that forked, and __WNOTHREAD means its children. */
static void parent_thread_death_signal(void)
{
	int status;
	pthread_t t;
	void *pid;
	char c;

	check_failures = 0;
	REQUIRE(pipe(ready) == 0 && pipe(made) == 0 && pipe(go_on) == 0);
	REQUIRE(pthread_create(&t, NULL, fork_and_end, NULL) == 0);
	REQUIRE(read(ready[0], &c, 1) == 1 && read(made[0], &c, 1) == 1);
	CHECK_ERRNO(waitpid(-1, &status, WNOHANG | __WNOTHREAD), ECHILD);
	CHECK_EQ(waitpid(-1, &status, WNOHANG), 0);
	write(go_on[1], "g", 1);
	pthread_join(t, &pid);
	CHECK_EQ(waitpid(-1, &status, 0), (intptr_t)pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
	_exit(check_failures);
}

static void process_groups(void)
{
	int status;
	pid_t a = fork(), b;

	if (a == 0) {
		setpgid(0, 0);
		sleep_forever();
	}
	setpgid(a, a);
	b = fork();
	if (b == 0) {
		setpgid(0, a);
		sleep_forever();
	}
	CHECK_EQ(setpgid(b, a), 0);
	CHECK_EQ(getpgid(a), a);
	CHECK_EQ(getpgid(b), a);
	CHECK_EQ(kill(-a, SIGTERM), 0);
	CHECK(waitpid(-a, &status, 0) > 0);
	CHECK(waitpid(-a, &status, 0) > 0);
	CHECK_ERRNO(waitpid(-a, &status, 0), ECHILD);
	CHECK_ERRNO(kill(-a, 0), ESRCH);
	CHECK_ERRNO(setpgid(0, -1), EINVAL);
	CHECK_ERRNO(setpgid(30001, 0), ESRCH);
}

static void sessions(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setsid() != getpid() || getsid(0) != getpid() || getpgrp() != getpid())
			_exit(1);
		if (setsid() != -1 || errno != EPERM)
			_exit(2);
		if (setpgid(0, 0) != -1 || errno != EPERM)
			_exit(3);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void clone_flag_errors(void)
{
	CHECK_ERRNO(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS, 0, 0, 0, 0), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone3, NULL, 8), EINVAL);
	CHECK_ERRNO(syscall(SYS_clone3, NULL, 64), EFAULT);
}

static void burn(void)
{
	volatile unsigned long x = 0;
	volatile char *p = malloc(20 << 20);

	for (int i = 0; i < 20 << 20; i += 4096)
		p[i] = 1;
	free((void *)p);
	for (unsigned long i = 0; i < 100000000; i++)
		x += i;
	(void)x;
}

/* Which part of it is user time the kernel guesses, where a child lives for few ticks. */
static long cpu_us(const struct rusage *ru)
{
	return (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000 + ru->ru_utime.tv_usec +
	       ru->ru_stime.tv_usec;
}

static void usage_of_children(void)
{
	struct rusage ru, all;
	int status;
	pid_t pid = child_that(burn);

	CHECK_EQ(wait4(pid, &status, 0, &ru), pid);
	CHECK(cpu_us(&ru) > 20000);
	/* Kilobytes, at the peak. */
	CHECK(ru.ru_maxrss >= 20 << 10);
	CHECK_EQ(getrusage(RUSAGE_CHILDREN, &all), 0);
	CHECK(cpu_us(&all) > 20000);
	CHECK(all.ru_maxrss >= 20 << 10);
}

static void many_children(void)
{
	enum { N = 200 };
	int got = 0;

	for (int i = 0; i < N; i++)
		child_that(exit_3);
	while (wait(NULL) > 0)
		got++;
	/* As PID 1, orphans of earlier checks, too. */
	CHECK(got >= N);
}

int main(void)
{
	int status;

	statuses();
	memory_is_private();
	vfork_shares_and_waits();
	stops_and_continues();
	waitid_forms();
	ignored_children_are_not_zombies();
	sigchld_tells();
	orphans_go_to_the_subreaper();
	parent_death_signal();
	/* In a process that inherits nobody's children. */
	CHECK_EQ(waitpid(child_that(parent_thread_death_signal), &status, 0) > 0 && !status, 1);
	process_groups();
	sessions();
	clone_flag_errors();
	usage_of_children();
	many_children();
	CHECK_DONE();
}
