/*
 * A container in the sandbox of others (a pod's). It has a gofer of its own, and on the host a
 * process that stands for it: that one's end is the container's, and the other way round.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/fds.h"
#include "base/log.h"
#include "boot/oci/oci_pod.h"
#include "boot/host/spawn.h"
#include "boot/spec/spec_wire.h"
#include "boot/sandbox/terminal.h"
#include "control/frame.h"
#include "tools/moat/bundle.h"

#define CREATE_MS 60000

static int fail(const struct new_container *c, const char *what, int ret)
{
	return cli_error("%s: %s: %s", c->flags->command, what, strerror(-ret));
}

/* --- the process that stands for it ----------------------------------------------------------- */

static void pass_signals(struct control_client *client, char *id, int fd)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		Moat__Request request = MOAT__REQUEST__INIT;
		Moat__Signal sig = MOAT__SIGNAL__INIT;
		Moat__Resize resize = MOAT__RESIZE__INIT;

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
		control_client_send(client, &request, NULL, 0, NULL);
	}
}

static int wait_for_end(struct control_client *client, char *id, int signals)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Wait wait = MOAT__WAIT__INIT;
	uint64_t wait_id;

	wait.id = id;
	wait.bound = true;
	request.call_case = MOAT__REQUEST__CALL_WAIT;
	request.wait = &wait;
	if (control_client_send(client, &request, NULL, 0, &wait_id))
		return 128 + SIGKILL;
	for (;;) {
		struct pollfd fds[] = {
			{.fd = control_client_fd(client), .events = POLLIN},
			{.fd = signals, .events = POLLIN},
		};
		Moat__Response *response;
		int ret;

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		if (fds[1].revents)
			pass_signals(client, id, signals);
		while (!(ret = control_client_receive(client, 0, &response))) {
			int status = 128 + SIGKILL;
			bool done = response->id == wait_id;

			if (response->result_case == MOAT__RESPONSE__RESULT_EXIT_STATUS)
				status = status_from_wait((int)response->exit_status->wait_status);
			control_response_free(response);
			if (done)
				return status;
		}
		/* The sandbox has ended, and the container with it. */
		if (ret != -EAGAIN)
			return 128 + SIGKILL;
	}
}

/* What connects it with who makes the container, until that is there. */
struct stand_in {
	pid_t pid;
	int pipe; /* -1: none */
};

/* READY says that it is where it is to be, GO that the container is there. */
enum { READY = 'r', GO = 'g' };

static bool tell(int pipe, char word)
{
	return send(pipe, &word, 1, MSG_NOSIGNAL) == 1;
}

static bool hear(int pipe, char word)
{
	char got;

	return recv(pipe, &got, 1, 0) == 1 && got == word;
}

static void stand_in(struct new_container *c, int pipe) __attribute__((noreturn));
static void stand_in(struct new_container *c, int pipe)
{
	int console = c->spec.own_console ? c->spec.stdio[0] : -1;
	int signals = open_signalfd(), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct control_client *client;
	bool links = c->spec.network == NETWORK_SANDBOX && !c->spec.netns;

	prctl(PR_SET_NAME, "moat-stand-in");
	close_fd_ptr(&c->lock); /* or nobody else would ever get it */
	if (spawn_enter_cgroup(&c->spec) && c->spec.cgroup_required)
		_exit(1);
	/* What engines and hooks move into /proc/PID/ns/net is the container's. */
	if (c->spec.container.joins && links && unshare(CLONE_NEWNET))
		_exit(1);
	setsid();
	if (console >= 0)
		ioctl(console, TIOCSCTTY, 0);
	/* A connection of its own: what has been said on the other one is not known here. */
	if (connect_container(c->options, &c->state, &client))
		_exit(1);
	fds_close_others((int[]){control_client_fd(client), pipe, signals, null, console, log_fd()},
			 6);
	if (!tell(pipe, READY) || !hear(pipe, GO))
		_exit(1);
	close(pipe);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	_exit(wait_for_end(client, c->state.id, signals));
}

