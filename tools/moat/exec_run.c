/* moat exec: the process inside, and the one here that stands for it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "boot/spec/spec_wire.h"
#include "boot/sandbox/terminal.h"
#include "control/procsync.h"
#include "tools/moat/exec.h"

#define EXECUTE_MS 60000

/* --- process sync ----------------------------------------------------------------------------- */

/* The end of whoever wants to know how far we are; fd -1: nobody does. */
static struct procsync sync_end = {.fd = -1};

int exec_begin_sync(void)
{
	int ret = procsync_from_env(&sync_end), fd;

	if (ret == -ENOENT)
		return 0;
	/* Out of the way of --preserve-fds. */
	fd = ret ? ret : fcntl(sync_end.fd, F_DUPFD_CLOEXEC, 3 + EXTRA_FDS_MAX);
	if (fd < 0)
		return exec_fail(PROCSYNC_ENV " does not name a socket");
	close(sync_end.fd);
	sync_end.fd = fd;
	return 0;
}

int exec_fail(const char *fmt, ...)
{
	struct procsync_message m = {.type = PROCSYNC_ERROR};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m.message, sizeof(m.message), fmt, ap);
	va_end(ap);
	cli_fail("exec failed: %s", m.message);
	if (sync_end.fd >= 0)
		procsync_write(&sync_end, &m);
	return EXIT_EXEC_FAILED;
}

/* Says something and waits until it was heard. False: nobody is there any more. */
static bool tell(struct procsync_message m, enum procsync_type answer)
{
	return sync_end.fd < 0 ||
	       (!procsync_write(&sync_end, &m) && !procsync_expect(&sync_end, answer, &m));
}

static bool tell_pid(void)
{
	return tell((struct procsync_message){.type = PROCSYNC_PID, .pid = getpid()},
		    PROCSYNC_PID_DONE);
}

static bool tell_status(int status)
{
	return tell((struct procsync_message){.type = PROCSYNC_STATUS,
					      .exited = true,
					      .exited_status = status},
		    PROCSYNC_STATUS_DONE);
}

/* --- the process inside ----------------------------------------------------------------------- */

struct running {
	struct control_client *client;
	char *id;
	int pid; /* in the container */
};

/* Descriptors for Execute: the terminal, or standard ones; then those of --preserve-fds. */
static int collect_fds(const struct exec_flags *f, const struct process_spec *p, int *fds,
		       unsigned *n)
{
	*n = 0;
	if (p->terminal) {
		fds[0] = f->console_socket
				 ? console_open("exec", f->console_socket, p->rows, p->columns)
				 : open("/proc/self/fd/0",
					O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		if (fds[0] < 0)
			return exec_fail("no terminal");
		*n = 1;
	} else {
		for (int i = 0; i < 3; i++)
			fds[(*n)++] = i;
	}
	for (int i = 0; i < f->preserve_fds; i++) {
		if (fcntl(3 + i, F_GETFD) < 0)
			return exec_fail("--preserve-fds: a descriptor is not open");
		fds[(*n)++] = 3 + i;
	}
	return 0;
}

static int execute(struct running *r, const struct exec_flags *f, struct process_spec *p)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Execute body = MOAT__EXECUTE__INIT;
	Moat__ProcessSpec wire;
	Moat__Response *response = NULL;
	struct control_error err;
	int fds[EXTRA_FDS_MAX + 3], ret;
	unsigned n;

	ret = collect_fds(f, p, fds, &n);
	if (ret)
		return ret;
	if (p->terminal && f->console_socket) {
		/* So that the host tells this process of the terminal's size. */
		setsid();
		ioctl(fds[0], TIOCSCTTY, 0);
	}
	p->extra_files = (unsigned)f->preserve_fds;
	if (wire_from_process(p, &wire))
		return exec_fail("no memory");
	body.id = r->id;
	body.process = &wire;
	body.bound = true;
	request.call_case = MOAT__REQUEST__CALL_EXECUTE;
	request.execute = &body;
	ret = control_client_call(r->client, &request, fds, n, EXECUTE_MS, &response, &err);
	wire_process_free(&wire);
	/* With a terminal from a socket the slave stays open here: it is our controlling one. */
	if (ret)
		return exec_fail("unable to start container process: %s", err.text);
	if (response->result_case == MOAT__RESPONSE__RESULT_PROCESS)
		r->pid = response->process->pid;
	control_response_free(response);
	return r->pid > 0 ? 0 : exec_fail("the sandbox talks nonsense");
}

