/* Starting gofer and sandbox, and waiting for them. */
#include "boot/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "boot/link.h"

#define MAX_GOFER_MOUNTS 120

/* fork with namespaces; the child gets 0. *pidfd is set in the parent. */
static pid_t clone_process(unsigned long flags, int *pidfd)
{
	return (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, 0, pidfd, 0, 0);
}

static int write_file(const char *path, const char *text)
{
	int __close_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* Maps every host id to itself (as root), or the caller's own only (as an ordinary user). */
static int write_id_maps(pid_t pid, bool rootless)
{
	char path[64], text[64];
	int ret;

	if (rootless) {
		snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
		ret = write_file(path, "deny");
		if (ret)
			return ret;
	}
	snprintf(text, sizeof(text), "%u %u %u\n", rootless ? geteuid() : 0,
		 rootless ? geteuid() : 0, rootless ? 1 : UINT32_MAX);
	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	ret = write_file(path, text);
	if (ret)
		return ret;
	snprintf(text, sizeof(text), "%u %u %u\n", rootless ? getegid() : 0,
		 rootless ? getegid() : 0, rootless ? 1 : UINT32_MAX);
	snprintf(path, sizeof(path), "/proc/%d/gid_map", pid);
	return write_file(path, text);
}

static void kill_and_reap(pid_t pid, int *pidfd)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (*pidfd >= 0)
		close(*pidfd);
	*pidfd = -1;
}

static void close_all(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int make_gofer_sockets(struct sandbox_spec *spec, int *ours, int *theirs, int *count)
{
	*count = 0;
	for (unsigned i = 0; i < spec->nmounts; i++) {
		int sv[2];

		if (spec->mounts[i].kind != MOUNT_HOST)
			continue;
		if (*count == MAX_GOFER_MOUNTS)
			return -E2BIG;
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
			return -errno;
		spec->mounts[i].gofer = *count;
		ours[*count] = sv[0];
		theirs[*count] = sv[1];
		++*count;
	}
	return 0;
}

/* The sentry opens many host files: raise what is inherited as far as the system lets us. */
static void raise_limits(void)
{
	struct rlimit nofile = {1 << 20, 1 << 20}, old;
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_NOFILE, &nofile) && !getrlimit(RLIMIT_NOFILE, &old)) {
		old.rlim_cur = old.rlim_max;
		setrlimit(RLIMIT_NOFILE, &old);
	}
	setrlimit(RLIMIT_NPROC, &unlimited);
	setrlimit(RLIMIT_FSIZE, &unlimited);
	setrlimit(RLIMIT_CPU, &unlimited);
	setrlimit(RLIMIT_AS, &unlimited);
}

int sandbox_start(struct sandbox_spec *spec, struct sandbox *sb, char *err, size_t errlen)
{
	int sandbox_ends[MAX_GOFER_MOUNTS], gofer_ends[MAX_GOFER_MOUNTS];
	int links[2], count, ret;
	/* As root the gofer makes its mount namespace itself, after it has opened its roots. */
	unsigned long user_ns = spec->rootless ? CLONE_NEWUSER | CLONE_NEWNS : 0;

	*sb = (struct sandbox){.gofer_pidfd = -1, .sandbox_pidfd = -1, .link = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, links)) {
		ret = -errno;
		snprintf(err, errlen, "socketpair: %s", strerror(-ret));
		return ret;
	}
	sb->link = links[0];
	ret = make_gofer_sockets(spec, sandbox_ends, gofer_ends, &count);
	if (ret) {
		snprintf(err, errlen, "gofer sockets: %s", strerror(-ret));
		goto out;
	}
	raise_limits();

	/* The sandbox first: it is the longer way. */
	sb->sandbox_pid = clone_process(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET |
						CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
					&sb->sandbox_pidfd);
	if (sb->sandbox_pid == 0)
		sandbox_child_main(spec, links[1], sandbox_ends, count);
	if (sb->sandbox_pid < 0) {
		ret = -errno;
		snprintf(err, errlen, "cannot create the sandbox's namespaces: %s", strerror(-ret));
		goto out;
	}
	sb->gofer_pid = clone_process(user_ns | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
				      &sb->gofer_pidfd);
	if (sb->gofer_pid == 0)
		gofer_child_main(spec, gofer_ends, count);
	if (sb->gofer_pid < 0) {
		ret = -errno;
		snprintf(err, errlen, "cannot create the gofer: %s", strerror(-ret));
		goto out;
	}
	ret = write_id_maps(sb->sandbox_pid, spec->rootless);
	if (!ret && spec->rootless)
		ret = write_id_maps(sb->gofer_pid, true);
	if (ret) {
		snprintf(err, errlen, "cannot write the sandbox's id maps: %s", strerror(-ret));
		goto out;
	}
	ret = link_send(sb->link, LINK_GO, 0, NULL);
	if (ret)
		snprintf(err, errlen, "the sandbox did not start: %s", strerror(-ret));
out:
	close_all(sandbox_ends, count);
	close_all(gofer_ends, count);
	close(links[1]);
	if (ret) {
		kill_and_reap(sb->sandbox_pid, &sb->sandbox_pidfd);
		kill_and_reap(sb->gofer_pid, &sb->gofer_pidfd);
		close(sb->link);
	}
	return ret;
}

/* --- waiting --------------------------------------------------------------------------------- */