static int start_stand_in(struct new_container *c, struct stand_in *s)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		return fail(c, "socketpair", -errno);
	s->pid = fork();
	if (s->pid == 0) {
		close(sv[0]);
		stand_in(c, sv[1]);
	}
	close(sv[1]);
	s->pipe = sv[0];
	if (s->pid < 0)
		return fail(c, "fork", -errno);
	if (!hear(s->pipe, READY))
		return cli_error("%s: the process that stands for the container cannot have its "
				 "cgroup, network namespace or connection",
				 c->flags->command);
	return 0;
}

/* --- making it -------------------------------------------------------------------------------- */

/* The descriptors of Create, in its order. */
static unsigned collect_fds(const struct new_container *c, const int *gofer_ends, int n, int *fds)
{
	const struct process_spec *p = &c->spec.container.process;
	unsigned count = 0;

	for (int i = 0; i < (p->terminal ? 1 : 3); i++)
		fds[count++] = c->spec.stdio[i];
	for (unsigned i = 0; i < p->extra_files; i++)
		fds[count++] = c->spec.extra_fds[i];
	for (int i = 0; i < n; i++)
		fds[count++] = gofer_ends[i];
	return count;
}

static int create_inside(struct new_container *c, struct control_client *client, char *id,
			 const int *sandbox_ends, int n)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__Create create = MOAT__CREATE__INIT;
	Moat__ContainerSpec wire;
	struct control_error err;
	int fds[MAX_GOFER_FDS + 3 + CONTROL_FDS_MAX], ret;
	unsigned nfds = collect_fds(c, sandbox_ends, n, fds);

	if (nfds > CONTROL_FDS_MAX)
		return fail(c, "descriptors and mounts", -E2BIG);
	ret = wire_from_container(&c->spec.container, &wire);
	if (ret)
		return fail(c, "specification", ret);
	create.id = id;
	create.spec = &wire;
	request.call_case = MOAT__REQUEST__CALL_CREATE;
	request.create = &create;
	ret = control_client_call(client, &request, fds, nfds, CREATE_MS, NULL, &err);
	wire_container_free(&wire);
	return ret ? cli_error("unable to start container process: %s", err.text) : 0;
}

/* What Create has made, when the rest fails. */
static void destroy_inside(struct new_container *c, struct control_client *client)
{
	Moat__Request request = MOAT__REQUEST__INIT;
	Moat__ContainerName name = MOAT__CONTAINER_NAME__INIT;
	struct control_error err;

	name.id = c->state.id;
	request.call_case = MOAT__REQUEST__CALL_DESTROY;
	request.destroy = &name;
	if (control_client_call(client, &request, NULL, 0, CREATE_MS, NULL, &err))
		log_warn("container %s: %s", name.id, err.text);
}

static int start_gofer(struct new_container *c, struct control_client *client, char *id)
{
	int sandbox_ends[MAX_GOFER_FDS], gofer_ends[MAX_GOFER_FDS], n, pidfd = -1, status;
	int ret = gofer_make_sockets(&c->spec.container, sandbox_ends, gofer_ends, &n);
	int __close_fd sandbox = (int)syscall(SYS_pidfd_open, c->pod_pid, 0);
	char err[512];
	pid_t pid;

	if (ret)
		return fail(c, "gofer sockets", ret);
	c->spec.rootless = c->options->rootless;
	c->spec.detached = true;
	pid = gofer_start(&c->spec, sandbox, gofer_ends, n, &pidfd, err, sizeof(err));
	close_fds(gofer_ends, (unsigned)n);
	if (pid < 0) {
		status = cli_error("%s: %s", c->flags->command, err);
	} else {
		c->state.gofer_pid = pid;
		c->state.gofer_start = process_start_time(pid);
		container_set_oom_score(c, pid);
		status = create_inside(c, client, id, sandbox_ends, n);
	}
	/* Without its sockets it ends. */
	close_fds(sandbox_ends, (unsigned)n);
	close_fd_ptr(&pidfd);
	return status;
}

