/* Waiting for a sandbox: until it is there, until it ends. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "boot/sandbox/link.h"
#include "boot/sandbox/sandbox.h"
#include "boot/sandbox/terminal.h"
#include "control/client.h"

/* A request that nobody waits for the answer of. One that the sandbox does not take is dropped: it
 * is stuck, or will not let itself be told. */
static void tell(struct sandbox *sb, Moat__Request *request)
{
	struct pollfd p = {.fd = control_client_fd(sb->client), .events = POLLOUT};

	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT))
		control_client_send(sb->client, request, NULL, 0, NULL);
}

static void forward_signals(int fd, struct sandbox *sb, char *id)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		Moat__Request request = MOAT__REQUEST__INIT;
		Moat__Resize resize = MOAT__RESIZE__INIT;
		Moat__Signal sig = MOAT__SIGNAL__INIT;

		if (si.ssi_signo == SIGWINCH) {
			resize.id = id;
			request.call_case = MOAT__REQUEST__CALL_RESIZE;
			request.resize = &resize;
		} else {
			sig.id = id;
			sig.signal = (int32_t)si.ssi_signo;
			request.call_case = MOAT__REQUEST__CALL_SIGNAL;
			request.signal = &sig;
		}
		tell(sb, &request);
	}
}

int status_from_wait(int status)
{
	if (WIFSIGNALED(status))
		return 128 + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* Asks for the start of the root container and for its end; *wait_id is the latter's. */
static int ask_for_run(struct sandbox *sb, char *id, uint64_t *start_id, uint64_t *wait_id)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Start start = MOAT__START__INIT;
	Moat__Wait wait = MOAT__WAIT__INIT;
	int ret;

	start.id = wait.id = id;
	/* In this order: it could have ended before the server reads that somebody waits. */
	request.call_case = MOAT__REQUEST__CALL_WAIT;
	request.wait = &wait;
	ret = control_client_send(sb->client, &request, NULL, 0, wait_id);
	if (ret)
		return ret;
	request.call_case = MOAT__REQUEST__CALL_START_ROOT;
	request.start_root = &start;
	return control_client_send(sb->client, &request, NULL, 0, start_id);
}

/* --- deaths ----------------------------------------------------------------------------------- */

/* True if the gofer has ended as it should: the sandbox has closed its mounts and is about to say
 * why. */
static bool gofer_has_finished(const struct sandbox *sb)
{
	siginfo_t si = {0};

	return !waitid(P_PID, sb->gofer_pid, &si, WEXITED | WNOHANG | WNOWAIT) && si.si_pid &&
	       si.si_code == CLD_EXITED && si.si_status == 0;
}

/* Says how gofer or sandbox ended: it is gone without a word. */
static void describe_death(const char *who, pid_t pid, int pidfd, char *err, size_t errlen)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};
	siginfo_t si = {0};

	/* It is on its way out, or lies about that: then no answer will do. */
	poll(&ended, 1, 2000);
	if (waitid(P_PID, pid, &si, WEXITED | WNOHANG | WNOWAIT) || !si.si_pid)
		snprintf(err, errlen, "the %s hung up", who);
	else if (si.si_code == CLD_EXITED)
		snprintf(err, errlen, "the %s ended with status %d", who, si.si_status);
	else if (si.si_status == SIGSYS)
		snprintf(err, errlen,
			 "the %s was killed: it made a system call that its filter forbids", who);
	else
		snprintf(err, errlen, "the %s was killed by signal %d (%s)", who, si.si_status,
			 strsignal(si.si_status));
}

static void describe_sandbox_death(struct sandbox *sb, char *err, size_t errlen)
{
	describe_death("sandbox", sb->sandbox_pid, sb->sandbox_pidfd, err, errlen);
}

static void describe_gofer_death(struct sandbox *sb, char *err, size_t errlen);

/* The sandbox ends by itself when its gofer has died: then that is what is to be said. */
static void describe_end(struct sandbox *sb, char *err, size_t errlen)
{
	siginfo_t si = {0};

	if (!waitid(P_PID, sb->gofer_pid, &si, WEXITED | WNOHANG | WNOWAIT) && si.si_pid &&
	    si.si_code != CLD_EXITED)
		describe_gofer_death(sb, err, errlen);
	else
		describe_sandbox_death(sb, err, errlen);
}

