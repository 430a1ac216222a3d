/* A program's terminal: the host's pty, whose one side is the sandbox's in raw mode (line
 * discipline and job control are the sandbox's own), the other the caller's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "lib/run_internal.h"

static int set_size(int fd, unsigned short rows, unsigned short columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};

	return ioctl(fd, TIOCSWINSZ, &size) ? -errno : 0;
}

static int prepare(int fd, int peer, const struct moat_command *c)
{
	struct termios raw;

	if (tcgetattr(peer, &raw))
		return -errno;
	cfmakeraw(&raw);
	if (tcsetattr(peer, TCSANOW, &raw))
		return -errno;
	return set_size(fd, c->rows ? c->rows : 24, c->columns ? c->columns : 80);
}

int terminal_open(struct moat_run *run, const struct moat_command *c)
{
	int fd, peer = -1, ret;

	if (c->input_fd || c->output_fd || c->error_fd)
		return -EINVAL;
	fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* The peer without its name: it may be in a mount namespace that we have left. */
	ret = unlockpt(fd) ? -errno : 0;
	if (!ret) {
		peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
		ret = peer < 0 ? -errno : prepare(fd, peer, c);
	}
	/* Two descriptors for moat_wait(), each closed by itself, and one that stays. */
	if (!ret) {
		run->terminal_fd = fd;
		run->terminal_peer = peer;
		run->streams[0].fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		run->input_fd = run->input_size ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
		return run->streams[0].fd < 0 || (run->input_size && run->input_fd < 0) ? -EMFILE
											: 0;
	}
	close(fd);
	close_fd_ptr(&peer);
	return ret;
}

int moat_resize(struct moat_run *run, unsigned short rows, unsigned short columns,
		struct moat_error *err)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Resize resize = MOAT__RESIZE__INIT;
	char id[] = ROOT_ID;
	int ret = run->terminal_fd < 0 ? -ENOTTY : set_size(run->terminal_fd, rows, columns);

	if (ret)
		return lib_fail(err, ret, "the terminal: %s", strerror(-ret));
	resize.id = id;
	resize.pid = run->pid;
	request.call_case = MOAT__REQUEST__CALL_RESIZE;
	request.resize = &resize;
	/* Over another connection: this run's is waiting. */
	return lib_call(run->m, &request, NULL, err);
}

int moat_attach(struct moat_run *run, struct moat_error *err)
{
	int fd = run->terminal_fd < 0 ? -ENOTTY : fcntl(run->terminal_fd, F_DUPFD_CLOEXEC, 0);
	int flags;

	if (fd < 0)
		return lib_fail(err, fd == -ENOTTY ? fd : errno, "the terminal: %s",
				strerror(fd == -ENOTTY ? ENOTTY : errno));
	close_fd_ptr(&run->streams[0].fd);
	close_fd_ptr(&run->input_fd);
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	return fd;
}
