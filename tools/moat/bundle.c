#include "tools/moat/bundle.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/compiler.h"

/* As containerd's and Docker's; far above any real one. */
#define CONFIG_MAX (10 << 20)

char *read_text(const char *command, const char *path, size_t *len)
{
	int __close_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st)) {
		cli_error("%s: %s: %s", command, path, strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > CONFIG_MAX) {
		cli_error("%s: %s: %s", command, path,
			  S_ISREG(st.st_mode) ? "larger than 10 MiB" : "not a regular file");
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	n = text ? read(fd, text, (size_t)st.st_size) : -1;
	if (n < 0) {
		cli_error("%s: %s: %s", command, path, strerror(errno));
		free(text);
		return NULL;
	}
	*len = (size_t)n;
	return text;
}

int write_pid_file(const char *path, pid_t pid)
{
	char *__free temporary = NULL;
	int __close_fd fd = -1;
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);

	if (asprintf(&temporary, "%s.%d", path, getpid()) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)n) != n || rename(temporary, path)) {
		int ret = -errno;

		unlink(temporary);
		return ret;
	}
	return 0;
}

int parse_signal(const char *name)
{
	char *end;
	long n;

	if (isdigit((unsigned char)*name)) {
		n = strtol(name, &end, 10);
		return *end || n > 64 ? -1 : (int)n;
	}
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	if (!strncasecmp(name, "RTMIN+", 6) || !strncasecmp(name, "RTMAX-", 6)) {
		n = strtol(name + 6, &end, 10);
		if (*end || n < 0 || n > 30)
			return -1;
		return toupper((unsigned char)name[4]) == 'N' ? 34 + (int)n : 64 - (int)n;
	}
	for (int sig = 1; sig < 32; sig++) {
		const char *abbreviation = sigabbrev_np(sig);

		if (abbreviation && !strcasecmp(abbreviation, name))
			return sig;
	}
	return -1;
}

static int send_fd(int sock, int fd, const char *name)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)name, strlen(name)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The slave of a new terminal. Its line discipline does nothing: the guest has its own. */
static int open_slave(int master, unsigned rows, unsigned columns, char *name, size_t n)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
	struct termios raw;
	int fd;

	if (grantpt(master) || unlockpt(master) || ptsname_r(master, name, n))
		return -errno;
	fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &raw) == 0) {
		cfmakeraw(&raw);
		tcsetattr(fd, TCSANOW, &raw);
	}
	if (rows && columns)
		ioctl(fd, TIOCSWINSZ, &size);
	return fd;
}

/* A stream socket to the one at path; -errno after a message that names the flag. */
static int connect_to(const char *command, const char *flag, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int __close_fd sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ret = 0;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		ret = -ENAMETOOLONG;
	} else {
		strcpy(addr.sun_path, path);
		if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
			ret = -errno;
	}
	if (!ret)
		return steal_fd(&sock);
	cli_fail("%s: --%s: %s: %s", command, flag, path, strerror(-ret));
	return ret;
}

int pidfd_send(const char *command, const char *path, pid_t pid, const char *what)
{
	int __close_fd sock = connect_to(command, "pidfd-socket", path);
	int __close_fd pidfd = -1;
	int ret;

	if (sock < 0)
		return sock;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	ret = pidfd < 0 ? -errno : send_fd(sock, pidfd, what);
	if (ret)
		cli_fail("%s: --pidfd-socket: %s: %s", command, path, strerror(-ret));
	return ret;
}

int console_open(const char *command, const char *path, unsigned rows, unsigned columns)
{
	int __close_fd sock = connect_to(command, "console-socket", path);
	int __close_fd master = -1;
	char name[64];
	int slave, ret;

	if (sock < 0)
		return sock;
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	slave = master < 0 ? -errno : open_slave(master, rows, columns, name, sizeof(name));
	ret = slave < 0 ? slave : send_fd(sock, master, name);
	if (ret) {
		cli_fail("%s: cannot make a terminal: %s", command, strerror(-ret));
		close_fd_ptr(&slave);
		return ret;
	}
	return slave;
}
