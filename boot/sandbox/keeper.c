#include "boot/sandbox/keeper.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "base/log.h"
#include "boot/sandbox/sandbox.h"
#include "filter/filter.h"

/* A sweep's rounds, a millisecond each. */
#define SWEEP_MAX 5000

void keeper_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* /proc, opened before the filter that takes no path but below a descriptor. */
static DIR *proc;

/* The parent of a process by its /proc/PID/stat, 0 if it is gone. */
static pid_t parent_of(const char *pid)
{
	char path[64], text[512];
	int __close_fd fd = -1;
	const char *p;
	ssize_t n;

	snprintf(path, sizeof(path), "%.16s/stat", pid);
	fd = openat(dirfd(proc), path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	/* "PID (NAME) STATE PPID": a name may hold anything. */
	p = strrchr(text, ')');
	return p && p[1] && p[2] && p[3] ? (pid_t)strtol(p + 3, NULL, 10) : 0;
}

static void kill_children(void)
{
	struct dirent *e;

	rewinddir(proc);
	while ((e = readdir(proc)))
		if (isdigit((unsigned char)e->d_name[0]) && parent_of(e->d_name) == getpid())
			kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
}

void keeper_sweep(void)
{
	struct timespec pause = {0, 1000000};

	if (!proc)
		proc = opendir("/proc");
	if (!proc) {
		log_error("/proc, to end the processes of the sandbox: %s", strerror(errno));
		return;
	}
	for (int i = 0; i < SWEEP_MAX; i++) {
		pid_t pid;

		kill_children();
		do {
			pid = waitpid(-1, NULL, WNOHANG);
		} while (pid > 0 || (pid < 0 && errno == EINTR));
		if (pid < 0)
			return;
		nanosleep(&pause, NULL);
	}
	log_error("processes of the sandbox do not end");
}

/* Ends as the child did, so that the caller can say how. */
static void end_like(int status) __attribute__((noreturn));
static void end_like(int status)
{
	if (WIFSIGNALED(status)) {
		sigset_t set;

		signal(WTERMSIG(status), SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, WTERMSIG(status));
		raise(WTERMSIG(status));
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void keep(pid_t sentry, const sigset_t *set) __attribute__((noreturn));
static void keep(pid_t sentry, const sigset_t *set)
{
	for (;;) {
		int sig = sigwaitinfo(set, NULL), status;
		pid_t pid;

		/* SIGTERM: the caller has died. Others cannot send it: they have not the uid. */
		if (sig == SIGTERM) {
			keeper_sweep();
			_exit(1);
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid != sentry)
				continue;
			keeper_sweep();
			end_like(status);
		}
	}
}

int keeper_split(int (*drop)(void *arg), void *arg)
{
	pid_t caller = getppid(), sentry;
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, &old);
	keeper_adopt();
	sentry = fork();
	if (sentry < 0)
		return -errno;
	if (sentry == 0) {
		prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
		sigprocmask(SIG_SETMASK, &old, NULL);
		return 0;
	}
	prctl(PR_SET_NAME, "moat-keeper");
	fds_close_others(NULL, 0);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	proc = opendir("/proc");
	if (!proc || drop(arg)) {
		kill(sentry, SIGKILL);
		_exit(1);
	}
	/* After the change of credentials, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != caller)
		raise(SIGTERM);
	if (filter_install_sandbox(false, FILTER_NO_NETWORK)) {
		kill(sentry, SIGKILL);
		_exit(1);
	}
	keep(sentry, &set);
}