static int save(struct new_container *c, struct stand_in *in)
{
	struct state *s = &c->state;
	int ret;

	s->status = STATUS_CREATED;
	s->links = c->spec.container.joins && c->spec.network == NETWORK_SANDBOX;
	ret = state_save(c->options->root, s);
	if (!ret && c->flags->pid_file)
		ret = write_pid_file(c->flags->pid_file, s->pid);
	if (!ret && c->flags->pidfd_socket)
		ret = pidfd_send(c->flags->command, c->flags->pidfd_socket, s->pid, "standard");
	if (!ret && !tell(in->pipe, GO))
		ret = -ESRCH;
	return ret ? fail(c, "cannot save the state", ret) : 0;
}

static int find_pod(struct new_container *c, struct control_client **client)
{
	struct state pod = {0};
	char err[512];
	int ret;

	if (!state_id_is_valid(c->pod) || state_load(c->options->root, c->pod, &pod))
		return cli_error("%s: there is no sandbox '%s'", c->flags->command, c->pod);
	c->pod_pid = pod.pid;
	/* What the sandbox's annotations say of volumes holds for all containers. */
	if (pod.annotations &&
	    oci_mount_hints(pod.annotations, &c->spec.container, err, sizeof(err))) {
		state_free(&pod);
		return cli_error("%s: %s", c->flags->command, err);
	}
	ret = state_status(&pod) == STATUS_STOPPED ? -ESRCH
						   : connect_container(c->options, &pod, client);
	state_free(&pod);
	return ret ? fail(c, "the sandbox of the pod", ret) : 0;
}

/* The container goes with the connection of who stands for it. */
static int build_inside(struct new_container *c, struct control_client *client, struct stand_in *in)
{
	char err[512];
	int status = start_stand_in(c, in);

	if (!status && container_run_create_hooks(c, in->pid, err, sizeof(err)))
		status = cli_error("%s: %s", c->flags->command, err);
	if (!status)
		status = start_gofer(c, client, c->state.id);
	if (!status) {
		status = save(c, in);
		if (status)
			destroy_inside(c, client);
	}
	close_fd_ptr(&in->pipe);
	if (status && in->pid > 0) {
		kill(in->pid, SIGKILL);
		waitpid(in->pid, NULL, 0);
	}
	return status;
}

int pod_build(struct new_container *c, const char *id)
{
	struct stand_in in = {.pid = -1, .pipe = -1};
	struct control_client *client = NULL;
	int status, ret = container_fill_state(c, id);

	if (ret)
		return fail(c, id, ret);
	free(c->state.sandbox);
	c->state.sandbox = strdup(c->pod);
	if (!c->state.sandbox)
		return fail(c, id, -ENOMEM);
	status = find_pod(c, &client);
	if (!status)
		status = container_make_cgroup(c);
	if (!status)
		status = container_open_console(c);
	if (!status)
		status = build_inside(c, client, &in);
	control_client_free(client);
	return status;
}

/* --- in the foreground ------------------------------------------------------------------------ */

/* Until what stands for the container ends, as that ends; signals are passed on. */
static int wait_for_stand_in(pid_t pid, int signals)
{
	int __close_fd pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int status;

	for (;;) {
		struct pollfd fds[] = {
			{.fd = pidfd, .events = POLLIN},
			{.fd = signals, .events = POLLIN},
		};
		struct signalfd_siginfo si;

		if (pidfd >= 0 && poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		while (read(signals, &si, sizeof(si)) == sizeof(si))
			kill(pid, (int)si.ssi_signo);
		if (pidfd < 0 || fds[0].revents)
			break;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_MOAT_FAILED;
	return status_from_wait(status);
}

int pod_run(struct new_container *c)
{
	int signals = open_signalfd(), status;
	pid_t pid = c->state.pid;

	if (c->spec.container.process.terminal) {
		cli_error("run: a container in another one's sandbox has a terminal only if it is "
			  "detached");
		status = EXIT_CLI_FAILED;
	} else {
		status = start_container(c->options, &c->state);
	}
	/* Others may have their say while it runs. */
	if (!status) {
		close_fd_ptr(&c->lock);
		status = wait_for_stand_in(pid, signals);
		if (c->flags->keep)
			return status;
		if (state_lock(c->options->root, c->state.id, &c->lock))
			return status; /* somebody has deleted it */
	}
	destroy_container(c->options, &c->state);
	return status;
}
