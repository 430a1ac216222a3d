/* Where a sandbox comes from: `moat sandbox` as a child, or the pool. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "lib/internal.h"

#define ARGS_MAX 128
#define CONTROL_FD 3
#define START_MS 60000

extern char **environ;

struct arguments {
	char *v[ARGS_MAX + 1];
	unsigned n;
	bool failed;
};

/* Strings of the caller's are not written to, whatever posix_spawn's type says. */
static void add(struct arguments *a, const char *s)
{
	if (a->n == ARGS_MAX)
		a->failed = true;
	else
		a->v[a->n++] = (char *)(uintptr_t)s;
}

static void add_flag(struct arguments *a, const char *flag, const char *value)
{
	add(a, flag);
	add(a, value);
}

static void build_arguments(const struct moat_config *config, struct arguments *a, char *memory,
			    char *disk, size_t size)
{
	add(a, "moat");
	add(a, "sandbox");
	add_flag(a, "--control", "3");
	/* What the sentry has to say is for its developers. */
	add_flag(a, "--debug-log", "/dev/null");
	if (config->rootfs)
		add_flag(a, "--rootfs", config->rootfs);
	for (const char *const *v = config->volumes; v && *v; v++)
		add_flag(a, "--volume", *v);
	for (const char *const *f = config->flags; f && *f; f++)
		add(a, *f);
	if (config->memory) {
		snprintf(memory, size, "%llu", (unsigned long long)config->memory);
		add_flag(a, "--memory", memory);
	}
	if (config->disk) {
		snprintf(disk, size, "%llu", (unsigned long long)config->disk);
		add_flag(a, "--disk", disk);
	}
}

/* 0 is standard input, 1 says when it is ready, 2 says what is wrong, 3 is the connection. */
static int spawn(const char *program, char *const *argv, int control, int ready, int complaints,
		 pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int ret;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	/* A terminal's signals, and what the caller ignores or blocks, are none of its business. */
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	ret = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&actions, ready, 1);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&actions, complaints, 2);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(&actions, control, CONTROL_FD);
	if (!ret)
		ret = posix_spawnp(pid, program, &actions, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return -ret;
}

/* Reads the line that says that it is ready. 0, or -errno. */
static int wait_ready(int fd)
{
	char line[64];
	size_t n = 0;

	while (n < sizeof(line) - 1 && !memchr(line, '\n', n)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t got;
		int ret = poll(&p, 1, START_MS);

		if (ret < 0 && errno == EINTR)
			continue;
		if (ret <= 0)
			return ret ? -errno : -ETIMEDOUT;
		got = read(fd, line + n, sizeof(line) - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	return n >= 6 && !memcmp(line, "ready ", 6) ? 0 : -EIO;
}

static int report(const char *program, int complaints, int ret, struct moat_error *err)
{
	char text[400];
	ssize_t n = pread(complaints, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	if (!strncmp(text, "moat: ", 6))
		memmove(text, text + 6, strlen(text + 6) + 1);
	return *text ? lib_fail(err, ret, "%s", text)
		     : lib_fail(err, ret, "%s did not start: %s", program, strerror(-ret));
}

/* Above what the child's own descriptors are to be: dup2 would overwrite one that is still needed.
 */
static int move_up(int *fd)
{
	int moved;

	if (*fd > CONTROL_FD)
		return 0;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, CONTROL_FD + 1);
	if (moved < 0)
		return -errno;
	close(*fd);
	*fd = moved;
	return 0;
}

int sandbox_launch(const struct moat_config *config, int *sock, pid_t *helper,
		   struct moat_error *err)
{
	const char *program = config->program ? config->program : getenv("MOAT");
	int __close_fd ours = -1, __close_fd theirs = -1, __close_fd ready = -1;
	int __close_fd said = -1, __close_fd complaints = memfd_create("moat", MFD_CLOEXEC);
	struct arguments a = {.n = 0};
	char memory[32], disk[32];
	int pair[2], pipefd[2], ret = 0;

	if (!program || !*program)
		program = "moat";
	build_arguments(config, &a, memory, disk, sizeof(memory));
	if (a.failed)
		return lib_fail(err, E2BIG, "too many flags and volumes");
	if (complaints < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return lib_fail(err, errno, "socketpair: %s", strerror(errno));
	ours = pair[0];
	theirs = pair[1];
	if (pipe2(pipefd, O_CLOEXEC))
		return lib_fail(err, errno, "pipe: %s", strerror(errno));
	said = pipefd[0];
	ready = pipefd[1];
	ret = move_up(&theirs);
	if (!ret)
		ret = move_up(&ready);
	if (!ret)
		ret = move_up(&complaints);
	if (!ret)
		ret = spawn(program, a.v, theirs, ready, complaints, helper);
	if (ret) {
		*helper = 0;
		return lib_fail(err, ret, "cannot run %s: %s", program, strerror(-ret));
	}
	close_fd_ptr(&theirs);
	close_fd_ptr(&ready);
	ret = wait_ready(said);
	if (ret) {
		kill(*helper, SIGKILL);
		while (waitpid(*helper, NULL, 0) < 0 && errno == EINTR)
			;
		*helper = 0;
		return report(program, complaints, ret, err);
	}
	*sock = steal_fd(&ours);
	return 0;
}

/* --- the pool --------------------------------------------------------------------------------- */

/* One message with one descriptor; or a text that says why there is none. */
static int receive(int fd, int *sock, struct moat_error *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char text[256];
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n;

	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return lib_fail(err, n ? errno : EPIPE, "the pool has hung up");
	text[n] = 0;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    c->cmsg_len != CMSG_LEN(sizeof(int)))
		return lib_fail(err, EBUSY, "the pool: %s", text);
	memcpy(sock, CMSG_DATA(c), sizeof(int));
	return 0;
}

int sandbox_from_pool(const char *path, int *sock, struct moat_error *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int __close_fd fd = -1;

	if (strlen(path) >= sizeof(addr.sun_path))
		return lib_fail(err, ENAMETOOLONG, "the pool's path is too long");
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return lib_fail(err, errno, "the pool at %s: %s", path, strerror(errno));
	if (send(fd, "take", 4, MSG_NOSIGNAL) != 4)
		return lib_fail(err, errno, "the pool at %s: %s", path, strerror(errno));
	return receive(fd, sock, err);
}