static struct termios saved_termios;
static bool terminal_is_raw;

static void terminal_restore(void)
{
	if (terminal_is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_termios);
	terminal_is_raw = false;
}

/* The guest's own terminal does echo, line editing and signals: the host's passes bytes only. */
static void terminal_make_raw(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &saved_termios))
		return;
	raw = saved_termios;
	cfmakeraw(&raw);
	terminal_is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static int open_signalfd(void)
{
	static const int forwarded[] = {SIGHUP,	 SIGINT,   SIGQUIT, SIGTERM, SIGUSR1,
					SIGUSR2, SIGWINCH, SIGCONT, SIGALRM};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void forward_signals(int fd, int link)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGWINCH)
			link_send(link, LINK_WINCH, 0, NULL);
		else
			link_send(link, LINK_SIGNAL, (int)si.ssi_signo, NULL);
	}
}

static int status_from_wait(int status)
{
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* True if the gofer has ended as it should: the sandbox has closed its mounts and is about to say
 * why. */
static bool gofer_has_finished(const struct sandbox *sb)
{
	siginfo_t si = {0};

	return !waitid(P_PID, sb->gofer_pid, &si, WEXITED | WNOHANG | WNOWAIT) && si.si_pid &&
	       si.si_code == CLD_EXITED && si.si_status == 0;
}

/* Says on stderr how gofer or sandbox ended: it is gone without a word. */
static void report_death(const char *who, pid_t pid, int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	siginfo_t si = {0};

	terminal_restore();
	/* It is on its way out, or lies about that: then no answer will do. */
	poll(&ended, 1, 2000);
	if (waitid(P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT) || !si.si_pid)
		fprintf(stderr, "moat: the %s hung up\n", who);
	else if (si.si_code == CLD_EXITED)
		fprintf(stderr, "moat: the %s ended with status %d\n", who, si.si_status);
	else if (si.si_status == SIGSYS)
		fprintf(stderr,
			"moat: the %s was killed: it made a system call that its filter forbids\n",
			who);
	else
		fprintf(stderr, "moat: the %s was killed by signal %d (%s)\n", who, si.si_status,
			strsignal(si.si_status));
}

/* Reads one message; true when the sandbox's end is decided, with *result set. */
static bool handle_message(struct sandbox *sb, int *result)
{
	struct link_message msg;
	int ret = link_receive(sb->link, &msg);

	if (ret == -EAGAIN)
		return false;
	if (ret) {
		report_death("sandbox", sb->sandbox_pid, sb->sandbox_pidfd);
		*result = EXIT_MOAT_FAILED;
		return true;
	}
	switch (msg.kind) {
	case LINK_EXIT:
		*result = status_from_wait(msg.value);
		return true;
	case LINK_ERROR:
		terminal_restore();
		fprintf(stderr, "moat: %s\n", msg.text);
		*result = msg.value > 0 && msg.value < 256 ? msg.value : EXIT_MOAT_FAILED;
		return true;
	default:
		return false;
	}
}

static int poll_timeout(int64_t deadline)
{
	int64_t left;

	if (!deadline)
		return -1;
	left = deadline - monotonic_ns();
	if (left <= 0)
		return 0;
	left = (left + 999999) / 1000000;
	return left > 1000000 ? 1000000 : (int)left;
}

int sandbox_wait(const struct sandbox_spec *spec, struct sandbox *sb)
{
	int64_t deadline = spec->timeout_ns ? monotonic_ns() + spec->timeout_ns : 0;
	int result = EXIT_MOAT_FAILED;
	int signals = open_signalfd();
	struct pollfd fds[] = {
		{.fd = sb->link, .events = POLLIN},
		{.fd = signals, .events = POLLIN},
		{.fd = sb->gofer_pidfd, .events = POLLIN},
		{.fd = sb->sandbox_pidfd, .events = POLLIN},
	};

	if (spec->terminal)
		terminal_make_raw();
	for (;;) {
		int n = poll(fds, ARRAY_SIZE(fds), poll_timeout(deadline));

		if (n < 0 && errno != EINTR)
			break;
		if (n == 0 && deadline && monotonic_ns() >= deadline) {
			terminal_restore();
			fprintf(stderr, "moat: time limit reached\n");
			result = EXIT_TIMED_OUT;
			break;
		}
		if (n <= 0)
			continue;
		if (fds[1].revents)
			forward_signals(signals, sb->link);
		if (fds[0].revents && handle_message(sb, &result))
			break;
		/* What the sandbox said before it ended may have come since the poll. */
		if (fds[0].revents || ((fds[2].revents || fds[3].revents) && poll(fds, 1, 0) > 0))
			continue;
		if (fds[3].revents) {
			report_death("sandbox", sb->sandbox_pid, sb->sandbox_pidfd);
			break;
		}
		if (fds[2].revents && gofer_has_finished(sb)) {
			fds[2].fd = -1;
			continue;
		}
		if (fds[2].revents) {
			report_death("gofer", sb->gofer_pid, sb->gofer_pidfd);
			break;
		}
	}
	/* The sandbox is the init of its pid namespace: every process in it goes with it. */
	kill_and_reap(sb->sandbox_pid, &sb->sandbox_pidfd);
	kill_and_reap(sb->gofer_pid, &sb->gofer_pidfd);
	close(sb->link);
	if (signals >= 0)
		close(signals);
	terminal_restore();
	return result;
}