static void describe_gofer_death(struct sandbox *sb, char *err, size_t errlen)
{
	describe_death("gofer", sb->gofer_pid, sb->gofer_pidfd, err, errlen);
}

/* --- messages --------------------------------------------------------------------------------- */

/* Reads what the link has. 0: nothing that decides; otherwise the CLI's exit status, and err.
 * *open: more may come. */
static int link_event(struct sandbox *sb, bool *created, char *err, size_t errlen)
{
	struct link_message msg;
	int ret = link_receive(sb->link, &msg);

	if (ret == -EAGAIN)
		return 0;
	if (!ret && msg.kind == LINK_CREATED) {
		*created = true;
		snprintf(sb->platform, sizeof(sb->platform), "%.15s", msg.text);
		close_fd_ptr(&sb->link);
		return 0;
	}
	if (!ret && msg.kind == LINK_CONFINED)
		return SANDBOX_CONFINED;
	if (!ret && msg.kind == LINK_ERROR) {
		snprintf(err, errlen, "%s", msg.text);
		return msg.value > 0 && msg.value < 256 ? msg.value : EXIT_MOAT_FAILED;
	}
	describe_sandbox_death(sb, err, errlen);
	return EXIT_MOAT_FAILED;
}

int sandbox_wait_created(struct sandbox *sb, char *err, size_t errlen)
{
	bool created = false;
	int result = 0;

	while (!created && !result) {
		struct pollfd fds[] = {
			{.fd = sb->link, .events = POLLIN},
			{.fd = sb->gofer_pidfd, .events = POLLIN},
			{.fd = sb->sandbox_pidfd, .events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[0].revents) {
			result = link_event(sb, &created, err, errlen);
		} else if (fds[2].revents) {
			describe_sandbox_death(sb, err, errlen);
			result = EXIT_MOAT_FAILED;
		} else if (fds[1].revents && !gofer_has_finished(sb)) {
			describe_gofer_death(sb, err, errlen);
			result = EXIT_MOAT_FAILED;
		}
	}
	if (result)
		sandbox_kill(sb);
	return result;
}

int sandbox_release(struct sandbox *sb)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Empty empty = MOAT__EMPTY__INIT;
	struct control_error err;
	int ret;

	request.call_case = MOAT__REQUEST__CALL_RELEASE;
	request.release = &empty;
	ret = control_client_call(sb->client, &request, NULL, 0, 10000, NULL, &err);
	if (ret) {
		sandbox_kill(sb);
		return ret;
	}
	control_client_free(sb->client);
	sb->client = NULL;
	close_fd_ptr(&sb->link);
	close_fd_ptr(&sb->gofer_pidfd);
	close_fd_ptr(&sb->sandbox_pidfd);
	return 0;
}

#define UNDECIDED INT_MIN

/* One run of sandbox_wait(). */
struct run {
	struct sandbox *sb;
	const struct sandbox_spec *spec;
	uint64_t start_id, wait_id;
	int result;
	char err[600];
};

static void fill_report(struct sandbox_report *report, const Moat__ExitStatus *e)
{
	report->ended = true;
	report->wait_status = e->wait_status;
	report->out_of_memory = e->reason == MOAT__EXIT_STATUS__REASON__MEMORY_LIMIT;
	report->user_ns = e->user_ns;
	report->kernel_ns = e->kernel_ns;
	report->wall_ns = e->wall_ns;
	report->memory_peak = e->memory_peak;
}

static void control_event(struct run *r)
{
	Moat__Response *response;
	int ret;

	while (r->result == UNDECIDED &&
	       (ret = control_client_receive(r->sb->client, 0, &response)) != -EAGAIN) {
		if (ret) {
			/* If it could not start, the link says why. */
			bool created = false;

			int status = r->sb->link < 0
					     ? 0
					     : link_event(r->sb, &created, r->err, sizeof(r->err));

			if (status)
				r->result = status;
			if (r->result == UNDECIDED) {
				describe_end(r->sb, r->err, sizeof(r->err));
				r->result = EXIT_MOAT_FAILED;
			}
			return;
		}
		if (response->id == r->start_id && response->error) {
			snprintf(r->err, sizeof(r->err), "%s", response->error->message);
			r->result = EXIT_MOAT_FAILED;
		} else if (response->id == r->start_id && r->spec->started) {
			int status = r->spec->started(r->spec->started_arg);

			if (status)
				r->result = status;
		} else if (response->id == r->wait_id &&
			   response->result_case == MOAT__RESPONSE__RESULT_EXIT_STATUS) {
			r->result = status_from_wait((int)response->exit_status->wait_status);
			if (r->spec->report)
				fill_report(r->spec->report, response->exit_status);
		}
		control_response_free(response);
	}
}