static void pass_signals(struct running *r, int fd)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		Moat__Request request = MOAT__REQUEST__INIT;
		Moat__SignalProcess sig = MOAT__SIGNAL_PROCESS__INIT;
		Moat__Resize resize = MOAT__RESIZE__INIT;

		if (si.ssi_signo == SIGWINCH) {
			resize.id = r->id;
			resize.pid = r->pid;
			request.call_case = MOAT__REQUEST__CALL_RESIZE;
			request.resize = &resize;
		} else {
			sig.id = r->id;
			sig.pid = r->pid;
			sig.signal = (int32_t)si.ssi_signo;
			request.call_case = MOAT__REQUEST__CALL_SIGNAL_PROCESS;
			request.signal_process = &sig;
		}
		control_client_send(r->client, &request, NULL, 0, NULL);
	}
}

/* Waits for its end, passing signals on. The status to exit with. */
static int wait_for_end(struct running *r, int signals)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__WaitPid wait = MOAT__WAIT_PID__INIT;
	uint64_t wait_id;

	wait.id = r->id;
	wait.pid = r->pid;
	request.call_case = MOAT__REQUEST__CALL_WAIT_PID;
	request.wait_pid = &wait;
	if (control_client_send(r->client, &request, NULL, 0, &wait_id))
		return 128 + SIGKILL;
	for (;;) {
		struct pollfd fds[] = {
			{.fd = control_client_fd(r->client), .events = POLLIN},
			{.fd = signals, .events = POLLIN},
			{.fd = sync_end.fd, .events = POLLRDHUP},
		};
		Moat__Response *response;
		int ret;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[1].revents)
			pass_signals(r, signals);
		/* Nobody waits for it any more: with our connection the process ends, too. */
		if (fds[2].revents)
			return 128 + SIGKILL;
		while (!(ret = control_client_receive(r->client, 0, &response))) {
			int status = 128 + SIGKILL;
			bool done = response->id == wait_id;

			if (response->result_case == MOAT__RESPONSE__RESULT_EXIT_STATUS)
				status = status_from_wait((int)response->exit_status->wait_status);
			else if (done && response->error)
				cli_fail("exec: %s", response->error->message);
			control_response_free(response);
			if (done)
				return status;
		}
		/* The container has ended, and the sandbox with it: so has the process. */
		if (ret != -EAGAIN)
			return 128 + SIGKILL;
	}
}

/* From the start of the process inside to its end. The status to exit with. */
static int attend(struct running *r, int signals)
{
	int status;

	if (!tell_pid())
		return EXIT_EXEC_FAILED;
	status = wait_for_end(r, signals);
	tell_status(status);
	return status;
}

static int run_foreground(struct running *r, const struct exec_flags *f, struct process_spec *p)
{
	int signals = open_signalfd();
	int status = execute(r, f, p), ret;

	if (status)
		return status;
	if (f->pid_file) {
		ret = write_pid_file(f->pid_file, getpid());
		if (ret)
			exec_fail("%s: %s", f->pid_file, strerror(-ret));
	}
	if (f->pidfd_socket)
		pidfd_send("exec", f->pidfd_socket, getpid(), "setns");
	if (p->terminal && !f->console_socket)
		terminal_make_raw();
	status = attend(r, signals);
	terminal_restore();
	return status;
}

/* In the process that stands for the one inside: it tells the parent of the start by a byte. */
static void stand_in(struct running *r, const struct exec_flags *f, struct process_spec *p,
		     int report) __attribute__((noreturn));
static void stand_in(struct running *r, const struct exec_flags *f, struct process_spec *p,
		     int report)
{
	int signals = open_signalfd(), status = execute(r, f, p), null;

	if (status)
		_exit(status);
	/* The process has its own of these. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3 + f->preserve_fds; fd++)
		dup2(null, fd);
	if (write(report, "", 1) < 0)
		_exit(EXIT_EXEC_FAILED);
	close(report);
	_exit(attend(r, signals));
}

static int run_detached(struct running *r, const struct exec_flags *f, struct process_spec *p)
{
	int pipe_fds[2], status, ret;
	char byte;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return exec_fail("%s", strerror(errno));
	pid = fork();
	if (pid == 0)
		stand_in(r, f, p, pipe_fds[1]);
	close(pipe_fds[1]);
	if (pid < 0)
		return exec_fail("%s", strerror(errno));
	if (read(pipe_fds[0], &byte, 1) == 1) {
		close(pipe_fds[0]);
		ret = f->pid_file ? write_pid_file(f->pid_file, pid) : 0;
		if (!ret && f->pidfd_socket)
			ret = pidfd_send("exec", f->pidfd_socket, pid, "setns");
		if (!ret)
			return 0;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return exec_fail("%s", strerror(-ret));
	}
	close(pipe_fds[0]);
	/* It has said why. */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status_from_wait(status);
}

int exec_run(const struct cli_options *options, const struct state *s, const struct exec_flags *f,
	     struct process_spec *p)
{
	struct running r = {.id = s->id};
	int ret = connect_container(options, s, &r.client);

	if (ret)
		return exec_fail("cannot exec in a stopped container");
	ret = f->detach ? run_detached(&r, f, p) : run_foreground(&r, f, p);
	control_client_free(r.client);
	return ret;
}