static void link_ready(struct run *r)
{
	bool created;
	int status = link_event(r->sb, &created, r->err, sizeof(r->err));

	if (status)
		r->result = status;
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

enum { POLL_CONTROL, POLL_LINK, POLL_SIGNALS, POLL_GOFER, POLL_SANDBOX, POLL_END };

/* What poll has found. */
static void look(struct run *r, struct pollfd *fds, char *id)
{
	struct sandbox *sb = r->sb;

	if (fds[POLL_SIGNALS].revents)
		forward_signals(fds[POLL_SIGNALS].fd, sb, id);
	if (fds[POLL_LINK].revents)
		link_ready(r);
	if (r->result == UNDECIDED && fds[POLL_CONTROL].revents)
		control_event(r);
	if (r->result != UNDECIDED || fds[POLL_CONTROL].revents || fds[POLL_LINK].revents)
		return;
	/* What the sandbox said before it ended may have come since the poll. */
	if ((fds[POLL_SANDBOX].revents || fds[POLL_GOFER].revents) &&
	    poll(fds, POLL_LINK + 1, 0) > 0)
		return;
	if (fds[POLL_SANDBOX].revents) {
		describe_sandbox_death(sb, r->err, sizeof(r->err));
		r->result = EXIT_MOAT_FAILED;
	} else if (fds[POLL_GOFER].revents && gofer_has_finished(sb)) {
		fds[POLL_GOFER].fd = -1;
	} else if (fds[POLL_GOFER].revents) {
		describe_gofer_death(sb, r->err, sizeof(r->err));
		r->result = EXIT_MOAT_FAILED;
	}
}

static void run_until_decided(struct run *r, int signals, int64_t deadline, char *id)
{
	struct sandbox *sb = r->sb;
	struct pollfd fds[POLL_END] = {
		[POLL_CONTROL] = {.fd = control_client_fd(sb->client), .events = POLLIN},
		[POLL_LINK] = {.events = POLLIN},
		[POLL_SIGNALS] = {.fd = signals, .events = POLLIN},
		[POLL_GOFER] = {.fd = sb->gofer_pidfd, .events = POLLIN},
		[POLL_SANDBOX] = {.fd = sb->sandbox_pidfd, .events = POLLIN},
	};

	while (r->result == UNDECIDED) {
		int n;

		fds[POLL_LINK].fd = sb->link;
		n = poll(fds, POLL_END, poll_timeout(deadline));
		if (n < 0 && errno != EINTR) {
			r->result = EXIT_MOAT_FAILED;
		} else if (n == 0 && deadline && monotonic_ns() >= deadline) {
			snprintf(r->err, sizeof(r->err), "time limit reached");
			r->result = EXIT_TIMED_OUT;
			if (r->spec->report) {
				r->spec->report->timed_out = r->spec->report->ended = true;
				r->spec->report->wall_ns = (uint64_t)r->spec->timeout_ns;
			}
		} else if (n > 0) {
			look(r, fds, id);
		}
	}
}

int sandbox_wait(const struct sandbox_spec *spec, struct sandbox *sb)
{
	char *id = spec->id ? spec->id : (char[]){SANDBOX_DEFAULT_ID};
	int64_t deadline = spec->timeout_ns ? monotonic_ns() + spec->timeout_ns : 0;
	struct run r = {.sb = sb, .spec = spec, .result = UNDECIDED};
	int signals = open_signalfd();

	if (spec->container.process.terminal && !spec->own_console)
		terminal_make_raw();
	/* If it fails the sandbox has ended, and that is seen below. */
	ask_for_run(sb, id, &r.start_id, &r.wait_id);
	run_until_decided(&r, signals, deadline, id);
	sandbox_kill(sb);
	if (signals >= 0)
		close(signals);
	terminal_restore();
	if (r.err[0] && spec->report)
		snprintf(spec->report->text, sizeof(spec->report->text), "%s", r.err);
	else if (r.err[0])
		fprintf(stderr, "moat: %s\n", r.err);
	return r.result;
}
